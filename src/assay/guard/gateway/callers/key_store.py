"""The keys that are in use: a file's contents by digest, replaced as a whole when the file changes.

A look-up does the same work for every key of the same length, whether it is known, revoked, expired or made up. What
it remembers dies with the contents that it came from, so a reload cannot leave a revoked key behind.
"""

from __future__ import annotations

import math
import os
from hmac import compare_digest

from assay.errors import AssayError, UsageError
from assay.guard.gateway.callers import keys
from assay.guard.gateway.interface import Caller

REMEMBERED = 16384
"""Presented keys whose caller is remembered; all are forgotten when there are more."""

KEPT = 60.0
"""Seconds that the last good contents go on when the file is gone or broken; then every key is refused. An editor that
writes in place may leave a broken file for a moment, but revoking by deleting must not be undone by kindness.
"""


class Entry:
    """One key as the hot path needs it."""

    __slots__ = ("caller", "digest", "until")

    def __init__(self, digest: bytes, caller: Caller | None, until: float) -> None:
        self.digest = digest
        self.caller = caller
        """None: nobody."""
        self.until = until
        """UNIX seconds from which on it is refused."""


_NOBODY = Entry(bytes(32), None, -math.inf)


class Keys:
    """What one version of the file says. `known` is what was presented and found, by the header's value."""

    __slots__ = ("by_digest", "known", "known_bearers")

    def __init__(self, entries: dict[bytes, Entry]) -> None:
        self.by_digest = entries
        self.known: dict[bytes, Entry] = {}
        """By the value of the key's own header."""
        self.known_bearers: dict[bytes, Entry] = {}
        """By the value of ``Authorization``."""

    def find(self, presented: bytes) -> Entry:
        """The key's entry, or one that is nobody's."""
        digest = keys.digest(presented)
        entry = self.by_digest.get(digest, _NOBODY)
        # The look-up compares digests, of which nobody can choose a part; this does not tell how far they agree.
        return entry if compare_digest(entry.digest, digest) else _NOBODY


class KeyStore:
    """Follows one file."""

    def __init__(self, path: str, plans: frozenset[str]) -> None:
        """Reads the file. Raises `AssayError` where there is none that can be used."""
        self._path = path
        self._plans = plans
        self._seen: tuple[int, ...] | None = None
        self._failing_since: float | None = None
        self.problems: tuple[str, ...] = ()
        """What is wrong with the file at the moment, in sentences."""
        self.current = self._read(self._state())

    def refresh(self, now: float) -> None:
        """Look whether the file has changed; called about once a second, by one thread, out of the hot path."""
        try:
            state = self._state()
            if state == self._seen:
                return
            self.current = self._read(state)
        except AssayError as error:
            problem = error.message
        except OSError as error:  # it went away while it was looked at
            problem = f"{self._path} cannot be read: {error.strerror}"
        else:
            self._failing_since = None
            return
        self._seen = None
        self._failing_since = now if self._failing_since is None else min(self._failing_since, now)
        if now - self._failing_since >= KEPT:
            self.current = Keys({})
            problem += "; every key is refused"
        self.problems = (problem,)

    def _state(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise UsageError(
                f"{self._path} cannot be read: {error.strerror}",
                hint="'assay gateway keys create' makes a file of keys",
            ) from None
        return found.st_mtime_ns, found.st_ino, found.st_size, found.st_ctime_ns

    def _read(self, state: tuple[int, ...]) -> Keys:
        entries: dict[bytes, Entry] = {}
        problems: list[str] = []
        for key in keys.read(self._path).keys:
            if key.plan in self._plans:
                made = bytes.fromhex(key.sha256)
                entries[made] = Entry(made, keys.caller(key), keys.until(key))
            elif len(problems) < 20:
                problems.append(f"key {key.id} is refused: there is no plan {key.plan[:100]!r}")
        if keys.readable(self._path):
            problems.append(f"{self._path} may be read by others: chmod 600")
        self._seen = state
        self.problems = tuple(problems)
        return Keys(entries)
