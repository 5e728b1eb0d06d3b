"""The log of a store on disk: bundles under their digests, and numbered entries of which each names the one before.

Files are only ever added, under names that must not exist, and reading compares what was read with its digest or its
canonical form. Symbolic links below the store's folder are not followed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import time as clock
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from msgspec import Struct, field

from assay.errors import DocumentError, StoreError
from assay.evidence import strict_json
from assay.evidence.stores.interface import STATEMENT, TOMBSTONE
from assay.files import sync_directory, write_atomic

NO_DIGEST = "0" * 64
"""What the first entry names as the one before."""

_HEX = re.compile(r"[0-9a-f]{64}")
_ENTRY_NAME = re.compile(r"[0-9]{9,18}\.json")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_ODD = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}
_MAX_ENTRY = 1 << 20
_PATIENCE = 60.0
"""Seconds to wait for another writer."""


class Record(Struct, frozen=True):
    """What one file of the log says."""

    seq: int
    """From 1."""
    previous: str
    """Hex SHA-256 of the bytes of the entry before."""
    kind: str
    """`STATEMENT` or `TOMBSTONE`."""
    blob: str
    """Hex SHA-256 of the bundle."""
    time: datetime
    """UTC."""
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    discards: int | None = None
    reason: str | None = None


def time_text(time: datetime) -> str:
    """RFC 3339, UTC, microseconds: sorts as text in order of time."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def encode(record: Record) -> bytes:
    """The one form in which a record is written: keys sorted, what is absent left out."""
    fields = {
        "blob": record.blob,
        "discards": record.discards,
        "kind": record.kind,
        "labels": dict(sorted(record.labels.items())) or None,
        "previous": record.previous,
        "reason": record.reason,
        "seq": record.seq,
        "target": record.target,
        "time": time_text(record.time),
    }
    return strict_json.dumps({key: value for key, value in fields.items() if value is not None}) + b"\n"


def decode(data: bytes, what: str) -> Record:
    """A record from its bytes. Raises `DocumentError` for anything that `encode` does not write."""
    document = strict_json.loads(data, what, max_bytes=_MAX_ENTRY)
    try:
        record = Record(
            document["seq"],
            document["previous"],
            document["kind"],
            document["blob"],
            datetime.fromisoformat(document["time"]),
            document.get("labels", {}),
            document.get("target"),
            document.get("discards"),
            document.get("reason"),
        )
        # Nothing unknown, nothing missing, nothing in another spelling: the bytes are exactly the record's.
        sound = encode(record) == data and all(map(_HEX.fullmatch, (record.previous, record.blob)))
        texts = [*record.labels, *record.labels.values()]
        texts += [text for text in (record.target, record.reason) if text is not None]
        sound = sound and type(record.seq) is int and all(isinstance(text, str) for text in texts)
        sound = sound and (record.kind == TOMBSTONE) == (type(record.discards) is int)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        sound = False
    if not sound or record.kind not in (STATEMENT, TOMBSTONE):
        raise DocumentError(f"{what} is not an entry of an evidence log")
    return record


