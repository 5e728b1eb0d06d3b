"""The engine: right digests for every size, mode and way of running; no digest of a file that did not hold still."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from array import array
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import ChangedError, TargetError, UsageError
from assay.targets.digest.engine import digest
from assay.targets.digest.partial import range_digests
from assay.targets.digest.plan import BATCH_FILES
from assay.targets.digest.stream import StreamDigest
from assay.targets.digest.worker import CHUNK
from assay.targets.interface import SEGMENT, Manifest, Options, Reference
from assay.targets.listing import Listing
from assay.targets.local import open_directory
from assay.targets.tree import list_tree

SIZES = [
    0, 1, 2047, 2048, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, SEGMENT - 1, SEGMENT,
    SEGMENT + 1, SEGMENT + CHUNK, 2 * SEGMENT, 5 * SEGMENT + 3,
]  # fmt: skip
"""Around every boundary that the engine knows."""


def content(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_128(f"{size}/{seed}".encode()).digest(size)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every interesting size, and enough small ones for several batches, in folders of some depth."""
    root = tmp_path_factory.mktemp("tree")
    for size in SIZES:
        (root / f"size-{size:09}").write_bytes(content(size))
    for i in range(2 * BATCH_FILES + 5):
        folder = root / f"d{i % 5}" / "x" / f"e{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{i}").write_bytes(content(i * 7, i))
    return root


def expected(root: str | Path, name: str, *, whole: bool = True) -> tuple[int, bytes, bytes | None, bytes]:
    data = Path(root, name).read_bytes()
    if len(data) <= SEGMENT:
        return len(data), hashlib.sha256(data).digest(), blake3(data).digest(), b""
    cuts = range(0, len(data), SEGMENT)
    segments = b"".join(blake3(data[at : at + SEGMENT]).digest() for at in cuts)
    return len(data), hashlib.sha256(data).digest(), None, segments


def check(manifest: Manifest, root: str | Path, *, sha256: bool, blake3: bool) -> None:
    assert len(manifest.sha256) == 32 * len(manifest) * sha256
    assert len(manifest.blake3) == 32 * len(manifest) * blake3
    for resource in manifest:
        size, sha, b3, segments = expected(root, resource.name)
        assert resource.size == size
        assert resource.sha256 == (sha if sha256 else None), resource.name
        assert resource.blake3 == (b3 if blake3 else None), resource.name
        assert resource.segments == (segments if blake3 else b""), resource.name


def with_threads(stack: ExitStack) -> None:
    """A second thread in this process, so that the engine may not fork."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    stack.callback(thread.join)
    stack.callback(stop.set)


@pytest.mark.parametrize("kinds", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("threads", [False, True])
def test_digests_of_every_size(tree: Path, kinds: tuple[bool, bool], workers: int, threads: bool) -> None:
    sha256, b3 = kinds
    listing, _ = list_tree(str(tree), Options())
    seen: list[tuple[int, int]] = []
    with ExitStack() as stack:
        if threads:
            with_threads(stack)
        manifest = digest(listing, sha256=sha256, blake3=b3, workers=workers, progress=lambda *two: seen.append(two))
    check(manifest, tree, sha256=sha256, blake3=b3)
    total = sum(listing.sizes)
    assert seen[-1] == (total, total)
    assert seen == sorted(seen) and all(done <= total for done, _ in seen)


def test_which_way_it_runs_depends_on_the_work_and_the_threads(tree: Path) -> None:
    """Forks are counted by the interpreter itself; in a process with a second thread there must be none."""
    program = f"""
