"""One file and several real processes: nothing is lost, nobody who is killed blocks or keeps anything."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.errors import StoreError
from assay.guard.gateway.limits import stripes
from assay.guard.gateway.limits.file import HEADER, QUOTA, Shape
from assay.guard.gateway.limits.periods import period_of
from assay.guard.gateway.limits.shared import Shared
from assay.guard.gateway.limits.stripes import STRIPES

SMALL = Shape(quotas=1024, windows=1024, rates=1024, inside=64)
FORK = multiprocessing.get_context("fork")
T0 = 1_790_000_000.0
DAY = period_of(T0, "day")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "counters")


@contextlib.contextmanager
def opened(path: str, shape: Shape = SMALL) -> Iterator[Shared]:
    counters = Shared(path, shape)
    try:
        yield counters
    finally:
        counters.close()


@pytest.fixture
def nobody_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds a lock and is not run for a while is not taken for dead: that may cost counts, as `stripes` says."""
    monkeypatch.setattr(stripes, "PATIENCE", 60.0)


def everywhere(work: Callable[[int], Any], processes: int = 4) -> list[Any]:
    """What ``work`` returns in so many forked processes."""
    answers = FORK.SimpleQueue()
    children = [FORK.Process(target=lambda i=i: answers.put(work(i))) for i in range(processes)]
    for child in children:
        child.start()
    got = [answers.get() for _ in children]
    for child in children:
        child.join()
        assert child.exitcode == 0
    return got


@pytest.mark.usefixtures("nobody_sleeps")
def test_four_processes_hit_every_limit_exactly(path: str) -> None:
    with opened(path) as counters:
        together = FORK.Barrier(4)

        def work(_: int) -> tuple[int, int, int, int]:
            windows = sum(counters.window(b"w", T0, 60) <= 1000 for _ in range(5000))
            rates = sum(counters.rate(b"r", T0, 1.0, 777) == 0.0 for _ in range(2000))
            spent = sum(counters.spend(b"q", DAY, 1, 555) >= 0 for _ in range(2000))
            inside = sum(counters.concurrent(b"c", 1, 33) for _ in range(200))
            together.wait(60)  # who has ended is no longer inside
            return windows, rates, spent, inside

        got = everywhere(work)
        assert [sum(each) for each in zip(*got, strict=True)] == [1000, 777, 555, 33]
        assert counters.window(b"w", T0, 60) == 20001


@pytest.mark.usefixtures("nobody_sleeps")
def test_many_keys_lose_nothing(path: str) -> None:
    with opened(path) as counters:

        def work(number: int) -> int:
            for i in range(4000):
                counters.window(b"k%d" % (i % 97), T0 + i / 100, 3600)
                counters.spend(b"k%d" % (i % 89), DAY, 1, 1e9)
            return number

        everywhere(work)
        assert sum(counters.window(b"k%d" % i, T0 + 40, 3600, 0) for i in range(97)) == 16000
        assert sum(1e9 - counters.spend(b"k%d" % i, DAY, 0, 1e9) for i in range(89)) == 16000


