"""Constraints as a document: what each column must be, and how strictly that is judged. People edit it.

The reader refuses what it does not know, with the line: a misspelt constraint that was skipped would let data through
that its author believes to be stopped.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from assay.collect.profile.interface import Kind
from assay.watch.drift.settings import EFFECTS

FORMAT = "assay-constraints"
"""Key that tells what a file is; its value is the version of the format."""
VERSION = 1

Share = Annotated[float, Meta(ge=0, le=1)]
"""Part of a whole, 0 to 1."""

Extra = Literal["error", "warning", "note", "ignore"]
"""What a column that nobody declared means."""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """Base: keys with hyphens, unknown ones refused, every number finite."""


class Drift(Document, frozen=True, kw_only=True):
    """How far distributions may be apart; what is not said stays with the drift settings' own defaults."""

    compare: bool = True
    """Whether the distribution is compared at all."""
    method: Literal["assay", "simple", "robust"] = "assay"
    """How numbers are compared: by all of assay's distances, or as SageMaker's ``comparison_method`` by the largest
    difference of the cumulative shares (``ks``). Noise never is drift, with either, so that its two are one here."""
    categorical: Literal["assay", "l_infinity", "chi_square"] = "assay"
    """How categories are compared; the last two are SageMaker's ``categorical_drift_method``."""
    effects: dict[str, Annotated[float, Meta(ge=0)]] = field(default_factory=dict)
    """Least practical effect by distance, as in `watch.drift`: below it nothing is drift."""

    def __post_init__(self) -> None:
        for name, value in self.effects.items():
            if name not in EFFECTS:
                raise ValueError(f"effects names the distance {name[:40]!r}; known are {', '.join(EFFECTS)}")
            if not math.isfinite(value):
                raise ValueError(f"the effect of {name} is not finite")


class Column(Document, frozen=True, kw_only=True):
    """What one column must be. None: not constrained."""

    type: Kind | None = None
    """What its values are."""
    type_share: Share | None = None
    """Least share of the values present that are of the type; the settings' where it is not said."""
    required: bool = True
    """Whether a window without the column is a violation."""
    completeness: Share | None = None
    """Least share of rows with a value; NaN is none."""
    non_negative: bool = False
    """Whether numbers are 0 or above."""
    range: tuple[float | None, float | None] | None = None
    """Least and greatest number, both allowed; None for no bound."""
    range_share: Share = 1.0
    """Least share of the numbers that `range` and `non_negative` hold for."""
    domain: list[str] | None = None
    """The categories."""
    domain_share: Share | None = None
    """Least share of the values present that are in the domain; the settings' where it is not said."""
    distinctness: Share | None = None
    """Least share of different values among those present: 1 for a key. It is compared with an estimate's error."""
    drift: Drift | None = None
    """In place of the settings' drift, for this column."""

    def __post_init__(self) -> None:
        if self.range is not None:
            low, high = self.range
            if any(bound is not None and not math.isfinite(bound) for bound in self.range):
                raise ValueError("range has a bound that is not finite")
            if low is not None and high is not None and low > high:
                raise ValueError("range ends before it starts")
        if self.domain is not None and len(set(self.domain)) != len(self.domain):
            raise ValueError("domain names a value twice")


class Settings(Document, frozen=True, kw_only=True, omit_defaults=False):
    """How the whole is judged."""

    evaluate: bool = True
    """SageMaker's ``evaluate_constraints``."""
    emit_metrics: bool = True
    """SageMaker's ``emit_metrics``."""
    least_rows: Annotated[int, Meta(ge=1)] = 30
    """A window of fewer rows is undecided."""
    chance: Annotated[float, Meta(ge=0, le=0.1)] = 1e-4
    """How rarely a share that just meets its constraint may be called a violation for what chance did in one window.
    0 compares the shares themselves, as SageMaker does."""
    type_share: Share = 1.0
    """SageMaker's ``datatype_check_threshold``."""
    domain_share: Share = 1.0
    """SageMaker's ``domain_content_threshold``."""
    extra_columns: Extra = "error"
    """What an undeclared column is."""
    drift: Drift = Drift()
    """For all columns that have none of their own."""


class Constraints(Document, frozen=True, kw_only=True):
    """The whole document."""

    version: int = field(default=VERSION, name=FORMAT)
    """Of the format."""
    settings: Settings = Settings()
    """How it is judged."""
    columns: dict[str, Column] = field(default_factory=dict)
    """By name, in the table's order."""

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"version {self.version} is not known, {VERSION} is")

    def drift(self, column: str) -> Drift:
        """What holds for a column."""
        own = self.columns.get(column)
        return own.drift if own is not None and own.drift is not None else self.settings.drift
