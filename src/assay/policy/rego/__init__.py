"""Rules in Rego: engines that answer them, what they return, and what can be seen in them before they are asked.

A rule is a program by somebody else that reads evidence by somebody else. It runs in a process of its own, with limits,
and whatever goes wrong there is an answer that allows nothing. This file imports no engine until one is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.policy.rego.interface import Engine

ENGINES = {
    "auto": ("assay.policy.rego.fallback", "AutoEngine"),
    "regorus": ("assay.policy.rego.regorus", "RegorusEngine"),
    "opa": ("assay.policy.rego.opa", "OpaEngine"),
}
"""Name to module and class. ``auto`` is regorus, and opa for what regorus can't read."""


def engine(name: str = "auto") -> Engine:
    """An engine by name. Raises `UsageError` for an unknown name, `UndecidedError` when its program is not there."""
    from importlib import import_module

    from assay.errors import UsageError

    if name not in ENGINES:
        raise UsageError(f"'{name}' is not a Rego engine", hint=f"use one of: {', '.join(sorted(ENGINES))}")
    module, made = ENGINES[name]
    built: Engine = getattr(import_module(module), made)()
    return built
