"""What an administrator may do to a gateway at work, carried out in the keeper. Each is safe from any thread."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.errors import UsageError
from assay.guard.gateway.admin import interface as documents
from assay.guard.gateway.admin.redaction import shown
from assay.guard.gateway.interface import Level, Standing
from assay.guard.gateway.metrics.prometheus import exposition
from assay.guard.gateway.running import denied, rooms
from assay.guard.gateway.running.reloading import taken

if TYPE_CHECKING:
    from assay.guard.gateway.running.keeper import Keeper

SHOWN = 1000
"""Callers that are listed."""


@dataclass(frozen=True, slots=True)
class Operations:
    """See `admin.interface.Operations`."""

    keeper: Keeper

    def health(self) -> documents.Health:
        """Ready while workers are connected and the model, where one has to be, is proved."""
        keeper = self.keeper
        refusal = keeper.proof.refusal
        problems = [keeper.proof.problem or refusal.reason] if refusal is not None else []
        if not keeper.levels:
            problems.append("no worker is connected")
        return documents.Health(not problems, problems, len(keeper.levels))

    def metrics_text(self) -> str:
        """All metrics."""
        return exposition(self.keeper.ask(lambda: rooms.told(self.keeper))).decode()

    def standings(self) -> Mapping[str, Standing]:
        """Who is treated otherwise than others."""
        return self.keeper.ask(lambda: dict(self.keeper.observation.standings))

    def set_level(self, key: str, level: Level, seconds: float | None, why: str) -> Standing:
        """By hand."""
        standing = Standing(level, math.inf if seconds is None else time.time() + seconds, f"by hand: {why}", True)
        self.keeper.ask(lambda: self.keeper.observation.set(key, standing))
        return standing

    def release(self, key: str, why: str) -> bool:
        """As any other from now on."""

        def released() -> bool:
            known = key in self.keeper.observation.standings
            self.keeper.observation.set(key, None)
            return known

        return self.keeper.ask(released)

    def approve(self, key: str, why: str) -> bool:
        """Whoever waits for approval goes on."""

        def approved() -> bool:
            standing = self.keeper.observation.standings.get(key)
            if standing is None or standing.level is not Level.APPROVE:
                return False
            self.keeper.observation.set(key, None)
            return True

        return self.keeper.ask(approved)

    def callers(self) -> Sequence[documents.CallerFigures]:
        """Those with a standing first, then by how much they asked."""
        return self.keeper.ask(lambda: self.keeper.observation.callers(SHOWN))

    def denied(self) -> Sequence[documents.Denied]:
        """Networks that were denied by hand."""
        return list(denied.read(self.keeper.state.denied, self.keeper.patient()).values())

    def deny(self, address: str, seconds: float | None, why: str) -> documents.Denied:
        """Refuse a network within about a second, here and at the edges that the file names."""
        entry = documents.Denied(address, None if seconds is None else time.time() + seconds, why)
        self.keeper.ask(lambda: denied.add(self.keeper.state.denied, entry, self.keeper.patient()))
        self._push()
        return entry

    def undeny(self, address: str) -> bool:
        """No longer."""
        found = self.keeper.ask(lambda: denied.remove(self.keeper.state.denied, address, self.keeper.patient()))
        self._push()
        return found

    def _push(self) -> None:
        denied.push(self.keeper.settings, self.keeper.state.denied, self.keeper.patient())

    def reset(self, key: str) -> bool:
        """Forget what a caller has used."""
        from assay.guard.gateway.limits.plans import Plans

        def forgotten() -> bool:
            steady = time.clock_gettime(time.CLOCK_BOOTTIME)
            Plans(self.keeper.settings, self.keeper.counters).forget(key, time.time(), steady)
            return self.keeper.observation.knows(key)

        return self.keeper.ask(forgotten)

    def reload(self) -> Sequence[str]:
        """Have the supervisor read the file anew; a bad one is said here and changes nothing."""
        if self.keeper.supervisor is None:
            raise UsageError("a service's gateway reads its file when the service starts", hint="restart the service")
        settings, fixed = taken(self.keeper.settings, self.keeper.load())
        self.keeper.check(settings)
        os.kill(self.keeper.supervisor, signal.SIGHUP)
        kept = [f"only a restart changes: {', '.join(fixed)}"] if fixed else []
        return ["the configuration is being read by all processes", *kept]

    def configuration(self) -> Mapping[str, Any]:
        """Without secrets."""
        return shown(self.keeper.settings)

    def proof(self) -> documents.Proof:
        """Of the model."""
        keeper = self.keeper
        refusal = keeper.proof.refusal
        if keeper.settings.model is None:
            return documents.Proof("", "none", True)
        return documents.Proof(
            keeper.proof.version,
            "pass" if refusal is None else "fail" if keeper.proof.version else "undecided",
            refusal is None,
            keeper.proof.problem or (refusal.reason if refusal is not None else ""),
            keeper.checked,
        )
