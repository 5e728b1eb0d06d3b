"""Rows of a window from wherever they are: opened, drawn, or collected whole."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assay.api.baselines import Data
from assay.errors import UsageError
from assay.watch.interface import Window

if TYPE_CHECKING:
    import polars

    from assay.collect.profile.sources.interface import Source

ALWAYS = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
"""The window of data that are looked at whole."""

SAMPLE = 10_000
"""Rows of each side that are put beside each other where profiles are not enough."""


def sampled(source: Source) -> polars.DataFrame:
    """A fair sample: the rows with the smallest of random numbers, whatever the frames' sizes."""
    import numpy as np
    import polars

    draw = np.random.default_rng(0)
    kept: polars.DataFrame | None = None
    for frame in source.frames(None):
        drawn = frame.with_columns(polars.Series("", draw.random(frame.height)))
        kept = drawn if kept is None else polars.concat([kept, drawn], how="diagonal_relaxed")
        if kept.height > 2 * SAMPLE:
            kept = kept.bottom_k(SAMPLE, by="")
    if kept is None:
        return polars.DataFrame()
    return kept.bottom_k(min(SAMPLE, kept.height), by="").drop("")


def opened(data: Data, window: Window, time: str | None) -> Source:
    """The source of ``data``, of the window's rows only where it can tell: by ``time``, by folders of hours, or by what
    the query makes of ``:start`` and ``:end``. Raises `AssayError`.
    """
    from assay.collect.profile.sources.interface import Reading
    from assay.collect.profile.sources.opening import open_source
    from assay.collect.profile.sources.within import Within

    reading = data.reading or Reading()
    query = data.query
    if window is not ALWAYS:
        if isinstance(data.place, str) and os.path.isdir(data.place) and (time is None or data.kind == "captured"):
            reading = replace(reading, start=window.start, end=window.end)
        if query is not None:
            # Both stand for texts that are made here, never for somebody's words.
            for name, moment in (("start", window.start), ("end", window.end)):
                query = re.sub(rf"(?<![:\w]):{name}\b", f"'{moment:%Y-%m-%dT%H:%M:%SZ}'", query)
    found = open_source(data.place, kind=data.kind, query=query, reading=reading)
    return Within(found, time, window.start, window.end) if time is not None and window is not ALWAYS else found


def collected(source: Source) -> polars.DataFrame:
    """All rows, in memory."""
    import polars

    frames = list(source.frames(None))
    return polars.concat(frames, how="diagonal_relaxed") if frames else polars.DataFrame()


def without(frame: polars.DataFrame, columns: Sequence[str]) -> polars.DataFrame:
    """The other columns. Raises `UsageError` where there is no such one."""
    if unknown := [name for name in columns if name not in frame.columns]:
        raise UsageError(
            f"the data have no column {unknown[0][:100]!r}", hint=f"they have {', '.join(frame.columns)[:300]}"
        )
    return frame.drop(columns)
