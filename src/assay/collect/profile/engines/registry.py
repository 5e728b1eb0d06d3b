"""Which engine a data set belongs to: by the library that its class comes from. No engine is imported to find that out.

A table in memory belongs to none: one machine profiles it faster than a cluster is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assay.collect.profile.engines.interface import Engine
from assay.errors import UsageError


def _spark() -> Engine:
    from assay.collect.profile.engines import spark

    return spark


def _dask() -> Engine:
    from assay.collect.profile.engines import dask

    return dask


def _ray() -> Engine:
    from assay.collect.profile.engines import ray

    return ray


ENGINES: dict[str, tuple[str, str, Callable[[], Engine]]] = {
    "pyspark": ("mapInArrow", "a pyspark.sql.DataFrame", _spark),
    "dask": ("to_delayed", "a dask.dataframe.DataFrame", _dask),
    "ray": ("map_batches", "a ray.data.Dataset", _ray),
}
"""By library: the method that its data sets have, what they are called, and the engine."""


def engine(data: Any) -> Engine:
    """The engine of a data set. Raises `UsageError` for what belongs to none."""
    for kind in type(data).__mro__:
        found = ENGINES.get(kind.__module__.partition(".")[0])
        if found is not None and hasattr(data, found[0]) and hasattr(data, "columns"):
            return found[2]()
    raise UsageError(
        f"a {type(data).__name__} is no data set of a cluster",
        hint=f"give {', '.join(called for _, called, _ in ENGINES.values())}; tables in memory and files go to"
        " assay.api.baselines.baseline, or 'assay baseline'",
    )
