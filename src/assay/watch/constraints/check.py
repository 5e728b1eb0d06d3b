"""Does this window meet the constraints? One `Check` per constraint and column, in the table's order.

All violation types of SageMaker's ``constraint_violations.json`` are here, and what it does not have: range, sign and
distinctness. Distances are measured elsewhere (`watch.drift`) and handed in. What was too little to judge is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from assay.collect.profile.interface import Categories, Kind, Numeric, Profile
from assay.collect.profile.interface import Column as State
from assay.watch import columns
from assay.watch.constraints.model import Column, Constraints, Settings
from assay.watch.constraints.shares import is_short, tail
from assay.watch.interface import Check, Outcome, Severity, Value

if TYPE_CHECKING:
    from collections.abc import Callable

DATA_TYPE, COMPLETENESS, DRIFT = "data_type_check", "completeness_check", "baseline_drift_check"
MISSING_COLUMN, EXTRA_COLUMN, CATEGORIES = "missing_column_check", "extra_column_check", "categorical_values_check"
"""SageMaker's names (developer guide, "Schema for Violations")."""

_DISTINCT_ERROR = 0.18
"""Estimates of distinct values err by 4.4 % (`collect.profile.state.registers`); four times that is allowed for."""
_SHOWN = 5
"""Categories that a message names."""


def check(
    constraints: Constraints,
    current: Profile,
    *,
    baseline: Profile | None = None,
    drift: Iterable[Check] = (),
) -> tuple[Check, ...]:
    """Hold a window against its constraints.

    ``baseline``, of the same spec, says which category an unlabelled hash stands for, and which columns are known
    though nothing is demanded of them. ``drift`` are the
    checks of `watch.drift`; those of columns whose constraints say that nothing is to be compared are left out.
    Decode the window's state with all labels: a category whose text is not there counts as unknown.
    """
    settings = constraints.settings
    if not settings.evaluate:
        return ()
    found = [*_schema(constraints, current, baseline)]
    for name, column in constraints.columns.items():
        state = current.columns.get(name)
        if state is None or name in current.absent:
            continue  # told by the schema
        found += _Judge(name, column, settings, current.rows, found_in=_names(baseline, name)).all(state)
    found += (item for item in drift if item.feature is None or constraints.drift(item.feature).compare)
    return tuple(found)


def _schema(constraints: Constraints, current: Profile, baseline: Profile | None) -> Iterable[Check]:
    settings = constraints.settings
    for name, column in constraints.columns.items():
        if not column.required:
            continue
        there = (name in current.columns and name not in current.absent) or name in current.extra
        # An empty window of a format without schema shows no column at all; and where nothing else is decided, that
        # the columns are there must not make the whole hold.
        if not current.rows or (there and current.rows < settings.least_rows):
            outcome, message = Outcome.UNDECIDED, _few(current.rows, settings)
        elif name in current.extra:
            outcome, message = Outcome.UNDECIDED, "the baseline does not know the column, so that it was not profiled"
        elif there:
            outcome, message = Outcome.HOLDS, ""
        else:
            outcome, message = Outcome.VIOLATED, "the column is in the baseline and not in the window"
        seen = "there" if there else "missing"
        yield Check("column", outcome, name, "there", seen, "error", message, {}, MISSING_COLUMN)
    if settings.extra_columns == "ignore":
        return
    severity: Severity = settings.extra_columns
    # A column of the baseline that nobody constrains is no stranger.
    known = constraints.columns.keys() | (baseline.columns.keys() if baseline is not None else set())
    extra = {name: kind.value for name, kind in current.extra.items()}
    extra |= {name: "" for name in current.columns if name not in current.absent}
    for name, kind in extra.items():
        if name not in known:
            message = f"the column{f' ({kind})' if kind else ''} is in the window and not in the baseline"
            yield Check("extra-column", Outcome.VIOLATED, name, "absent", "there", severity, message, {}, EXTRA_COLUMN)


def _names(baseline: Profile | None, name: str) -> Mapping[int, str]:
    """Texts by hash of a baseline's column."""
    state = baseline.columns.get(name) if baseline is not None else None
    return state.labels if isinstance(state, Categories) else {}


