"""The metrics to an OpenTelemetry collector: OTLP over HTTP, as sums since the gateway began.

It sends in a thread of its own, at most one at a time: a collector that is slow or gone costs nothing but its metrics.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from assay import __version__
from assay.errors import MissingExtraError
from assay.guard.gateway.metrics.families import Family, Histogram
from assay.guard.gateway.metrics.registry import BUCKETS
from assay.guard.gateway.settings.around import Otlp

PATIENCE = 10.0
"""Seconds for one delivery, with all its retries."""


class Exporter:
    """One for each gateway. Raises `MissingExtraError`."""

    def __init__(self, otlp: Otlp, now: float, warn: Callable[[str], None]) -> None:
        """``now`` (UNIX seconds) is when counting began; ``warn`` is told, once for each time that it begins, that the
        collector does not take what is sent.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.sdk.metrics import export
        except ImportError:
            raise MissingExtraError("sending the gateway's metrics to OpenTelemetry", "otel") from None
        # It has its own way of telling: not on standard error as well, where nobody has asked for its log.
        logging.getLogger("opentelemetry.exporter.otlp").addHandler(logging.NullHandler())
        self._sdk: Any = export
        self._exporter: Any = OTLPMetricExporter(endpoint=otlp.endpoint, timeout=PATIENCE)
        self._every = float(otlp.every)
        self._began = self._last = now
        self._warn = warn
        self._thread: threading.Thread | None = None
        self._failing = False

    def due(self, now: float) -> bool:
        """Whether to send again."""
        return not 0 <= now - self._last < self._every and (self._thread is None or not self._thread.is_alive())

    def send(self, families: Iterable[Family], now: float) -> None:
        """Send without waiting."""
        self._last = now
        data = self._data(families, now)
        self._thread = threading.Thread(target=self._deliver, args=(data,), name="assay-otlp", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for what is under way."""
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._exporter.shutdown()

    def _deliver(self, data: Any) -> None:
        try:
            done = self._exporter.export(data) is self._sdk.MetricExportResult.SUCCESS
        except Exception as error:  # whatever an HTTP library thinks of: it must not end more than this thread
            self._said(f"metrics could not be sent: {type(error).__name__}")
            return
        self._said("" if done else "the OpenTelemetry collector does not take the metrics")

    def _said(self, problem: str) -> None:
        if problem and not self._failing:
            self._warn(problem)
        self._failing = bool(problem)

    def _data(self, families: Iterable[Family], now: float) -> Any:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        sdk = self._sdk
        begin, at = int(self._began * 1e9), int(now * 1e9)
        metrics = []
        for family in families:
            points = [self._point(dict(labels), value, begin, at) for labels, value in family.samples]
            if not points:
                continue
            cumulative = sdk.AggregationTemporality.CUMULATIVE
            if family.kind == "histogram":
                held = sdk.Histogram(points, cumulative)
            else:
                held = sdk.Gauge(points) if family.kind == "gauge" else sdk.Sum(points, cumulative, is_monotonic=True)
            metrics.append(sdk.Metric(family.name, family.help, family.unit, held))
        scope = sdk.ScopeMetrics(InstrumentationScope("assay.gateway", __version__), metrics, "")
        resource = Resource({"service.name": "assay-gateway", "service.version": __version__})
        return sdk.MetricsData([sdk.ResourceMetrics(resource, [scope], "")])

    def _point(self, labels: dict[str, str], value: float | Histogram, begin: int, at: int) -> Any:
        if isinstance(value, Histogram):
            count = value.cumulative[-1]
            return self._sdk.HistogramDataPoint(
                labels, begin, at, count, value.sum, list(value.counts), list(BUCKETS), None, None
            )
        return self._sdk.NumberDataPoint(labels, begin, at, value)
