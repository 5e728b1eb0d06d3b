"""The orchestrator: every file is judged or said to be unreadable, whatever a file does to the worker that reads it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.scan.models import run, worker, workers
from assay.collect.scan.models.interface import FileResult, Finding, Limits, Rules, Severity, TargetResult, Tier
from assay.targets.interface import Target
from assay.targets.registry import resolve


class Lists:
    """The smallest rules."""

    digest = "00" * 32

    def judge(self, module: str, name: str, use: str) -> tuple[Tier, str]:
        return Tier.UNKNOWN, "test/unknown"


class Others(Lists):
    """Rules with another digest."""

    digest = "11" * 32


def waits(*arguments: Any) -> tuple[str, Iterator[Finding]]:
    """A judge that never answers. Here, where a worker that cannot be forked finds it by its name."""
    time.sleep(3600)
    raise AssertionError


QUICK = Limits(seconds=0.0, memory=1 << 30)


def wild(
    file: BinaryIO, size: int, path: str, rules: Rules, limits: Limits, siblings: Mapping[str, int]
) -> tuple[str | None, Iterator[Finding]]:
    """A format whose files do to their reader what they say. What a broken parser would do, they do for real."""
    return ("wild" if path.endswith(".wild") else None), _wild(file.read(1 << 16), path, siblings)


def _wild(data: bytes, path: str, siblings: Mapping[str, int]) -> Iterator[Finding]:
    if not path.endswith(".wild"):
        return
    word = data.split(b"\n", 1)[0].decode("latin-1")
    if word == "who":
        yield Finding("wild/who", Tier.NONE, Severity.INFO, str(os.getpid()))
    elif word == "siblings":
        yield Finding("wild/siblings", Tier.UNKNOWN, Severity.LOW, ",".join(f"{k}={v}" for k, v in siblings.items()))
    elif word in ("unknown", "code", "malicious"):
        yield Finding(f"wild/{word}", Tier(word), Severity.HIGH, "it says so", offset=0, call="os.system('true')")
    elif word == "hostile text":
        yield Finding("wild/\x1b[2J", Tier.UNKNOWN, Severity.HIGH, "a\nb\x1b[2J\u202e" + "x" * 5000, member="\x00")
    elif word == "flood":
        for i in range(5000):
            yield Finding("wild/noise", Tier.NONE, Severity.LOW, f"noise {i}")
        yield Finding("wild/attack", Tier.MALICIOUS, Severity.CRITICAL, "after the flood")
    elif word == "segv after a finding":
        yield Finding("wild/before", Tier.MALICIOUS, Severity.CRITICAL, "found before the crash")
        os.kill(os.getpid(), signal.SIGSEGV)
    elif word in ("segv", "abort", "bus"):
        os.kill(os.getpid(), {"segv": signal.SIGSEGV, "abort": signal.SIGABRT, "bus": signal.SIGBUS}[word])
    elif word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "exit":
        os._exit(0)
    elif word == "raise":
        raise KeyError("a mistake in a scanner")
    elif word == "memory":
        yield Finding("wild/size", Tier.NONE, Severity.INFO, str(len(bytearray(8 << 30))))
    elif word == "deep":
        yield from _wild(data, path, siblings)
    elif word == "spin":
        while True:
            pass
    elif word == "lie":
        for number in range(3, 64):  # whoever took over a worker may write to anything that it has open
            try:
                os.write(number, b"D\xff\xff\xff\xff" + b"x" * 100)
            except OSError:
                continue


def scanned(target: Target, **how: Any) -> TargetResult:
    return run.scan(target, **({"rules": Lists(), "judge": wild, "limits": QUICK, "workers": 2} | how))


def scan(folder: Path, **how: Any) -> TargetResult:
    with resolve(str(folder)) as target:
        return scanned(target, **how)


def by_path(result: TargetResult) -> dict[str, FileResult]:
    return {item.path: item for item in result.files}


def write(folder: Path, **files: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.wild").write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def age(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files be old enough that their time stamps prove something."""
    monkeypatch.setattr("assay.collect.scan.models.cache.RACY", -(10**10))


