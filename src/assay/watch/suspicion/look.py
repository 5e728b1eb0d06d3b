"""A suspicion as a look: one check for each signal, one for the pattern, and numbers for the metric store."""

from __future__ import annotations

from assay.watch.interface import Check, Look, Metric, Outcome, Topic, Window
from assay.watch.suspicion.interface import Pattern, Suspicion


def look(
    suspicion: Suspicion, window: Window, *, baseline: str | None = None, dimensions: dict[str, str] | None = None
) -> Look:
    """``baseline`` is the digest of the reference. Signals are notes; the pattern is what a policy asks for."""
    where = dimensions or {}
    undecided = suspicion.pattern is Pattern.UNDECIDED
    outcome = Outcome.UNDECIDED if undecided else Outcome.VIOLATED if suspicion.pattern.suspect else Outcome.HOLDS
    first = Check(
        "poisoning",
        outcome,
        expected=(Pattern.CLEAN.value, Pattern.COVARIATE_SHIFT.value),
        observed=suspicion.pattern.value,
        message=suspicion.text,
    )
    checks = [
        Check(
            f"poisoning:{signal.name}",
            # A signal alone is no violation: only together do they make a pattern.
            Outcome.HOLDS if outcome is Outcome.VIOLATED and not signal.fires else outcome,
            expected=round(signal.usual, 6),
            observed=round(signal.value, 6),
            severity="note",
            message=signal.text,
            measures={"value": signal.value, "usual": signal.usual},
        )
        for signal in suspicion.signals
    ]
    metrics = [Metric(f"poisoning_{one.name}", window.end, one.value, dimensions=where) for one in suspicion.signals]
    metrics.append(Metric("poisoning_suspected", window.end, float(outcome is Outcome.VIOLATED), dimensions=where))
    return Look(
        Topic.POISONING,
        window,
        0 if undecided else suspicion.new_rows,
        (first, *checks),
        tuple(metrics),
        baseline,
        details={
            "pattern": suspicion.pattern.value,
            "onset": suspicion.onset,
            "sources": [
                {"source": one.source, "rows": one.rows, "contradicted": one.contradicted, "blame": round(one.blame, 4)}
                for one in suspicion.sources[:50]
            ],
            "rows": list(suspicion.rows),
            "groups": list(suspicion.groups),
            "label_rates": {name: list(rates) for name, rates in suspicion.label_rates.items()},
            "notes": list(suspicion.notes),
        },
    )
