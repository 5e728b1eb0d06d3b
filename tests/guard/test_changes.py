"""Nothing that happens to a file between the check and the use reaches what is loaded."""

from __future__ import annotations

import hashlib
import mmap
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import assay.load
from assay.errors import AssayError, ChangedError, RejectedError
from assay.guard.load import pickles, torch_files
from assay.guard.load.held import Held
from assay.guard.load.target import hold
from assay.targets.interface import SEGMENT, Options

GOOD = {"verdict": "good", "padding": b"g" * (SEGMENT + 1000)}


def _files(place: Any) -> tuple[Path, bytes, bytes]:
    """A signed honest file, its bytes, and as many bytes of an attack."""
    path = place.root / "m.pkl"
    good = pickle.dumps(GOOD)
    evil = pickle.dumps([place.attack(), b"e" * (len(good) - 200)])
    evil += bytes(len(good) - len(evil))
    path.write_bytes(good)
    place.sign(path)
    return path, good, evil


@contextmanager
def _meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do ``work`` again and again in another thread."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _in_place(path: Path, good: bytes, evil: bytes) -> Callable[[], None]:
    def work() -> None:
        with open(path, "r+b") as file:
            for data in (evil, good):
                file.seek(0)
                file.write(data)
                file.flush()

    return work


def _renamed(path: Path, good: bytes, evil: bytes) -> Callable[[], None]:
    def work() -> None:
        for data in (evil, good):
            other = path.with_suffix(".tmp")
            other.write_bytes(data)
            other.rename(path)

    return work


def _linked(path: Path, good: bytes, evil: bytes) -> Callable[[], None]:
    first, second, link = path.with_name("g"), path.with_name("e"), path.with_name("l")
    first.write_bytes(good)
    second.write_bytes(evil)

    def work() -> None:
        for place in (second, first):
            link.symlink_to(place)
            link.rename(path)

    return work


def _truncated(path: Path, good: bytes, evil: bytes) -> Callable[[], None]:
    def work() -> None:
        os.truncate(path, 10)
        for data in (evil, good):
            with open(path, "r+b") as file:
                file.write(data)

    return work


