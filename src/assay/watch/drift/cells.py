"""Two states of one column brought onto the same cells, so that every distance is a formula over two arrays of counts.

Pure and vectorised over bins. A cell of numbers is a bin of the profile or a group of neighbouring bins; a cell of
categories is a frequent category, or a share of the others by their hash: never one cell per rare category, because
the distance of two samples grows with the number of cells that hold next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from assay.collect.profile.interface import Categories, Floats, Integers, Numeric, Words

EXPECTED = 5.0
"""Counts that a cell must have on average in either sample for the chi-square law to hold (Cochran 1954)."""
FREQUENT = 128
"""So many categories have a cell of their own."""
_BUCKET_SHIFT = np.uint64(54)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Counts of baseline and current on the same cells."""

    baseline: Integers
    """Counts, shape (cells,)."""
    current: Integers
    """Counts, shape (cells,)."""
    values: Floats
    """Middle of each cell, ascending, for numbers; empty for categories."""
    rest: int = -1
    """Which cell holds what is too rare for one of its own; -1 if none does."""
    rare: tuple[int, int] = (0, 0)
    """Counts of baseline and current in cells that are too rare to be looked at by chi-square, if there are any."""


def align(baseline: Numeric, current: Numeric) -> Cells:
    """The bins that hold something in either of two states of one spec."""
    if baseline.numbers is not None and current.numbers is not None:
        keys = np.concatenate((baseline.numbers, current.numbers))
    else:
        keys = np.concatenate((baseline.lower, current.lower))
    order = np.argsort(keys, kind="stable")  # two ascending runs: merged in linear time
    keys = keys[order]
    first = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    cell = np.empty(len(keys), dtype=np.intp)
    cell[order] = np.cumsum(first) - 1
    counts = np.zeros((2, int(first.sum())), dtype=np.int64)
    split = len(baseline.counts)
    np.add.at(counts[0], cell[:split], baseline.counts)
    np.add.at(counts[1], cell[split:], current.counts)
    kept = order[first]
    lower = np.concatenate((baseline.lower, current.lower))[kept]
    upper = np.concatenate((baseline.upper, current.upper))[kept]
    return Cells(counts[0], counts[1], lower * 0.5 + upper * 0.5)


def group(cells: Cells, groups: int) -> tuple[Integers, Integers]:
    """Counts in at most ``groups`` runs of neighbouring cells that hold about the same share of the baseline.

    The outer groups reach to infinity. A value that many rows have is a group of its own.
    """
    if not cells.baseline.any():
        return cells.baseline[:0], cells.current[:0]
    begin = starts(cells.baseline, groups)
    return np.add.reduceat(cells.baseline, begin), np.add.reduceat(cells.current, begin)


def starts(counts: Integers, groups: int) -> Integers:
    """Where runs of cells begin that hold about the same share of ``counts``, whose sum is not 0."""
    middle = np.cumsum(counts) - counts * 0.5
    number = np.minimum((middle * groups / int(counts.sum())).astype(np.int64), groups - 1)
    return np.flatnonzero(np.concatenate(([True], number[1:] != number[:-1])))


def partition(baseline: Categories, current: Categories) -> Cells:
    """Cells of two states of categories.

    The baseline's most frequent categories one by one, the others by their hash in as many buckets as the samples
    fill, what is too rare even then together in the cell `Cells.rest`.
    """
    keys, counts = _paired(baseline, current)
    n, m = int(counts[0].sum()), int(counts[1].sum())
    if not n or not m:
        return Cells(counts[0], counts[1], np.empty(0))
    smaller = min(n, m) / (n + m)
    if len(keys) > FREQUENT:
        keys, counts = _buckets(keys, counts, smaller)
    common = counts.sum(axis=0) * smaller >= EXPECTED
    rare = counts[:, ~common].sum(axis=1)
    if common.all():
        return Cells(counts[0], counts[1], np.empty(0))
    counts = np.concatenate((counts[:, common], rare[:, None]), axis=1)
    seldom = (0, 0) if rare.sum() * smaller >= EXPECTED else (int(rare[0]), int(rare[1]))
    return Cells(counts[0], counts[1], np.empty(0), rest=counts.shape[1] - 1, rare=seldom)


def _paired(baseline: Categories, current: Categories) -> tuple[Words, Integers]:
    """All keys of two states, ascending, and the counts of both; shape (2, keys)."""
    states = [(baseline.hashes, baseline.counts), (current.hashes, current.counts)]
    if baseline.exact != current.exact:
        exact, bucketed = (0, current.hashes) if baseline.exact else (1, baseline.hashes)
        states[exact] = _coarsened(*states[exact], bucketed)
    keys = np.unique(np.concatenate([hashes for hashes, _ in states]))
    counts = np.zeros((2, len(keys)), dtype=np.int64)
    for row, (hashes, seen) in zip(counts, states, strict=True):
        np.add.at(row, np.searchsorted(keys, hashes), seen)
    return keys, counts


def _coarsened(hashes: Words, counts: Integers, bucketed: Words) -> tuple[Words, Integers]:
    """Values that were counted one by one as a bucketed state counts them: buckets are a hash's upper ten bits."""
    return np.where(np.isin(hashes, bucketed), hashes, hashes >> _BUCKET_SHIFT), counts


def _buckets(keys: Words, counts: Integers, smaller: float) -> tuple[Words, Integers]:
    """The baseline's most frequent keys, and the others' counts by the low bits of their hash or bucket."""
    top = np.argpartition(counts[0], -FREQUENT)[-FREQUENT:]
    others = np.ones(len(keys), dtype=bool)
    others[top] = False
    filled = int(counts[:, others].sum()) * smaller / (4 * EXPECTED)  # half of the cells at least are then no rest
    buckets = 1 << max(0, min(10, int(filled).bit_length() - 1))
    number = (keys[others] & np.uint64(buckets - 1)).astype(np.intp)
    folded = np.zeros((2, buckets), dtype=np.int64)
    np.add.at(folded[0], number, counts[0, others])
    np.add.at(folded[1], number, counts[1, others])
    return keys[top], np.concatenate((counts[:, top], folded), axis=1)
