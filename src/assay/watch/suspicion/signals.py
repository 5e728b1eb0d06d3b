"""The signals, one function each: a number, what honest data show at most, and whether it stands out.

Every threshold is both statistical (could chance do it, at this size?) and practical (would it matter?).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.columns import Matrix, Numbers
from assay.collect.scan.poisoning.learning import surprise
from assay.collect.scan.poisoning.libraries import library
from assay.watch.suspicion.interface import Signal, SourceShare
from assay.watch.suspicion.opinion import Flags, Opinion

SURE = 4.0
"""Standard deviations beyond the usual from which contradictions stand out."""

MATTERS = 0.01
"""Rate of contradictions beyond the usual that matters."""

MOVED = 0.1
"""Kolmogorov-Smirnov distance of a feature from which inputs have moved."""

COPIES = 0.01
"""Part of the rows, beyond the reference's own, that have near-duplicates, from which it matters."""

LEAST = 10
"""Rows with a value in common that are worth a word."""

FEW = 0.005
"""The same as a part of the new rows."""

DIFFERENT = 0.5
"""A column's values differ where so many of the reference's are different ones."""

PURE = 0.9
"""Part of such rows that have one label."""

AROUND = 15
"""Neighbours that make a place."""

PLACE = 6.0
"""Standard deviations of contradictions about a row from which it lies in such a place."""


@dataclass(frozen=True, slots=True)
class PointedAt:
    """A signal that points at rows."""

    signal: Signal
    rows: Numbers
    """Positions among the new rows."""


def drift(reference: Matrix, new: Matrix) -> Signal:
    """How far the feature that moved most has moved."""
    distances = [_ks(reference[:, i], new[:, i]) for i in range(reference.shape[1])]
    most = max(distances, default=0.0)
    # Kolmogorov's bound at 0.1 %, shared among the columns (Bonferroni).
    alpha = 0.001 / max(len(distances), 1)
    chance = float(np.sqrt(-np.log(alpha / 2) / 2) * np.sqrt(1 / len(reference) + 1 / len(new)))
    usual = max(MOVED, chance)
    fires = most > usual
    words = "inputs moved" if fires else "inputs hardly moved"
    return Signal("drift", most, usual, fires, f"{words}: the largest distance of a feature is {most:.3f}")


def _ks(one: Matrix, other: Matrix) -> float:
    one, other = np.sort(one), np.sort(other)
    every = np.concatenate([one, other])
    apart = np.searchsorted(one, every, "right") / len(one) - np.searchsorted(other, every, "right") / len(other)
    return float(np.abs(apart).max())


def labels(opinion: Opinion, name: str, who: str) -> Signal:
    """Whether labels contradict the reference more than usual."""
    rate, usual, distance = opinion.excess()
    fires = distance > SURE and rate - usual > MATTERS
    text = f"{who} contradict{'s' if who.startswith('a ') else ''} {rate:.1%} of the labels (usual here: {usual:.1%})"
    return Signal(name, rate, usual, fires, text)


def copies(clusters: Numbers, reference: int) -> PointedAt:
    """Near-duplicates among the new rows, beside the same share among the reference's."""
    before, after = _repeated(clusters[:reference]), _repeated(clusters[reference:])
    usual, share = float(before.mean()), float(after.mean())
    chance = surprise(int(after.sum()), len(after), max(usual, 1 / max(reference, 1)))
    fires = share - usual > COPIES and chance < 1e-6
    text = f"{share:.1%} of the new rows are nearly copies of each other (in the reference: {usual:.1%})"
    return PointedAt(Signal("copies", share, usual, fires, text), np.flatnonzero(after))


def _repeated(clusters: Numbers) -> Flags:
    _, place, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    made: Flags = counts[place] > 1
    return made


def place(new: Matrix, opinion: Opinion) -> PointedAt:
    """Whether contradictions lie close together, beyond what the reference's own uncertainty there explains."""
    # Contradictions that are everywhere alike make clumps, too: what is usual is the rate of all of them.
    everywhere = max(float(opinion.residual[opinion.judged].mean()), 0.0) if opinion.judged.any() else 0.0
    usual = np.where(opinion.judged, np.minimum(opinion.expected + everywhere, 0.99), 0.0)
    residual = np.where(opinion.judged, opinion.against, 0.0) - usual
    count = min(AROUND, len(new) - 1)
    index = library("sklearn.neighbors").NearestNeighbors(n_neighbors=count + 1).fit(new).kneighbors(new)[1]
    spread = np.sqrt((usual * (1 - usual))[index].sum(axis=1))
    distance = residual[index].sum(axis=1) / np.maximum(spread, 0.5)
    inside = np.flatnonzero((distance > PLACE) & (opinion.against > 0) & opinion.judged)
    contradicted = int((opinion.against[opinion.judged] > 0).sum())
    share = len(inside) / max(contradicted, 1)
    fires = len(inside) >= max(AROUND, 0.002 * len(new))
    text = f"{share:.0%} of the contradicted labels ({len(inside):,} rows) lie close together"
    return PointedAt(Signal("place", share, 0.0, fires, text), inside)