def test_every_file_is_listed_with_its_digest(tmp_path: Path) -> None:
    write(tmp_path / "m", a="", b="unknown", c="code", d="malicious")
    (tmp_path / "m" / "README.md").write_text("words")
    result = scan(tmp_path / "m")
    assert [(item.path, item.tier.value, item.format) for item in result.files] == [
        ("README.md", "none", None),
        ("a.wild", "safe", "wild"),
        ("b.wild", "unknown", "wild"),
        ("c.wild", "code", "wild"),
        ("d.wild", "malicious", "wild"),
    ]
    assert result.tier is Tier.MALICIOUS and result.rules == Lists.digest
    for item in result.files:
        assert item.sha256 == hashlib.sha256((tmp_path / "m" / item.path).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("word", "tier", "rule"),
    [
        ("segv after a finding", Tier.MALICIOUS, "scan/crashed"),
        ("segv", Tier.MALICIOUS, "scan/crashed"),
        ("abort", Tier.MALICIOUS, "scan/crashed"),
        ("bus", Tier.UNREADABLE, "scan/crashed"),
        ("kill", Tier.UNREADABLE, "scan/crashed"),
        ("exit", Tier.UNREADABLE, "scan/crashed"),
        ("raise", Tier.UNREADABLE, "scan/failed"),
        ("memory", Tier.UNREADABLE, "scan/limit"),
        ("deep", Tier.UNREADABLE, "scan/limit"),
        ("spin", Tier.UNREADABLE, "scan/limit"),
        ("lie", Tier.MALICIOUS, "scan/limit"),
    ],
)
def test_what_a_file_does_to_its_worker_is_a_finding_and_the_others_are_judged(
    tmp_path: Path, word: str, tier: Tier, rule: str
) -> None:
    write(tmp_path / "m", a="unknown", bad=word, z="code")
    files = by_path(scan(tmp_path / "m"))
    assert files["a.wild"].tier is Tier.UNKNOWN and files["z.wild"].tier is Tier.CODE
    bad = files["bad.wild"]
    assert bad.tier is tier and rule in [finding.rule for finding in bad.findings]
    assert bad.sha256 == hashlib.sha256(word.encode()).hexdigest()  # known although its worker died
    if word == "segv after a finding":
        assert bad.findings[0].rule == "wild/before"


def test_a_small_file_that_takes_all_its_time_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `QUICK` the same file is unreadable: there, the time is no measure of what its size may cost."""
    monkeypatch.setattr(worker, "LEAST", 1)
    (item,) = scan(write(tmp_path / "m", a="spin"), limits=Limits()).files
    assert item.tier is Tier.MALICIOUS and item.findings[0].rule == "scan/limit"
    assert "AML.T0029" in item.findings[0].atlas


def children() -> set[int]:
    """Of this process, zombies too: other tests may have left a helper of multiprocessing's."""
    return {
        int(child) for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()
    }


def test_a_worker_ends_after_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file made is given back with the process; no other file is lost by it."""
    before = children()
    folder = write(tmp_path / "m", a="who", b="who", c="who", d="code" + "\n" * 100, e="malicious" + "\n" * 100)

    def workers_of(result: TargetResult) -> int:
        return len({item.findings[0].message for item in result.files[:3]})

    first = scan(folder, workers=1, cache="off")
    monkeypatch.setattr(worker, "LARGE", 100)
    two = scan(folder, workers=1, cache="off")
    monkeypatch.setattr(worker, "LARGE", 1)
    each = scan(folder, workers=1, cache="off")
    assert [workers_of(result) for result in (first, two, each)] == [1, 1, 3]
    for result in (first, two, each):
        assert [item.tier for item in result.files] == [Tier.SAFE] * 3 + [Tier.CODE, Tier.MALICIOUS]
    assert children() <= before


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "can_fork", lambda: False)
    monkeypatch.setattr(workers, "_START", "raise SystemExit('no such thing as a worker')")
    (item,) = scan(write(tmp_path / "m", a="")).files
    assert item.tier is Tier.UNREADABLE and "no such thing as a worker" in item.findings[0].message


def test_a_worker_that_is_over_before_it_is_told_its_work_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, on a machine that is so busy that this process comes to tell it after its end."""

    class Late(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *how: Any, **more: Any) -> None:
            super().__init__(*how, **more)
            self.wait()

    monkeypatch.setattr(subprocess, "Popen", Late)
    test_a_worker_that_cannot_start_says_why(tmp_path, monkeypatch)


