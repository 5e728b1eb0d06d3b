"""What the tests of sources share."""

from __future__ import annotations

import polars as pl

from assay.collect.profile.sources.interface import BYTES, ROWS, Source


def read(source: Source) -> pl.DataFrame:
    """All rows, after a look at the bounds that every source keeps."""
    frames = list(source.frames())
    assert all(frame.height <= ROWS for frame in frames)
    assert all(frame.estimated_size() <= 2 * BYTES or frame.height == 1 for frame in frames)
    assert source.notes.rows == sum(frame.height for frame in frames)
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()


def mixed(source: Source, name: str) -> list[object]:
    """A column's values that are there, of whatever type, in no order."""
    return [value for frame in source.frames() if name in frame.columns for value in frame[name].drop_nulls()]
