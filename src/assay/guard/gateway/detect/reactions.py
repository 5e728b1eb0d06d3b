"""From an alarm to how a caller is treated: the level by signal, higher each time, for as long as it lasts.

In count mode nobody is treated otherwise: the level is `LOG`, and what it would have been stands beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from assay.guard.gateway.interface import Level, Standing
from assay.guard.gateway.settings.keeping import Detect

GRACE = 5.0
"""Seconds after an alarm in which another does not raise the level: what was under way when it came."""

_LEVELS = {"log": Level.LOG, "slow": Level.SLOW, "harden": Level.HARDEN, "approve": Level.APPROVE, "block": Level.BLOCK}


@dataclass(frozen=True, slots=True)
class Flag:
    """An alarm that counts, and what came of it."""

    why: str
    """Signal of the latest alarm, or of the worst level."""
    would: Level
    """Level by the settings."""
    level: Level
    """Level that is enforced: `LOG` in count mode and while all callers move."""
    since: float
    """UNIX seconds of the first alarm."""
    last: float
    """Of the latest."""
    until: float
    times: int = 1
    calm: bool = False
    """Whether all callers moved, so that it says nothing about this one."""

    @property
    def standing(self) -> Standing:
        """As the hot path sees it."""
        return Standing(self.level, self.until, self.why)


class Reactions:
    """The settings at work. Pure: it remembers nothing."""

    def __init__(self, settings: Detect) -> None:
        self._settings = settings.reactions
        self._enforced = settings.mode == "enforce"

    def flag(
        self, signal: str, at: float, before: Flag | None, *, most: Level = Level.BLOCK, drift: bool = False
    ) -> Flag:
        """What an alarm of ``signal`` makes of somebody who had ``before``. ``most``: the signal is no ground for
        more; ``drift``: all callers move.
        """
        settings = self._settings
        would = min(_LEVELS[settings.by_signal.get(signal, settings.default)], most)
        until = math.inf if settings.lasts is None else at + settings.lasts
        if before is None or before.until <= at:
            return self._made(Flag(signal, would, would, at, at, until), drift)
        again = at - before.last >= GRACE
        if settings.escalate and again and not drift and most is Level.BLOCK:
            would = max(would, Level(min(before.would + 1, Level.BLOCK)))
        why = signal if would >= before.would else before.why
        would = max(would, before.would)
        last = at if again else before.last
        flag = Flag(why, would, would, before.since, last, max(until, before.until), before.times + 1, before.calm)
        return self._made(flag, drift and before.calm)

    def calmed(self, flag: Flag) -> Flag:
        """The same flag, once it is known that all callers move."""
        return replace(flag, level=min(flag.level, Level.LOG), calm=True)

    def _made(self, flag: Flag, calm: bool) -> Flag:
        level = Level.LOG if calm or not self._enforced else flag.would
        return replace(flag, level=level, calm=calm)
