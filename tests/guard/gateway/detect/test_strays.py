"""Attacks whose every key asks one thing far from all data; and honest callers, some of whom do that too."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from assay.errors import DocumentError
from assay.guard.gateway.detect import calibration as documents
from assay.guard.gateway.detect import strays
from assay.guard.gateway.detect.calibrating import calibrate
from assay.guard.gateway.detect.caller import Eye
from assay.guard.gateway.interface import Answers, Level, Standing, Table
from assay.guard.gateway.simulate import honest_callers
from guard.gateway.detect.detect_making import (
    NOW,
    Query,
    apart,
    attack,
    bad,
    between,
    calibration,
    detectors,
    good,
    honest,
    ordinary,
    play,
    reacting,
    sample,
    small,
)

ONLY = ("pooled:outlying",)
FAR = 6.0 * np.where(np.arange(10) % 2, 1.0, -1.0)
"""A step that nothing in the training data explains."""


def keys(name: str, count: int, seed: int = 4) -> list[Query]:
    """An attack, each query by a key, owner and network of its own."""
    rows = attack(name, count, seed)
    return [(f"key:bad-{i}", f"bad-{i}", f"172.{i >> 8}.{i & 255}.9", row) for i, row in enumerate(rows)]


def newcomers(callers: int, each: int, seed: int) -> Iterator[Query]:
    """Honest callers of all kinds, nobody of whom has asked before: ten at a time."""
    drawn = [rows for _, rows in honest_callers.honest(small()[0], np.random.default_rng(seed), callers, each)]
    for begin in range(0, callers, 10):
        for turn in range(each):
            for i, rows in enumerate(drawn[begin : begin + 10], begin):
                yield f"key:honest-{seed}-{i}", f"honest-{seed}-{i}", apart(i), rows[turn]


@pytest.mark.parametrize(
    ("name", "share", "caught"),
    [("random", 0.1, 0.9), ("random", 0.02, 0.9), ("knock-off", 0.1, 0.6), ("knock-off", 0.02, 0.5)],
)
def test_who_asks_far_out_is_found_though_each_key_asks_once(name: str, share: float, caught: float) -> None:
    asked = keys(name, round(12_000 * share))
    found = play(detectors(calibration()), between(asked, newcomers(380, 32, 41), share))
    assert len(bad(found)) > caught * len(asked)
    assert {one.why for one in bad(found).values()} <= {"pooled:outlying", "pooled:near", "pooled:flip"}
    assert {one.level for one in bad(found).values()} == {Level.HARDEN}
    assert len([one for one in good(found).values() if one.why == "pooled:outlying"]) <= 0.01 * 380


def test_an_attack_far_out_is_no_reason_to_suspect_those_who_are_less_so() -> None:
    """One in a thousand honest newcomers is as far out as random questions are, and two more are less so."""
    who = detectors(calibration(), signals=ONLY)
    found = play(who, between(keys("random", 2700), newcomers(2400, 10, 45), 0.1))
    assert len(bad(found)) > 2500
    less = [key for key, entry in who._memory.entries.items() if entry.stray and key.startswith("key:honest")]
    assert len(less) > 60 and len(good(found)) <= 0.004 * 2400


def test_the_finding_says_what_it_rests_on() -> None:
    who = detectors(calibration(), signals=ONLY)
    assert play(who, between(keys("random", 100), newcomers(60, 32, 41), 0.1))
    notes = [finding.details["note"] for finding in who.findings()]
    assert notes and all("new callers" in note and "honest" in note for note in notes)


@pytest.mark.parametrize("each", [1, 3, 32])
@pytest.mark.parametrize("seed", [91, 92, 93])
def test_honest_newcomers_are_none_however_many_they_are(each: int, seed: int) -> None:
    """Of other seeds than the calibration, by the hundred, whether each asks once or for long."""
    assert not play(detectors(calibration(), signals=ONLY), newcomers(12_000 // each // 10 * 10, each, seed))


def test_what_everybody_asks_who_has_asked_for_long_is_nothing_here() -> None:
    """Only the first queries of a caller are looked at: the others have a memory of their own."""
    who = detectors(calibration(), signals=ONLY)
    calm = list(ordinary(60, 40))
    after = [(key, owner, address, row + FAR) for key, owner, address, row in calm[-120:]]
    assert not play(who, [*calm, *after])


@pytest.mark.parametrize("usual", [1, 3])
def test_who_asks_other_things_as_well_is_not_named(usual: int) -> None:
    """Somebody has asked ordinary things and one unusual one, between those of an attack."""
    rows = [*small()[0].draw(np.random.default_rng(8), usual), attack("random", 1, seed=9)[0]]
    *before, unusual = [("key:honest-1", "honest", "192.0.2.1", row) for row in rows]
    asked = keys("random", 200)
    found = play(detectors(calibration(), signals=ONLY), [*before, *asked[:100], unusual, *asked[100:]])
    assert bad(found) and not good(found)


def test_it_is_never_a_reason_to_block() -> None:
    """Not even where the settings say so: an honest newcomer may be among them."""
    strict = reacting(default="block", by_signal={"pooled:outlying": "block"})
    found = play(detectors(calibration(), signals=ONLY, reactions=strict), keys("random", 100))
    assert len(found) == 100 and {one.level for one in found.values()} == {Level.HARDEN}


def test_who_went_on_to_ask_ordinary_things_is_no_suspect_any_more() -> None:
    """An unusual first question, before there is anything to be suspected of."""
    first = ("key:honest-1", "honest", "192.0.2.1", attack("random", 1, seed=9)[0])
    others = [("key:honest-1", "honest", "192.0.2.1", row) for row in small()[0].draw(np.random.default_rng(8), 2)]
    assert good(play(detectors(calibration(), signals=ONLY), [first, *keys("random", 200)]))
    assert not good(play(detectors(calibration(), signals=ONLY), [first, *others, *keys("random", 200)]))


def test_an_attack_that_is_over_says_nothing_of_those_who_come_later() -> None:
    who = detectors(calibration(), signals=ONLY)
    late = ("key:honest-late", "late", "192.0.2.1", attack("random", 1, seed=9)[0])
    found = play(who, [*keys("random", 60), *newcomers(600, 32, 42), late])
    assert len(bad(found)) == 60 and "key:honest-late" not in found
    again = play(detectors(calibration(), signals=ONLY), [*keys("random", 60), late])
    assert "key:honest-late" in again


def test_the_keys_of_one_owner_are_one_newcomer() -> None:
    """For many keys of one owner there are pools."""
    same = [(key, "acme", address, row) for key, _, address, row in keys("random", 200)]
    assert not play(detectors(calibration(), signals=ONLY), same)


def test_a_question_asked_again_neither_counts_nor_excuses() -> None:
    """Each key asks the same twice: a repetition is not the ordinary question that would make it no suspect."""
    twice = [query for query in keys("random", 100) for _ in range(2)]
    found = play(detectors(calibration(), signals=ONLY), twice)
    assert len(found) == 100
    who = detectors(calibration(), signals=ONLY)
    one = keys("random", 1)[0]
    assert not play(who, [one] * 100)


@pytest.mark.parametrize(("shift", "share"), [(0.5, 0.3), (1.0, 0.3), (0.7, 1.0)])
def test_a_population_that_moves_is_not_flagged_for_it(shift: float, share: float) -> None:
    """Questions of three in ten newcomers, or of all, are a little off, as after a change upstream: they are in the
    tail several times as often as before, and still most of what each of them asks is not.
    """
    direction = FAR / np.linalg.norm(FAR)
    moved, tails = [], 0
    for key, owner, address, row in newcomers(400, 32, 43):
        off = int(key.rpartition("-")[2]) % 10 < 10 * share
        moved.append((key, owner, address, row + shift * direction if off else row))
    who = detectors(calibration(), signals=ONLY)
    found = play(who, moved)
    for entry in who._memory.entries.values():
        tails += entry.stray
    assert tails > 3 * 0.005 * len(moved) * share, "it is a shift that shows"
    assert len(found) <= 0.02 * 400


def test_established_callers_who_all_move_make_it_drift() -> None:
    """Then newcomers who are far out are in good company, and nobody is treated otherwise."""
    who = detectors(calibration(), signals=ONLY)
    old = [(f"key:old-{i}", f"old-{i}", apart(i), one.table.features) for i, one in enumerate(honest(44, 20, 230))]
    before = [(key, owner, address, rows[turn]) for turn in range(210) for key, owner, address, rows in old]
    after = [(key, owner, address, rows[turn] + FAR) for turn in range(210, 230) for key, owner, address, rows in old]
    found = play(who, [*before, *after, *keys("random", 60)])
    assert len(found) == 60 and {one.level for one in found.values()} == {Level.LOG}
    assert "drift:m" in {finding.key for finding in who.findings()}


def test_large_requests_are_looked_at_too() -> None:
    rows, world = attack("random", 200, seed=4), small()[0]
    who = detectors(calibration(), signals=ONLY)
    found: dict[str, Standing] = {}
    for i in range(20):
        part = rows[10 * i : 10 * i + 10]
        answers = world.predict(part)
        about = sample(f"key:{i}", NOW + i, owner=f"o{i}", address=apart(i), rows=10)
        found |= dict(who.see(about, Table(part), Answers(answers.argmax(axis=1), answers)))
    assert len(found) == 20 and {one.why for one in found.values()} == {"pooled:outlying"}
    entries = [who._memory.entries[f"key:{i}"] for i in range(20)]
    assert {entry.looked for entry in entries} == {10} and min(entry.stray for entry in entries) >= 9
    many = world.draw(np.random.default_rng(1), 100)
    who.see(sample("key:long", NOW, owner="long", rows=100), Table(many), None)
    assert who._memory.entries["key:long"].looked == 32


def test_one_by_one_and_all_at_once_are_the_same() -> None:
    """Of fresh callers' queries: how many are news, and how many far out."""
    rows = np.concatenate([attack("knock-off", 20, seed=6), small()[0].draw(np.random.default_rng(4), 8)])
    rows = np.concatenate([rows, rows[:4]])
    counted = []
    for batch in (1, 4, len(rows)):
        who = detectors(calibration(), signals=ONLY)
        for at in range(0, len(rows), batch):
            part = rows[at : at + batch]
            who.see(sample("key:a", NOW + at, rows=len(part)), Table(part), None)
        entry = who._memory.entries["key:a"]
        assert who._together is not None and who._together._strays is not None
        counted.append((entry.looked, entry.fresh, entry.stray, who._together._strays.turn))
    assert counted[0] == counted[1] == counted[2]
    assert counted[0][0] == 32 and counted[0][2] > 0 and counted[0][1] < 32, "some are no news, some are far out"


