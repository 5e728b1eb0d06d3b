"""Who is flagged, with the evidence, until it has lasted long enough or somebody releases them.

Flags outlive what is remembered of a caller and a restart. Their number is bounded: what has lasted goes first, then
what weighs least and is oldest; nobody is freed by others being flagged, before there are tens of thousands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from assay.alerts.finding import Finding, Severity
from assay.guard.gateway.detect.cusum import SIGNALS
from assay.guard.gateway.detect.reactions import Flag
from assay.guard.gateway.interface import Level

MOST = 50_000
"""Flags."""
TOLD = 1000
"""Findings at a time, the worst and latest."""

WORDS: Mapping[str, str] = {
    "near": "asks about points very close to each other",
    "far": "asks about points unusually far from each other",
    "outlying": "asks about points far from all training data",
    "residual": "asks about points that no training data resembles",
    "margin": "asks about points where the model hesitates between two classes",
    "flip": "finds close points with different labels, as a search for the decision boundary does",
    "rejected": "sends what the schema refuses, again and again",
    "rows": "asks for many times more predictions in a day than any honest caller",
    "bits": "was told many times more in a day than any honest caller",
    "tokens": "used many times more tokens in a day than any honest caller",
    "pooled": "together with others asks what honest callers do not",
}
_SEVERITY = {Level.LOG: Severity.LOW, Level.SLOW: Severity.MEDIUM, Level.HARDEN: Severity.MEDIUM}


@dataclass(frozen=True, slots=True)
class Kept:
    """A flag with what it rests on."""

    flag: Flag
    model: str
    evidence: tuple[tuple[str, int, float], ...]
    """Request ids, signals and logarithms of p-values."""
    note: str = ""
    """What else is to be said: counts, limits."""
    request: str = ""
    """The request at which it was."""


class Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flag in the file of what survives a restart."""

    why: str
    would: Level
    level: Level
    since: float
    last: float
    until: float | None
    """None: without end."""
    times: int
    calm: bool
    model: str
    evidence: tuple[tuple[str, int, float], ...]
    note: str
    request: str


class Flags:
    """Flags by key."""

    def __init__(self, version: str) -> None:
        self._version = version
        self.kept: dict[str, Kept] = {}

    def get(self, key: str, now: float) -> Flag | None:
        """The flag that counts at ``now``."""
        kept = self.kept.get(key)
        return kept.flag if kept is not None and kept.flag.until > now else None

    def set(self, key: str, kept: Kept, now: float) -> None:
        """Keep a flag, the latest last."""
        self.kept.pop(key, None)
        if len(self.kept) >= MOST:
            over = [other for other, one in self.kept.items() if one.flag.until <= now]
            if not over:
                over = [min(self.kept, key=lambda other: (self.kept[other].flag.level, self.kept[other].flag.last))]
            for other in over:
                del self.kept[other]
        self.kept[key] = kept

    def findings(self, now: float) -> list[Finding]:
        """One for each flag that counts, the worst first."""
        found = [(key, kept) for key, kept in self.kept.items() if kept.flag.until > now]
        found.sort(key=lambda item: (-item[1].flag.would, -item[1].flag.last))
        return [self._finding(key, kept) for key, kept in found[:TOLD]]

    def _finding(self, key: str, kept: Kept) -> Finding:
        flag = kept.flag
        did = "treated as usual" if flag.level <= Level.LOG else f"treated as {flag.level.name}"
        would = f"; it would have been {flag.would.name}" if flag.would > flag.level else ""
        return Finding(
            key=f"caller:{key}:{flag.why}",
            title=f"caller flagged: {flag.why}",
            severity=_SEVERITY.get(flag.would, Severity.HIGH),
            message=f"{key} {WORDS.get(flag.why.partition(':')[0], 'is flagged')}: {did}{would}",
            source="gateway",
            target_name=kept.model,
            mitigation="look at the requests; release the caller if they are honest, and calibrate anew if many are",
            frameworks={"atlas": ("AML.T0024", "AML.T0040")},
            details={
                "caller": key,
                "signal": flag.why,
                "level": flag.level.name.lower(),
                "would": flag.would.name.lower(),
                "since": _time(flag.since),
                "until": None if math.isinf(flag.until) else _time(flag.until),
                "alarms": flag.times,
                "drift": flag.calm,
                "calibration": self._version,
                "evidence": [
                    {"request": request, "signal": SIGNALS[index], "p": math.exp(log)}
                    for request, index, log in kept.evidence
                ],
                "request": kept.request,
                "note": kept.note,
            },
        )

    def export(self) -> dict[str, Saved]:
        """For a restart."""
        saved = {}
        for key, kept in self.kept.items():
            flag, until = kept.flag, None if math.isinf(kept.flag.until) else kept.flag.until
            saved[key] = Saved(
                flag.why, flag.would, flag.level, flag.since, flag.last, until, flag.times, flag.calm,
                kept.model, kept.evidence, kept.note, kept.request,
            )  # fmt: skip
        return saved

    def restore(self, saved: Mapping[str, Saved]) -> None:
        """What `export` gave. Raises `ValueError` where it is nothing like it."""
        for key, one in saved.items():
            if any(not 0 <= index < len(SIGNALS) for _, index, _ in one.evidence):
                raise ValueError("a flag's evidence names no signal")
            until = math.inf if one.until is None else one.until
            flag = Flag(one.why, one.would, one.level, one.since, one.last, until, one.times, one.calm)
            self.kept[key] = Kept(flag, one.model, one.evidence, one.note, one.request)


def drift_finding(model: str, version: str, signals: Iterable[str], share: float) -> Finding:
    """All callers move: that is for the monitors."""
    return Finding(
        key=f"drift:{model}",
        title="all callers ask otherwise than they did",
        severity=Severity.MEDIUM,
        message="the queries of most callers have changed at once: that is drift and no attack, and nobody is treated "
        "otherwise for it",
        source="gateway",
        target_name=model,
        mitigation="compare the captured traffic with the baseline (assay monitor check), then calibrate anew",
        details={"kind": "drift", "calibration": version, "signals": sorted(signals), "share": share},
    )


def _time(at: float) -> str:
    return datetime.fromtimestamp(min(max(at, 0.0), 253402300799.0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
