"""Batches that came before: the same rows once more, or most of them.

Two clean windows differ by what chance does: Pearson's statistic of their histograms is about its degrees of freedom.
A window that repeats a part of another's rows lacks that part of the differences, which no honest sampling does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from assay.collect.profile.interface import Categories, Column, Numeric, Profile
from assay.watch.interface import Check, Outcome

_CELLS = 30
"""Cells that a column must have at least to be asked."""
_EXPECTED = 5.0
"""Counts of a cell on average (Cochran 1954); cells with fewer are put together with their neighbours."""
_REPEATED = 0.3
"""Share of repeated rows from which on it is told."""
_CHANCE = 1e-9
"""How likely two honest windows may be to have one digest: two of a few booleans often have."""
_SIGMAS = 5.0
"""How many standard deviations the statistic must lack, by the column that is the median one."""


def check(current: Profile, earlier: Iterable[Profile], *, least_rows: int = 30) -> Iterator[Check]:
    """One check for all earlier windows; nothing where there are none."""
    # Windows from before the baseline was made anew were counted by other rules: nothing of theirs can be compared.
    windows = [other for other in earlier if other.spec == current.spec]
    if not windows:
        return
    if current.rows < least_rows:
        message = f"the window has {current.rows:,} rows, {least_rows:,} are needed"
        yield Check("duplicate-batch", Outcome.UNDECIDED, message=message)
        return
    best, share = None, 0.0
    asked = False
    for number, other in enumerate(windows):
        if current.digest and other.digest == current.digest and _coincidence(current) < _CHANCE:
            message = "the window has the same rows as an earlier one"
            yield _violation(message, f"the window {len(windows) - number} before", 1.0)
            return
        repeated = repeated_share(other, current)
        asked = asked or repeated is not None
        if repeated is not None and repeated > share:
            best, share = len(windows) - number, repeated
    if best is not None and share >= _REPEATED:
        message = f"about {share:.0%} of the differences that chance makes are missing: rows of an earlier window again"
        yield _violation(message, f"the window {best} before", share)
    elif asked:
        yield Check("duplicate-batch", Outcome.HOLDS, expected=0.0, observed=share)
    else:  # digests were compared, near-duplicates cannot be told
        yield Check("duplicate-batch", Outcome.HOLDS, message="no window is the same; too few cells to ask for more")


def _coincidence(window: Profile) -> float:
    """About the chance that another sample of the same size has the same counts, by the column that tells most.

    The normal approximation of the multinomial: each cell but the largest agrees with ``1 / sqrt(4 pi count)``.
    """
    import numpy as np

    logarithms = [
        -0.5 * float(np.log(4 * np.pi * np.sort(state.counts)[:-1]).sum())
        for state in window.columns.values()
        if isinstance(state, Numeric | Categories)
    ]
    return math.exp(min(logarithms, default=0.0))


def _violation(message: str, which: str, share: float) -> Check:
    return Check("duplicate-batch", Outcome.VIOLATED, None, "new rows", which, "error", message, {"repeated": share})


def repeated_share(one: Profile, other: Profile) -> float | None:
    """About the share of rows that two windows of one spec have in common; None where no column can tell.

    The median over the columns: a column that is alike in every window by nature (the hour of the day) has no say.
    """
    if one.spec != other.spec:
        return None
    found: list[tuple[float, int]] = []
    for name, state in one.columns.items():
        counts = _counts(state, other.columns.get(name))
        if counts is not None:
            found.append(counts)
    if not found:
        return None
    found.sort()
    ratio, freedom = found[len(found) // 2]
    lacking = (1.0 - ratio) / (2.0 / freedom) ** 0.5
    return max(0.0, 1.0 - ratio) if lacking > _SIGMAS else 0.0


def _counts(one: Column, other: Column | None) -> tuple[float, int] | None:
    """Pearson's statistic over its degrees of freedom, and these."""
    import numpy as np

    if isinstance(one, Numeric) and isinstance(other, Numeric):
        keys = np.concatenate((one.lower, other.lower))
    elif isinstance(one, Categories) and isinstance(other, Categories) and one.exact == other.exact:
        keys = np.concatenate((one.hashes, other.hashes))
    else:
        return None
    n, m = one.count, other.count
    if not n or not m:
        return None
    cells, cell = np.unique(keys, return_inverse=True)
    split = len(one.counts)
    counts = np.stack(
        (
            np.bincount(cell[:split], one.counts, len(cells)),
            np.bincount(cell[split:], other.counts, len(cells)),
        )
    )
    # Neighbours together until both expect enough, by the share of the smaller sample.
    filled = np.cumsum(counts.sum(axis=0)) * (min(n, m) / (n + m) / _EXPECTED)
    starts = np.flatnonzero(np.diff(np.floor(filled), prepend=-1.0))
    counts = np.add.reduceat(counts, starts, axis=1)
    freedom = counts.shape[1] - 1
    if freedom < _CELLS:
        return None
    differences = (counts[0] * (m / n) ** 0.5 - counts[1] * (n / m) ** 0.5) ** 2
    return float((differences / counts.sum(axis=0)).sum() / freedom), freedom
