"""What a page is made from: plain values, so that a check, a monitor's history and a test make the same page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.collect.profile.interface import Profile


@dataclass(frozen=True, slots=True)
class Window:
    """One window of the past."""

    end: datetime
    """UTC."""
    looks: Sequence[Mapping[str, Any]]
    """As `assay monitor check --json` has them."""


@dataclass(frozen=True, slots=True)
class AlarmState:
    """How an alarm stands."""

    name: str
    state: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """A change of an alarm's state."""

    name: str
    time: datetime
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Material:
    """All that goes onto a page."""

    title: str
    baseline: Profile
    current: Profile
    windows: Sequence[Window]
    """Oldest first; the last is the current one."""
    made: datetime
    """UTC."""
    alarms: Sequence[AlarmState] = ()
    events: Sequence[AlarmEvent] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture."""

    name: str
    """Of its file, without ending."""
    title: str
    """Printable; what it shows."""
    svg: str
    png: bytes = field(repr=False)
    """150 dots an inch."""
    alt: str = ""
    """The same in words, for who cannot see it."""
