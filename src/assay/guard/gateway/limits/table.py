"""Where keys are in a table of the shared file: sets of a few slots, of which the least can be taken over. A table
never holds a key itself, only its digest, and a stranger cannot choose keys that share a set.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from math import inf
from typing import TypeAlias

from assay.guard.gateway.limits import file as layout
from assay.guard.gateway.limits.file import CountersFile
from assay.guard.gateway.limits.stripes import STRIPES

Place: TypeAlias = tuple[int, int, Callable[..., bool], Callable[[], None], int]
"""Word of the slot, first word of the digest, acquire, release, and which lock that is."""
NOWHERE = -1
"""No slot can be had."""


class Table:
    """One of the file's tables: where the keys' slots are."""

    def __init__(self, file: CountersFile, start: int, width: int, slots: int) -> None:
        self._words = file.words
        self._start = start
        self._width = width
        self._sets = slots // layout.WAYS
        self._secret = file.secret
        self._stripes = file.stripes
        self._most = slots
        self.places: dict[bytes, Place] = {}
        """Where keys were when they were last looked for."""

    def digest(self, key: bytes) -> tuple[int, int]:
        """A key's name in the file: 128 bits, the same on all machines."""
        digest = blake2b(key, digest_size=16).digest()
        return int.from_bytes(digest[:8], "little", signed=True) or 1, int.from_bytes(digest[8:], "little", signed=True)

    def home(self, high: int, low: int) -> tuple[int, int]:
        """First word of a digest's set, and its lock."""
        name = high.to_bytes(8, "little", signed=True) + low.to_bytes(8, "little", signed=True)
        number = int.from_bytes(blake2b(name, digest_size=8, key=self._secret).digest(), "little") % self._sets
        return self._start + number * layout.WAYS * self._width, number % STRIPES

    def find(self, key: bytes) -> Place:
        """Where a key is or, as nothing is known of it, where its set begins (then with the digest 0)."""
        high, low = self.digest(key)
        base, stripe = self.home(high, low)
        return base, 0, self._stripes.acquire[stripe], self._stripes.release[stripe], stripe

    def take(self, high: int, low: int, weight: Callable[[int], float]) -> tuple[int, int]:
        """Under the lock: a digest's slot and what it takes over (zero or more), or minus one: it is there already.
        The slot is `NOWHERE` where none can be had, because all weigh ``inf``. The caller fills it, and last of all
        writes ``high`` into its first word, so that whoever is killed in between leaves it free.
        """
        words, width = self._words, self._width
        first, _ = self.home(high, low)
        slots = range(first, first + layout.WAYS * width, width)
        free = lightest = NOWHERE
        least: float = inf
        for slot in slots:
            if words[slot] == high and words[slot + 1] == low:
                return slot, -1
            if words[slot] == 0 and free == NOWHERE:
                free = slot
        if free == NOWHERE:
            for slot in slots:
                weighs = weight(slot)
                if weighs < least:
                    least, lightest = weighs, slot
                    if not weighs:
                        break
            if lightest == NOWHERE:
                return NOWHERE, 0
            words[lightest] = 0
        slot = free if free != NOWHERE else lightest
        words[slot + 1] = low
        return slot, 0 if free != NOWHERE else int(least)

    def remember(self, key: bytes, slot: int) -> int:
        """Where a key is now; returns it."""
        if slot != NOWHERE:
            if len(self.places) >= self._most:
                self.places.clear()
            stripe = (slot - self._start) // (layout.WAYS * self._width) % STRIPES
            locks = self._stripes
            self.places[key] = slot, self._words[slot], locks.acquire[stripe], locks.release[stripe], stripe
        return slot
