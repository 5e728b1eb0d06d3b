"""What a user may choose about drift: which distances decide, what is a practical effect, how sure one has to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from assay.errors import UsageError

EFFECTS: Mapping[str, float] = MappingProxyType(
    {
        "ks": 0.02,
        "wasserstein": 0.04,
        "psi": 0.02,
        "jensen_shannon": 0.03,
        "l_infinity": 0.01,
        "mmd": 0.05,
        "centroid": 0.1,
        "norms": 0.02,
        "missing": 0.01,
        "odd": 0.01,
        "lengths": 0.02,
    }
)
"""Distances that matter in practice, by name. ``wasserstein`` and ``centroid`` are in standard deviations of the
baseline, ``missing`` and ``odd`` shares of the rows, ``norms`` and ``lengths`` Kolmogorov-Smirnov distances."""

NUMBERS = ("ks", "wasserstein", "psi", "jensen_shannon")
"""Distances of columns of numbers."""
CATEGORIES = ("l_infinity", "psi", "jensen_shannon")
"""Distances of columns of categories."""
VECTORS = ("mmd", "centroid", "norms")
"""Distances of columns of vectors."""


@dataclass(frozen=True, slots=True)
class ColumnSettings:
    """What is other for one column."""

    effects: Mapping[str, float] = field(default_factory=dict)
    """Practical effects by distance, instead of the general ones."""
    decide: tuple[str, ...] | None = None
    """Names of the distances that decide, instead of the general ones."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How drift is decided."""

    false_discovery: float = 0.001
    """Highest adjusted p-value of a violation (Benjamini-Hochberg over all tests of a window). A clean window is
    reported with about this probability, so that a hundred of them pass without an alarm nine times of ten."""
    noise: float = 0.01
    """Share of clean windows that may be above a column's noise floor."""
    least: int = 30
    """Fewer values than this, in baseline or window, decide nothing."""
    effects: Mapping[str, float] = field(default_factory=dict)
    """Practical effects by distance, over those of `EFFECTS`."""
    numbers: tuple[str, ...] = ("ks", "wasserstein", "psi")
    """Distances that decide for numbers: any of them suffices. The first is the column's metric."""
    categories: tuple[str, ...] = ("l_infinity", "psi")
    """As `numbers`."""
    vectors: tuple[str, ...] = ("mmd", "centroid", "norms")
    """As `numbers`."""
    columns: Mapping[str, ColumnSettings] = field(default_factory=dict)
    """By column."""
    ignore: frozenset[str] = frozenset()
    """Columns that are not looked at."""
    predictions: frozenset[str] = frozenset()
    """Columns that the model put out: their drift is prediction drift."""
    groups: int = 10
    """Cells for PSI and Jensen-Shannon of numbers, of equal shares of the baseline."""

    def __post_init__(self) -> None:
        for name, share in (("false_discovery", self.false_discovery), ("noise", self.noise)):
            if not 0.0 < share < 1.0:
                raise UsageError(f"{name} is {share}", hint="a share between 0 and 1, such as 0.001")
        if self.least < 2 or self.groups < 2:
            raise UsageError("drift needs at least 2 values and 2 groups", hint="least: 30, groups: 10")
        for given, known in ((self.numbers, NUMBERS), (self.categories, CATEGORIES), (self.vectors, VECTORS)):
            _require(given, known)
        _require_effects(self.effects)
        for name, column in self.columns.items():
            _require_effects(column.effects, f" of column {name}")
            if column.decide is not None:
                _require(column.decide, tuple(dict.fromkeys(NUMBERS + CATEGORIES + VECTORS)))

    def effect(self, column: str, distance: str) -> float:
        """The practical effect of a distance for a column."""
        own = self.columns.get(column)
        if own is not None and distance in own.effects:
            return own.effects[distance]
        return self.effects.get(distance, EFFECTS[distance])

    def deciding(self, column: str, general: tuple[str, ...]) -> tuple[str, ...]:
        """The distances that decide for a column."""
        own = self.columns.get(column)
        return general if own is None or own.decide is None else own.decide


def _require(given: tuple[str, ...], known: tuple[str, ...]) -> None:
    wrong = [name for name in given if name not in known]
    if wrong or not given:
        raise UsageError(
            f"{wrong[0]} is no distance that can decide here" if wrong else "no distance is to decide",
            hint=f"one or more of {', '.join(known)}",
        )


def _require_effects(effects: Mapping[str, float], where: str = "") -> None:
    for name, effect in effects.items():
        if name not in EFFECTS:
            raise UsageError(f"{name} is no distance with a practical effect{where}", hint=f"of {', '.join(EFFECTS)}")
        if not 0.0 <= effect < float("inf"):
            raise UsageError(f"the practical effect of {name}{where} is {effect}", hint="a number from 0 on")
