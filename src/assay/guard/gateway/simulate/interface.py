"""The values of a simulation: a model, its data, the settings that are tried, and what came of them.

A number here is what an attacker or an honest caller would see of this model, on these data, with this seed; it is no
promise about another model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from assay.guard.gateway.settings.serving import Hardening


class Predictor(Protocol):
    """The model that is attacked."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its columns."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of its probabilities."""

    @property
    def texts(self) -> tuple[tuple[int, ...], ...]:
        """Places of the columns that together are one column of text; see `texts.Encoding`."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities, rows by classes, for float64 rows."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows and what they are."""

    rows: np.ndarray
    """float64, rows by columns."""
    labels: np.ndarray
    """Integers: places in `Predictor.classes`."""

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, chosen: np.ndarray) -> Labelled:
        """The rows at these places."""
        return Labelled(self.rows[chosen], self.labels[chosen])


@dataclass(frozen=True, slots=True)
class Data:
    """Who was in the training, and who was not."""

    members: Labelled
    others: Labelled
    proper: bool
    """Whether the model has never seen ``others``: without that no figure about membership means anything."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way of answering."""

    name: str
    how: Hardening | None
    """None: as the model answers."""
    own: bool = False
    """Whether it comes from the user's own file."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one setting does to attackers and to honest callers."""

    setting: Setting
    extraction: Mapping[str, Mapping[int, float]]
    """By source of queries, by their number: the share of honest rows on which the copy answers as the model does."""
    membership: Mapping[str, float]
    """By attack: area under the ROC curve; 0.5 is guessing."""
    inversion: float
    """Cosine between what was reconstructed of a class and its true mean, both from the overall mean; 0: nothing."""
    change: float
    """Mean absolute change of a probability."""
    relabelled: float
    """Share of rows whose label is another one."""
    accuracy: float
    """Of what honest callers see, on rows that the model was not trained on."""
    meaning: str = ""
    """One sentence."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of attacker before the detectors."""

    attack: str
    seen: float
    """Share of these attackers who are flagged."""
    median: int | None
    """Queries until half of them are; None: fewer than half ever are."""
    refused: int | None
    """Queries until a schema of the training data would refuse one, in the median; None: it refuses none."""
    signals: tuple[str, ...]
    """What flagged them, the most frequent first."""
    fidelity: float | None
    """Of the copy that is made of this attacker's queries: all of them, without detectors."""
    stopped: float | None
    """The same of the queries before the flag."""
    meaning: str = ""
    """One sentence."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What the detectors see."""

    streams: tuple[Stream, ...]
    honest: float
    """Share of honest callers, none of whom the calibration saw, who are flagged."""
    callers: int
    """How many honest callers these were."""
    queries: int
    """Of each caller."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole of a simulation."""

    model: str
    seed: int
    queries: int
    """Most queries of an attack."""
    members: int
    others: int
    columns: int
    classes: int
    proper: bool
    accuracy: float
    """Of the model on rows that it was not trained on."""
    trained: float
    """Its accuracy on rows that it was trained on: what is between the two is what membership inference lives on."""
    outcomes: tuple[Outcome, ...]
    detection: Detection | None
    budget: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Rows by plan and period (``hour``, ``day``, …, ``life``), where the user's file limits them."""
    notes: tuple[str, ...] = ()
    """What the reader has to know, one sentence each."""
    cpu: float = 0.0
    """Seconds of CPU that it took; the only figure that the seed does not decide."""


Progress = Callable[[str, int, int], None]
"""What is being done, how many steps are done, and how many there are."""
