"""What is said of one column: its distances, each beside its noise floor and practical effect, and one p-value a test.

Values only. `measure` makes them, `verdict` adds the correction over all columns and decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.collect.profile.interface import Kind
from assay.watch.interface import Outcome


@dataclass(frozen=True, slots=True)
class Distance:
    """How far the window is from the baseline, by one measure."""

    name: str
    """As in `settings.EFFECTS`."""
    value: float
    """Finite, 0 for equality; its unit is that of the name."""
    floor: float
    """What so large a window of unchanged data seldom exceeds."""
    effect: float
    """What matters in practice."""
    decides: bool
    """False where it is only reported."""

    @property
    def beyond(self) -> bool:
        """Above both thresholds."""
        return self.value > self.floor and self.value > self.effect

    @property
    def threshold(self) -> float:
        """The larger of the two."""
        return max(self.floor, self.effect)


@dataclass(frozen=True, slots=True)
class Test:
    """One question about a column."""

    name: str
    """``values``, ``missing`` (share of rows without a value), ``odd`` (values of another type, infinities) or
    ``lengths`` (of text)."""
    before: int
    """Values or rows of the baseline that it looks at."""
    after: int
    """And of the window."""
    distances: tuple[Distance, ...] = ()
    """The first is the test's metric; empty where there is too little to measure."""
    p: float = 1.0
    """Of chance alone, before correction."""
    q: float = 1.0
    """Adjusted by Benjamini and Hochberg over all tests of the window."""
    outcome: Outcome = Outcome.UNDECIDED
    """The verdict."""
    reason: str = ""
    """Why it is undecided."""
    varies: bool = True
    """False where all values of baseline and window are one: it holds, and does not count as a test of the window."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """More numbers, finite: ``ks_p``, ``cramers_v``, ``unseen`` and such."""

    @property
    def decisive(self) -> Distance | None:
        """The distance that is farthest beyond its threshold among those that decide, else the test's metric."""
        beyond = [distance for distance in self.distances if distance.decides and distance.beyond]
        if beyond:
            return max(beyond, key=lambda distance: distance.value / max(distance.threshold, 1e-300))
        return self.distances[0] if self.distances else None


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """What is said of one column."""

    column: str
    kind: Kind
    tests: tuple[Test, ...]
    prediction: bool = False
    """True for a column that the model put out."""

    @property
    def outcome(self) -> Outcome:
        """`VIOLATED` if any test is, `UNDECIDED` if none was decided, else `HOLDS`."""
        outcomes = {test.outcome for test in self.tests}
        if Outcome.VIOLATED in outcomes:
            return Outcome.VIOLATED
        return Outcome.HOLDS if Outcome.HOLDS in outcomes else Outcome.UNDECIDED

    @property
    def distance(self) -> Distance | None:
        """The column's metric: the first distance of its values; None where there is too little to measure."""
        return self.tests[0].distances[0] if self.tests and self.tests[0].distances else None
