"""Checks: the questions that ``require:`` can put to a predicate without any code of the user's.

`CHECKS` imports a check when it is asked for: a policy pays only for what it uses. A new check is one file here and one
line below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from assay.policy.checks.interface import Check

_MODULES = {
    "base-models": "base_models",
    "bias": "bias",
    "components": "components",
    "dataset": "dataset",
    "field": "field",
    "findings": "findings",
    "formats": "formats",
    "isolated": "isolated",
    "licences": "licences",
    "metrics": "metrics",
    "monitoring": "monitoring",
    "ntia": "ntia",
    "packages": "packages",
    "provenance": "provenance",
    "scan": "scan",
    "tests": "tests",
    "vulnerabilities": "vulnerabilities",
}


class _Registry(Mapping[str, Check]):
    """Name to check, imported at first use."""

    def __getitem__(self, name: str) -> Check:
        check: Check = import_module(f"{__name__}.{_MODULES[name]}").CHECK
        return check

    def __contains__(self, name: object) -> bool:
        return name in _MODULES

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


CHECKS: Mapping[str, Check] = _Registry()
"""Every check, by the key in ``require:`` that calls it."""
