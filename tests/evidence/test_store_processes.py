"""Several processes, killed ones, full disks and read-only ones: what was acknowledged stays, nothing is half."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.errors import StoreError
from assay.evidence.stores import open_directory
from assay.evidence.stores.log import Log
from evidence.store_making import NOW, bundle, digest_of, python_path, run_python

ADD = """
import sys
from assay.evidence.stores import log, open_directory
from store_making import NOW, bundle
log._PATIENCE = 600.0  # the limit, not the code: on a busy machine the other one may be long at it
path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open_directory(path, create=True) as store:
    for i in range(first, first + count):
        entry = store.add(bundle(i), now=NOW, labels={"writer": str(first)})
        sys.stdout.write(f"{i} {entry.seq} {entry.blob}\\n")
        sys.stdout.flush()
"""


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if ".tmp" in path.name]


def finish(process: subprocess.Popen[bytes]) -> bytes:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    return out


def test_two_processes_add_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    writers = [run_python(ADD, folder, first, 200) for first in (1000, 2000)]
    outs = [finish(writer).decode().split() for writer in writers]
    numbers = sorted(int(seq) for out in outs for seq in out[1::3])
    assert numbers == list(range(1, 401))
    with open_directory(str(folder), create=False) as store:
        report = store.check()
        assert (report.entries, report.problems, report.unlinked) == (400, (), 0)
        assert len(store.find(labels={"writer": "1000"})) == 200
        assert {entry.blob for entry in store.find()} == {blob for out in outs for blob in out[2::3]}
    assert leftovers(folder) == []


def test_a_reader_beside_a_writer_sees_whole_entries_only(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    with open_directory(str(folder), create=True) as store:
        writer = run_python(ADD, folder, 0, 60)
        seen = 0
        while writer.poll() is None or seen < 60:
            assert not writer.returncode
            found = store.find()
            assert [entry.seq for entry in found] == list(range(len(found), 0, -1))
            assert len(found) >= seen
            seen = len(found)
            if found:
                store.read(found[0])
        finish(writer)
        assert store.check().problems == ()
        assert store.notes == ()


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    chance = random.Random(20260301)
    acknowledged: dict[int, str] = {}
    for attempt in range(12):
        writer = run_python(ADD, folder, attempt * 1000, 1000)
        assert writer.stdout
        first = writer.stdout.readline()  # it is at work now
        time.sleep(chance.random() * 0.06)
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=300)
        for line in (first + rest).decode().splitlines():
            if len(fields := line.split()) == 3 and len(fields[2]) == 64:
                acknowledged[int(fields[1])] = fields[2]
    assert len(acknowledged) >= 12
    with open_directory(str(folder), create=False) as store:
        report = store.check()
        assert report.problems == ()
        assert report.entries >= len(acknowledged)
        for seq, blob in acknowledged.items():
            entry = store.get(str(seq))
            assert entry.blob == blob
            store.read(entry)
        store.add(bundle(999_999), now=NOW)  # sweeps up
        assert store.check().problems == ()
    assert leftovers(folder) == []


def test_what_a_killed_writer_left_is_swept_up(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    with open_directory(str(folder), create=True) as store:
        store.add(bundle(1), now=NOW)
    litter = [
        folder / "log" / "000000" / ".000000002.json.abcdef.tmp",
        folder / "blobs" / "ab" / ".x.json.abcdef.tmp",
        folder / ".index.abcdef.tmp",
    ]
    litter[1].parent.mkdir(exist_ok=True)
    for path in litter:
        path.write_bytes(b"half")
    (folder / "lock").write_bytes(b"writing\n")  # the mark of a writer that did not get to the end
    with open_directory(str(folder), create=False) as store:
        assert store.add(bundle(2), now=NOW).seq == 2
        assert store.check().problems == ()
    assert not any(path.exists() for path in litter)
    assert (folder / "lock").read_bytes() == b""


def test_an_entry_whose_writer_died_before_the_index_had_it(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    with open_directory(str(folder), create=True) as store:
        store.add(bundle(1), now=NOW)
        before = (folder / "index.sqlite").read_bytes()
        second = store.add(bundle(2), now=NOW)
    (folder / "index.sqlite").write_bytes(before)
    with open_directory(str(folder), create=False) as store:
        assert store.find(digest=digest_of(2)) == [second]
        assert store.add(bundle(2), now=NOW) == second
        assert store.check().problems == ()


def test_a_store_that_stays_locked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.evidence.stores.log._PATIENCE", 0.05)
    with open_directory(str(tmp_path / "evidence"), create=True) as store:
        store.add(bundle(1), now=NOW)
        with Log(str(tmp_path / "evidence")).locked():
            with pytest.raises(StoreError, match="locked by another command"):
                store.add(bundle(2), now=NOW)
            assert len(store.find()) == 1  # readers need no lock


# A full disk ---------------------------------------------------------------------------------------------------

LIMITED = """
import json, resource, sys
from assay.errors import StoreError
from assay.evidence.stores import open_directory
from store_making import NOW, bundle
path, limit, large = sys.argv[1], int(sys.argv[2]), sys.argv[3]
store = open_directory(path, create=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
labels = {f"label-{i}": "x" * 1000 for i in range(60)} if large == "entry" else {}
predicate = {"text": "x" * 60_000} if large == "bundle" else None
try:
    entry = store.add(bundle(500, predicate=predicate), now=NOW, labels=labels)
    print("added", entry.seq, *store.notes)
except StoreError as error:
    print("refused", error.message)
"""


@pytest.mark.parametrize(
    ("limit", "large", "answer"),
    [
        (0, "nothing", "refused"),  # not even the lock's mark
        (8, "nothing", "refused"),  # nor a bundle
        (20_000, "bundle", "refused"),
        (20_000, "entry", "refused"),  # the bundle fits, the entry does not
        (20_000, "nothing", "added"),  # both fit, the index does not
    ],
)
def test_a_file_that_cannot_grow(tmp_path: Path, limit: int, large: str, answer: str) -> None:
    folder = tmp_path / "evidence"
    with open_directory(str(folder), create=True) as store:
        for i in range(20):
            store.add(bundle(i), now=NOW)
    assert (folder / "index.sqlite").stat().st_size > 20_000
    out = finish(run_python(LIMITED, folder, limit, large)).decode()
    assert out.startswith(answer), out
    if answer == "refused":
        assert "full" in out
    with open_directory(str(folder), create=False) as store:
        report = store.check()
        assert report.problems == ()
        assert report.entries == (21 if answer == "added" else 20)
        assert leftovers(folder) == []
        assert store.add(bundle(600), now=NOW).seq == report.entries + 1
        assert len(store.find(digest=digest_of(500))) == (answer == "added")


FULL = """
import os, sys
from pathlib import Path
from assay.errors import StoreError
from assay.evidence.stores import open_directory
from store_making import NOW, bundle
folder = Path(sys.argv[1])
added, refused = 10, 0
with open_directory(str(folder / "evidence"), create=True) as store:
    for i in range(10):
        store.add(bundle(i), now=NOW)
for room in range(0, 80, 4):  # KiB left on the disk: every step of an addition is the one that fails
    with open(folder / "filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass
    size = os.path.getsize(folder / "filler")
    os.truncate(folder / "filler", max(0, size - room * 1024))
    with open_directory(str(folder / "evidence"), create=False) as store:
        try:
            added = max(added, store.add(bundle(100 + room, predicate={"text": "x" * 9000}), now=NOW).seq)
        except StoreError as error:
            assert "full" in error.message, error
            refused += 1
    os.unlink(folder / "filler")
    with open_directory(str(folder / "evidence"), create=False) as store:
        report = store.check()
        assert report.problems == (), report
        assert report.entries == added, (report, added)
print("refused", refused, "added", added - 10)
"""


def test_a_disk_that_fills_up_at_every_step(tmp_path: Path) -> None:
    """On a small file system of its own where the kernel lets us mount one, as root or in a user namespace.

    Where it does not, `test_a_file_that_cannot_grow` stands for it.
    """
    small = tmp_path / "small"
    small.mkdir()
    mount = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=512k none "$0" && exec "$@"', str(small)]
    try:
        able = subprocess.run([*mount, "true"], capture_output=True, timeout=300, check=False).returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        return
    done = subprocess.run(
        [*mount, sys.executable, "-c", FULL, str(small)],
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    words = done.stdout.decode().split()
    assert int(words[1]) >= 3
    assert int(words[3]) >= 3


# A disk that cannot be written ---------------------------------------------------------------------------------

READ = """
import os, sys, urllib.parse
from assay.errors import StoreError
from assay.evidence.stores import check, directory, open_directory
from store_making import NOW, bundle, digest_of
if os.geteuid() == 0:  # may write everywhere, so the reading is done by another user
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
with open_directory(sys.argv[1], create=False, heads=sys.argv[2]) as store:
    found = store.find(digest=digest_of(3))
    assert [store.read(entry) for entry in found] == [open(sys.argv[3], "rb").read()]
    assert len(store.find()) == 6
    report = store.check()
    assert report.problems == () and report.entries == 6, report
    try:
        store.add(bundle(100), now=NOW)
    except StoreError as error:
        print(error.message)
    print(store.notes)
"""


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that another user may look into; pytest's own are for their owner alone."""
    folder = Path(tempfile.mkdtemp(prefix="assay-store-"))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("index", ["there", "missing", "behind", "broken"])
def test_a_store_that_may_only_be_read(readable: Path, index: str) -> None:
    folder = readable / "evidence"
    with open_directory(str(folder), create=True) as store:
        for i in range(5):
            store.add(bundle(i), now=NOW)
        before = (folder / "index.sqlite").read_bytes()
        store.add(bundle(5), now=NOW)
        name = store.get("4").blob
        blob = folder / "blobs" / name[:2] / f"{name}.json"
    if index == "missing":
        (folder / "index.sqlite").unlink()
    elif index != "there":
        (folder / "index.sqlite").write_bytes(before if index == "behind" else b"junk")
    (folder / "lock").unlink()
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)
    out = finish(run_python(READ, folder, readable / "heads.json", blob)).decode()
    assert "may not be written" in out
    assert ("in memory" in out) == (index != "there")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["blobs", "log"] + (["index.sqlite"] if index != "missing" else [])
    )
