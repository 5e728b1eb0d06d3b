"""Predictions meet the ground truth that arrives later, by id.

Nothing is matched by guess: an id that stands for two different predictions, or has two different labels, is left out
and counted (a caller chooses its inference ids, so a second use may be an attack), as are labels after the cut-off.
Tables of any length are taken in parts by a hash of the id, so that memory is bounded by the part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, TypeAlias

import polars as pl

from assay.errors import UsageError

Table: TypeAlias = pl.DataFrame | pl.LazyFrame

ROWS_PER_PART = 5_000_000
_ID, _TIME, _LABEL, _LABELLED_AT, _ROW = "\0id", "\0time", "\0label", "\0labelled_at", "\0row"
"""Columns for the work, under names that no table has."""


class Conflicts(StrEnum):
    """What becomes of an id with different labels."""

    LEAVE_OUT = "leave-out"
    FIRST = "first"
    """The earliest label by time, or in the table's order."""
    LAST = "last"
    """The latest: where labels are corrected, and whoever may write labels is trusted to."""


@dataclass(frozen=True, slots=True)
class Joining:
    """How two tables are joined."""

    prediction_ids: tuple[str, ...] = ("inferenceId", "eventId")
    """Columns of ids: the first that a row has is its id. Those that the table lacks are skipped."""
    label_ids: tuple[str, ...] = ("inferenceId", "eventId", "id")
    label: str = "label"
    """Column of the ground truth in the labels' table, and in the result."""
    prediction_time: str | None = None
    """Column of instants; a local time or text without zone counts as UTC."""
    label_time: str | None = None
    cutoff: datetime | None = None
    """Labels of later are not used, so that a run gives the same again. Needs ``label_time``."""
    longest: timedelta | None = None
    """Labels that came longer after their prediction are late and not used. Needs both times."""
    conflicts: Conflicts = Conflicts.LEAVE_OUT
    keep: tuple[str, ...] = ()
    """Columns of the predictions in the result; all if empty."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was there and what became of it."""

    predictions: int = 0
    """Rows that came in."""
    predictions_without_id: int = 0
    repeated_predictions: int = 0
    """Equal rows with an id that was there already; left out."""
    conflicting_predictions: int = 0
    """Rows with an id that stands for different predictions; left out."""
    labels: int = 0
    """Rows that came in."""
    labels_without_id: int = 0
    """Or without a value."""
    repeated_labels: int = 0
    """Equal labels for the same id."""
    conflicting_labels: int = 0
    """Ids with different labels."""
    after_cutoff: int = 0
    untimed: int = 0
    """Labels without a time where one is needed; left out."""
    late: int = 0
    """Labels of predictions that are here, too late after them."""
    early: int = 0
    """Labels that are older than their prediction. They are used, and may mean that the model has seen the answer."""
    orphans: int = 0
    """Labels whose prediction is not here."""
    labelled: int = 0
    """Predictions of the result that have ground truth."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))


@dataclass(frozen=True, slots=True)
class Joined:
    """The predictions, each once, with their ground truth or null."""

    frame: pl.DataFrame
    counts: Counts

    @property
    def share(self) -> float:
        """Of the predictions: labelled."""
        return self.counts.labelled / self.frame.height if self.frame.height else 0.0


def join(predictions: Table, labels: Table, how: Joining | None = None, *, parts: int | None = None) -> Joined:
    """Join ``labels`` to ``predictions``. ``parts`` None: as many as the tables' lengths ask for.

    Raises `UsageError` for a missing column, or a time that is needed and not named.
    """
    how = how or Joining()
    left, right = predictions.lazy(), labels.lazy()
    left = _prepared(left, how.prediction_ids, how.prediction_time, "predictions")
    right = _prepared(right, how.label_ids, how.label_time, "labels")
    if how.label not in right.collect_schema().names():
        raise UsageError(f"there is no column {how.label} in the labels")
    if how.cutoff is not None and how.label_time is None:
        raise UsageError("a cut-off needs the column of the labels' times", hint="name it: label_time")
    if how.longest is not None and (how.label_time is None or how.prediction_time is None):
        raise UsageError("a longest delay needs the columns of both times", hint="name prediction_time and label_time")
    right = right.select(_ID, pl.col(how.label).alias(_LABEL), pl.col(_TIME).alias(_LABELLED_AT))
    if parts is None:
        rows = max(int(table.select(pl.len()).collect(engine="streaming").item()) for table in (left, right))
        parts = max(1, -(-rows // ROWS_PER_PART))
    frames, counts = [], Counts()
    for mine, theirs in _parts(left, right, parts):
        frame, found = _join(mine, theirs, how)
        frames.append(frame)
        counts += found
    return Joined(pl.concat(frames), counts)


def _parts(left: pl.LazyFrame, right: pl.LazyFrame, parts: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    for part in range(parts):
        # An id that is missing hashes as well, so each row is in one part.
        here = pl.col(_ID).hash(seed=0) % parts == part if parts > 1 else pl.lit(True)
        yield left.filter(here).collect(engine="streaming"), right.filter(here).collect(engine="streaming")


def _prepared(table: pl.LazyFrame, ids: Sequence[str], time: str | None, what: str) -> pl.LazyFrame:
    schema = table.collect_schema()
    have = [name for name in ids if name in schema]
    if not have:
        raise UsageError(f"the {what} have no column of ids", hint=f"one of {', '.join(ids)} is looked for; name yours")
    texts = [pl.col(name).cast(pl.String) for name in have]
    identity = pl.coalesce(pl.when(text.str.len_bytes() > 0).then(text) for text in texts)
    if time is None:
        return table.with_columns(identity.alias(_ID), pl.lit(None, pl.Datetime("us", "UTC")).alias(_TIME))
    if time not in schema:
        raise UsageError(f"there is no column {time} in the {what}")
    return table.with_columns(identity.alias(_ID), _instant(pl.col(time), schema[time], time).alias(_TIME))


def _instant(column: pl.Expr, kind: pl.DataType, name: str) -> pl.Expr:
    """In microseconds UTC; text that is no time becomes null."""
    if kind == pl.String:
        forms = ("%+", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f")
        return pl.coalesce(
            column.str.to_datetime(form, time_zone="UTC", time_unit="us", strict=False) for form in forms
        )
    if not isinstance(kind, pl.Datetime):
        raise UsageError(f"the column {name} holds {kind}, where times are needed")
    zoned = column.dt.convert_time_zone("UTC") if kind.time_zone else column.dt.replace_time_zone("UTC")
    return zoned.dt.cast_time_unit("us")


def _join(predictions: pl.DataFrame, labels: pl.DataFrame, how: Joining) -> tuple[pl.DataFrame, Counts]:
    mine, found = _single_predictions(predictions)
    theirs, labelled = _single_labels(labels, how)
    known = mine.select(_ID, _TIME).filter(pl.col(_ID).is_not_null())
    matched = theirs.join(known, on=_ID, how="inner")
    late = matched.clear()
    if how.longest is not None:
        delay = pl.col(_LABELLED_AT) - pl.col(_TIME)
        late = matched.filter(~(delay <= how.longest).fill_null(False))  # an unknown delay is no short one
        matched = matched.filter((delay <= how.longest).fill_null(False))
    early = matched.filter(pl.col(_LABELLED_AT) < pl.col(_TIME)).height
    columns = how.keep or [name for name in predictions.columns if name not in (_ID, _TIME, how.label)]
    result = mine.join(matched.select(_ID, _LABEL), on=_ID, how="left", maintain_order="left")
    result = result.select(*columns, pl.col(_LABEL).alias(how.label))
    ends = Counts(
        late=late.height,
        early=early,
        orphans=theirs.height - matched.height - late.height,
        labelled=matched.height,
    )
    return result, found + labelled + ends


def _single_predictions(rows: pl.DataFrame) -> tuple[pl.DataFrame, Counts]:
    """Each id once; rows without id stay, and can have no label."""
    blank = rows.get_column(_ID).null_count()
    counts = Counts(predictions=rows.height, predictions_without_id=blank)
    if rows.get_column(_ID).drop_nulls().n_unique() == rows.height - blank:
        return rows, counts
    named = rows.with_columns(pl.struct(pl.exclude(_ID)).hash().alias(_ROW))
    once = pl.col(_ID).is_null() | (pl.col(_ROW).n_unique().over(_ID) == 1)
    kept = named.filter(once)
    single = kept.filter(pl.col(_ID).is_null() | pl.col(_ID).is_first_distinct()).drop(_ROW)
    found = Counts(conflicting_predictions=rows.height - kept.height, repeated_predictions=kept.height - single.height)
    return single, counts + found


def _single_labels(rows: pl.DataFrame, how: Joining) -> tuple[pl.DataFrame, Counts]:
    """One label per id, of those up to the cut-off."""
    named = rows.drop_nulls((_ID, _LABEL))
    counts = Counts(labels=rows.height, labels_without_id=rows.height - named.height)
    if how.cutoff is not None or how.longest is not None:
        timed = named.drop_nulls(_LABELLED_AT)
        counts += Counts(untimed=named.height - timed.height)
        named = timed
    if how.cutoff is not None:
        before = named.filter(pl.col(_LABELLED_AT) <= pl.lit(how.cutoff))
        counts += Counts(after_cutoff=named.height - before.height)
        named = before
    ids = named.get_column(_ID).n_unique()
    if ids == named.height:
        return named, counts
    if how.label_time is not None:
        named = named.sort(_LABELLED_AT, maintain_order=True, nulls_last=how.conflicts is Conflicts.FIRST)
    keep: Literal["first", "last"] = "last" if how.conflicts is Conflicts.LAST else "first"
    agreed = named.with_columns((pl.col(_LABEL).n_unique().over(_ID) == 1).alias(_ROW))
    single = agreed.unique(subset=_ID, keep=keep, maintain_order=True)
    conflicting = single.filter(~pl.col(_ROW)).height
    repeated = agreed.filter(pl.col(_ROW)).height - (single.height - conflicting)
    if how.conflicts is Conflicts.LEAVE_OUT:
        single = single.filter(pl.col(_ROW))
    return single.drop(_ROW), counts + Counts(conflicting_labels=conflicting, repeated_labels=repeated)
