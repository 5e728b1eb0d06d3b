"""A profile of a data set on a cluster: a spec that is chosen once, a state per task, one state in the end.

Rows stay where they are; what travels are states, which hold none. It must never give another result than
`partial` on one machine.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.collect.profile import custom
from assay.collect.profile.accumulate import Accumulator
from assay.collect.profile.engines.carrying import fold, stopped
from assay.collect.profile.engines.registry import engine
from assay.collect.profile.interface import Custom, Kind, Spec
from assay.collect.profile.partial import merge
from assay.collect.profile.sources.frames import Table
from assay.collect.profile.sources.interface import Notes
from assay.collect.profile.sources.shape import even
from assay.collect.profile.spec import SAMPLE, specify
from assay.errors import AssayError, UndecidedError

if TYPE_CHECKING:
    import polars

NAME = "the data set"
"""What messages call it."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a task does: add the rows of its tables up, and give one state."""

    blank: bytes
    """The state without rows: it is how the spec travels, in a form that has a version."""

    def __call__(self, tables: Iterable[Any]) -> bytes | None:
        """The state; None where there was no row."""
        whole = Accumulator.read(self.blank)
        for frame in even(_frames(tables), NAME, Notes()):
            whole.add(custom.extended(frame, whole.spec.customs))
        return whole.state() if whole.rows else None


def specification(
    data: Any, *, seed: int | None = None, kinds: Mapping[str, Kind] | None = None, customs: Sequence[Custom] = ()
) -> Spec:
    """The rules for a data set, from its first rows: to be chosen once, for a baseline and all windows after it.

    ``seed``: 64 bits for the hashes of categories; None draws a secret one. Columns that are not wanted are to be left
    out of ``data``. Raises `AssayError`, `UndecidedError` where there is no row.
    """
    custom.check(customs, customs)
    frame = _first(data)
    if not frame.height:
        raise UndecidedError(f"{NAME} has no rows to learn from", hint="a baseline needs data")
    custom.tried(frame, customs)
    chosen = secrets.randbits(63) if seed is None else seed
    return specify(custom.extended(frame, customs), seed=chosen, kinds=kinds, customs=customs)


def profile(data: Any, spec: Spec, *, customs: Sequence[Custom] = ()) -> bytes:
    """The state of all rows of ``data``, for `decode`, `publish`, `merge` and files.

    ``data`` is a Spark, Dask or Ray Data data set. ``customs`` is the leave to run those functions that ``spec``
    names: they are imported in each task. Raises `AssayError`.
    """
    custom.check(spec.customs, customs)
    if any(statistic.function is not None for statistic in spec.customs):
        custom.tried(_first(data), spec.customs)
    rows = Rows(Accumulator(spec).state())
    state = fold(data, rows, merge)
    if state is not None:
        return state
    whole = Accumulator(spec)  # no rows: what is left to say is which columns there are
    whole.add(custom.extended(_first(data), spec.customs))
    return whole.state()


def _first(data: Any) -> polars.DataFrame:
    """The first rows, as tasks will see them."""
    chosen = engine(data)
    try:
        table = chosen.first(data, SAMPLE)
    except AssayError:
        raise
    except Exception as error:  # engines raise whatever they like
        raise stopped(error) from error
    return next(iter(Table(table, NAME).frames()))


def _frames(tables: Iterable[Any]) -> Iterator[polars.DataFrame]:
    for table in tables:
        yield from Table(table, NAME).frames()
