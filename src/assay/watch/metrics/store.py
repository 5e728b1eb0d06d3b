"""The metric store in SQLite or PostgreSQL: series, metrics in the order they came, and how far each sink has come.

It never changes or drops a metric that it holds, except by `forget`, and never before every sink has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from assay.errors import DocumentError
from assay.watch.database import Database, Row, Transaction
from assay.watch.instants import microseconds, moment
from assay.watch.interface import Metric, Statistics
from assay.watch.metrics.checking import check
from assay.watch.metrics.interface import Point, Series, Stored
from assay.watch.metrics.statistics import Statistic, single

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS series (
      id SERIAL,
      name TEXT NOT NULL,
      dimensions TEXT NOT NULL,
      UNIQUE (name, dimensions)
    )""",
    """CREATE TABLE IF NOT EXISTS metric (
      position SERIAL,
      series BIGINT NOT NULL REFERENCES series (id),
      time BIGINT NOT NULL,
      run TEXT NOT NULL,
      unit TEXT NOT NULL,
      value DOUBLE PRECISION,
      samples DOUBLE PRECISION,
      total DOUBLE PRECISION,
      minimum DOUBLE PRECISION,
      maximum DOUBLE PRECISION,
      UNIQUE (series, time, run)
    )""",
    "CREATE INDEX IF NOT EXISTS metric_time ON metric (time)",
    """CREATE TABLE IF NOT EXISTS sink (
      name TEXT PRIMARY KEY,
      position BIGINT NOT NULL
    )""",
)

_COLUMNS = "m.unit, m.value, m.samples, m.total, m.minimum, m.maximum"
_JOINED = f"m.position, m.run, s.name, s.dimensions, m.time, {_COLUMNS} FROM metric m JOIN series s ON s.id = m.series"


def open_store(place: str) -> SqlMetricStore:
    """The metric store in a SQLite file or at ``postgresql://…``, made where there is none. Raises `StoreError`."""
    return SqlMetricStore(Database(place, SCHEMA))


