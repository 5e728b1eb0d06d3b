"""Metrics to CloudWatch, or whatever speaks its PutMetricData, under the namespaces of SageMaker Model Monitor.

Needs the extra ``aws``. Credentials, region and proxies come from where every AWS tool takes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from assay.errors import MissingExtraError, UndecidedError
from assay.watch.interface import Metric

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

MAX_DATA, MAX_VALUES = 1_000, 150
"""PutMetricData: data in a request, values in a datum."""
OLDEST, LATEST = timedelta(days=14), timedelta(hours=2)
"""PutMetricData takes nothing older, nothing later."""

OTHER = "assay"
"""Namespace of what Model Monitor does not have."""

_MODEL_QUALITY = re.compile(
    r"mae|mse|rmse|r2|auc|(?:true|false)_(?:positive|negative)_rate"
    r"|(?:weighted_)?(?:recall|precision|accuracy|f0_5|f1|f2)(?:_best_constant_classifier)?"
)
_ENDPOINT = ("Endpoint", "EndpointName")
# Codes that mean that the data are wrong, not the moment, the network or the credentials.
_WRONG_DATA = re.compile(
    r"(?:InvalidParameterValue|InvalidParameterCombination|MissingParameter|MissingRequiredParameter|Validation)"
    r"(?:Error|Exception)?"
)


def namespace(metric: Metric) -> str:
    """Where Model Monitor puts a metric of that name (developer guide, "CloudWatch metrics")."""
    if metric.name.startswith(("feature_data_", "feature_non_null_", "feature_baseline_drift_")):
        endpoint = any(name in metric.dimensions for name in _ENDPOINT)
        return f"/aws/sagemaker/{'Endpoints' if endpoint else 'ModelMonitoring'}/data-metric"
    if metric.name.startswith("bias_metric_"):
        return "aws/sagemaker/Endpoints/bias-metrics"
    return "aws/sagemaker/Endpoints/model-metrics" if _MODEL_QUALITY.fullmatch(metric.name) else OTHER


class CloudWatchSink:
    """A `MetricSink`; see the module."""

    def __init__(
        self,
        *,
        name: str = "cloudwatch",
        endpoint_url: str | None = None,
        region: str | None = None,
        namespace: str | None = None,
    ) -> None:
        """``namespace`` puts everything into one of your own."""
        self.name = name
        self._namespace, self._region, self._endpoint = namespace, region, endpoint_url

    def send(self, metrics: Sequence[Metric], now: datetime) -> tuple[str, ...]:
        """Deliver them all, in requests of at most 1,000 data. Raises `MissingExtraError` too."""
        client = self._client()
        refused: list[str] = []
        spaces: dict[str, list[Metric]] = {}
        for metric in metrics:
            if not now - OLDEST < metric.time < now + LATEST:
                refused.append(f"{metric.name}: CloudWatch takes the last 14 days, and at most 2 hours of the future")
            else:
                spaces.setdefault(self._namespace or namespace(metric), []).append(metric)
        for space, members in spaces.items():
            data = list(_data(members))
            for start in range(0, len(data), MAX_DATA):
                refused += _put(client, space, data[start : start + MAX_DATA])
        return tuple(refused)

    def _client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError:
            raise MissingExtraError("sending metrics to CloudWatch", "aws") from None
        retries = {"mode": "standard", "total_max_attempts": 5}
        config = Config(retries=retries, connect_timeout=10, read_timeout=30)
        try:
            return boto3.client("cloudwatch", endpoint_url=self._endpoint, region_name=self._region, config=config)
        except (BotoCoreError, ValueError) as error:
            raise UndecidedError(f"CloudWatch cannot be asked: {error}") from None


def _put(client: Any, space: str, data: list[tuple[dict[str, Any], int]]) -> list[str]:
    """One request; where the data are refused, halves of it, until only the wrong ones are left."""
    from botocore import exceptions

    try:
        client.put_metric_data(Namespace=space, MetricData=[datum for datum, _ in data])
    except exceptions.ClientError as error:
        if not _is_wrong_data(error):
            code = error.response.get("Error", {}).get("Code", "an error")
            raise UndecidedError(f"CloudWatch did not take the metrics: {code}") from None
        said = error.response.get("Error", {}).get("Message", "refused")
    except exceptions.ParamValidationError as error:
        said = str(error)
    except exceptions.BotoCoreError as error:
        raise UndecidedError(f"CloudWatch cannot be reached: {error}") from None
    else:
        return []
    if len(data) == 1:
        datum, count = data[0]
        return [f"{datum['MetricName']}: {said[:300]}"] * count
    middle = len(data) // 2
    return _put(client, space, data[:middle]) + _put(client, space, data[middle:])


def _is_wrong_data(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 413 or _WRONG_DATA.fullmatch(error.response.get("Error", {}).get("Code", "")) is not None


def _data(metrics: Sequence[Metric]) -> Iterator[tuple[dict[str, Any], int]]:
    """MetricDatum values, each with how many metrics are in it: values of one series at one time go together."""
    groups: dict[tuple[object, ...], list[float]] = {}
    firsts: dict[tuple[object, ...], Metric] = {}
    for metric in metrics:
        datum = _head(metric)
        if (known := metric.statistics) is not None:
            datum["StatisticValues"] = {
                "SampleCount": known.samples,
                "Sum": known.total,
                "Minimum": known.minimum,
                "Maximum": known.maximum,
            }
            yield datum, 1
        elif metric.value is not None:
            key = (metric.name, metric.time, metric.unit, tuple(sorted(metric.dimensions.items())))
            groups.setdefault(key, []).append(metric.value)
            firsts.setdefault(key, metric)
    for series, values in groups.items():
        for start in range(0, len(values), MAX_VALUES):
            part = values[start : start + MAX_VALUES]
            datum = _head(firsts[series])
            if len(part) == 1:
                datum["Value"] = part[0]
            else:
                datum["Values"], datum["Counts"] = part, [1.0] * len(part)
            yield datum, len(part)


def _head(metric: Metric) -> dict[str, Any]:
    pairs = [{"Name": name, "Value": value} for name, value in sorted(metric.dimensions.items())]
    return {"MetricName": metric.name, "Dimensions": pairs, "Timestamp": metric.time, "Unit": metric.unit}
