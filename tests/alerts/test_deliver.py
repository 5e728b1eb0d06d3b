"""Delivery: retried with longer and longer waits, given up loudly, no sink in another one's way."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert_making import NOW, finding, receiver, settings, wait_until
from assay.alerts.deliver import FAILURES_IN_A_ROW, FIRST_WAIT, GIVE_UP_AFTER, backoff, deliver
from assay.alerts.outbox import LONGEST_WAIT, DeliveryState, Outbox

HOOK = {"name": "hook", "type": "webhook"}
FILE = {"name": "log", "type": "file", "path": "alerts.jsonl"}
GONE = {"name": "gone", "type": "syslog", "address": "/nonexistent/log"}


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_waits_double_up_to_six_hours(attempts: int, jitter: float) -> None:
    whole = min(FIRST_WAIT * 2 ** min(attempts - 1, 9), LONGEST_WAIT)
    assert whole / 2 <= backoff(attempts, jitter) <= whole


def test_a_sink_that_comes_back_gets_everything(tmp_path: Path) -> None:
    with receiver() as server, Outbox(str(tmp_path / "alerts.db")) as box:
        sinks = settings(tmp_path, {**HOOK, "url": server.url}).sinks
        box.record("s", [finding("a")], NOW, sinks)
        server.status = 503
        waits: list[timedelta] = []
        now = NOW
        for _ in range(4):
            result = deliver(box, sinks, now, 30)
            assert (result.sent, result.failed, result.given_up) == (0, 1, 0)
            assert result.problems == ["sink 'hook': the webhook answered 503"]
            assert deliver(box, sinks, now, 30).failed == 0  # not again before its time
            (pending,) = box.deliveries(DeliveryState.PENDING)
            waits.append(pending.next_attempt - now)
            now = pending.next_attempt
        for i, wait in enumerate(waits):
            assert FIRST_WAIT * 2**i / 2 <= wait <= FIRST_WAIT * 2**i + timedelta(seconds=30)
        server.status = 200
        assert deliver(box, sinks, now, 30).sent == 1
        assert len(server.requests) == 5
        assert len({headers["webhook-id"] for _, headers, _ in server.requests}) == 1
        assert deliver(box, sinks, now + timedelta(days=30), 30).sent == 0


def test_after_a_week_it_is_given_up_and_listed(tmp_path: Path) -> None:
    with Outbox(str(tmp_path / "alerts.db")) as box:
        sinks = settings(tmp_path, GONE).sinks
        box.record("s", [finding("a")], NOW, sinks)
        assert deliver(box, sinks, NOW + GIVE_UP_AFTER - timedelta(hours=1), 30).failed == 1
        late = NOW + GIVE_UP_AFTER + LONGEST_WAIT
        result = deliver(box, sinks, late, 30)
        assert (result.failed, result.given_up) == (0, 1)
        (lost,) = box.deliveries(DeliveryState.GIVEN_UP)
        assert "/nonexistent/log" in lost.last_error and lost.attempts == 2
        assert deliver(box, sinks, late + timedelta(days=400), 30).given_up == 0
        assert len(box.deliveries(DeliveryState.GIVEN_UP)) == 1


def test_a_sink_that_is_not_configured_any_more_is_given_up(tmp_path: Path) -> None:
    with Outbox(str(tmp_path / "alerts.db")) as box:
        box.record("s", [finding("a")], NOW, settings(tmp_path, GONE).sinks)
        other = settings(tmp_path, FILE).sinks
        assert deliver(box, other, NOW, 30).given_up == 0
        assert deliver(box, other, NOW + GIVE_UP_AFTER + timedelta(seconds=1), 30).given_up == 1


def test_a_sink_that_hangs_delays_no_other_and_not_the_caller(tmp_path: Path) -> None:
    free = threading.Event()
    with receiver() as server, Outbox(str(tmp_path / "alerts.db")) as box:
        server.before = lambda: free.wait(120) and None
        sinks = settings(tmp_path, {**HOOK, "url": server.url}, FILE).sinks
        box.record("s", [finding("a"), finding("b")], NOW, sinks)
        sent = 0
        for _ in range(30):  # on a busy machine a round may be over before it has begun
            sent += deliver(box, sinks, NOW, 2.0).sent
            if sent == 2 and server.requests:
                break
        assert not free.is_set()  # it came back although the webhook has not answered
        assert sent == 2
        assert {d.sink for d in box.deliveries(DeliveryState.DELIVERED)} == {"log"}
        free.set()
        wait_until(lambda: len(box.deliveries(DeliveryState.DELIVERED)) == 3)
        # The thread finishes what it had begun, and begins nothing after the deadline.
        assert len(server.requests) == 1


def test_an_alert_that_a_sink_refuses_does_not_stop_the_others(tmp_path: Path) -> None:
    with receiver() as server, Outbox(str(tmp_path / "alerts.db")) as box:
        sinks = settings(tmp_path, {**HOOK, "url": server.url}).sinks
        box.record("s", [finding(f"{kind}-{i}") for i in range(4) for kind in ("bad", "good")], NOW, sinks)

        def refuse_the_bad_ones() -> None:
            server.status = 400 if b'"subject":"bad' in server.requests[-1][2] else 200

        server.before = refuse_the_bad_ones
        result = deliver(box, sinks, NOW, 30)
        assert (result.sent, result.failed) == (4, 4)
        assert {d.alert.finding.key[:3] for d in box.deliveries(DeliveryState.PENDING)} == {"bad"}


def test_a_sink_that_is_down_is_left_alone(tmp_path: Path) -> None:
    with Outbox(str(tmp_path / "alerts.db")) as box:
        sinks = settings(tmp_path, GONE).sinks
        box.record("s", [finding(str(i)) for i in range(50)], NOW, sinks)
        assert deliver(box, sinks, NOW, 30).failed == FAILURES_IN_A_ROW
        # The next round begins with those that were not tried.
        deliver(box, sinks, NOW, 30)
        assert sorted(d.attempts for d in box.deliveries(DeliveryState.PENDING))[-7:] == [0] + [1] * 6


def test_refused_alerts_are_not_always_first(tmp_path: Path) -> None:
    with receiver() as server, Outbox(str(tmp_path / "alerts.db")) as box:
        sinks = settings(tmp_path, {**HOOK, "url": server.url}).sinks
        box.record("s", [*(finding(f"bad-{i}") for i in range(FAILURES_IN_A_ROW)), finding("good")], NOW, sinks)

        def refuse_the_bad_ones() -> None:
            server.status = 400 if b'"subject":"bad' in server.requests[-1][2] else 200

        server.before = refuse_the_bad_ones
        assert deliver(box, sinks, NOW, 30).sent == 0
        box.retry(NOW + timedelta(seconds=30), given_up=False)
        assert deliver(box, sinks, NOW + timedelta(seconds=30), 30).sent == 1


def test_a_missing_secret_is_a_failure_that_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_ALERT_HOOK", raising=False)
    with Outbox(str(tmp_path / "alerts.db")) as box:
        sinks = settings(tmp_path, {**HOOK, "url": "${ASSAY_ALERT_HOOK}"}, FILE).sinks
        box.record("s", [finding("a")], NOW, sinks)
        result = deliver(box, sinks, NOW, 30)
        assert (result.sent, result.problems) == (
            1,
            ["sink 'hook': the environment variable ASSAY_ALERT_HOOK is not set"],
        )


def test_the_sinks_order_is_the_order_of_time(tmp_path: Path) -> None:
    with receiver() as server, Outbox(str(tmp_path / "alerts.db")) as box:
        sinks = settings(tmp_path, {**HOOK, "url": server.url}).sinks
        moments: list[datetime] = []
        for i, found in enumerate(([finding("a")], [], [finding("a")], [finding("a", "critical")])):
            moments.append(NOW + timedelta(seconds=i))
            box.record("s", found, moments[-1], sinks)
        assert deliver(box, sinks, NOW + timedelta(minutes=1), 30).sent == 4
        states = [b'"state":"resolved"' in body for _, _, body in server.requests]
    assert states == [False, True, False, False]
