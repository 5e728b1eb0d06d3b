"""Columns that stopped changing: a sensor that hangs, a join that fills in one value, a default that got in.

A value that makes up so much of a window is only called frozen if the baseline would show it all but never.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.collect.profile.interface import Categories, Column, Numeric, Profile
from assay.watch.columns import shown
from assay.watch.constraints.shares import tail
from assay.watch.interface import Check, Outcome

_CHANCE = 1e-6
"""How often a clean window may show as much, by the baseline's own share of the value."""
_MOST = 0.3
"""Part of the window that a value must make up."""
_NARROW = 0.02
"""Widest bin, in standard deviations of the baseline, whose numbers are taken for one: bins far out are wide."""
_GROWN = 0.25
"""By how much its share must have grown."""


def check(baseline: Profile, current: Profile, *, least_rows: int = 30) -> Iterator[Check]:
    """One check per column of numbers or categories that varied in the baseline."""
    for name, before in baseline.columns.items():
        after = current.columns.get(name)
        if name in current.absent or not _varies(before):
            continue
        if after is None or type(after) is not type(before) or _count(after) < least_rows:
            yield Check("frozen", Outcome.UNDECIDED, name, message=f"fewer than {least_rows:,} values to look at")
            continue
        yield _judge(name, before, after)


def _varies(state: Column) -> bool:
    return isinstance(state, Numeric | Categories) and state.count > 0 and state.distinct > 1


def _count(state: Column) -> int:
    return state.count if isinstance(state, Numeric | Categories) else 0


def _judge(name: str, before: Column, after: Column) -> Check:
    if isinstance(before, Numeric) and isinstance(after, Numeric):
        text, hits, usual = _numbers(before, after)
    else:
        assert isinstance(before, Categories) and isinstance(after, Categories)
        text, hits, usual = _categories(before, after)
    total = _count(after)
    share = hits / total
    p = tail(hits, total, usual)
    measures = {"share": share, "usual": usual, "p": p}
    if share < _MOST or share < usual + _GROWN or p >= _CHANCE:
        return Check("frozen", Outcome.HOLDS, name, usual, share, measures=measures)
    whole = "all" if hits == total else f"{share:.1%} of"
    message = f"{whole} {total:,} values are {text}, in the baseline {usual:.2%} are"
    return Check("frozen", Outcome.VIOLATED, name, usual, share, "error", message, measures)


def _numbers(before: Numeric, after: Numeric) -> tuple[str, int, float]:
    """The fullest bin (or the one value, wherever it lies), how many it holds, and the baseline's share of it."""
    import numpy as np

    if after.minimum == after.maximum:
        low, high, hits = after.minimum, after.maximum, after.count
    else:
        narrow = after.upper - after.lower <= _NARROW * before.std
        counts = np.where(narrow, after.counts, 0)
        fullest = int(counts.argmax())
        low, high = float(after.lower[fullest]), float(after.upper[fullest])
        hits = int(counts[fullest])
    # A point has no width: what the baseline has in the bins around it is the most that it can have there.
    inside = (before.upper >= low) & (before.lower <= high)
    usual = int(before.counts[inside].sum())
    text = (
        f"{low:.6g}" if low == high else f"about {float(np.clip((low + high) / 2, after.minimum, after.maximum)):.6g}"
    )
    # The baseline is a sample: what it never showed may be as likely as one of its rows.
    return text, hits, min(1.0, (usual + 1) / (before.count + 1))


def _categories(before: Categories, after: Categories) -> tuple[str, int, float]:
    fullest = int(after.counts.argmax())
    key, hits = int(after.hashes[fullest]), int(after.counts[fullest])
    usual = int(before.counts[before.hashes == after.hashes[fullest]].sum())
    label = after.labels.get(key, before.labels.get(key))
    text = "one value" if label is None else repr(shown(label))
    return text, hits, min(1.0, (usual + 1) / (before.count + 1))
