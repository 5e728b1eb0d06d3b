"""The benchmark's own bucket agrees with the gateway's limits to one request, and tells those that are wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.gateway_limits import Question, account, together

from assay.guard.gateway.interface import Counters
from assay.guard.gateway.limits.file import Shape
from assay.guard.gateway.limits.local import Local
from assay.guard.gateway.limits.shared import Shared

RATE, BURST = 20, 40
SECONDS = 200
START = 1000.0
END = START + SECONDS


@pytest.fixture(params=["local", "shared"])
def counters(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Counters]:
    if request.param == "local":
        yield Local()
        return
    shared = Shared(str(tmp_path / "counters"), Shape(quotas=16, windows=16, rates=16, inside=16))
    yield shared
    shared.close()


def moments(a_second: float, until: float = SECONDS) -> Iterator[float]:
    """When a caller asks."""
    chance, now = random.Random(3), START
    while now < START + until:
        yield now
        now += chance.expovariate(a_second)


def decided(counters: Counters, rate: float = RATE, *, until: float = SECONDS) -> list[Question]:
    """Three times what is let through, as the gateway's limit decides it."""
    return [
        Question(at, at + 0.01, 429 if counters.rate(b"r", at, 1 / rate, BURST) else 200) for at in moments(60.0, until)
    ]


def test_a_limit_that_is_exact_gets_all_of_it(counters: Counters) -> None:
    found = account(decided(counters), START, END, RATE, BURST)
    assert found.let_through == pytest.approx(BURST + RATE * SECONDS, abs=2)
    assert abs(found.let_through - found.exact) <= 1
    assert found.most == pytest.approx(BURST, abs=1e-3)
    assert found.unused < 0.1 and not found.unanswered


@pytest.mark.parametrize("off", [0.96, 1.04])
def test_a_limit_that_is_off_is_told(counters: Counters, off: float) -> None:
    found = account(decided(counters, RATE * off), START, END, RATE, BURST)
    assert found.share == pytest.approx(off, abs=0.01)
    assert (found.most > BURST + 100) == (off > 1)


def test_two_that_count_alone_are_told() -> None:
    halves = [decided(Local()), decided(Local())]
    found = account((one for half in halves for one in half), START, END, RATE, BURST)
    assert found.share == pytest.approx(2, abs=0.05)
    assert found.most > 2 * BURST


def test_what_broke_off_was_let_through_and_what_had_no_answer_may_have_been(counters: Counters) -> None:
    chance = random.Random(4)
    failing = [
        Question(one.at, one.answered, chance.choice((200, 500, 502, 0)) if one.status == 200 else one.status)
        for one in decided(counters)
    ]
    found = account(failing, START, END, RATE, BURST)
    assert abs(found.let_through + found.unanswered - found.exact) <= 1 and found.unanswered > found.exact / 5
    assert found.most == pytest.approx(BURST, abs=1e-3)


def test_time_in_which_nobody_asks_is_unused_and_no_fault_of_the_limit(counters: Counters) -> None:
    questions = decided(counters, until=50.0)
    later = [
        Question(one.at, one.answered, 429 if counters.rate(b"r", one.at, 1 / RATE, BURST) else 200)
        for one in (Question(at + 80.0, at + 80.0, 0) for at in moments(60.0, 50.0))
    ]
    found = account(questions + later, START, START + 130.0, RATE, BURST)
    assert abs(found.let_through - found.exact) <= 1
    assert found.unused == pytest.approx(30.0 - BURST / RATE, abs=0.2)
    assert 1.0 > found.let_through / (BURST + RATE * 130.0) > 0.7


def test_whoever_gets_no_connection_any_more_has_no_use_of_its_limit(counters: Counters) -> None:
    questions = decided(counters, until=50.0)
    found = account(questions, START - 10.0, START + 80.0, RATE, BURST)
    assert found.unused == pytest.approx(10.0 + 30.0 - BURST / RATE, abs=0.2)
    assert account([], START, END, RATE, BURST).unused == SECONDS


def test_a_stretch_begins_with_an_empty_bucket_where_one_says_so(counters: Counters) -> None:
    questions = decided(counters)
    middle = START + SECONDS / 2
    first = account(questions, START, middle, RATE, BURST)
    second = account(questions, middle, END, RATE, BURST, empty=True)
    whole = together([first, second])
    assert whole.asked == len(questions) and whole.let_through == first.let_through + second.let_through
    assert abs(whole.exact - whole.let_through) <= 2
    assert second.share > account(questions, middle, END, RATE, BURST).share + 0.01


def test_a_caller_that_never_asked_has_an_account() -> None:
    assert account([], START, END, RATE, BURST).share == 1.0 and together([]).asked == 0
