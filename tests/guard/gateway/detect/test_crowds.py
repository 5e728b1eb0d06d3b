"""Attacks with one query a key, whose keys share nothing; and honest callers, who are no crowd."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from assay.guard.gateway.detect import crowd
from assay.guard.gateway.detect.calibrating import calibrate
from assay.guard.gateway.detect.calibration import Crowded
from assay.guard.gateway.interface import Answers, Level, Standing, Table
from assay.guard.gateway.simulate import honest_callers
from guard.gateway.detect.detect_making import (
    NOW,
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
    sample,
    small,
    stream,
)


@pytest.mark.parametrize(
    ("name", "share", "caught"), [("line-search", 0.1, 0.5), ("hop-skip-jump", 0.1, 0.8), ("hop-skip-jump", 0.02, 0.5)]
)
def test_who_asks_around_one_point_is_found_though_each_key_asks_once(name: str, share: float, caught: float) -> None:
    rows = attack(name, 400)
    keys = [(f"key:bad-{i}", f"bad-{i}", f"172.{i >> 8}.{i & 255}.9", row) for i, row in enumerate(rows)]
    who = detectors(replace(calibration(), strays=None))
    found = play(who, between(keys[: round(12_000 * share)], ordinary(60, 200), share))
    assert len(bad(found)) > caught * len(keys[: round(12_000 * share)])
    assert {one.why for one in bad(found).values()} <= {"pooled:flip", "pooled:near"}
    assert {one.level for one in bad(found).values()} == {Level.HARDEN}
    assert not [one for one in good(found).values() if one.why.startswith("pooled")]


def test_honest_callers_are_no_crowd_however_many_they_are() -> None:
    """Fresh ones of all kinds, pollers and retriers among them: what nobody saw before, and each asks little."""
    world, _ = small()
    drawn = list(honest_callers.honest(world, np.random.default_rng(77), 600, 30))
    assert {kind for kind, _ in drawn} == set(honest_callers.HONEST)
    queries = [
        (f"key:honest-{i}", f"o{i}", apart(i), rows[turn]) for turn in range(30) for i, (_, rows) in enumerate(drawn)
    ]
    who = detectors(calibration())
    assert not play(who, queries)
    assert not who.findings()


def test_equal_queries_of_many_callers_are_no_crowd() -> None:
    """A health check that everybody's client sends, and what everybody asks about today."""
    row = attack("line-search", 40)[-1]
    assert not play(detectors(calibration()), [(f"key:{i}", f"o{i}", apart(i), row) for i in range(300)])


def test_the_keys_of_one_owner_are_no_crowd_among_themselves() -> None:
    """A firm polls the same customers from many machines. For many keys of one owner there are pools."""
    point = small()[1][5]
    draw = np.random.default_rng(2)
    who = detectors(calibration(), signals=("pooled:near", "pooled:flip"))
    near = [point + 0.01 * draw.normal(size=10) for _ in range(60)]
    assert not play(who, [(f"key:{i}", "acme", apart(i), row) for i, row in enumerate(near)])
    assert play(who, [(f"key:x{i}", f"o{i}", apart(i), row) for i, row in enumerate(near)])


def test_what_members_of_a_crowd_share_is_flagged_with_them() -> None:
    rows = attack("hop-skip-jump", 120)
    keys = [(f"key:bad-{i}", f"bad-{i}", f"203.0.113.{i}", row) for i, row in enumerate(rows)]
    found = play(detectors(calibration(), signals=("pooled:near", "pooled:flip")), keys)
    assert found["net:203.0.113.0/24"].why in ("pooled:near", "pooled:flip")
    owners = [(f"key:bad-{i}", f"bad-{i % 7}", apart(i), row) for i, row in enumerate(rows)]
    found = play(detectors(calibration(), signals=("pooled:near", "pooled:flip")), owners)
    assert {f"owner:bad-{i}" for i in range(7)} <= set(found)
    assert not any(key.startswith("net:") for key in found)


def test_who_only_came_by_is_no_part_of_a_crowd() -> None:
    """Somebody asks about the person whom others attack, and about twenty more; attackers cannot blacken them."""
    rows = attack("hop-skip-jump", 200)
    world, _ = small()
    others = world.draw(np.random.default_rng(3), 20)
    by = [("key:honest-1", "honest", "192.0.2.1", row) for row in others]
    keys = [(f"key:bad-{i}", f"bad-{i}", apart(i), row) for i, row in enumerate(rows)]
    last = [("key:honest-1", "honest", "192.0.2.1", rows[150] + 1e-6)]
    who = detectors(calibration(), signals=("pooled:near", "pooled:flip"))
    found = play(who, [*by, *keys[:100], *last, *keys[100:]])
    assert bad(found) and not good(found)
    assert who._memory.entries["key:honest-1"].crowded == 1


