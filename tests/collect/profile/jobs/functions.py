"""A user's own statistic, that meets a value which it does not like far behind the first rows."""

from __future__ import annotations

import polars as pl


def picky(frame: pl.DataFrame) -> pl.Series:
    """Twice the number."""
    if (frame["whole"] == 4_000_000_000_000_000_000).any():
        raise ValueError("such a number was never agreed")
    return frame["whole"] * 2
