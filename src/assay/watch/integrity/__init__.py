"""Whether data is what it claims to be: schema and unit changes, batches that came before, columns that stand still.

None of these is drift of the world; each is a fault of a pipeline, or somebody's doing, and each is named as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.collect.profile.interface import Profile
    from assay.watch.interface import Check


def check(
    baseline: Profile,
    current: Profile,
    *,
    earlier: Iterable[Profile] = (),
    extra: Profile | None = None,
    least_rows: int = 30,
) -> tuple[Check, ...]:
    """All of the room's checks.

    ``earlier`` are windows that were looked at before, ``extra`` is a profile of the window's undeclared columns,
    which tells a renamed column from a new one. Windows of fewer than ``least_rows`` rows are undecided.
    """
    from assay.watch.integrity import duplicates, frozen, schema, units

    return (
        *schema.check(baseline, current, extra=extra, least_rows=least_rows),
        *units.check(baseline, current, least_rows=least_rows),
        *frozen.check(baseline, current, least_rows=least_rows),
        *duplicates.check(current, earlier, least_rows=least_rows),
    )
