"""A baseline that is known by sketch or buckets only, and a window, brought onto the same cells.

`watch.drift` compares states of one spec. What SageMaker's ``statistics.json`` tells is coarser: the window's histogram
is cut where the baseline has its ranks. Distances come out at most as large as they are, never larger but for rounding;
with ten buckets and no sketch a shift inside of a bucket is not seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from assay.collect.profile.interface import Categories, Column, Numeric, Profile
from assay.watch import columns

if TYPE_CHECKING:
    from assay.collect.profile.interface import Floats

_CELLS = 256
"""Cells that numbers are compared on at most."""


def comparable(baseline: Profile, current: Profile) -> tuple[Profile, Profile]:
    """Both, with the columns that both have in the same form, on the same cells. Other columns are left out."""
    pairs: dict[str, tuple[Column, Column]] = {}
    for name, old in baseline.columns.items():
        new = current.columns.get(name)
        if isinstance(old, Numeric) and isinstance(new, Numeric):
            pairs[name] = _numbers(old, new)
        elif isinstance(old, Categories) and isinstance(new, Categories):
            pairs[name] = _categories(old, new)
    spec = replace(baseline.spec, columns=tuple(item for item in baseline.spec.columns if item.name in pairs))
    return (
        Profile(spec, baseline.rows, {name: pair[0] for name, pair in pairs.items()}, digest=baseline.digest),
        Profile(spec, current.rows, {name: pair[1] for name, pair in pairs.items()}, digest=current.digest),
    )


def _numbers(old: Numeric, new: Numeric) -> tuple[Numeric, Numeric]:
    if not old.count or not new.count:
        return old, new
    cuts = _cuts(old)
    return _cut(old, cuts), _cut(new, cuts)


def _cuts(old: Numeric) -> Floats:
    """Where to cut: between the sketch's different items, or at the bounds of buckets."""
    import numpy as np

    if (old.lower < old.upper).any():
        return np.unique(np.concatenate((old.lower[1:], old.upper[:-1])))
    between = old.lower[:-1] * 0.5 + old.lower[1:] * 0.5
    if len(between) < _CELLS:
        return between
    ranks = np.searchsorted(np.cumsum(old.counts), np.arange(1, _CELLS) * (old.count / _CELLS))
    return np.unique(between[np.minimum(ranks, len(between) - 1)])


def _cut(state: Numeric, cuts: Floats) -> Numeric:
    """A state whose bins are the cells between ``cuts``; the outer ones are named by the cuts, too, to be alike."""
    import numpy as np

    ends = np.concatenate(([0.0], np.rint(columns.below(state, cuts)), [float(state.count)]))
    counts = np.diff(np.maximum.accumulate(ends)).astype(np.int64)
    width = float(cuts[-1] - cuts[0]) if len(cuts) > 1 else 1.0
    first, last = (cuts[0] - width, cuts[-1] + width) if len(cuts) else (state.minimum, state.minimum)
    lower, upper = np.concatenate(([first], cuts)), np.concatenate((cuts, [last]))
    held = counts > 0
    return replace(state, lower=lower[held], upper=upper[held], counts=counts[held])


def _categories(old: Categories, new: Categories) -> tuple[Categories, Categories]:
    """Categories by their text: those that the baseline names, and all others as one."""
    import numpy as np

    number = {label: key for key, label in old.labels.items()}
    rest = len(number)
    counts = np.zeros(rest + 1, np.int64)
    for value, count in zip(new.hashes.tolist(), new.counts.tolist(), strict=True):
        counts[number.get(new.labels.get(value, ""), rest) if value in new.labels else rest] += count
    held = np.flatnonzero(counts)
    labels = {int(key): old.labels[int(key)] for key in held if int(key) in old.labels}
    return old, replace(
        new, exact=old.exact, hashes=held.astype(np.uint64), counts=counts[held], labels=labels, distinct=len(held)
    )
