"""Drift of one window, of the joint distribution, and drift that is too slow for a single window."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assay.errors import UsageError
from assay.watch.interface import Check, Look, Outcome, Topic, Window

if TYPE_CHECKING:
    import polars

    from assay.collect.profile.interface import Profile
    from assay.watch.constraints.baseline import Baseline
    from assay.watch.constraints.model import Constraints
    from assay.watch.drift.floors import Floors
    from assay.watch.drift.model import ColumnDrift
    from assay.watch.drift.settings import Settings
    from assay.watch.windows import Kept


def settings_of(constraints: Constraints, chosen: Mapping[str, Any]) -> Settings:
    """What the constraints say, and over it what was ``chosen``, with dashes or underscores. Raises `UsageError`."""
    import msgspec

    from assay.watch.constraints.drifting import drift_settings
    from assay.watch.drift.settings import Settings

    spelled = {key.replace("-", "_"): value for key, value in chosen.items()}
    unknown = sorted(set(spelled) - set(Settings.__dataclass_fields__))
    if unknown:
        raise UsageError(
            f"drift has no setting {unknown[0]!r}", hint=f"it has {', '.join(sorted(Settings.__dataclass_fields__))}"
        )
    try:
        base = msgspec.convert(spelled, Settings)
    except msgspec.ValidationError as error:
        raise UsageError(f"the settings of drift: {error}") from None
    return drift_settings(constraints, base)


def floors_of(known: Baseline) -> Floors | None:
    """The calibrated noise floors of a baseline file."""
    from assay.watch.drift import floors

    return floors.decode(json.dumps(known.floors).encode()) if known.floors is not None else None


def look(
    known: Baseline, constraints: Constraints, chosen: Mapping[str, Any], current: Profile, window: Window
) -> tuple[Look, tuple[ColumnDrift, ...]]:
    """The topic drift of one window, and what it rests on."""
    from assay.watch.drift.look import checks, metrics
    from assay.watch.drift.verdict import compare

    settings = settings_of(constraints, chosen)
    drifts = compare(known.profile, current, settings, floors_of(known))
    made = Look(
        Topic.DRIFT,
        window,
        current.rows,
        checks(drifts, settings),
        metrics(drifts, window),
        known.profile.digest or None,
        current.digest or None,
    )
    return made, drifts


def joint(constraints: Constraints, reference: polars.DataFrame, current: polars.DataFrame) -> Check:
    """Whether a classifier tells the two apart. Columns that move by nature are left out: it would name them."""
    from assay.watch.drift.joint import joint_drift

    names = [
        name
        for name in constraints.columns
        if constraints.drift(name).compare and name in reference.columns and name in current.columns
    ]
    return joint_drift(reference.select(names), current.select(names)).check()


def slow(
    found: Look,
    drifts: Sequence[ColumnDrift],
    known: Baseline,
    constraints: Constraints,
    chosen: Mapping[str, Any],
    state: bytes,
    before: Sequence[Kept],
) -> tuple[Look, bytes]:
    """Add what small differences come to over windows, and what is to be remembered with this one.

    ``before`` are earlier windows, oldest first. Where a column's sum stands out, its last windows are merged and held
    against the baseline like one large window, by the same three thresholds.
    """
    from assay.collect.profile.partial import decode, merge
    from assay.watch.drift import change
    from assay.watch.drift.look import checks
    from assay.watch.drift.verdict import compare

    sums = change.decode(before[-1].sums) if before and before[-1].sums else change.Accumulated(known.digest)
    if sums.baseline != known.digest:
        sums = change.Accumulated(known.digest)
    after, named = change.accumulate(sums, drifts)
    more: list[Check] = []
    settings = settings_of(constraints, chosen)
    for one in named:
        states = [kept.state for kept in before[-(one.windows - 1) :]] if one.windows > 1 else []
        merged = decode(merge(*states, state), labels=None)
        wide = [
            drift for drift in compare(known.profile, merged, settings, floors_of(known)) if drift.column == one.column
        ]
        for check in checks(wide, settings):
            if check.outcome is Outcome.VIOLATED:
                text = f"over the last {len(states) + 1} windows together, {check.message}"
                more.append(replace(check, check=f"slow-{check.check}", message=text))
    return replace(found, checks=(*found.checks, *more)), after.encode()
