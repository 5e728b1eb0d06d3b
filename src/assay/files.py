"""Files that the user names: read within bounds, written so that an interrupted command leaves nothing half-written."""

from __future__ import annotations

import contextlib
import os

from assay.errors import UsageError


def read_file(path: str, limit: int = 1 << 30, *, hint: str | None = None) -> bytes:
    """A file's bytes, at most ``limit``. Raises `UsageError` with a sentence that names it.

    ``hint`` says what makes the file, where there is none.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=hint if missing else None) from None
    if len(data) > limit:
        raise UsageError(f"{path} is larger than the {limit:,} bytes that are read")
    return data


def require_folder(path: str) -> None:
    """Raise `UsageError` where the folder of ``path`` is not there, or ``path`` is one itself."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise UsageError(f"{path} cannot be written: there is no folder {folder}", hint=f"mkdir -p {folder}")
    if os.path.isdir(path):
        raise UsageError(f"{path} cannot be written: it is a folder", hint="name a file in it")


def write_atomic(path: str, data: bytes, *, mode: int = 0o644, exclusive: bool = False) -> None:
    """Write ``data`` to ``path``: a temporary name in the same directory, synced, then renamed.

    With ``exclusive`` an existing file is never replaced (``FileExistsError``), whoever else writes at the same time.
    The directory is synced too, so that the name survives a power cut.
    """
    directory = os.path.dirname(path) or "."
    temporary = os.path.join(directory, f".{os.path.basename(path)[:100]}.{os.urandom(6).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)  # link(2) fails where rename(2) would replace
            os.unlink(temporary)
        else:
            os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(directory)


def sync_directory(directory: str) -> None:
    """Make the names in ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
