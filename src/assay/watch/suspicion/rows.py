"""Two frames as the one table that the scan for poisoning reads: the reference's rows first, then the new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.collect.scan.poisoning.interface import Row
from assay.collect.scan.poisoning.table import Table, plain
from assay.errors import UndecidedError
from assay.watch.suspicion.interface import Settings

if TYPE_CHECKING:
    import polars

    from assay.collect.scan.poisoning.columns import Numbers

REFERENCE, NEW = "reference", "new"
"""What the rows' files are called."""


def joined(reference: polars.DataFrame, new: polars.DataFrame, settings: Settings) -> tuple[Table, int, Numbers]:
    """The table, how many of its rows are the reference's, and the position of each other row in ``new``.

    Raises `UndecidedError` where the two have no column in common.
    """
    shared = [name for name in reference.columns if name in new.columns]
    # Who contributed a row is often known of new data only.
    alone = [name for name in new.columns if name == settings.source and name not in shared]
    if not shared:
        raise UndecidedError(
            "the new data have no column of the reference",
            hint=f"the reference has: {', '.join(reference.columns[:20])}",
        )
    before, after = _drawn(reference, settings), _drawn(new, settings)
    table = Table()
    listed = [
        (order, Row(place, int(number)), {name: plain(value) for name, value in cells.items()})
        for order, (place, number, cells) in enumerate(
            [
                *(
                    (REFERENCE, i, row)
                    for i, row in zip(before, reference[before].select(shared).to_dicts(), strict=True)
                ),
                *((NEW, i, row) for i, row in zip(after, new[after].select(shared + alone).to_dicts(), strict=True)),
            ]
        )
    ]
    table.keep(listed)
    table.total = reference.height + new.height
    return table, len(before), after


def _drawn(frame: polars.DataFrame, settings: Settings) -> Numbers:
    if frame.height <= settings.sample:
        return np.arange(frame.height)
    draw = np.random.default_rng([settings.seed, frame.height])
    return np.sort(draw.choice(frame.height, settings.sample, replace=False))
