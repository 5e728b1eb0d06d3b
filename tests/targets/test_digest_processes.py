"""Workers that die, interrupts, inherited state and memory: each looked at from outside, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

GIB = 1024**3
LONG = 1024 * GIB
"""Bytes of a hole that is still being read however late this process comes back to it."""

PATIENCE = 300
"""Seconds after which a test has failed in any case."""

PRELUDE = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, and its children, ignore it
sys.path[:0] = {path!r}
from assay.errors import AssayError
from assay.targets.digest.engine import digest
from assay.targets.interface import Options
from assay.targets.tree import list_tree
listing, _ = list_tree({root!r}, Options())
"""

DIGEST = """
try:
    manifest = digest(listing, sha256={sha256}, blake3={blake3}, workers=2)
except AssayError as error:
    print(type(error).__name__, error.message)
"""


started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """A test that fails leaves no reader of endless holes behind."""
    yield
    while started:
        process = started.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def start(root: Path, body: str, **kinds: bool) -> subprocess.Popen[str]:
    wanted = {"sha256": False, "blake3": False} | kinds
    path = [entry for entry in sys.path if entry]
    script = PRELUDE.format(path=path, root=str(root)) + body.replace("DIGEST", DIGEST.format(**wanted))
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started.append(process)
    return process


def hole(root: Path, name: str, size: int) -> None:
    """A file that is long to read and takes no room."""
    with (root / name).open("wb") as file:
        file.truncate(size)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def wait_for_children(process: subprocess.Popen[str], count: int) -> list[int]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        found = children(process.pid)
        if len(found) == count:
            return found
        time.sleep(0.002)
    raise AssertionError(f"no {count} workers: {process.communicate()}")


def open_files(pid: int) -> list[str]:
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(os.readlink(entry))
    return links


def gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_worker_that_is_killed(tmp_path: Path, all_of_them: bool) -> None:
    hole(tmp_path, "one.bin", LONG)
    hole(tmp_path, "two.bin", LONG)
    process = start(tmp_path, "DIGEST", blake3=True)
    workers = wait_for_children(process, 2)
    for worker in workers if all_of_them else workers[:1]:
        os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE)
    assert out.startswith("TargetError a worker was killed by signal 9 (Killed) while it was reading at '"), out
    assert err == "" and process.returncode == 0
    assert all(gone(worker) for worker in workers)


def test_a_mapped_file_that_is_truncated_kills_a_worker_and_not_the_process(tmp_path: Path) -> None:
    hole(tmp_path, "one.bin", LONG)
    process = start(tmp_path, "import faulthandler; faulthandler.enable()\nDIGEST", blake3=True)
    worker = wait_for_children(process, 2)[0]
    while not any("one.bin" in link for link in open_files(worker)):
        time.sleep(0.002)
    os.kill(worker, signal.SIGBUS)
    out, err = process.communicate(timeout=PATIENCE)
    assert out == "ChangedError 'one.bin' became shorter while it was read\n" and err == ""


def test_a_worker_that_is_killed_where_sigchld_is_ignored(tmp_path: Path) -> None:
    hole(tmp_path, "one.bin", LONG)
    process = start(tmp_path, "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nDIGEST", blake3=True)
    workers = wait_for_children(process, 2)
    os.kill(workers[0], signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE)
    assert out == "TargetError a worker died while it was reading at 'one.bin'\n" and err == ""
    assert all(gone(worker) for worker in workers)


@pytest.mark.parametrize("whole_group", [False, True])
@pytest.mark.parametrize("kinds", [{"sha256": True, "blake3": True}, {"blake3": True}])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, whole_group: bool, kinds: dict[str, bool]) -> None:
    hole(tmp_path, "one.bin", LONG)
    hole(tmp_path, "two.bin", LONG)
    body = "try:\n DIGEST\nexcept KeyboardInterrupt:\n print('interrupted', flush=True); os._exit(7)"
    process = start(
        tmp_path, body.replace("DIGEST", "\n ".join(DIGEST.splitlines()).format(**{"sha256": False} | kinds))
    )
    workers = wait_for_children(process, 2)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, err, process.returncode) == ("interrupted\n", "", 7)
    assert all(gone(worker) for worker in workers)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    hole(tmp_path, "one.bin", LONG)
    process = start(tmp_path, "DIGEST", blake3=True)
    workers = wait_for_children(process, 2)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert all(gone(worker) for worker in workers)


def test_workers_run_nothing_of_their_parents(tmp_path: Path) -> None:
    """Neither exit handlers, nor the output that was buffered when they were forked, nor signal handlers."""
    hole(tmp_path, "one.bin", 64 * 1024**2)
    body = (
        "atexit.register(lambda: os.write(1, b'handler\\n'))\n"
        "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'signal\\n'))\n"
        "forks = []\n"
        "os.register_at_fork(before=lambda: forks.append(1))\n"
        "sys.stdout.write('buffered\\n')\n"
        "DIGEST\n"
        "print(len(forks), len(manifest), signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
    )
    out, err = start(tmp_path, body, sha256=True, blake3=True).communicate(timeout=PATIENCE)
    assert sorted(out.splitlines()) == ["1 1 set()", "buffered", "handler"] and err == ""


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """Peak of parent and of the larger child, in MiB, for a file of 1 GiB and for 20,000 small ones."""
    peak = (
        "import re, resource\n"
        "print(int(re.search('VmHWM:\\\\s+(\\\\d+)', open('/proc/self/status').read())[1]) // 1024)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)\n"
    )
    large, small = tmp_path / "large", tmp_path / "small"
    large.mkdir()
    hole(large, "model.bin", 1 * GIB)
    for i in range(20):
        (small / f"d{i}").mkdir(parents=True)
        for j in range(1000):
            os.mknod(small / f"d{i}" / f"file-{j:05}")
    for root, kinds in ((large, {"blake3": True}), (small, {"sha256": True, "blake3": True})):
        out, err = start(root, "DIGEST" + peak, **kinds).communicate(timeout=PATIENCE)
        assert err == ""
        assert all(int(mib) < 60 for mib in out.split()), out


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    hole(tmp_path, "a.bin", 32 * 1024**2)
    (tmp_path / "gone").write_bytes(b"x")
    body = (
        "import threading\n"
        "before = sorted(os.listdir('/proc/self/fd'))\n"
        "DIGEST\n"
        "assert sorted(os.listdir('/proc/self/fd')) == before\n"
        "os.unlink(listing.root + '/gone')\n"
        "DIGEST\n"
        "stop = threading.Event(); thread = threading.Thread(target=stop.wait); thread.start()\n"
        "DIGEST\n"
        "stop.set(); thread.join()\n"
        "assert sorted(os.listdir('/proc/self/fd')) == before\n"
    )
    out, err = start(tmp_path, body, sha256=True, blake3=True).communicate(timeout=PATIENCE)
    assert err == "" and out.count("ChangedError 'gone'") == 2
