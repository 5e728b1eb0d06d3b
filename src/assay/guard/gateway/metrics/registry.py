"""Counting on the hot path, and adding up what several workers counted.

A worker's numbers only ever grow; what it sends is what they grew since it sent last, so nothing is counted twice or
lost between two threads, and a worker that begins anew begins at nothing.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from assay.guard.gateway.interface import Context

BUCKETS = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
    60.0,
)
"""Upper bounds of the latency histograms, in seconds; the last bucket has none."""

SERIES = 2000
"""Most series of a worker, and of them all; what comes then counts as ``other``."""

SUMS = ("requests", "rows", "tokens_in", "tokens_out", "bytes_in", "bytes_out", "ours", "upstream")
"""The first numbers of a series; then come the buckets of `OURS` and of `UPSTREAM`."""
OURS = len(SUMS)
UPSTREAM = OURS + len(BUCKETS) + 1
WIDTH = UPSTREAM + len(BUCKETS) + 1

LABELS = ("route", "verb", "status", "rule", "caller")
"""Of a series: route template, verb, ``2xx``, what refused (``-``: nothing), and the caller where that is wanted."""

Labels = tuple[str, str, str, str, str]
OTHER: Labels = ("other", "other", "other", "other", "")


class Registry:
    """One worker's numbers."""

    def __init__(self, *, by_caller: bool = False) -> None:
        """``by_caller`` gives each caller series of its own: only for few of them."""
        self._by_caller = by_caller
        self._series: dict[tuple[str, int, str, str], list[float]] = {}
        self._labelled: dict[Labels, list[float]] = {}
        self._totals: dict[str, float] = {}
        self._sent: dict[Labels, list[float]] = {}
        self._sent_totals: dict[str, float] = {}

    def record(self, context: Context) -> None:
        """One finished request. On the hot path."""
        route, caller = context.route, context.caller
        key = (
            route.path if route is not None else "",
            context.status // 100,
            context.decision.rule,
            caller.id if self._by_caller and caller is not None else "",
        )
        series = self._series.get(key)
        if series is None:
            series = self._new(key, context)
        series[0] += 1
        usage = context.usage
        if usage is not None:
            series[1] += usage.rows
            series[2] += usage.tokens_in
            series[3] += usage.tokens_out
        series[4] += context.bytes_in
        series[5] += context.bytes_out
        upstream = context.upstream
        if upstream:
            series[7] += upstream
            series[UPSTREAM + bisect_left(BUCKETS, upstream)] += 1
        ours = (context.first_byte or context.ended) - upstream - context.wait
        if ours > 0:  # a client that left before the first byte may make it less
            series[6] += ours
        series[OURS + bisect_left(BUCKETS, ours)] += 1

    def _new(self, key: tuple[str, int, str, str], context: Context) -> list[float]:
        path, hundreds, rule, caller = key
        verb = context.route.verb.value if context.route is not None else "-"
        labels: Labels = (path or "-", verb, f"{hundreds}xx" if hundreds else "none", rule or "-", caller)
        if len(self._labelled) >= SERIES and labels not in self._labelled:
            return self._labelled.setdefault(OTHER, [0] * WIDTH)
        series = self._labelled.setdefault(labels, [0] * WIDTH)
        self._series[key] = series
        return series

    def total(self, name: str, value: float) -> None:
        """Set a counter that somebody else keeps (lines lost, samples dropped); it only ever grows."""
        self._totals[name] = value

    def take(self) -> dict[str, Any]:
        """What all numbers grew since the last time, as plain values for `Total.add`."""
        self._totals["cpu_seconds"] = time.process_time()
        series = []
        for labels, numbers in list(self._labelled.items()):
            now = list(numbers)
            before = self._sent.get(labels)
            grown = now if before is None else [a - b for a, b in zip(now, before, strict=True)]
            if grown[0]:
                series.append([list(labels), grown])
                self._sent[labels] = now
        totals = dict(self._totals)
        counters = {name: value - self._sent_totals.get(name, 0) for name, value in totals.items()}
        self._sent_totals = totals
        return {"series": series, "counters": counters}


class Total:
    """What all workers counted, since the gateway began."""

    def __init__(self) -> None:
        self.series: dict[Labels, list[float]] = {}
        self.counters: dict[str, float] = {}

    def add(self, deltas: Mapping[str, Any]) -> None:
        """What one `Registry.take` gave."""
        for labels, grown in deltas["series"]:
            route, verb, status, rule, caller = labels
            key: Labels = (route, verb, status, rule, caller)
            if key not in self.series and len(self.series) >= SERIES:
                key = OTHER
            known = self.series.get(key)
            self.series[key] = list(grown) if known is None else [a + b for a, b in zip(known, grown, strict=True)]
        for name, grown in deltas["counters"].items():
            self.counters[name] = self.counters.get(name, 0) + grown