@pytest.mark.parametrize("spawned", [False, True])
@pytest.mark.parametrize(
    ("word", "tier", "rule"), [("segv", Tier.MALICIOUS, "scan/crashed"), ("spin", Tier.UNREADABLE, "scan/limit")]
)
def test_how_a_worker_ended_is_known_however_late_its_end_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spawned: bool, word: str, tier: Tier, rule: str
) -> None:
    """A kernel that has much to do tells of no end at once: who does not wait for it hears nothing."""
    wait = os.waitpid
    monkeypatch.setattr(os, "waitpid", lambda pid, how: (0, 0) if how & os.WNOHANG else wait(pid, how))
    monkeypatch.setattr(subprocess.Popen, "poll", lambda self: None)
    if spawned:
        monkeypatch.setattr(workers, "can_fork", lambda: False)
    (item,) = scan(write(tmp_path / "m", bad=word)).files
    assert (item.tier, item.findings[0].rule) == (tier, rule)


def test_nothing_of_a_worker_reaches_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """CPython itself prints a line when a program asks for more memory than there is."""
    (tmp_path / "evil.pkl").write_bytes(b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"cos\nsystem\n.")
    with resolve(str(tmp_path)) as target:
        (item,) = run.scan(target, rules=Lists(), cache="off").files
    assert item.tier is Tier.UNREADABLE
    assert capfd.readouterr() == ("", "")


def test_a_flood_of_findings_does_not_hide_the_worst(tmp_path: Path) -> None:
    item = scan(write(tmp_path / "m", a="flood")).files[0]
    assert item.tier is Tier.MALICIOUS and len(item.findings) <= 1002
    assert item.findings[-2].rule == "wild/attack" and "4,000" in item.findings[-1].message


def test_texts_cannot_steer_a_terminal(tmp_path: Path) -> None:
    (finding,) = scan(write(tmp_path / "m", a="hostile text")).files[0].findings
    for text in (finding.rule, finding.message, finding.member or ""):
        assert text.isprintable() and 0 < len(text) <= 1000


def test_a_scanner_sees_the_names_and_sizes_of_all_files(tmp_path: Path) -> None:
    (finding,) = by_path(scan(write(tmp_path / "m", a="siblings", b="xyz")))["a.wild"].findings
    assert finding.message == "a.wild=8,b.wild=3"


def test_a_file_that_vanishes_or_changes_is_not_judged(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", a="x", b="unknown", c="y")
    with resolve(str(folder)) as target:
        (folder / "a.wild").unlink()
        (folder / "c.wild").write_text("longer than it was")
        files = by_path(scanned(target))
    assert files["a.wild"].tier is Tier.UNREADABLE and files["a.wild"].sha256 is None
    assert files["c.wild"].tier is Tier.UNREADABLE and files["c.wild"].findings[0].rule == "scan/changed"
    assert files["c.wild"].sha256 is None and files["b.wild"].tier is Tier.UNKNOWN


def test_a_pointer_to_content_that_is_elsewhere_is_not_clean(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    item = scan(tmp_path).files[0]
    assert (item.tier, item.findings[0].rule) == (Tier.UNKNOWN, "scan/lfs-pointer")


def test_a_second_scan_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "m", a="unknown", b="", c="malicious")
    first = scan(folder, cache="stat")
    age(folder, monkeypatch)
    with resolve(str(folder)) as target:
        monkeypatch.setattr(target, "open", None)  # a file that is opened now fails
        second = scanned(target, cache="stat")
    assert [item.cached for item in second.files] == [True] * 3
    assert [(item.path, item.tier, item.sha256, item.findings) for item in second.files] == [
        (item.path, item.tier, item.sha256, item.findings) for item in first.files
    ]


def test_fresh_time_stamps_prove_nothing(tmp_path: Path) -> None:
    """Within two seconds of the cache's writing a file may change without another ctime: it is digested again."""
    since = 0
    while time.time_ns() - since > 1_900_000_000:  # where all of it took longer, nothing was within two seconds
        since = time.time_ns()
        folder = write(tmp_path / "m", a="unknown")
        scan(folder, cache="stat")
        with resolve(str(folder)) as target:
            opened: list[str] = []
            original = target.open
            target.open = lambda name: opened.append(name) or original(name)  # type: ignore[method-assign,func-returns-value]  # noqa: B023
            (item,) = scanned(target, cache="stat").files
    assert opened == ["a.wild"] and item.cached and item.tier is Tier.UNKNOWN  # read, and not judged again


@pytest.mark.parametrize("cache", ["stat", "content"])
def test_changed_bytes_are_judged_again(tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "m", a="unknown", b="xxxxxxxxx")
    scan(folder, cache=cache)
    age(folder, monkeypatch)
    before = (folder / "b.wild").stat()
    (folder / "b.wild").write_text("malicious")
    os.utime(folder / "b.wild", ns=(before.st_atime_ns, before.st_mtime_ns))  # mtime can be set, ctime cannot
    files = by_path(scan(folder, cache=cache))
    assert files["b.wild"].tier is Tier.MALICIOUS and not files["b.wild"].cached
    assert files["a.wild"].cached


def test_without_trust_in_time_stamps_every_byte_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "m", a="unknown")
    scan(folder, cache="content")
    age(folder, monkeypatch)
    with resolve(str(folder)) as target:
        opened: list[str] = []
        original = target.open
        target.open = lambda name: opened.append(name) or original(name)  # type: ignore[method-assign,func-returns-value]
        (item,) = scanned(target, cache="content").files
    assert opened == ["a.wild"] and item.cached


