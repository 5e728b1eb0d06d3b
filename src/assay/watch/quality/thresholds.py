"""What a model's quality must be: thresholds, suggested from a baseline's quality, as SageMaker's constraints file.

Reading is strict: a constraint that is misspelt would otherwise never be checked. The files of statistics and of
violations are here as well. Source: SageMaker developer guide, "Model quality metrics" and "Create a model quality
baseline"; ``additional_properties`` as the service writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from assay.errors import DocumentError
from assay.evidence import strict_json
from assay.watch.estimates import Estimate, number
from assay.watch.interface import Check, Look
from assay.watch.quality.interface import CONSTANT, METRICS, Problem, Quality

Operator: TypeAlias = Literal["LessThanThreshold", "GreaterThanThreshold"]
BELOW: Operator = "LessThanThreshold"
ABOVE: Operator = "GreaterThanThreshold"

_LARGER_IS_WORSE = frozenset({"mae", "mse", "rmse", "false_positive_rate", "false_negative_rate"})
_NO_NUMBER = "NaN"
MAX_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Threshold:
    """One constraint: the metric is violated beyond it."""

    metric: str
    """SageMaker's name, such as ``f1``."""
    threshold: float
    """Finite."""
    operator: Operator
    """`BELOW`: values less than it violate; `ABOVE`: greater ones."""

    @property
    def below(self) -> bool:
        """True where smaller values are worse."""
        return self.operator == BELOW


def suggest(quality: Quality, *, headroom: bool = True) -> tuple[Threshold, ...]:
    """A threshold for each metric of a baseline.

    With ``headroom`` it is the worse end of the metric's interval, since the baseline is a sample as well; without, the
    baseline's value as SageMaker suggests it, which half of all windows of an unchanged model miss.
    """
    found = []
    for name, estimate in quality.metrics.items():
        if estimate.value is None or name.endswith(CONSTANT):
            continue
        operator = ABOVE if name in _LARGER_IS_WORSE else BELOW
        end = estimate.low if operator == BELOW else estimate.high
        found.append(Threshold(name, end if headroom and end is not None else estimate.value, operator))
    return tuple(found)


def constraints(problem: Problem, thresholds: Iterable[Threshold]) -> dict[str, object]:
    """SageMaker's ``constraints.json`` of a model-quality monitor."""
    return {
        "version": 0.0,
        f"{problem.stem}_constraints": {
            item.metric: {"threshold": item.threshold, "comparison_operator": item.operator} for item in thresholds
        },
    }


def read_constraints(data: bytes, source: str) -> tuple[Problem, tuple[Threshold, ...]]:
    """The thresholds of a ``constraints.json``; ``source`` names it. Raises `DocumentError` for anything unknown."""
    problem, entries = _section(_document(data, source), "constraints", source)
    found = []
    for metric, entry in entries.items():
        where = f"{source}: the constraint {metric}"
        if metric not in METRICS[problem]:
            names = ", ".join(sorted(METRICS[problem]))
            raise DocumentError(f"{where} is for no metric of {problem.value}", hint=f"there are: {names}")
        if not isinstance(entry, dict) or not {"threshold", "comparison_operator"} <= set(entry):
            raise DocumentError(f"{where} needs a threshold and a comparison_operator")
        unknown = set(entry) - {"threshold", "comparison_operator", "additional_properties"}
        if unknown:
            raise DocumentError(f"{where} has the unknown key {sorted(unknown)[0]}")
        if entry["comparison_operator"] not in (BELOW, ABOVE):
            raise DocumentError(f"{where} has an unknown comparison_operator", hint=f"use {BELOW} or {ABOVE}")
        threshold = _number(entry["threshold"])
        if threshold is None:
            raise DocumentError(f"{where} has a threshold that is no number")
        found.append(Threshold(metric, threshold, cast(Operator, entry["comparison_operator"])))
    return problem, tuple(found)


