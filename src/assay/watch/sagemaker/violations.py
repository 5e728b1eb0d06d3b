"""Violation files from checks and back: data quality, bias drift, feature attribution drift.

SageMaker knows six types of data quality violation. A check of ours that has no such type (range, unit change, frozen
column) is written as ``baseline_drift_check`` with its own name in the description: no violation is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from assay.errors import UsageError
from assay.files import read_file
from assay.watch.constraints.check import CATEGORIES, COMPLETENESS, DATA_TYPE, DRIFT, EXTRA_COLUMN, MISSING_COLUMN
from assay.watch.interface import Check, Outcome
from assay.watch.sagemaker.documents import (
    MAX_BYTES,
    AttributionViolation,
    AttributionViolations,
    BiasViolation,
    BiasViolations,
    Violation,
    Violations,
    read,
    write,
)

NAMES = ("constraint_violations.json", "constraints_violations.json")
"""The service writes the first; the guide's page on containers spells it the second way."""

DEFAULT = DRIFT
"""For what has no type of its own."""

TYPES = frozenset({DATA_TYPE, COMPLETENESS, DRIFT, MISSING_COLUMN, EXTRA_COLUMN, CATEGORIES})
"""Of data quality; those of other monitors have no place in its file."""

_WHOLE = "dataset"
"""Feature name of a check that is about no single column."""


def dumps(checks: Iterable[Check]) -> bytes:
    """The file of what does not hold; undecided checks are no violations and are not in it."""
    found = [
        Violation(check.feature or _WHOLE, check.sagemaker if check.sagemaker in TYPES else DEFAULT, _describe(check))
        for check in checks
        if check.outcome is Outcome.VIOLATED
    ]
    return write(Violations(found))


def bias_dumps(checks: Iterable[Check]) -> bytes:
    """The bias monitor's file, from the checks of `watch.bias` (``FACET=VALUE`` as their feature)."""
    found = []
    for check in _violated(checks, "bias_drift_check"):
        facet, _, value = (check.feature or "").partition("=")
        found.append(BiasViolation(facet, value, check.check, check.message))
    return write(BiasViolations(found))


def attribution_dumps(checks: Iterable[Check]) -> bytes:
    """The explainability monitor's file, from the checks of `watch.attribution` (the label as their feature)."""
    found = _violated(checks, "feature_attribution_drift_check")
    return write(
        AttributionViolations([AttributionViolation(check.feature or "label0", check.message) for check in found])
    )


def bias_loads(data: bytes, name: str = NAMES[0]) -> tuple[Check, ...]:
    """Checks that do not hold, from the bias monitor's file. Raises `DocumentError`."""
    return tuple(
        _found(item.metric_name, f"{item.facet}={item.facet_value}", item.description, item.constraint_check_type)
        for item in read(data, BiasViolations, name).violations
    )


def attribution_loads(data: bytes, name: str = NAMES[0]) -> tuple[Check, ...]:
    """Checks that do not hold, from the explainability monitor's file. Raises `DocumentError`."""
    return tuple(
        _found("feature_attribution", item.label, item.description, item.constraint_check_type)
        for item in read(data, AttributionViolations, name).violations
    )


def _violated(checks: Iterable[Check], kind: str) -> list[Check]:
    return [check for check in checks if check.outcome is Outcome.VIOLATED and check.sagemaker == kind]


def _found(check: str, feature: str, message: str, kind: str) -> Check:
    return Check(check, Outcome.VIOLATED, feature, message=message, sagemaker=kind)


def loads(data: bytes, name: str = NAMES[0]) -> tuple[Check, ...]:
    """Checks that do not hold, from such a file. Raises `DocumentError`."""
    return tuple(
        _found(
            item.constraint_check_type.removesuffix("_check").replace("_", "-"),
            item.feature_name,
            item.description,
            item.constraint_check_type,
        )
        for item in read(data, Violations, name).violations
    )


def find(folder: str) -> str:
    """A folder's violation file, under either name. Raises `UsageError` where there is none, or two that differ."""
    found = [path for path in (os.path.join(folder, name) for name in NAMES) if os.path.isfile(path)]
    if not found:
        raise UsageError(f"{folder} has neither {' nor '.join(NAMES)}", hint="name the file")
    if len({read_file(path, MAX_BYTES) for path in found}) > 1:
        raise UsageError(f"{folder} has {' and '.join(NAMES)}, which differ", hint="name the file")
    return found[0]


def _describe(check: Check) -> str:
    message = check.message or f"expected {check.expected}, observed {check.observed}"
    return message if check.sagemaker in TYPES else f"{check.check}: {message}"
