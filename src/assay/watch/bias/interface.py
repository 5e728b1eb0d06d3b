"""What the files of bias speak in: who is compared, by which outcome, and the metrics of that comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from assay.watch.estimates import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Codes: TypeAlias = NDArray[np.int64]
    Marks: TypeAlias = NDArray[np.bool_]

PRE_TRAINING = ("CDDL", "CI", "DPL", "JS", "KL", "KS", "LP", "TVD")
"""Clarify's short names of metrics of data: of the facet and the labels."""
POST_TRAINING = ("AD", "CDDPL", "DAR", "DCAcc", "DCR", "DI", "DPPL", "DRR", "FT", "GE", "RD", "SD", "TE")
"""Of metrics of a model: of the facet, its predictions, and mostly the labels."""
NOT_NEGATIVE = frozenset({"JS", "KL", "KS", "LP", "TVD", "GE"})
"""Distances: never below 0, and larger in small samples."""
RATIOS = frozenset({"DI"})
"""Without bias these are 1, not 0."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which values of a column are meant: certain ones, or numbers above a threshold, as in Clarify's configuration."""

    column: str
    values: tuple[str, ...] = ()
    threshold: float | None = None
    """Without `values`: numbers greater than this."""

    @property
    def text(self) -> str:
        """As Clarify's reports name it: ``value_or_threshold``."""
        return ",".join(self.values) if self.values else f"({self.threshold:g}, inf)"


@dataclass(frozen=True, slots=True)
class Question:
    """One comparison."""

    facet: Choice
    """The group that may be disadvantaged, Clarify's facet d; everybody else is facet a."""
    label: Choice | None = None
    """Which ground truth is the favourable outcome; None without labels."""
    prediction: Choice | None = None
    """Which prediction is; None before training."""
    group: str | None = None
    """Column of strata for CDDL and CDDPL."""
    features: tuple[str, ...] = ()
    """Numeric columns in which people are alike, for the flip test."""


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """The usable rows of a question, as arrays of one length."""

    facet: Marks
    """True: of the group that may be disadvantaged."""
    label: Marks | None = None
    """True: the favourable outcome."""
    predicted: Marks | None = None
    values: Codes | None = None
    """The label as a code among all its values, for the distances of distributions."""
    group: Codes | None = None
    features: Floats | None = None
    """Shape (people, features)."""
    unusable: int = 0
    """Rows that lack something that the question needs."""


@dataclass(frozen=True, slots=True)
class Bias:
    """The metrics of one comparison."""

    facet: str
    """Name of the column."""
    facet_value: str
    samples: int
    disadvantaged: int
    """Of them in facet d."""
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    """By Clarify's short names; undefined ones with their reason."""
    unusable: int = 0
