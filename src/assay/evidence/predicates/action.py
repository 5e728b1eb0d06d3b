"""What an alarm set off: which action, because of what, and how it went.

The subject is what is monitored. It says what was done by the monitor, not whether that was right.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from assay.evidence.predicates.common import Predicate, Text, Time

PREDICATE_TYPE = "https://assay.dev/action/v0.1"


class Cause(Predicate, frozen=True, kw_only=True):
    """The change of an alarm's state."""

    alarm: Text
    """Its name."""
    state: Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
    """The new one."""
    before: Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
    """The old one."""
    time: Time
    """When it changed."""
    reason: str | None = None
    """In words."""


class Action(Predicate, frozen=True, kw_only=True):
    """The predicate."""

    name: Text
    """The action's, in the monitors file."""
    kind: Text
    """``alert``, ``command``, ``webhook``, ``retrain``, ``plugin``."""
    key: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """The same for one action and event, however often it was tried."""
    cause: Cause
    """Why."""
    outcome: Literal["done", "failed", "limited", "blocked", "unknown"]
    """How it ended; ``blocked`` while a suspicion is open, ``unknown`` when it was cut off."""
    attempts: Annotated[int, Meta(ge=0)]
    """How often it was tried."""
    finished: Time
    """When."""
    said: str | None = None
    """How it went, in words."""
    monitor: str | None = None
    """The monitor whose numbers the alarm looks at."""

    def check(self) -> None:
        """What was done was tried."""
        if self.outcome in ("done", "failed", "unknown") and not self.attempts:
            raise ValueError(f"outcome is {self.outcome} after no attempt")
