"""Ray Data: one state for each block, merged by tasks as they come, the rest by the driver one after the other.

A block is what Ray reads at a time (128 MiB by default); Ray gives a task no way to say something at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assay.collect.profile.engines.interface import Merge, Part
from assay.errors import MissingExtraError

WIDTH = 32
"""States that one task merges; twice, so that the driver sees one state for some thousand blocks."""


def first(data: Any, rows: int) -> Any:
    """Of the blocks that Ray reads first."""
    batch = next(iter(data.limit(rows).iter_batches(batch_size=rows, batch_format="pyarrow")), None)
    return data.schema().base_schema.empty_table() if batch is None else batch


def fold(data: Any, part: Part, merge: Merge) -> bytes | None:
    """See the Ray reference, `Dataset.map_batches`: ``batch_size=None`` is a whole block, a number may span blocks."""
    try:
        import pyarrow  # noqa: F401 - the tasks import it
    except ImportError:
        raise MissingExtraError("profiling on Ray", "ray") from None
    states = data.map_batches(_task(part), batch_size=None, batch_format="pyarrow")
    for _ in range(2):
        states = states.map_batches(_merging(merge), batch_size=WIDTH, batch_format="pyarrow")
    held: bytes | None = None
    for row in states.iter_rows():
        held = bytes(row["state"]) if held is None else merge(held, bytes(row["state"]))
    return held


def _task(part: Part) -> Callable[[Any], Any]:
    def run(table: Any) -> Any:
        return _table(part([table]))

    return run


def _merging(merge: Merge) -> Callable[[Any], Any]:
    def run(table: Any) -> Any:
        states = table.column("state").to_pylist() if table.num_rows else []
        return _table(merge(*states) if states else None)

    return run


def _table(state: bytes | None) -> Any:
    import pyarrow

    return pyarrow.table({"state": pyarrow.array([] if state is None else [state], pyarrow.binary())})
