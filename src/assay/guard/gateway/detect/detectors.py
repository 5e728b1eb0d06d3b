"""All detectors together: a sample comes in, standings that change go out, and the evidence is kept for findings.

It runs out of band, in one thread. It never raises on what a stranger sends, never holds a query's contents beyond the
numbers that the detectors need, and never treats everybody worse because everybody moved.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from assay.alerts.finding import Finding
from assay.errors import DocumentError
from assay.guard.gateway.detect import budgets, near, texts
from assay.guard.gateway.detect.answers import information, labels_of, margins
from assay.guard.gateway.detect.calibration import Budgets, Calibration, signals_of, space_of
from assay.guard.gateway.detect.caller import Eye, State
from assay.guard.gateway.detect.cusum import SIGNALS
from assay.guard.gateway.detect.drift import ESTABLISHED, moved
from assay.guard.gateway.detect.flags import Flags, Kept, Saved, drift_finding
from assay.guard.gateway.detect.members import Members
from assay.guard.gateway.detect.memory import Entry, Memory
from assay.guard.gateway.detect.pooled import TENTH, Pools, Window
from assay.guard.gateway.detect.reactions import Reactions
from assay.guard.gateway.interface import Answers, Level, Sample, Standing, Table
from assay.guard.gateway.settings.keeping import Detect

FEW = 4
"""Rows of a request up to which one after the other is faster than all at once."""
FRESH = 0.3
"""Weight of the latest query in that share: two unusual ones are enough to have moved."""
POOLED = 2.0
"""How much more evidence a pool needs than a caller: one attacker is flagged alone, before its neighbours are."""
DRIFT_LASTS = 86400.0
"""Seconds after which drift that is not seen again is no finding any more."""
MOVING = frozenset({"far", "outlying", "residual", "margin", "pooled:owner", "pooled:net"})
"""Signals that drift raises too."""

Change = tuple[str, Standing]


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
        self._settings = settings
        self._version = calibration.version if calibration is not None else ""
        self._reactions = Reactions(settings)
        self._flags = Flags(self._version)
        self._memory = Memory(settings.callers)
        self._pools = Memory(max(100, settings.callers // 4))
        self._members = Members(4 * settings.callers)
        self._encoder = texts.Encoder(settings.encoder) if settings.encoder else None
        self._eye: Eye | None = None
        self._mixed: Pools | None = None
        known = calibration.budgets if calibration is not None else Budgets()
        self._rejections = budgets.rejections(known.rejected)
        each = {"rows": known.rows, "bits": known.bits, "tokens": known.tokens}
        self._daily = {name: budgets.FACTOR * most for name, most in each.items() if most and self._on(name)}
        """What nobody honest uses in a day."""
        if calibration is not None:
            space = space_of(calibration.space)
            signals = [signal for signal in signals_of(calibration.signals) if self._on(signal.name)]
            self._eye = Eye(space, signals, calibration.usual)
            if calibration.pooled is not None:
                self._mixed = Pools(calibration.pooled, space.components)
        self._size = self._eye.space.components if self._eye is not None else 0
        self._all = Window()
        self._turn = 0
        """Queries so far: the window of all takes one in four, or it would cost more than it tells."""
        self._turns: dict[int, int] = {}
        """How many queries of the window of all each group has had."""
        self._now = 0.0
        self._drift: tuple[float, Finding] | None = None
        self._figures: dict[str, float] = dict.fromkeys(
            ("samples", "queries", "unlike", "rejected", "alarms", "calmed"), 0
        )

    def see(self, sample: Sample, table: Table | None, answers: Answers | None) -> list[Change]:
        """One finished request. Returns how callers stand from now on, where that changes."""
        at = sample.at
        if at > self._now:
            self._now = at
        figures = self._figures
        figures["samples"] += 1
        key, pools, group = self._members.of(sample)
        changes: list[Change] = []
        if sample.rule:
            if sample.rule != "schema":
                return changes  # refused before the model saw it: nothing was learned, and limits have their own words
        elif not 200 <= sample.status < 300:
            return changes
        unfit = bool(sample.rule) or sample.unfit
        figures["rejected"] += unfit
        entry = self._memory.get(key, self._size)
        entry.group = group
        several = [(name, self._pools.get(name, self._size)) for name in pools] if pools else ()
        if (unfit or entry.used.rejected or several) and self._on("rejected"):
            self._reject(key, entry, sample, 1.0, changes)
            for name, pool in several:
                self._reject(name, pool, sample, POOLED, changes)
        if sample.rule:
            return changes
        if several and (flag := self._flags.get(key, at)) is not None and flag.would > Level.LOG:
            several = ()  # it is dealt with, and no reason to treat its neighbours otherwise
        count = 0 if table is None else _count(table)
        self._use(key, entry, sample, max(sample.rows, count), answers, changes)
        if table is None or not count:
            return changes
        if table.text and self._encoder is not None:
            table = self._encoder.table(table) or table
        if self._eye is not None:
            table = self._eye.space.aligned(table)
        figures["queries"] += count
        entry.seen += count
        if self._eye is not None and self._eye.space.fits(table):
            self._look(key, entry, several, sample, table, answers, count, changes)
        else:
            figures["unlike"] += count
            self._look_plainly(key, entry, sample, table, answers, count, changes)
        return changes

    def findings(self, now: float | None = None) -> Sequence[Finding]:
        """All that is open at ``now`` (UNIX seconds; None: at the latest sample)."""
        now = self._now if now is None else now
        found = self._flags.findings(now)
        if self._drift is not None and now - self._drift[0] <= DRIFT_LASTS:
            found.append(self._drift[1])
        return found

    def forget(self, key: str) -> None:
        """Somebody released this key: what was held against it starts anew."""
        self._flags.kept.pop(key, None)
        self._memory.forget(key)
        self._pools.forget(key)

    def figures(self) -> dict[str, float]:
        """Counts since the start, and how many are remembered now."""
        failed = self._encoder.failed if self._encoder is not None else 0
        remembered = {"callers": len(self._memory), "pools": len(self._pools), "flags": len(self._flags.kept)}
        return self._figures | remembered | {"encoder_failed": failed}

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
        state = _State(
            1,
            self._version,
            {
                key: base64.b64encode(packed).decode()
                for key, packed in self._memory.export(counts=bool(self._daily)).items()
            },
            {key: base64.b64encode(packed).decode() for key, packed in self._pools.export(counts=False).items()},
            self._flags.export(),
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
            self._flags.restore(state.flags)
        except (msgspec.MsgspecError, ValueError, binascii.Error, RecursionError) as error:
            raise DocumentError(f"what detectors remembered is damaged: {error}") from None

    def _on(self, signal: str) -> bool:
        return not self._settings.signals or signal in self._settings.signals

    def _reject(self, key: str, entry: Entry, sample: Sample, factor: float, changes: list[Change]) -> None:
        rare, used = self._rejections, entry.used
        unfit = bool(sample.rule) or sample.unfit
        if not used.rejected and not unfit:
            return
        used.rejected = rare.step(used.rejected, unfit)
        if used.rejected > rare.limit * factor:
            used.rejected = 0.0
            self._alarm(key, entry, "rejected", sample, changes)

    def _use(
        self, key: str, entry: Entry, sample: Sample, rows: int, answers: Answers | None, changes: list[Change]
    ) -> None:
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
                self._alarm(key, entry, name, sample, changes, note=f"{now[name]:.0f} in a day, of at most {limit:.0f}")

    def _look(
        self,
        key: str,
        entry: Entry,
        several: Sequence[tuple[str, Entry]],
        sample: Sample,
        table: Table,
        answers: Answers | None,
        count: int,
        changes: list[Change],
    ) -> None:
        """Queries that the calibration is for."""
        eye = self._eye
        assert eye is not None
        rows = eye.space.rows(table)
        state = entry.state
        if state is None:
            state = entry.state = State(self._size)
        if count <= FEW:
            labels, distances = labels_of(answers, count), margins(answers, count)
            mixed = self._mixed is not None
            for i in range(count):
                eye.one(rows[i], labels[i], distances[i])
                entry.odd += FRESH * (eye.odd - entry.odd)
                self._turn += 1
                alarms = eye.show(state, sample.id)
                if alarms is not None:
                    self._alarms(key, entry, alarms, sample, changes)
                elif several:
                    for name, pool in several:
                        if pool.state is None:
                            pool.state = State(self._size)
                        if (alarms := eye.show(pool.state, sample.id, POOLED)) is not None:
                            self._pool_alarm(name, pool, sample, changes)
                if mixed and (several or not self._turn & 3):
                    self._mix(several, entry.group, eye.coordinates, eye.tail, sample, changes)
            return
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        looks = eye.many(
            rows,
            np.asarray(labels_of(answers, count), dtype=np.int32),
            np.asarray(margins(answers, count), dtype=np.float64),
        )
        odd, tails = eye.oddities(looks)
        entry.odd += (1.0 - (1.0 - FRESH) ** count) * (float(odd.mean()) - entry.odd)
        found = eye.show_many(state, looks, sample.id)
        if found is not None:
            self._alarms(key, entry, found, sample, changes)
        else:
            for name, pool in several:
                if pool.state is None:
                    pool.state = State(self._size)
                if eye.show_many(pool.state, looks, sample.id, POOLED) is not None:
                    self._pool_alarm(name, pool, sample, changes)
        if self._mixed is not None:
            for coordinates, tail in zip(looks.coordinates, tails.tolist(), strict=True):
                self._turn += 1
                if several or not self._turn & 3:
                    self._mix(several, entry.group, coordinates, tail, sample, changes)

    def _look_plainly(
        self,
        key: str,
        entry: Entry,
        sample: Sample,
        table: Table,
        answers: Answers | None,
        count: int,
        changes: list[Change],
    ) -> None:
        """Queries of a form that nothing is known of: duplicates and flips alone."""
        if entry.bands is None:
            entry.bands = near.Bands()
        labels = labels_of(answers, count)
        features = np.ascontiguousarray(table.features, dtype=np.float64) if len(table.features) == count else None
        nothing = np.zeros(0)
        for i in range(count):
            words = texts.words(table, i) if table.text else []
            parts, whole = near.bands(nothing if features is None else features[i], words)
            close, same, flipped = entry.bands.one(parts, labels[i], whole)
            if same:
                continue
            entry.nears = budgets.NEAR.step(entry.nears, close)
            entry.flips = budgets.FLIPS.step(entry.flips, flipped)
            if entry.nears > budgets.NEAR.limit:
                entry.nears = 0.0
                if self._on("near"):
                    self._alarm(key, entry, "near", sample, changes, most=Level.LOG, note="not calibrated")
            if entry.flips > budgets.FLIPS.limit:
                entry.flips = 0.0
                if self._on("flip"):
                    self._alarm(key, entry, "flip", sample, changes, note="not calibrated")

    def _mix(
        self,
        several: Sequence[tuple[str, Entry]],
        group: int,
        coordinates: np.ndarray,
        tail: bool,
        sample: Sample,
        changes: list[Change],
    ) -> None:
        """Windows of pools and of all. No group has more than a tenth of the window of all."""
        windows = []
        for name, pool in several:
            if pool.window is None:
                pool.window = Window(name)
            windows.append(pool.window)
        turns = self._turns.get(group, 0)
        if turns < TENTH and not self._turn & 3:
            self._turns[group] = turns + 1
            windows.append(self._all)
        if not windows:
            return
        mixed = self._mixed
        assert mixed is not None
        if not mixed.add(tuple(windows), coordinates, tail):
            return
        for window, distance, share in mixed.look():
            if window is self._all:
                self._turns.clear()
                if share > mixed.calibration.tail or distance > mixed.calibration.distance_all:
                    self._drifted(sample, {"pooled:all"}, share)
            elif share > mixed.calibration.tail or distance > mixed.calibration.distance:
                known = self._pools.entries.get(window.name)
                if known is not None:
                    self._pool_alarm(window.name, known, sample, changes)

    def _pool_alarm(self, name: str, pool: Entry, sample: Sample, changes: list[Change]) -> None:
        why = "pooled:owner" if name.startswith("owner:") else "pooled:net"
        if self._on("pooled") or self._on(why):
            self._alarm(name, pool, why, sample, changes)

    def _alarms(self, key: str, entry: Entry, found: Sequence[int], sample: Sample, changes: list[Change]) -> None:
        for index in found:
            self._alarm(key, entry, SIGNALS[index], sample, changes)

    def _alarm(
        self,
        key: str,
        entry: Entry,
        why: str,
        sample: Sample,
        changes: list[Change],
        *,
        most: Level = Level.BLOCK,
        note: str = "",
    ) -> None:
        """Flag, evidence, standing. While most callers move, signals that drift raises too enforce nothing."""
        self._figures["alarms"] += 1
        drift = why in MOVING and (share := moved(self._memory.entries, entry)) > 0.5
        if drift:
            self._figures["calmed"] += 1
            self._drifted(sample, {why}, share)
            self._calm(sample.at, changes)
        before = self._flags.get(key, sample.at)
        flag = self._reactions.flag(why, sample.at, before, most=most, drift=drift)
        evidence = tuple(entry.state.evidence) if entry.state is not None else ()
        self._flags.set(key, Kept(flag, sample.model, evidence, note, sample.id), sample.at)
        if before is None or (before.level, before.until, before.why) != (flag.level, flag.until, flag.why):
            changes.append((key, flag.standing))

    def _drifted(self, sample: Sample, signals: set[str], share: float) -> None:
        signals = signals | set(self._drift[1].details["signals"]) if self._drift is not None else signals
        self._drift = (sample.at, drift_finding(sample.model, self._version, signals, share))

    def _calm(self, at: float, changes: list[Change]) -> None:
        """Those who were flagged in the last hour, before it was known that all move, are treated as usual again."""
        for key, kept in list(self._flags.kept.items()):
            flag = kept.flag
            if flag.calm or flag.why not in MOVING or not 0.0 <= at - flag.since < 3600.0:
                continue
            entry = self._memory.entries.get(key)
            if entry is not None and entry.seen >= ESTABLISHED:
                calmed = self._reactions.calmed(flag)
                self._flags.set(key, replace(kept, flag=calmed), at)
                changes.append((key, calmed.standing))


def _count(table: Table) -> int:
    """Rows of a table, of numbers or of texts."""
    rows = len(table.features) if table.features.ndim == 2 else 0
    return max(rows, max((len(values) for values in table.text.values()), default=0))
