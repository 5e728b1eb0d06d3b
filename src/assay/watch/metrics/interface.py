"""What a metric store can do, whatever database it is in.

A store never loses what `MetricStore.put` has returned for, and never counts the same thing of the same run twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from assay.watch.database import Database
from assay.watch.interface import Metric
from assay.watch.metrics.statistics import Statistic

KEPT = timedelta(days=455)
"""How long CloudWatch keeps metrics, 15 months; for `MetricStore.forget`."""


@dataclass(frozen=True, slots=True)
class Series:
    """Metrics of one name and one set of dimensions."""

    name: str
    dimensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """One period of a series, summarised."""

    time: datetime
    """UTC: the period's end, which still belongs to it; its start belongs to the period before."""
    value: float
    samples: float
    """How many values it stands for."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A metric as it is in the store."""

    position: int
    """Ascending in the order in which metrics became readable, so that a sink can go on where it stopped."""
    run: str
    metric: Metric


class MetricStore(Protocol):
    """Where metrics are kept. Every method raises `StoreError`; it may be called from any thread."""

    @property
    def database(self) -> Database:
        """Where the rows are: alarms keep their states in the same place."""

    def put(self, metrics: Iterable[Metric], run: str) -> int:
        """Keep them all, or none; returns how many were new.

        ``run`` names the monitoring run: the same series at the same time of the same run is the same metric, and
        what was kept first stays. Raises `DocumentError` for a metric that breaks CloudWatch's limits.
        """

    def read(
        self,
        series: Series,
        start: datetime,
        end: datetime,
        period: int,
        statistic: Statistic,
        unit: str | None = None,
    ) -> tuple[Point, ...]:
        """A point for every period of ``period`` seconds in (start, end] that has values, oldest first.

        A metric's time is the end of what it is about, so an instant belongs to the period that ends with it. Raises
        `DocumentError` where the statistic needs the values one by one and only summaries are there.
        """

    def series(self, name: str | None = None) -> tuple[Series, ...]:
        """All series (of one metric), by name and dimensions."""

    def latest(self) -> tuple[Metric, ...]:
        """The newest metric of each series."""

    def since(self, position: int, limit: int) -> tuple[Stored, ...]:
        """At most ``limit`` metrics after a position, in order."""

    def position(self, sink: str) -> int:
        """How far a sink has come; 0 for one that has never been told anything."""

    def advance(self, sink: str, position: int) -> None:
        """Remember that a sink has everything up to ``position``; never goes back."""

    def detach(self, sink: str) -> None:
        """Forget a sink, so that metrics need no longer be kept for it."""

    def forget(self, before: datetime) -> int:
        """Delete metrics older than that, except those that a sink has still to be told; returns how many."""