class _Judge:
    """One column's constraints."""

    def __init__(self, name: str, column: Column, settings: Settings, rows: int, found_in: Mapping[int, str]) -> None:
        self._name, self._column, self._settings, self._rows = name, column, settings, rows
        self._known = found_in

    def all(self, state: State) -> Iterable[Check]:
        """Its checks."""
        column, kind = self._column, self._column.type
        if column.completeness is not None:
            yield self._completeness(state, column.completeness)
        if kind is not None and kind is not Kind.UNKNOWN:
            yield self._type(state, kind)
        if isinstance(state, Numeric):
            yield from self._numbers(state)
        elif column.range is not None or column.non_negative:
            yield self._undecided("range", "the column holds no numbers")
        if column.domain is not None:
            yield self._domain(state, column.domain)
        if column.distinctness is not None:
            yield self._distinctness(state, column.distinctness)

    def _completeness(self, state: State, least: float) -> Check:
        missing = columns.missing(state)

        def say(share: float) -> str:
            return f"{share:.4%} of the rows have a value, {least:.4%} must ({missing:,} of {self._rows:,} have none)"

        return self._share("completeness", missing, self._rows, least, say, COMPLETENESS)

    def _type(self, state: State, kind: Kind) -> Check:
        least = self._column.type_share if self._column.type_share is not None else self._settings.type_share
        present = columns.present(state)

        def say(share: float) -> str:
            # SageMaker's own words, which people's scripts look for.
            return (
                f"Data type match requirement is not met. Expected data type: {kind.value.capitalize()}, "
                f"Expected match: {least:.1%}. Observed: Only {share:.4%} of data is {kind.value.capitalize()}."
            )

        return self._share("type", present - columns.of_type(state, kind), present, least, say, DATA_TYPE)

    def _numbers(self, state: Numeric) -> Iterable[Check]:
        column = self._column
        numbers = columns.present(state) - state.odd
        lowest = -math.inf if state.negative_infinity else state.minimum
        highest = math.inf if state.positive_infinity else state.maximum
        if column.non_negative:
            below = _below(state, 0.0)
            yield self._outside("non-negative", below, numbers, "are below 0", 0.0, lowest)
        if column.range is not None:
            low, high = column.range
            below = _below(state, low) if low is not None else 0
            above = _above(state, high) if high is not None else 0
            expected = (_bound(low), _bound(high))
            worst = lowest if below >= above else highest
            yield self._outside(
                "range", below + above, numbers, f"are outside of {' to '.join(expected)}", expected, worst
            )

    def _outside(self, what: str, misses: int, numbers: int, words: str, expected: Value, worst: float) -> Check:
        least = self._column.range_share

        def say(share: float) -> str:
            return f"at least {misses:,} of {numbers:,} numbers {words} (up to {worst:.6g}); {least:.4%} must not be"

        made = self._share(what, misses, numbers, least, say, None, expected=expected)
        if made.outcome is Outcome.UNDECIDED or not numbers:
            return made
        return Check(
            what, made.outcome, self._name, expected, 1 - misses / numbers, "error", made.message, made.measures
        )

    def _domain(self, state: State, domain: list[str]) -> Check:
        least = self._column.domain_share if self._column.domain_share is not None else self._settings.domain_share
        if not isinstance(state, Categories):
            return self._undecided("domain", "the column holds no categories", CATEGORIES)
        allowed = frozenset(domain)
        known, strangers = 0, []
        for value, count in zip(state.hashes.tolist(), state.counts.tolist(), strict=True):
            label = state.labels.get(value, self._known.get(value))
            if label is not None and label in allowed:
                known += count
            elif label is not None:
                strangers.append((count, label))
        strangers.sort(key=lambda item: (-item[0], item[1]))
        names = (
            ", ".join(repr(columns.shown(label)) for _, label in strangers[:_SHOWN])
            or "values that are too rare to be named"
        )

        def say(share: float) -> str:
            strange = f"{state.count - known:,} of {state.count:,} values are not in the domain, such as {names}"
            return f"{strange}; {least:.4%} must be"

        return self._share("domain", state.count - known, state.count, least, say, CATEGORIES)

    def _distinctness(self, state: State, least: float) -> Check:
        if not isinstance(state, Numeric | Categories):
            return self._undecided("distinctness", "vectors are not counted")
        if self._rows < self._settings.least_rows or not state.count:
            return self._undecided("distinctness", _few(self._rows, self._settings))
        exact = isinstance(state, Categories) and state.exact
        share = min(1.0, state.distinct / state.count)
        short = share < least * (1.0 if exact else 1 - _DISTINCT_ERROR)
        message = f"{state.distinct:,} of {state.count:,} values are different, {least:.2%} must be" if short else ""
        outcome = Outcome.VIOLATED if short else Outcome.HOLDS
        return Check("distinctness", outcome, self._name, least, share, "error", message, {"share": share})

    def _share(
        self,
        what: str,
        misses: int,
        total: int,
        least: float,
        say: Callable[[float], str],
        sagemaker: str | None,
        *,
        expected: Value = None,
    ) -> Check:
        """A check that a share of ``total`` must not miss."""
        settings = self._settings
        if self._rows < settings.least_rows or not total:
            return self._undecided(
                what,
                _few(self._rows, self._settings) if total else "there are no values to look at",
                sagemaker,
                expected,
            )
        share = 1 - misses / total
        violated = is_short(misses, total, least, settings.chance)
        measures = {"share": share, "least": least, "misses": float(misses), "total": float(total)}
        if settings.chance:
            measures["p"] = tail(misses, total, 1 - least)
        message = say(share) if violated else ""
        outcome = Outcome.VIOLATED if violated else Outcome.HOLDS
        return Check(what, outcome, self._name, least, share, "error", message, measures, sagemaker)

    def _undecided(self, what: str, why: str, sagemaker: str | None = None, expected: Value = None) -> Check:
        return Check(what, Outcome.UNDECIDED, self._name, expected, message=why, sagemaker=sagemaker)


def _few(rows: int, settings: Settings) -> str:
    return f"the window has {rows:,} rows, {settings.least_rows:,} are needed"


def _below(state: Numeric, bound: float) -> int:
    """Numbers that are surely below ``bound``: bins that end before it, the minimum, and minus infinity."""
    if not state.count or state.minimum >= bound:
        return state.negative_infinity
    return max(1, int(state.counts[state.upper <= bound].sum())) + state.negative_infinity


def _above(state: Numeric, bound: float) -> int:
    """As `_below`, on the other side."""
    if not state.count or state.maximum <= bound:
        return state.positive_infinity
    return max(1, int(state.counts[state.lower > bound].sum())) + state.positive_infinity


def _bound(value: float | None) -> str:
    return "any number" if value is None else f"{value:.6g}"