import os, threading
from assay.targets.digest.engine import digest
from assay.targets.interface import Options
from assay.targets.tree import list_tree
forks = []
os.register_at_fork(before=lambda: forks.append(1))
listing, _ = list_tree({str(tree)!r}, Options())
small, _ = list_tree({str(tree)!r}, Options(paths=("d0",)))
digest(listing, sha256=True, blake3=True, workers=3)
print(len(forks))
digest(small, sha256=True, blake3=True, workers=3)
print(len(forks))
end = threading.Event()
thread = threading.Thread(target=end.wait)
thread.start()
digest(listing, sha256=True, blake3=True, workers=3)
print(len(forks))
end.set()
thread.join()
"""
    # A process of its own: the one that runs the tests may have threads already.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "3", "3"]


@pytest.mark.parametrize("size", [SEGMENT + 1, 8 * SEGMENT, 20 * SEGMENT + 1])
@pytest.mark.parametrize("workers", [1, 2, 16])
def test_one_large_file(tmp_path: Path, size: int, workers: int) -> None:
    (tmp_path / "model.gguf").write_bytes(content(size))
    listing, _ = list_tree(str(tmp_path), Options())
    for sha256, b3 in ((True, True), (True, False), (False, True)):
        manifest = digest(listing, sha256=sha256, blake3=b3, single=True, workers=workers)
        check(manifest, tmp_path, sha256=sha256, blake3=b3)
        assert manifest.single


def test_no_digest_wanted_reads_nothing(tmp_path: Path) -> None:
    listing = Listing(str(tmp_path), ["not there"], array("Q", [5]))
    manifest = digest(listing, sha256=False, blake3=False)
    assert manifest.sha256 == manifest.blake3 == b"" and manifest.size == 5


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 70_000), min_size=1, max_size=40), workers=st.integers(1, 4))
def test_any_set_of_small_files(sizes: list[int], workers: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        for i, size in enumerate(sizes):
            Path(root, f"f{i:03}").write_bytes(content(size, i))
        listing, _ = list_tree(root, Options())
        check(digest(listing, sha256=True, blake3=True, workers=workers), root, sha256=True, blake3=True)


# --- files that do not hold still


def one(tmp_path: Path, size: int) -> Listing:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "victim").write_bytes(content(size))
    (tmp_path / "zzz").write_bytes(b"calm")
    return list_tree(str(tmp_path), Options())[0]


@pytest.mark.parametrize("size", [100, CHUNK + 5, SEGMENT + 5, 4 * SEGMENT])
@pytest.mark.parametrize("change", ["grown", "shrunk", "emptied", "gone", "link", "fifo", "folder", "moved folder"])
@pytest.mark.parametrize("sha256", [True, False])
def test_a_file_that_is_not_what_was_listed(tmp_path: Path, size: int, change: str, sha256: bool) -> None:
    listing = one(tmp_path, size)
    victim = tmp_path / "sub" / "victim"
    if change == "grown":
        with victim.open("ab") as file:
            file.write(b"!")
    elif change == "shrunk":
        os.truncate(victim, size - 1)
    elif change == "emptied":
        os.truncate(victim, 0)
    elif change == "moved folder":
        (tmp_path / "sub").rename(tmp_path / "elsewhere")
        (tmp_path / "sub").symlink_to("elsewhere")
    else:
        victim.rename(tmp_path / "copy")
        if change == "link":
            victim.symlink_to("../copy")
        elif change == "fifo":
            os.mkfifo(victim)  # opening it must not block either
        elif change == "folder":
            victim.mkdir()
    with pytest.raises(ChangedError, match="'sub/victim'"):
        digest(listing, sha256=sha256, blake3=True, workers=2)


@pytest.mark.parametrize(("threads", "sha256"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("change", ["append", "replace", "truncate", "touch"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, threads: bool, sha256: bool, change: str) -> None:
    for attempt in range(30):
        (tmp_path / str(attempt)).mkdir()
        if caught_reading(tmp_path / str(attempt), threads, sha256, change):
            return
    raise AssertionError("the change always came too late")


def caught_reading(tmp_path: Path, threads: bool, sha256: bool, change: str) -> bool:
    """Whether the change was seen. It must be if the file was open after it still; a busy machine may come too late."""
    victim = tmp_path / "victim"
    size = (256 if sha256 else 768) * 1024 * 1024  # a hole: nothing on the disk, but long enough to be caught at
    with victim.open("wb") as file:
        file.truncate(size)
    if not sha256:
        digest(list_tree(str(tmp_path), Options())[0], sha256=False, blake3=True)  # now in memory, so it gets mapped
    listing, _ = list_tree(str(tmp_path), Options())
    number = victim.stat().st_ino
    pending = [change]
    caught = False

    def meddle(done: int, total: int) -> None:
        nonlocal caught
        if not pending or not done:
            return
        pending.clear()
        if change == "append":
            with victim.open("ab") as file:
                file.write(b"!")
        elif change == "truncate":
            os.truncate(victim, 1)
        elif change == "touch":
            os.utime(victim)
        else:
            victim.rename(tmp_path / "away")
            with victim.open("wb") as file:
                file.truncate(size)
        caught = number in open_inodes()

    with ExitStack() as stack:
        if threads:
            with_threads(stack)
        try:
            digest(listing, sha256=sha256, blake3=not sha256, workers=1, progress=meddle)
        except ChangedError as error:
            assert "'victim'" in str(error)
            return True
    assert not pending and not caught
    return False


def children() -> set[int]:
    """Of this process, zombies too: other tests may have left some."""
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def open_inodes() -> set[int]:
    """What this process and its children hold open."""
    found = set()
    for pid in (os.getpid(), *children()):
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    found.add(os.stat(f"/proc/{pid}/fd/{name}").st_ino)
    return found


def test_a_path_that_would_leave_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root" / "dir").symlink_to("..")
    for path in ("../secret", "sub/../../secret", "/etc/passwd", "sub//x", "./x", "", ".."):
        listing = Listing(str(tmp_path / "root"), ["x"], array("Q", [6]), {0: path})
        with pytest.raises(TargetError, match="not a plain path"):
            digest(listing, sha256=True, blake3=True)
    listing = Listing(str(tmp_path / "root"), ["dir/secret"], array("Q", [6]))
    with pytest.raises(ChangedError, match="'dir/secret'"):
        digest(listing, sha256=True, blake3=True)


@pytest.mark.parametrize("count", [1, 300])
def test_an_unreadable_file_is_named(count: int) -> None:
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        os.chmod(root, 0o755)
        for i in range(count):
            Path(root, f"f{i:03}").write_bytes(b"x")
        locked = f"f{count - 1:03}"
        os.chmod(f"{root}/{locked}", 0)
        if os.geteuid() == 0:
            os.seteuid(65534)
            stack.callback(os.seteuid, 0)
        listing, _ = list_tree(root, Options())
        with pytest.raises(TargetError, match=f"'{locked}' cannot be read: Permission denied"):
            digest(listing, sha256=True, blake3=True, workers=2)


def test_a_root_that_is_gone(tmp_path: Path) -> None:
    for count in (1, 500):
        listing = Listing(str(tmp_path / "gone"), [f"f{i:03}" for i in range(count)], array("Q", [1] * count))
        with pytest.raises(TargetError, match="gone"):
            digest(listing, sha256=True, blake3=True, workers=2)


@pytest.mark.parametrize("threads", [False, True])
def test_an_exception_in_progress_reaches_the_caller(tree: Path, threads: bool) -> None:
    listing, _ = list_tree(str(tree), Options())

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before, others = set(threading.enumerate()), children()
    with ExitStack() as stack:
        if threads:
            with_threads(stack)
        with pytest.raises(KeyboardInterrupt):
            digest(listing, sha256=True, blake3=True, workers=2, progress=interrupt)
    assert set(threading.enumerate()) <= before
    assert children() <= others  # nobody is left to be waited for


# --- streams and ranges


@settings(max_examples=25, deadline=None)
@given(
    size=st.sampled_from(SIZES),
    cuts=st.lists(st.integers(1, 2 * SEGMENT), max_size=8),
    kind=st.sampled_from([bytes, bytearray, memoryview]),
)
def test_a_stream_has_the_digests_of_the_file(size: int, cuts: list[int], kind: type) -> None:
    data = content(size)
    stream = StreamDigest()
    at = 0
    for cut in cuts:
        stream.update(kind(data[at : at + cut]))
        at += cut
    stream.update(data[at:])
    with tempfile.TemporaryDirectory() as root:
        Path(root, "f").write_bytes(data)
        assert stream.finish() == expected(root, "f")


def test_a_stream_of_one_digest_only() -> None:
    data = content(SEGMENT + 1)
    only_sha256, only_blake3 = StreamDigest(blake3=False), StreamDigest(sha256=False)
    for stream in (only_sha256, only_blake3):
        stream.update(data)
    assert only_sha256.finish() == (len(data), hashlib.sha256(data).digest(), None, b"")
    assert only_blake3.finish()[1] is None and len(only_blake3.finish()[3]) == 64


@pytest.mark.parametrize(
    ("start", "stop", "segments"),
    [
        (0, 1, [0]),
        (SEGMENT - 1, SEGMENT, [0]),
        (SEGMENT - 1, SEGMENT + 1, [0, 1]),
        (SEGMENT, SEGMENT + 1, [1]),
        (0, 5 * SEGMENT + 3, [0, 1, 2, 3, 4, 5]),
        (5 * SEGMENT, 5 * SEGMENT + 3, [5]),
    ],
)
def test_a_range_reads_the_segments_that_cover_it(tree: Path, start: int, stop: int, segments: list[int]) -> None:
    name = f"size-{5 * SEGMENT + 3:09}"
    with open_directory(Reference("dir", str(tree)), Options()) as target:
        digests = range_digests(target, name, start, stop)
    whole = expected(tree, name)[3]
    assert digests == {k: whole[k * 32 : k * 32 + 32] for k in segments}


def test_a_range_of_a_small_file_is_the_whole_file(tree: Path) -> None:
    with open_directory(Reference("dir", str(tree)), Options()) as target:
        for size in (0, 1, SEGMENT):
            name = f"size-{size:09}"
            assert range_digests(target, name, 0, size) == {0: expected(tree, name)[2]}


def test_ranges_that_are_none(tree: Path) -> None:
    name = f"size-{SEGMENT:09}"
    with open_directory(Reference("dir", str(tree)), Options()) as target:
        for start, stop in ((0, 0), (-1, 5), (5, 4), (0, SEGMENT + 1), (SEGMENT, SEGMENT)):
            with pytest.raises(UsageError, match="not a range"):
                range_digests(target, name, start, stop)
        with pytest.raises(TargetError, match="has no file"):
            range_digests(target, "nothing", 0, 1)


@pytest.mark.parametrize("delta", [-1, 1])
def test_a_range_of_a_file_that_changed(tmp_path: Path, delta: int) -> None:
    size = 2 * SEGMENT
    (tmp_path / "f").write_bytes(content(size))
    with open_directory(Reference("dir", str(tmp_path)), Options()) as target:
        os.truncate(tmp_path / "f", size + delta)
        for start, stop in ((0, 5), (size - 5, size)):
            with pytest.raises(ChangedError, match="'f'"):
                range_digests(target, "f", start, stop)