def statistics(quality: Quality) -> dict[str, object]:
    """SageMaker's ``statistics.json`` of a model-quality monitor; our intervals stand beside its deviations."""
    section: dict[str, object] = {}
    if quality.confusion:
        section["confusion_matrix"] = {
            label: dict(zip(quality.classes, row, strict=True))
            for label, row in zip(quality.classes, quality.confusion, strict=True)
        }
    for name, estimate in quality.metrics.items():
        entry: dict[str, object] = {"value": _json(estimate.value), "standard_deviation": _json(estimate.deviation)}
        if estimate.low is not None and estimate.high is not None:
            entry |= {"interval": [_json(estimate.low), _json(estimate.high)]}
        section[name] = entry
    section |= {name: {axis: list(points) for axis, points in curve.items()} for name, curve in quality.curves.items()}
    return {"version": 0.0, "dataset": {"item_count": quality.samples}, f"{quality.problem.stem}_metrics": section}


def read_statistics(data: bytes, source: str) -> Quality:
    """A ``statistics.json``, ours or the service's; without an interval of ours a metric has only its value."""
    document = _document(data, source)
    problem, entries = _section(document, "metrics", source)
    dataset = document.get("dataset")
    samples = dataset.get("item_count", 0) if isinstance(dataset, dict) else 0
    if (samples := number(samples)) is None or samples < 0:
        raise DocumentError(f"{source}: item_count is no number of predictions")
    metrics: dict[str, Estimate] = {}
    curves: dict[str, dict[str, tuple[float, ...]]] = {}
    classes, matrix = _matrix(entries.get("confusion_matrix"), source)
    for name, entry in entries.items():
        if name == "confusion_matrix":
            continue
        if not isinstance(entry, dict):
            raise DocumentError(f"{source}: the metric {name} is not an object")
        if "value" not in entry:
            curves[name] = _curve(name, entry, source)
            continue
        interval = entry.get("interval")
        ends = [_number(end) for end in interval] if isinstance(interval, list) and len(interval) == 2 else [None, None]
        value, deviation = _number(entry["value"]), _number(entry.get("standard_deviation"))
        metrics[name] = Estimate(value, ends[0], ends[1], int(samples), deviation)
    return Quality(problem, int(samples), metrics, classes, matrix, curves)


def violations(look: Look) -> dict[str, object]:
    """SageMaker's ``constraint_violations.json`` of a model-quality monitor."""
    return {"violations": [_violation(check) for check in look.violations if check.sagemaker in (BELOW, ABOVE)]}


def _violation(check: Check) -> dict[str, object]:
    where = "" if check.feature is None else f" ({check.feature})"
    return {
        "constraint_check_type": check.sagemaker,
        "description": f"Metric {check.check}{where} with {check.observed} was {check.sagemaker} {check.expected}",
        "metric_name": check.check,
    }


def _document(data: bytes, source: str) -> Mapping[str, Any]:
    document = strict_json.loads(data, source, max_bytes=MAX_BYTES)
    if not isinstance(document, dict):
        raise DocumentError(f"{source} is not a JSON object")
    return document


def _section(document: Mapping[str, Any], kind: str, source: str) -> tuple[Problem, Mapping[str, Any]]:
    sections = {f"{problem.stem}_{kind}": problem for problem in Problem}
    have = [key for key in document if key in sections]
    if len(have) != 1 or not isinstance(document[have[0]], dict):
        raise DocumentError(
            f"{source} holds no {kind} of model quality", hint=f"one of {', '.join(sections)} is needed"
        )
    return sections[have[0]], document[have[0]]


def _matrix(entry: object, source: str) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    if entry is None:
        return (), ()
    wrong = DocumentError(f"{source}: the confusion_matrix does not count labels by predictions")
    if not isinstance(entry, dict):
        raise wrong
    classes = tuple(entry)
    rows = []
    for row in entry.values():
        if not isinstance(row, dict) or not set(row) <= set(classes):
            raise wrong
        counts = [row.get(name, 0) for name in classes]
        if any(not isinstance(count, int | float) or not 0 <= count < 2**53 for count in counts):
            raise wrong
        rows.append(tuple(int(count) for count in counts))
    return classes, tuple(rows)


def _curve(name: str, entry: Mapping[str, object], source: str) -> dict[str, tuple[float, ...]]:
    curve = {}
    for axis, points in entry.items():
        found = [_number(point) for point in points] if isinstance(points, list) else [None]
        if None in found:
            raise DocumentError(f"{source}: the curve {name} holds something else than numbers")
        curve[axis] = tuple(point for point in found if point is not None)
    return curve


def _number(value: object) -> float | None:
    """A finite number, also one that is written as text (the service writes NaN so); else None."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return number(value)


def _json(value: float | None) -> float | str:
    return _NO_NUMBER if value is None else value
