"""Contiguous parts of a table, in their order and of one size: what they differ by is the noise of real windows.

Rows of one hour are more alike than rows drawn at random. A baseline that knows its parts knows by how much, and does
not take an ordinary hour for drift.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from assay.collect.profile.accumulate import Accumulator
from assay.collect.profile.build import Pick
from assay.collect.profile.interface import Custom, Spec
from assay.collect.profile.partial import merge
from assay.collect.profile.sources.interface import Source

MOST = 48
"""Parts at most; at least half as many where there are so many rows."""

LEAST = 100
"""Rows of the smallest part."""

ROWS = 5_000_000
"""Rows from the beginning that are looked at: enough to tell how rows hang together."""


def parts(
    source: Source, spec: Spec, *, customs: Sequence[Custom] = (), columns: Sequence[str] | None = None
) -> tuple[bytes, ...]:
    """States of 24 to 48 parts of like size, in order; fewer where there are fewer than 2,400 rows, and a last part
    that is smaller is left out. ``customs`` and ``columns`` as for `build.profile`. Raises `AssayError`.
    """
    pick = Pick(source, None, columns, customs if customs else spec.customs)
    size, states = LEAST, list[bytes]()
    held, rows = Accumulator(spec), 0
    for piece in _pieces(source, pick):
        start = 0
        while start < piece.height:
            taken = piece.slice(start, size - rows)
            held.add(taken)
            rows, start = rows + taken.height, start + taken.height
            if rows == size:
                states.append(held.state())
                held, rows = Accumulator(spec), 0
                if len(states) == MOST:
                    states = [merge(*states[at : at + 2]) for at in range(0, MOST, 2)]
                    size *= 2
    return tuple(states)


def _pieces(source: Source, pick: Pick) -> Iterator[pl.DataFrame]:
    seen = 0
    for frame in source.frames(pick.only):
        if seen >= ROWS:
            return
        yield pick.of(frame.head(ROWS - seen))
        seen += frame.height
