"""Metric files of the container contract: one JSON object a line, as ``PutMetricData`` takes them.

Source: SageMaker developer guide, "CloudWatch Metrics for Bring Your Own Containers".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from assay.evidence import strict_json
from assay.watch.interface import Metric

FOLDER, FILE = "output/metrics/cloudwatch", "cloudwatch_metrics.jsonl"
"""Below ``/opt/ml``."""


def dumps(metrics: Iterable[Metric]) -> bytes:
    """The file."""
    return b"".join(strict_json.dumps(_line(metric)) + b"\n" for metric in metrics)


def _line(metric: Metric) -> dict[str, Any]:
    line: dict[str, Any] = {
        "MetricName": metric.name,
        "Timestamp": metric.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions.items()],
        "Unit": metric.unit,
    }
    if metric.statistics is None:
        return {**line, "Value": metric.value}
    found = metric.statistics
    values = {
        "SampleCount": found.samples,
        "Sum": found.total,
        "Minimum": found.minimum,
        "Maximum": found.maximum,
    }
    return {**line, "StatisticValues": values}
