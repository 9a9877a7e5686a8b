"""Stands in for the tunnel's program: leads connections to ``--server_addr`` on to the local port, as the real one does
through its relay. What it does besides is said in TUNNEL_TEST, what it is in the file that TUNNEL_PID names."""

import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass everything on, then say that it is all."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main() -> None:
    """Say where the link is, and lead on until asked to end."""
    line = " ".join(sys.argv)
    with Path(os.environ["TUNNEL_PID"]).open("a") as file:
        file.write(f"{os.getpid()}\n")
    way = os.environ.get("TUNNEL_TEST", "")
    if way == "dies":
        print("the relay is on holiday", file=sys.stderr)
        sys.exit(1)
    if way == "silent":
        time.sleep(600)
    if way == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    local = re.search(r"-l (\d+) -i (\S+)", line)
    relay = re.search(r"--server_addr (\S+):(\d+)", line)
    assert local and relay
    server = socket.create_server((relay[1], int(relay[2])))
    print(f"start proxy success: http://abc.localhost:{server.getsockname()[1]}", flush=True)
    sys.stderr.write("x" * 300_000)  # more than a pipe holds: nobody may wait for us to be read
    sys.stderr.flush()
    while True:
        outside, _ = server.accept()
        inside = socket.create_connection((local[2], int(local[1])))
        for pair in ((outside, inside), (inside, outside)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


if __name__ == "__main__":
    main()
