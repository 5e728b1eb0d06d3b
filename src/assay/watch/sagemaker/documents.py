"""``statistics.json``, ``constraints.json`` and the violation files as typed documents, and how they are read.

Source: SageMaker developer guide, "Schema for Statistics", "Schema for Constraints", "Schema for Violations". Unknown
fields are ignored, since containers may write more; the fields that are known are checked.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from assay.errors import DocumentError
from assay.evidence import strict_json
from assay.watch.columns import shown

MAX_BYTES = 256 << 20
"""Largest file that is read."""

Type = Literal["Fractional", "Integral", "String", "Unknown"]
Switch = Literal["Enabled", "Disabled"]


class Common(Struct, frozen=True):
    """Rows with and without a value."""

    num_present: float
    num_missing: float


class Bucket(Struct, frozen=True):
    """Numbers in a range; the last bucket's upper bound is in it, others' are not."""

    lower_bound: float
    upper_bound: float
    count: float


class Sketch(Struct, frozen=True):
    """A KLL sketch: an item of level h stands for 2**h numbers."""

    parameters: dict[str, float]
    data: list[list[float]]


class Kll(Struct, frozen=True, omit_defaults=True):
    """Where the numbers lie."""

    buckets: list[Bucket] = field(default_factory=list)
    sketch: Sketch | None = None


class NumberDistribution(Struct, frozen=True):
    """Holder of `Kll`."""

    kll: Kll | None = None


class NumericalStatistics(Struct, frozen=True):
    """Of a column of numbers."""

    common: Common
    mean: float | None = None
    sum: float | None = None
    std_dev: float | None = None
    min: float | None = None
    max: float | None = None
    distribution: NumberDistribution | None = None


class Category(Struct, frozen=True):
    """How often a string occurs."""

    value: str
    count: float


class Categorical(Struct, frozen=True):
    """The frequent strings."""

    buckets: list[Category] = field(default_factory=list)


class StringDistribution(Struct, frozen=True):
    """Holder of `Categorical`."""

    categorical: Categorical | None = None


class StringStatistics(Struct, frozen=True):
    """Of a column of strings."""

    common: Common
    distinct_count: float | None = None
    distribution: StringDistribution | None = None


class FeatureStatistics(Struct, frozen=True, omit_defaults=True):
    """Of one column."""

    name: str
    inferred_type: Type
    numerical_statistics: NumericalStatistics | None = None
    string_statistics: StringStatistics | None = None


class Dataset(Struct, frozen=True):
    """Of the whole table."""

    item_count: float


class Statistics(Struct, frozen=True):
    """``statistics.json``."""

    dataset: Dataset
    features: list[FeatureStatistics]
    version: float = 0.0


class NumConstraints(Struct, frozen=True):
    """Of numbers."""

    is_non_negative: bool = False


class StringConstraints(Struct, frozen=True):
    """Of strings."""

    domains: list[str] | None = None


class DistributionConstraints(Struct, frozen=True):
    """How distributions are compared."""

    perform_comparison: Switch = "Enabled"
    comparison_threshold: float = 0.1
    comparison_method: str = "Robust"
    comparion_method: str | UnsetType = UNSET
    """The guide's own misspelling, which containers have copied."""
    categorical_comparison_threshold: float | None = None
    categorical_drift_method: str = "LInfinity"


class MonitoringConfig(Struct, frozen=True):
    """How the whole is judged."""

    evaluate_constraints: Switch = "Enabled"
    emit_metrics: Switch = "Enabled"
    datatype_check_threshold: float = 0.1
    domain_content_threshold: float = 0.1
    distribution_constraints: DistributionConstraints = DistributionConstraints()


class FeatureConstraints(Struct, frozen=True, omit_defaults=True):
    """Of one column."""

    name: str
    inferred_type: Type
    completeness: Annotated[float, Meta(ge=0, le=1)] | None = None
    num_constraints: NumConstraints | None = None
    string_constraints: StringConstraints | None = None
    monitoringConfigOverrides: dict[str, Any] | None = None


class ConstraintsFile(Struct, frozen=True):
    """``constraints.json``."""

    features: list[FeatureConstraints]
    monitoring_config: MonitoringConfig = MonitoringConfig()
    version: float = 0.0


class Violation(Struct, frozen=True):
    """One of data quality's."""

    feature_name: str
    constraint_check_type: str
    description: str


class Violations(Struct, frozen=True):
    """``constraint_violations.json``."""

    violations: list[Violation]


class BiasViolation(Struct, frozen=True):
    """One of bias drift's."""

    facet: str
    facet_value: str
    metric_name: str
    description: str
    constraint_check_type: str = "bias_drift_check"


class BiasViolations(Struct, frozen=True):
    """The bias monitor's file."""

    violations: list[BiasViolation]
    version: str = "1.0"


class AttributionViolation(Struct, frozen=True):
    """One of feature attribution drift's."""

    label: str
    description: str
    metric_name: str = "shap"
    constraint_check_type: str = "feature_attribution_drift_check"


class AttributionViolations(Struct, frozen=True):
    """The explainability monitor's file."""

    violations: list[AttributionViolation]
    version: str = "1.0"


_Document = TypeVar(
    "_Document", Statistics, ConstraintsFile, Violations, BiasViolations, AttributionViolations, MonitoringConfig
)


def read(data: bytes, kind: type[_Document], name: str) -> _Document:
    """A document from anybody: one meaning, finite numbers, known fields of the right type. Raises `DocumentError`."""
    return convert(strict_json.loads(data, name, max_bytes=MAX_BYTES), kind, name)


def convert(value: Any, kind: type[_Document], name: str) -> _Document:
    """As `read`, from a JSON value that was read strictly."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{name} is not as SageMaker writes it: {shown(str(error), 200)}") from None


def write(document: Struct) -> bytes:
    """A document as SageMaker's files are: indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
