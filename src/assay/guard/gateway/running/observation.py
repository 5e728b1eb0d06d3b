"""Those who remember and learn, together: samples come in; files, findings and standings come out.

It runs in the keeper's process, or in a thread beside an ASGI application. It is never called on a request's path, and
a part of it that fails is said and costs nobody an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from assay.alerts.finding import Finding
from assay.alerts.settings import Settings as AlertSettings
from assay.errors import StoreError
from assay.files import write_atomic
from assay.guard.gateway import parts
from assay.guard.gateway.admin.interface import CallerFigures
from assay.guard.gateway.interface import Answers, Level, Sample, Standing, Table
from assay.guard.gateway.running.counted import Counted
from assay.guard.gateway.running.patience import Patient
from assay.guard.gateway.running.saved import learned_beside, restored, save, save_findings

SAVED = 10.0
"""Seconds between two times that it is written what detectors have learned; standings are when they change."""

Change = tuple[str, Standing | None]
"""A key and how it stands from now on; None: like everybody."""


class Detecting(parts.Detector, Protocol):
    """What is wanted of `detect`, beyond one sample."""

    def findings(self) -> Sequence[Finding]:
        """All that is open at the moment."""

    def forget(self, key: str) -> None:
        """Somebody released this key: what was held against it starts anew."""

    def export_state(self) -> bytes:
        """What has to survive a restart."""

    def restore_state(self, data: bytes) -> None:
        """Raises `DocumentError`."""

    def figures(self) -> Mapping[str, float]:
        """What was counted, by name."""

    def scores(self, key: str) -> Mapping[str, float]:
        """How far somebody is towards each alarm, 1 being there."""


class Capturing(Protocol):
    """What is wanted of `capture`."""

    def see(self, sample: Sample, table: Table | None, answers: Answers | None) -> None:
        """Keep one that was drawn."""

    def tick(self, now: float) -> None:
        """Close files that are old enough."""

    def close(self) -> None:
        """Close all of them."""

    @property
    def figures(self) -> Any:
        """A dataclass of what was counted."""


@dataclass(frozen=True, slots=True)
class Learning:
    """The rooms that an observation asks."""

    routes: parts.Routes
    detectors: Detecting | None
    capture: Capturing | None
    alerts: AlertSettings


class Observation:
    """See the module. Not thread-safe: one thread calls it."""

    def __init__(
        self,
        rooms: Learning,
        place: str,
        *,
        scope: str,
        tell: Callable[[Sequence[Change]], None],
        warn: Callable[[str], None],
        before: Observation | None = None,
    ) -> None:
        """``place`` is the file of standings; ``before``, closed, is who has known them until now. Raises
        `DocumentError` where a file is damaged.
        """
        self._rooms = rooms
        self._place = place
        self._scope = scope
        self._tell = tell
        self._warn = warn
        self.standings: dict[str, Standing] = {}
        """Of everybody who has one."""
        self.seen = 0
        """Samples."""
        self._callers = Counted()
        self._said: set[str] = set()
        self._open: tuple[str, ...] | None = None
        self._saved = 0.0
        self._cost = 0.0
        self._changed = False
        self._patient: Patient = Patient() if before is None else before._patient
        if before is None:
            self.standings |= restored(place, rooms.detectors)
        else:
            self._follow(before)

    def take(self, samples: Iterable[Sample]) -> None:
        """Look at requests that have ended, in order."""
        rooms = self._rooms
        changes: list[Change] = []
        for sample in samples:
            self.seen += 1
            self._callers.count(sample)
            try:
                table, answers = rooms.routes.table(sample), rooms.routes.answers(sample)
            except Exception as error:  # a body is a stranger's: it must not end the keeper
                self.say_once(f"a body could not be read: {type(error).__name__}")
                table = answers = None
            if rooms.detectors is not None:
                try:
                    changes += rooms.detectors.see(sample, table, answers)
                except Exception as error:
                    self.say_once(f"a detector failed: {type(error).__name__}: {error}")
            if sample.capture and rooms.capture is not None:
                try:
                    rooms.capture.see(sample, table, answers)
                except Exception as error:
                    self.say_once(f"capture failed: {error}")
        self._apply(changes, self._patient())

    def set(self, key: str, standing: Standing | None) -> None:
        """By hand: how ``key`` stands; None releases it. Written before it returns. Raises `StoreError` where it holds,
        and cannot be written.
        """
        if standing is None and self._rooms.detectors is not None:
            self._rooms.detectors.forget(key)
        self._apply([(key, standing)], 0.0, by_hand=True)
        try:
            if standing is None:
                self._save_learned()
            self._save()
        except OSError as error:
            raise StoreError(
                f"it holds from now on, but not after a restart: {self._place} cannot be written: {error.strerror}"
            ) from None

    def tick(self, now: float) -> None:
        """Called about each second: ends what has lasted long enough, closes files, saves, tells."""
        patient = self._patient()
        over = [key for key, standing in self.standings.items() if standing.until <= patient]
        self._apply([(key, None) for key in over], patient)
        if self._rooms.capture is not None:
            try:
                self._rooms.capture.tick(now)
            except Exception as error:
                self.say_once(f"capture failed: {error}")
        if self._changed:
            self._try(self._save)
        if not 0 <= now - self._saved < max(SAVED, 20 * self._cost):
            self._saved = now
            self._try(self._save_learned)
        self._announce(now)

    def close(self) -> None:
        """Everything is written. Whoever goes on with it nevertheless may."""
        if self._rooms.capture is not None:
            try:
                self._rooms.capture.close()
            except Exception as error:
                self.say_once(f"capture failed: {error}")
        self._try(self._save)
        self._try(self._save_learned)

    def callers(self, most: int) -> list[CallerFigures]:
        """Those who stand otherwise than others first, then by how much they asked."""
        names = dict.fromkeys([*self.standings, *self._callers])
        found = [self._callers.figures(name, self.standings.get(name)) for name in names]
        found.sort(key=lambda one: (one.level == "ok", -one.requests))
        detectors = self._rooms.detectors
        if detectors is None:
            return found[:most]
        return [msgspec.structs.replace(one, scores=_told(detectors.scores(one.id))) for one in found[:most]]

    def knows(self, key: str) -> bool:
        """Whether a caller was seen, or has a standing."""
        return key in self._callers or key in self.standings

    def levels(self) -> dict[str, int]:
        """How many stand how."""
        counted = {level.name.lower(): 0 for level in Level if level}
        for standing in self.standings.values():
            counted[Level(standing.level).name.lower()] += 1
        return counted

    def figures(self) -> dict[str, float]:
        """What was counted here, for metrics."""
        rooms = self._rooms
        found = {"samples": float(self.seen)}
        if rooms.detectors is not None:
            found |= {f"detect_{name}": float(value) for name, value in rooms.detectors.figures().items()}
        if rooms.capture is not None:
            found |= {f"capture_{name}": float(value) for name, value in asdict(rooms.capture.figures).items()}
        return found

    def _apply(self, changes: Sequence[Change], now: float, *, by_hand: bool = False) -> None:
        told = []
        for key, standing in changes:
            before = self.standings.get(key)
            if before is not None and before.by_hand and not (by_hand or before.until <= now):
                continue  # what a person said is not for detectors to change
            told.append((key, standing))
            if standing is None or standing.level is Level.OK:
                self.standings.pop(key, None)
            else:
                self.standings[key] = standing
        if told:
            self._changed = True
            self._tell(told)

    def _announce(self, now: float) -> None:
        """Write down and tell people, where there is something that they have not heard."""
        if self._rooms.detectors is None:
            return
        found = self._rooms.detectors.findings()
        names = tuple(sorted(finding.key for finding in found))
        if names == self._open:
            return
        self._open = names
        self._try(lambda: save_findings(self._place, found))
        if not self._rooms.alerts.sinks:
            return
        from assay import alerts

        for warning in alerts.report(self._scope, found, self._rooms.alerts, datetime.fromtimestamp(now, UTC)).warnings:
            self.say_once(warning)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self.say_once(f"{self._place} cannot be written: {error.strerror}")

    def _save(self) -> None:
        save(self._place, self.standings)
        self._changed = False

    def _save_learned(self) -> None:
        if self._rooms.detectors is None:
            return
        began = time.monotonic()
        write_atomic(learned_beside(self._place), self._rooms.detectors.export_state(), mode=0o600)
        self._cost = time.monotonic() - began

    def _follow(self, before: Observation) -> None:
        """Go on with what is in memory: the disk may have taken nothing."""
        self.standings |= before.standings
        self._callers, self.seen, self._open = before._callers, before.seen, before._open
        self._changed = before._changed
        old, new = before._rooms.detectors, self._rooms.detectors
        if old is not None and new is not None:
            new.restore_state(old.export_state())

    def say_once(self, sentence: str) -> None:
        """To whoever reads the gateway's errors, however often it happens."""
        if sentence not in self._said and len(self._said) < 1000:
            self._said.add(sentence)
            self._warn(sentence)


def _told(scores: Mapping[str, float]) -> dict[str, float]:
    """Those that say something, in hundredths."""
    return {name: round(value, 2) for name, value in scores.items() if value >= 0.005}
