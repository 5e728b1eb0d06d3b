"""All detectors together: a sample comes in, standings that change go out, and the evidence is kept for findings.

It runs out of band, in one thread. It never raises on what a stranger sends, never holds a query's contents beyond the
numbers that the detectors need, and never treats everybody worse because everybody moved.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from assay.alerts.finding import Finding
from assay.errors import DocumentError
from assay.guard.gateway.detect import budgets, plain, texts
from assay.guard.gateway.detect.alarms import Alarms, Change
from assay.guard.gateway.detect.answers import information, labels_of, margins
from assay.guard.gateway.detect.calibration import Budgets, Calibration, signals_of, space_of
from assay.guard.gateway.detect.caller import Eye, State
from assay.guard.gateway.detect.crowd import FRESH
from assay.guard.gateway.detect.cusum import SIGNALS
from assay.guard.gateway.detect.flags import Saved
from assay.guard.gateway.detect.members import Members
from assay.guard.gateway.detect.memory import Entry, Memory
from assay.guard.gateway.detect.together import POOLED, Several, Together
from assay.guard.gateway.interface import Answers, Level, Sample, Table
from assay.guard.gateway.settings.keeping import Detect

FEW = 4
"""Rows of a request up to which one after the other is faster than all at once."""
LATEST = 0.3
"""Weight of the latest query in `Entry.odd`: two unusual ones are enough to have moved."""


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What survives a restart."""

    version: int
    calibration: str
    callers: dict[str, str]
    """Sums and counts, base64."""
    pools: dict[str, str]
    flags: dict[str, Saved]