@pytest.mark.usefixtures("nobody_sleeps")
def test_a_process_that_opens_the_file_itself_counts_along(path: str) -> None:
    """As an ASGI server's workers do, which are not forked from one that has it open."""
    with opened(path) as counters:
        program = (
            "import sys\nfrom assay.guard.gateway.limits.file import Shape\n"
            "from assay.guard.gateway.limits import stripes\n"
            "from assay.guard.gateway.limits.shared import Shared\n"
            "stripes.PATIENCE = 60.0\n"
            "counters = Shared(sys.argv[1], Shape(1024, 1024, 1024, 64))\n"
            f"for _ in range(500): counters.window(b'w', {T0}, 60)\ncounters.close()\n"
        )
        children = [subprocess.Popen([sys.executable, "-c", program, path], env=environment()) for _ in range(3)]
        for _ in range(500):
            counters.window(b"w", T0, 60)
        assert [child.wait() for child in children] == [0, 0, 0]
        assert counters.window(b"w", T0, 60, 0) == 2000


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def test_whoever_is_killed_while_holding_a_lock_blocks_nobody(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripes, "PATIENCE", 2.0)  # who is only not run for a moment is not taken for dead, see above
    with opened(path) as counters:
        counters.window(b"w", T0, 60)
        stripe = counters.windows.places[b"w"][4]

        def hold(_: int) -> None:
            assert counters.file.stripes.acquire[stripe](True, 10)
            os.kill(os.getpid(), signal.SIGKILL)

        child = FORK.Process(target=hold, args=(0,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        got = everywhere(lambda _: [counters.window(b"w", T0, 60) for _ in range(1000)])
        assert sorted(count for one in got for count in one) == list(range(2, 4002))


def test_a_lock_is_let_go_once_and_by_its_holder_without_harm(path: str) -> None:
    """Who only slept and comes back releases what somebody else may have let go in its name."""
    with opened(path) as counters:
        counters.window(b"w", T0, 60)
        _, _, acquire, release, stripe = counters.windows.places[b"w"]
        assert acquire(False)
        counters.file.stripes.wait(stripe)
        release()
        with pytest.raises(ValueError, match="too many"):
            release()
        assert counters.window(b"w", T0, 60) == 2


def test_killed_in_the_middle_of_counting(path: str) -> None:
    """Again and again: those who remain go on at once, and not one of their hits is lost."""
    with opened(path) as counters:

        def hammer() -> None:
            while True:
                for i in range(50):
                    counters.window(b"k%d" % i, T0, 60)
                    counters.rate(b"k%d" % i, T0, 1e-9, 1 << 40)
                    counters.spend(b"k%d" % i, DAY, 1, 1e12)

        for _ in range(8):
            victims = [FORK.Process(target=hammer) for _ in range(2)]
            for victim in victims:
                victim.start()
            time.sleep(0.02)
            before = [counters.window(b"own%d" % i, T0, 60) for i in range(50)]
            for victim in victims:
                victim.kill()
                victim.join()
            after = [counters.window(b"own%d" % i, T0, 60) for i in range(50)]
            assert [b + 1 for b in before] == after
            assert all(counters.window(b"k%d" % i, T0, 60) > 0 for i in range(50))
            assert all(counters.spend(b"k%d" % i, DAY, 1, 1e12) > 0 for i in range(50))
        assert all(counters.file.stripes.acquire[i](True, 0) for i in range(STRIPES))
        for i in range(STRIPES):
            counters.file.stripes.release[i]()


def test_requests_under_way_in_a_killed_process_are_let_go(path: str) -> None:
    with opened(path) as counters:
        assert counters.concurrent(b"c", 1, 5)
        ready = FORK.Event()

        def enter() -> None:
            assert all(counters.concurrent(b"c", 1, 5) for _ in range(4))
            ready.set()
            time.sleep(600)

        child = FORK.Process(target=enter)
        child.start()
        assert ready.wait(60)
        assert not counters.concurrent(b"c", 1, 5)
        child.kill()
        child.join()
        assert counters.let_go_of_dead() == 1
        assert [counters.concurrent(b"c", 1, 5) for _ in range(5)] == [True] * 4 + [False]


def test_quotas_outlive_a_killed_gateway_and_rates_begin_anew(path: str) -> None:
    def work() -> None:
        counters = Shared(path, SMALL)
        counters.spend(b"q", DAY, 7, 10)
        counters.window(b"w", T0, 60, 5)
        counters.rate(b"r", T0, 60.0, 1)
        counters.concurrent(b"c", 1, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    child = FORK.Process(target=work)
    child.start()
    child.join()
    with opened(path) as counters:
        assert counters.spend(b"q", DAY, 0, 10) == 3
        assert counters.spend(b"q", DAY, 4, 10) == -1
        assert counters.window(b"w", T0, 60) == 1
        assert counters.rate(b"r", T0, 60.0, 1) == 0.0
        assert counters.concurrent(b"c", 1, 1)


def cut(data: bytearray) -> bytearray:
    return data[: len(data) // 2]


def header(data: bytearray) -> bytearray:
    data[20] ^= 0xFF
    return data


def identity(data: bytearray) -> bytearray:
    data[44] ^= 0xFF
    return data


def foreign(data: bytearray) -> bytearray:
    return bytearray(b"SQLite format 3\0" + bytes(5000))


def not_a_number(data: bytearray) -> bytearray:
    return quota(data, 3, struct.pack("<d", float("nan")))


def negative(data: bytearray) -> bytearray:
    return quota(data, 3, struct.pack("<d", -1e9))


def no_period(data: bytearray) -> bytearray:
    return quota(data, 2, struct.pack("<q", -1))


def another_version(data: bytearray) -> bytearray:
    data[7:8] = b"2"
    return data


def quota(data: bytearray, word: int, value: bytes) -> bytearray:
    slots = range(HEADER, HEADER + SMALL.quotas * QUOTA * 8, QUOTA * 8)
    taken = next(slot for slot in slots if any(data[slot : slot + 8]))
    data[taken + 8 * word : taken + 8 * word + 8] = value
    return data


@pytest.mark.parametrize("damage", [cut, header, identity, foreign, not_a_number, negative, no_period, another_version])
def test_a_damaged_file_is_set_aside_with_a_warning(
    path: str, damage: Callable[[bytearray], bytearray], caplog: pytest.LogCaptureFixture
) -> None:
    with opened(path) as counters:
        counters.spend(b"q", DAY, 7, 10)
    broken = bytes(damage(bytearray(Path(path).read_bytes())))
    Path(path).write_bytes(broken)
    with caplog.at_level(logging.WARNING), opened(path) as counters:
        assert counters.spend(b"q", DAY, 0, 10) == 10
    assert Path(path + ".damaged-1").read_bytes() == broken
    assert "set aside" in caplog.text
    with opened(path) as counters:
        assert counters.spend(b"q", DAY, 0, 10) == 10
    assert not Path(path + ".damaged-2").exists()


def test_a_file_that_is_empty_or_for_other_numbers_of_keys(path: str) -> None:
    Path(path).touch()
    with opened(path) as counters:
        counters.spend(b"q", DAY, 7, 10)
    assert not Path(path + ".damaged-1").exists()
    with opened(path, Shape(2048, 1024, 1024, 64)) as counters:
        assert counters.spend(b"q", DAY, 0, 10) == 10
    assert Path(path + ".damaged-1").exists()


def test_a_link_or_folder_in_its_place_is_told(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder", "missing/counters"):
        with pytest.raises(StoreError, match="cannot be used for counters"):
            Shared(str(tmp_path / name), SMALL)
    assert target.read_bytes() == b"precious"


def test_the_file_is_its_owners_alone_and_names_nobody(path: str) -> None:
    with opened(path) as counters:
        counters.window(b"203.0.113.77", T0, 60)
        counters.spend(b"alice@example.org", DAY, 1, 10)
        assert Path(path).stat().st_mode & 0o777 == 0o600
    data = Path(path).read_bytes()
    assert b"203.0.113.77" not in data and b"alice" not in data


def test_a_clock_that_was_far_ahead_does_not_hold_quotas_for_ever(path: str) -> None:
    now = time.time()
    with opened(path) as counters:
        counters.spend(b"q", period_of(now + 400 * 86400, "day"), 10, 10)
    with opened(path) as counters:
        assert counters.spend(b"q", period_of(now, "day"), 1, 10) == -1
        assert counters.spend(b"q", period_of(now + 86400, "day"), 1, 10) == 9


def test_no_names_of_locks_are_left(path: str) -> None:
    with opened(path) as counters:
        token = counters.file.memory[72:80].hex()
        assert list(Path("/dev/shm").glob(f"sem.assay-{token}-*"))
    assert not list(Path("/dev/shm").glob(f"sem.assay-{token}-*"))


def test_a_place_that_another_key_has_taken_is_noticed(path: str) -> None:
    with opened(path, Shape(16, 64, 16, 16)) as counters:
        table = counters.windows
        keys = [
            key for i in range(2000) if table.home(*table.digest(key := b"k%d" % i)) == table.home(*table.digest(b"k0"))
        ]
        for key in keys[:16]:
            counters.window(key, T0, 60)
        late = keys[16]
        counters.window(late, T0 + 1000, 60, 5)
        slot = table.places[late][0]
        evicted = next(key for key, place in table.places.items() if place[0] == slot and key != late)
        assert counters.window(evicted, T0 + 1000, 60) == 1
        assert counters.window(late, T0 + 1000, 60) == 6
