"""The ``actions:`` list of a monitors file as typed values. It never holds a secret: those are references.

A reference is ``${ASSAY_ALERT_…}``, resolved from the environment when the action is carried out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from assay.alerts import references
from assay.alerts.settings import WebhookSettings, urlsplit_or_none
from assay.errors import DocumentError
from assay.policy import durations

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_LIMIT = re.compile(r"([1-9][0-9]{0,5}) per (.+)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ActionSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab", tag_field="type"
):
    """What all actions have."""

    name: str
    """Unique; alarms name it."""
    attempts: int = 3
    """How often a failing one is tried before it is given up, 1 to 20."""
    at_most: str | None = None
    """``3 per 1d``: beyond, it is recorded and not carried out."""

    def limit(self) -> tuple[int, timedelta] | None:
        """`at_most` as numbers."""
        if self.at_most is None:
            return None
        found = _LIMIT.fullmatch(self.at_most)
        assert found is not None  # checked while parsing
        return int(found[1]), durations.parse(found[2], "at-most")


class AlertAction(ActionSettings, frozen=True, kw_only=True, tag="alert"):
    """The alert sinks of `assay.yaml`; the alarm going back to OK resolves it."""

    severity: str = "high"
    """Of the finding."""


class CommandAction(ActionSettings, frozen=True, kw_only=True, tag="command"):
    """A program. It gets the event as JSON on standard input, and ``ASSAY_ACTION_KEY`` in its environment."""

    command: tuple[str, ...]
    """The program and its arguments; no shell."""
    environment: tuple[str, ...] = ()
    """Names of variables that it gets beside PATH, HOME, LANG and TZ."""
    timeout: str = "5m"
    """It is killed after so long."""
    repeatable: bool = False
    """Whether carrying it out twice with the same key does no harm."""


class WebhookAction(ActionSettings, frozen=True, kw_only=True, tag="webhook"):
    """A CloudEvents document by HTTP POST, signed where there is a secret; ``webhook-id`` is the action's key."""

    url: str
    secret: str | None = None
    secret_file: str | None = None
    insecure: bool = False
    """Allow http to other machines."""

    def webhook(self) -> WebhookSettings:
        """The same as a sink's settings."""
        return WebhookSettings(
            name=self.name, url=self.url, secret=self.secret, secret_file=self.secret_file, insecure=self.insecure
        )


class RetrainAction(ActionSettings, frozen=True, kw_only=True, tag="retrain"):
    """An `assay run` step, in isolation and with evidence. Blocked while a suspicion of poisoning is open."""

    step: str
    """The step's name in the evidence."""
    command: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    net: tuple[str, ...] = ("none",)
    profile: str | None = None
    """A profile of the step's usual behaviour, as in ``assay run --profile``."""
    repeatable: bool = True
    """A step that was cut off is begun again: its outputs are whole or not there."""


class PluginAction(ActionSettings, frozen=True, kw_only=True, tag="plugin"):
    """What an entry point of the group ``assay.actions`` makes."""

    plugin: str
    """The entry point's name."""
    settings: dict[str, Any] = {}
    """Handed to it as they are."""


AnyAction = AlertAction | CommandAction | WebhookAction | RetrainAction | PluginAction


def parse(raw: Sequence[Any], place: str) -> tuple[AnyAction, ...]:
    """The list ``raw`` of the file ``place``. Raises `DocumentError` naming file and field."""
    try:
        actions = msgspec.convert(list(raw), tuple[AnyAction, ...])
    except msgspec.ValidationError as error:
        raise DocumentError(f"{place}: {str(error).replace('`$', '`actions')}") from None
    for i, action in enumerate(actions):
        if wrong := _problem(action, {other.name for other in actions[:i]}):
            raise DocumentError(f"{place}: actions[{i}] ({action.name[:63]!r}): {wrong}")
    return actions


def _problem(action: AnyAction, before: set[str]) -> str | None:
    """What is wrong with an action beside the types of its fields."""
    if not _NAME.fullmatch(action.name):
        return "name: small letters, digits, '.', '_' and '-', at most 63"
    if action.name in before:
        return "name: another action has it"
    if not 1 <= action.attempts <= 20:
        return "attempts: 1 to 20"
    if action.at_most is not None and (wrong := _limit_problem(action.at_most)):
        return f"at-most: {wrong}"
    if isinstance(action, CommandAction):
        return _command_problem(action)
    if isinstance(action, WebhookAction):
        return _webhook_problem(action)
    if isinstance(action, RetrainAction) and not action.command:
        return "command: is empty"
    if isinstance(action, AlertAction) and action.severity not in ("critical", "high", "medium", "low", "info"):
        return "severity: critical, high, medium, low or info"
    return None


def _limit_problem(text: str) -> str | None:
    found = _LIMIT.fullmatch(text)
    if found is None:
        return "write a number and a time, as '3 per 1d'"
    try:
        durations.parse(found[2], "at-most")
    except DocumentError as error:
        return error.message
    return None


def _command_problem(action: CommandAction) -> str | None:
    if not action.command or not action.command[0]:
        return "command: is empty"
    if any("\0" in word for word in action.command):
        return "command: holds a zero byte"
    if wrong := [name for name in action.environment if not _VARIABLE.fullmatch(name)]:
        return f"environment: {wrong[0][:100]!r} is no name of a variable"
    try:
        durations.parse(action.timeout, "timeout")
    except DocumentError as error:
        return error.message
    return None


def _webhook_problem(action: WebhookAction) -> str | None:
    for name, text in (("url", action.url), ("secret", action.secret or "")):
        if wrong := references.problem(text):
            return f"{name}: {wrong}"
    if "${" not in action.url and urlsplit_or_none(action.url) is None:
        return "url: must be https://... or http://..."
    if action.secret is not None and not references.REFERENCE.fullmatch(action.secret):
        return "secret: is never written into this file; write ${ASSAY_ALERT_...}, or name a secret-file"
    if action.secret is not None and action.secret_file is not None:
        return "secret and secret-file exclude each other"
    return None
