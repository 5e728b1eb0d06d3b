from __future__ import annotations

import fcntl
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assay.errors import DocumentError, UsageError
from assay.guard.gateway.logs import Nothing, Writer, check, open_log, rotated
from assay.guard.gateway.logs.writer import MANY, MOST
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.keeping import Log
from assay.guard.gateway.settings.words import Bytes
from gateway_making import until
from guard.gateway.logs.contexts import finished

WRITING = str(Path(__file__).with_name("writing.py"))
TESTS = str(Path(__file__).parents[3])


def process(*args: object) -> subprocess.Popen[str]:
    paths = os.pathsep.join([TESTS, *sys.path])
    return subprocess.Popen(
        [sys.executable, WRITING, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )


def lines(*paths: Path) -> list[dict[str, Any]]:
    """All lines; fails for one that is not whole."""
    found = []
    for path in paths:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert not data or data.endswith(b"\n")
        found += [json.loads(one) for one in data.splitlines()]
    return found


def ids(*paths: Path) -> list[str]:
    return [one["extendedRequestId"] for one in lines(*paths)]


def writer(path: Path, **settings: Any) -> Writer:
    return Writer(Log(file=str(path), **settings), str(path), b"k")


def test_what_was_written_is_there_after_a_flush_and_after_the_end(tmp_path: Path) -> None:
    log = writer(tmp_path / "a.log")
    log.write(finished(1))
    assert (tmp_path / "a.log").read_bytes() == b""
    log.flush()
    assert len(ids(tmp_path / "a.log")) == 1
    log.write(finished(2))
    assert log.close() == 0
    assert len(set(ids(tmp_path / "a.log"))) == 2
    assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o640


def test_several_processes_share_a_file_while_it_is_rotated(tmp_path: Path) -> None:
    workers, count = 4, 50_000
    path = tmp_path / "access.log"
    running = [process(path, 4 << 20, worker, count, "close") for worker in range(workers)]
    assert [one.communicate()[0].strip() for one in running] == ["0"] * workers
    files = list(tmp_path.iterdir())
    assert len(files) > 10  # it was rotated
    assert all(file.stat().st_size <= 4 << 20 for file in files)
    found: Counter[str] = Counter()
    for file in files:
        data = file.read_bytes()
        assert data.endswith(b"\n")
        for one in data.splitlines():
            assert one.startswith(b'{"requestId":"') and one.endswith(b'"}')
            found[one[14:46].decode()] += 1
    assert len(found) == workers * count and set(found.values()) == {1}


def test_a_killed_process_loses_at_most_what_was_not_flushed(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    running = process(path, 1 << 30, 1, 5000, "kill")
    assert running.stdout is not None
    assert running.stdout.readline() == "flushed\n"
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    log = writer(path)  # the kill may have cut a line that was being written: the next writer takes it away
    log.write(finished())
    assert log.close() == 0
    first = [one for one in ids(path) if one.startswith("00000001")]
    assert len(first) == len(set(first)) == 5000


def test_a_line_that_a_killed_process_left_unfinished_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = writer(path)
    log.write(finished(1))
    log.flush()
    with path.open("ab") as file:
        file.write(b'{"requestId":"torn' * 600)
    log.write(finished(2))
    log.close()
    assert len(ids(path)) == 2


def test_a_full_disk_stops_nobody_and_the_log_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    running = process(path, 1 << 30, 0, 0, "full")
    out, _ = running.communicate()
    assert running.returncode == 0
    waiting, lost, *problem = out.splitlines()[0].split()
    kept, whole = out.splitlines()[1].split()
    assert (int(waiting), " ".join(problem)) == (MOST, "the file takes no more")
    assert int(lost) > 30_000 and whole == "1"
    assert out.splitlines()[2] == "0"
    found = lines(path)
    told = [one for one in found if one["resourcePath"].startswith("log-lost:")]
    assert [one["resourcePath"] for one in told] == [f"log-lost:{lost}"]
    assert told[0]["error"] == f"{lost} lines of this log are missing"
    rest = [one["extendedRequestId"] for one in found if one not in told]
    assert len(rest) == len(set(rest)) == 60_005 - int(lost)
    assert int(kept) >= 10


def test_lines_are_bounded_and_counted_where_the_file_is_gone_for_good(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = writer(folder / "a.log")
    (folder / "a.log").unlink()
    folder.rmdir()
    context = finished()
    for _ in range(MOST + 5000):
        log.write(context)
    assert log.waiting == MOST and log.lost == 5000 and log.problem == "No such file or directory"
    folder.mkdir()
    log.flush()
    assert (log.waiting, log.problem) == (0, "")
    assert log.close() == 0
    assert len(lines(folder / "a.log")) == MOST + 1


def test_many_lines_are_written_before_their_time(tmp_path: Path) -> None:
    log = writer(tmp_path / "a.log")
    context = finished()
    for _ in range(MANY + 1):
        log.write(context)
    assert log.waiting == 1
    log.close()


def test_a_file_that_logrotate_moved_is_left_and_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = writer(path)
    log.write(finished(1))
    log.flush()
    path.rename(tmp_path / "a.log.old")
    log.reopen()
    log.write(finished(2))
    log.flush()
    assert len(ids(path)) == len(ids(tmp_path / "a.log.old")) == 1
    path.rename(tmp_path / "a.log.older")  # without a signal
    log.write(finished(3))
    log.close()
    assert len(ids(path)) == 1


def test_a_lock_that_somebody_holds_costs_no_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = writer(path)
    log.write(finished(1))
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        log.flush()
        assert (log.waiting, log.lost) == (1, 0)
    log.flush()
    assert len(ids(path)) == 1
    log.close()


def test_a_thread_flushes_where_nobody_else_does(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = writer(path)
    log.start()
    log.write(finished(1))
    until(lambda: not log.waiting, "the thread flushes")
    assert len(ids(path)) == 1
    for number in range(1000):
        log.write(finished(number))
    assert log.close() == 0
    assert len(ids(path)) == 1001


def test_a_log_that_cannot_be_rotated_goes_on(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 240)  # with a time behind it, no name that a file can have
    log = writer(path, rotate=Bytes(3000))
    for number in range(30):
        log.write(finished(number))
        log.flush()
    assert (log.waiting, log.lost, log.problem) == (0, 0, "")
    assert log.close() == 0
    assert len(set(ids(path))) == 30


def test_packing_follows_no_link_that_somebody_has_put_there(tmp_path: Path) -> None:
    path, old, victim = tmp_path / "a.log", tmp_path / "a.log.20261122T131415.000000001Z", tmp_path / "victim"
    old.write_bytes(b'{"extendedRequestId":"1"}\n')
    victim.write_bytes(b"precious")
    (tmp_path / f".{old.name}.gz.tmp").symlink_to(victim)
    rotated.tidy(str(path), 10, compress=True)
    assert victim.read_bytes() == b"precious" and ids(tmp_path / f"{old.name}.gz") == ["1"]


def test_rotated_files_are_packed_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = writer(path, rotate=Bytes(3000), keep=3, compress=True)
    for number in range(40):
        log.write(finished(number))
        log.flush()
    log.close()
    (tmp_path / "a.log.mine.gz").write_bytes(b"not ours")

    def packed() -> list[Path]:
        rotated.tidy(str(path), 3, compress=True)
        found = sorted(tmp_path.glob("a.log.2*"))
        return found if len(found) == 3 and all(one.suffix == ".gz" for one in found) else []

    ours = until(packed, "the log's own thread may be packing one of them")
    found = ids(*ours, path)
    assert found == [f"{number + 1:032x}" for number in range(40)][-len(found) :]
    assert (tmp_path / "a.log.mine.gz").read_bytes() == b"not ours"
    assert all(one.stat().st_mode & 0o777 == 0o640 for one in ours)


def test_packing_that_was_broken_off_is_done_again(tmp_path: Path) -> None:
    path, old = tmp_path / "a.log", tmp_path / "a.log.20261122T131415.000000001Z"
    path.write_bytes(b"")
    old.write_bytes(b'{"extendedRequestId":"1"}\n' * 100)
    (tmp_path / f".{old.name}.gz.tmp").write_bytes(b"half")
    rotated.tidy(str(path), 10, compress=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.log", f"{old.name}.gz"]
    assert ids(tmp_path / f"{old.name}.gz") == ["1"] * 100
    # killed between giving the packed file its name and deleting the plain one
    old.write_bytes(b'{"extendedRequestId":"1"}\n' * 100)
    rotated.tidy(str(path), 10, compress=True)
    assert not old.exists() and len(ids(tmp_path / f"{old.name}.gz")) == 100


def test_a_file_is_never_packed_twice_at_once(tmp_path: Path) -> None:
    old = tmp_path / "a.log.20261122T131415.000000001Z"
    old.write_bytes(b"{}\n")
    with old.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        rotated.tidy(str(tmp_path / "a.log"), 10, compress=True)
        assert old.exists()
    rotated.tidy(str(tmp_path / "a.log"), 10, compress=True)
    assert [one.name for one in tmp_path.iterdir()] == [f"{old.name}.gz"]


def test_standard_output_takes_whole_lines_through_a_narrow_pipe() -> None:
    code = (
        "from assay.guard.gateway.logs.writer import Writer\n"
        "from assay.guard.gateway.settings.keeping import Log\n"
        "from guard.gateway.logs.contexts import finished\n"
        "w = Writer(Log(file='-'), '-', b'k')\n"
        "for i in range(2000): w.write(finished(i))\n"
        "raise SystemExit(w.close())\n"
    )
    paths = os.pathsep.join([TESTS, *sys.path])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    found = [json.loads(one)["extendedRequestId"] for one in done.stdout.splitlines()]
    assert found == [f"{number + 1:032x}" for number in range(2000)]


def test_standard_output_that_does_not_wait_doubles_no_line() -> None:
    code = (
        "import os\n"
        "os.set_blocking(1, False)\n"
        "from assay.guard.gateway.logs.writer import Writer\n"
        "from assay.guard.gateway.settings.keeping import Log\n"
        "from guard.gateway.logs.contexts import finished\n"
        "w = Writer(Log(file='-'), '-', b'k')\n"
        "for i in range(3000): w.write(finished(i))\n"
        "w.flush()\n"
        "raise SystemExit(w.close())\n"
    )
    paths = os.pathsep.join([TESTS, *sys.path])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    found = [json.loads(one)["extendedRequestId"] for one in done.stdout.splitlines()]
    assert found == [f"{number + 1:032x}" for number in range(3000)]


def test_a_log_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be written: No such file or directory"):
        writer(tmp_path / "nowhere" / "a.log")
    with pytest.raises(UsageError, match=r"Is a directory"):
        writer(tmp_path)


def test_settings_say_which_log(tmp_path: Path) -> None:
    assert isinstance(open_log(Settings(), b"k"), Nothing)
    log = open_log(Settings(log=Log(file="a.log"), directory=str(tmp_path)), b"k")
    log.write(finished())
    log.close()
    assert len(ids(tmp_path / "a.log")) == 1


def test_settings_are_checked_without_a_trace(tmp_path: Path) -> None:
    check(Settings(log=Log(file="-")))
    check(Settings(log=Log(file="a.log"), directory=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="there is no folder"):
        check(Settings(log=Log(file="nowhere/a.log"), directory=str(tmp_path)))
    with pytest.raises(DocumentError, match=r"log\.hash: there is no field 'x'"):
        check(Settings(log=Log(hash=("x",))))


def test_a_context_is_not_kept_alive(tmp_path: Path) -> None:
    class Body(bytes):
        gone = threading.Event()

        def __del__(self) -> None:
            self.gone.set()

    log = writer(tmp_path / "a.log")
    log.write(finished(body=Body(b"x" * 1000)))
    assert Body.gone.is_set() and log.waiting == 1
    log.close()


def test_a_request_that_ends_after_a_reload_is_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = writer(path)
    log.start()
    log.close()
    before = len(os.listdir("/proc/self/fd"))
    log.write(finished(1))
    log.write(finished(2))
    assert len(ids(path)) == 2
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_machine_without_room_for_a_thread_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, start = tmp_path / "a.log", threading.Thread.start

    def full(thread: threading.Thread) -> None:
        if thread.name == "assay-log-tidy":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", full)
    log = writer(path, rotate=Bytes(3000), compress=False)
    for number in range(30):
        log.write(finished(number))
        log.flush()
    assert log.close() == 0
    assert len(set(ids(*tmp_path.iterdir()))) == 30