@pytest.mark.parametrize("what", ["rules", "limits", "files", "path"])
def test_results_of_other_rules_or_among_other_files_do_not_count(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "m", a="unknown")
    scan(folder, cache="stat")
    age(folder, monkeypatch)
    how: dict[str, Any] = {}
    if what == "rules":
        how["rules"] = Others()
    elif what == "limits":
        how["limits"] = Limits(seconds=0.0, memory=1 << 30, depth=3)
    elif what == "files":
        write(folder, b="")
    else:
        (folder / "a.wild").rename(folder / "a.txt")
    assert not any(item.cached for item in scan(folder, cache="stat", **how).files)


def test_accidents_are_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "m", a="kill", b="raise", c="")
    scan(folder, cache="stat")
    age(folder, monkeypatch)
    assert {name: item.cached for name, item in by_path(scan(folder, cache="stat")).items()} == {
        "a.wild": False,
        "b.wild": False,
        "c.wild": True,
    }


def cache_file(home: Path) -> Path:
    (found,) = [item for item in (home / "cache" / "assay" / "digests").iterdir() if item.name != "key"]
    return found


@pytest.mark.parametrize("attack", ["flip", "empty", "other key", "writable", "short", "swap"])
def test_a_cache_that_somebody_else_wrote_is_not_believed(
    tmp_path: Path, home: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "m", a="malicious")
    scan(folder, cache="stat")
    age(folder, monkeypatch)
    file = cache_file(home)
    data = bytearray(file.read_bytes())
    if attack == "flip":
        at = data.index(b"malicious")
        data[at : at + 9] = b"none\0\0\0\0\0"
    elif attack == "empty":
        data.clear()
    elif attack == "short":
        del data[40:]
    elif attack == "other key":
        (file.parent / "key").write_bytes(os.urandom(32))
    elif attack == "swap":  # what was written for another folder, whose files have the same names
        other = write(tmp_path / "other", a="xalicious")
        file.unlink()
        scan(other, cache="stat")
        data = bytearray(cache_file(home).read_bytes())
        cache_file(home).unlink()
    file.write_bytes(data)
    if attack == "writable":
        file.chmod(0o666)
    told: list[str] = []
    (item,) = scan(folder, cache="stat", notes=told.append).files
    assert item.tier is Tier.MALICIOUS and not item.cached
    assert len(told) == 1 and "cache" in told[0]


def test_no_cache_leaves_no_file(tmp_path: Path, home: Path) -> None:
    scan(write(tmp_path / "m", a=""), cache="off")
    assert not (home / "cache").exists()


