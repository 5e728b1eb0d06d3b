"""Those who remember and learn, together: samples come in; files, findings and standings come out.

It runs in the keeper's process, or in a thread beside an ASGI application. It is never called on a request's path, and
a part of it that fails is said and costs nobody an answer.
"""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from assay.alerts.finding import Finding
from assay.alerts.settings import Settings as AlertSettings
from assay.errors import AssayError, DocumentError, StoreError
from assay.files import read_file, write_atomic
from assay.guard.gateway import parts
from assay.guard.gateway.admin.interface import CallerFigures
from assay.guard.gateway.interface import Answers, Level, Sample, Standing, Table
from assay.guard.gateway.running.patience import Patient

SAVED = 10.0
"""Seconds between two times that it is written what detectors have learned; standings are when they change."""

CALLERS = 10_000
"""Callers who are counted one by one; the one not seen for longest goes first."""

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


class _Saved(msgspec.Struct, frozen=True):
    """The file of standings. What detectors have learned is in one beside it, which is larger."""

    version: int
    standings: dict[str, tuple[int, float | None, str, bool]]
    """Key to level, end (None: none), reason, and whether a person said it."""


class _Caller:
    """What is counted of one caller."""

    __slots__ = ("owner", "refused", "requests", "rows", "seen", "tokens")

    def __init__(self) -> None:
        self.owner = ""
        self.requests = self.refused = self.rows = self.tokens = 0
        self.seen = 0.0

    def count(self, sample: Sample) -> None:
        """One request."""
        self.owner = sample.owner
        self.requests += 1
        self.refused += bool(sample.rule)
        self.rows += sample.rows
        self.tokens += sample.tokens
        self.seen = sample.at


def findings_beside(standings: str) -> str:
    """The file of open findings (documents of `alerts.finding`), beside a file of standings."""
    return f"{standings.removesuffix('.json')}-findings.json"


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
        self._findings = findings_beside(place)
        self._scope = scope
        self._tell = tell
        self._warn = warn
        self.standings: dict[str, Standing] = {}
        """Of everybody who has one."""
        self.seen = 0
        """Samples."""
        self._callers: OrderedDict[str, _Caller] = OrderedDict()
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
            self._count(sample)
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
        found = [self._figures(name) for name in {**dict.fromkeys(self.standings), **self._callers}]
        found.sort(key=lambda one: (one.level == "ok", -one.requests))
        return found[:most]

    def knows(self, key: str) -> bool:
        """Whether a caller was seen, or has a standing."""
        return key in self._callers or key in self.standings

    def _figures(self, name: str) -> CallerFigures:
        known, standing = self._callers.get(name) or _Caller(), self.standings.get(name)
        level = Level(standing.level).name.lower() if standing is not None else "ok"
        return CallerFigures(
            name,
            owner=known.owner,
            level=level,  # type: ignore[arg-type]
            why=standing.why if standing is not None else "",
            requests=known.requests,
            refused=known.refused,
            rows=known.rows,
            tokens=known.tokens,
            seen=known.seen,
        )

    def _count(self, sample: Sample) -> None:
        known = self._callers.get(sample.caller)
        if known is None:
            if len(self._callers) >= CALLERS:
                self._callers.popitem(last=False)
            known = self._callers[sample.caller] = _Caller()
        else:
            self._callers.move_to_end(sample.caller)
        known.count(sample)

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
        written = msgspec.json.encode({"version": 1, "findings": [asdict(one) for one in found]})
        self._try(lambda: write_atomic(self._findings, written, mode=0o600))
        if not self._rooms.alerts.sinks:
            return
        from assay import alerts

        for warning in alerts.report(self._scope, found, self._rooms.alerts, datetime.fromtimestamp(now, UTC)).warnings:
            self.say_once(warning)

    def _try(self, save: Callable[[], None]) -> None:
        try:
            save()
        except OSError as error:
            self.say_once(f"{self._place} cannot be written: {error.strerror}")

    def _save(self) -> None:
        standings = {
            key: (int(one.level), None if math.isinf(one.until) else one.until, one.why, one.by_hand)
            for key, one in self.standings.items()
        }
        write_atomic(self._place, msgspec.json.encode(_Saved(1, standings)), mode=0o600)
        self._changed = False

    def _save_learned(self) -> None:
        if self._rooms.detectors is None:
            return
        began = time.monotonic()
        write_atomic(_learned(self._place), self._rooms.detectors.export_state(), mode=0o600)
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


def restored(place: str, detectors: Detecting | None) -> dict[str, Standing]:
    """Standings from the file ``place``, and what detectors had learned into them. Raises `DocumentError`."""
    found: dict[str, Standing] = {}
    name = place
    try:
        if os.path.lexists(name):
            saved = msgspec.json.decode(read_file(name), type=_Saved)
            if saved.version != 1:
                raise DocumentError(f"it has the version {saved.version}, which is not known")
            for key, (level, until, why, by_hand) in saved.standings.items():
                found[key] = Standing(Level(level), math.inf if until is None else until, why, by_hand)
        name = _learned(place)
        if detectors is not None and os.path.lexists(name):
            detectors.restore_state(read_file(name))
    except (AssayError, msgspec.MsgspecError, ValueError) as error:
        # Blocked callers would be free again: that is for a person to decide, not for a damaged file.
        why = error.message if isinstance(error, AssayError) else str(error)
        raise DocumentError(
            f"{name} is damaged, and it says who is blocked: {why}", hint="restore it, or delete it"
        ) from None
    return found


def _learned(place: str) -> str:
    """The file beside that of the standings."""
    return f"{place.removesuffix('.json')}-learned.json"
