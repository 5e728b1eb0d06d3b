"""Attacks on the detectors themselves: other batches, waiting, flooding, many keys, strange values, damaged state."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from assay.errors import DocumentError, UsageError
from assay.guard.gateway.detect import near
from assay.guard.gateway.detect.answers import margins
from assay.guard.gateway.detect.calibration import signals_of, space_of
from assay.guard.gateway.detect.caller import Eye, State
from assay.guard.gateway.interface import Answers, Level, Table
from guard.gateway.detect.detect_making import (
    NOW,
    ask,
    attack,
    calibration,
    detectors,
    flagged_after,
    honest,
    reacting,
    sample,
    small,
)


def eye() -> Eye:
    made = calibration()
    return Eye(space_of(made.space), signals_of(made.signals), made.usual)


def drawn(count: int, seed: int = 3) -> np.ndarray:
    world, _ = small()
    return world.draw(np.random.default_rng(seed), count)


@pytest.mark.parametrize("batch", [5, 64, 300])
def test_a_request_of_many_rows_counts_as_as_many_queries(batch: int) -> None:
    world, _ = small()
    rows = np.concatenate([drawn(150), attack("line-search", 100), drawn(50, 4)])
    rows[20], rows[21] = rows[3], rows[3] + 1e-9  # the very same, and almost
    answers = world.predict(rows)
    labels, margins = answers.argmax(axis=1).astype(np.int32), np.ptp(answers, axis=1)
    one, many, both = State(10), State(10), [set(), set()]
    looking = eye()
    for i in range(len(rows)):
        looking.one(rows[i], int(labels[i]), float(margins[i]))
        both[0] |= set(looking.show(one, "r") or ())
    for i in range(0, len(rows), batch):
        part = slice(i, i + batch)
        looks = looking.many(rows[part], labels[part], margins[part])
        both[1] |= set(looking.show_many(many, looks, "r") or ())
    assert both[0] == both[1] and both[0]
    assert np.allclose(one.sums, many.sums, rtol=1e-3, atol=0.05)
    assert np.allclose(one.ring.rows, many.ring.rows, atol=1e-4)
    assert (one.ring.place, one.ring.seen) == (many.ring.place, many.ring.seen)


def test_large_requests_are_flagged_like_small_ones() -> None:
    rows = attack("random", 1000)
    assert flagged_after(detectors(calibration()), "key:a", rows) <= 20
    assert flagged_after(detectors(calibration()), "key:a", rows, batch=1000) == 1000  # with its first request


def slowly(count: int = 400) -> np.ndarray:
    """An attack that takes its time: each query a little off."""
    return drawn(count, 5) + 0.3 * np.random.default_rng(6).normal(size=(count, 10))


def test_waiting_is_not_forgiven() -> None:
    """One query a day: sums know no time."""
    rows = slowly()
    at_once = flagged_after(detectors(calibration()), "key:a", rows)
    assert 10 < at_once < 300
    assert flagged_after(detectors(calibration()), "key:a", rows, every=86400.0) == at_once


def test_equal_queries_neither_help_nor_harm() -> None:
    rows = slowly()
    often = np.repeat(rows, 3, axis=0)
    once = flagged_after(detectors(calibration()), "key:a", rows)
    assert flagged_after(detectors(calibration()), "key:a", often) == pytest.approx(3 * once, abs=3)


def test_a_flood_of_strangers_resets_nothing() -> None:
    """Half of an attack, then more new callers than are remembered, then the other half."""
    rows = slowly()
    alone = flagged_after(detectors(calibration()), "key:a", rows)
    who = detectors(calibration(), callers=50)
    assert flagged_after(who, "key:a", rows[: alone // 2]) == 10**6
    before = max(who.scores("key:a").values())
    for i, row in enumerate(drawn(200)):
        list(ask(who, f"key:stranger-{i}", row[None, :], at=NOW + 1000, address=f"10.0.{i}.1"))
    assert not who.scores("key:a")  # forgotten, but for its sums
    assert before > 0.2
    rest = flagged_after(who, "key:a", rows[alone // 2 :], at=NOW + 2000)
    assert rest <= alone - alone // 2 + 26, "its last queries are gone, its sums are not"


def test_a_flag_survives_the_flood() -> None:
    who = detectors(calibration(), callers=20)
    assert flagged_after(who, "key:a", attack("random", 50)) < 50
    for i, row in enumerate(drawn(300)):
        list(ask(who, f"key:stranger-{i}", row[None, :], at=NOW + 60, address=f"10.0.{i % 250}.1"))
    (finding,) = [f for f in who.findings() if f.details["caller"] == "key:a"]
    assert finding.details["level"] == "harden" or finding.details["alarms"] > 1
    assert who.figures()["callers"] <= 20 and who.figures()["pools"] <= 100


def test_memory_of_strangers_is_bounded() -> None:
    who = detectors(calibration(), callers=10)
    row = drawn(1)
    for i in range(500):
        list(ask(who, f"key:{i}", row, owner=f"o{i}", address=f"10.{i // 250}.{i % 250}.1"))
    assert len(who._memory) == 10
    assert len(who._memory._dormant) == 100
    assert len(who._members) <= 40


@pytest.mark.parametrize("keys", [7, 100])
def test_many_keys_of_one_owner_are_seen_together(keys: int) -> None:
    rows = attack("line-search", 600)
    who = detectors(calibration())
    for i, row in enumerate(rows):
        request = ask(who, f"key:{i % keys}", row[None, :], at=NOW + i, owner="mallory", address=f"10.0.{i % 200}.1")
        for _, changes in request:
            if any(key == "owner:mallory" for key, _ in changes):
                assert dict(changes)["owner:mallory"].why == "pooled:owner"
                return
    pytest.fail("the owner was never flagged")


def test_many_owners_of_one_network_are_seen_together() -> None:
    rows = attack("random", 400)
    who = detectors(calibration())
    found = set()
    for i, row in enumerate(rows):
        for _, changes in ask(who, f"key:{i}", row[None, :], at=NOW + i, address=f"203.0.113.{i % 250}"):
            found |= {key for key, _ in changes}
    assert "net:203.0.113.0/24" in found


def test_an_office_of_honest_callers_is_left_alone() -> None:
    who = detectors(calibration())
    some = honest(21, 20, 200)
    changes = [
        change
        for i in range(200)
        for stream in some
        for _, found in ask(
            who, stream.name, stream.table.features[i : i + 1], at=NOW + i, owner="acme", address="192.0.2.9"
        )
        for change in found
    ]
    assert who.figures()["pools"] == 2
    assert not [change for change in changes if change[0].startswith(("owner:", "net:"))]


def test_neighbours_of_a_flagged_caller_are_not_flagged_with_it() -> None:
    who = detectors(calibration())
    list(ask(who, "key:good", drawn(5), address="192.0.2.1"))
    changed = {
        key for _, changes in ask(who, "key:bad", attack("random", 60), address="192.0.2.2") for key, _ in changes
    }
    assert changed == {"key:bad"}


def test_strangers_without_a_key_are_told_apart_by_network() -> None:
    who = detectors(calibration())
    after = flagged_after(
        who, "address:198.51.100.3", attack("random", 40), key="net:198.51.100.0/24", address="198.51.100.3"
    )
    assert after < 40
    assert flagged_after(who, "address:192.0.2.1", drawn(40), key="net:192.0.2.0/24", owner="") == 10**6


def moved(count: int, seed: int) -> np.ndarray:
    """The population, elsewhere."""
    return drawn(count, seed) + 6.0 * np.where(np.arange(10) % 2, 1, -1)


def test_when_all_callers_move_it_is_drift_and_nobody_is_blocked() -> None:
    who = detectors(calibration())
    callers = [f"key:{i}" for i in range(30)]
    last: dict[str, Level] = {}
    for turn in range(230):
        for i, caller in enumerate(callers):
            rows = drawn(1, 1000 * turn + i) if turn < 205 else moved(1, 1000 * turn + i)
            for _, changes in ask(who, caller, rows, at=NOW + turn, address=f"10.0.{i}.1"):
                last |= {key: standing.level for key, standing in changes}
    assert len(last) >= 20, "all of them had alarms"
    assert set(last.values()) == {Level.LOG}
    (finding,) = [finding for finding in who.findings() if finding.key.startswith("drift:")]
    assert finding.details["kind"] == "drift"


def test_attackers_cannot_pass_for_drift() -> None:
    """A third of the callers attack together, and stay flagged; strangers who are many are no witnesses either."""
    who = detectors(calibration())
    last: dict[str, Level] = {}
    for turn in range(230):
        for i in range(30):
            rows = drawn(1, 1000 * turn + i) if turn < 205 or i % 3 else moved(1, 1000 * turn + i)
            for _, changes in ask(who, f"key:{i}", rows, at=NOW + turn, address=f"10.0.{i}.1"):
                last |= {key: standing.level for key, standing in changes}
    bad = [f"key:{i}" for i in range(0, 30, 3)]
    assert all(last.get(key, Level.OK) >= Level.HARDEN for key in bad)
    for i in range(100):
        list(ask(who, f"key:new-{i}", moved(4, i), at=NOW + 300, address=f"10.1.{i}.1"))
    assert all(f.details["level"] != "log" for f in who.findings() if f.details.get("caller") in bad)


def test_refused_requests_teach_nothing_but_rejections_count() -> None:
    who = detectors(calibration())
    for i in range(50):
        assert who.see(sample(at=NOW + i, rule="plan:rate", status=429), None, None) == []
    changes = [c for i in range(30) for c in who.see(sample(at=NOW + i, rule="schema", status=422), None, None)]
    assert changes[0][0] == "key:a" and changes[0][1].why == "rejected"
    assert who.figures()["rejected"] == 30


def test_an_honest_caller_may_be_refused_now_and_then() -> None:
    who = detectors()
    for i in range(2000):
        refused = i % 20 == 0
        request = sample(at=NOW + i, rule="schema" if refused else "", status=422 if refused else 200)
        assert who.see(request, None, None) == []


def test_budgets_of_honest_callers_are_watched() -> None:
    from msgspec.structs import replace

    made = calibration()
    who = detectors(replace(made, budgets=replace(made.budgets, rows=1000.0, tokens=500.0)))
    assert who.see(sample(rows=2900), None, None) == []
    ((key, standing),) = who.see(sample(rows=200), None, None)
    assert (key, standing.why) == ("key:a", "rows")
    assert who.see(sample(rows=200), None, None) == [], "once, until it is twice as much"
    assert who.see(sample(rows=2900, at=NOW + 86400), None, None) == [], "another day"
    ((_, standing),) = who.see(sample("key:b", tokens=2000), None, None)
    assert standing.why == "tokens"


def test_without_a_calibration_flips_are_seen_and_nothing_is_enforced_for_duplicates() -> None:
    who = detectors()
    rows = np.repeat(drawn(1), 400, axis=0) * (1 + 1e-4 * np.random.default_rng(0).normal(size=(400, 1)))
    flips = [
        change
        for i in range(60)
        for change in who.see(sample(at=NOW + i), Table(rows[i : i + 1]), Answers(np.array([i % 2]), None))
    ]
    assert flips[0][1].why == "flip"
    calm = [
        change
        for i in range(400)
        for change in who.see(sample("key:b", NOW + i), Table(rows[i : i + 1]), Answers(np.array([1]), None))
    ]
    assert {standing.why for _, standing in calm} == {"near"}
    assert {standing.level for _, standing in calm} == {Level.LOG}
    for stream in honest(22, 10, 300):
        if not stream.name.startswith("polling"):
            assert flagged_after(who, stream.name, stream.table.features) == 10**6


def test_tables_of_another_form_are_looked_at_without_the_calibration() -> None:
    who = detectors(calibration())
    assert who.see(sample(), Table(np.zeros((2, 3))), None) == []
    assert who.see(sample(), Table(np.zeros((0, 10))), None) == []
    assert who.see(sample(), Table(np.zeros(4)), None) == []
    assert who.figures()["unlike"] == 2


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(0, 9), st.just(10)), elements=st.floats(width=64)),
    arrays.arrays(np.float64, st.tuples(st.integers(0, 9), st.integers(0, 4)), elements=st.floats(width=64)),
)
def test_no_value_breaks_them(rows: np.ndarray, answers: np.ndarray) -> None:
    for who in (detectors(calibration()), detectors()):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                who.see(sample(rows=len(rows)), Table(rows), Answers(None, answers))
        assert all(math.isfinite(score) for score in who.scores("key:a").values())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_probabilities_that_are_none_have_no_margin(count: int) -> None:
    given = np.full((count, 3), [math.inf, math.inf, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(math.isnan(one) for one in margins(Answers(None, given), count))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1e300])
def test_strange_values_are_far_and_not_invisible(value: float) -> None:
    rows = drawn(60)
    rows[:, :5] = value
    assert flagged_after(detectors(calibration()), "key:a", rows) < 60


def test_reactions_go_up_and_end() -> None:
    who = detectors(calibration(), reactions=reacting(default="slow"))
    rows = attack("random", 400)
    levels = [s.level for _, changes in ask(who, "key:a", rows, every=3.0) for _, s in changes]
    assert levels[0] is Level.SLOW and levels[-1] is Level.BLOCK
    assert levels == sorted(levels)
    quick = detectors(calibration(), reactions=reacting(default="slow"))
    at_once = [s.level for _, changes in ask(quick, "key:a", rows[:200], every=0.0) for _, s in changes]
    assert set(at_once) == {Level.SLOW}, "what was under way does not count twice"
    assert who.findings() and not who.findings(NOW + 3 * 86400)
    one = detectors(calibration(), reactions=reacting(escalate=False, by_signal={"outlying": "block"}))
    first = next(s for _, changes in ask(one, "key:a", rows) for _, s in changes)
    assert (first.level, first.why) == (Level.BLOCK, "outlying")
    assert first.until == pytest.approx(NOW + 86400, abs=60)
    lasting = detectors(calibration(), reactions=reacting(lasts=None))
    assert next(s for _, changes in ask(lasting, "key:a", rows) for _, s in changes).until == math.inf


def test_count_mode_says_what_would_have_been() -> None:
    who = detectors(calibration(), mode="count")
    levels = {s.level for _, changes in ask(who, "key:a", attack("random", 300)) for _, s in changes}
    assert levels == {Level.LOG}
    (finding,) = who.findings()
    assert finding.details["level"] == "log" and finding.details["would"] in ("harden", "approve", "block")
    assert "would have been" in finding.message


def test_findings_carry_evidence() -> None:
    who = detectors(calibration())
    assert flagged_after(who, "key:a", attack("random", 100)) < 100
    (finding,) = who.findings()
    assert finding.key.startswith("caller:key:a:")
    assert finding.details["calibration"] == calibration().version
    evidence = finding.details["evidence"]
    assert evidence and all(0 < one["p"] < 0.01 and len(one["request"]) == 32 for one in evidence)


def test_only_the_wanted_signals_are_used() -> None:
    who = detectors(calibration(), signals=("flip",))
    assert flagged_after(who, "key:a", attack("random", 200)) == 10**6
    why = {s.why for _, changes in ask(who, "key:b", attack("line-search", 300)) for _, s in changes}
    assert why == {"flip"}


def test_released_callers_start_anew() -> None:
    who = detectors(calibration())
    rows = attack("random", 100)
    before = flagged_after(who, "key:a", rows)
    who.forget("key:a")
    assert not who.findings() and not who.scores("key:a")
    assert flagged_after(who, "key:a", rows, at=NOW + 100) == before


def test_a_restart_forgets_neither_flags_nor_sums() -> None:
    rows = slowly()
    alone = flagged_after(detectors(calibration()), "key:a", rows)
    who = detectors(calibration())
    assert flagged_after(who, "key:a", rows[: alone // 2]) == 10**6
    assert flagged_after(who, "key:b", attack("random", 50)) < 50
    again = detectors(calibration())
    again.restore_state(who.export_state())
    assert again.export_state() == who.export_state()
    assert [f.key for f in again.findings(NOW + 60)] == [f.key for f in who.findings(NOW + 60)]
    assert flagged_after(again, "key:a", rows[alone // 2 :], at=NOW + 100) <= alone - alone // 2 + 26
    without = detectors()
    without.restore_state(who.export_state())
    assert without.findings(NOW + 60), "flags outlive a calibration"
    assert not any(without._memory._dormant["key:a"][: 8 * 18]), "sums of another measure do not"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version":2,"calibration":"","callers":{},"pools":{},"flags":{}}',
        b'{"version":1,"calibration":"","callers":{"a":"AAAA"},"pools":{},"flags":{}}',
        b'{"version":1,"calibration":"","callers":{"a":"!"},"pools":{},"flags":{}}',
        b'{"version":1,"calibration":"","callers":{"a":"' + b"/" * 278 + b'=="},"pools":{},"flags":{}}',
        b'{"version":1,"calibration":"","callers":{},"pools":{},"flags":{"a":{}}}',
    ],
)
def test_damaged_state_is_told(data: bytes) -> None:
    with pytest.raises(DocumentError, match="damaged"):
        detectors(calibration()).restore_state(data)


def embeddings(texts: list[str]) -> np.ndarray:
    """An encoder for the tests: ten numbers of a text."""
    if any("break" in text for text in texts):
        raise RuntimeError("a stranger's text")
    return np.array([[float(sum(ord(c) * (i + 1) for c in text) % 97) / 10 for i in range(10)] for text in texts])


def test_texts_go_through_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.guard.gateway.detect.texts import Encoder

    module = type(sys)("encoder_of_a_user")
    module.embeddings = embeddings  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "encoder_of_a_user", module)
    who = detectors(calibration(), encoder="encoder_of_a_user:embeddings")
    said = Table(np.zeros((2, 0)), (), {"prompt": ["what is a cat", "what is a dog"]})
    who.see(sample(), said, None)
    assert who.figures()["unlike"] == 0 and who.figures()["queries"] == 2
    who.see(sample(), Table(np.zeros((1, 0)), (), {"prompt": ["break it"]}), None)
    assert who.figures()["encoder_failed"] == 1 and who.figures()["unlike"] == 1
    for name in ("encoder_of_a_user:none", "no_such_module_at_all:x", "sys:path", "nothing"):
        with pytest.raises(UsageError, match="encoder"):
            Encoder(name)


def test_texts_without_an_encoder_are_compared_by_words() -> None:
    words, _ = near.bands(
        np.zeros(0), ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "today", "again"]
    )
    other, _ = near.bands(
        np.zeros(0), ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "today", "once"]
    )
    far, _ = near.bands(
        np.zeros(0), ["something", "else", "entirely", "is", "asked", "of", "the", "model", "in", "this", "prompt"]
    )
    ring = near.Bands()
    assert ring.one(words, 1, 1) == (False, False, False)
    assert ring.one(other, 2, 2) == (True, False, True)
    assert ring.one(far, 1, 3) == (False, False, False)
    assert ring.one(words, 1, 1) == (True, True, False)


def test_a_caller_costs_at_most_twelve_kilobytes() -> None:
    import tracemalloc

    rows = drawn(200)
    who = detectors(calibration())
    list(ask(who, "key:warm", rows[:2]))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i in range(40):
        list(ask(who, f"key:{i}", rows, address=f"10.0.{i}.1"))
    used = (tracemalloc.get_traced_memory()[0] - before) / 40
    tracemalloc.stop()
    assert used <= 12_288


def test_the_hot_path_does_not_import_numpy() -> None:
    code = "import sys, assay.guard.gateway.detect; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
