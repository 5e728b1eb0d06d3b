"""What a decision means to those who are to be told: each rule that does not pass is a finding, open until it does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime

from assay.alerts.finding import Finding, Severity
from assay.config import Config
from assay.errors import AssayError
from assay.policy.verdict import Decision, Level, Verdict


def announce(decision: Decision, config: Config) -> Sequence[str]:
    """Tell the sinks of `assay.yaml`; the sentences that the user should see. Never raises and never waits.

    A file that was merely found in the target names nobody: a downloaded model must not choose who hears of it.
    """
    scheme, _, name = decision.target.partition(":")
    if scheme in ("dir", "file", "git", "oci") and os.path.exists(name := name.rpartition("@")[0] or name):
        real = os.path.realpath(name)
        if config.grants_itself(real if os.path.isdir(real) else os.path.dirname(real)):
            return [f"nobody is told: the assay.yaml in {config.directory!r} lies inside the target"]
    return tell(scope(decision), findings(decision), config)


def tell(about: str, found: Sequence[Finding], config: Config) -> Sequence[str]:
    """Say to the sinks of `assay.yaml` that ``found`` is all there is in the scope ``about``; the sentences that the
    user should see. Never raises and never waits.
    """
    from assay import alerts
    from assay.alerts import settings

    try:
        chosen = settings.parse(config.alerts, os.path.join(config.directory, "assay.yaml"))
    except AssayError as error:
        return [f"nobody is told: {error.message}"]
    return alerts.report(about, found, chosen, datetime.now(UTC)).warnings


def scope(decision: Decision) -> str:
    """Findings of one scope replace each other: those of one policy, about one thing, at one gate.

    A remote target counts without its revision: the next version mends this one. Of a local one's path only a digest
    is told: sinks are other people's services.
    """
    scheme, _, name = decision.target.partition(":")
    if scheme in ("dir", "file"):
        path = os.path.realpath(name)
        name = f"{os.path.basename(path)} ({hashlib.sha256(os.fsencode(path)).hexdigest()[:8]})"
    elif "@" in name:
        name = name.rpartition("@")[0]
    gate = f" at {decision.gate}" if decision.gate else ""
    return f"policy {decision.policy.id}{gate}: {scheme}:{name}"


def findings(decision: Decision) -> list[Finding]:
    """The rules that do not pass, as findings; those of level ``note`` are nobody's alarm."""
    return [
        Finding(
            result.rule,
            f"{result.name}: {result.verdict.value}",
            Severity.HIGH if result.level is Level.ERROR else Severity.MEDIUM,
            result.reason,
            f"policy {decision.policy.id}",
            decision.name,
            decision.sha256,
            result.mitigation,
            result.frameworks,
            {
                "verdict": result.verdict.value,
                "level": result.level.value,
                "control": result.control,
                "violations": [violation.message for violation in result.violations[:20]],
                "commands": [need.command for need in result.needs if need.command],
            },
        )
        for result in decision.results
        if result.level is not Level.NOTE
        and result.verdict is not Verdict.NOT_APPLICABLE
        and not result.verdict.accepts
    ]
