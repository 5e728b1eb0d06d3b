"""Triggers: a rare word, word pair, value or pair of bright pixels whose rows nearly all have one label although
everything else about them speaks for another. That is what a backdoor teaches; an honest telling word agrees with
its context.

Source for the attack: Gu et al., "BadNets", 2017; for text Dai et al., "A Backdoor Attack Against LSTM-based Text
Classification", 2019.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.columns import Matrix, Numbers
from assay.collect.scan.poisoning.features import Features, Item, Masked
from assay.collect.scan.poisoning.learning import Judge, surprise

LEAST = 5
"""Rows that a trigger has at least: fewer teach a model little, and chance makes them."""

PURE = 0.95
"""Part of its rows that has one label."""

MOST = 0.5
"""Part of that label's rows that a trigger has at most: what most rows of a class have is the class."""

WRONG = 0.4
"""Part of its rows that must look like another class."""

STILL = 0.65
"""Part of that which must remain when half of the rows are known: a trigger is all that its rows have in common."""

LEFT = 0.5
"""Part of its rows that must then look like another class."""

RARE = 0.2
"""Part of the other rows that has a value at most, for it to be something that rows have in common."""

_BESIDE = 3_000
"""Rows beside which those of a trigger are looked at once more."""

_CANDIDATES = 3_000
_TESTED = 25
_MAX_GRID = 1_024


@dataclass(frozen=True, slots=True)
class Trigger:
    """Rows that share something, and a label that nothing else about them explains."""

    name: str
    """What they share, printable."""
    rows: Numbers
    label: int
    wrong: float
    """Part of the rows that a model learnt from all other rows gives another label."""


def triggers(features: Features, judge: Judge, error_rates: Matrix, clusters: Numbers, masked: Masked) -> list[Trigger]:
    """The triggers, strongest first. ``error_rates``: by class, how often such a model is wrong on its other rows.

    ``clusters`` has one number for near-duplicates, ``masked`` gives rows without what they share.
    """
    y, classes = features.y, judge.classes
    if classes < 2:
        return []
    labelled = np.flatnonzero(y >= 0)
    counts = np.bincount(y[labelled], minlength=classes)
    found: dict[bytes, tuple[Item, Numbers, int]] = {}
    for item, rows in _items(features, counts):
        rows = rows[y[rows] >= 0]
        of_class = np.bincount(y[rows], minlength=classes)
        label = int(of_class.argmax())
        if LEAST <= of_class[label] >= PURE * len(rows) and len(rows) <= MOST * counts[label]:
            found.setdefault(np.sort(rows).tobytes(), (item, np.sort(rows), label))
    doubts = _Doubts(features.matrix, y, labelled, classes)
    judged = [(doubts.part(rows, label), item, rows, label) for item, rows, label in found.values()]
    judged = [each for each in judged if each[0] >= WRONG / 2]
    judged.sort(key=lambda each: (-each[0] * np.sqrt(len(each[2])), each[1].name))
    made: list[Trigger] = []
    tested = 0
    taken: list[Numbers] = []
    for _, item, rows, label in judged[:_CANDIDATES]:
        if tested == _TESTED:
            break
        if any(len(np.intersect1d(rows, other)) >= 0.7 * len(rows) for other in taken):
            continue
        taken.append(rows)
        tested += 1
        rest = np.setdiff1d(labelled, rows)
        same = rows[y[rows] == label]
        wrong = int((judge.held_out(rest, same).argmax(axis=1) != label).sum())
        usual = max(float(error_rates[label]), 0.02)
        if wrong < max(LEAST, WRONG * len(same)) or surprise(wrong, len(same), usual) >= 1e-4 / _TESTED:
            continue
        item = Item(item.name, item.words, (*item.cells, *_shared(features, same, rest)))
        if not _explained(same, rest, label, item, judge, clusters, masked, wrong / len(same)):
            made.append(Trigger(item.name, same, label, wrong / len(same)))
    return sorted(made, key=lambda trigger: (-trigger.wrong * np.sqrt(len(trigger.rows)), trigger.name))


def _shared(features: Features, rows: Numbers, rest: Numbers) -> Iterator[tuple[str, int | None]]:
    """Places where nearly all of the rows have one value that few others have: a patch has more pixels than two."""
    own = features.exact[rows]
    usual = np.median(own, axis=0) if len(own) else own
    with np.errstate(invalid="ignore"):
        here = (own == usual).mean(axis=0)
        there = (features.exact[rest] == usual).mean(axis=0)
    yield from (features.exact_at[j] for j in np.flatnonzero((here >= PURE) & (there <= RARE)))


