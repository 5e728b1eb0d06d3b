"""A profile of everything that a source gives: the first frame (or the baseline) makes the rules, all cores add up.

At any moment there are a few frames in memory and one state per worker, never the table; the same rows give the same
state whatever the number of workers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from assay.collect.profile import custom
from assay.collect.profile.accumulate import Accumulator
from assay.collect.profile.interface import Custom, Kind, Spec
from assay.collect.profile.sources.interface import Notes, Origin, Source
from assay.collect.profile.spec import specify
from assay.errors import UndecidedError, UsageError

if TYPE_CHECKING:
    import polars

MOST = 8
"""Workers at most: each holds a frame and a state."""

Progress = Callable[[int, int | None], None]
"""Told the rows that are done, and how many there are if that is known."""


@dataclass(frozen=True, slots=True)
class Built:
    """A profile, and what is to be told about how it came to be."""

    state: bytes
    """The serialised profile, for `decode`, `merge` and files."""
    spec: Spec
    """Its rules."""
    notes: Notes
    """What was read, and what was left out."""
    origin: Origin
    """Where the rows came from."""


def profile(
    source: Source,
    spec: Spec | None = None,
    *,
    seed: int = 0,
    kinds: Mapping[str, Kind] | None = None,
    customs: Sequence[Custom] = (),
    columns: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Built:
    """Profile all rows of ``source``.

    ``spec`` is the baseline's, if there is one; ``seed``, ``kinds`` and ``columns`` are for a new one. ``customs`` are
    statistics for a new spec, and the leave to run those functions that ``spec`` names. Of a new spec, columns that
    only say which row it is (`Source.keys`) are left out unless ``columns`` names them; held against a ``spec`` that
    does not know them, `Source.answers` too. Raises `AssayError`:
    `UndecidedError` where there is no row to make a spec from.
    """
    if spec is not None and (seed or kinds or columns is not None):
        raise UsageError("seed, kinds and columns belong to the baseline; this profile has the baseline's")
    wanted = tuple(customs) if spec is None else spec.customs
    custom.check(wanted, customs)
    source.expect(dict(kinds or {}) if spec is None else _kinds(spec))
    pick = Pick(source, spec, columns, wanted)
    frames = source.frames(pick.only)
    first = next(frames, None)
    if first is not None:
        pick.check(first)
    if spec is None:
        if first is None or not first.height:
            raise UndecidedError(
                f"{source.name} has no rows to learn from", hint="a baseline needs data; give more, or another window"
            )
        custom.tried(first, wanted)
        spec = specify(pick.of(first), seed=seed, kinds=kinds, customs=wanted)
        source.expect(_kinds(spec))
    elif first is not None and first.height:
        custom.tried(first, wanted)
    total = source.rows if progress else None
    count = min(workers or len(os.sched_getaffinity(0)), MOST)
    state = _Work(spec, frames, pick, progress, total).run(first, count)
    return Built(state, spec, replace(source.notes), source.origin)


def _kinds(spec: Spec) -> dict[str, Kind]:
    """What its columns are."""
    return {column.name: column.kind for column in spec.columns}


class Pick:
    """The columns of a frame that are profiled, and the statistics beside them."""

    def __init__(
        self, source: Source, spec: Spec | None, columns: Sequence[str] | None, customs: Sequence[Custom]
    ) -> None:
        known = {column.name for column in spec.columns} if spec else set[str]()
        self._source, self._known, self._columns, self._customs = source, known, columns, customs
        self._given = spec is not None

    @property
    def only(self) -> frozenset[str] | None:
        """What needs to be read; None for everything."""
        used = custom.needed(self._customs)
        return None if self._columns is None or used is None else used | frozenset(self._columns)

    def check(self, frame: polars.DataFrame) -> None:
        """Raise `UsageError` if a column that was asked for is not in the first frame."""
        for name in self._columns or ():
            if name not in frame.columns:
                there = ", ".join(list(self._source.schema())[:10])
                raise UsageError(f"{self._source.name} has no column {name!r}", hint=f"it has {there}")

    def of(self, frame: polars.DataFrame) -> polars.DataFrame:
        """What is to be added up of this frame."""
        whole = custom.extended(frame, self._customs)
        if self._columns is None:
            beside = self._source.keys | self._source.answers if self._given else self._source.keys
            return whole.drop(beside - self._known, strict=False) if beside else whole
        names = [*self._columns, *(statistic.name for statistic in self._customs)]
        return whole.select([name for name in names if name in whole.columns])


class _Work:
    """Workers that take frames in turn, each with a state of its own; they are threads, for polars and numpy let go."""

    def __init__(
        self,
        spec: Spec,
        frames: Iterator[polars.DataFrame],
        pick: Pick,
        progress: Progress | None,
        total: int | None,
    ) -> None:
        self._spec = spec
        self._frames = frames
        self._pick = pick
        self._progress = progress
        self._total = total
        self._turn = threading.Lock()
        self._done = 0
        self._failed: BaseException | None = None

    def run(self, first: polars.DataFrame | None, count: int) -> bytes:
        """Add ``first`` and all other frames; the state of everything."""
        accumulator = Accumulator(self._spec)
        if first is not None:
            second = next(self._frames, None)
            self._add(accumulator, first)
            if second is not None:
                others = [Accumulator(self._spec) for _ in range(count - 1)]
                threads = [threading.Thread(target=self._work, args=(other,), daemon=True) for other in others]
                for thread in threads:
                    thread.start()
                self._work(accumulator, second)
                for thread in threads:
                    thread.join()
                if self._failed is not None:
                    raise self._failed
                for other in others:
                    accumulator.absorb(other)
        return accumulator.state()

    def _work(self, accumulator: Accumulator, frame: polars.DataFrame | None = None) -> None:
        """Add frames until there is none, or somebody failed."""
        try:
            while frame is not None or (frame := self._next()) is not None:
                self._add(accumulator, frame)
                frame = None
        except BaseException as error:  # re-raised by `run`, in the thread that the user waits for
            self._failed = self._failed or error

    def _next(self) -> polars.DataFrame | None:
        with self._turn:
            return None if self._failed else next(self._frames, None)

    def _add(self, accumulator: Accumulator, frame: polars.DataFrame) -> None:
        accumulator.add(self._pick.of(frame))
        if self._progress:
            with self._turn:
                self._done += frame.height
                self._progress(self._done, self._total)