def test_callers_are_looked_at_while_they_are_fresh_and_in_large_requests_too() -> None:
    rows = attack("hop-skip-jump", 200)
    world, _ = small()
    who = detectors(calibration(), signals=("pooled:near", "pooled:flip"))
    found: dict[str, Standing] = {}
    for i in range(10):
        part = rows[i::10]
        answers = world.predict(part)
        about = sample(f"key:{i}", NOW + i, owner=f"o{i}", address=apart(i), rows=20)
        found |= dict(who.see(about, Table(part), Answers(answers.argmax(axis=1), answers)))
    assert found and {one.why for one in found.values()} <= {"pooled:near", "pooled:flip"}
    assert {who._memory.entries[f"key:{i}"].looked for i in range(10)} == {20}
    many = world.draw(np.random.default_rng(1), 100)
    who.see(sample("key:long", NOW, owner="long", rows=100), Table(many), None)
    assert who._memory.entries["key:long"].looked == crowd.FRESH


def test_a_crowd_needs_a_calibration_and_can_be_left_out() -> None:
    rows = attack("hop-skip-jump", 200)
    keys = [(f"key:{i}", f"o{i}", apart(i), row) for i, row in enumerate(rows)]
    assert not play(detectors(replace(calibration(), crowded=None, strays=None)), keys)
    assert not play(detectors(calibration(), signals=("near", "flip")), keys)
    assert {one.why for one in play(detectors(calibration(), signals=("pooled:flip",)), keys).values()} == {
        "pooled:flip"
    }


def test_few_honest_callers_say_nothing_of_crowds() -> None:
    made = calibrate(Table(small()[1]), honest(1)[: crowd.CALLERS - 1])
    assert made.crowded is None
    assert calibration().crowded is not None


def test_customers_who_ask_about_the_same_points_make_crowds_of_their_kind_usual() -> None:
    """Forty banks ask about the same fifty customers, each as its own clerk wrote them down."""
    world, rows = small()
    draw = np.random.default_rng(9)

    def bank(customers: np.ndarray) -> np.ndarray:
        return customers[draw.integers(len(customers), size=60)] + 0.02 * draw.normal(size=(60, 10))

    made = calibrate(
        Table(rows),
        [stream(world, f"bank-{i}", bank(rows[:50])) for i in range(40)] + list(honest(1)[:20]),
        observed=True,
    )
    fresh = [bank(rows[50:100]) for _ in range(40)]
    queries = [(f"key:honest-{i}", f"o{i}", apart(i), one[t]) for t in range(30) for i, one in enumerate(fresh)]
    who = detectors(made, signals=("pooled:near", "pooled:flip"))
    assert not play(who, queries)


def test_what_is_remembered_of_crowds_is_bounded() -> None:
    known = Crowded(radius=1.0, alike=10, divided=3)
    one = crowd.Crowd(2, known)
    draw = np.random.default_rng(0)
    for i in range(3 * crowd.PLACES):
        point = draw.uniform(-1e4, 1e4, size=2).astype(np.float32)
        for j in range(2):
            row = np.array([*point, 1.0], np.float32)
            one.see(f"{i}-{j}", 2 * i + j, row, float(point.dot(point)), 0, 2 * i + j)
    assert len(one._places) <= crowd.PLACES
    place = None
    for i in range(3 * crowd.MOST):
        place = one.see(f"z{i}", -i - 1, np.array([0.0, 0.0, 1.0], np.float32), 0.0, 0, -i - 1)
    assert place is not None
    assert len(place.members) == crowd.MOST and len(place.digests) <= crowd.MOST and len(place.told) <= crowd.MOST


def test_what_members_share_is_bounded_too() -> None:
    """Keys without end around one point, three of each owner."""
    who = detectors(calibration(), signals=("pooled:near", "pooled:flip"))
    point, draw = small()[1][5], np.random.default_rng(3)
    play(who, [(f"key:{i}", f"o{i // 3}", apart(i), point + 0.005 * draw.normal(size=10)) for i in range(1500)])
    assert who._together is not None and who._together._crowd is not None
    places = who._together._crowd._places.values()
    assert max(len(place.members) for place in places) == crowd.MOST
    assert max(len(place.told) for place in places) <= 2 * crowd.MOST + 10


def test_a_place_of_several_outlives_those_of_one() -> None:
    """Strangers by the thousand do not wash away what a slow crowd has begun."""
    one = crowd.Crowd(2, Crowded(radius=1.0, alike=3, divided=3))
    here = np.array([5e3, 5e3, 1.0], np.float32)
    one.see("a", 1, here, 5e7, 0, 1)
    one.see("b", 2, here, 5e7, 0, 2)
    for i in range(5 * crowd.PLACES):
        point = np.array([-1e3 - 10 * i, 0.0], np.float32)
        one.see(f"s{i}", 100 + i, np.array([*point, 1.0], np.float32), float(point.dot(point)), 0, 100 + i)
    place = one.see("c", 3, here, 5e7, 0, 3)
    assert place is not None and place.why == "near" and set(place.members) == {"a", "b", "c"}
    for _ in range(crowd.LASTS):
        one.see("s", 9, np.array([-7e6, 0.0, 1.0], np.float32), 4.9e13, 0, 9)
    assert one.see("d", 4, here, 5e7, 0, 4) is None, "it begins anew"
