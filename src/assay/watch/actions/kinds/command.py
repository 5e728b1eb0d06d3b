"""A program of the user's own: no shell, few variables, the event as JSON on its standard input, an end in time."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from dataclasses import asdict
from typing import Any

from assay.policy import durations
from assay.watch.actions.interface import ActionError, Event
from assay.watch.actions.settings import CommandAction

_ALWAYS = ("PATH", "HOME", "LANG", "TZ")
_KEPT = 500
"""Characters of the program's output that are kept."""


class Command:
    """See the module."""

    def __init__(self, settings: CommandAction, directory: str) -> None:
        self.repeatable = settings.repeatable
        self._settings = settings
        self._directory = directory

    def perform(self, event: Event, key: str) -> str:
        """See `Action.perform`. A program that ends with anything but 0 has failed, and may be tried again."""
        names = (*_ALWAYS, *self._settings.environment)
        environment = {name: os.environ[name] for name in names if name in os.environ}
        seconds = durations.parse(self._settings.timeout).total_seconds()
        try:
            process = subprocess.Popen(
                self._settings.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env={**environment, "ASSAY_ACTION_KEY": key, "ASSAY_ALARM": event.alarm, "ASSAY_STATE": event.state},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ActionError(f"{self._settings.command[0]!r} cannot be started: {reason}") from None
        try:
            output, _ = process.communicate(json.dumps(_document(event, key)).encode(), seconds)
        except subprocess.TimeoutExpired:
            raise ActionError(f"{self._settings.command[0]!r} was killed after {self._settings.timeout}") from None
        finally:
            _kill(process)
        said = _printable(output)
        if process.returncode:
            raise ActionError(
                f"{self._settings.command[0]!r} ended with {process.returncode}" + (f": {said}" * bool(said))
            )
        return f"{self._settings.command[0]!r} ended with 0" + (f": {said}" * bool(said))

    def rehearse(self, event: Event) -> str:
        """See `Action.rehearse`."""
        return f"runs {shlex.join(self._settings.command)} in {self._directory}"


def _document(event: Event, key: str) -> dict[str, Any]:
    return {**asdict(event), "time": event.time.isoformat().replace("+00:00", "Z"), "key": key}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The program and all that it started and left in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _printable(output: bytes) -> str:
    text = " ".join(output[-4 * _KEPT :].decode("utf-8", "replace").split())[-_KEPT:]
    return "".join(char for char in text if char.isprintable())
