"""Ends programs when whoever started it is gone: ``+PID`` and ``-PID`` come in by its input, whose end is the sign.

Runs by itself, with the standard library only. It hears of no Ctrl+C: that is for the program that it watches.
"""

import contextlib
import os
import signal
import sys
import time

WAIT = 2.0  # seconds between asking and forcing


def main() -> None:
    """Listen until the input ends, then end what is still watched."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watched: set[int] = set()
    for line in sys.stdin:
        change, pid = line[0], int(line[1:])
        watched = watched | {pid} if change == "+" else watched - {pid}
    for force in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        for pid in watched:
            with contextlib.suppress(OSError):
                os.kill(pid, force)
        if watched:
            time.sleep(WAIT)


if __name__ == "__main__":
    main()
