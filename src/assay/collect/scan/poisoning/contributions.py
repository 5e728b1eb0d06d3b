"""Rows that arrived together: from one source, in one stretch of a file, or since an earlier version.

Each contribution is judged by a model that learnt from everybody else's rows. It never judges labels that the others
do not have: a file per class is not an attack.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from assay.collect.scan.poisoning.columns import Numbers
from assay.collect.scan.poisoning.learning import Judge, surprise

LEAST = 10
"""Rows of a contribution that is judged."""

LARGEST = 0.5
"""Part of all rows that a contribution may be: of a larger one nobody can say which side is odd."""

DENSE = 0.3
"""Part of the rows that stand together that is suspect."""

TESTED = 50
"""Contributions that are judged, largest first."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the others' rows say of a contribution."""

    rows: Numbers
    """Its rows with a label that others have too."""
    contradicted: Numbers
    """Those of them that a model of the others' rows gives another label."""
    rate: float
    """``contradicted`` as a part of ``rows``."""
    odd: bool
    """Far more than chance would have it."""
    label: int
    """Its most frequent label."""
    share: float
    """Part of its rows with that label."""
    elsewhere: float
    """The same part among all other rows."""
    repeats: float
    """Part of its rows that have a near-duplicate within it."""

    @property
    def agrees_too_well(self) -> bool:
        """It speaks with one voice where the others do not: nearly one label, or mostly one row again and again."""
        return (self.share >= 0.9 and self.elsewhere <= 0.6) or self.repeats >= 0.5


def judge_rows(rows: Numbers, judge: Judge, clusters: Numbers, usual: float, tests: int) -> Verdict | None:
    """Judge a contribution; None where it cannot be: too small, too large, or about classes of its own.

    ``usual`` is how often such a model is wrong on any row, ``tests`` how many contributions are judged.
    """
    y = judge.y
    labelled = np.flatnonzero(y >= 0)
    rows = rows[y[rows] >= 0]
    rest = np.setdiff1d(labelled, rows)
    if len(rows) < LEAST or len(rows) > LARGEST * len(labelled):
        return None
    others = np.bincount(y[rest], minlength=judge.classes)
    rows = rows[others[y[rows]] >= LEAST]
    if len(rows) < LEAST:
        return None
    # A near-duplicate of one of its rows elsewhere would speak for it.
    train = rest[~np.isin(clusters[rest], clusters[rows])]
    if len(np.unique(y[train])) < 2:
        train = rest
    contradicted = rows[judge.held_out(train, rows).argmax(axis=1) != y[rows]]
    rate = len(contradicted) / len(rows)
    usual = max(usual, 0.02)
    odd = rate >= max(0.25, 2.5 * usual) and surprise(len(contradicted), len(rows), usual) < 1e-5 / max(tests, 1)
    of_class = np.bincount(y[rows], minlength=judge.classes)
    label = int(of_class.argmax())
    again = Counter(clusters[rows].tolist())
    return Verdict(
        rows,
        contradicted,
        rate,
        odd,
        label,
        float(of_class[label] / len(rows)),
        float((y[rest] == label).mean()),
        sum(count for count in again.values() if count > 1) / len(rows),
    )


def by_source(sources: list[str]) -> list[tuple[str, Numbers]]:
    """Rows of each source, largest first; nothing where there is one source only."""
    made: dict[str, list[int]] = {}
    for i, name in enumerate(sources):
        made.setdefault(name, []).append(i)
    if len(made) < 2:
        return []
    listed = sorted(made.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(name, np.array(rows)) for name, rows in listed if len(rows) >= LEAST]


def densest(files: list[str], suspect: Numbers, usual: float) -> Numbers | None:
    """The stretch of one file in which suspect rows are densest, where chance would not make such a one.

    The stretch with the largest sum of (suspect minus `DENSE`), by Kadane's algorithm, so that more than that part of
    its rows are suspect. ``suspect`` is 0 or 1 by position.
    """
    best = (0.0, 0, 0)
    sum_, start = 0.0, 0
    for i, mark in enumerate(suspect):
        if sum_ <= 0 or (i and files[i] != files[i - 1]):
            sum_, start = 0.0, i
        sum_ += float(mark) - DENSE
        if sum_ > best[0]:
            best = (sum_, start, i + 1)
    _, start, end = best
    inside = int(suspect[start:end].sum())
    if end - start < LEAST or len(suspect) == 0 or end - start > LARGEST * len(suspect):
        return None
    if surprise(inside, end - start, max(usual, 0.02)) * len(suspect) ** 2 > 1e-6:
        return None
    return np.arange(start, end)
