"""How many different values there are, from hashes: the least 512 of them say how dense all are (k minimum values).

Exact up to 511 different values, beyond within about 4.4 % (one standard deviation). It must depend on the set of the
values alone; see Bar-Yossef et al., "Counting Distinct Elements in a Data Stream", RANDOM 2002.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from assay.collect.profile.serial import Reader, Writer, refused, steps

Words = NDArray[np.uint64]

KEPT = 512
"""Hashes that are kept, of 32 bits each."""
_RECENT = 4096
_BUFFER = 4096


class Distinct:
    """An estimate of how many different 64-bit hashes were added."""

    __slots__ = ("_kept", "_pending", "_recent", "_threshold", "_waiting")

    def __init__(self, kept: Words | None = None) -> None:
        self._kept = np.zeros(0, np.uint64) if kept is None else kept
        self._pending: list[Words] = []
        self._waiting = 0
        self._recent: Words | None = None
        self._threshold = self._limit()

    def add(self, hashes: Words) -> None:
        """Take hashes in, of which the upper 32 bits count."""
        if self._threshold is not None:
            hashes = hashes[np.flatnonzero(hashes < self._threshold)]
        if len(hashes) > KEPT:  # a small table of what was seen last drops most of what comes again and again
            if self._recent is None:
                self._recent = np.arange(1, _RECENT + 1, dtype=np.uint64)  # none of them belongs into its slot
            slots = (hashes & np.uint64(_RECENT - 1)).view(np.int64)
            fresh = np.flatnonzero(self._recent[slots] != hashes)
            hashes = hashes[fresh]
            self._recent[slots[fresh]] = hashes
        if len(hashes):
            self._pending.append(hashes >> np.uint64(32))
            self._waiting += len(hashes)
            if self._waiting > _BUFFER:
                self._settle()

    def absorb(self, other: Distinct) -> None:
        """Take another's in."""
        if len(other.kept):
            self._pending.append(other.kept)

    @property
    def kept(self) -> Words:
        """The least hashes, ascending, 32 bits each: the state."""
        self._settle()
        return self._kept

    def estimate(self) -> int:
        """How many different hashes there were."""
        kept = self.kept
        if len(kept) < KEPT:
            return len(kept)
        density = (KEPT - 1) / float(kept[-1])  # of the 32-bit numbers below the last one, so many are taken
        return round(-math.log1p(-min(density, 0.999_999)) * 2.0**32)

    def write(self, writer: Writer) -> None:
        """Append the state."""
        writer.array(steps(self.kept))

    @classmethod
    def read(cls, reader: Reader) -> Distinct:
        """What `write` wrote."""
        kept = reader.ascending(KEPT)
        if len(kept) and int(kept[-1]) >= 1 << 32:
            raise refused("a hash has more than 32 bits")
        return cls(kept)

    def _settle(self) -> None:
        if self._pending:
            ordered = np.sort(np.concatenate([self._kept, *self._pending]))
            self._kept = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])][:KEPT]
            self._pending, self._waiting = [], 0
            self._threshold = self._limit()

    def _limit(self) -> np.uint64 | None:
        return np.uint64(int(self._kept[-1]) << 32) if len(self._kept) == KEPT else None


def keys(seed: int, use: str, number: int) -> Words:
    """``number`` odd 64-bit words that follow from the seed and from what they are used for (SHAKE-256)."""
    stream = hashlib.shake_256(f"assay-profile/{use}/{seed}".encode()).digest(8 * number)
    return np.frombuffer(stream, "<u8").astype(np.uint64) | np.uint64(1)


def different(words: Words) -> int:
    """How many different words there are; sorting is faster than NumPy's hash table."""
    ordered = np.sort(words)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + 1 if len(words) else 0


def mix(bits: Words, multipliers: Words, first: Words, second: Words) -> Words:
    """Hash of 64-bit words: two multiplications with a shift between them. Both buffers are used; one is the result."""
    np.multiply(bits, multipliers[0], out=first)
    np.right_shift(first, np.uint64(32), out=second)
    np.bitwise_xor(first, second, out=first)
    np.multiply(first, multipliers[1], out=first)
    return first
