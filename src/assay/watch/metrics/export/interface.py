"""What a sink of metrics is, and bringing it up to date from the store: nothing is skipped, what failed is sent again.

A crash between sending and remembering it sends some metrics twice; none is ever left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from assay.watch.interface import Metric
from assay.watch.metrics.interface import MetricStore

BATCH = 5_000
"""Metrics that are read and sent at once."""


class MetricSink(Protocol):
    """Another system that wants every metric."""

    name: str
    """Under which the store remembers how far it has come."""

    def send(self, metrics: Sequence[Metric], now: datetime) -> tuple[str, ...]:
        """Deliver them all; returns a sentence for each that the other system will never take.

        Raises `UndecidedError` if it cannot be told whether they arrived: all of them are sent again then.
        """


@dataclass(frozen=True, slots=True)
class Sent:
    """What bringing a sink up to date came to."""

    metrics: int
    """How many were delivered."""
    refused: tuple[str, ...]
    """Why some were not, and never will be; they stay in the store."""


def bring_up_to_date(store: MetricStore, sink: MetricSink, now: datetime) -> Sent:
    """Send what the sink has not had yet, in order. Raises `UndecidedError`; what went before it is remembered."""
    position, sent = store.position(sink.name), 0
    refused: list[str] = []
    store.advance(sink.name, position)  # from now on nothing is forgotten that this sink has not had
    while entries := store.since(position, BATCH):
        said = sink.send([entry.metric for entry in entries], now)
        position = entries[-1].position
        store.advance(sink.name, position)
        sent += len(entries) - len(said)
        refused += said
    return Sent(sent, tuple(refused))
