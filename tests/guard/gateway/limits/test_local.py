"""Windows against an exact log, GCRA against rationals, and eviction that frees nobody of a count."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.guard.gateway.interface import Counters
from assay.guard.gateway.limits.file import Shape
from assay.guard.gateway.limits.local import Local
from assay.guard.gateway.limits.periods import period_of
from assay.guard.gateway.limits.shared import Shared

SMALL = Shape(quotas=64, windows=64, rates=64, inside=64)
T0 = 1_790_000_000.0
KINDS = ("local", "shared", "synced")


@contextmanager
def made(kind: str) -> Iterator[Counters]:
    if kind == "local":
        yield Local(64)
    else:
        with tempfile.TemporaryDirectory() as folder:
            counters = Shared(f"{folder}/counters", SMALL, synced=kind == "synced")
            try:
                yield counters
            finally:
                counters.close()


steps = st.lists(
    st.tuples(
        st.one_of(
            st.floats(0, 0.1), st.floats(0, 20), st.sampled_from([0.0, 5.0, 59.8, 60.0, 65.0, 300.0]), st.floats(-30, 0)
        ),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=60,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_a_window_counts_all_that_there_were_and_none_that_is_long_over(
    kind: str, steps: list[tuple[float, int]]
) -> None:
    with made(kind) as counters:
        clock, now = T0, 0.0
        log: list[tuple[float, int]] = []
        for step, hits in steps:
            clock += step
            now = max(now, clock)
            told = counters.window(b"k", clock, 60, hits)
            log.append((now, hits))
            assert told >= sum(n for at, n in log if at > now - 60)
            # A millionth: what the clock itself cannot tell apart.
            assert told <= sum(n for at, n in log if at > now - 65 - 1e-6)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(offsets=st.lists(st.floats(0, 240), min_size=30, max_size=150))
def test_no_window_lets_more_through_than_its_limit(kind: str, offsets: list[float]) -> None:
    with made(kind) as counters:
        accepted = []
        for offset in sorted(offsets):
            at = T0 + offset
            if counters.window(b"k", at, 60) <= 10:
                accepted.append(at)
        for end in accepted:
            assert sum(end - 60 < at <= end for at in accepted) <= 10


@pytest.mark.parametrize("kind", KINDS)
def test_timing_made_for_it_gains_nothing(kind: str) -> None:
    """1 at the start, 99 at the end of a window, 100 after it: fixed and sliding counters let 199 through."""
    with made(kind) as counters:
        start = T0 - T0 % 60
        accepted = [
            at
            for at in [start + 0.1, *[start + 59.8] * 99, *[start + 60.3] * 100, *[start + 64.9] * 100]
            if counters.window(b"k", at, 60) <= 100
        ]
        assert len(accepted) == 100


@pytest.mark.parametrize("kind", KINDS)
def test_blocked_hits_keep_a_flood_out(kind: str) -> None:
    with made(kind) as counters:
        accepted = sum(counters.window(b"k", T0 + i / 10, 60) <= 100 for i in range(3000))
        assert accepted == 100
        assert counters.window(b"k", T0 + 300 + 65, 60) == 1


class Exact:
    """GCRA in rational numbers."""

    def __init__(self, interval: Fraction, burst: int) -> None:
        self.interval, self.burst, self.full = interval, burst, Fraction(0)

    def take(self, now: Fraction, cost: int) -> bool:
        full = max(self.full, now) + cost * self.interval
        if full - self.burst * self.interval > now:
            return False
        self.full = full
        return True


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 4096), st.integers(1, 5)), min_size=1, max_size=80),
    interval=st.sampled_from([1, 7, 256, 1000]),
    burst=st.integers(1, 12),
)
def test_a_rate_decides_as_exact_numbers_do(kind: str, steps: list[tuple[int, int]], interval: int, burst: int) -> None:
    """Times are multiples of 1/256 s, which floats and nanoseconds both hold exactly."""
    with made(kind) as counters:
        exact = Exact(Fraction(interval, 256), burst)
        now = Fraction(int(T0))
        for step, cost in steps:
            now += Fraction(step, 256)
            wait = counters.rate(b"k", float(now), interval / 256, burst, cost)
            assert (wait == 0.0) == exact.take(now, cost)
            assert (wait == inf) == (cost > burst) or wait == 0.0 or wait < inf
            if 0 < wait < inf and steps.index((step, cost)) % 3 == 0:
                now += Fraction(int(wait * 256) + 1, 256)
                assert exact.take(now, cost)
                assert counters.rate(b"k", float(now), interval / 256, burst, cost) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_that_steps_back_stands_still(kind: str) -> None:
    with made(kind) as counters:
        assert [counters.rate(b"r", T0, 1.0, 2) for _ in range(2)] == [0.0, 0.0]
        assert counters.rate(b"r", T0 - 3600, 1.0, 2) == pytest.approx(1.0)
        assert counters.rate(b"r", T0 + 1, 1.0, 2) == 0.0
        assert counters.window(b"w", T0, 60) == 1
        assert counters.window(b"w", T0 - 3600, 60) == 2
        assert counters.window(b"w", T0 + 1, 60) == 3
        today = period_of(T0, "day")
        assert counters.spend(b"s", today, 6, 10) == 4
        assert counters.spend(b"s", period_of(T0 - 86400, "day"), 6, 10) == -1


@pytest.mark.parametrize("kind", KINDS)
def test_what_never_fits_waits_for_ever(kind: str) -> None:
    with made(kind) as counters:
        assert counters.rate(b"r", T0, 1.0, 5, 6) == inf
        assert counters.rate(b"r", T0, 1.0, 5, 5) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_owed_is_waited_for(kind: str) -> None:
    with made(kind) as counters:
        assert counters.rate(b"r", T0, 1.0, 10, 10) == 0.0
        assert counters.rate(b"r", T0, 1.0, 1 << 62, 20) == 0.0
        assert counters.rate(b"r", T0, 1.0, 10, 1) == pytest.approx(21.0)
        assert counters.rate(b"r", T0, 1.0, 1 << 62, -30) == 0.0
        assert counters.rate(b"r", T0, 1.0, 10, 10) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_strangers_cannot_push_a_count_out(kind: str) -> None:
    """A flood of ten times as many keys as there is room for: who used up a limit stays without."""
    with made(kind) as counters:
        for _ in range(50):
            counters.window(b"victim", T0, 60)
        for _ in range(10):
            assert counters.rate(b"victim", T0, 10.0, 10) == 0.0
        for i in range(640):
            counters.window(b"stranger%d" % i, T0 + 1, 60)
            counters.rate(b"stranger%d" % i, T0 + 1, 10.0, 10)
        assert counters.window(b"victim", T0 + 2, 60) >= 51
        assert counters.rate(b"victim", T0 + 2, 10.0, 10) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_another_length_do_not_make_long_ones_old(kind: str) -> None:
    with made(kind) as counters:
        for _ in range(50):
            counters.window(b"victim", T0, 86400)
        for i in range(640):
            counters.window(b"stranger%d" % i, T0 + 300, 1)
        assert counters.window(b"victim", T0 + 300, 86400) >= 51


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_back_at_zero_makes_room(kind: str) -> None:
    with made(kind) as counters:
        for i in range(2000):
            assert counters.window(b"k%d" % i, T0 + i * 61, 60) == 1
            assert counters.rate(b"k%d" % i, T0 + i * 61, 1.0, 1) == 0.0
            assert counters.spend(b"k%d" % i, period_of(T0 + i * 3600, "hour"), 1, 1) == 0
            assert counters.concurrent(b"k%d" % i, 1, 1)
            assert counters.concurrent(b"k%d" % i, -1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_quotas_are_never_forgotten_for_room(kind: str) -> None:
    with made(kind) as counters:
        period = period_of(T0, "month")
        answers = [counters.spend(b"k%d" % i, period, 1, 1) for i in range(640)]
        assert answers.count(0) <= 64 and answers.count(-1) >= 576
        kept = [i for i, answer in enumerate(answers) if answer == 0]
        assert all(counters.spend(b"k%d" % i, period, 1, 1) == -1 for i in kept)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(amounts=st.lists(st.integers(-20, 20), max_size=60))
def test_a_quota_is_exact_and_never_below_zero(kind: str, amounts: list[int]) -> None:
    with made(kind) as counters:
        used = 0
        for amount in amounts:
            left = counters.spend(b"q", period_of(T0, "day"), amount, 30)
            if amount > 0 and used + amount > 30:
                assert left == -1
            else:
                used = max(0, used + amount)
                assert left == min(30, 30 - used) or (used == 0 and left >= 30)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_period_begins_with_nothing_and_old_reservations_free_nothing_in_it(kind: str) -> None:
    with made(kind) as counters:
        old, new = period_of(T0, "day"), period_of(T0 + 86400, "day")
        assert counters.spend(b"q", old, 10, 10) == 0
        assert counters.spend(b"q", new, 8, 10) == 2
        counters.spend(b"q", old, -10, inf)
        assert counters.spend(b"q", new, 3, 10) == -1
        assert counters.spend(b"q", new, 2, 10) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_so_many_at_the_same_time(kind: str) -> None:
    with made(kind) as counters:
        assert [counters.concurrent(b"c", 1, 3) for _ in range(5)] == [True] * 3 + [False] * 2
        counters.concurrent(b"c", -1, 3)
        assert [counters.concurrent(b"c", 1, 3) for _ in range(2)] == [True, False]
        for _ in range(9):
            counters.concurrent(b"c", -1, 3)
        assert [counters.concurrent(b"c", 1, 3) for _ in range(4)] == [True] * 3 + [False]


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_pushed_out_takes_over_no_less_on_coming_back(kind: str) -> None:
    """Strangers who spend more than the victim has: it goes, and finds at least its own count again."""
    with made(kind) as counters:
        counters.window(b"victim", T0, 60, 5)
        assert counters.rate(b"victim", T0, 10.0, 10, 5) == 0.0
        for i in range(640):
            counters.window(b"stranger%d" % i, T0 + 1, 60, 6)
            counters.rate(b"stranger%d" % i, T0 + 1, 10.0, 10, 6)
        assert counters.window(b"victim", T0 + 2, 60) >= 6
        assert counters.rate(b"victim", T0 + 2, 10.0, 10, 6) > 0
