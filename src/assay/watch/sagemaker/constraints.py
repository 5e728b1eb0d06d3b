"""``constraints.json`` to our constraints and back.

Its two shares are shares that must be reached (its own reports say "Expected match: 100.0%" for 1.0), compared as they
are; so what is read has ``chance: 0``. Ranges, distinctness and `chance` have no place there and are left out.
"""

from __future__ import annotations

from typing import Any

from assay.collect.profile.interface import Kind
from assay.errors import DocumentError
from assay.watch.columns import shown
from assay.watch.constraints.model import Column, Constraints, Drift, Settings
from assay.watch.sagemaker.documents import (
    ConstraintsFile,
    DistributionConstraints,
    FeatureConstraints,
    MonitoringConfig,
    NumConstraints,
    StringConstraints,
    Type,
    convert,
    read,
    write,
)

KINDS: dict[Type, Kind] = {
    "Integral": Kind.INTEGRAL,
    "Fractional": Kind.FRACTIONAL,
    "String": Kind.STRING,
    "Unknown": Kind.UNKNOWN,
}
"""Ours for theirs."""

TYPES: dict[Kind, Type] = {
    Kind.INTEGRAL: "Integral",
    Kind.FRACTIONAL: "Fractional",
    Kind.TIME: "Fractional",
    Kind.BOOLEAN: "String",
    Kind.STRING: "String",
    Kind.TEXT: "String",
    Kind.VECTOR: "Unknown",
    Kind.UNKNOWN: "Unknown",
}
"""Theirs for ours: a time is the number of its seconds, a vector nothing that they know."""

_METHODS = {"simple": "simple", "linf_simple": "simple", "robust": "robust", "linf_robust": "robust"}


def loads(data: bytes, name: str = "constraints.json") -> Constraints:
    """Constraints from the file. Raises `DocumentError`."""
    document = read(data, ConstraintsFile, name)
    made: dict[str, Column] = {}
    for feature in document.features:
        if feature.name in made:
            raise DocumentError(f"{name} names the feature {shown(feature.name)!r} twice")
        made[feature.name] = _column(feature, document.monitoring_config, name)
    return Constraints(settings=_settings(document.monitoring_config, name), columns=made)


def dumps(constraints: Constraints) -> bytes:
    """The file."""
    settings = constraints.settings
    config = MonitoringConfig(
        evaluate_constraints="Enabled" if settings.evaluate else "Disabled",
        emit_metrics="Enabled" if settings.emit_metrics else "Disabled",
        datatype_check_threshold=settings.type_share,
        domain_content_threshold=settings.domain_share,
        distribution_constraints=_distribution(settings.drift),
    )
    features = [_feature(name, column, settings) for name, column in constraints.columns.items()]
    return write(ConstraintsFile(features=features, monitoring_config=config))


def _settings(config: MonitoringConfig, name: str) -> Settings:
    return Settings(
        evaluate=config.evaluate_constraints == "Enabled",
        emit_metrics=config.emit_metrics == "Enabled",
        least_rows=1,
        chance=0.0,
        type_share=_share(config.datatype_check_threshold, "datatype_check_threshold", name),
        domain_share=_share(config.domain_content_threshold, "domain_content_threshold", name),
        drift=_drift(config.distribution_constraints, name),
    )


def _share(value: float, field: str, name: str) -> float:
    if not 0 <= value <= 1:
        raise DocumentError(f"{name}: {field} is {value:g}, not a share from 0 to 1")
    return value


def _drift(found: DistributionConstraints, name: str) -> Drift:
    numbers = found.comparison_threshold
    categories = found.categorical_comparison_threshold
    categories = numbers if categories is None else categories
    method = _METHODS.get((found.comparion_method or found.comparison_method).lower())
    if method is None:
        raise DocumentError(f"{name}: comparison_method is {found.comparison_method[:40]!r}", hint="Simple or Robust")
    if found.categorical_drift_method not in ("LInfinity", "ChiSquared"):
        raise DocumentError(
            f"{name}: categorical_drift_method is {found.categorical_drift_method[:40]!r}",
            hint="LInfinity or ChiSquared",
        )
    if numbers < 0 or categories < 0:
        raise DocumentError(f"{name}: a comparison threshold is below 0")
    return Drift(
        compare=found.perform_comparison == "Enabled",
        method="simple" if method == "simple" else "robust",
        categorical="l_infinity" if found.categorical_drift_method == "LInfinity" else "chi_square",
        effects={"ks": numbers, "l_infinity": categories},
    )


def _distribution(drift: Drift) -> DistributionConstraints:
    numbers = drift.effects.get("ks", DistributionConstraints().comparison_threshold)
    return DistributionConstraints(
        perform_comparison="Enabled" if drift.compare else "Disabled",
        comparison_threshold=numbers,
        comparison_method="Simple" if drift.method == "simple" else "Robust",
        categorical_comparison_threshold=drift.effects.get("l_infinity", numbers),
        categorical_drift_method="ChiSquared" if drift.categorical == "chi_square" else "LInfinity",
    )


def _column(feature: FeatureConstraints, config: MonitoringConfig, name: str) -> Column:
    made: dict[str, Any] = {"type": KINDS[feature.inferred_type], "completeness": feature.completeness}
    if feature.num_constraints is not None:
        made["non_negative"] = feature.num_constraints.is_non_negative
    if feature.string_constraints is not None and feature.string_constraints.domains is not None:
        made["domain"] = list(dict.fromkeys(feature.string_constraints.domains))
    own = feature.monitoringConfigOverrides
    if own:
        whole = convert(
            _under(own, config), MonitoringConfig, f"{name}: monitoringConfigOverrides of {shown(feature.name)}"
        )
        if whole.evaluate_constraints == "Disabled":
            return Column(required=False, drift=Drift(compare=False))
        if "datatype_check_threshold" in own:
            made["type_share"] = _share(whole.datatype_check_threshold, "datatype_check_threshold", name)
        if "domain_content_threshold" in own:
            made["domain_share"] = _share(whole.domain_content_threshold, "domain_content_threshold", name)
        if "distribution_constraints" in own:
            made["drift"] = _drift(whole.distribution_constraints, name)
    return Column(**made)


def _under(own: dict[str, Any], config: MonitoringConfig) -> dict[str, Any]:
    """A feature's own settings over the file's."""
    import msgspec

    whole: dict[str, Any] = msgspec.to_builtins(config)
    inner = own.get("distribution_constraints")
    if isinstance(inner, dict):
        return {**whole, **own, "distribution_constraints": {**whole["distribution_constraints"], **inner}}
    return {**whole, **own}


def _feature(name: str, column: Column, settings: Settings) -> FeatureConstraints:
    import msgspec

    kind = TYPES[column.type or Kind.UNKNOWN]
    own: dict[str, Any] = {}
    if column.type_share is not None and column.type_share != settings.type_share:
        own["datatype_check_threshold"] = column.type_share
    if column.domain_share is not None and column.domain_share != settings.domain_share:
        own["domain_content_threshold"] = column.domain_share
    if column.drift is not None:
        own["distribution_constraints"] = msgspec.to_builtins(_distribution(column.drift))
    return FeatureConstraints(
        name=name,
        inferred_type=kind,
        completeness=column.completeness,
        num_constraints=NumConstraints(column.non_negative) if kind in ("Integral", "Fractional") else None,
        string_constraints=StringConstraints(column.domain) if column.domain is not None else None,
        monitoringConfigOverrides=own,
    )
