"""What a caller has used, and how often its requests were no valid ones: counts that need no look at any query.

The only signals that see extraction with ordinary data. Counts of a day begin anew at midnight UTC; those of a life
never do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

FACTOR = 3.0
"""Above the most that an honest caller used in a day."""


@dataclass(frozen=True, slots=True)
class Rare:
    """A CUSUM of yes or no (Page, 1954): alarm when ``bad`` becomes more credible than ``good`` by ``limit`` nats."""

    good: float
    """Share of yes of honest callers."""
    bad: float
    """Share of yes that is looked for."""
    limit: float
    up: float = field(init=False)
    down: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "up", math.log(self.bad / self.good))
        object.__setattr__(self, "down", math.log((1.0 - self.bad) / (1.0 - self.good)))

    def step(self, score: float, yes: bool) -> float:
        """The next score, never below 0."""
        score += self.up if yes else self.down
        return score if score > 0.0 else 0.0

    def over(self, used: Used, yes: bool, factor: float = 1.0) -> bool:
        """Add a request to what was rejected. Whether that is an alarm, and begins anew; ``factor``: of the limit."""
        if not used.rejected and not yes:
            return False
        used.rejected = self.step(used.rejected, yes)
        if used.rejected <= self.limit * factor:
            return False
        used.rejected = 0.0
        return True


def rejections(honest: float) -> Rare:
    """For requests that the schema refuses: ten in a row for a caller who hardly ever has one."""
    good = min(max(honest, 0.02), 0.4)
    bad = min(0.95, 2.0 * good + 0.4)
    return Rare(good, bad, 10.0 * math.log(bad / good))


NEAR = Rare(0.6, 0.95, 100.0 * math.log(0.95 / 0.6))
"""For near-duplicates where nothing is known of honest callers: a hundred in a row. Whoever polls has many."""
FLIPS = Rare(0.02, 0.25, 5.0 * math.log(0.25 / 0.02))
"""For near-duplicates with another label: more than five of twenty queries."""


class Used:
    """What one caller has used."""

    __slots__ = ("bits", "day", "life", "rejected", "rows", "tokens")

    def __init__(self) -> None:
        self.day = 0
        """Days since 1970 that the next three are of."""
        self.rows = 0
        self.bits = 0.0
        self.tokens = 0
        self.life = 0
        """Rows, ever."""
        self.rejected = 0.0
        """Score of `rejections`."""

    def add(self, at: float, rows: int, bits: float, tokens: int) -> None:
        """Count one request. A clock that steps back counts for the later day."""
        day = int(at // 86400)
        if day > self.day:
            self.day, self.rows, self.bits, self.tokens = day, 0, 0.0, 0
        self.rows += rows
        self.bits += bits
        self.tokens += tokens
        self.life += rows

    def state(self) -> list[float]:
        """As plain numbers."""
        return [self.day, self.rows, self.bits, self.tokens, self.life, self.rejected]

    @classmethod
    def of(cls, state: list[float]) -> Used:
        """From what `state` gave. Raises `ValueError` where it is nothing like it."""
        if len(state) != 6 or not all(isinstance(n, (int, float)) and math.isfinite(n) and n >= 0 for n in state):
            raise ValueError("no counts of a caller")
        used = cls()
        used.day, used.rows, used.bits = int(state[0]), int(state[1]), float(state[2])
        used.tokens, used.life, used.rejected = int(state[3]), int(state[4]), float(state[5])
        return used