def test_how_odd_and_how_far_out_is_the_same_one_by_one_and_all_at_once() -> None:
    rows = np.concatenate(
        [attack("knock-off", 300, seed=6), attack("random", 20), honest(46, 60, 100)[0].table.features]
    )
    given = calibration()
    eye = Eye(documents.space_of(given.space), documents.signals_of(given.signals), given.usual)
    nothing = np.full(len(rows), np.nan)
    odd, depths = eye.oddities(eye.many(rows, np.full(len(rows), -1, np.int32), nothing))
    single = []
    for row in rows:
        eye.one(row, -1, float("nan"))
        single.append((eye.odd, eye.depth))
    assert single == list(zip(odd.tolist(), depths.tolist(), strict=True))
    assert {depth for _, depth in single} == {0, 1, 2} and (False, 0) in single and (True, 0) in single


@pytest.mark.parametrize(("times", "named"), [(1.0, False), (2.5, False), (6.0, True), (100.0, True)])
def test_several_times_as_many_as_honest_ones_it_takes(times: float, named: bool) -> None:
    """Newcomers who ask once each, so many of them far out, as calibration says or more often."""
    one, draw = strays.Strays((0.004, 0.002)), np.random.default_rng(7)
    found = set()
    for i in range(60_000):
        one.turn += 1
        if draw.random() < times * 0.004:
            found.update(one.see(f"key:{i}", i, 1)[0])
    assert bool(found) == named


