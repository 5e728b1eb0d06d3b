"""What is remembered for files that the kernel keeps as they are, and what a file system may not claim."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay.guard.kept import Kept, kept
from assay.guard.load import verity
from assay.guard.load.held import Held
from assay.targets.interface import SEGMENT


def test_an_ordinary_file_has_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    with path.open("rb") as file:
        assert verity.measure(file.fileno()) is None
        held = Held("x", file)
        assert not held.fixed
        held.copy(blake3=True)
        assert held.fixed and held.copied
        held.close()
    with open("/dev/null", "rb") as file:
        assert verity.measure(file.fileno()) is None


def test_the_file_system_is_that_of_the_open_file(tmp_path: Path) -> None:
    with open("/proc/self/status", "rb") as file:
        assert verity.file_system(file.fileno()) == "proc"
    (tmp_path / "x").write_bytes(b"")
    with (tmp_path / "x").open("rb") as file:
        found = verity.file_system(file.fileno())
        os.unlink(tmp_path / "x")
        assert found is not None and verity.file_system(file.fileno()) == found


def test_digests_are_remembered_by_measurement_and_size(home: Path) -> None:
    digests = verity.Digests(b"s" * 32, (b"a" * 32, b"b" * 32))
    assert verity.known(b"measured", SEGMENT + 1) == verity.Digests()
    verity.learn(b"measured", SEGMENT + 1, digests)
    assert verity.known(b"measured", SEGMENT + 1) == digests
    assert verity.known(b"measured", SEGMENT) == verity.known(b"other", SEGMENT + 1) == verity.Digests()


def test_an_entry_that_somebody_else_wrote_does_not_count(home: Path) -> None:
    entries = kept("test")
    assert entries is not None
    entries.write("name", b"value")
    folder = next(path for path in home.rglob("guard") if path.is_dir())
    (path,) = folder.iterdir()
    data = path.read_bytes()
    assert entries.read("name") == b"value" and kept("test").read("name") == b"value"  # type: ignore[union-attr]
    for other in (data[:-1], data + b"x", b"", bytes(32) + b"value", bytes([data[0] ^ 1]) + data[1:]):
        path.write_bytes(other)
        assert entries.read("name") is None
    path.write_bytes(data)
    assert entries.read("another") is None and kept("test 2").read("name") is None  # type: ignore[union-attr]
    path.rename(Path(entries._place("another")))
    assert entries.read("another") is None  # an entry under another name
    path.symlink_to(entries._place("another"))
    assert entries.read("name") is None
    path.unlink()
    path.write_bytes(data)
    path.chmod(0o666)
    assert entries.read("name") is None  # others may have written it
    assert Kept(str(folder), b"another key", "test").read("name") is None


def test_without_a_private_folder_nothing_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = home / "shared"
    (shared / "assay" / "digests").mkdir(parents=True)
    (shared / "assay").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
    assert kept("test") is None
    verity.learn(b"measured", 1, verity.Digests(b"s" * 32))
    assert verity.known(b"measured", 1) == verity.Digests()
