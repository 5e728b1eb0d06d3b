"""Two small types of our own: the result of an evaluation, and any JSON that no other type describes."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from msgspec import Meta

from assay.evidence.predicates.common import Predicate, ResourceDescriptor, Text, Time

EVALUATION = "https://assay.dev/evaluation/v0.1"
GENERIC = "https://assay.dev/generic/v0.1"


class Evaluation(Predicate, frozen=True, kw_only=True):
    """How the subject, a model, did on a data set. Metrics are as the evaluation wrote them."""

    dataset: ResourceDescriptor | Text
    """What it was evaluated on: a descriptor with digests, or at least a name."""
    metrics: Annotated[dict[Text, int | float], Meta(min_length=1)]
    """Name to finite value: ``{"accuracy": 0.91, "f1": 0.88}``."""
    evaluated_on: Time | None = None
    """When."""
    task: str | None = None
    """``text-classification``, …"""
    split: str | None = None
    """Which part of the data set: ``test``."""
    samples: Annotated[int, Meta(ge=0)] | None = None
    """How many samples it was evaluated on."""
    tool: str | None = None
    """What evaluated, with its version."""

    def check(self) -> None:
        """A metric that is not a number cannot be compared with a threshold, whichever way the comparison is
        written.
        """
        for name, value in self.metrics.items():
            if not -sys.float_info.max <= value <= sys.float_info.max:  # false for what is not a number, too
                raise ValueError(f"the metric {name[:100]!r} is not finite")


class Generic(Predicate, frozen=True, kw_only=True):
    """A JSON document as it is."""

    report: ResourceDescriptor
    """The file: name, media type and digest."""
    content: Any
    """What it holds."""