def digest(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def entry_path(seq: int) -> tuple[str, str, str]:
    """Components of an entry's path: a thousand entries a folder."""
    return "log", f"{seq // 1000:06d}", f"{seq:09d}.json"


def blob_path(name: str) -> tuple[str, str, str]:
    """Components of a bundle's path."""
    return "blobs", name[:2], f"{name}.json"


class Log:
    """The files of one store."""

    def __init__(self, path: str) -> None:
        self.path = path
        """The store's folder; a symbolic link to it is the user's own choice."""

    def exists(self) -> bool:
        """Whether a store was made here."""
        return os.path.isdir(os.path.join(self.path, "log"))

    def create(self) -> None:
        """Make the folders, with the permissions that the umask leaves: evidence is made to be shown."""
        try:
            os.makedirs(self.path, exist_ok=True)
            _folder(os.path.join(self.path, "blobs"))
            _folder(os.path.join(self.path, "log"))
        except OSError as error:
            raise self.failure(error, "made") from None

    def entry_bytes(self, seq: int) -> bytes | None:
        """An entry's file, None where there is none. Raises `StoreError` for what is not a plain, readable file."""
        try:
            return _read(self.path, entry_path(seq), _MAX_ENTRY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"entry {seq} of the store {self.path!r} {_reason(error)}") from None

    def has(self, seq: int) -> bool:
        """Whether an entry has a file, of whatever kind."""
        return os.path.lexists(os.path.join(self.path, *entry_path(seq)))

    def blob(self, name: str) -> bytes:
        """A bundle, after comparing its bytes with its digest. Raises `StoreError` with one sentence."""
        shown = f"the bundle {name[:16]} of the store {self.path!r}"
        try:
            data = _read(self.path, blob_path(name), strict_json.MAX_BYTES)
        except FileNotFoundError:
            raise StoreError(f"{shown} was removed") from None
        except OSError as error:
            raise StoreError(f"{shown} {_reason(error)}") from None
        if digest(data) != name:
            raise StoreError(f"{shown} was replaced or edited: its bytes have another digest")
        return data

    def last(self) -> int:
        """Number of the newest entry by the files' names; 0 when there is none."""
        for folder in sorted(self._names("log"), reverse=True):
            numbers = [name for name in self._names("log", folder) if _ENTRY_NAME.fullmatch(name)]
            if numbers:
                return int(max(numbers, key=lambda name: int(name[:-5]))[:-5])
        return 0

    def blobs(self) -> Iterator[str]:
        """Digests by which bundles are named on disk."""
        for folder in self._names("blobs"):
            yield from (
                name[:-5] for name in self._names("blobs", folder) if name.endswith(".json") and name[:1] != "."
            )

    def _names(self, *parts: str) -> list[str]:
        try:
            return os.listdir(os.path.join(self.path, *parts))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self.failure(error, "read") from None

    def write(self, data: bytes, record: Record) -> str:
        """Keep a bundle (when it is not there yet), then its entry; the entry's digest. Only under `locked`.

        Both are durable when this returns. The bundle comes first, so that no entry ever names one that is missing.
        """
        if record.kind == STATEMENT:
            try:
                self._write(blob_path(record.blob), data)
            except FileExistsError:
                self.blob(record.blob)  # left by an interrupted command, or by a discarded entry; must be the same
        written = encode(record)
        self._write(entry_path(record.seq), written)
        return digest(written)

    def _write(self, parts: tuple[str, ...], data: bytes) -> None:
        path = self.path
        for folder in parts[:-1]:
            path = os.path.join(path, folder)
            _folder(path)
        write_atomic(os.path.join(path, parts[-1]), data, mode=0o444, exclusive=True)

    def settle(self, seq: int) -> None:
        """Make an entry durable that somebody wrote who may not have lived to do so."""
        with contextlib.suppress(OSError):
            sync_directory(os.path.join(self.path, *entry_path(seq)[:-1]))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock; sweep up after a writer that was killed. Raises `OSError` and `StoreError`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(os.path.join(self.path, "lock"), flags, 0o666)
        try:
            _wait_for(descriptor, self.path)
            # The mark stands while somebody writes. Found under the lock, its writer was killed.
            if os.pread(descriptor, 1, 0):
                self._sweep()
            else:
                os.pwrite(descriptor, b"writing\n", 0)
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove temporary files; whoever holds the lock knows that nobody is writing them."""
        folders = [(), *(("blobs", name) for name in self._names("blobs")), *(("log", n) for n in self._names("log"))]
        for folder in folders:
            for name in self._names(*folder):
                if name.startswith(".") and ".tmp" in name:
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(self.path, *folder, name))

    def failure(self, error: OSError, what: str) -> StoreError:
        """An error of the operating system as a sentence about this store."""
        if error.errno in _FULL:
            return StoreError(f"the disk (or quota) is full: the store {self.path!r} could not be {what}")
        if error.errno in _REFUSED:
            return StoreError(f"the store {self.path!r} may not be {what}: {error.strerror}")
        return StoreError(f"the store {self.path!r} could not be {what}: {error.strerror or error}")


def _wait_for(descriptor: int, path: str) -> None:
    deadline, pause = clock.monotonic() + _PATIENCE, 0.001
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() > deadline:
                raise StoreError(f"the store {path!r} is locked by another command", hint="try again later") from None
        clock.sleep(pause)
        pause = min(pause * 2, 0.05)


def _folder(path: str) -> None:
    """A real folder at ``path``, durable."""
    try:
        os.mkdir(path)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, f"{path!r} is not a plain folder") from None
    else:
        sync_directory(os.path.dirname(path))


def _read(root: str, parts: tuple[str, ...], limit: int) -> bytes:
    """A regular file below ``root``, reached through no symbolic link."""
    held = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for i, part in enumerate(parts):
            kind = os.O_DIRECTORY if i < len(parts) - 1 else os.O_NONBLOCK
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=held)
            os.close(held)
            held = inner
        status = os.fstat(held)
        if not stat.S_ISREG(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "not a regular file")
        if status.st_size > limit:
            raise OSError(errno.EOVERFLOW, f"is larger than the {limit:,} bytes that are read")
        with os.fdopen(os.dup(held), "rb", buffering=0) as file:
            return file.readall() or b""
    finally:
        os.close(held)


def _reason(error: OSError) -> str:
    if error.errno in _ODD:
        return "is not a plain file in a plain folder"
    return f"cannot be read: {error.strerror}"
