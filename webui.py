"""Start Atelier: ``python webui.py [flags]``; ``--help`` lists them.

Nothing heavy is imported before the flags are understood, and torch only after the page is served.
"""

import argparse
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from typing import NoReturn

HOST = "127.0.0.1"
PORT = 7860
PORTS_TRIED = 100
# What may be given more than once; the second name is A1111's, where it has another.
FOLDERS = {
    ("--ckpt-dir",): "another folder to search for checkpoints",
    ("--lora-dir",): "another folder to search for LoRAs",
    ("--vae-dir",): "another folder to search for VAEs",
    ("--embeddings-dir",): "another folder to search for embeddings",
    ("--controlnet-dir",): "another folder to search for ControlNets",
    ("--upscaler-dir", "--esrgan-models-path"): "another folder to search for upscalers",
    ("--wildcards-dir",): "another folder to search for wildcards",
    ("--models-dir",): "models of every kind: an installation of AUTOMATIC1111, Forge or ComfyUI, or any folder",
}
LATER = ("--listen", "--share", "--nowebui", "--api")


def parser() -> argparse.ArgumentParser:
    """The command line, with AUTOMATIC1111's names where it has them."""
    flags = argparse.ArgumentParser(
        prog="webui.sh", description="Atelier: a web studio for artists, on your own machine.", allow_abbrev=False
    )
    flags.add_argument("--port", type=int, help=f"port of the page (default: {PORT}, or the next one that is free)")
    for names, what in FOLDERS.items():
        flags.add_argument(
            *names, type=Path, action="append", default=[], metavar="DIR", help=f"{what}; may be given more than once"
        )
    flags.add_argument("--data-dir", type=Path, metavar="DIR", help="where outputs, settings, index and queue are kept")
    flags.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto", help="what to run on")
    flags.add_argument(
        "--precision",
        choices=("auto", "fp16", "bf16", "fp32"),
        default="auto",
        help="what numbers to compute with (auto: fp16 on a GPU, fp32 on a CPU)",
    )
    flags.add_argument(
        "--ram-gb", type=gigabytes, metavar="GB", help="RAM that models may fill (default: by what is free)"
    )
    flags.add_argument(
        "--vram-gb", type=gigabytes, metavar="GB", help="VRAM that models may fill (default: by what is free)"
    )
    flags.add_argument("--xformers", action="store_true", help="use xformers' attention where it runs")
    flags.add_argument("--autolaunch", action="store_true", help="open the page in the browser")
    for flag in LATER:
        flags.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    return flags


def gigabytes(text: str) -> float:
    """A positive number of a flag. Raises `argparse.ArgumentTypeError` for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of gigabytes")
    return value


def main() -> None:
    """Understand the flags, take the port, serve the page, and stay until Ctrl+C."""
    arguments = parser().parse_args()
    for flag in LATER:
        if getattr(arguments, flag.lstrip("-")):
            fail(f"{flag} comes with the door (login, API, shared link), which is not built yet: leave it out for now.")
    for flag, *_ in FOLDERS:
        for folder in getattr(arguments, flag.lstrip("-").replace("-", "_")):
            if not folder.is_dir():
                fail(f"There is no folder {folder}: a folder given by a flag must be there.")
    listener = take_port(arguments.port)
    serve(arguments, listener)


def fail(sentence: str) -> NoReturn:
    """End with a sentence and exit status 2."""
    print(f"Atelier: {sentence}", file=sys.stderr)
    sys.exit(2)


def take_port(wanted: int | None) -> socket.socket:
    """A bound socket on the port that was asked for, or on the first free one."""
    if wanted is not None and not 0 <= wanted <= 65535:
        fail(f"--port must be from 0 to 65535, not {wanted}.")
    for port in [wanted] if wanted is not None else range(PORT, PORT + PORTS_TRIED):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name != "nt":  # there it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            # A bound port can still be bound by another until one of them listens.
            listener.listen(2048)
        except OSError as error:
            listener.close()
            if wanted is not None:
                fail(f"Port {wanted} cannot be used ({error.strerror}): choose another with --port, or leave it out.")
            continue
        return listener
    fail(f"No port from {PORT} to {PORT + PORTS_TRIED - 1} is free: choose one with --port.")


def isolate(data_dir: Path) -> None:
    """Take the libraries' settings out of the environment's hands: no analytics, no hub, no shared folders."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    cache = data_dir / "cache"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(cache / "gradio"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def serve(arguments: argparse.Namespace, listener: socket.socket) -> None:
    """Compose the app, put the guard in front of it, and run until Ctrl+C."""
    from backend.app import App, Options
    from backend.claim import claim
    from backend.errors import UserError
    from backend.paths import ROOT

    options = Options(
        data_dir=(arguments.data_dir or ROOT).resolve(),
        checkpoint_dirs=tuple(arguments.ckpt_dir),
        lora_dirs=tuple(arguments.lora_dir),
        vae_dirs=tuple(arguments.vae_dir),
        embedding_dirs=tuple(arguments.embeddings_dir),
        controlnet_dirs=tuple(arguments.controlnet_dir),
        upscaler_dirs=tuple(arguments.upscaler_dir),
        wildcard_dirs=tuple(arguments.wildcards_dir),
        model_dirs=tuple(arguments.models_dir),
        device=arguments.device,
        xformers=arguments.xformers,
        precision=arguments.precision,
        ram_gb=arguments.ram_gb,
        vram_gb=arguments.vram_gb,
    )
    try:
        held = claim(options.data_dir)
        isolate(options.data_dir)
        app = App(options)
    except UserError as error:
        fail(str(error))
    except (OSError, sqlite3.Error) as error:
        fail(f"The data folder {options.data_dir} cannot be used: {error}.")

    import uvicorn
    from fastapi import FastAPI

    from backend.server import grids, inputs, live, models, pictures, prompts, recipes
    from backend.server.guard import Guard
    from ui.app import mount

    web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    web.include_router(live.router(app))
    web.include_router(pictures.router(app))
    web.include_router(inputs.router(app))
    web.include_router(models.router(app))
    web.include_router(prompts.router(app))
    web.include_router(recipes.router(app))
    web.include_router(grids.router(app))
    web = mount(web, app)
    address = f"http://{HOST}:{listener.getsockname()[1]}"

    class Server(uvicorn.Server):
        """Starts the work once the page can be served, not before: importing torch keeps Python busy for seconds."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"Atelier is at {address}  (Ctrl+C ends it)", flush=True)
            app.start()
            if arguments.autolaunch:
                import webbrowser

                webbrowser.open(address)

    config = uvicorn.Config(Guard(web), log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=2)
    # Asked to end, uvicorn ends the process on its own way out, and what follows would never be done.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Server(config).run([listener])
    except KeyboardInterrupt:
        pass
    finally:
        app.close()
        held.close()


if __name__ == "__main__":
    main()
