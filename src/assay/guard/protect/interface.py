"""What protection is told, and what it tells. Plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What happens to what is not vouched for."""

    ENFORCE = "enforce"
    """It is stopped."""
    WARN = "warn"
    """It goes on, with a line on standard error."""
    RECORD = "record"
    """It goes on, and is kept as an event."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was not vouched for."""

    kind: str
    """``load``, ``name``, ``import`` or ``library``."""
    what: str
    """A path, or a module's or global's name; printable."""
    reason: str
    """One sentence."""
    stopped: bool
    """Whether it was stopped."""


Tell = Callable[[Event], None]
"""Told each event, from whatever thread it happens in; must not raise."""
