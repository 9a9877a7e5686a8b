"""An extension in a git repository, at one commit: its objects are fetched, and its files written by ourselves.

A repository is a stranger's: nothing in it is checked out, so that no hook, filter, attribute or submodule of it is
heeded. Settings of this machine and its person are not read either.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from backend.extensions.program import Ended, environment, run, size_of
from backend.extensions.source import Origin, PlainFiles, SourceError, check_sizes

FETCH_SECONDS = 300.0
READ_SECONDS = 60.0
LARGEST_REPOSITORY = 512 * 1024 * 1024  # bytes of what is fetched
LONGEST_URL = 500
BATCH = 32 * 1024 * 1024  # bytes of files that are read at once
COMMIT = re.compile(r"[0-9a-f]{40}")
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
FILE_MODES = ("100644", "100755", "100664")
LFS = b"version https://git-lfs.github.com/spec/"
# What git does by itself, and would here do for a stranger.
QUIET = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "core.bigFileThreshold": "16m",  # what is larger never stands in memory as a whole
    "core.symlinks": "false",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "fetch.fsckObjects": "true",
    "fetch.unpackLimit": "1",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.sslVerify": "true",
    "init.templateDir": "",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "transfer.bundleURI": "false",
}


@dataclass(frozen=True, kw_only=True)
class GitSource:
    """The repository at a URL, at the commit with this full id. `tag` is by which it was asked for, and is only noted;
    `protocols` are those that git may speak."""

    url: str
    commit: str
    tag: str = ""
    protocols: tuple[str, ...] = ("https",)

    def __post_init__(self) -> None:
        """Raises `SourceError` for a URL that is none of `protocols`, and for what is no whole commit id."""
        object.__setattr__(self, "url", self.url.strip())
        object.__setattr__(self, "commit", self.commit.strip().lower())
        check_url(self.url, self.protocols)
        if not COMMIT.fullmatch(self.commit):
            raise SourceError(
                f"A commit is named by all 40 digits of its id, not by {self.commit[:60]!r}: branches and tags move."
            )

    def fetch(self, into: Path, work: Path) -> Origin:
        """As `Source.fetch`."""
        git = _Git(work / "repository", self.protocols)
        git.begin()
        git.fetch(self.url, self.commit)
        files = git.files(self.commit)
        plain = PlainFiles(into)
        for path, content in zip((each.path for each in files), git.contents(files), strict=True):
            if content.startswith(LFS):
                raise SourceError(f"{path[:200]!r} is kept in Git LFS, from which nothing is fetched: take a zip file.")
            plain.write(path, iter([content]))
        return Origin(kind="git", address=self.url, pin=self.commit, tag=self.tag)


def newest_commit(url: str, work: Path, protocols: tuple[str, ...] = ("https",)) -> str:
    """The commit that a repository's own branch is at now. Raises `SourceError`."""
    check_url(url, protocols)
    git = _Git(work / "repository", protocols)
    git.begin()
    return git.head(url)


def tagged_commit(url: str, tag: str, work: Path, protocols: tuple[str, ...] = ("https",)) -> str:
    """The commit that a tag of a repository names now. Raises `SourceError`."""
    check_url(url, protocols)
    git = _Git(work / "repository", protocols)
    git.begin()
    return git.tagged(url, tag)


@dataclass(frozen=True, kw_only=True)
class _File:
    path: str
    id: str
    size: int


