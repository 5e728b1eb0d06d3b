"""Clarify's file of bias metrics: ``analysis.json`` of a job, also a bias monitor's baseline.

Our intervals stand beside the values that the service knows; a file without them is read as well. Its violations are
written by `watch.sagemaker.violations`. Source: SageMaker developer guide, "Analysis results".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assay.errors import DocumentError
from assay.evidence import strict_json
from assay.watch.bias.interface import PRE_TRAINING, Bias, Question
from assay.watch.estimates import Estimate, number

_STAGES = ("pre_training_bias_metrics", "post_training_bias_metrics")
MAX_BYTES = 1 << 26


def analysis(biases: Iterable[Bias], question: Question) -> dict[str, object]:
    """An ``analysis.json``; ``question`` says which label is meant."""
    document: dict[str, object] = {"version": "1.0"}
    chosen = question.label or question.prediction
    items = tuple(biases)
    for stage in _STAGES:
        facets: dict[str, list[dict[str, object]]] = {}
        for item in items:
            entries = [
                _entry(name, estimate)
                for name, estimate in sorted(item.metrics.items())
                if (name in PRE_TRAINING) is (stage == _STAGES[0])
            ]
            if entries:
                facets.setdefault(item.facet, []).append({"value_or_threshold": item.facet_value, "metrics": entries})
        if facets:
            label = {"label": chosen.column, "label_value_or_threshold": chosen.text} if chosen else {}
            document[stage] = {**label, "facets": facets}
    return document


def _entry(name: str, estimate: Estimate) -> dict[str, object]:
    entry: dict[str, object] = {"name": name, "value": estimate.value}
    if estimate.value is None:
        return {**entry, "error": estimate.reason}
    if estimate.low is not None and estimate.high is not None:
        entry["interval"] = [estimate.low, estimate.high]
    return entry


def read_analysis(data: bytes, source: str) -> tuple[Bias, ...]:
    """The metrics of an ``analysis.json``, by facet and value. Raises `DocumentError` for what cannot be read."""
    document = strict_json.loads(data, source, max_bytes=MAX_BYTES)
    sections = [document[stage] for stage in _STAGES if stage in document] if isinstance(document, dict) else []
    if not sections:
        raise DocumentError(f"{source} holds no bias metrics", hint=f"{' or '.join(_STAGES)} is needed")
    found: dict[tuple[str, str], dict[str, Estimate]] = {}
    for section in sections:
        for facet, entries in _mapping(_mapping(section, source).get("facets"), source).items():
            for entry in _list(entries, source):
                value = str(_mapping(entry, source).get("value_or_threshold"))
                metrics = found.setdefault((facet, value), {})
                for metric in _list(entry.get("metrics"), source):
                    name, estimate = _estimate(_mapping(metric, source), source)
                    metrics[name] = estimate
    return tuple(Bias(facet, value, 0, 0, metrics) for (facet, value), metrics in found.items())


def _estimate(metric: Mapping[str, Any], source: str) -> tuple[str, Estimate]:
    name, interval, value = metric.get("name"), metric.get("interval"), number(metric.get("value"))
    if not isinstance(name, str) or (value is None and metric.get("value") is not None):
        raise DocumentError(f"{source}: a metric needs a name and a number")
    if value is None:
        return name, Estimate(None, reason=str(metric.get("error", "not defined")))
    if interval is None:
        return name, Estimate(value)
    ends = [number(end) for end in interval] if isinstance(interval, list) else []
    if len(ends) != 2 or None in ends:
        raise DocumentError(f"{source}: the interval of {name} is not a pair of numbers")
    return name, Estimate(value, ends[0], ends[1])


def _mapping(value: object, source: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DocumentError(f"{source}: the bias metrics are not as Clarify writes them")
    return value


def _list(value: object, source: str) -> list[Any]:
    if not isinstance(value, list):
        raise DocumentError(f"{source}: the bias metrics are not as Clarify writes them")
    return value
