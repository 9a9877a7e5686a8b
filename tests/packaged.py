"""Extensions, wheels and repositories for tests of what is installed: written to the disk, never run."""

import base64
import hashlib
import os
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MODULE = """\
from pathlib import Path

from backend.extension_api import ExtensionApi, hook

Path(__file__).with_name("was_run").write_text("yes")


@hook
def register(api: ExtensionApi) -> None:
    pass
"""


def manifest(
    id: str = "frame",
    *,
    name: str = "",
    version: str = "1.0.0",
    dependencies: Sequence[str] = (),
    permissions: Sequence[str] = (),
    api: str = ">=1.0,<2",
) -> str:
    """An ``extension.toml``."""
    return (
        f'id = "{id}"\nname = "{name or id.title()}"\nversion = "{version}"\napi = "{api}"\n'
        f"dependencies = {list(dependencies)!r}\npermissions = {list(permissions)!r}\n"
    )


def files(id: str = "frame", *, module: str = MODULE, **about: object) -> dict[str, str]:
    """The files of an extension that leaves a mark beside itself when it is run."""
    return {"extension.toml": manifest(id, **about), "__init__.py": module, "parts/words.txt": "words\n"}  # type: ignore[arg-type]


def write_zip(path: Path, contents: Mapping[str, str | bytes], *, top: str = "") -> Path:
    """A zip of these files, in a top folder if one is named."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in contents.items():
            archive.writestr(f"{top}/{name}" if top else name, text)
    return path


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    needs: Sequence[str] = (),
    contents: Mapping[str, str | bytes] | None = None,
) -> Path:
    """A wheel of a package with one module, or with these files."""
    about = f"{name}-{version}.dist-info"
    written: dict[str, str | bytes] = dict(contents or {f"{name}.py": f'VERSION = "{version}"\n'})
    requires = "".join(f"Requires-Dist: {each}\n" for each in needs)
    written[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    written[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [f"{each},sha256={_digest(text)},{len(text)}" for each, text in written.items()]
    written[f"{about}/RECORD"] = "\n".join([*rows, f"{about}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    return write_zip(folder / f"{name}-{version}-py3-none-any.whl", written)


def _digest(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


class Repository:
    """A git repository in a folder, to which commits are added."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", ".")

    @property
    def url(self) -> str:
        """Where it can be fetched from."""
        return self.folder.as_uri()

    def git(self, *words: str) -> str:
        """What git says to these words in it."""
        env = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": f"{what.lower()}@example.org"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        settings = ("-c", "protocol.file.allow=always", "-c", "commit.gpgsign=false")
        ended = subprocess.run(
            ["git", *settings, *words], cwd=self.folder, env=env, check=True, capture_output=True, text=True
        )
        return ended.stdout.strip()

    def write(self, contents: Mapping[str, str | bytes]) -> None:
        """Put files into its folder."""
        for name, text in contents.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)

    def commit(self, contents: Mapping[str, str | bytes] | None = None) -> str:
        """Add all that lies there, and these files, as a commit; its id."""
        self.write(contents or {})
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--message", "A commit", "--allow-empty", "--no-verify")
        return self.git("rev-parse", "HEAD")
