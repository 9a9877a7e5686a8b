"""The command line, with AUTOMATIC1111's names where it has them.

Only the standard library, so that ``--help`` answers at once.
"""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PORT = 7860
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
# What A1111's launch lines may hold besides: flags, and flags with a value, that mean nothing here.
ELSEWHERE = (
    *("--api-log", "--api-server-stop", "--disable-tls-verify", "--no-download-sd-model", "--no-hashing"),
    *("--skip-load-model-at-start", "--medvram", "--medvram-sdxl", "--lowvram", "--lowram", "--no-half-vae"),
    *("--upcast-sampling", "--opt-sdp-attention", "--opt-sdp-no-mem-attention", "--opt-split-attention"),
    *("--opt-split-attention-v1", "--opt-split-attention-invokeai", "--opt-sub-quad-attention", "--opt-channelslast"),
    *("--disable-nan-check", "--use-ipex", "--disable-extra-extensions"),
    *("--update-all-extensions", "--freeze-settings", "--hide-ui-dir-config", "--administrator"),
    *("--no-prompt-history", "--unix-filenames-sanitization", "--skip-install", "--skip-torch-cuda-test"),
    *("--skip-python-version-check", "--reinstall-torch", "--log-startup", "--dump-sysinfo", "--test-server"),
)
ELSEWHERE_WITH_VALUE = (
    *("--ngrok-region", "--ngrok-options", "--gradio-allowed-path", "--theme", "--ckpt", "--hypernetwork-dir"),
    *("--realesrgan-models-path", "--device-id", "--freeze-settings-in-sections", "--freeze-specific-settings"),
    *("--styles-file", "--ui-config-file", "--ui-settings-file", "--filenames-max-length", "--loglevel"),
)
# Those that somebody who gives them counts on: they are told why not.
NOT_HERE = {
    "--ngrok": "--ngrok is not there: --share opens a public link, with a password.",
    "--allow-code": "--allow-code is not there: nothing here runs code that somebody types into the page.",
    "--enable-insecure-extension-access": "--enable-insecure-extension-access is not there: code is changed at this "
    "machine only, and while nobody elsewhere can reach Atelier.",
    "--disable-safe-unpickle": "--disable-safe-unpickle is not there: no pickle is ever run, it is converted.",
}
EXTENSIONS = "extensions"  # the folder that they lie in, of ours and in the data folder
EXTENSION_FLAG = re.compile(r"--[a-z][a-z0-9]*(-[a-z0-9]+)+")
PRECISIONS = {"full": "fp32", "half": "fp16", "autocast": "auto"}  # A1111's words
LONGEST_SHARE = 72.0  # hours: then Gradio's relay lets go of a link by itself


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
        choices=("auto", "fp16", "bf16", "fp32", *PRECISIONS),
        default="auto",
        help="what numbers to compute with (auto: fp16 on a GPU, fp32 on a CPU)",
    )
    flags.add_argument(
        "--ram-gb", type=gigabytes, metavar="GB", help="RAM that models may fill (default: by what is free)"
    )
    flags.add_argument(
        "--vram-gb", type=gigabytes, metavar="GB", help="VRAM that models may fill (default: by what is free)"
    )
    flags.add_argument(
        "--safe-mode", "--disable-all-extensions", action="store_true", help="start without any extension"
    )
    flags.add_argument("--xformers", action="store_true", help="use xformers' attention where it runs")
    flags.add_argument("--autolaunch", action="store_true", help="open the page in the browser")
    _door_flags(flags.add_argument_group("who may come in"))
    flags.add_argument("--no-half", action="store_const", const="fp32", dest="precision", help=argparse.SUPPRESS)
    flags.add_argument("--use-cpu", nargs="+", default=[], help=argparse.SUPPRESS)
    for flag in (*ELSEWHERE, *NOT_HERE):
        named = "?" if flag == "--ngrok" else 0
        kind: dict[str, Any] = {"nargs": named, "const": True} if named else {"action": "store_true"}
        flags.add_argument(flag, help=argparse.SUPPRESS, **kind)
    for flag in ELSEWHERE_WITH_VALUE:
        flags.add_argument(flag, help=argparse.SUPPRESS)
    return flags


def _door_flags(door: "argparse._ArgumentGroup") -> None:
    door.add_argument("--listen", action="store_true", help="let other machines reach the page; needs a login")
    door.add_argument("--server-name", default="", metavar="ADDRESS", help="the address to serve at")
    door.add_argument(
        "--gradio-auth",
        default="",
        metavar="NAME:PASSWORD",
        help="who may log in, between commas: the first is administrator, the others artists ('viewer NAME:PASSWORD' "
        "says otherwise). Without a password it is asked for. ATELIER_AUTH in the environment holds the same, and is "
        "not seen in the list of processes",
    )
    door.add_argument("--gradio-auth-path", type=Path, metavar="FILE", help="a file with logins, one to a line")
    door.add_argument("--api-auth", default="", metavar="NAME:PASSWORD", help="more logins, for programs: artists")
    door.add_argument("--share", action="store_true", help="a public link through Gradio's servers, with a password")
    door.add_argument(
        "--share-hours", type=hours, default=8.0, metavar="HOURS", help="when the public link ends (default: 8)"
    )
    door.add_argument("--nowebui", action="store_true", help="serve what is for programs, and no page")
    door.add_argument("--api", action="store_true", help="accepted: what is for programs is always there")
    door.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="a name that a proxy in front serves under"
    )
    door.add_argument("--subpath", default="", metavar="PATH", help="what all addresses begin with, behind a proxy")
    door.add_argument(
        "--cors-allow-origins", default="", metavar="ORIGINS", help="websites whose pages may use what is for programs"
    )
    door.add_argument("--cors-allow-origins-regex", default="", metavar="REGEX", help="the same, as a pattern")
    door.add_argument("--tls-keyfile", type=Path, metavar="FILE", help="the private key, to serve https")
    door.add_argument("--tls-certfile", type=Path, metavar="FILE", help="the certificate, to serve https")
    door.add_argument("--hash-password", action="store_true", help="ask for a password, print what may stand for it")
    door.add_argument("--new-token", default="", metavar="NAME", help="print a new token for a program, and end")
    door.add_argument(
        "--token-scopes", default="read,make", help="what it may: read, make, manage (default: read,make)"
    )