class SqlMetricStore:
    """A `MetricStore`; its contract is there."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, metrics: Iterable[Metric], run: str) -> int:
        """Keep them all, or none."""
        if not 1 <= len(run) <= 255 or not run.isprintable():
            raise DocumentError(f"a run's name is {run[:40]!r}: 1 to 255 printable characters")
        checked = list(metrics)
        for metric in checked:
            check(metric)
        if not checked:
            return 0
        known: dict[tuple[str, str], int] = {}
        with self.database.transaction() as go:
            return sum(_put(go, metric, run, known) for metric in checked)

    def read(
        self,
        series: Series,
        start: datetime,
        end: datetime,
        period: int,
        statistic: Statistic,
        unit: str | None = None,
    ) -> tuple[Point, ...]:
        """A point for every period that has values."""
        if period < 1:
            raise DocumentError(f"a period of {period} seconds has no length")
        first, width = microseconds(start), period * 1_000_000
        rows = self._rows(
            f"SELECT m.time, {_COLUMNS} FROM metric m JOIN series s ON s.id = m.series"  # noqa: S608 - fixed text
            " WHERE s.name = ? AND s.dimensions = ? AND m.time > ? AND m.time <= ? ORDER BY m.time, m.position",
            (series.name, _canonical(series.dimensions.items()), first, microseconds(end)),
        )
        wanted = ((time, _summary(rest[1:])) for time, *rest in rows if unit is None or rest[0] == unit)
        points = []
        for index, group in groupby(wanted, key=lambda row: (row[0] - first - 1) // width):
            parts = [part for _, part in group]
            value = statistic.of(parts)
            if value is not None:
                points.append(Point(moment(first + (index + 1) * width), value, sum(part.samples for part in parts)))
        return tuple(points)

    def series(self, name: str | None = None) -> tuple[Series, ...]:
        """All series."""
        where, parameters = ("", ()) if name is None else (" WHERE name = ?", (name,))
        rows = self._rows(f"SELECT name, dimensions FROM series{where}", parameters)  # noqa: S608 - fixed text
        # Sorted here: databases have orders of their own.
        return tuple(sorted((Series(found, _dimensions(text)) for found, text in rows), key=_rank))

    def latest(self) -> tuple[Metric, ...]:
        """The newest metric of each series; of several at the same time, the last that came."""
        rows = self._rows(
            f"SELECT {_JOINED} WHERE m.position = (SELECT n.position FROM metric n WHERE n.series = s.id"  # noqa: S608
            " ORDER BY n.time DESC, n.position DESC LIMIT 1)"
        )
        return tuple(sorted((stored.metric for stored in _stored(rows)), key=_rank))

    def since(self, position: int, limit: int) -> tuple[Stored, ...]:
        """At most ``limit`` metrics after a position."""
        sql = f"SELECT {_JOINED} WHERE m.position > ? ORDER BY m.position LIMIT ?"
        return tuple(_stored(self._rows(sql, (position, limit))))

    def position(self, sink: str) -> int:
        """How far a sink has come."""
        found = self._rows("SELECT position FROM sink WHERE name = ?", (sink,))
        return int(found[0][0]) if found else 0

    def advance(self, sink: str, position: int) -> None:
        """Remember that a sink has everything up to ``position``."""
        with self.database.transaction() as go:
            go.change(
                "INSERT INTO sink (name, position) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET"
                " position = excluded.position WHERE excluded.position > sink.position",
                (sink, position),
            )

    def detach(self, sink: str) -> None:
        """Forget a sink."""
        with self.database.transaction() as go:
            go.change("DELETE FROM sink WHERE name = ?", (sink,))

    def forget(self, before: datetime) -> int:
        """Delete what is older and was told."""
        with self.database.transaction() as go:
            return go.change(
                "DELETE FROM metric WHERE time < ?"
                " AND NOT EXISTS (SELECT 1 FROM sink WHERE sink.position < metric.position)",
                (microseconds(before),),
            )

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self.database.reading() as go:
            return go.rows(sql, parameters)


def _put(go: Transaction, metric: Metric, run: str, known: dict[tuple[str, str], int]) -> int:
    key = (metric.name, _canonical(metric.dimensions.items()))
    if key not in known:
        go.change("INSERT INTO series (name, dimensions) VALUES (?, ?) ON CONFLICT DO NOTHING", key)
        found = go.rows("SELECT id FROM series WHERE name = ? AND dimensions = ?", key)
        known[key] = found[0][0]
    summary = metric.statistics
    numbers = (summary.samples, summary.total, summary.minimum, summary.maximum) if summary else (None,) * 4
    return go.change(
        "INSERT INTO metric (series, time, run, unit, value, samples, total, minimum, maximum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (series, time, run) DO NOTHING",
        (known[key], microseconds(metric.time), run, metric.unit, metric.value, *numbers),
    )


def _canonical(dimensions: Iterable[tuple[str, str]]) -> str:
    return json.dumps(dict(sorted(dimensions)), separators=(",", ":"), ensure_ascii=False)


def _rank(of: Series | Metric) -> tuple[str, list[tuple[str, str]]]:
    return of.name, sorted(of.dimensions.items())


def _dimensions(text: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(text)
    return found


def _summary(numbers: Sequence[Any]) -> Statistics:
    value, *rest = numbers
    return single(value) if value is not None else Statistics(*rest)


def _stored(rows: Iterable[Row]) -> Iterator[Stored]:
    for position, run, name, dimensions, time, unit, value, *rest in rows:
        metric = Metric(
            name=name,
            time=moment(time),
            value=value,
            statistics=None if value is not None else Statistics(*rest),
            unit=unit,
            dimensions=_dimensions(dimensions),
        )
        yield Stored(position, run, metric)
