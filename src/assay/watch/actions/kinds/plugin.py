"""Actions that an installed distribution adds: entry points of the group ``assay.actions``."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from assay.errors import UsageError
from assay.watch.actions.interface import Action, ActionError, Event
from assay.watch.actions.settings import PluginAction

GROUP = "assay.actions"


class _Guarded:
    """A plug-in's action whose errors become sentences: one plug-in must not end a whole run."""

    def __init__(self, name: str, action: Action) -> None:
        self.repeatable = bool(action.repeatable)
        self._name = name
        self._action = action

    def perform(self, event: Event, key: str) -> str:
        """See `Action.perform`."""
        try:
            return str(self._action.perform(event, key))
        except ActionError:
            raise
        except Exception as error:  # whatever a stranger's code raises
            raise ActionError(f"the plug-in {self._name!r} failed: {type(error).__name__}: {error}"[:500]) from error

    def rehearse(self, event: Event) -> str:
        """See `Action.rehearse`."""
        try:
            return str(self._action.rehearse(event))
        except Exception as error:  # as above
            return f"the plug-in {self._name!r} cannot say: {type(error).__name__}"


def load(settings: PluginAction) -> Action:
    """The action that a plug-in makes of its settings. Raises `UsageError`."""
    found = list(entry_points(group=GROUP, name=settings.plugin))
    if len(found) != 1:
        known = sorted({one.name for one in entry_points(group=GROUP)})
        what = "there is no" if not found else "there are several of"
        raise UsageError(
            f"action {settings.name!r}: {what} plug-in {settings.plugin!r}",
            hint=f"installed: {', '.join(known)}" if known else f"install one: an entry point of the group {GROUP}",
        )
    try:
        made: Any = found[0].load()(dict(settings.settings))
    except Exception as error:  # whatever a stranger's code raises
        said = f"{type(error).__name__}: {error}"[:300]
        raise UsageError(f"action {settings.name!r}: the plug-in {settings.plugin!r} cannot be made: {said}") from error
    if not isinstance(made, Action):
        raise UsageError(f"action {settings.name!r}: the plug-in {settings.plugin!r} is no Action")
    return _Guarded(settings.plugin, made)
