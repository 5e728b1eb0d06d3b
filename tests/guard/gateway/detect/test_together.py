"""Attacks that are split over keys of one owner, of one network, of all; and honest callers who are together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from msgspec.structs import replace

from assay.guard.gateway.detect import pooled
from assay.guard.gateway.detect.detectors import Detectors
from assay.guard.gateway.interface import Level, Standing
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
    sample,
    small,
)


@pytest.mark.parametrize(("name", "caught"), [("line-search", 0.15), ("random", 0.4), ("label-only", 0.3)])
def test_who_took_part_in_an_alarm_of_a_network_is_flagged_by_its_key(name: str, caught: float) -> None:
    """A network's standing is for those there who prove nothing. Half of what comes from it is an attack, whose keys
    ask once each, and half are its honest callers.
    """
    keys = [(f"key:bad-{i}", f"b-{i}", f"203.0.113.{i % 99}", row) for i, row in enumerate(attack(name, 400))]
    others = (
        (f"key:honest-{i}", f"h-{i}", f"203.0.113.{100 + i}", one.table.features[turn])
        for turn in range(60)
        for i, one in enumerate(honest(33, 50, 100))
    )
    own = ("near", "far", "outlying", "residual", "margin", "flip")
    found = play(detectors(calibration(), signals=(*own, "pooled:net")), between(keys, others, 0.5))
    assert found["net:203.0.113.0/24"].why == "pooled:net"
    part = {key: one for key, one in bad(found).items() if key.startswith("key:")}
    assert len(part) >= caught * len(keys) and {one.why for one in part.values()} == {"pooled:net"}
    assert {one.level for one in part.values()} == {Level.HARDEN}
    assert len([one for one in good(found).values() if one.why == "pooled:net"]) <= 1, "of fifty"


def test_refusals_that_are_split_over_a_network_are_found_too() -> None:
    who = detectors()
    last: dict[str, Standing] = {}
    for i in range(120):
        refused = sample(
            f"key:{i % 30}", NOW + i, owner=f"o{i % 30}", address=f"203.0.113.{i % 30}", rule="schema", status=422
        )
        last |= dict(who.see(refused, None, None))
        fine = sample(f"key:honest-{i % 5}", NOW + i, owner=f"h{i % 5}", address=f"203.0.113.{100 + i % 5}")
        last |= dict(who.see(fine, None, None)) if not i % 4 else {}
    assert last["net:203.0.113.0/24"].why == "rejected"
    assert len([key for key in last if key.startswith("key:")]) >= 20
    assert not good(last)
    raised = who.figures()["alarms"]
    for i in range(600):
        again = sample(
            f"key:{i % 2}", NOW + 200 + i, owner=f"o{i % 2}", address="203.0.113.9", rule="schema", status=422
        )
        assert not any(key not in ("key:0", "key:1") for key, _ in who.see(again, None, None)), "they are dealt with"
    assert who.figures()["alarms"] > raised


# Windows: what moves many callers a little


def tailed(owner: str, share: float, network: str = "") -> Iterator[Query]:
    """Honest callers of one owner (and network), and between them keys that ask something random, once each."""
    rows = attack("random", 1000, seed=4)
    office = honest(34, 20, 200)
    others = (
        (f"key:honest-{i}", owner or f"honest-{i}", f"{network}{i}" if network else apart(i), one.table.features[turn])
        for turn in range(200)
        for i, one in enumerate(office)
    )
    keys = (
        (f"key:bad-{i}", owner or f"bad-{i}", f"{network}{100 + i % 100}" if network else apart(1000 + i), row)
        for i, row in enumerate(rows)
    )
    return between(keys, others, share)


@pytest.mark.parametrize(
    ("owner", "network", "pool"), [("mallory", "", "owner:mallory"), ("", "203.0.113.", "net:203.0.113.0/24")]
)
def test_a_window_shows_an_attack_that_hides_among_honest_callers(owner: str, network: str, pool: str) -> None:
    """One query in ten, each by a key of its own."""
    who = detectors(calibration(), signals=("pooled:owner", "pooled:net"))
    found = play(who, tailed(owner, 0.1, network))
    assert pool in found and found[pool].why == f"pooled:{pool.partition(':')[0]}"
    calm = detectors(calibration(), signals=("pooled:owner", "pooled:net"))
    assert not play(calm, (query for query in tailed(owner, 0.1, network) if query[0].startswith("key:honest")))
    assert calm.figures()["pools"] == 1


@pytest.mark.parametrize(("spread", "alarmed"), [(0.01, False), (1.0, True)])
def test_one_unusual_point_is_no_alarm_of_all_neighbours_and_many_are(spread: float, alarmed: bool) -> None:
    """A customer polls something unusual: one query in ten of what the whole office asks."""
    unusual = small()[1][5] + 7.0 * np.where(np.arange(10) % 2, 1, -1)
    draw = np.random.default_rng(6)
    others = (
        (f"key:honest-{i}", "acme", apart(i), one.table.features[turn])
        for turn in range(200)
        for i, one in enumerate(honest(34, 20, 200))
    )
    polled = [("key:polling", "acme", apart(99), unusual + spread * draw.normal(size=10)) for _ in range(400)]
    found = play(detectors(calibration(), signals=("pooled:owner",)), between(polled, others, 0.1))
    assert bool(found) == alarmed


def drifted(who: Detectors) -> list[str]:
    return [signal for finding in who.findings() if finding.key == "drift:m" for signal in finding.details["signals"]]


def test_the_window_of_all_shows_what_comes_from_everywhere() -> None:
    who = detectors(replace(calibration(), strays=None))
    others = ordinary(60, 200)
    keys = ((f"key:bad-{i}", f"bad-{i}", apart(1000 + i), row) for i, row in enumerate(attack("random", 1200, seed=4)))
    found = play(who, between(keys, others, 0.1))
    assert drifted(who) == ["pooled:all"]
    assert not bad(found), "each key asks once, and it is no reason to treat anybody otherwise"


@pytest.mark.parametrize("callers", [11, 14, 25, 60])
def test_few_honest_callers_are_no_drift(callers: int) -> None:
    """The fewer there are, the further from the average they are together."""
    who = detectors(calibration())
    play(who, ordinary(callers, 16_000 // callers, seed=35))
    assert not drifted(who)


def test_a_window_is_as_mixed_as_its_callers_are() -> None:
    window = pooled.Window("owner:a")
    for counts, mixed in (([2000], 1.0), ([1000, 1000], 2.0), ([200] * 10, 10.0), ([1900, 100], 1.105)):
        window.clear()
        window.count = sum(counts)
        for bucket, count in enumerate(counts):
            window.callers[bucket] = count
        assert window.mixed() == pytest.approx(mixed, abs=0.01)
