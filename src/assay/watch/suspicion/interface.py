"""What is asked and answered: settings, signals, and a suspicion with the pattern that it resembles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Pattern(StrEnum):
    """What the new data resemble."""

    CLEAN = "clean"
    COVARIATE_SHIFT = "covariate-shift"
    """Inputs moved, labels are what the reference teaches, and all sources take part: the world changed."""
    LABEL_FLIPS = "label-flips"
    """Labels contradict the reference everywhere alike: flipped at random, or what a label means has changed."""
    TARGETED_FLIPS = "targeted-flips"
    """Labels contradict the reference in one place or from few sources."""
    FEEDBACK = "feedback"
    """Nearly the same rows again and again, from few sources or against the reference: fed in on purpose."""
    BACKDOOR = "backdoor"
    """Rows with one sign in common have one label, against everything else in them."""
    UNDECIDED = "undecided"
    """Too little to judge."""

    @property
    def suspect(self) -> bool:
        """Whether retraining on such data must wait for a person."""
        return self not in (Pattern.CLEAN, Pattern.COVARIATE_SHIFT)


@dataclass(frozen=True, slots=True)
class Settings:
    """Which columns mean what, and how much is looked at."""

    label: str | None = None
    """Column with the labels that a retraining would learn from; None looks for a usual name."""
    source: str | None = None
    """Column that says who contributed a row; None looks for a usual name."""
    ignore: tuple[str, ...] = ()
    """Columns that are no content: identifiers, times."""
    text: tuple[str, ...] = ()
    """Columns with text."""
    sample: int = 10_000
    """Rows of each side that are looked at, drawn by content."""
    seed: int = 0
    least: int = 200
    """Rows of each side below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that tells poison from drift."""

    name: str
    """``drift``, ``labels``, ``neighbours``, ``place``, ``sources``, ``copies``, ``sign``, ``trigger`` or
    ``label-rate``."""
    value: float
    """What was seen."""
    usual: float
    """What honest data of this size show at most."""
    fires: bool
    text: str
    """In words, printable."""


@dataclass(frozen=True, slots=True)
class SourceShare:
    """A source that stands out."""

    source: str
    rows: int
    contradicted: int
    """Rows that contradict the reference."""
    expected: float
    """How many would have been usual."""
    blame: float
    """Its part of all contradictions beyond the usual."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The answer."""

    pattern: Pattern
    text: str
    """In a sentence, printable."""
    signals: tuple[Signal, ...]
    sources: tuple[SourceShare, ...]
    """Those that stand out, worst first."""
    rows: tuple[int, ...]
    """Positions (in the new data, from 0) of rows that somebody should look at, worst first, 1,000 at most."""
    reference_rows: int
    new_rows: int
    onset: str | None = None
    """``abrupt`` or ``gradual``, where there are earlier windows to tell by."""
    groups: tuple[str, ...] = ()
    """What the scan for poisoning found in the new rows, in words."""
    label_rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Label to its share before and now."""
    notes: tuple[str, ...] = ()
    """What was not looked at."""