def hours(text: str) -> float:
    """How long a link may live. Raises `argparse.ArgumentTypeError`."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= LONGEST_SHARE:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours up to {LONGEST_SHARE:g}")
    return value


def gigabytes(text: str) -> float:
    """A positive number of a flag. Raises `argparse.ArgumentTypeError` for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of gigabytes")
    return value


def parse(line: Sequence[str]) -> argparse.Namespace:
    """What a launch line asks for, with a sentence for what does nothing. Ends the program for one that cannot be."""
    # A1111's own variable for flags, which its containers and launchers set. It may hold a password: what is started
    # later does not have it.
    words = [*line, *shlex.split(os.environ.pop("COMMANDLINE_ARGS", ""))]
    flags = parser()
    theirs = _extension_flags(flags, words)
    arguments = flags.parse_args(words)
    arguments.extension_flags = {name: value for name in theirs if (value := getattr(arguments, name)) is not None}
    arguments.precision = PRECISIONS.get(arguments.precision, arguments.precision)
    if "all" in arguments.use_cpu:
        arguments.device = "cpu"
    if "ATELIER_SUPERVISED" not in os.environ:  # then it has been said
        _say_what_is_not_here(arguments)
    return arguments


def _extension_flags(flags: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Add what extensions declare in their manifests; returns the names without dashes in front. Also of those that are
    off: a launch line holds for tomorrow too. `--help` shows those of extensions that are on."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--data-dir", type=Path)
    data_dir = first.parse_known_args(words)[0].data_dir or Path(__file__).parent
    group, names = flags.add_argument_group("extensions"), []
    for manifest, is_on in _manifests(data_dir):
        tables = manifest.get("flags")
        for table in tables if isinstance(tables, list) else ():
            if not isinstance(table, dict):
                continue
            flag, text = str(table.get("name", "")), str(table.get("help", "")).replace("%", "%%")
            if not EXTENSION_FLAG.fullmatch(flag):
                continue  # its manifest is refused, with a sentence, where extensions are loaded
            name = flag.removeprefix("--")
            kind: dict[str, Any] = {"action": "store_true", "default": None} if table.get("type") == "flag" else {}
            shown = f"{text or 'no description'} ({manifest.get('name')})" if is_on else argparse.SUPPRESS
            try:
                group.add_argument(flag, dest=name, help=shown, **kind)
            except argparse.ArgumentError:
                print(f"Atelier: {flag} of {manifest.get('name')} is taken by another flag.", file=sys.stderr)
            else:
                names.append(name)
    return names


def _manifests(data_dir: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    """What extensions say of themselves, and whether each is on; one that cannot be read says nothing."""
    ours = Path(__file__).parent / EXTENSIONS
    folders = {(data_dir / EXTENSIONS).resolve(): False, ours: True}
    at_first = _at_first(ours / "bundled.txt")
    try:
        switched = json.loads((data_dir / "extensions.json").read_text(encoding="utf-8"))["switched"]
    except (OSError, ValueError, KeyError, TypeError):
        switched = {}
    for folder, is_ours in folders.items():
        for path in sorted(folder.glob("*/extension.toml")):
            if is_ours and folder != (data_dir / EXTENSIONS).resolve() and path.parent.name not in at_first:
                continue  # installed for another data folder
            import tomllib

            try:
                manifest = tomllib.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError):
                continue
            id = str(manifest.get("id"))
            yield manifest, isinstance(switched, dict) and bool(switched.get(id, at_first.get(id, False)))


def _at_first(listed: Path) -> dict[str, bool]:
    """The ids of a list of those that ship with Atelier, and whether each is on at first."""
    try:
        lines = [line.partition("#")[0].split() for line in listed.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return {}
    return {words[0]: "on" in words[1:] for words in lines if words}


def given(arguments: argparse.Namespace, flag: str) -> Any:
    """What stands behind a flag."""
    return getattr(arguments, flag.lstrip("-").replace("-", "_"))


def _say_what_is_not_here(arguments: argparse.Namespace) -> None:
    """A sentence for flags of A1111 that do nothing: its launch lines start Atelier all the same."""
    idle = [flag for flag in (*ELSEWHERE, *ELSEWHERE_WITH_VALUE) if given(arguments, flag)]
    for flag, sentence in NOT_HERE.items():
        if given(arguments, flag):
            print(f"Atelier: {sentence}", file=sys.stderr)
    if idle:
        print(f"Atelier: without effect here, and left aside: {', '.join(idle)}.", file=sys.stderr)
