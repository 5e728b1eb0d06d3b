"""What protection remembers from one process to the next, where the caller trusts the user's own cache.

Digests of files by their identity, compiled code by the digest of its source, and the file list of a bill of
materials by the digest of its statement; each entry is authenticated with the digest cache's key, and one that is
damaged, foreign or of another interpreter is as if it were not there. It must never hold what was not digested by
this user's own assay, and it stops nobody who is this user (see `assay.targets.digest.cache`, whose rules it keeps).
"""

from __future__ import annotations

import atexit
import importlib.util
import marshal
import os
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import CodeType

from assay.guard.kept import Kept, kept
from assay.targets.digest.cache import RACY
from assay.targets.digest.cachefile import LOCAL_FILE_SYSTEMS, Refused, file_system
from assay.targets.digest.plan import IDENTITY, identity_of
from assay.targets.interface import DIGEST

_ROW = IDENTITY + DIGEST
_TIME = struct.Struct("<Q")
_DIGESTS = "digests"


class Memory:
    """The cache's entries for one Python. Nothing that goes wrong with it is an error: then everything is read."""

    def __init__(self, entries: Kept, devices: frozenset[int]) -> None:
        self.entries = entries
        """All of it, by name."""
        self._devices = devices
        self._digests = self._load()
        self._more = False

    def identity(self, path: str) -> bytes | None:
        """The identity by which a file's digest is remembered; None for one whose time stamps prove nothing."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        if status.st_dev not in self._devices or status.st_ctime_ns > time.time_ns() - RACY:
            return None
        return identity_of(status)

    def digest(self, identity: bytes) -> bytes | None:
        """SHA-256 of the file with this identity, where it is known."""
        return self._digests.get(identity)

    def learn(self, identity: bytes, digest: bytes) -> None:
        """Remember a file's digest. The identity was taken before the file was read."""
        self._digests[identity] = digest
        if not self._more:
            self._more = True
            atexit.register(self._save)

    def code(self, path: str, digest: bytes) -> CodeType | None:
        """What the source with this digest was compiled to for this path."""
        data = self.entries.read(f"code {path}")
        if data is None or data[:DIGEST] != digest:
            return None
        made = marshal.loads(data[DIGEST:])  # noqa: S302 - authenticated: written by `learn_code`
        return made if isinstance(made, CodeType) else None

    def learn_code(self, path: str, digest: bytes, code: CodeType) -> None:
        """Remember compiled code."""
        self.entries.write(f"code {path}", digest + marshal.dumps(code))

    def _load(self) -> dict[bytes, bytes]:
        data = self.entries.read(_DIGESTS)
        if data is None or _TIME.unpack_from(data)[0] > time.time_ns():  # the clock was set back since
            return {}
        rows = range(_TIME.size, len(data), _ROW)
        return {data[at : at + IDENTITY]: data[at + IDENTITY : at + _ROW] for at in rows}

    def _save(self) -> None:
        rows = b"".join(identity + digest for identity, digest in self._digests.items())
        self.entries.write(_DIGESTS, _TIME.pack(time.time_ns()) + rows)


def remembered(folders: Sequence[str]) -> Memory | None:
    """The memory for files on the file systems of ``folders``; None where no cache may be believed."""
    # Bytecode belongs to one interpreter and its settings; the rest would not, and costs little to make again.
    entries = kept(f"imports {sys.implementation.cache_tag} {sys.flags.optimize} {importlib.util.MAGIC_NUMBER.hex()}")
    if entries is None:
        return None
    devices = set()
    for folder in filter(os.path.isdir, folders):
        with suppress(Refused, OSError):
            if file_system(os.path.realpath(folder)) in LOCAL_FILE_SYSTEMS:
                devices.add(os.stat(folder).st_dev)
    return Memory(entries, frozenset(devices))
