"""A program of the user's own: no shell, few variables, the event as JSON on its standard input, an end in time."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
from dataclasses import asdict
from typing import IO, Any

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
        with contextlib.ExitStack() as stack:
            try:  # a file and no pipe, which would fill where the program does not read it
                document = stack.enter_context(tempfile.TemporaryFile())
                document.write(json.dumps(_document(event, key)).encode())
                document.seek(0)
            except OSError as error:
                raise ActionError(f"there is no place to write the event to: {error.strerror}") from None
            return self._run(document, {**environment, **_told(event, key)}, seconds)

    def _run(self, document: IO[bytes], environment: dict[str, str], seconds: float) -> str:
        """Start the program and wait for its end, or end it."""
        try:
            process = subprocess.Popen(
                self._settings.command,
                stdin=document,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ActionError(f"{self._settings.command[0]!r} cannot be started: {reason}") from None
        assert process.stdout is not None
        output = _Tail(process.stdout)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ActionError(f"{self._settings.command[0]!r} was killed after {self._settings.timeout}") from None
        finally:
            _kill(process)
        said = _printable(output.last())
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


def _told(event: Event, key: str) -> dict[str, str]:
    """Variables that every program gets."""
    return {"ASSAY_ACTION_KEY": key, "ASSAY_ALARM": event.alarm, "ASSAY_STATE": event.state}


class _Tail:
    """Reads a program's output to its end and keeps the last of it: a program may say more than memory holds."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = b""
        self._thread = threading.Thread(target=self._read, name="assay-output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), 65_536):
                self._kept = (self._kept + chunk)[-4 * _KEPT :]

    def last(self) -> bytes:
        """What came last. A program that left its session may hold the output open: it is not waited for long."""
        self._thread.join(1.0)
        return self._kept


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The program and all that it started and left in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _printable(output: bytes) -> str:
    text = " ".join(output.decode("utf-8", "replace").split())[-_KEPT:]
    return "".join(char for char in text if char.isprintable())
