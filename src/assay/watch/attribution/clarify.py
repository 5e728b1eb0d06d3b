"""Clarify's file of feature attributions: global SHAP values in ``analysis.json``, also a monitor's baseline.

Our standard errors stand beside the values that the service knows. Its violations are written by
`watch.sagemaker.violations`. Source: SageMaker developer guide, "Analysis results".
"""

from __future__ import annotations

from collections.abc import Mapping

from assay.errors import DocumentError
from assay.evidence import strict_json
from assay.watch.attribution.drift import Attributions
from assay.watch.estimates import number

METHOD = "kernel_shap"
MAX_BYTES = 1 << 26


def analysis(labels: Mapping[str, Attributions]) -> dict[str, object]:
    """An ``analysis.json`` with each label's attributions."""
    found: dict[str, object] = {}
    for label, item in labels.items():
        entry: dict[str, object] = {"global_shap_values": dict(item.values)}
        if item.expected_value is not None:
            entry["expected_value"] = item.expected_value
        if item.errors:
            entry |= {"standard_errors": dict(item.errors), "rows": item.rows}
        found[label] = entry
    return {"version": "1.0", "explanations": {METHOD: found}}


def read_analysis(data: bytes, source: str) -> dict[str, Attributions]:
    """Attributions by label. Raises `DocumentError` for what cannot be read."""
    document = strict_json.loads(data, source, max_bytes=MAX_BYTES)
    explanations = document.get("explanations") if isinstance(document, dict) else None
    shap = explanations.get(METHOD) if isinstance(explanations, dict) else None
    if not isinstance(shap, dict) or not shap:
        raise DocumentError(f"{source} holds no attributions", hint=f"explanations.{METHOD} is needed")
    return {label: _attributions(entry, f"{source}: {label}") for label, entry in shap.items()}


def _attributions(entry: object, where: str) -> Attributions:
    if not isinstance(entry, dict):
        raise DocumentError(f"{where} is not an object")
    values = _numbers(entry.get("global_shap_values"), f"{where}: global_shap_values")
    errors = _numbers(entry.get("standard_errors", {}), f"{where}: standard_errors")
    rows, expected = entry.get("rows"), entry.get("expected_value")
    if rows is not None and (not isinstance(rows, int) or isinstance(rows, bool) or rows < 0):
        raise DocumentError(f"{where}: rows is no number of rows")
    if expected is not None and number(expected) is None:
        raise DocumentError(f"{where}: expected_value is no number")
    return Attributions(values, errors, rows, expected_value=number(expected))


def _numbers(value: object, where: str) -> dict[str, float]:
    found = {name: number(item) for name, item in value.items()} if isinstance(value, dict) else {"": None}
    result = {name: item for name, item in found.items() if item is not None and item >= 0}
    if len(result) != len(found):
        raise DocumentError(f"{where} holds something else than numbers of at least 0")
    return result
