"""From an alarm to a flag, a standing and a finding, and what keeps an alarm from being one: that everybody moves.

It remembers who is flagged, and never treats everybody worse because everybody moved.
"""

from __future__ import annotations

from dataclasses import replace

from assay.alerts.finding import Finding
from assay.guard.gateway.detect.drift import ESTABLISHED, moved
from assay.guard.gateway.detect.flags import Flags, Kept, drift_finding
from assay.guard.gateway.detect.memory import Entry, Memory
from assay.guard.gateway.detect.reactions import Reactions
from assay.guard.gateway.interface import Level, Sample, Standing
from assay.guard.gateway.settings.keeping import Detect

DRIFT_LASTS = 86400.0
"""Seconds after which drift that is not seen again is no finding any more."""
_SHARED = ("pooled:owner", "pooled:net", "pooled:near", "pooled:flip", "pooled:outlying")
MOVING = frozenset({"far", "outlying", "residual", "margin", *_SHARED})
"""Signals that drift raises too."""

Change = tuple[str, Standing]


class Alarms:
    """Flags by key, and the changes of standings that have not been taken yet."""

    def __init__(self, settings: Detect, version: str, callers: Memory) -> None:
        """``version``: of the calibration. ``callers``: the witnesses of drift."""
        self.flags = Flags(version)
        self.raised = 0
        self.calmed = 0
        self._version = version
        self._signals = frozenset(settings.signals)
        self._reactions = Reactions(settings)
        self._callers = callers
        self._changes: list[Change] = []
        self._drift: tuple[float, Finding] | None = None

    def wanted(self, *signals: str) -> bool:
        """Whether one of these is to be looked at."""
        return not self._signals or not self._signals.isdisjoint(signals)

    def dealt_with(self, key: str, at: float) -> bool:
        """Whether somebody is flagged so that it is, or would be, treated otherwise."""
        flag = self.flags.get(key, at)
        return flag is not None and flag.would > Level.LOG

    def say(
        self, key: str, entry: Entry | None, why: str, sample: Sample, *, most: Level = Level.BLOCK, note: str = ""
    ) -> None:
        """Flag, evidence, standing. ``entry``: what is remembered of ``key``; ``most``: the signal is no ground for
        more. While most callers move, signals that drift raises too enforce nothing.
        """
        self.raised += 1
        group = 0 if entry is None else entry.group
        drift = why in MOVING and (share := moved(self._callers.entries, group)) > 0.5
        if drift:
            self.calmed += 1
            self.drifted(sample, why, share)
            self._calm(sample.at)
        before = self.flags.get(key, sample.at)
        flag = self._reactions.flag(why, sample.at, before, most=most, drift=drift)
        evidence = tuple(entry.state.evidence) if entry is not None and entry.state is not None else ()
        self.flags.set(key, Kept(flag, sample.model, evidence, note, sample.id), sample.at)
        if before is None or (before.level, before.until, before.why) != (flag.level, flag.until, flag.why):
            self._changes.append((key, flag.standing))

    def drifted(self, sample: Sample, signal: str, share: float) -> None:
        """All callers move, as ``signal`` says; ``share``: of callers, or of queries."""
        signals = {signal} | (set(self._drift[1].details["signals"]) if self._drift is not None else set())
        self._drift = (sample.at, drift_finding(sample.model, self._version, signals, share))

    def take(self) -> list[Change]:
        """How callers stand from now on, where that has changed since the last time."""
        if not self._changes:
            return []
        changes, self._changes = self._changes, []
        return changes

    def findings(self, now: float) -> list[Finding]:
        """All that is open at ``now``."""
        found = self.flags.findings(now)
        if self._drift is not None and now - self._drift[0] <= DRIFT_LASTS:
            found.append(self._drift[1])
        return found

    def _calm(self, at: float) -> None:
        """Those who were flagged in the last hour, before it was known that all move, are treated as usual again."""
        for key, kept in list(self.flags.kept.items()):
            flag = kept.flag
            if flag.calm or flag.why not in MOVING or not 0.0 <= at - flag.since < 3600.0:
                continue
            entry = self._callers.entries.get(key)
            if entry is not None and entry.seen >= ESTABLISHED:
                calmed = self._reactions.calmed(flag)
                self.flags.set(key, replace(kept, flag=calmed), at)
                self._changes.append((key, calmed.standing))
