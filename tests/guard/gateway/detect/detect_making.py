"""A small world, its calibration, and samples; made once for all tests of the detectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np

from assay.guard.gateway.detect.calibrating import Stream, calibrate
from assay.guard.gateway.detect.calibration import Calibration
from assay.guard.gateway.detect.detectors import Detectors
from assay.guard.gateway.interface import Answers, Level, Sample, Standing, Table
from assay.guard.gateway.settings.keeping import Detect, Reactions
from assay.guard.gateway.simulate import attackers, honest_callers
from assay.guard.gateway.simulate.world import World

NOW = 1_700_000_000.0


@cache
def small() -> tuple[World, np.ndarray]:
    """Ten columns that hang together, and a linear model of three classes."""
    made = np.random.default_rng(5)
    mixing, weights = made.normal(size=(4, 10)), made.normal(size=(10, 3))

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.normal(size=(count, 4)) @ mixing + 0.2 * rng.normal(size=(count, 10))

    def predict(rows: np.ndarray) -> np.ndarray:
        scores = rows @ weights
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    edge = np.full(10, 8.0)
    rows = draw(made, 800)
    return World(predict, draw, -edge, edge, np.zeros(10), np.full(10, 2.0), (), rows), rows


def stream(world: World, name: str, rows: np.ndarray, **more: Any) -> Stream:
    answers = world.predict(rows)
    return Stream(name, Table(rows), Answers(answers.argmax(axis=1), answers), **more)


@cache
def honest(seed: int, callers: int = 60, queries: int = 400) -> tuple[Stream, ...]:
    world, _ = small()
    drawn = honest_callers.honest(world, np.random.default_rng(seed), callers, queries)
    return tuple(stream(world, f"{kind}-{i}", rows) for i, (kind, rows) in enumerate(drawn))


@cache
def calibration() -> Calibration:
    _, rows = small()
    return calibrate(Table(rows), honest(1))


def attack(name: str, queries: int = 300, seed: int = 0, share: float = 1.0) -> np.ndarray:
    world, _ = small()
    return attackers.record(world, name, np.random.default_rng([77, seed]), queries, share)[0]


def sample(caller: str = "key:a", at: float = NOW, **more: Any) -> Sample:
    values: dict[str, Any] = {
        "id": "0" * 32, "at": at, "caller": caller, "owner": caller, "address": "192.0.2.7",
        "protocol": "open-inference", "verb": "infer", "model": "m", "version": "1", "model_version": "",
        "status": 200, "rule": "", "rows": 1, "tokens": 0, "request_type": b"", "answer_type": b"", "request": None,
        "response": None, "capture": False, "route": 0,
    }  # fmt: skip
    return Sample(**(values | more))


def detectors(given: Calibration | None = None, mode: Any = "enforce", **more: Any) -> Detectors:
    return Detectors(Detect(mode=mode, **more), given)


def reacting(**more: Any) -> Reactions:
    return Reactions(**more)


def ask(
    who: Detectors, caller: str, rows: np.ndarray, at: float = NOW, every: float = 1.0, batch: int = 1, **more: Any
) -> Iterator[tuple[int, list[tuple[str, Standing]]]]:
    """Ask query by query (or several at once): how many were asked, and the changes so far of each request."""
    world, _ = small()
    answers = world.predict(np.clip(np.nan_to_num(rows), -50.0, 50.0))
    for i in range(0, len(rows), batch):
        part = answers[i : i + batch]
        request = sample(caller, at + i * every, id=f"{i:032x}", rows=len(part), **more)
        changes = who.see(request, Table(rows[i : i + batch]), Answers(part.argmax(axis=1), part))
        yield i + len(part), changes


def flagged_after(who: Detectors, caller: str, rows: np.ndarray, key: str = "", **more: Any) -> int:
    """Queries until ``key`` (the caller) is flagged; a million where it never is."""
    for count, changes in ask(who, caller, rows, **more):
        if any(name == (key or caller) and standing.level > Level.OK for name, standing in changes):
            return count
    return 10**6


Query = tuple[str, str, str, np.ndarray]
"""Caller, owner, address, row."""


def play(who: Detectors, queries: Iterable[Query]) -> dict[str, Standing]:
    """Ask one after the other, a second apart: the latest standing of everybody who got one."""
    asked = list(queries)
    answers = small()[0].predict(np.array([row for *_, row in asked]))
    last: dict[str, Standing] = {}
    for i, (caller, owner, address, row) in enumerate(asked):
        said = Answers(answers[i : i + 1].argmax(axis=1), answers[i : i + 1])
        about = sample(caller, NOW + i, id=f"{i:032x}", owner=owner, address=address)
        last |= dict(who.see(about, Table(row[None, :]), said))
    return last


def apart(i: int) -> str:
    """An address in a network of its own."""
    return f"10.{i >> 8}.{i & 255}.9"


def ordinary(callers: int, queries: int, seed: int = 31) -> Iterator[Query]:
    """Honest callers of all kinds taking turns, each with an owner and a network of its own."""
    streams = honest(seed, callers, queries)
    for turn in range(queries):
        for i, one in enumerate(streams):
            yield f"key:honest-{i}", f"honest-{i}", apart(i), one.table.features[turn]


def between(queries: Iterable[Query], others: Iterator[Query], share: float) -> Iterator[Query]:
    """``queries`` as such a share of everything that is asked, as long as there are ``others``."""
    rate = round(1 / share) - 1
    for query in queries:
        yield query
        for _ in range(rate):
            if (other := next(others, None)) is None:
                return
            yield other
    yield from others


def bad(found: dict[str, Standing]) -> dict[str, Standing]:
    return {key: one for key, one in found.items() if not key.startswith("key:honest")}


def good(found: dict[str, Standing]) -> dict[str, Standing]:
    return {key: one for key, one in found.items() if key.startswith("key:honest")}
