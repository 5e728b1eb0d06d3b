"""Data quality of one window as a `Look`: the checks of the constraints and SageMaker's metrics of each column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from assay.collect.profile.interface import Numeric, Profile, finite
from assay.watch import columns
from assay.watch.constraints.check import check
from assay.watch.interface import Check, Look, Metric, Statistics, Topic, Window
from assay.watch.metrics.checking import fitting

if TYPE_CHECKING:
    from datetime import datetime

    from assay.watch.constraints.model import Constraints

_SAID = frozenset({"schema", "added-column", "removed-column"})


def look(
    constraints: Constraints,
    current: Profile,
    window: Window,
    *,
    baseline: Profile | None = None,
    drift: Iterable[Check] = (),
    more: Iterable[Check] = (),
    dimensions: Mapping[str, str] | None = None,
) -> Look:
    """Check a window and measure it.

    ``more`` are checks of `watch.integrity` and others. Those of columns that came or went are left out: constraints
    make them under SageMaker's names, and say which columns may be missing or new.
    """
    others = (item for item in more if item.check not in _SAID)
    checks = (*check(constraints, current, baseline=baseline, drift=drift), *others)
    numbers = metrics(current, window.end, dimensions or {}) if constraints.settings.emit_metrics else ()
    digest = baseline.digest if baseline is not None else ""
    return Look(Topic.DATA_QUALITY, window, current.rows, checks, numbers, digest or None, current.digest or None)


def metrics(profile: Profile, time: datetime, dimensions: Mapping[str, str]) -> tuple[Metric, ...]:
    """``feature_non_null_NAME`` and, of numbers, ``feature_data_NAME``, as Model Monitor names them."""
    made: list[Metric] = []
    for name, state in profile.columns.items():
        if name in profile.absent or not profile.rows:
            continue
        share = 1 - columns.missing(state) / profile.rows
        rows = float(profile.rows)
        made.append(
            Metric(
                f"feature_non_null_{name}", time, None, Statistics(rows, share * rows, share, share), "None", dimensions
            )
        )
        total = finite(state.total) if isinstance(state, Numeric) and state.count else None
        if isinstance(state, Numeric) and total is not None:
            summary = Statistics(float(state.count), total, state.minimum, state.maximum)
            made.append(Metric(f"feature_data_{name}", time, None, summary, "None", dimensions))
    return tuple(map(fitting, made))
