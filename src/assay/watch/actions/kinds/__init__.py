"""From the settings of an action to the action; each kind is imported when one is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from assay.watch.actions.interface import Action, Event
from assay.watch.actions.settings import (
    AlertAction,
    AnyAction,
    CommandAction,
    PluginAction,
    RetrainAction,
    WebhookAction,
)

Tell: TypeAlias = Callable[[Event, str], str]
"""Tells the alert sinks of an event, with a severity; what came of it. Handed in by the floor above."""

Retrain: TypeAlias = Callable[[RetrainAction, Event], str]
"""Runs the step; what came of it. Handed in by the floor above."""


def make(settings: Sequence[AnyAction], directory: str, tell: Tell, retrain: Retrain) -> Mapping[str, Action]:
    """The actions by name; commands run in ``directory``, and paths are relative to it.

    Raises `UsageError` for a plug-in that is not installed or does not keep the contract.
    """
    return {one.name: _make(one, directory, tell, retrain) for one in settings}


def _make(settings: AnyAction, directory: str, tell: Tell, retrain: Retrain) -> Action:
    if isinstance(settings, AlertAction):
        from assay.watch.actions.kinds.handed import Alerting

        return Alerting(settings, tell)
    if isinstance(settings, CommandAction):
        from assay.watch.actions.kinds.command import Command

        return Command(settings, directory)
    if isinstance(settings, WebhookAction):
        from assay.watch.actions.kinds.webhook import Webhook

        return Webhook(settings)
    if isinstance(settings, RetrainAction):
        from assay.watch.actions.kinds.handed import Retraining

        return Retraining(settings, retrain)
    assert isinstance(settings, PluginAction)
    from assay.watch.actions.kinds.plugin import load

    return load(settings)