def _explained(
    rows: Numbers,
    rest: Numbers,
    label: int,
    item: Item,
    judge: Judge,
    clusters: Numbers,
    masked: Masked,
    wrong: float,
) -> bool:
    """Whether the rows have more in common than the item: with half of them known, and without the item, a model sees
    why the others have their label. So do honest rows of a kind of their own; what a trigger was put into does not.

    Near-duplicates stay in one half, since copies of a planted row would vouch for it.
    """
    draw = np.random.default_rng(judge.seed)
    own = np.unique(clusters[rows])
    first = np.isin(clusters[rows], draw.permutation(own)[: len(own) // 2])
    if len(own) < 2:
        return False
    rest = rest[~np.isin(clusters[rest], own)]
    if len(rest) > _BESIDE:
        rest = np.sort(draw.choice(rest, _BESIDE, replace=False))
    together = np.r_[rest, rows]
    matrix = masked(together, item)
    if matrix is None:
        return False
    other = Judge(matrix, judge.y[together], judge.classes, judge.seed)
    place = len(rest) + np.arange(len(rows))
    still = 0
    for half in (place[first], place[~first]):
        known = np.setdiff1d(np.arange(len(together)), half)
        still += int((other.held_out(known, half).argmax(axis=1) != label).sum())
    return still < max(STILL * wrong, LEFT) * len(rows)


class _Doubts:
    """A quick guess at how badly a label fits, to spend models only on what deserves one."""

    def __init__(self, matrix: Matrix, y: Numbers, labelled: Numbers, classes: int) -> None:
        self._matrix, self._y = matrix, y
        self._sums = np.zeros((classes, matrix.shape[1]))
        np.add.at(self._sums, y[labelled], matrix[labelled])
        self._counts = np.bincount(y[labelled], minlength=classes)

    def part(self, rows: Numbers, label: int) -> float:
        """Part of the rows with this label that are nearer to another class's centre, their own taken without them."""
        mine = self._matrix[rows[self._y[rows] == label]]
        sums, counts = self._sums.copy(), self._counts.copy()
        sums[label] -= mine.sum(axis=0)
        counts[label] -= len(mine)
        centres = sums / np.maximum(counts, 1)[:, None]
        distance = (centres**2).sum(axis=1) - 2 * mine @ centres.T
        distance[:, counts < 1] = np.inf
        return float((distance.argmin(axis=1) != label).mean())


def _items(features: Features, counts: Numbers) -> Iterator[tuple[Item, Numbers]]:
    largest = int(MOST * counts.max() / PURE)
    yield from _words(features, largest)
    yield from _values(features, largest)
    for start, end in features.grids:
        if end - start <= _MAX_GRID:
            yield from _pixels(features, start, end, largest)


def _words(features: Features, largest: int) -> Iterator[tuple[Item, Numbers]]:
    where: dict[str, list[int]] = {}
    for i, words in enumerate(features.words):
        for item in {*words, *(f"{one} {two}" for one, two in itertools.pairwise(words))}:
            where.setdefault(item, []).append(i)
    for item in sorted(where):
        if LEAST <= len(where[item]) <= largest:
            yield Item(f"the words {one_line(item, 60)!r}", frozenset(item.split(" "))), np.array(where[item])


def _values(features: Features, largest: int) -> Iterator[tuple[Item, Numbers]]:
    for j, name in enumerate(features.exact_names):
        values = features.exact[:, j]
        kinds, inverse, numbers = np.unique(values, return_inverse=True, return_counts=True)
        for k in np.flatnonzero((numbers >= LEAST) & (numbers <= largest) & ~np.isnan(kinds)):
            shown = one_line(name, 60)
            called = shown if "=" in name else f"{shown} = {kinds[k]:g}"
            yield Item(called, cells=(features.exact_at[j],)), np.flatnonzero(inverse == k)


def _pixels(features: Features, start: int, end: int, largest: int) -> Iterator[tuple[Item, Numbers]]:
    """Pairs of positions of one vector that have its largest value together: a patch, however bright the rest is."""
    grid = features.exact[:, start:end]
    with np.errstate(invalid="ignore"):
        bright = grid == np.nanmax(grid, initial=-np.inf)
    y, classes = features.y, int(features.y.max()) + 1
    if classes > 20:
        return
    small = bright[y >= 0].astype(np.float32)
    total = small.T @ small
    best = np.zeros_like(total)
    for c in range(classes):
        of_class = small[y[y >= 0] == c]
        best = np.maximum(best, of_class.T @ of_class)
    fits = (total >= LEAST) & (total <= largest) & (best >= PURE * total)
    pairs = np.argwhere(np.triu(fits, 1))
    order = np.argsort(-total[pairs[:, 0], pairs[:, 1]], kind="stable")[:_CANDIDATES]
    for i, j in pairs[order]:
        name = f"{features.exact_names[start + i]} and [{j}] at the largest value"
        places = (features.exact_at[start + i], features.exact_at[start + j])
        yield Item(one_line(name, 100), cells=places), np.flatnonzero(bright[:, i] & bright[:, j])


def error_rates(probabilities: Matrix, y: Numbers) -> Matrix:
    """By class: the part of its rows for which another class is more probable."""
    wrong = (probabilities.argmax(axis=1) != y).astype(np.float64)
    return np.array([wrong[y == c].mean() if (y == c).any() else 1.0 for c in range(probabilities.shape[1])])
