"""Constraints that a baseline suggests, with head room: the next clean window must meet them.

No distribution is assumed. A share comes from the lower end of an exact binomial interval about what the baseline
showed, and a range from the least and greatest number seen, with the share that so many rows can vouch for. What the
next window changes by nature is not suggested: clocks, row numbers and keys get no range, no domain and no comparison.
"""

from __future__ import annotations

import math
from typing import Any

from assay.collect.profile.interface import Categories, Kind, Numeric, Profile
from assay.collect.profile.interface import Column as State
from assay.watch import columns
from assay.watch.constraints.model import Column, Constraints, Drift, Settings
from assay.watch.constraints.shares import least_share, lenient

MAX_DOMAIN = 100
"""Categories of a column whose domain is suggested at most: beyond, new ones are to be expected."""
LEAST = 10
"""How often a category must have been seen to be named: rare values may be about one person."""
_COVERED = 0.9
"""Least share of the values that the named categories must make up."""
_KEY, _KEY_LIMIT = 0.97, 0.92
"""From this share of different values on a column is a key, and what a window must reach: estimates err by 4.4 %."""
_KEY_ROWS = 1000
"""Values that must all differ before a column is taken for a key."""
_STEPS = 100
"""A range is rounded outwards to this part of its width."""


def suggest(profile: Profile, settings: Settings | None = None) -> Constraints:
    """Constraints that the profile's own table meets, and clean windows like it all but surely."""
    settings = settings or Settings()
    kinds = {column.name: column.kind for column in profile.spec.columns}
    made = {
        name: _column(state, kinds.get(name) or _kind(state), profile.rows, settings, absent=name in profile.absent)
        for name, state in profile.columns.items()
    }
    return Constraints(settings=settings, columns=made)


def _kind(state: State) -> Kind:
    """Of a custom statistic, which the spec does not list."""
    if isinstance(state, Numeric):
        return Kind.FRACTIONAL
    return Kind.STRING if isinstance(state, Categories) else Kind.VECTOR


def _column(state: State, kind: Kind, rows: int, settings: Settings, *, absent: bool) -> Column:
    present = columns.present(state)
    if absent or not present:
        return Column(type=Kind.UNKNOWN, required=not absent)  # nothing was seen that could be demanded
    doubt = settings.chance or Settings().chance
    typed = columns.of_type(state, kind)
    made: dict[str, Any] = {"completeness": lenient(least_share(rows - columns.missing(state), rows, doubt))}
    if typed < present:  # what always was of its type is meant to be: one stray string is news
        made["type_share"] = lenient(least_share(typed, present, doubt))
    if _is_key(state, kind):
        made["distinctness"] = _KEY_LIMIT
    moving = "distinctness" in made
    if isinstance(state, Numeric) and state.count:
        moving = moving or columns.is_counter(state) or columns.is_clock(state)
        if kind is not Kind.TIME:
            made |= _numbers(state, kind, doubt, ranged=not moving)
    if moving:
        made["drift"] = Drift(compare=False)
    if isinstance(state, Categories) and kind is Kind.STRING:
        made |= _domain(state, doubt)
    return Column(type=kind, **made)


def _numbers(state: Numeric, kind: Kind, doubt: float, *, ranged: bool) -> dict[str, Any]:
    """The least and greatest number, rounded outwards; numbers that never were negative are not allowed to be."""
    positive = state.minimum >= 0
    if not positive and not ranged:
        return {}
    # A row beyond the extremes of n others is as likely as one of two among n: hence the one that is taken off.
    infinite = state.positive_infinity + state.negative_infinity
    share = lenient(least_share(state.count - 1, state.count + infinite, doubt))
    made = {"non_negative": positive, "range_share": share}
    return made | {"range": _range(state, integral=kind is Kind.INTEGRAL)} if ranged else made


def _range(state: Numeric, *, integral: bool) -> tuple[float, float]:
    low, high = state.minimum, state.maximum
    width = high - low
    step = 10.0 ** math.floor(math.log10(width / _STEPS)) if width > 1e-290 and math.isfinite(width) else 0.0
    step = max(step, 1.0) if integral and step else step
    if step and max(abs(low), abs(high)) / step < 1e15:
        digits = max(0, -math.floor(math.log10(step)))
        low = min(low, round(math.floor(low / step) * step, digits))
        high = max(high, round(math.ceil(high / step) * step, digits))
    return (max(low, 0.0) if state.minimum >= 0 else low), high


def _is_key(state: State, kind: Kind) -> bool:
    """Whether all values differ, and are so many that those of a larger window will, too."""
    if state.count < _KEY_ROWS:
        return False
    if isinstance(state, Categories):
        return kind is Kind.STRING and (
            state.distinct == state.count if state.exact else state.distinct >= _KEY * state.count
        )
    if not isinstance(state, Numeric) or kind is not Kind.INTEGRAL or state.distinct < _KEY * state.count:
        return False
    return columns.is_counter(state) or state.maximum - state.minimum >= 1e4 * state.count  # drawn from very many


def _domain(state: Categories, doubt: float) -> dict[str, Any]:
    """The frequent categories, where they are few, and make up nearly all."""
    if not state.exact:
        return {}
    named: list[str] = []
    covered = 0
    for value, count in zip(state.hashes.tolist(), state.counts.tolist(), strict=True):
        label = state.labels.get(value)
        if count >= LEAST and label is not None and label.isprintable():
            named.append(label)
            covered += count
    if not 0 < len(named) <= MAX_DOMAIN or covered < _COVERED * state.count:
        return {}
    return {"domain": sorted(named), "domain_share": lenient(least_share(covered, state.count, doubt))}