def _mapped(path: Path, good: bytes, evil: bytes) -> Callable[[], None]:
    with open(path, "r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0)

    def work() -> None:
        for data in (evil, good):
            mapping[:] = data

    return work


@pytest.mark.parametrize("writer", [_in_place, _renamed, _linked, _truncated, _mapped])
def test_a_writer_that_never_rests(place: Any, writer: Callable[..., Callable[[], None]]) -> None:
    path, good, evil = _files(place)
    refused = loaded = 0
    with _meanwhile(writer(path, good, evil)):
        for _ in range(12):
            try:
                assert assay.load.pickle(path, how=place.how) == GOOD
                loaded += 1
            except AssayError:
                refused += 1
    assert refused + loaded == 12
    assert not place.marker.exists()


def _changing(place: Any, path: Path, change: Callable[[], None], **options: Any) -> Any:
    """A guard whose judge lets the attacker act between its own answer and the load."""
    guard = assay.load.guard_of(replace(place.how, **options))
    judge = guard.judge

    def judged(*arguments: Any) -> Any:
        answer = judge(*arguments)
        change()
        return answer

    return replace(guard, judge=judged)


def test_what_changes_after_the_check_is_not_loaded(place: Any) -> None:
    path, _, evil = _files(place)
    guard = _changing(place, path, lambda: _overwrite(path, evil))
    assert pickles.pickle(guard, path) == GOOD
    assert path.read_bytes() == evil
    path.unlink()
    path.symlink_to(place.root / "elsewhere")
    (place.root / "elsewhere").write_bytes(evil)
    with pytest.raises(RejectedError):
        assay.load.pickle(path, how=place.how)
    assert not place.marker.exists()


def test_tensors_do_not_follow_the_file(place: Any) -> None:
    path = place.root / "m.pt"
    state = {"w": torch.ones(1_000_000)}
    torch.save(state, path)
    place.sign(path)
    size = path.stat().st_size
    guard = _changing(place, path, lambda: _overwrite(path, bytes(size)))
    assert torch.equal(torch_files.torch(guard, path)["w"], state["w"])


def _overwrite(path: Path, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(data)


def _settled(place: Any, path: Path) -> None:
    """The cache knows the file, which is older than the two seconds within which a time stamp proves nothing."""
    time.sleep(2.2)
    for _ in range(2):
        assert assay.load.pickle(path, how=place.cached()) == GOOD


def test_the_trusted_cache_watches_the_file(place: Any) -> None:
    path, good, evil = _files(place)
    _settled(place, path)
    guard = _changing(place, path, lambda: None, trust_cache=True)
    with hold(f"file:{path}", guard.options, lambda names: names) as thing:
        assert guard.judge(thing, thing.again, ()).verdict == "accepted"
        assert thing.trusted and not thing.held(path.name).copied
    # Written while it is loaded: refused, whatever was written.
    with pytest.raises(AssayError):
        pickles.pickle(_changing(place, path, lambda: _overwrite(path, good), trust_cache=True), path)
    # Swapped for the length of the check only: what is open is what is looked up.
    aside = path.with_suffix(".aside")
    path.rename(aside)
    path.write_bytes(evil)
    guard = assay.load.guard_of(place.cached())
    with hold(f"file:{path}", guard.options, lambda names: names) as thing:
        aside.rename(path)
        assert guard.judge(thing, thing.again, ()).verdict == "rejected"
    assert not place.marker.exists()


def test_a_copy_is_sealed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * (2 * SEGMENT + 5))
    held = Held("x", path.open("rb"))
    held.copy(blake3=True)
    with pytest.raises(OSError):
        os.truncate(held.path, 1)
    descriptor = os.open(held.path, os.O_RDWR)
    with pytest.raises(OSError):
        os.write(descriptor, b"b")
    with pytest.raises(OSError):
        mmap.mmap(descriptor, 0)
    os.close(descriptor)
    digests = held.blake3()
    held.close()
    again = Held("x", path.open("rb"))
    again.copy(blake3=False)
    assert again.blake3() == digests and again.sha256() == hashlib.sha256(path.read_bytes()).digest()
    again.close()


@pytest.mark.parametrize("size", [0, 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT])
def test_digests_are_those_of_the_engine(tmp_path: Path, size: int) -> None:
    from assay.targets.registry import resolve

    path = tmp_path / "x"
    path.write_bytes(os.urandom(size))
    with resolve(f"file:{path}") as plain, hold(f"file:{path}", Options(), lambda names: names) as held:
        for sha256, blake3 in ((True, True), (True, False), (False, True)):
            assert held.manifest(sha256=sha256, blake3=blake3) == plain.manifest(sha256=sha256, blake3=blake3)


def test_a_folder_some_of_which_is_held_has_the_digests_of_the_engine(tmp_path: Path) -> None:
    from assay.targets.registry import resolve

    for name, size in (("a", 10), ("b/c", SEGMENT + 9), ("d", 2 * SEGMENT), ("e", 0)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(os.urandom(size))
    with resolve(f"dir:{tmp_path}") as plain, hold(f"dir:{tmp_path}", Options(), lambda names: ["b/c", "e"]) as held:
        wanted = plain.manifest()
        assert held.manifest() == wanted and held.manifest().contents() == wanted.contents()


def test_a_file_that_grows_while_it_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    held = Held("x", path.open("rb"))
    path.write_bytes(b"abcd")
    with pytest.raises(ChangedError):
        held.copy(blake3=False)
    path.write_bytes(b"ab")
    with pytest.raises(ChangedError):
        held.copy(blake3=False)
    held.close()


def test_other_unpicklers_put_in_place_of_the_real_ones_change_nothing(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.root / "m.pkl"
    path.write_bytes(pickle.dumps(place.attack()))
    place.sign(path)

    class Evil(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return super().find_class(module, name)

    import _pickle

    monkeypatch.setattr(pickle, "Unpickler", Evil)
    monkeypatch.setattr(_pickle, "Unpickler", Evil)
    monkeypatch.setattr(pickle, "load", lambda file: Evil(file).load())
    with pytest.raises(RejectedError):
        assay.load.pickle(path, how=place.how)
    assert not place.marker.exists()
