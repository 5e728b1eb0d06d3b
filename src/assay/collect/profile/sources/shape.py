"""Frames as every source gives them out: of bounded size, without nesting, under names that occur once.

Nothing is dropped here: a nested column becomes columns under dotted names, and lists that are no vectors become text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import polars as pl

from assay.collect.profile.sources.interface import BYTES, ROWS, Notes
from assay.errors import DocumentError

DEPTH = 32
"""Levels of nesting that are taken apart."""

_SOME = 128  # strings that are looked at in one place


def repeated(names: Iterable[str], where: str) -> None:
    """Raise `DocumentError` if a name occurs twice: two readers would take different columns for it."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DocumentError(
                f"{where} has two columns named {name!r}", hint="rename one; readers disagree on which one is meant"
            )
        seen.add(name)


def flat(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """The same rows with structs as ``outer.inner`` columns and types that only polars has as plain ones."""
    for _ in range(DEPTH):
        nested = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)]
        if not nested:
            break
        columns: list[pl.Series] = []
        for series in frame:
            if isinstance(series.dtype, pl.Struct):
                inner = series.struct.unnest()
                columns += [part.alias(f"{series.name}.{part.name}") for part in inner]
            else:
                columns.append(series)
        repeated((series.name for series in columns), where)
        frame = pl.DataFrame(columns) if columns else frame.select([])
    plain = [made for name, dtype in frame.schema.items() if (made := _plain(name, dtype)) is not None]
    return frame.with_columns(plain) if plain else frame


def _plain(name: str, dtype: pl.DataType) -> pl.Expr | None:
    """How a column of this type is told in plain types; None where it is plain."""
    column = pl.col(name)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if isinstance(dtype, pl.Binary):
        return column.bin.encode("hex")
    if isinstance(dtype, pl.Int128 | pl.UInt128 | pl.Float16):
        return column.cast(pl.Float64)
    if isinstance(dtype, pl.Array):
        dtype, column = pl.List(dtype.inner), column.arr.to_list()
        if _numbers(dtype):
            return column
    if isinstance(dtype, pl.List) and not _numbers(dtype):
        text = pl.struct(column.alias("v")).struct.json_encode().str.slice(5).str.strip_suffix("}")
        return pl.when(pl.col(name).is_not_null()).then(text).alias(name)
    if isinstance(dtype, pl.Struct):
        return pl.when(column.is_not_null()).then(column.struct.json_encode()).alias(name)
    return None


def _numbers(dtype: pl.List) -> bool:
    """True for lists that are vectors; a list of nothing but missing values may be one."""
    inner = dtype.inner
    return isinstance(inner, pl.Null) or bool(inner is not None and inner.is_numeric())


def even(
    frames: Iterable[pl.DataFrame], where: str, notes: Notes, *, steady: Callable[[], None] | None = None
) -> Iterator[pl.DataFrame]:
    """Frames of at most `ROWS` rows and about `BYTES`, small ones put together; counted in ``notes``.

    An empty frame is given out only if there is no other. ``steady`` is asked for each and before the last one is
    given out: it raises where what was read is not one state of the file.
    """
    waiting: list[pl.DataFrame] = []
    rows = size = 0
    given = 0
    for raw in _read(frames, steady):
        frame = flat(raw, where)
        if not frame.height:
            if not waiting:
                waiting = [frame]
            continue
        weight = _weight(frame)
        fits = rows + frame.height <= ROWS and size + weight <= BYTES
        if waiting and not (fits and waiting[-1].schema == frame.schema):
            if rows:
                given += rows
                notes.rows += rows
                yield _joined(waiting)
            waiting, rows, size = [], 0, 0
        if frame.height <= ROWS and weight <= BYTES:
            waiting.append(frame)
            rows, size = rows + frame.height, size + weight
            continue
        step = max(1, min(ROWS, frame.height * BYTES // max(weight, 1)))
        for start in range(0, frame.height, step):
            part = frame.slice(start, step)
            given += part.height
            notes.rows += part.height
            yield part
    if steady is not None:
        steady()
    if rows or (waiting and not given):
        notes.rows += rows
        yield _joined(waiting)


def _weight(frame: pl.DataFrame) -> int:
    """About the bytes of a frame. Strings are looked at here and there: adding up all their lengths takes longer."""
    height, total = frame.height, 0
    for series in frame:
        if height > 16 * _SOME and series.dtype == pl.String:
            places = range(0, height, height // 8)
            seen = [series.slice(place, _SOME) for place in places]
            total += sum(int(part.estimated_size()) for part in seen) * height // sum(map(len, seen))
        else:
            total += int(series.estimated_size())
    return total


def _read(frames: Iterable[pl.DataFrame], steady: Callable[[], None] | None) -> Iterator[pl.DataFrame]:
    """The same; of a file that became unreadable because it changed, that is what is said.

    Asked at every frame: a file that grows as fast as it is read has no end.
    """
    try:
        for frame in frames:
            if steady is not None:
                steady()
            yield frame
    except DocumentError:
        if steady is not None:
            steady()
        raise


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """One frame of those that wait; an empty one among them adds nothing."""
    full = [frame for frame in frames if frame.height] or frames[:1]
    return full[0] if len(full) == 1 else pl.concat(full, how="vertical", rechunk=True)
