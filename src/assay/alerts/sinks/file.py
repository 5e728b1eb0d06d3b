"""A file of JSON Lines: one CloudEvents document a line, appended whole and synced.

It never follows a link and never appends to something that is not such a file: a configuration that names a shell's
start-up file must not get text of strangers into it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

from assay.alerts.finding import Alert
from assay.alerts.settings import FileSettings
from assay.alerts.sinks.interface import SinkError
from assay.alerts.wording import cloud_event
from assay.files import sync_directory


class FileSink:
    """See the module."""

    def __init__(self, settings: FileSettings) -> None:
        self.name = settings.name
        self._path = settings.path

    def send(self, alert: Alert) -> None:
        """Append one line."""
        line = cloud_event(alert) + b"\n"
        # O_NONBLOCK: opening a pipe that nobody reads would wait for ever.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fresh = not os.path.lexists(self._path)
            descriptor = os.open(self._path, flags, 0o600)
            try:
                self._append(descriptor, line)
            finally:
                os.close(descriptor)
            if fresh:
                sync_directory(os.path.dirname(self._path))
        except OSError as error:
            raise SinkError(f"{self._path} cannot be written: {error.strerror}") from None

    def _append(self, descriptor: int, line: bytes) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SinkError(f"{self._path} is not a file")
        # The lock is for what an interrupted writer left: nobody may complete a line while another one looks at it.
        _lock(descriptor)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, 0) != b"{":
            raise SinkError(f"{self._path} is not a file of alerts", hint="name a file that assay may have for itself")
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        written = os.write(descriptor, line)
        if written != len(line):
            raise SinkError(f"{self._path} cannot be written: the disk is full")
        os.fsync(descriptor)


def _lock(descriptor: int) -> None:
    for _ in range(50):  # five seconds: a writer holds it for one line
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
