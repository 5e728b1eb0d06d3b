"""The ``exports:`` list of a monitors file as sinks.

It never holds a secret: headers name variables of the environment. Nothing is connected to before something is sent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from assay.alerts import references
from assay.errors import DocumentError
from assay.watch.metrics.export.cloudwatch import CloudWatchSink
from assay.watch.metrics.export.interface import MetricSink
from assay.watch.metrics.export.otlp import OtlpSink
from assay.watch.metrics.export.prometheus import TextfileSink
from assay.watch.metrics.interface import MetricStore


class _Export(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab", tag_field="type"):
    """What all exports have."""

    name: str
    """Unique; the store remembers under it how far the export has come."""


class CloudWatchExport(_Export, frozen=True, kw_only=True, tag="cloudwatch"):
    """PutMetricData."""

    region: str | None = None
    endpoint_url: str | None = None
    """Of a server that speaks the same protocol; None for AWS."""
    namespace: str | None = None
    """For all metrics; None for those of SageMaker Model Monitor."""


class OtlpExport(_Export, frozen=True, kw_only=True, tag="otlp"):
    """An OpenTelemetry collector, over HTTP."""

    endpoint: str | None = None
    """The whole address, ``http://localhost:4318/v1/metrics``; None: ``OTEL_EXPORTER_OTLP_*`` says it."""
    headers: dict[str, str] = {}
    """Values may be references: ``${ASSAY_ALERT_TOKEN}``."""


class PrometheusExport(_Export, frozen=True, kw_only=True, tag="prometheus-file"):
    """A file in the folder of node_exporter's textfile collector."""

    path: str
    """Ends with ``.prom``, or node_exporter does not read it."""


Export: TypeAlias = CloudWatchExport | OtlpExport | PrometheusExport


def parse(raw: Sequence[Any], directory: str, store: MetricStore) -> tuple[MetricSink, ...]:
    """The sinks that the list ``raw`` names; paths are relative to ``directory``. Raises `DocumentError`."""
    try:
        exports = msgspec.convert(list(raw), tuple[Export, ...])
    except msgspec.ValidationError as error:
        raise DocumentError(str(error).replace("`$", "`exports")) from None
    for index, export in enumerate(exports):
        if wrong := _problem(export, {other.name for other in exports[:index]}):
            raise DocumentError(f"exports[{index}] ({export.name[:60]!r}): {wrong}")
    return tuple(_sink(export, directory, store) for export in exports)


def _sink(export: Export, directory: str, store: MetricStore) -> MetricSink:
    if isinstance(export, PrometheusExport):
        return TextfileSink(store, os.path.join(directory, export.path), name=export.name)
    if isinstance(export, CloudWatchExport):
        return CloudWatchSink(
            name=export.name, endpoint_url=export.endpoint_url, region=export.region, namespace=export.namespace
        )
    return OtlpSink(export.endpoint, name=export.name, headers=export.headers)


def _problem(export: Export, before: set[str]) -> str | None:
    if not 1 <= len(export.name) <= 100 or not export.name.isprintable():
        return "name: 1 to 100 printable characters"
    if export.name in before:
        return "name: another export has it"
    if isinstance(export, PrometheusExport) and not export.path.endswith(".prom"):
        return "path: node_exporter reads files that end with .prom"
    if isinstance(export, OtlpExport):
        for value in export.headers.values():
            if wrong := references.problem(value):
                return f"headers: {wrong}"
    address = {CloudWatchExport: "endpoint_url", OtlpExport: "endpoint"}.get(type(export))
    url = getattr(export, address) if address else None
    if url is not None and not url.startswith(("http://", "https://")):
        return f"{address}: an address begins with https:// or http://".replace("_", "-")
    return None
