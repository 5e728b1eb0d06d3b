"""Local targets: names that tell nothing of the machine, reading beneath the root only, and clear refusals."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from assay.errors import ChangedError, TargetError, UsageError
from assay.targets.digest.beneath import open_beneath, open_root
from assay.targets.interface import Options, Reference, Target
from assay.targets.local import LocalTarget, open_directory, open_file


def folder(path: Path | str, **options: object) -> LocalTarget:
    return open_directory(Reference("dir", str(path)), Options(**options))  # type: ignore[arg-type]


def file(path: Path | str, **options: object) -> LocalTarget:
    return open_file(Reference("file", str(path)), Options(**options))  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "bert"
    (root / "tokenizer").mkdir(parents=True)
    (root / "config.json").write_bytes(b"{}")
    (root / "tokenizer" / "vocab.txt").write_bytes(b"a\nb\n")
    return root


def test_a_folder(model: Path) -> None:
    target: Target = folder(model)
    with target as same:
        assert same is target
        assert target.name == "bert" and not target.single
        assert list(target.names) == ["config.json", "tokenizer/vocab.txt"] and list(target.sizes) == [2, 4]
        with target.open("tokenizer/vocab.txt") as stream:
            assert stream.seekable() and stream.read() == b"a\nb\n"
        manifest = target.manifest()
    assert manifest[1].sha256 == hashlib.sha256(b"a\nb\n").digest()
    assert folder(model).reread == 0


def test_the_name_is_the_folders_own(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to("bert")
    monkeypatch.chdir(model / "tokenizer")
    for path in (f"{model}/", "..", "../../link", "../.", tmp_path / "link"):
        assert folder(path).name == "bert"
    assert folder(".").name == "tokenizer"


def test_counts_of_what_was_read(model: Path) -> None:
    target = folder(model)
    target.manifest()
    assert (target.reread, target.from_cache, target.cache_note) == (2, 0, None)


def test_one_file(model: Path) -> None:
    target = file(model / "config.json")
    assert target.name == "config.json" and target.single and list(target.names) == ["config.json"]
    manifest = target.manifest()
    assert manifest.single and manifest.contents() == hashlib.sha256(b"{}").digest()
    with target.open("config.json") as stream:
        assert stream.read() == b"{}"


def test_a_file_that_is_a_link_keeps_the_name_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0123abcd").write_bytes(b"weights")
    (tmp_path / "model.gguf").symlink_to("blobs/0123abcd")
    target = file(tmp_path / "model.gguf")
    assert target.name == "model.gguf" and list(target.names) == ["model.gguf"] and target.facts.followed_links
    assert target.manifest()[0].sha256 == hashlib.sha256(b"weights").digest()
    with target.open("model.gguf") as stream:
        assert stream.read() == b"weights"


@pytest.mark.parametrize("opener", [open_directory, open_file])
def test_what_cannot_be_opened(tmp_path: Path, opener: object) -> None:
    for name, words in (("", "names no path"), ("a\0b", "names no path"), (str(tmp_path / "no"), "No such file")):
        with pytest.raises((TargetError, UsageError), match=words):
            opener(Reference("dir", name), Options())  # type: ignore[operator]
    with pytest.raises(UsageError, match="no revision"):
        opener(Reference("dir", str(tmp_path), "main"), Options())  # type: ignore[operator]


def test_the_wrong_kind(model: Path) -> None:
    with pytest.raises(TargetError, match="file:"):
        folder(model / "config.json")
    with pytest.raises(TargetError, match="dir:"):
        file(model)
    os.mkfifo(model / "pipe")
    with pytest.raises(TargetError, match="FIFO"):
        file(model / "pipe")
    with pytest.raises(UsageError, match="--path"):
        file(model / "config.json", paths=("x",))


def test_target_names_that_no_statement_can_hold(tmp_path: Path) -> None:
    for name in (b"bad\xff", b"two\nlines"):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(path)
        with open(path + b"/f", "wb"):
            pass
        with pytest.raises(TargetError, match="the name '(bad|two)"):
            folder(os.fsdecode(path))
        with open(path + b".f", "wb"):
            pass
        with pytest.raises(TargetError, match="the name '(bad|two)"):
            file(os.fsdecode(path + b".f"))


def test_only_listed_names_can_be_opened(model: Path) -> None:
    (model.parent / "secret").write_bytes(b"")
    target = folder(model)
    for name in ("../secret", "/etc/passwd", "tokenizer", "", "config.json/", "zzz"):
        with pytest.raises(TargetError, match="has no file"):
            target.open(name)


@pytest.mark.parametrize("swap", ["link", "fifo", "gone", "folder link"])
def test_a_file_that_was_swapped_after_the_listing(model: Path, swap: str) -> None:
    target = folder(model)
    victim = model / "tokenizer" / "vocab.txt"
    victim.rename(model / "elsewhere")
    if swap == "link":
        victim.symlink_to("/etc/passwd")
    elif swap == "fifo":
        os.mkfifo(victim)
    elif swap == "folder link":
        (model / "tokenizer").rmdir()
        (model / "real").mkdir()
        (model / "elsewhere").rename(model / "real" / "vocab.txt")
        (model / "tokenizer").symlink_to("real")
    with pytest.raises(ChangedError, match=r"'tokenizer/vocab\.txt'"):
        target.open("tokenizer/vocab.txt")
    with pytest.raises(ChangedError, match=r"'tokenizer/vocab\.txt'"):
        target.manifest()


def test_open_beneath_follows_no_link_at_any_component(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_bytes(b"here")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "f").symlink_to("b/f")
    root = open_root(str(tmp_path))
    try:
        inner = open_beneath(root, "a/b/f")
        assert os.read(inner, 10) == b"here"
        os.close(inner)
        for path in ("a/up/a/b/f", "a/f", "a/up"):
            with pytest.raises(OSError):
                os.close(open_beneath(root, path))
        for path in ("../x", "a/../a/b/f", "/etc/passwd", "a//b/f", "", ".", "a/b/f/"):
            with pytest.raises(TargetError, match="not a plain path"):
                open_beneath(root, path)
    finally:
        os.close(root)
    with pytest.raises(TargetError, match="nowhere"):
        open_root(str(tmp_path / "nowhere"))