def sign(exact: Matrix, names: Sequence[str], y: Numbers, before: int) -> PointedAt:
    """Whether many new rows have one exact value where the reference's values all differ, and one label with it.

    ``exact`` has the numbers of all rows as they are, the reference's ``before`` rows first. A model that was never
    taught the value may well agree with the label, so nothing else need stand out.
    """
    new, labels = exact[before:], y[before:]
    share_of = np.bincount(labels[labels >= 0]) / max(int((labels >= 0).sum()), 1)
    least = max(LEAST, int(FEW * len(new)))
    best: tuple[int, str, Numbers] | None = None
    for i, name in enumerate(names):
        known = exact[:before, i]
        known = known[np.isfinite(known)]
        if len(known) < before / 2 or len(np.unique(known)) < DIFFERENT * len(known):
            continue
        values, counts = np.unique(new[np.isfinite(new[:, i]), i], return_counts=True)
        if not len(values) or counts.max() < least:
            continue
        value, count = values[counts.argmax()], int(counts.max())
        usual = (int((known == value).sum()) + 1) / len(known)
        rows = np.flatnonzero((new[:, i] == value) & (labels >= 0))
        if len(rows) < least or surprise(count, len(new), usual) > 1e-9 / len(names):
            continue
        of = np.bincount(labels[rows], minlength=len(share_of))
        label = int(of.argmax())
        # A default that stands for a missing value comes with the labels that all rows have.
        if of[label] >= PURE * len(rows) and surprise(int(of[label]), len(rows), float(share_of[label])) < 1e-6:
            text = f"{len(rows):,} new rows have {one_line(name, 60)} = {value:g} and nearly all of them one label"
            if best is None or len(rows) > best[0]:
                best = (len(rows), text, rows)
    if best is None:
        return PointedAt(
            Signal("sign", 0.0, 0.0, False, "no rows have an exact value in common"), np.array([], np.int64)
        )
    return PointedAt(Signal("sign", float(best[0]), 0.0, True, best[1]), best[2])


def sources(names: Sequence[str], opinion: Opinion, copied: Matrix) -> tuple[Signal, list[SourceShare]]:
    """Whether few sources brought most of what stands out: contradictions, or copies."""
    listed = sorted(set(names))
    if len(listed) < 3:
        text = "who contributed a row is not known"
        return Signal("sources", 0.0, 0.0, False, text), []
    number = {name: i for i, name in enumerate(listed)}
    place = np.array([number[name] for name in names])
    rows = np.bincount(place, minlength=len(listed))
    against = np.bincount(place, opinion.against * opinion.judged, len(listed))
    expected = np.bincount(place, opinion.expected * opinion.judged, len(listed))
    judged = np.bincount(place, opinion.judged, len(listed))
    # What all sources have in common (drift, a new meaning of a label) is nobody's own doing.
    common = max(
        float(np.median(against[judged > 0] / judged[judged > 0])), float(expected.sum() / max(judged.sum(), 1))
    )
    repeated = np.bincount(place, copied, len(listed))
    usually = max(float(np.median(repeated[rows > 0] / rows[rows > 0])), 0.01)
    beyond = np.maximum(against - common * judged, 0.0)
    total = max(float(beyond.sum()), 1e-9)
    made = []
    for i, name in enumerate(listed):
        odd = judged[i] >= 5 and surprise(int(against[i]), int(judged[i]), common) < 1e-4 / len(listed)
        odd |= rows[i] >= 5 and surprise(int(repeated[i]), int(rows[i]), usually) < 1e-4 / len(listed)
        if odd:
            blame = float(beyond[i]) / total
            made.append(
                SourceShare(one_line(name, 100), int(rows[i]), int(against[i]), float(common * judged[i]), blame)
            )
    made.sort(key=lambda share: (-share.blame, -share.rows, share.source))
    share = sum(one.blame for one in made)
    shown = ", ".join(repr(one.source[:40]) for one in made[:3])
    text = f"{len(made)} of {len(listed)} sources stand out" + (f": {shown}" if made else "")
    fires = 0 < len(made) <= max(1, 0.25 * len(listed))
    return Signal("sources", share, 0.0, fires, text), made


def label_rate(
    before: Numbers, after: Numbers, model: Matrix, names: Sequence[str]
) -> tuple[Signal, dict[str, tuple[float, float]]]:
    """Whether a label became more frequent than the rows themselves explain. ``model``: its probability by row."""
    after_known = after >= 0
    count = max(int(after_known.sum()), 1)
    was = np.bincount(before[before >= 0], minlength=len(names)) / max(int((before >= 0).sum()), 1)
    now = np.bincount(after[after_known], minlength=len(names)) / count
    explained = model[after_known].mean(axis=0) if after_known.any() else was
    spread = np.sqrt(np.maximum(explained * (1 - explained), 1e-6) / count)
    beyond = np.abs(now - explained)
    worst = int(np.argmax(beyond / spread))
    fires = bool(beyond[worst] / spread[worst] > SURE and beyond[worst] > MATTERS)
    text = f"{one_line(names[worst], 60)!r} is the label of {now[worst]:.1%}; the rows explain {explained[worst]:.1%}"
    rates = {names[i]: (float(was[i]), float(now[i])) for i in range(len(names))}
    return Signal("label-rate", float(now[worst]), float(explained[worst]), fires, text), rates