def test_large_files_are_digested_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SMALL", 4)
    folder = write(tmp_path / "m", a="unknown", b="ok")
    files = by_path(scan(folder, cache="stat", digests=False))
    assert files["a.wild"].sha256 is None and files["b.wild"].sha256 is not None
    age(folder, monkeypatch)
    assert by_path(scan(folder, cache="stat", digests=False))["a.wild"].cached
    asked = by_path(scan(folder, cache="stat"))["a.wild"]
    assert asked.sha256 == hashlib.sha256(b"unknown").hexdigest() and not asked.cached


def test_targets_that_are_no_files_on_a_disk(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", a="unknown", b="segv after a finding", c="")
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    with resolve(f"git:{folder}") as target:
        result = scanned(target, cache="content")
        again = scanned(target, cache="content")
    assert [item.tier.value for item in result.files] == ["unknown", "malicious", "safe"]
    assert [item.cached for item in again.files] == [True, False, True]


def test_objects_in_memory_reach_the_worker(tmp_path: Path) -> None:
    with resolve(str(write(tmp_path / "m", a="unknown"))) as target:
        target.open = lambda name: io.BytesIO(b"unknown")  # type: ignore[method-assign]
        assert scanned(target).files[0].findings[0].rule == "wild/unknown"


def test_a_process_with_threads_spawns_its_workers(tmp_path: Path) -> None:
    """The real judging function and rules: a spawned worker gets what a forked one inherits."""
    from assay.collect.scan.models.rules.ruleset import load

    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    rest = threading.Event()
    thread = threading.Thread(target=rest.wait)
    thread.start()
    try:
        with resolve(str(tmp_path)) as target:
            files = by_path(run.scan(target, rules=load(), workers=2, cache="off"))
    finally:
        rest.set()
        thread.join()
    assert files["notes.txt"].tier is Tier.NONE
    assert files["evil.pkl"].tier is Tier.MALICIOUS


def test_no_worker_is_left(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", **{f"f{i}": "" for i in range(20)}, bad="kill")
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2].split(':')\n"
        "from collect.scan import test_run as t; from pathlib import Path\n"
        "t.scan(Path(sys.argv[1]), workers=4)\n"
        "try: os.waitpid(-1, os.WNOHANG); sys.exit('a child is left')\n"
        "except ChildProcessError: pass\n"
        "paths = [f'/proc/self/fd/{n}' for n in range(100)]\n"
        "links = [os.readlink(path) for path in paths if os.path.lexists(path)]\n"
        "sys.exit('a socket is left' if any('socket' in link for link in links) else 0)"
    )
    tests = Path(__file__).parents[2]
    path = ":".join([str(tests), str(tests.parent / "src")])
    made = subprocess.run([sys.executable, "-c", code, str(folder), path], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_interrupting_leaves_no_worker(tmp_path: Path) -> None:
    before = children()
    folder = write(tmp_path / "m", **{f"f{i}": "" for i in range(50)})

    def stop(done: int, count: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(folder, progress=stop)
    assert children() <= before


def test_progress_ends_at_all(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    scan(write(tmp_path / "m", a="", b="", c=""), progress=lambda done, count: told.append((done, count)))
    assert sorted(told) == [(1, 3), (2, 3), (3, 3)]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_frames_from_a_worker_that_was_taken_over(data: bytes) -> None:
    """Any bytes either give frames or are refused; nothing else happens, and what is read is forgotten."""
    read = bytearray(data)
    try:
        frames = list(workers._frames(read))
    except ValueError:
        return
    assert len(read) + sum(len(payload) + worker.HEADER.size for _, payload in frames) == len(data)


def test_findings_survive_the_way_through_a_worker(tmp_path: Path) -> None:
    finding = scan(write(tmp_path / "m", a="malicious")).files[0].findings[0]
    assert finding == Finding(
        "wild/malicious", Tier.MALICIOUS, Severity.HIGH, "it says so", offset=0, call="os.system('true')"
    )
    assert json.dumps(finding.tier) == '"malicious"'


def test_a_file_that_waits_for_ever_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_SPARE", 0.2)
    monkeypatch.setattr(workers, "_SLOWER", 0)

    item = scan(write(tmp_path / "m", a=""), judge=waits).files[0]
    assert item.tier is Tier.UNREADABLE and item.findings[0].rule == "scan/limit"
