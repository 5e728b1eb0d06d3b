"""The outbox: exactly one alert a transition, in every order; nothing lost, nothing readable by others."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from alerts.alert_making import NOW, finding, settings
from assay.alerts.finding import MAX_DETAILS, Finding, Severity, State, bounded, identifier
from assay.alerts.outbox import CLAIM, KEEP_DELIVERED, DeliveryState, Outbox
from assay.errors import StoreError

FILE = {"name": "log", "type": "file", "path": "alerts.jsonl"}
GRAVE = {"name": "grave", "type": "file", "path": "grave.jsonl", "severity": "high"}
ENDS = {"name": "ends", "type": "file", "path": "ends.jsonl", "states": ["resolved"]}

LEVELS = list(Severity)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "alerts.db")


def changes(box: Outbox, found: list[Finding], folder: Path, scope: str = "s") -> list[tuple[str, str, str]]:
    alerts = box.record(scope, found, NOW, settings(folder, FILE).sinks)
    return [(alert.state, alert.finding.key, alert.finding.severity) for alert in alerts]


def test_a_finding_is_new_once_and_resolved_once(path: str, tmp_path: Path) -> None:
    with Outbox(path) as box:
        assert changes(box, [finding("a"), finding("b")], tmp_path) == [("new", "a", "high"), ("new", "b", "high")]
        assert changes(box, [finding("a"), finding("b")], tmp_path) == []
        assert changes(box, [finding("b")], tmp_path) == [("resolved", "a", "high")]
        assert changes(box, [finding("b")], tmp_path) == []
    with Outbox(path) as box:  # a later process knows it too
        assert changes(box, [finding("b")], tmp_path) == []
        assert changes(box, [finding("a")], tmp_path) == [("new", "a", "high"), ("resolved", "b", "high")]
        assert [alert.finding.key for alert in box.open_findings()] == ["a"]


def test_worse_is_new_and_better_is_not(path: str, tmp_path: Path) -> None:
    with Outbox(path) as box:
        assert changes(box, [finding("a", "low")], tmp_path) == [("new", "a", "low")]
        assert changes(box, [finding("a", "critical")], tmp_path) == [("new", "a", "critical")]
        assert changes(box, [finding("a", "low")], tmp_path) == []
        assert changes(box, [finding("a", "critical")], tmp_path) == []
        # Who was told that it is critical is told that it is over, whatever it was last.
        assert changes(box, [], tmp_path) == [("resolved", "a", "critical")]


def test_two_findings_with_one_key_are_the_worse_one(path: str, tmp_path: Path) -> None:
    with Outbox(path) as box:
        twice = [finding("a", "low"), finding("a", "high"), finding("a", "medium")]
        assert changes(box, twice, tmp_path) == [("new", "a", "high")]
        assert changes(box, twice, tmp_path) == []


def test_scopes_and_owners_are_apart(path: str, tmp_path: Path) -> None:
    with Outbox(path, "one") as one, Outbox(path, "two") as two:
        assert changes(one, [finding("a")], tmp_path) == [("new", "a", "high")]
        assert changes(one, [], tmp_path, scope="other") == []
        assert changes(two, [], tmp_path) == []
        assert changes(two, [finding("a")], tmp_path) == [("new", "a", "high")]
        assert changes(one, [finding("a")], tmp_path) == []
        # Two configurations may both call a sink "log": neither sends the other's alerts.
        claimed = [box.claim("log", NOW) for box in (one, two)]
        assert [delivery and delivery.owner for delivery in claimed] == ["one", "two"]


def test_deliveries_go_to_the_sinks_that_want_them(path: str, tmp_path: Path) -> None:
    sinks = settings(tmp_path, FILE, GRAVE, ENDS).sinks
    with Outbox(path) as box:
        box.record("s", [finding("a", "medium"), finding("b", "high")], NOW, sinks)
        box.record("s", [], NOW, sinks)
        found = [(d.sink, d.alert.finding.key, str(d.alert.state)) for d in box.deliveries(DeliveryState.PENDING)]
    assert sorted(found) == [
        ("ends", "a", "resolved"),
        ("ends", "b", "resolved"),
        ("grave", "b", "new"),
        ("grave", "b", "resolved"),
        ("log", "a", "new"),
        ("log", "a", "resolved"),
        ("log", "b", "new"),
        ("log", "b", "resolved"),
    ]


@examples(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from("xy"), st.dictionaries(st.sampled_from("abc"), st.sampled_from(LEVELS), max_size=3)),
        max_size=8,
    )
)
def test_any_sequence_of_findings_gives_exactly_its_transitions(steps: list[tuple[str, dict[str, Severity]]]) -> None:
    told: dict[str, dict[str, Severity]] = {"x": {}, "y": {}}
    written = 0
    with tempfile.TemporaryDirectory() as folder, Outbox(os.path.join(folder, "alerts.db")) as box:
        sinks = settings(Path(folder), FILE).sinks
        for scope, now_there in steps:
            expected = _expected(told[scope], now_there)
            for _ in range(2):  # saying it again changes nothing
                alerts = box.record(scope, [finding(key, level) for key, level in now_there.items()], NOW, sinks)
                assert {(a.state, a.finding.key, a.finding.severity) for a in alerts} == expected
                assert len(alerts) == len(expected)
                written += len(alerts)
                expected = set()
        still = {(alert.scope, alert.finding.key): alert.finding.severity for alert in box.open_findings()}
        assert still == {(scope, key): level for scope, found in told.items() for key, level in found.items()}
        assert len(box.deliveries(DeliveryState.PENDING)) == written


def _expected(told: dict[str, Severity], there: Mapping[str, Severity]) -> set[tuple[State, str, Severity]]:
    """What the issue says, over the plain dictionary ``told`` of what was announced; changes it."""
    new = {
        key: level for key, level in there.items() if key not in told or LEVELS.index(level) < LEVELS.index(told[key])
    }
    gone = {key: level for key, level in told.items() if key not in there}
    told.update(new)
    for key in gone:
        del told[key]
    return {(State.NEW, key, level) for key, level in new.items()} | {
        (State.RESOLVED, key, level) for key, level in gone.items()
    }


def test_the_alerts_of_one_finding_stay_in_order(path: str, tmp_path: Path) -> None:
    sinks = settings(tmp_path, FILE).sinks
    with Outbox(path) as box:
        box.record("s", [finding("a")], NOW, sinks)
        box.record("s", [finding("b")], NOW, sinks)
        first = box.claim("log", NOW)
        assert first is not None and (first.alert.state, first.alert.finding.key) == ("new", "a")
        assert box.claim("log", NOW) is None  # one deliverer at a time
        box.failed(first, "down", NOW + timedelta(minutes=10))
        second = box.claim("log", NOW)
        # "resolved a" is due too, but must not overtake "new a".
        assert second is not None and second.alert.finding.key == "b"
        box.sent(second)
        assert box.claim("log", NOW) is None
        later = NOW + timedelta(minutes=10)
        for state in ("new", "resolved"):
            delivery = box.claim("log", later)
            assert delivery is not None and (delivery.alert.state, delivery.alert.finding.key) == (state, "a")
            box.sent(delivery)
        assert box.deliveries(DeliveryState.PENDING) == []
        assert len(box.deliveries(DeliveryState.DELIVERED)) == 3


def test_a_claim_ends_when_its_deliverer_died(path: str, tmp_path: Path) -> None:
    with Outbox(path) as box:
        box.record("s", [finding("a")], NOW, settings(tmp_path, FILE).sinks)
        assert box.claim("log", NOW) is not None
        assert box.claim("log", NOW + CLAIM - timedelta(seconds=1)) is None
        again = box.claim("log", NOW + CLAIM)
        assert again is not None and again.attempts == 2


def test_times_written_by_a_wrong_clock_do_not_stop_deliveries(path: str, tmp_path: Path) -> None:
    with Outbox(path) as box:
        box.record("s", [finding("a")], NOW + timedelta(days=3650), settings(tmp_path, FILE).sinks)
        assert box.claim("log", NOW + timedelta(days=3650)) is not None
        delivery = box.claim("log", NOW)
        assert delivery is not None and delivery.alert.finding.key == "a"


def test_a_late_failure_does_not_undo_a_delivery(path: str, tmp_path: Path) -> None:
    with Outbox(path) as box:
        box.record("s", [finding("a")], NOW, settings(tmp_path, FILE).sinks)
        slow = box.claim("log", NOW)
        quick = box.claim("log", NOW + CLAIM)
        assert slow is not None and quick is not None
        box.sent(quick)
        box.failed(slow, "timed out", NOW)
        assert [delivery.state for delivery in box.deliveries(*DeliveryState)] == ["delivered"]


def test_given_up_stays_listed_until_it_is_dismissed(path: str, tmp_path: Path) -> None:
    sinks = settings(tmp_path, FILE).sinks
    with Outbox(path) as box:
        box.record("s", [finding("a")], NOW, sinks)
        delivery = box.claim("log", NOW)
        assert delivery is not None
        box.failed(delivery, "down for a week", None)
        box.record("s", [], NOW, ())  # resolved since, so that only the delivery keeps the alert
        much_later = NOW + KEEP_DELIVERED * 10
        box.prune(much_later)
        assert [d.last_error for d in box.deliveries(DeliveryState.GIVEN_UP)] == ["down for a week"]
        assert box.claim("log", much_later) is None
        assert box.dismiss() == 1
        assert box.deliveries(DeliveryState.GIVEN_UP) == []
        box.retry(much_later, given_up=False)
        assert box.claim("log", much_later) is None
        box.retry(much_later, given_up=True)
        assert box.claim("log", much_later) is not None


def test_alerts_of_a_sink_that_is_gone_are_given_up_and_said(path: str, tmp_path: Path) -> None:
    with Outbox(path) as box:
        box.record("s", [finding("a")], NOW, settings(tmp_path, FILE, GRAVE).sinks)
        assert box.abandon(["log"], NOW) == 0
        assert box.abandon(["log"], NOW + timedelta(days=1)) == 1
        assert [(d.sink, d.last_error) for d in box.deliveries(DeliveryState.GIVEN_UP)] == [
            ("grave", "no sink of this name is configured any more")
        ]


def test_only_old_alerts_that_everybody_has_are_forgotten(path: str, tmp_path: Path) -> None:
    sinks = settings(tmp_path, FILE).sinks
    with Outbox(path) as box:
        for found in ([finding("over"), finding("open")], [finding("open")]):
            box.record("s", found, NOW, sinks)
        while delivery := box.claim("log", NOW):
            box.sent(delivery)
        box.record("s", [finding("open"), finding("stuck")], NOW, sinks)
        box.prune(NOW + KEEP_DELIVERED)
        assert len(box.deliveries(*DeliveryState)) == 4
        box.prune(NOW + KEEP_DELIVERED + timedelta(seconds=1))
        assert sorted((d.alert.finding.key, d.state) for d in box.deliveries(*DeliveryState)) == [
            ("open", "delivered"),
            ("stuck", "pending"),
        ]
        assert [alert.finding.key for alert in box.open_findings()] == ["open", "stuck"]


def test_nobody_else_may_read_it(path: str, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with Outbox(path) as box:
            box.record("s", [finding("a")], NOW, settings(tmp_path, FILE).sinks)
            names = sorted(os.listdir(os.path.dirname(path)))
            assert "alerts.db" in names
            for name in names:
                assert stat.S_IMODE(os.stat(os.path.join(os.path.dirname(path), name)).st_mode) == 0o600, name
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    os.chmod(path, 0o644)
    with Outbox(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def _other_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.close()


def _damaged(path: Path) -> None:
    with Outbox(str(path)) as box:
        box.record("s", [finding(str(i)) for i in range(200)], NOW, ())
    data = bytearray(path.read_bytes())
    data[4096 : len(data)] = random.Random(7).randbytes(len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database at all" * 500),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(path.parent / "nowhere" / "else"),
        _other_database,
        _damaged,
    ],
)
def test_a_file_that_is_no_outbox_is_a_sentence(tmp_path: Path, spoil: Any) -> None:
    path = tmp_path / "alerts.db"
    spoil(path)
    with pytest.raises(StoreError) as caught, Outbox(str(path)) as box:
        box.record("s", [finding("a")], NOW, ())
        box.open_findings()
    assert str(path) in caught.value.message


def test_a_finding_that_cannot_be_read_is_a_sentence(path: str) -> None:
    with Outbox(path) as box:
        box.record("s", [finding("a")], NOW, ())
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alert SET finding = ?", (b'{"key": 3',))
    connection.commit()
    connection.close()
    with Outbox(path) as box, pytest.raises(StoreError, match="damaged"):
        box.open_findings()


HOSTILE = st.text(max_size=40) | st.just("\udcff\x00\x1b[31m") | st.just("x" * 5000)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | HOSTILE
    | st.binary(max_size=5)
    | st.just(10**400)
    | st.just({1, 2}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HOSTILE, inner, max_size=4),
    max_leaves=12,
)


@examples(deadline=None, max_examples=60)
@given(key=HOSTILE, title=HOSTILE, message=HOSTILE, details=st.dictionaries(HOSTILE, JSON, max_size=4), scope=HOSTILE)
def test_whatever_strangers_write_is_kept_and_read_back(
    key: str, title: str, message: str, details: dict[str, Any], scope: str
) -> None:
    hostile = Finding(key, title, Severity.LOW, message, details=details, frameworks={title: [message]})
    with tempfile.TemporaryDirectory() as folder, Outbox(os.path.join(folder, "alerts.db")) as box:
        (written,) = box.record(scope, [hostile], NOW, ())
        assert box.record(scope, [hostile], NOW, ()) == []
        (read,) = box.open_findings()
        assert read.id == written.id
        assert json.dumps(dict(read.finding.details)) == json.dumps(dict(bounded(hostile).details))
        assert len(json.dumps(dict(read.finding.details))) <= MAX_DETAILS
        assert (read.finding.title, read.finding.message) == (written.finding.title, written.finding.message)


def test_long_keys_that_differ_at_the_end_stay_different() -> None:
    one, two = identifier("k" * 10_000 + "1"), identifier("k" * 10_000 + "2")
    assert one != two
    assert len(one) < 300


def test_numbers_that_other_readers_would_round_are_text() -> None:
    details = bounded(finding(details={"a": 2**53 - 1, "b": 2**53 + 1, "c": -(2**64), "d": 10**5000})).details
    assert (details["a"], details["b"], details["c"]) == (2**53 - 1, hex(2**53 + 1), hex(-(2**64)))
    assert len(details["d"]) == 300


def test_deep_details_are_cut() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert json.dumps(dict(bounded(finding(details={"deep": deep})).details)).count("[") < 20
