"""What changed about the columns themselves: gone, new, of another type, or the same under another name.

A column of the baseline's spec keeps its form in every window; that its values became something else shows in what did
not fit (`odd`), and in strings that started or ceased to be numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

from assay.collect.profile.interface import Categories, Column, Kind, Numeric, Profile
from assay.watch import columns
from assay.watch.integrity import distance
from assay.watch.interface import Check, Outcome

_CHANGED = 0.5
"""Share of a column's values by which its type must have changed to be another."""
_ALIKE = 0.1
"""Distance up to which a new column is taken for one that is gone."""
_APART = 0.05
"""How much farther the second-best match must be: two columns alike tell nothing."""


def check(
    baseline: Profile, current: Profile, *, extra: Profile | None = None, least_rows: int = 30
) -> tuple[Check, ...]:
    """Checks of the schema; SageMaker's types ``missing_column_check`` and so on stand in `watch.constraints`."""
    if not current.rows:
        return (Check("schema", Outcome.UNDECIDED, message="the window has no rows"),)
    gone = [name for name in baseline.columns if name not in baseline.absent and _is_gone(current, name)]
    new = [*current.extra, *(name for name in current.columns if name not in baseline.columns)]
    names = renamed(baseline, gone, extra, least_rows) if extra is not None else {}
    found = [
        Check(
            "renamed-column",
            Outcome.VIOLATED,
            old,
            old,
            name,
            message=f"{columns.shown(name)} holds what {columns.shown(old)} held in the baseline",
        )
        for old, name in names.items()
    ]
    found += [
        Check("removed-column", Outcome.VIOLATED, name, "there", "missing", message="the column is gone")
        for name in gone
        if name not in names
    ]
    found += [
        Check("added-column", Outcome.VIOLATED, name, "absent", "there", message="the column is new")
        for name in dict.fromkeys(new)
        if name not in names.values()
    ]
    found += _retyped(baseline, current, least_rows)
    outcome = Outcome.HOLDS if current.rows >= least_rows else Outcome.UNDECIDED
    return tuple(found) or (Check("schema", outcome, expected=len(baseline.columns), observed=len(current.columns)),)


def _is_gone(current: Profile, name: str) -> bool:
    return name not in current.columns or name in current.absent


def renamed(baseline: Profile, gone: list[str], extra: Profile, least_rows: int = 30) -> dict[str, str]:
    """Old to new names: the columns of ``extra`` whose values are like those of one that is gone, and of no other."""
    pairs: dict[tuple[str, str], float] = {}
    for old in gone:
        for new, state in extra.columns.items():
            before = baseline.columns[old]
            far = distance.between(before, state)
            if far is None or columns.present(state) < least_rows or _is_constant(before):
                continue
            assert isinstance(before, Numeric | Categories) and isinstance(state, Numeric | Categories)
            pairs[old, new] = max(0.0, far - distance.noise(before, state))
    found: dict[str, str] = {}
    for (old, new), far in sorted(pairs.items(), key=lambda item: (item[1], item[0])):
        rivals = [other for key, other in pairs.items() if key != (old, new) and (key[0] == old or key[1] == new)]
        if far <= _ALIKE and all(other >= far + _APART for other in rivals):
            found[old] = new
    return found


def _is_constant(state: Column) -> bool:
    return isinstance(state, Numeric | Categories) and state.distinct <= 1


def _retyped(baseline: Profile, current: Profile, least_rows: int) -> Iterator[Check]:
    kinds = {column.name: column.kind for column in baseline.spec.columns}
    for name, before in baseline.columns.items():
        after = current.columns.get(name)
        if after is None or name in current.absent or columns.present(before) < 1:
            continue
        if columns.present(after) < least_rows:
            continue
        was, now = _looks(before), _looks(after)
        kind = max(was, key=lambda item: was[item])
        other = max(now, key=lambda item: now[item])
        if kind is other or was[kind] < _CHANGED or now[other] - was.get(other, 0.0) < _CHANGED:
            continue
        if kind is Kind.INTEGRAL and other is Kind.FRACTIONAL and kinds.get(name) is Kind.FRACTIONAL:
            continue  # the type allowed for both all along
        yield Check(
            "retyped-column",
            Outcome.VIOLATED,
            name,
            kind.value,
            other.value,
            message=f"{now[other]:.1%} of the values look {other.value}, in the baseline {was[kind]:.1%} {kind.value}",
        )


def _looks(state: Column) -> dict[Kind, float]:
    """Shares of the values present by what they look like, whatever the column's form."""
    total = max(1, columns.present(state))
    if isinstance(state, Numeric):
        whole = columns.of_type(state, Kind.INTEGRAL)
        numbers = columns.of_type(state, Kind.FRACTIONAL)
        return {
            Kind.INTEGRAL: whole / total,
            Kind.FRACTIONAL: (numbers - whole) / total,
            Kind.STRING: state.odd / total,
        }
    if isinstance(state, Categories):
        numeric = state.integral + state.fractional
        return {
            Kind.INTEGRAL: state.integral / total,
            Kind.FRACTIONAL: state.fractional / total,
            Kind.STRING: (state.count - numeric) / total,
        }
    return {Kind.VECTOR: state.count / total, Kind.UNKNOWN: state.odd / total}
