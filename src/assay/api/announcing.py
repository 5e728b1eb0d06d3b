"""What a decision means to those who are to be told: each rule that does not pass is a finding, open until it does."""

from __future__ import annotations

import os
from collections.abc import Sequence

from assay.alerts.finding import Finding, Severity
from assay.config import Config
from assay.errors import AssayError
from assay.policy.verdict import Decision, Level, Verdict


def announce(decision: Decision, config: Config) -> Sequence[str]:
    """Tell the sinks of `assay.yaml`; the sentences that the user should see. Never raises and never waits."""
    from assay import alerts
    from assay.alerts import settings

    try:
        chosen = settings.parse(config.alerts, os.path.join(config.directory, "assay.yaml"))
    except AssayError as error:
        return [f"nobody is told: {error.message}"]
    return alerts.report(scope(decision), findings(decision), chosen, decision.time).warnings


def scope(decision: Decision) -> str:
    """Findings of one scope replace each other: those of one policy, about one thing, at one gate."""
    gate = f" at {decision.gate}" if decision.gate else ""
    return f"policy {decision.policy.id}{gate}: {decision.name}"


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