class _Git:
    """A bare repository of our own, without anything of this machine's settings."""

    def __init__(self, folder: Path, protocols: tuple[str, ...]):
        self._folder = folder
        self._env = environment(
            GIT_ALLOW_PROTOCOL=":".join(protocols),
            GIT_CONFIG_NOSYSTEM="1",
            GIT_CONFIG_GLOBAL=os.devnull,
            GIT_ATTR_NOSYSTEM="1",
            GIT_TERMINAL_PROMPT="0",
            GIT_ASKPASS="",
            SSH_ASKPASS="",
            GIT_LFS_SKIP_SMUDGE="1",
            GIT_NO_REPLACE_OBJECTS="1",
            HOME=str(folder),
            XDG_CONFIG_HOME=str(folder),
        )

    def begin(self) -> None:
        """Make the repository. Raises `UserError` if there is no git."""
        self._folder.mkdir(parents=True)
        ended = self._run("init", "--bare", "--quiet", "--template=", ".")
        if ended.code:
            raise SourceError(f"git could not make a folder to work in: {_fault(ended)}.")

    def fetch(self, url: str, commit: str) -> None:
        """Fetch one commit, without those before it. Raises `SourceError` where it cannot be had."""

        def watch() -> None:
            if size_of(self._folder) > LARGEST_REPOSITORY:
                raise SourceError(f"The repository has more than {LARGEST_REPOSITORY // 2**20} MB: it is not fetched.")

        ended = self._run(
            *("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
            *("--end-of-options", url, commit),
            seconds=FETCH_SECONDS,
            watch=watch,
        )
        if ended.code:
            raise SourceError(f"The commit {commit} could not be fetched from {url}: {_fault(ended)}.")
        kind = self._run("cat-file", "-t", commit).out.strip()
        if kind != b"commit":
            raise SourceError(f"{commit} is no commit in {url}.")

    def head(self, url: str) -> str:
        """The commit that a repository's HEAD names. Raises `SourceError`."""
        ended = self._run("ls-remote", "--quiet", "--end-of-options", url, "HEAD", seconds=READ_SECONDS)
        found = re.match(r"([0-9a-f]{40})\s", ended.out.decode("ascii", errors="replace"))
        if ended.code or found is None:
            raise SourceError(f"{url} does not say which commit is its newest: {_fault(ended)}.")
        return found[1]

    def tagged(self, url: str, tag: str) -> str:
        """The commit that a tag names; of one with words of its own, the commit behind it. Raises `SourceError`."""
        found: dict[str, str] = {}
        if TAG.fullmatch(tag) and ".." not in tag and "//" not in tag:
            name = f"refs/tags/{tag}"
            asked = ("--end-of-options", url, name, f"{name}^{{}}")
            ended = self._run("ls-remote", "--quiet", *asked, seconds=READ_SECONDS)
            if ended.code:
                raise SourceError(f"{url} does not say which tags it has: {_fault(ended)}.")
            # What git finds ends with the name: there may be more before it.
            lines = (line.split("\t", 1) for line in ended.out.decode("utf-8", errors="replace").splitlines())
            found = {line[1]: line[0] for line in lines if len(line) == 2}
            commit = found.get(f"{name}^{{}}") or found.get(name, "")
            if COMMIT.fullmatch(commit):
                return commit
        raise SourceError(
            f"{url} has no tag {tag[:60]!r}: name a tag, or a commit by all 40 digits of its id; branches move."
        )

    def files(self, commit: str) -> list[_File]:
        """Every file of a commit. Raises `SourceError` for one that has links or submodules, or too much."""
        ended = self._run("ls-tree", "-r", "-l", "-z", "--full-tree", commit)
        if ended.code:
            raise SourceError(f"The commit {commit} cannot be read: {_fault(ended)}.")
        files = []
        for line in ended.out.split(b"\0")[:-1]:
            about, _, name = line.partition(b"\t")
            mode, kind, id, size = about.decode("ascii").split()
            path = _decoded(name)
            if mode == "120000":
                raise SourceError(f"{path[:200]!r} in it is a link: it is not installed.")
            if kind == "commit":
                raise SourceError(f"{path[:200]!r} in it is a submodule, and no other repository is fetched for it.")
            if mode not in FILE_MODES:
                raise SourceError(f"{path[:200]!r} in it is no plain file.")
            files.append(_File(path=path, id=id, size=int(size)))
        check_sizes(each.size for each in files)
        return files

    def contents(self, files: list[_File]) -> Iterator[bytes]:
        """What the files hold, in their order: the objects as they are, without any filter."""
        batch: list[_File] = []
        for each in files:
            if batch and sum(one.size for one in batch) + each.size > BATCH:
                yield from self._batch(batch)
                batch = []
            batch.append(each)
        yield from self._batch(batch)

    def _batch(self, files: list[_File]) -> Iterator[bytes]:
        asked = "".join(f"{each.id}\n" for each in files).encode()
        ended = self._run("cat-file", "--batch", given=asked)
        rest = memoryview(ended.out)
        for each in files:
            head = f"{each.id} blob {each.size}\n".encode()
            if rest[: len(head)] != head or len(rest) < len(head) + each.size + 1:
                raise SourceError(f"{each.path[:200]!r} cannot be read from the repository.")
            yield bytes(rest[len(head) : len(head) + each.size])
            rest = rest[len(head) + each.size + 1 :]

    def _run(
        self,
        *words: str,
        given: bytes = b"",
        seconds: float = READ_SECONDS,
        watch: Callable[[], None] = lambda: None,
    ) -> Ended:
        settings = [word for name, value in QUIET.items() for word in ("-c", f"{name}={value}")]
        return run(
            ["git", *settings, *words], folder=self._folder, env=self._env, seconds=seconds, given=given, watch=watch
        )


def check_url(url: str, protocols: tuple[str, ...] = ("https",)) -> None:
    """Raises `SourceError` for a URL that is none of a repository by one of the protocols, without a password."""
    said = repr(url[:200])
    try:
        parts = urlsplit(url)
        named = parts.hostname or parts.scheme == "file"
        secret = parts.username is not None or parts.password is not None
        _ = parts.port
    except ValueError as error:
        raise SourceError(f"{said} is no address: {error}.") from error
    if parts.scheme not in protocols or not named or not url.startswith(f"{parts.scheme}://") or "::" in parts.scheme:
        raise SourceError(f"{said} is no address of a repository that begins with {protocols[0]}://.")
    if secret:
        raise SourceError("The address of a repository must not have a name or a password in it.")
    if len(url) > LONGEST_URL or re.search(r"[\s\x00-\x1f\x7f\\]", url) or not url.isascii():
        raise SourceError(f"{said} is no address: it is too long, or has signs that an address has not.")


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"It has a file {name[:200]!r}, whose name is no text.") from error


def _fault(ended: Ended) -> str:
    """What git said, in a line."""
    lines = [line.strip() for line in ended.said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines
    return (
        re.sub(r"^(fatal|error|remote): *", "", told[-1]).rstrip(".")[:300] if told else f"git ended with {ended.code}"
    )
