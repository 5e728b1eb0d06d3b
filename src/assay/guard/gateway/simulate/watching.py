"""The detectors, calibrated on honest callers of this model, before attackers and before fresh honest callers.

Attackers ask the model as it answers: detectors look at its own answers, whatever a caller is told of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from assay.guard.gateway.detect import calibrating
from assay.guard.gateway.detect.calibrating import Stream as Honest
from assay.guard.gateway.detect.calibration import Calibration
from assay.guard.gateway.detect.detectors import Detectors
from assay.guard.gateway.interface import Answers, Sample, Table
from assay.guard.gateway.settings.keeping import Detect
from assay.guard.gateway.simulate import attackers, honest_callers, meaning
from assay.guard.gateway.simulate.attacks.extraction import Students
from assay.guard.gateway.simulate.interface import Detection, Stream
from assay.guard.gateway.simulate.world import World

CALLERS = 200
"""Honest callers that calibrate; as many as the detectors want."""
ATTACKERS = 3
"""Of each kind."""
LEARNING = frozenset({"label-only", "confidence", "inversion"})
"""Attacks that are no extraction: a copy made of their queries would say nothing."""


def steps() -> int:
    """How often `watch` tells of its progress."""
    return len(attackers.ATTACKS) + 2


def watch(
    world: World,
    names: Sequence[str],
    reference: np.ndarray,
    students: Students,
    detect: Detect,
    queries: int,
    callers: int,
    seed: int,
    progress: Callable[[str, int], None],
) -> Detection:
    """Everything about the detectors; ``callers`` calibrate them, a quarter as many are judged."""
    calibrate, honest, attack = (np.random.default_rng(one) for one in np.random.SeedSequence(seed).generate_state(3))
    progress("calibrating the detectors", 0)
    seen = world.seen
    columns = tuple(names[i] for i in seen)
    streams = [
        Honest(f"{kind}-{i}", Table(rows[:, seen], columns), _answers(world.predict(rows)))
        for i, (kind, rows) in enumerate(honest_callers.honest(world, calibrate, callers, queries))
    ]
    calibration = calibrating.calibrate(
        Table(reference[:, seen], columns), streams, false_alarms=detect.false_alarms, seed=seed % 2**31
    )
    del streams
    progress("honest callers", 1)
    fresh = max(10, callers // 4)
    flagged = sum(
        _first(Detectors(detect, calibration), f"honest-{i}", rows[:, seen], world.predict(rows)) is not None
        for i, (_, rows) in enumerate(honest_callers.honest(world, honest, fresh, queries))
    )
    found = []
    for i, name in enumerate(attackers.ATTACKS):
        progress(f"detecting {name}", 2 + i)
        found.append(_stream(world, name, detect, calibration, students, queries, attack))
    return Detection(tuple(found), flagged / fresh, fresh, queries)


def _stream(
    world: World,
    name: str,
    detect: Detect,
    calibration: Calibration,
    students: Students,
    queries: int,
    rng: np.random.Generator,
) -> Stream:
    firsts: list[float] = []
    refused: list[float] = []
    signals: Counter[str] = Counter()
    rows = answers = np.empty((0, 0))
    for _ in range(ATTACKERS):
        rows, answers = attackers.record(world, name, rng, queries)
        first = _first(Detectors(detect, calibration), name, rows[:, world.seen], answers)
        firsts.append(np.inf if first is None else first[0])
        if first is not None:
            signals[first[1]] += 1
        bad = np.flatnonzero(~world.valid(rows))
        refused.append(bad[0] + 1 if len(bad) else np.inf)
    seen = float(np.mean(np.isfinite(firsts)))
    median = _finite(float(np.median(firsts)))
    first_refused = _finite(float(np.median(refused)))
    fidelity = stopped = None
    if name not in LEARNING:
        fidelity = students.fidelity(rows, answers)
        if median is not None:
            stopped = students.fidelity(rows[:median], answers[:median])
    return Stream(
        attack=name,
        seen=seen,
        median=median,
        refused=first_refused,
        signals=tuple(signal for signal, _ in signals.most_common()),
        fidelity=fidelity,
        stopped=stopped,
        meaning=meaning.of_stream(name, seen, median, stopped, fidelity, first_refused),
    )


def _finite(value: float) -> int | None:
    return int(value) if np.isfinite(value) else None


def _answers(probabilities: np.ndarray) -> Answers:
    return Answers(probabilities.argmax(axis=1), probabilities)


def _first(detectors: Detectors, caller: str, rows: np.ndarray, answers: np.ndarray) -> tuple[int, str] | None:
    """After how many queries a caller is flagged, and by which signal. One row a request, one request a second."""
    sample = Sample(
        id="", at=0.0, caller=caller, owner=caller, address="", protocol="json", verb="infer", model="", version="",
        model_version="", status=200, rule="", rows=1, tokens=0, request_type=b"", answer_type=b"", request=None,
        response=None, capture=False, route=0,
    )  # fmt: skip
    labels = answers.argmax(axis=1)
    for i in range(len(rows)):
        sample.id, sample.at = f"{caller}-{i}", float(i)
        table, answer = Table(rows[i : i + 1]), Answers(labels[i : i + 1], answers[i : i + 1])
        for key, standing in detectors.see(sample, table, answer):
            if key == caller:
                return i + 1, standing.why
    return None
