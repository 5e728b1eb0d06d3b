"""The newest entry that this user has seen in each store, kept outside of them, like ssh's record of known hosts.

A store that was cut or replaced as a whole, index and all, is consistent in itself; only memory kept elsewhere tells.
The record is a help and not a gate: where it cannot be kept, nothing fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from assay.errors import DocumentError
from assay.evidence import strict_json
from assay.evidence.stores.interface import Head
from assay.files import write_atomic

_MAX_BYTES = 16 << 20


def default_path() -> str:
    """``$XDG_STATE_HOME/assay/heads.json``; relative values of the variable count as unset (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "assay", "heads.json")


class Heads:
    """The record in one file: a store's real path to its head."""

    def __init__(self, path: str) -> None:
        self.path = path

    def seen(self, store: str) -> Head | None:
        """The head last seen there. Raises `DocumentError` for a record that is damaged."""
        return _heads(self._read(), self.path).get(_key(store))

    def remember(self, store: str, head: Head, *, replace: bool = False) -> None:
        """Record a newer head; an older one changes nothing unless ``replace``. Does nothing where it cannot."""
        with contextlib.suppress(OSError, DocumentError):
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            lock = os.open(self.path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                heads = _heads(self._read(), self.path)
                known = heads.get(_key(store))
                if replace or known is None or known.seq < head.seq:
                    heads[_key(store)] = head
                    document = {key: str(value) for key, value in sorted(heads.items())}
                    write_atomic(self.path, strict_json.dumps(document) + b"\n", mode=0o600)
            finally:
                os.close(lock)

    def _read(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                return file.read(_MAX_BYTES + 1)
        except OSError:
            return b"{}"


def parse_head(text: object) -> Head | None:
    """A head from ``SEQ:DIGEST``, None for anything else."""
    if not isinstance(text, str):
        return None
    seq, _, digest = text.partition(":")
    if len(digest) != 64 or set(digest) - set("0123456789abcdef") or not (seq.isascii() and seq.isdigit()):
        return None
    return Head(int(seq), digest) if len(seq) <= 18 else None


def _heads(data: bytes, path: str) -> dict[str, Head]:
    document = strict_json.loads(data, path, max_bytes=_MAX_BYTES)
    if not isinstance(document, dict):
        raise DocumentError(f"{path} is not a record of heads")
    heads = {}
    for key, value in document.items():
        head = parse_head(value)
        if head is None:
            raise DocumentError(f"{path}: the head of {key[:200]!r} is damaged")
        heads[key] = head
    return heads


def _key(store: str) -> str:
    return os.fsencode(os.path.realpath(store)).decode("utf-8", "backslashreplace")
