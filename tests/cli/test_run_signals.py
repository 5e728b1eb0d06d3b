"""Signals to `assay run` when its step is over: there is less evidence then, and never none."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assay.evidence import keys

HUGE = 1 << 42
"""Bytes of a file without any data in it: digesting it would take longer than anybody waits."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "key.pem").write_bytes(keys.generate().pem(None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def start(code: str, *flags: str) -> subprocess.Popen[str]:
    words = ["run", "--json", "-d", "evidence", "--key", "key.pem", "--outputs", "out", *flags]
    return subprocess.Popen(
        [sys.executable, "-m", "assay", *words, "--", sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_it_is_digested(running: subprocess.Popen[str], path: Path, *, or_ended: bool = False) -> bool:
    """Wait until the command, or a worker of its, has the file open to read it; the step only ever writes it."""
    while running.poll() is None:
        for process in [str(running.pid), *children(running.pid)]:
            folder = f"/proc/{process}/fd"
            try:
                if any(
                    os.readlink(f"{folder}/{name}") == str(path) and reads(process, name) for name in os.listdir(folder)
                ):
                    return True
            except OSError:
                continue
        time.sleep(0.01)
    if or_ended:
        return False
    pytest.fail(f"it ended: {running.communicate()}")


def reads(process: str, descriptor: str) -> bool:
    """Whether a descriptor is open for reading only (proc_pid_fdinfo(5): flags are octal)."""
    flags = re.search(r"^flags:\s*([0-7]+)$", Path(f"/proc/{process}/fdinfo/{descriptor}").read_text(), re.M)
    return flags is not None and int(flags[1], 8) & os.O_ACCMODE == os.O_RDONLY


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def ended(running: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        out, err = running.communicate(timeout=60)
    except subprocess.TimeoutExpired:  # a failed test must not leave something that digests for hours
        for process in (*children(running.pid), running.pid):
            os.kill(int(process), signal.SIGKILL)
        raise
    assert "Traceback" not in err, err
    made: dict[str, Any] = json.loads(out)
    return made


def must_be_marked(place: Path, made: dict[str, Any]) -> None:
    assert made["outcome"] == "interrupted"
    assert made["warnings"] == ["nothing was digested, because the run was interrupted"]
    assert {"name": "out/huge", "sha256": None} in made["products"]
    assert len(made["evidence"]) == 2 and not any("provenance" in kind for kind in made["evidence"])
    done = subprocess.run(
        [sys.executable, "-m", "assay", "evidence", "list", "-d", "evidence", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(digest in done.stdout for digest in made["evidence"].values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_files_are_digested_leaves_evidence(place, number):
    running = start(f"open('out/huge', 'w').truncate({HUGE})")
    until_it_is_digested(running, place / "out/huge")
    running.send_signal(number)
    must_be_marked(place, ended(running))
    assert running.returncode == 130


def test_a_second_signal_while_files_are_digested_leaves_evidence(place):
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    code += f"open('out/huge', 'w').truncate({HUGE}); open('out/ready', 'w').close(); time.sleep(600)"
    running = start(code)
    while not (place / "out/ready").exists():
        time.sleep(0.01)
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    until_it_is_digested(running, place / "out/huge")
    running.send_signal(signal.SIGTERM)
    must_be_marked(place, ended(running))
    assert running.returncode != 0


def test_a_terminals_interrupt_reaches_the_workers_too(place):
    running = subprocess.Popen(
        [sys.executable, "-m", "assay", "run", "--json", "-d", "evidence", "--key", "key.pem", "--outputs", "out", "--",
         sys.executable, "-c", f"open('out/huge', 'w').truncate({HUGE})"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until_it_is_digested(running, place / "out/huge")
    os.killpg(running.pid, signal.SIGINT)
    must_be_marked(place, ended(running))


def test_an_ignored_hangup_stays_ignored(place):
    """As `nohup` has it: the end of a terminal ends neither step nor evidence."""
    for size in (1 << 29, 1 << 31, 1 << 33):
        former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            running = start(f"open('out/huge', 'w').truncate({size})")
        finally:
            signal.signal(signal.SIGHUP, former)
        if until_it_is_digested(running, place / "out/huge", or_ended=True):
            break  # else it had ended before this test was run again
        ended(running)
    running.send_signal(signal.SIGHUP)
    made = ended(running)
    assert (made["outcome"], running.returncode) == ("success", 0)


def waits_for(pid: int, path: Path) -> bool:
    """Whether a process has a file open, and sleeps."""
    folder = f"/proc/{pid}/fd"
    try:
        if not any(os.readlink(f"{folder}/{name}") == str(path) for name in os.listdir(folder)):
            return False
    except FileNotFoundError:  # another file was closed meanwhile
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_before_the_step_has_begun_there_is_nothing_to_keep(place):
    """Then a signal ends the command as it ends any other."""
    os.mkfifo(place / "pipe.yaml")
    running = start("open('out/made', 'w').close()", "-c", "pipe.yaml")
    writer = None
    while writer is None:
        try:
            writer = os.open(place / "pipe.yaml", os.O_WRONLY | os.O_NONBLOCK)  # fails until somebody reads
        except OSError:
            time.sleep(0.01)
    while not waits_for(running.pid, place / "pipe.yaml"):  # what comes before may be lost in Python's `open`
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=600)
    os.close(writer)
    assert running.returncode == 130 and not (place / "evidence").exists() and not (place / "out").exists()
