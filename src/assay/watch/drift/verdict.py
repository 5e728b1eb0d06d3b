"""Which columns drifted. A violation needs all three: above the noise floor, above a practical effect, and significant
after correction over all columns; a p-value or a distance alone never suffices, and too little data decides nothing.

Reads two profiles of one spec, never rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from assay.errors import UsageError
from assay.watch.drift.measure import Measure
from assay.watch.drift.model import ColumnDrift, Test
from assay.watch.drift.settings import Settings
from assay.watch.estimates import benjamini_hochberg
from assay.watch.interface import Outcome

if TYPE_CHECKING:
    from assay.collect.profile.interface import Kind, Profile
    from assay.watch.drift.floors import Floors


def compare(
    baseline: Profile, current: Profile, settings: Settings | None = None, floors: Floors | None = None
) -> tuple[ColumnDrift, ...]:
    """The drift of every column of the baseline that is not ignored, in its order.

    Raises `UsageError` if the profiles do not have one spec, or the settings name a distance or column that is not
    there.
    """
    settings = settings or Settings()
    if baseline.spec != current.spec:
        raise UsageError(
            "the window was not profiled with the baseline's spec, so that their bins cannot be compared",
            hint="profile it with the spec that the baseline holds",
        )
    _require_columns(baseline, settings)
    kinds = {column.name: column.kind for column in baseline.spec.columns}
    rows = baseline.rows, current.rows
    found: list[tuple[str, tuple[Test, ...]]] = []
    for name, state in baseline.columns.items():
        if name not in settings.ignore:
            found.append((name, Measure(name, settings, floors).tests(state, current.columns[name], rows)))
    return _decided(found, kinds, settings)


def _decided(
    found: list[tuple[str, tuple[Test, ...]]], kinds: dict[str, Kind], settings: Settings
) -> tuple[ColumnDrift, ...]:
    """Corrects the p-values over all tests, and decides each."""
    counted = [test.p for _, tests in found for test in tests if test.distances and test.varies]
    adjusted = iter(benjamini_hochberg(counted))
    columns = []
    for name, tests in found:
        judged = tuple(
            _judge(test, next(adjusted) if test.varies else 1.0, settings) if test.distances else test for test in tests
        )
        columns.append(ColumnDrift(name, kinds.get(name) or _kind(), judged, name in settings.predictions))
    return tuple(columns)


def _judge(test: Test, q: float, settings: Settings) -> Test:
    """One test with its verdict."""
    beyond = any(distance.decides and distance.beyond for distance in test.distances)
    violated = beyond and q <= settings.false_discovery
    return replace(test, q=q, outcome=Outcome.VIOLATED if violated else Outcome.HOLDS)


def _kind() -> Kind:
    """What a statistic of the user's own counts as: it has no place in the spec's columns."""
    from assay.collect.profile.interface import Kind

    return Kind.UNKNOWN


def _require_columns(baseline: Profile, settings: Settings) -> None:
    named = settings.columns.keys() | settings.ignore | settings.predictions
    wrong = sorted(named - baseline.columns.keys())
    if wrong:
        raise UsageError(
            f"the baseline has no column {wrong[0]}, which the drift settings name",
            hint=f"its columns are {', '.join(list(baseline.columns)[:20])}",
        )
