"""The access log: one line for each request, in five formats, by several processes into one file.

It never makes a request wait, never loses a line without saying so, and never lets what a stranger wrote look like
anything but a value.
"""

from __future__ import annotations

from assay.files import require_folder
from assay.guard.gateway.logs.fields import privacy
from assay.guard.gateway.logs.file import STDOUT
from assay.guard.gateway.logs.writer import EVERY as EVERY
from assay.guard.gateway.logs.writer import Nothing, Writer
from assay.guard.gateway.settings import Settings


def check(settings: Settings) -> None:
    """Raise `AssayError` for what `open_log` would, without making a file."""
    log = settings.log
    privacy(log.drop, log.hash, b"")
    if log.file is not None and log.file != STDOUT:
        require_folder(settings.path(log.file))


def open_log(settings: Settings, secret: bytes) -> Writer | Nothing:
    """The log that the settings ask for; one in each process. Raises `AssayError`."""
    file = settings.log.file
    if file is None:
        return Nothing()
    return Writer(settings.log, file if file == STDOUT else settings.path(file), secret)
