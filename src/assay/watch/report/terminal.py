"""Profiles and looks as lines for a terminal: a sparkline per column, a mark per check that does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from assay.watch.interface import Outcome

if TYPE_CHECKING:
    from assay.collect.profile.interface import Column, Profile
    from assay.watch.interface import Check, Look

_BARS = "▁▂▃▄▅▆▇█"
_BINS = 16
_LONGEST = 1000


def profile_lines(profile: Profile) -> Iterator[str]:
    """One line a column: what it is, how it is spread."""
    from assay.watch import columns

    width = min(30, max([len(name) for name in profile.columns] + [6]))
    kinds = {column.name: str(column.kind) for column in profile.spec.columns}
    for name, state in profile.columns.items():
        missing = columns.missing(state) / max(profile.rows, 1)
        gap = f"  {missing:.1%} missing" if missing else ""
        called, kind = columns.shown(name, 30), kinds.get(name, "custom")
        yield f"  {called:<{width}}  {kind:<10} {sparkline(state)}  {_summary(state)}{gap}"


def sparkline(state: Column) -> str:
    """How a column is spread: numbers over the middle 99 % of their range, categories by frequency."""
    import numpy as np

    from assay.collect.profile.interface import Categories, Numeric
    from assay.watch import columns

    if isinstance(state, Numeric) and state.count:
        low, high = columns.quantiles(state, np.array([0.005, 0.995]))
        edges = np.linspace(low, high, _BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
        return _drawn(np.diff(columns.below(state, edges)))
    if isinstance(state, Categories) and state.count:
        return _drawn(np.sort(state.counts)[::-1][:_BINS].astype(float))
    return " " * _BINS


def _drawn(heights: object) -> str:
    import numpy as np

    values = np.asarray(heights, dtype=float)
    most = values.max() if values.size else 0.0
    if most <= 0:
        return " " * _BINS
    return "".join(_BARS[round(height / most * (len(_BARS) - 1))] for height in values).ljust(_BINS)


def _summary(state: Column) -> str:
    from assay.collect.profile.interface import Categories, Numeric, Vectors

    if isinstance(state, Numeric):
        if not state.count:
            return "no numbers"
        return f"{state.mean:.4g} ± {state.std:.3g}, {state.minimum:.4g} to {state.maximum:.4g}"
    if isinstance(state, Categories):
        about = "" if state.exact else "about "
        return f"{about}{state.distinct:,} different"
    assert isinstance(state, Vectors)
    return f"{len(state.centroid)} dimensions"


def look_lines(look: Look, *, verbose: bool = False) -> Iterator[tuple[str, str]]:
    """Lines and their colours (or an empty one): the outcome first, then what does not hold or could not be told."""
    from assay.watch import columns

    word = {Outcome.HOLDS: "ok", Outcome.VIOLATED: "violations", Outcome.UNDECIDED: "undecided"}[look.outcome]
    colour = {Outcome.HOLDS: "green", Outcome.VIOLATED: "red", Outcome.UNDECIDED: "yellow"}[look.outcome]
    count = sum(check.outcome is not Outcome.UNDECIDED for check in look.checks)
    yield f"{look.topic.value}: {word} ({look.samples:,} rows, {count} checks)", colour
    shown = [check for check in look.checks if check.outcome is not Outcome.HOLDS or verbose]
    for check in sorted(shown, key=lambda check: (check.outcome is not Outcome.VIOLATED, check.severity != "error")):
        if check.outcome is Outcome.UNDECIDED and not verbose and look.outcome is not Outcome.UNDECIDED:
            continue
        # A column's name with a line break in it could say anything on a line of its own.
        yield f"  {_mark(check)} {columns.shown(_said(check), _LONGEST)}", ""


def _mark(check: Check) -> str:
    if check.outcome is Outcome.HOLDS:
        return "ok"
    return (
        "??" if check.outcome is Outcome.UNDECIDED else {"error": "!!", "warning": "! ", "note": "- "}[check.severity]
    )


def _said(check: Check) -> str:
    from assay.watch.columns import shown

    name = shown(check.feature or "")
    if check.message:
        # Drift's messages begin with the column; others do not.
        named = check.message.startswith(name) or f"{name}:" in check.message
        return f"{check.check}: {check.message}" if named else f"{check.check} {name}: {check.message}"
    return f"{check.check}{' ' * bool(name)}{name}: expected {check.expected}, seen {check.observed}"
