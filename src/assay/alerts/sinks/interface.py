"""What a sink is: it takes one alert somewhere, or raises.

A sink must never return before the receiver has the alert (as far as its protocol can tell), never wait without a
limit, and never put a secret into an error.
"""

from __future__ import annotations

from typing import Protocol

from assay.alerts.finding import Alert
from assay.errors import AssayError


class SinkError(AssayError):
    """A sink could not take an alert. The text is kept in the outbox and shown, so it holds no secret."""

    exit_code = 3


class Sink(Protocol):
    """One way out."""

    name: str
    """As in the configuration."""

    def send(self, alert: Alert) -> None:
        """Send one alert; returns once the receiver has it. Raises `SinkError`, in less than a minute."""
        ...
