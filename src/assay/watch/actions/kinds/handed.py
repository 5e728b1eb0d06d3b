"""Actions whose work the floor above hands in: telling the alert sinks, and retraining."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from assay.watch.actions.interface import Event
from assay.watch.actions.settings import AlertAction, RetrainAction


class Alerting:
    """Tells the alert sinks. They know a finding again by its key, so that repeating does no harm."""

    repeatable = True

    def __init__(self, settings: AlertAction, tell: Callable[[Event, str], str]) -> None:
        self._settings = settings
        self._tell = tell

    def perform(self, event: Event, key: str) -> str:
        """See `Action.perform`."""
        return self._tell(event, self._settings.severity)

    def rehearse(self, event: Event) -> str:
        """See `Action.rehearse`."""
        what = "resolves the finding" if event.state == "OK" else f"tells of a {self._settings.severity} finding"
        return f"{what}: {event.alarm} is {event.state}"


class Retraining:
    """Runs the step that trains anew."""

    def __init__(self, settings: RetrainAction, retrain: Callable[[RetrainAction, Event], str]) -> None:
        self.repeatable = settings.repeatable
        self._settings = settings
        self._retrain = retrain

    def perform(self, event: Event, key: str) -> str:
        """See `Action.perform`."""
        return self._retrain(self._settings, event)

    def rehearse(self, event: Event) -> str:
        """See `Action.rehearse`."""
        return f"runs the step {self._settings.step}: {shlex.join(self._settings.command)}"
