"""The newest value of each series in Prometheus' text format: as a file for node_exporter, or at ``/metrics``.

Needs the extra ``prometheus``. Prometheus fetches; so nothing has to be sent again. A value carries no time of its own:
``assay_metric_time_seconds`` has it, by which a rule notices that nothing new has come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, MissingExtraError, UsageError
from assay.files import require_folder, write_atomic
from assay.watch.instants import microseconds
from assay.watch.interface import Metric
from assay.watch.metrics.interface import MetricStore

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

PREFIX = "assay_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NOT_NAME = re.compile(r"[^a-zA-Z0-9_]", re.ASCII)
_TIME = f"{PREFIX}metric_time_seconds"


def exposition(metrics: Iterable[Metric]) -> bytes:
    """The metrics in text format. Raises `MissingExtraError`."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError:
        raise MissingExtraError("metrics for Prometheus", "prometheus") from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(tuple(metrics)))
    return bytes(generate_latest(registry))


class TextfileSink:
    """A `MetricSink` that writes the newest values to a file for node_exporter's textfile collector (``….prom``)."""

    def __init__(self, store: MetricStore, path: str, *, name: str = "prometheus") -> None:
        self.name = name
        self._store, self._path = store, path

    def send(self, metrics: Sequence[Metric], now: datetime) -> tuple[str, ...]:
        """Replace the file, at once or not at all. Raises `UsageError` if it cannot be written."""
        require_folder(self._path)
        data = exposition(self._store.latest())
        try:
            write_atomic(self._path, data)
        except OSError as error:
            raise UsageError(f"{self._path} cannot be written: {error.strerror}") from None
        return ()


def server(store: MetricStore, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """A server that answers ``GET /metrics``; the caller runs and closes it. Raises `UsageError` for a used port.

    There is no password: keep it on this machine, or behind a proxy that asks for one.
    """
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        server_version, sys_version = "assay", ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self._answer(404, b"only /metrics is here\n")
                return
            try:
                body = exposition(store.latest())
            except AssayError as error:
                self._answer(503, f"{error.message}\n".encode())
                return
            self._answer(200, body)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a scrape every few seconds is no news."""

    try:
        return ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise UsageError(f"metrics cannot be served at {host}:{port}: {error}") from None


class _Families:
    """What prometheus_client collects from."""

    def __init__(self, metrics: tuple[Metric, ...]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import Metric as Family

        families: dict[str, Any] = {}

        def add(name: str, labels: Mapping[str, str], value: float, text: str) -> None:
            if name not in families:
                families[name] = Family(name, text, "gauge")
            families[name].add_sample(name, dict(labels), value)

        for metric in self._metrics:
            base = PREFIX + _NOT_NAME.sub("_", metric.name)
            labels = _labels(metric.dimensions)
            named = labels | {"metric": metric.name}
            if metric.value is not None:
                exact = base == PREFIX + metric.name and base != _TIME
                add(base, labels if exact else named, metric.value, metric.name)
            elif (known := metric.statistics) is not None:
                parts = {"count": known.samples, "sum": known.total, "min": known.minimum, "max": known.maximum}
                for part, value in parts.items():
                    add(f"{base}_{part}", named, value, f"{metric.name}, {part}")
            add(_TIME, named, microseconds(metric.time) / 1e6, "Time of the newest value, seconds since 1970")
        yield from families.values()


def _labels(dimensions: Mapping[str, str]) -> dict[str, str]:
    """Dimensions as labels: other signs become ``_``, and what then has the same name a number."""
    found: dict[str, str] = {}
    for name, value in sorted(dimensions.items()):
        label = _NOT_NAME.sub("_", name)
        if label[0].isdigit() or label.startswith("__") or label == "metric":
            label = f"dimension_{label}"
        number, free = 1, label
        while free in found:
            number += 1
            free = f"{label}_{number}"
        found[free] = value
    return found
