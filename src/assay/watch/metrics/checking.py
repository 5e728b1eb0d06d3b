"""Which metrics a store takes: CloudWatch's limits for a ``MetricDatum``, so that every sink can be told what is kept.

It never repairs a number: one that is cut off or rounded would be one that nobody measured.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

from assay.errors import DocumentError
from assay.watch.instants import microseconds
from assay.watch.interface import Metric

_SCALES = ("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits", "Kilobits", "Megabits", "Gigabits")
_SIZES = (*_SCALES, "Terabits", "Count")
UNITS = frozenset(
    ("Seconds", "Microseconds", "Milliseconds", "Percent", "None", *_SIZES, *(f"{size}/Second" for size in _SIZES))
)
"""StandardUnit of CloudWatch's service model."""

_NAME, _DIMENSIONS, _VALUE = 255, 30, 1024


def check(metric: Metric) -> None:
    """Raise `DocumentError` if the metric cannot be kept."""
    label = f"the metric {metric.name[:80]!r}"
    _text(metric.name, _NAME, "a metric's name")
    microseconds(metric.time)
    if metric.unit not in UNITS:
        raise DocumentError(f"{label} has the unit {metric.unit[:40]!r}, which CloudWatch does not have")
    if len(metric.dimensions) > _DIMENSIONS:
        raise DocumentError(f"{label} has {len(metric.dimensions)} dimensions, and {_DIMENSIONS} are the most")
    for name, value in metric.dimensions.items():
        _text(name, _NAME, f"a dimension of {label}")
        _text(value, _VALUE, f"the dimension {name!r} of {label}")
    numbers: tuple[float, ...]
    if (metric.value is None) == (metric.statistics is None):
        raise DocumentError(f"{label} has a value or statistics, one of the two")
    if metric.statistics is not None:
        known = metric.statistics
        numbers = (known.samples, known.total, known.minimum, known.maximum)
        if not (known.samples > 0 and known.minimum <= known.maximum):
            raise DocumentError(f"{label} has statistics that no numbers have: none at all, or minimum above maximum")
    else:
        numbers = (metric.value,) if metric.value is not None else ()
    if not all(math.isfinite(number) for number in numbers):
        raise DocumentError(f"{label} is not a finite number")


def fitting(metric: Metric) -> Metric:
    """The metric under a name, and with dimensions, that can be kept.

    Names of columns become part of them, and whoever sends the data may choose those: a line break in one must not
    stop the monitoring. What cannot stand is replaced, and a digest keeps different names different.
    """
    dimensions = {_fitted(key, _NAME): _fitted(value, _VALUE) for key, value in metric.dimensions.items()}
    return replace(metric, name=_fitted(metric.name, _NAME), dimensions=dimensions)


def _fitted(text: str, longest: int) -> str:
    if _fits(text, longest):
        return text
    shown = "".join(sign if sign.isprintable() else "?" for sign in text).strip().lstrip(":")
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{shown[: longest - len(mark) - 1]}#{mark}"


def _fits(text: str, longest: int) -> bool:
    return 1 <= len(text) <= longest and text.isprintable() and bool(text.strip()) and not text.startswith(":")


def _text(text: str, longest: int, what: str) -> None:
    if not _fits(text, longest):
        raise DocumentError(f"{what} is {text[:40]!r}: 1 to {longest} printable characters, no colon first")
