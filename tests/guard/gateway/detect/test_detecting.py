"""The experiment in small, with fixed seeds: honest callers of five kinds, and every attack, on two models."""

from __future__ import annotations

import numpy as np
import pytest
from bench import gateway_worlds

from assay.guard.gateway.detect.calibrating import Stream, calibrate
from assay.guard.gateway.detect.calibration import Calibration
from assay.guard.gateway.detect.detectors import Detectors
from assay.guard.gateway.interface import Answers, Table
from assay.guard.gateway.settings.keeping import Detect
from assay.guard.gateway.simulate import traffic
from assay.guard.gateway.simulate.traffic import World
from guard.gateway.detect.detect_making import sample

QUERIES = 400
FLOORS = {
    "digits": {
        "random": 20,
        "knock-off": 20,
        "line-search": 20,
        "hop-skip-jump": 20,
        "inversion": 50,
        "label-only": 250,
        "mixup": 200,
        "jacobian": 200,
    },
    "people": {
        "random": 20,
        "knock-off": 150,
        "line-search": 50,
        "hop-skip-jump": 50,
        "inversion": 100,
        "jacobian": 300,
    },
}
"""Queries until an attack is flagged, at most: the median of three."""


@pytest.fixture(scope="module", params=sorted(FLOORS))
def judged(request: pytest.FixtureRequest) -> tuple[str, World, Calibration]:
    world, rows = gateway_worlds.WORLDS[request.param]()
    return request.param, world, calibrate(Table(rows), streams(world, 4001, 300, 800))


def streams(world: World, seed: int, callers: int, queries: int = QUERIES) -> list[Stream]:
    drawn = list(traffic.honest(world, np.random.default_rng(seed), callers, queries))
    answers = world.predict(np.concatenate([rows for _, rows in drawn])).reshape(callers, queries, -1)
    return [
        Stream(f"{kind}-{i}", Table(rows), Answers(part.argmax(axis=1), part))
        for i, ((kind, rows), part) in enumerate(zip(drawn, answers, strict=True))
    ]


def first(calibration: Calibration, rows: np.ndarray, answers: np.ndarray) -> int:
    detectors = Detectors(Detect(mode="enforce"), calibration)
    for i in range(len(rows)):
        part = answers[i : i + 1]
        if detectors.see(sample(at=1e9 + i), Table(rows[i : i + 1]), Answers(part.argmax(axis=1), part)):
            return i + 1
    return 10**6


def test_honest_callers_are_left_alone(judged: tuple[str, World, Calibration]) -> None:
    _, world, calibration = judged
    fresh = streams(world, 4002, 100)
    assert {stream.name.partition("-")[0] for stream in fresh} == set(traffic.HONEST)
    found = [s.name for s in fresh if first(calibration, s.table.features, s.answers.probabilities) < 10**6]
    assert len(found) <= 3, found


def test_attackers_are_flagged(judged: tuple[str, World, Calibration]) -> None:
    name, world, calibration = judged
    late = {}
    for attack, floor in FLOORS[name].items():
        firsts = []
        for i in range(3):
            asked = traffic.record(world, attack, np.random.default_rng([4003, i]), 2 * floor + 20)
            firsts.append(first(calibration, *asked))
        if np.median(firsts) > floor:
            late[attack] = firsts
    assert not late


def test_what_no_detector_sees_is_not_claimed(judged: tuple[str, World, Calibration]) -> None:
    """Extraction with ordinary data looks like an honest caller: only budgets help, and the guide says so."""
    _, world, calibration = judged
    asked = traffic.record(world, "in-distribution", np.random.default_rng(4004), QUERIES)
    assert first(calibration, *asked) == 10**6


def test_the_schema_refuses_what_detectors_miss_on_the_table() -> None:
    world, _ = gateway_worlds.people()
    for attack in ("mixup", "label-only", "inversion", "jacobian"):
        rows, _ = traffic.record(world, attack, np.random.default_rng(4005), 150)
        assert not world.valid(rows).all(), attack
    for _, rows in traffic.honest(world, np.random.default_rng(4006), 10, 200):
        assert world.valid(rows).all()
