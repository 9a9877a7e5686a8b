"""The Hugging Face Hub: what a person may paste, what a repository holds that can be used, and where its files are.

Facts of its interface: ``/api/models/REPO/revision/REV`` names the commit, ``/api/models/REPO/tree/COMMIT`` lists files
with sizes and, for large ones, their sha256; ``/REPO/resolve/COMMIT/PATH`` is the file, whose head says the same in
X-Repo-Commit, X-Linked-Size and X-Linked-ETag. Everything is asked for by commit: what was listed is what is fetched.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin

from backend.model_manager.downloads.download_record import Download
from backend.model_manager.downloads.intake import PICKLES, SAFETENSORS, is_plain_path, safe_name
from backend.model_manager.downloads.transfer import SHA256, RemoteFile
from backend.web_address import WebError, parse_address
from backend.web_client import WebClient, WebResponse

HUB = "https://huggingface.co"
HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
MAIN = "main"
LARGEST_ANSWER = 32 * 1024 * 1024  # bytes of JSON
MOST_PAGES = 50
NOT_MODELS = frozenset({"datasets", "spaces", "docs", "api", "blog", "papers", "collections", "settings"})
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
# Names that say nothing outside their repository.
NAMELESS = re.compile(
    r"(diffusion_pytorch_model|model|pytorch_lora_weights|pytorch_model|adapter_model|learned_embeds)\b"
)
TRAINING = re.compile(r"(optimizer|scheduler|training_args|openvino_model|rng_state|scaler)\b")
# The only files of a diffusers folder that are ever fetched. No code, no pickles.
FOLDER_FILE = re.compile(
    r"model_index\.json"
    r"|\w+/config\.json"
    r"|\w+/[\w.-]+\.safetensors(\.index(\.\w+)?\.json)?"
    r"|tokenizer(_\d)?/(vocab|tokenizer|tokenizer_config|special_tokens_map|added_tokens)\.json"
    r"|tokenizer(_\d)?/merges\.txt"
    r"|scheduler/scheduler_config\.json",
    re.ASCII,
)
NEVER_USED = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
VARIANT = re.compile(r"\.(fp16|bf16|non_ema|ema)(?=[.-])")


@dataclass(frozen=True, kw_only=True)
class HubPlace:
    """What a pasted text names on the hub: a repository at a revision, and a file in it if `path` is not empty."""

    repository: str
    revision: str = MAIN
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file as the hub lists it; `sha256` of a large one, else `git_blob`, its sha1 in git."""

    path: str
    size: int
    sha256: str = ""
    git_blob: str = ""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Something in a repository that can be fetched: one file, or with `folder` a whole diffusers folder. `name` is
    what it will be called here, `size` in bytes."""

    title: str
    name: str
    folder: bool
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A repository at one commit. `gated`: its terms have to be accepted on its page first."""

    repository: str
    commit: str
    gated: bool
    files: tuple[HubFile, ...]

    def choices(self) -> tuple[Choice, ...]:
        """What of it can be used, largest first; pickles only where no safetensors file stands beside them."""
        paths = {file.path for file in self.files}
        single = [
            Choice(title=file.path, name=file_name(self.repository, file.path), folder=False, files=(file,))
            for file in self.files
            if _is_model(file.path) and not _has_better(file.path, paths)
        ]
        return (*self._folders(), *sorted(single, key=lambda choice: -choice.size))

    def _folders(self) -> list[Choice]:
        """The diffusers folder, once for each variant that its networks come in."""
        allowed = [file for file in self.files if FOLDER_FILE.fullmatch(file.path)]
        allowed = [file for file in allowed if file.path.partition("/")[0] not in NEVER_USED]
        if not any(file.path == "model_index.json" for file in allowed):
            return []
        weights = [file for file in allowed if ".safetensors" in file.path]
        rest = [file for file in allowed if ".safetensors" not in file.path]
        name = safe_name(self.repository.partition("/")[2])
        found = []
        for variant in ("", "fp16", "bf16"):
            networks = [file for file in weights if _variant(file.path) == variant]
            if any(file.path.startswith(("unet/", "transformer/")) for file in networks):
                # Where a component has no file of this variant, its plain one belongs to it.
                has = {file.path.partition("/")[0] for file in networks}
                plain = [f for f in weights if not _variant(f.path) and f.path.partition("/")[0] not in has]
                found.append(
                    Choice(
                        title=f"the whole folder{f' in {variant}' if variant else ''}",
                        name=f"{name}-{variant}" if variant else name,
                        folder=True,
                        files=(*rest, *networks, *plain),
                    )
                )
        return found