class Detectors:
    """See the module; implements `parts.Detector`."""

    def __init__(self, settings: Detect, calibration: Calibration | None = None) -> None:
        """Raises `UsageError` where the encoder leads to no function."""
        self._version = calibration.version if calibration is not None else ""
        self._memory = Memory(settings.callers)
        self._pools = Memory(max(100, settings.callers // 4))
        self._members = Members(4 * settings.callers)
        self._alarms = Alarms(settings, self._version, self._memory)
        self._encoder = texts.Encoder(settings.encoder) if settings.encoder else None
        known = calibration.budgets if calibration is not None else Budgets()
        self._rejections = budgets.rejections(known.rejected)
        wanted = self._alarms.wanted
        each = {"rows": known.rows, "bits": known.bits, "tokens": known.tokens}
        self._daily = {name: budgets.FACTOR * most for name, most in each.items() if most and wanted(name)}
        """What nobody honest uses in a day."""
        self._eye: Eye | None = None
        self._together: Together | None = None
        self._size = 0
        if calibration is not None:
            space = space_of(calibration.space)
            self._eye = Eye(space, signals_of(calibration.signals), calibration.usual, wanted)
            self._together = Together(self._eye, calibration, self._memory, self._pools, self._alarms)
            self._size = space.components
        self._now = 0.0
        self._figures: dict[str, float] = dict.fromkeys(("samples", "queries", "unlike", "rejected"), 0)

    def see(self, sample: Sample, table: Table | None, answers: Answers | None) -> list[Change]:
        """One finished request. Returns how callers stand from now on, where that changes."""
        at = sample.at
        if at > self._now:
            self._now = at
        figures = self._figures
        figures["samples"] += 1
        key, pools, belongs = self._members.of(sample)
        if sample.rule:
            if sample.rule != "schema":
                return []  # refused before the model saw it: nothing was learned, and limits have their own words
        elif not 200 <= sample.status < 300:
            return []
        unfit = bool(sample.rule) or sample.unfit
        figures["rejected"] += unfit
        entry = self._memory.get(key, self._size)
        if entry.belongs is not belongs:
            entry.belongs, entry.group = belongs, hash(belongs[0] or belongs[1] or key)
        # Who is dealt with already is no reason to treat its neighbours otherwise.
        if pools and self._alarms.dealt_with(key, at):
            pools = []
        several = [(name, self._pools.get(name, self._size)) for name in pools]
        if (unfit or entry.used.rejected or several) and self._alarms.wanted("rejected"):
            self._reject(key, entry, several, unfit, sample)
        if not sample.rule:
            self._learn(key, entry, several, sample, table, answers)
        return self._alarms.take()

    def findings(self, now: float | None = None) -> Sequence[Finding]:
        """All that is open at ``now`` (UNIX seconds; None: at the latest sample)."""
        return self._alarms.findings(self._now if now is None else now)

    def forget(self, key: str) -> None:
        """Somebody released this key: what was held against it starts anew."""
        self._alarms.flags.kept.pop(key, None)
        self._memory.forget(key)
        self._pools.forget(key)

    def figures(self) -> dict[str, float]:
        """Counts since the start, and how many are remembered now."""
        alarms = self._alarms
        return self._figures | {
            "alarms": alarms.raised,
            "calmed": alarms.calmed,
            "callers": len(self._memory),
            "pools": len(self._pools),
            "flags": len(alarms.flags.kept),
            "encoder_failed": self._encoder.failed if self._encoder is not None else 0,
        }

    def scores(self, key: str) -> dict[str, float]:
        """How far a caller is towards each alarm, 1 being there; empty where it is not remembered."""
        entry = self._memory.entries.get(key) or self._pools.entries.get(key)
        if entry is None:
            return {}
        found = {
            "near": entry.nears / budgets.NEAR.limit,
            "flip": entry.flips / budgets.FLIPS.limit,
            "rejected": entry.used.rejected / self._rejections.limit,
        }
        if self._eye is not None and entry.state is not None:
            found |= self._eye.scores(entry.state)
        return found

    def export_state(self) -> bytes:
        """What has to survive a restart: flags, sums, counts. The last queries do not."""
        callers = self._memory.export(counts=bool(self._daily))
        pools = self._pools.export(counts=False)
        state = _State(
            1,
            self._version,
            {key: base64.b64encode(packed).decode() for key, packed in callers.items()},
            {key: base64.b64encode(packed).decode() for key, packed in pools.items()},
            self._alarms.flags.export(),
        )
        return msgspec.json.encode(state)

    def restore_state(self, data: bytes) -> None:
        """What `export_state` gave. Sums of another calibration are left out. Raises `DocumentError`."""
        try:
            state = msgspec.json.decode(data, type=_State)
            if state.version != 1:
                raise ValueError(f"version {state.version} is not known")
            packed = [
                {key: base64.b64decode(each, validate=True) for key, each in part.items()}
                for part in (state.callers, state.pools)
            ]
            same = state.calibration == self._version
            self._memory.restore(packed[0], sums=same)
            self._pools.restore(packed[1], sums=same)
            self._alarms.flags.restore(state.flags)
        except (msgspec.MsgspecError, ValueError, binascii.Error, RecursionError) as error:
            raise DocumentError(f"what detectors remembered is damaged: {error}") from None

    def _reject(self, key: str, entry: Entry, several: Several, unfit: bool, sample: Sample) -> None:
        """Requests that the schema refuses. Who had two of those that a network is flagged for is flagged with it."""
        rare = self._rejections
        if rare.over(entry.used, unfit):
            self._alarms.say(key, entry, "rejected", sample)
        for name, pool in several:
            if not rare.over(pool.used, unfit, POOLED):
                continue
            self._alarms.say(name, pool, "rejected", sample)
            for other, one in list(self._memory.entries.items()) if name.startswith("net:") else ():
                if one.belongs and one.belongs[1] == name and one.used.rejected > rare.up:
                    self._alarms.say(other, one, "rejected", sample)

    def _learn(
        self,
        key: str,
        entry: Entry,
        several: Several,
        sample: Sample,
        table: Table | None,
        answers: Answers | None,
    ) -> None:
        """What the model has told somebody."""
        count = 0 if table is None else _count(table)
        self._use(key, entry, sample, max(sample.rows, count), answers)
        if table is None or not count:
            return
        if table.text and self._encoder is not None:
            table = self._encoder.table(table) or table
        if self._eye is not None:
            table = self._eye.space.aligned(table)
        self._figures["queries"] += count
        entry.seen += count
        if self._eye is not None and self._together is not None and self._eye.space.fits(table):
            self._look(self._eye, self._together, key, entry, several, sample, table, answers, count)
            return
        self._figures["unlike"] += count
        for why in plain.look(entry, table, labels_of(answers, count)):
            if self._alarms.wanted(why):
                most = Level.LOG if why == "near" else Level.BLOCK
                self._alarms.say(key, entry, why, sample, most=most, note="not calibrated")

    def _use(self, key: str, entry: Entry, sample: Sample, rows: int, answers: Answers | None) -> None:
        """Budgets, where honest callers' are known. ``rows``: also of requests whose body nobody had to measure."""
        used, daily = entry.used, self._daily
        if not daily:
            used.add(sample.at, rows, 0.0, sample.tokens)
            return
        bits = float(information(answers, rows).sum()) if "bits" in daily else 0.0
        day, before = used.day, {"rows": used.rows, "bits": used.bits, "tokens": used.tokens}
        used.add(sample.at, rows, bits, sample.tokens)
        now = {"rows": used.rows, "bits": used.bits, "tokens": used.tokens}
        for name, limit in daily.items():
            # Once for each multiple that is exceeded: the next day, or when it is more than twice as much.
            reached = math.ceil(before[name] / limit) if day == used.day else 0
            if math.ceil(now[name] / limit) > max(1, reached):
                self._alarms.say(key, entry, name, sample, note=f"{now[name]:.0f} in a day, of at most {limit:.0f}")

    def _look(
        self,
        eye: Eye,
        together: Together,
        key: str,
        entry: Entry,
        several: Several,
        sample: Sample,
        table: Table,
        answers: Answers | None,
        count: int,
    ) -> None:
        """Queries that the calibration is for."""
        rows = eye.space.rows(table)
        state = entry.state
        if state is None:
            state = entry.state = State(self._size)
        labels, distances = labels_of(answers, count), margins(answers, count)
        if count <= FEW:
            draw = together.draw
            for i in range(count):
                eye.one(rows[i], labels[i], distances[i])
                entry.odd += LATEST * (eye.odd - entry.odd)
                found = eye.show(state, sample.id)
                if found is not None:
                    self._say(key, entry, found, sample)
                drawn = not draw(2)
                if drawn or several or entry.looked < FRESH:
                    together.one(key, entry, several, sample, labels[i], drawn, alarmed=found is not None)
            return
        looks = eye.many(
            np.ascontiguousarray(rows, dtype=np.float64),
            np.asarray(labels, dtype=np.int32),
            np.asarray(distances, dtype=np.float64),
        )
        odd, depths = eye.oddities(looks)
        entry.odd += (1.0 - (1.0 - LATEST) ** count) * (float(odd.mean()) - entry.odd)
        found = eye.show_many(state, looks, sample.id)
        if found is not None:
            self._say(key, entry, found, sample)
        together.many(key, entry, several, sample, looks, depths, alarmed=found is not None)

    def _say(self, key: str, entry: Entry, found: Sequence[int], sample: Sample) -> None:
        for index in found:
            self._alarms.say(key, entry, SIGNALS[index], sample)


def _count(table: Table) -> int:
    """Rows of a table, of numbers or of texts."""
    rows = len(table.features) if table.features.ndim == 2 else 0
    return max(rows, *(len(values) for values in table.text.values())) if table.text else rows
