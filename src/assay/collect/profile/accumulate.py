"""Adds the rows of tables up, part by part, in one process: what is kept is one state per column.

Tables of any number and size may be added; memory is bounded by the columns and by the largest part. It must never keep
rows, and never fail because later rows are unlike the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assay.collect.profile import values
from assay.collect.profile.interface import ColumnSpec, Kind, Profile, Spec
from assay.collect.profile.serial import Reader, Writer, refused
from assay.collect.profile.spec import read_spec, write_spec
from assay.collect.profile.state.categories import CategoryState
from assay.collect.profile.state.numeric import NumericState
from assay.collect.profile.state.vectors import VectorState
from assay.errors import DocumentError, UsageError

if TYPE_CHECKING:
    import polars

State = NumericState | CategoryState | VectorState

MAGIC = b"assay-profile\x01"
"""What a state begins with; the last byte is the version of all that follows."""
EXTRA = 1024
"""Columns beyond the spec's that are told by name: the first so many in the order of their names."""

_KINDS = tuple(Kind)


class Accumulator:
    """Adds rows up. Not to be used from two threads at once; each thread has one of its own, absorbed in the end."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.rows = 0
        self._states: dict[str, State] = {column.name: _state(column, spec) for column in spec.columns}
        self._seen: set[str] = set()
        self._extra: dict[str, Kind] = {}

    def add(self, frame: polars.DataFrame) -> None:
        """Add the rows of a table. Columns may be missing, more than the spec's, or of another type."""
        self.rows += frame.height
        for column in self.spec.columns:
            state = self._states[column.name]
            if column.name in frame.columns:
                self._seen.add(column.name)
                _add(state, frame.get_column(column.name), column)
            else:
                state.missing += frame.height
        extra = {name: values.kind(frame.get_column(name)) for name in frame.columns if name not in self._states}
        self._add_extra(extra)

    def absorb(self, other: Accumulator) -> None:
        """Add another's rows. Raises `UsageError` if it has another spec."""
        if other.spec != self.spec:
            raise UsageError(
                "profiles of different specs cannot be merged", hint="make them with one spec, the baseline's"
            )
        self.rows += other.rows
        self._seen |= other._seen
        self._add_extra(other._extra)
        for name, state in self._states.items():
            # Both have the same class, since both specs are the same.
            state.absorb(other._states[name])  # type: ignore[arg-type]

    def state(self) -> bytes:
        """The canonical bytes of what was added: equal for equal rows."""
        writer = Writer()
        write_spec(writer, self.spec)
        writer.natural(self.rows)
        writer.natural(len(self._extra))
        for name in sorted(self._extra):
            writer.text(name)
            writer.natural(_KINDS.index(self._extra[name]))
        for name, state in self._states.items():
            writer.natural(1 if name in self._seen else 0)
            state.write(writer)
        return MAGIC + writer.data

    def publish(self, least: int) -> None:
        """Forget the texts of values that were seen less often than ``least`` times."""
        for state in self._states.values():
            if isinstance(state, CategoryState):
                state.publish(least)

    def decode(self, labels: int | None, digest: str) -> Profile:
        """What the state says."""
        columns = {
            name: state.decode(labels) if isinstance(state, CategoryState) else state.decode()
            for name, state in self._states.items()
        }
        absent = frozenset(self._states) - self._seen
        return Profile(self.spec, self.rows, columns, dict(sorted(self._extra.items())), absent, digest)

    @classmethod
    def read(cls, data: bytes) -> Accumulator:
        """What `state` gave. Raises `DocumentError` for everything else."""
        if data[: len(MAGIC)] != MAGIC:
            raise DocumentError("this is not a profile that assay can read", hint="it may be of another version")
        reader = Reader(data[len(MAGIC) :])
        made = cls(read_spec(reader))
        made.rows = reader.natural()
        names = []
        for _ in range(reader.natural(EXTRA)):
            names.append(reader.text())
            made._extra[names[-1]] = _KINDS[reader.natural(len(_KINDS) - 1)]
        if names != sorted(set(names)) or made._extra.keys() & made._states.keys():
            raise refused("its further columns are not in order")
        for column in made.spec.columns:
            made._read_column(reader, column)
        reader.end()
        return made

    def _read_column(self, reader: Reader, column: ColumnSpec) -> None:
        if reader.natural(1):
            self._seen.add(column.name)
        seed = self.spec.seed
        state: State
        if column.kind.is_number:
            state = NumericState.read(reader, column, seed)
        elif column.kind is Kind.VECTOR:
            state = VectorState.read(reader, column, seed)
        else:
            state = CategoryState.read(reader, column, seed, self.spec.exact)
        if state.rows() != self.rows or (column.name not in self._seen and state.missing != self.rows):
            raise refused(f"the values of {column.name!r} are more or fewer than the rows")
        self._states[column.name] = state

    def _add_extra(self, extra: dict[str, Kind]) -> None:
        for name, kind in extra.items():
            self._extra[name] = _joined(self._extra.get(name, Kind.UNKNOWN), kind)
        if len(self._extra) > EXTRA:
            self._extra = {name: self._extra[name] for name in sorted(self._extra)[:EXTRA]}


def frame_of(table: Any) -> polars.DataFrame:
    """Any table that speaks Arrow's PyCapsule interface, as a polars frame without a copy where there can be none."""
    import polars

    if isinstance(table, polars.DataFrame):
        return table
    try:
        return polars.DataFrame(table)
    except (TypeError, ValueError, polars.exceptions.PolarsError) as error:
        raise UsageError(
            f"{type(table).__name__} is no table that can be profiled: {error}",
            hint="give a polars, pandas or pyarrow table, or what else exports Arrow streams",
        ) from None


def _state(column: ColumnSpec, spec: Spec) -> State:
    if column.kind.is_number:
        return NumericState(column, spec.seed)
    if column.kind is Kind.VECTOR:
        return VectorState(column, spec.seed)
    return CategoryState(column, spec.seed, spec.exact)


def _add(state: State, series: polars.Series, column: ColumnSpec) -> None:
    missing = series.null_count()
    state.missing += missing
    if missing == len(series):
        return
    known = series.drop_nulls() if missing else series
    if isinstance(state, NumericState):
        if values.is_plain(known, column.kind):
            least, most = known.min(), known.max()
            if isinstance(least, int) and isinstance(most, int) and state.add_whole(known.to_numpy(), least, most):
                return
        doubles, whole, rounded = values.numbers(known, column.kind)
        state.odd += len(known) - len(doubles)
        state.rounded += rounded
        state.add(doubles, whole_numbers=whole)
    elif isinstance(state, VectorState):
        vectors, odd = values.vectors(known, column.dimensions)
        state.odd += odd
        state.add(vectors)
    else:
        strings, fits = values.texts(known)
        fits = fits or (column.kind is Kind.BOOLEAN and values.kind(known) is Kind.BOOLEAN)
        state.add(strings, odd=not fits)


def _joined(one: Kind, other: Kind) -> Kind:
    """What a column looks like of which two parts look like this; the order makes no difference."""
    if one is other or Kind.UNKNOWN in (one, other):
        return other if one is Kind.UNKNOWN else one
    numbers = {Kind.INTEGRAL, Kind.FRACTIONAL}
    return Kind.FRACTIONAL if {one, other} <= numbers else Kind.STRING
