"""Repositories to install and update from, also hostile ones: refused with a sentence, and nothing is run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.extensions import git_source, source
from backend.extensions.git_source import GitSource, newest_commit
from backend.extensions.install import Installer
from backend.extensions.source import Origin
from tests.extension_studio import Studio, opened, refused
from tests.packaged import Repository, files

FILE = ("file",)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with opened(tmp_path) as studio:
        yield studio


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def at(repository: Repository, commit: str) -> GitSource:
    return GitSource(url=repository.url, commit=commit, protocols=FILE)


def test_a_repository_is_installed_at_one_commit(studio: Studio, repository: Repository) -> None:
    first = repository.commit(files())
    repository.commit(files(version="2.0.0"))
    extension = studio.install(at(repository, first.upper()))
    assert (extension.version, extension.state, studio.was_run()) == ("1.0.0", "off", False)
    assert studio.installer.origin("frame") == Origin(kind="git", address=repository.url, pin=first)
    assert not (extension.folder / ".git").exists()
    assert newest_commit(repository.url, studio.folder / "work", FILE) == repository.git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    "url",
    [
        "-u/bin/touch",
        "--upload-pack=touch was_run",
        "ext::sh -c touch% was_run",
        "file:///etc",
        "/etc",
        "../repository",
        "git@example.org:frame.git",
        "ssh://-oProxyCommand=touch/frame",
        "http://example.org/frame.git",
        "git://example.org/frame.git",
        "https://",
        "https://artist:secret@example.org/frame.git",
        "https://example.org/frame.git\n--upload-pack=x",
        "https://example.org/fr ame.git",
        "https://example.org:port/frame.git",
        "fd::17",
    ],
)
def test_an_address_that_is_no_web_address_of_a_repository_is_refused(studio: Studio, url: str) -> None:
    refused(studio, lambda: GitSource(url=url, commit="0" * 40), "address")


@pytest.mark.parametrize("commit", ["main", "", "HEAD", "0" * 39, "--upload-pack=x", "g" * 40, "0" * 40 + "^{tree}"])
def test_what_is_no_whole_commit_is_refused(studio: Studio, commit: str) -> None:
    refused(studio, lambda: GitSource(url="https://example.org/frame.git", commit=commit), "all 40 digits of its id")


def test_a_commit_that_is_not_there_is_refused_and_so_is_what_is_none(studio: Studio, repository: Repository) -> None:
    repository.commit(files())
    refused(studio, at(repository, "0" * 40), "could not be fetched")
    tree = repository.git("rev-parse", "HEAD^{tree}")
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    refused(studio, at(repository, tree), "could not be fetched|is no commit")


def test_protocols_that_were_not_asked_for_are_not_spoken(studio: Studio, repository: Repository) -> None:
    """What git itself says, if an address should come through to it."""
    commit = repository.commit(files())
    source = at(repository, commit)
    object.__setattr__(source, "protocols", ("https",))
    refused(studio, source, "transport 'file' not allowed")


def test_links_and_submodules_are_refused(studio: Studio, repository: Repository) -> None:
    repository.write(files())
    (repository.folder / "passwords").symlink_to("/etc/passwd")
    refused(studio, at(repository, repository.commit()), "'passwords' in it is a link")
    (repository.folder / "passwords").unlink()
    other = Repository(repository.folder.with_name("other"))
    other.commit({"x": "y"})
    repository.git("submodule", "add", "--quiet", other.url, "other")
    refused(studio, at(repository, repository.commit()), "'other' in it is a submodule")


def test_hooks_filters_and_attributes_are_not_heeded(
    studio: Studio, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = studio.folder / "marked"
    home = studio.folder / "home"
    hooks = home / "hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "post-merge", "reference-transaction", "fsmonitor-watchman"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {marked}\n")
        (hooks / name).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\n\thooksPath = {hooks}\n\tfsmonitor = {hooks}/post-checkout\n\tattributesFile = {home}/attributes\n"
        f'[filter "evil"]\n\tsmudge = touch {marked}\n\tclean = touch {marked}\n\trequired = true\n'
        f'[init]\n\ttemplateDir = {home}\n[credential]\n\thelper = "!touch {marked}"\n'
    )
    (home / "attributes").write_text("* filter=evil\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {marked}")
    commit = repository.commit({**files(), ".gitattributes": "* filter=evil ident eol=crlf export-ignore\n"})
    extension = studio.install(at(repository, commit))
    assert not marked.exists()
    assert (extension.folder / "parts" / "words.txt").read_bytes() == b"words\n"


def test_large_repositories_are_refused(
    studio: Studio, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit({**files(), "noise": os.urandom(3 << 20)})
    monkeypatch.setattr(source, "LARGEST_FILE", 1 << 20)
    refused(studio, at(repository, commit), "more than")
    monkeypatch.setattr(git_source, "LARGEST_REPOSITORY", 1 << 20)
    refused(studio, at(repository, commit), "The repository has more than 1 MB")


def test_what_is_kept_elsewhere_is_refused(studio: Studio, repository: Repository) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
    refused(
        studio, at(repository, repository.commit({**files(), "model.bin": pointer})), "'model.bin' is kept in Git LFS"
    )


def test_a_tree_with_a_folder_that_leads_out_is_refused(studio: Studio, repository: Repository) -> None:
    """Which git itself would not make: such a tree is written by hand."""
    repository.commit(files())
    blob = repository.git("rev-parse", "HEAD:__init__.py")
    inner = _tree(repository, b"100644 evil.py\0" + bytes.fromhex(blob))
    outer = _tree(repository, b"40000 ..\0" + bytes.fromhex(inner))
    commit = repository.git("commit-tree", outer, "-m", "evil")
    repository.git("update-ref", "refs/heads/evil", commit)
    refused(studio, at(repository, commit), "could not be fetched|leads out of its folder")


def test_a_tree_that_unfolds_without_end_is_refused(studio: Studio, repository: Repository) -> None:
    """Ten folders that are one and the same, in ten, in ten: a few objects, and ten billion paths."""
    repository.commit(files())
    id, mode = repository.git("rev-parse", "HEAD:__init__.py"), b"100644"
    for _ in range(10):
        rows = (mode + b" f%d\0" % number + bytes.fromhex(id) for number in range(10))
        id, mode = _tree(repository, b"".join(rows)), b"40000"
    commit = repository.git("commit-tree", id, "-m", "bomb")
    repository.git("update-ref", "refs/heads/bomb", commit)
    refused(studio, at(repository, commit), "git said more than can be read, and was ended")


def _tree(repository: Repository, data: bytes) -> str:
    path = repository.folder.with_name("tree")
    path.write_bytes(data)
    return repository.git("hash-object", "-t", "tree", "-w", "--literally", str(path))


def test_an_update_comes_from_the_same_place(studio: Studio, repository: Repository) -> None:
    studio.install(at(repository, repository.commit(files())))
    commit = repository.commit(files(version="2.0.0"))
    with pytest.raises(UserError, match="no address of a repository that begins with https"):
        studio.installer.plan_update("frame", commit)
    studio.installer.remove("frame")
    studio.install(studio.zip())
    with pytest.raises(UserError, match="Frame came as a zip file: to update it, install another file"):
        studio.installer.newest("frame")


@pytest.fixture
def local(studio: Studio) -> Studio:
    """A studio that updates from repositories on this disk."""
    studio.installer = Installer(studio.extensions, studio.data, pip=studio.pip, protocols=FILE)
    return studio


def test_an_update_goes_to_the_commit_that_is_named_and_back(local: Studio, repository: Repository) -> None:
    first = repository.commit(files())
    second = repository.commit(files(version="2.0.0", permissions=["network"]))
    repository.commit(files(version="3.0.0"))
    local.install(at(repository, first))
    local.extensions.switch("frame", True)
    plan = local.installer.plan_update("frame", f" {second.upper()} ")
    assert plan.replaces is not None
    assert (plan.manifest.version, plan.replaces.version, plan.new_permissions) == ("2.0.0", "1.0.0", ("network",))
    assert plan.before == local.installer.origin("frame") == Origin(kind="git", address=repository.url, pin=first)
    assert local.extensions.find("frame").version == "1.0.0", "nothing is changed before it is agreed to"
    updated = local.installer.install(plan.id)
    assert (updated.version, updated.state) == ("2.0.0", "off"), "it asks for more than was agreed to"
    origin = local.installer.origin("frame")
    assert origin is not None
    assert (origin.pin, origin.before) == (second, first)
    back = local.installer.install(local.installer.plan_update("frame", origin.before).id)
    origin = local.installer.origin("frame")
    assert origin is not None
    assert (back.version, origin.pin, origin.before) == ("1.0.0", first, second)
    # The same once more: what was before that is what it was.
    local.installer.install(local.installer.plan_update("frame", first).id)
    assert local.installer.origin("frame") == origin


def test_an_update_goes_to_the_commit_of_a_tag(local: Studio, repository: Repository) -> None:
    first = repository.commit(files())
    repository.git("tag", "v1.0")
    second = repository.commit(files(version="2.0.0"))
    repository.git("tag", "--annotate", "--message", "The second", "v2.0")
    repository.git("branch", "refs/tags/v3.0")  # of which git says refs/heads/refs/tags/v3.0
    repository.git("tag", "words", "HEAD:__init__.py")
    local.install(at(repository, first))
    plan = local.installer.plan_update("frame", " v2.0 ")
    assert plan.origin == Origin(kind="git", address=repository.url, pin=second, tag="v2.0")
    local.installer.install(plan.id)
    plan = local.installer.plan_update("frame", "v1.0")
    assert plan.before is not None
    assert (plan.before.tag, plan.before.pin, plan.manifest.version) == ("v2.0", second, "1.0.0")
    local.installer.discard(plan.id)
    for tag in ("v3.0", "v9", "main", "HEAD", first[:7], "", "-x", "--upload-pack=x", "v*", "../v1.0", "v1..2", "a b"):
        with pytest.raises(UserError, match=r"has no tag .*: name a tag, or a commit by all 40 digits of its id"):
            local.installer.plan_update("frame", tag)
    with pytest.raises(UserError, match=r"could not be fetched|is no commit in"):
        local.installer.plan_update("frame", "words")
    assert not local.staged()
    assert not local.was_run()


def test_a_tag_of_another_extension_is_no_update(local: Studio, repository: Repository) -> None:
    local.install(at(repository, repository.commit(files())))
    repository.commit(files("chalk"))
    repository.git("tag", "v2")
    with pytest.raises(UserError, match="What is there now is another extension, Chalk: frame is not updated"):
        local.installer.plan_update("frame", "v2")
    assert not local.staged()
