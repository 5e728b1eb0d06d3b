"""Metrics to an OpenTelemetry collector: OTLP over HTTP, with the times at which they were measured.

Needs the extra ``otel``. A value is a gauge, a summary a histogram of one bucket with its sum, minimum and maximum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from assay import __version__
from assay.alerts import references
from assay.errors import MissingExtraError, UndecidedError
from assay.watch.instants import microseconds
from assay.watch.interface import Metric

_UCUM = {"Seconds": "s", "Milliseconds": "ms", "Microseconds": "us", "Percent": "%", "Count": "{count}", "None": "1"}
_PREFIXES = {"Kilo": "k", "Mega": "M", "Giga": "G", "Tera": "T"}


def ucum(unit: str) -> str:
    """CloudWatch's unit in the code that OpenTelemetry uses (UCUM): ``Kilobytes/Second`` is ``kBy/s``."""
    size, _, per = unit.partition("/")
    prefix, rest = next(((p, size[len(name) :]) for name, p in _PREFIXES.items() if size.startswith(name)), ("", size))
    code = {"bytes": "By", "bits": "bit"}.get(rest.lower())
    return (prefix + code if code else _UCUM[size]) + ("/s" if per else "")


class OtlpSink:
    """A `MetricSink`; see the module."""

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        name: str = "otlp",
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        """``endpoint`` is a whole address (``…/v1/metrics``); without one, ``OTEL_EXPORTER_OTLP_*`` says it.

        ``headers`` may refer to ``${ASSAY_ALERT_…}``. ``timeout`` is in seconds, for all retries together.
        """
        self.name = name
        self._endpoint, self._headers, self._timeout = endpoint, dict(headers or {}), timeout

    def send(self, metrics: Sequence[Metric], now: datetime) -> tuple[str, ...]:
        """Deliver them all in one request. Raises `MissingExtraError` and `SinkError` too."""
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        except ImportError:
            raise MissingExtraError("sending metrics to OpenTelemetry", "otel") from None
        from opentelemetry.sdk.metrics import export as sdk
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        families: dict[tuple[str, str, bool], list[Any]] = {}
        refused: list[str] = []
        for metric in metrics:
            if metric.statistics is not None and not metric.statistics.samples.is_integer():
                refused.append(f"{metric.name}: OpenTelemetry counts in whole numbers")
                continue
            key = (metric.name, ucum(metric.unit), metric.statistics is None)
            families.setdefault(key, []).append(_point(metric, sdk))
        data = [
            sdk.Metric(name, None, unit, sdk.Gauge(points) if single else _histogram(points, sdk))
            for (name, unit, single), points in families.items()
        ]
        scope = sdk.ScopeMetrics(InstrumentationScope("assay.watch", __version__), data, "")
        whole = sdk.MetricsData([sdk.ResourceMetrics(Resource({"service.name": "assay"}), [scope], "")])
        headers = {key: references.expand(value) for key, value in self._headers.items()}
        exporter = OTLPMetricExporter(endpoint=self._endpoint, headers=headers or None, timeout=self._timeout)
        try:
            taken_in = not data or exporter.export(whole) is sdk.MetricExportResult.SUCCESS
        finally:
            exporter.shutdown()
        if not taken_in:
            raise UndecidedError(
                "the OpenTelemetry collector did not take the metrics", hint="is it running, at that address?"
            )
        return tuple(refused)


def _point(metric: Metric, sdk: Any) -> Any:
    at = microseconds(metric.time) * 1_000
    if (known := metric.statistics) is None:
        return sdk.NumberDataPoint(dict(metric.dimensions), at, at, metric.value)
    count = int(known.samples)
    return sdk.HistogramDataPoint(
        dict(metric.dimensions), at, at, count, known.total, [count], [], known.minimum, known.maximum
    )


def _histogram(points: Sequence[Any], sdk: Any) -> Any:
    return sdk.Histogram(points, sdk.AggregationTemporality.DELTA)