def _variant(path: str) -> str:
    match = VARIANT.search(path.rpartition("/")[2])
    return match[1] if match else ""


def _is_model(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith((SAFETENSORS, *PICKLES)) and not TRAINING.match(name)


def _has_better(path: str, paths: set[str]) -> bool:
    stem, _, suffix = path.rpartition(".")
    return f".{suffix}" in PICKLES and stem + SAFETENSORS in paths


def file_name(repository: str, path: str) -> str:
    """What a file of a repository is called here: its own name, after the repository's where it would say nothing."""
    name = path.rpartition("/")[2]
    if NAMELESS.match(name):
        inner = path.rpartition("/")[0].replace("/", "-")
        name = "-".join(part for part in (repository.partition("/")[2], inner, name) if part)
    return safe_name(name)


def hub_endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """The hub's address: HF_ENDPOINT, as with Hugging Face's own programs, or huggingface.co. Raises `WebError`."""
    return parse_address(environment.get("HF_ENDPOINT", "").strip() or HUB).origin


def vouched_origins(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The origins to trust because whoever starts Atelier named them: a mirror of HF_ENDPOINT may lie in the own
    network. Raises `WebError`."""
    return frozenset({hub_endpoint(environment)} - {HUB})


def parse_place(text: str, endpoint: str = HUB) -> HubPlace | None:
    """What a pasted text names on the hub: ``owner/name``, or the address of a page there (of a repository, ``tree``,
    ``blob`` or ``resolve``). None if it is the address of something elsewhere; raises `WebError` if it is nothing."""
    text = text.strip()
    if REPOSITORY.fullmatch(text):
        return HubPlace(repository=text)
    address = parse_address(f"https://{text}" if text.partition("/")[0].lower() in HUB_HOSTS else text)
    if address.host not in HUB_HOSTS and address.origin != parse_address(endpoint).origin:
        return None
    parts = [unquote(part) for part in address.target.partition("?")[0].split("/") if part]
    repository = "/".join(parts[:2])
    if len(parts) < 2 or parts[0] in NOT_MODELS or not REPOSITORY.fullmatch(repository):
        raise WebError(f"{text.partition('?')[0]!r} is no model on the hub: its address is {endpoint}/OWNER/NAME.")
    match parts[2:]:
        case ["tree" | "blob" | "resolve" | "raw" as view, "refs", "pr" | "convert" as kind, name, *path]:
            return _place(text, repository, view, f"refs/{kind}/{name}", path)
        case ["tree" | "blob" | "resolve" | "raw" as view, revision, *path]:
            return _place(text, repository, view, revision, path)
    return HubPlace(repository=repository)


def _place(text: str, repository: str, view: str, revision: str, path: list[str]) -> HubPlace:
    inner = "/".join(path)
    if view == "tree":
        return HubPlace(repository=repository, revision=revision)
    if not inner or not is_plain_path(inner):
        raise WebError(f"{text.partition('?')[0]!r} names no file of {repository}.")
    return HubPlace(repository=repository, revision=revision, path=inner)


class Hub:
    """Asks the hub. Every answer is checked: a path that is none, a size below 0 or a sha256 of another length is not
    taken over."""

    def __init__(self, client: WebClient, endpoint: str = HUB):
        self._client = client
        self.endpoint = endpoint

    def address(self, place: HubPlace) -> str:
        """Where the bytes of a file are."""
        return f"{self.endpoint}/{place.repository}/resolve/{quote(place.revision, safe='')}/{quote(place.path)}"

    def listing(self, place: HubPlace) -> Listing:
        """What the repository holds. Raises `WebError`, which says of a private or a gated one what to do."""
        repository = place.repository
        said = self._json(f"{self._api(repository)}/revision/{quote(place.revision, safe='')}", repository)[0]
        commit = said.get("sha") if isinstance(said, dict) else None
        if not isinstance(said, dict) or not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise WebError(f"The hub's answer about {repository} cannot be understood.")
        files: list[HubFile] = []
        page = f"{self._api(repository)}/tree/{commit}?recursive=true"
        for _ in range(MOST_PAGES):
            entries, onward = self._json(page, repository)
            if not isinstance(entries, list):
                raise WebError(f"The hub's list of {repository} cannot be understood.")
            files += [file for file in map(_listed, entries) if file is not None]
            if not onward:
                gated = said.get("gated") not in (False, None)
                return Listing(repository=repository, commit=commit, gated=gated, files=tuple(files))
            if parse_address(onward).origin != parse_address(page).origin:
                raise WebError(f"The hub's list of {repository} goes on at another host; it is not followed.")
            page = onward
        raise WebError(f"{repository} has more files than can be listed here.")

    def file(self, place: HubPlace) -> tuple[HubFile, str]:
        """One file and the commit it is at, by the head of its address. Raises `WebError`."""
        with self._client.open(self.address(place), method="HEAD", stay=True) as response:
            self._refuse(response, place.repository)
            size = response.header("x-linked-size") or response.header("content-length")
            tag = (response.header("x-linked-etag") or response.header("etag")).removeprefix("W/").strip('"')
            commit = response.header("x-repo-commit")
        if not COMMIT.fullmatch(commit) or not re.fullmatch(r"\d{1,18}", size):
            raise WebError(f"The hub does not say which version of {place.path} this is, or how large.")
        file = HubFile(
            path=place.path,
            size=int(size),
            sha256=tag if SHA256.fullmatch(tag) else "",
            git_blob=tag if COMMIT.fullmatch(tag) else "",
        )
        return file, commit

    def download_file(self, place: HubPlace, folder: Path, name: str = "") -> Download:
        """A download of one file, by where it is. Raises `WebError`."""
        file, commit = self.file(place)
        return Download(
            folder=folder,
            files=(self.remote(place.repository, commit, file),),
            name=name or file_name(place.repository, place.path),
        )

    def download(self, listing: Listing, choice: Choice, folder: Path) -> Download:
        """A download of something that a listing offers."""
        files = tuple(self.remote(listing.repository, listing.commit, file) for file in choice.files)
        return Download(folder=folder, files=files, name=choice.name, whole_folder=choice.folder)

    def remote(self, repository: str, commit: str, file: HubFile) -> RemoteFile:
        """Where to fetch a file of a repository, and what it has to be."""
        return RemoteFile(
            address=self.address(HubPlace(repository=repository, revision=commit, path=file.path)),
            path=file.path,
            size=file.size,
            sha256=file.sha256,
            git_blob=file.git_blob,
            page=f"{self.endpoint}/{repository}",
        )

    def _api(self, repository: str) -> str:
        return f"{self.endpoint}/api/models/{repository}"

    def _json(self, address: str, repository: str) -> tuple[Any, str]:
        """An answer, and the address of its next page."""
        with self._client.open(address) as response:
            self._refuse(response, repository)
            match = re.search(r'<([^<>]+)>\s*;\s*rel="next"', response.header("link"))
            onward = urljoin(str(response.address), match[1]) if match else ""
            return response.json(LARGEST_ANSWER), onward

    def _refuse(self, response: WebResponse, repository: str) -> None:
        host, page = parse_address(self.endpoint).host, f"{self.endpoint}/{repository}"
        code = response.header("x-error-code")
        if code == "GatedRepo" or response.status == 403:
            raise WebError(f"{repository} is gated: accept its terms at {page}, then give a token for {host}.")
        if code == "RevisionNotFound":
            raise WebError(f"{repository} has no such branch, tag or commit.")
        if code == "EntryNotFound":
            raise WebError(f"{repository} has no such file.")
        if code == "RepoNotFound" or response.status in (401, 404):
            raise WebError(
                f"There is no repository {repository} on {host}, or it is private: "
                f"then give a token for {host} that may read it."
            )
        failure = response.failure()
        if failure:
            raise failure


def _listed(entry: Any) -> HubFile | None:
    """A file from an entry of the hub's list; nothing for a folder, or for an entry that cannot be."""
    match entry:
        case {"type": "file", "path": str(path), "lfs": {"oid": str(oid), "size": int(size)}}:
            file = HubFile(path=path, size=size, sha256=oid)
        case {"type": "file", "path": str(path), "oid": str(oid), "size": int(size)}:
            file = HubFile(path=path, size=size, git_blob=oid)
        case _:
            return None
    sound = SHA256.fullmatch(file.sha256) if file.sha256 else COMMIT.fullmatch(file.git_blob)
    return file if sound and file.size >= 0 and is_plain_path(file.path) else None
