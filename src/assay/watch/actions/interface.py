"""The contract of an action. A plug-in is an entry point of the group ``assay.actions`` that makes an `Action`.

``[project.entry-points."assay.actions"] rollback = "mine:Rollback"`` and ``Rollback(settings: Mapping[str, Any])``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from assay.errors import AssayError


class ActionError(AssayError):
    """An action failed and may be tried again; the message is kept and shown, so it must hold no secret."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Event:
    """An alarm changed its state."""

    alarm: str
    """Its name."""
    state: str
    """The new one: ``OK``, ``ALARM`` or ``INSUFFICIENT_DATA``."""
    before: str
    """The old one."""
    time: datetime
    """When, UTC."""
    reason: str
    """In words, printable."""
    target: str = ""
    """What is monitored, as a target's name; empty where the alarm is about nothing in particular."""
    monitor: str = ""
    """The monitor whose numbers the alarm looks at; empty where none is known."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """More, JSON-like: datapoints, threshold."""

    def key(self, action: str) -> str:
        """Hex id of ``action`` for this event: the same however often it is asked for."""
        told = "\n".join((action, self.alarm, self.state, self.time.isoformat()))
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


@runtime_checkable
class Action(Protocol):
    """One thing to do about an event."""

    repeatable: bool
    """True where doing it twice with one key does it once: the receiver knows the key. Only these are repeated after a
    crash in the middle; the others wait for a person.
    """

    def perform(self, event: Event, key: str) -> str:
        """Do it; what was done, in a sentence. Raises `ActionError` where it was surely not done and may be again."""
        ...

    def rehearse(self, event: Event) -> str:
        """What `perform` would do, in a sentence, without doing it."""
        ...
