"""Small authenticated entries that guard keeps for this user between processes, with the digest cache's key.

An entry that is damaged, of another machine or written by another user is as if it were not there, and nothing that
goes wrong here is an error. It stops nobody who is this user (see `assay.targets.digest.cache`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress

from assay.targets.digest.cachefile import Refused, cache_folder, key, read_own, tag
from assay.targets.interface import DIGEST


class Kept:
    """Entries by name. ``scope`` distinguishes what the values are good for: entries of another one do not count."""

    def __init__(self, folder: str, secret: bytes, scope: str) -> None:
        self._folder = folder
        self._secret = tag(secret, f"guard {scope}", b"")

    def read(self, name: str) -> bytes | None:
        """What this user's assay wrote under this name."""
        try:
            data = read_own(self._place(name))
        except (OSError, Refused):
            return None
        if data is None or not hmac.compare_digest(self._tag(name, memoryview(data)[DIGEST:]), data[:DIGEST]):
            return None
        return data[DIGEST:]

    def write(self, name: str, data: bytes) -> None:
        """Replace an entry. It is not synced: what a power cut leaves half-written is refused when it is read."""
        place = self._place(name)
        temporary = f"{place}.{secrets.token_hex(6)}.tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._tag(name, data) + data)
            os.replace(temporary, place)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)

    def _place(self, name: str) -> str:
        return os.path.join(self._folder, hashlib.sha256(os.fsencode(name)).hexdigest()[:40])

    def _tag(self, name: str, data: bytes | memoryview) -> bytes:
        mac = hmac.new(self._secret, hashlib.sha256(os.fsencode(name)).digest(), "sha256")
        mac.update(data)
        return mac.digest()


def kept(scope: str) -> Kept | None:
    """This user's entries; None where no cache may be believed."""
    try:
        folder = os.path.join(cache_folder(), "guard")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return Kept(folder, key(cache_folder()), scope)
    except (Refused, OSError):
        return None