def test_a_calibration_without_the_figure_does_nothing() -> None:
    """Older files have none, nor have those made of few callers."""
    document = json.loads(msgspec.json.encode(calibration()))
    assert len(document.pop("strays")) == len(strays.CUTS)
    old = documents.parse(json.dumps(document).encode(), "old.json")
    assert old.strays is None
    assert not play(detectors(old, signals=ONLY), keys("random", 200))
    few = calibrate(Table(small()[1]), honest(1)[:49])
    assert few.strays is None
    assert not play(detectors(calibration(), signals=("near", "flip")), keys("random", 200))


@pytest.mark.parametrize("given", [[0.01], [0.0, 0.001], [0.01, 2.0], ["a", 1], [0.01, -1]])
def test_a_strangers_figure_is_checked(given: list[object]) -> None:
    document = json.loads(msgspec.json.encode(calibration())) | {"strays": given}
    with pytest.raises(DocumentError, match="is no calibration"):
        documents.parse(json.dumps(document).encode(), "c.json")


def test_what_honest_callers_do_is_never_told_too_low() -> None:
    """Nobody of sixty had such a query: that is not never. And who has them all the time is not left out."""
    none = [np.zeros(400) for _ in range(60)]
    assert strays.calibrate(none) == pytest.approx((3 / 24_000,) * 2)
    share = strays.calibrate([np.full(400, -6.0), np.full(400, -9.0), *none[2:]])
    assert share is not None and 1 / 60 < share[0] == share[1] < 0.1
    assert strays.calibrate(none[: strays.CALLERS - 1]) is None


def test_how_many_are_too_many_is_what_the_poisson_law_says() -> None:
    from scipy.stats import poisson

    for count, turns in zip(strays.SIZES, strays.reaches(0.01), strict=True):
        assert poisson.sf(count - 2, strays.SAFE * 0.01 * turns) == pytest.approx(strays.FALSE, rel=1e-3)


def test_what_is_remembered_of_newcomers_is_bounded() -> None:
    one = strays.Strays((0.001, 0.0005))
    names = []
    for i in range(20_000):
        one.turn += 1
        names += one.see(f"key:{i}", i, 1 + i % 2)[0]
    assert len(names) == len(set(names)) == 20_000
    assert all(len(suspects) <= strays.SIZES[-1] for suspects in one._suspects)
    assert len(one._named) <= strays.NAMED
