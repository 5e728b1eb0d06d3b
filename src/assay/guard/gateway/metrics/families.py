"""What was counted as metric families: names, units and labels in one place, whoever they are told to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from assay.guard.gateway.metrics.registry import BUCKETS, LABELS, OURS, SUMS, UPSTREAM, Total

PREFIX = "assay_gateway_"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values fell into buckets."""

    counts: tuple[int, ...]
    """One for each of `BUCKETS` and one for what is beyond; not added up."""
    sum: float

    @property
    def cumulative(self) -> tuple[int, ...]:
        """As Prometheus wants them."""
        return tuple(accumulate(self.counts))


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    """With its unit, without ``_total``."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    unit: str
    """In the code that OpenTelemetry uses (UCUM)."""
    samples: tuple[tuple[Labels, float | Histogram], ...]


_COUNTED = {
    "requests": ("requests", "{request}", "Requests by route, verb, status and what refused them."),
    "rows": ("rows", "{row}", "Predictions that were asked for."),
    "tokens_in": ("input_tokens", "{token}", "Tokens of prompts."),
    "tokens_out": ("output_tokens", "{token}", "Tokens of answers."),
    "bytes_in": ("request_bytes", "By", "Bytes of requests' bodies."),
    "bytes_out": ("response_bytes", "By", "Bytes of answers' bodies."),
}


def families(
    total: Total,
    workers: Iterable[Mapping[str, float]] = (),
    *,
    standings: Mapping[str, int] | None = None,
    counters: Mapping[str, float] | None = None,
    proved: bool | None = None,
) -> list[Family]:
    """All metrics. ``workers``: how things stand with each, added up; ``standings``: callers by level; ``counters``:
    what is counted where the samples go, by name; ``proved``: whether the model is, None where none has to be.
    """
    found = []
    series = [
        (tuple((name, value) for name, value in zip(LABELS, labels, strict=True) if name != "caller" or value), numbers)
        for labels, numbers in sorted(total.series.items())
    ]
    for index, name in enumerate(SUMS):
        if name in _COUNTED:
            called, unit, text = _COUNTED[name]
            samples = tuple((labels, numbers[index]) for labels, numbers in series)
            found.append(Family(PREFIX + called, "counter", text, unit, samples))
    for name, start, text in (
        ("ours", OURS, "Latency that the gateway adds: to its first byte, without the model's and without penalties."),
        ("upstream", UPSTREAM, "Latency of the model server: to its first byte."),
    ):
        called = PREFIX + ("overhead_seconds" if name == "ours" else "upstream_seconds")
        found.append(Family(called, "histogram", text, "s", tuple(_histograms(series, SUMS.index(name), start))))
    gauges: Counter[str] = Counter()
    for levels in workers:
        gauges.update(levels)  # adds up
    for name, value in sorted((total.counters | dict(counters or {})).items()):
        found.append(Family(PREFIX + name, "counter", f"{_words(name)}, since the start.", _unit(name), (((), value),)))
    for name, value in sorted(gauges.items()):
        found.append(Family(PREFIX + name, "gauge", f"{_words(name)}, at the moment.", _unit(name), (((), value),)))
    if standings is not None:
        levels_now = tuple(((("level", level),), float(count)) for level, count in sorted(standings.items()))
        found.append(Family(PREFIX + "callers", "gauge", "Callers that do not stand well.", "{caller}", levels_now))
    if proved is not None:
        text = "1 where the served model is proved, else 0."
        found.append(Family(PREFIX + "model_proved", "gauge", text, "1", (((), float(proved)),)))
    return found


def _histograms(
    series: Iterable[tuple[Labels, list[float]]], place: int, start: int
) -> Iterable[tuple[Labels, Histogram]]:
    """By route alone: a histogram has many numbers."""
    added: dict[str, list[float]] = {}
    width = len(BUCKETS) + 1
    for labels, numbers in series:
        mine = [numbers[place], *numbers[start : start + width]]
        known = added.get(labels[0][1])
        added[labels[0][1]] = mine if known is None else [a + b for a, b in zip(known, mine, strict=True)]
    for route, (value, *counts) in added.items():
        if any(counts):
            yield (("route", route),), Histogram(tuple(map(int, counts)), value)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _unit(name: str) -> str:
    return "s" if name.endswith("_seconds") else "By" if name.endswith("_bytes") else "1"
