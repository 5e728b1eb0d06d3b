"""Spark: `DataFrame.mapInArrow`, of Spark itself, Databricks, EMR or Spark Connect.

Spark hands batches of 10,000 rows, so a task adds all of its batches up and yields one row, its state. It must never
use what Spark Connect has not (RDDs, the JVM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from assay.collect.profile.engines.interface import Merge, Part
from assay.errors import MissingExtraError

LAST = 8
"""Tasks before the last one. Each merges its share of the shuffle's partitions (``spark.sql.shuffle.partitions``), so
that no Arrow batch holds more than some dozen states: an Arrow column ends at 2 GiB."""

_SCHEMA = "state binary"


def first(data: Any, rows: int) -> Any:
    """Of the partitions that Spark comes across first."""
    return data.limit(rows).toArrow()


def fold(data: Any, part: Part, merge: Merge) -> bytes | None:
    """Tasks, then tasks that merge: as many as adaptive execution thinks right for so many bytes, then fewer, then one.

    See the Spark reference, `DataFrame.mapInArrow` (3.3), and "Coalescing Post Shuffle Partitions" in its tuning guide:
    partitions by column, unlike those by number, are put together until they are worth a task.
    """
    try:
        import pyarrow  # noqa: F401 - the tasks import it, and so would fail one after the other
    except ImportError:
        raise MissingExtraError("profiling on Spark", "spark") from None
    states = data.mapInArrow(_task(part), _SCHEMA)
    for by in ("state", LAST, 1):
        states = states.repartition(by).mapInArrow(_merging(merge), _SCHEMA)
    rows = states.collect()
    return bytes(rows[0][0]) if rows else None


def _task(part: Part) -> Callable[[Iterator[Any]], Iterator[Any]]:
    def run(batches: Iterator[Any]) -> Iterator[Any]:
        state = part(batches)
        if state is not None:
            yield _row(state)

    return run


def _merging(merge: Merge) -> Callable[[Iterator[Any]], Iterator[Any]]:
    def run(batches: Iterator[Any]) -> Iterator[Any]:
        held: list[bytes] = []
        for batch in batches:
            held = [merge(*held, *(value.as_py() for value in batch.column(0)))]
        for state in held:
            yield _row(state)

    return run


def _row(state: bytes) -> Any:
    import pyarrow

    return pyarrow.RecordBatch.from_arrays([pyarrow.array([state], pyarrow.binary())], ["state"])
