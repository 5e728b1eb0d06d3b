"""Where captured files lie: ``FORMAT/ENDPOINT/VARIANT/YYYY/MM/DD/HH/file``, hours in UTC, as SageMaker lays them out.

Unfinished files have dot names, which readers leave alone. Nothing is deleted or renamed but files with our own names,
inside of our own folder, and no link is followed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
import uuid
from collections.abc import Iterator
from hashlib import blake2b

from assay.files import sync_directory

FORMATS = ("jsonl", "parquet")
_NAME = re.compile(r"[0-9]{2}-[0-9]{2}-[0-9]{3}-[0-9a-f-]{36}\.(jsonl|parquet)")
_UNFINISHED = re.compile(r"\.[0-9]{2}-[0-9]{2}-[0-9]{3}-[0-9a-f-]{36}\.(jsonl|parquet)\.tmp")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def part(name: str) -> str:
    """A model's name as a folder's: never another folder, never the same one for two names."""
    if _PLAIN.fullmatch(name):
        return name
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=6).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', name[:60]).lstrip('-') or 'model'}~{digest}"


def hour(at: float) -> str:
    """``2026/11/22/13``."""
    return time.strftime("%Y/%m/%d/%H", time.gmtime(at))


class Place:
    """A file that is being written, in its hour's folder. Raises `OSError` everywhere."""

    def __init__(self, folder: str, at: float, ending: str) -> None:
        os.makedirs(folder, mode=0o750, exist_ok=True)
        stamp = time.strftime("%M-%S", time.gmtime(at))
        self._folder = folder
        self._name = f"{stamp}-{int(at * 1000) % 1000:03}-{uuid.uuid4()}.{ending}"
        self._temporary = os.path.join(folder, f".{self._name}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self.descriptor = os.open(self._temporary, flags, 0o640)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # says that its writer is alive

    def finish(self) -> None:
        """Synced, and under its name."""
        try:
            os.fsync(self.descriptor)
            os.rename(self._temporary, os.path.join(self._folder, self._name))
        finally:
            os.close(self.descriptor)
        sync_directory(self._folder)

    def discard(self) -> None:
        """As if it had never been."""
        os.close(self.descriptor)
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


def recover(root: str, endpoint: str) -> int:
    """After a crash: whole lines of unfinished JSON Lines get their name, the rest goes. Returns how many files did."""
    kept = 0
    for folder, name in _files(root, endpoint):
        if not (found := _UNFINISHED.fullmatch(name)):
            continue
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if found[1] == "parquet" or not (end := _whole(descriptor)):
                    os.unlink(path)  # without its footer there is nothing in it that can be read
                    continue
                os.ftruncate(descriptor, end)
                os.fsync(descriptor)
                os.rename(path, os.path.join(folder, name[1:].removesuffix(".tmp")))
                sync_directory(folder)
                kept += 1
            finally:
                os.close(descriptor)
    return kept


def _whole(descriptor: int) -> int:
    """Bytes up to the last line's end."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - (1 << 16))
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def forget(root: str, endpoint: str, before: float) -> int:
    """Delete finished files that were last written before this time (UNIX seconds), and folders that are then empty.

    Returns how many files.
    """
    gone = 0
    for folder, name in _files(root, endpoint):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            if _NAME.fullmatch(name) and os.lstat(path).st_mtime < before:
                os.unlink(path)
                gone += 1
                for _ in range(4):  # hour, day, month, year
                    os.rmdir(folder)
                    folder = os.path.dirname(folder)
    return gone


def _files(root: str, endpoint: str) -> Iterator[tuple[str, str]]:
    for kind in FORMATS:
        for folder, _, files in os.walk(os.path.join(root, kind, endpoint)):
            for name in files:
                yield folder, name
