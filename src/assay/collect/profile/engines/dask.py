"""Dask: one task for each partition of a `dask.dataframe`, and a tree of merges, on whatever scheduler is in force.

Partitions are pandas tables, in which NaN is missing; read with ``dtype_backend="pyarrow"`` where that differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.collect.profile.engines.interface import Merge, Part

WIDTH = 16
"""States that one task merges."""


def first(data: Any, rows: int) -> Any:
    """Of the first partitions, more of them at a time as long as they hold too little."""
    from dask.delayed import delayed

    heads: list[Any] = []
    partitions = data.to_delayed()
    done = 0
    while done < len(partitions) and (not done or sum(map(len, heads)) < rows):
        some = partitions[done : done + max(1, done)]
        heads += delayed(list)([delayed(_head)(one, rows) for one in some]).compute()
        done += len(some)
    return [head for head in heads if len(head)] or heads[:1]


def fold(data: Any, part: Part, merge: Merge) -> bytes | None:
    """See the Dask reference, `dask.delayed`; "tree reduction" is what its own aggregations do."""
    from dask.delayed import delayed

    # Sent to the workers once, and not with every task.
    shared = delayed(part, traverse=False)
    layer = [delayed(_part)(shared, one) for one in data.to_delayed()]
    while len(layer) > 1:
        layer = [delayed(_merged)(merge, layer[i : i + WIDTH]) for i in range(0, len(layer), WIDTH)]
    state: bytes | None = layer[0].compute()
    return state


def _head(partition: Any, rows: int) -> Any:
    return partition.head(rows)


def _part(part: Part, partition: Any) -> bytes | None:
    return part([partition])


def _merged(merge: Merge, states: Sequence[bytes | None]) -> bytes | None:
    some = [state for state in states if state is not None]
    return merge(*some) if some else None
