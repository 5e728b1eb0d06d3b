"""The mechanisms by which a step can be watched, best first, and the choice of one that works here."""

from __future__ import annotations

from collections.abc import Mapping

from assay.collect.trace.hook_only import AuditHook
from assay.collect.trace.interface import Tracer
from assay.collect.trace.ptrace import Ptrace
from assay.collect.trace.supervisor import UserNotification
from assay.errors import UndecidedError

TRACERS: Mapping[str, Tracer] = {
    tracer.name: tracer for tracer in (UserNotification(), Ptrace(), AuditHook())
}  # fmt: skip
"""By name, best first. The last one works everywhere and proves nothing."""


def choose(*, evidence: bool = True) -> tuple[Tracer, dict[str, str]]:
    """The best mechanism that works here, and why those before it do not. With ``evidence`` it has to be one that a
    step cannot lie to; raises `UndecidedError` when there is none.
    """
    why: dict[str, str] = {}
    for name, tracer in TRACERS.items():
        if evidence and name == AuditHook.name:
            break
        reason = tracer.available()
        if reason is None:
            return tracer, why
        why[name] = reason
    raise UndecidedError(
        "no step can be watched here: " + "; ".join(f"{name}: {reason}" for name, reason in why.items()),
        hint="Python's own audit events can be recorded instead, which is no evidence of what else was done",
    )
