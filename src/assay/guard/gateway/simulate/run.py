"""The simulation from beginning to end: each setting against each attack, then the detectors against each attacker.

Everything is drawn from the seed, and nothing runs beside anything else: the same call gives the same report.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from assay.errors import UsageError
from assay.guard.gateway.settings.keeping import Detect
from assay.guard.gateway.simulate import attackers, meaning, settings_grid, watching
from assay.guard.gateway.simulate.attacks import inversion, membership
from assay.guard.gateway.simulate.attacks.extraction import Students
from assay.guard.gateway.simulate.interface import Data, Labelled, Outcome, Predictor, Progress, Report, Setting
from assay.guard.gateway.simulate.world import world_of

LEAST = 40
"""Rows on each side, members and others, below which no figure would mean anything."""
SOURCES = ("random", "knock-off", "jacobian", "in-distribution")
"""Where an extraction's queries come from, in all settings; those that need labels alone are watched by detectors."""
HIDDEN = 500
"""Most rows on which copies are held against the model."""
TRIED = 400
"""Most rows of each side for membership inference."""


def sizes(queries: int) -> tuple[int, ...]:
    """Numbers of queries at which a copy is judged: a twenty-fifth, a fifth, all."""
    return tuple(sorted({max(1, queries // 25), max(1, queries // 5), queries}))


def simulate(
    predictor: Predictor,
    data: Data,
    grid: Sequence[Setting] = settings_grid.USUAL,
    *,
    model: str = "model",
    queries: int = 2500,
    seed: int = 0,
    detect: Detect | None = None,
    callers: int = watching.CALLERS,
    budget: Mapping[str, Mapping[str, int]] = {},
    notes: Sequence[str] = (),
    progress: Progress = lambda _what, _done, _all: None,
) -> Report:
    """Attack ``predictor`` in each setting, and watch the attackers.

    Args:
        predictor: The model.
        data: Rows with labels; see `Data`.
        grid: The settings that are tried.
        model: Its name, for the report.
        queries: Most queries of an attack.
        seed: Of everything that is drawn.
        detect: How detectors are set; None: without them.
        callers: Honest callers that calibrate the detectors, and a quarter of it that judge them.
        budget: Rows by plan and period, for the report.
        notes: For the report.
        progress: Told of each step.

    Raises:
        UsageError: Too few rows, or a model whose answers are no probabilities of two or more classes.
        MissingExtraError: The adversarial-robustness-toolbox or scikit-learn is not installed.
    """
    _check(predictor, data)
    begun = time.process_time()
    steps = len(grid) + (watching.steps() if detect is not None else 0)
    seeds = [int(one) for one in np.random.SeedSequence(seed).generate_state(4)]
    order = np.random.default_rng(seeds[0]).permutation(len(data.others))
    half = len(order) // 2
    theirs, hidden = data.others.part(order[:half]), data.others.part(order[half:][:HIDDEN])
    truth = predictor.predict(hidden.rows)
    students = Students(hidden.rows, truth.argmax(axis=1), seeds[1])
    bench = _Bench(predictor, data, theirs, hidden, students, queries, seeds)
    outcomes: list[Outcome] = []
    for setting in grid:
        progress(f"attacks, {setting.name}", len(outcomes), steps)
        outcomes.append(bench.outcome(setting, truth))
    outcomes = [replace(one, meaning=meaning.of_setting(one, outcomes[0], data.proper)) for one in outcomes]
    detection = None
    if detect is not None:
        world = world_of(predictor.predict, theirs.rows, predictor.names, data.members.rows, predictor.texts)
        detection = watching.watch(
            world, predictor.names, data.members.rows, students, detect, min(queries, 1000), callers, seeds[3],
            lambda what, done: progress(what, len(grid) + done, steps),
        )  # fmt: skip
    progress("done", steps, steps)
    some = data.members.part(np.arange(min(len(data.members), 2000)))
    return Report(
        model=model,
        seed=seed,
        queries=queries,
        members=len(data.members),
        others=len(data.others),
        columns=data.members.rows.shape[1] - sum(len(text) - 1 for text in predictor.texts),
        classes=len(predictor.classes),
        proper=data.proper,
        accuracy=_accuracy(truth, hidden),
        trained=_accuracy(predictor.predict(some.rows), some),
        outcomes=tuple(outcomes),
        detection=detection,
        budget=budget,
        notes=(*notes, *meaning.always(data.proper)),
        cpu=round(time.process_time() - begun, 1),
    )


class _Bench:
    """What all settings are held against: the same rows, the same queries, the same draws."""

    def __init__(
        self,
        predictor: Predictor,
        data: Data,
        theirs: Labelled,
        hidden: Labelled,
        students: Students,
        queries: int,
        seeds: Sequence[int],
    ) -> None:
        self._predictor = predictor
        self._data = data
        self._theirs = theirs
        self._hidden = hidden
        self._students = students
        self._queries = queries
        self._seeds = seeds
        self._key = hashlib.sha256(b"simulated noise %d" % seeds[0]).digest()

    def outcome(self, setting: Setting, truth: np.ndarray) -> Outcome:
        """Everything about one setting; ``truth``: the model's own answers to the hidden rows."""
        ask = self._ask(setting)
        members, hidden = self._data.members, self._hidden
        world = world_of(ask, self._theirs.rows, self._predictor.names, members.rows, self._predictor.texts)
        extraction: dict[str, dict[int, float]] = {}
        for source in SOURCES:
            rows, answers = attackers.record(world, source, np.random.default_rng(self._seeds[1]), self._queries)
            fidelity = {size: self._students.fidelity(rows[:size], answers[:size]) for size in sizes(self._queries)}
            extraction[source] = fidelity
        rng = np.random.default_rng(self._seeds[2])
        chosen = members.part(rng.permutation(len(members))[:TRIED])
        others = self._data.others.part(rng.permutation(len(self._data.others))[:TRIED])
        seen = ask(hidden.rows)
        return Outcome(
            setting=setting,
            extraction=extraction,
            membership=membership.attack(chosen, others, ask, world.range, self._seeds[2]),
            inversion=inversion.attack(members, world.low, world.high, ask, min(self._queries, 1000), rng),
            change=float(np.abs(seen - truth).mean()),
            relabelled=float((seen.argmax(axis=1) != truth.argmax(axis=1)).mean()),
            accuracy=_accuracy(seen, hidden),
        )

    def _ask(self, setting: Setting) -> Callable[[np.ndarray], np.ndarray]:
        def ask(rows: np.ndarray) -> np.ndarray:
            return settings_grid.apply(setting, rows, self._predictor.predict(rows), self._key)

        return ask


def _accuracy(answers: np.ndarray, rows: Labelled) -> float:
    return float((answers.argmax(axis=1) == rows.labels).mean())


def _check(predictor: Predictor, data: Data) -> None:
    for what, part in (("the model was trained on", data.members), ("it was not trained on", data.others)):
        if len(part) < LEAST:
            raise UsageError(f"a simulation needs at least {LEAST} rows that {what}, and there are {len(part)}")
    sample = predictor.predict(data.others.rows[:LEAST])
    if sample.shape != (LEAST, len(predictor.classes)) or len(predictor.classes) < 2:
        raise UsageError("the model does not tell probabilities of two or more classes")
    if not np.isfinite(sample).all() or (sample < -1e-6).any() or (abs(sample.sum(axis=1) - 1) > 0.02).any():
        raise UsageError("the model's answers are no probabilities: they do not add up to one")
