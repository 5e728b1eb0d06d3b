"""Hashes of strings: 64 bits, keyed by the spec's seed, the same on every machine and in every version.

Strings of up to 256 bytes of UTF-8 go through two multilinear hashes over 32-bit words, of which the upper halves are
strongly universal (Lemire and Kaser, "Strongly universal string hashing is fast", The Computer Journal 57, 2014):
whoever does not know the seed finds no strings that collide. Longer ones go through BLAKE2b. It must never see a null.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from assay.collect.profile.state.registers import Words, keys

if TYPE_CHECKING:
    import polars

SHORT = 256
"""Bytes of UTF-8 in the longest string that is hashed by words."""
BUCKETS = 1024
"""Hashes are not below it, so that numbers of buckets are no hashes."""

Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_WORDS = SHORT // 4
_ROWS = 1 << 13
_FEW = 64
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_SPREAD = np.uint64(0xD6E8FEB86659FD93)
_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(9)], np.uint64)


@functools.lru_cache(maxsize=8)
def hasher(seed: int) -> Hasher:
    """The hasher for a seed."""
    return Hasher(seed)


class Hasher:
    """Hashes strings under one seed."""

    def __init__(self, seed: int) -> None:
        self._key = hashlib.blake2b(f"assay-profile/{seed}".encode(), digest_size=32).digest()
        self._first = keys(seed, "strings/1", _WORDS + 2)
        self._second = keys(seed, "strings/2", _WORDS + 2)

    def hash(self, strings: polars.Series) -> tuple[Words, Bytes]:
        """One word per string, and its first byte (0 for an empty one); there are no nulls among them."""
        import polars

        lengths: Integers = strings.str.len_bytes().to_numpy().astype(np.int64)
        short = lengths <= SHORT
        if short.all():
            return self._short(strings.str.join("").cast(polars.Binary).item() or b"", lengths)
        hashes, heads = np.empty(len(lengths), np.uint64), np.empty(len(lengths), np.uint8)
        hashes[short], heads[short] = self.hash(strings.filter(short))
        long = [text.encode() for text in strings.filter(~short)]
        hashes[~short], heads[~short] = [self._long(data) for data in long], [data[0] for data in long]
        return hashes, heads

    def hash_texts(self, texts: list[str]) -> Words:
        """The same for strings in a list, which is faster for a few; hashes only."""
        if not texts:
            return np.zeros(0, np.uint64)
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        short = lengths <= SHORT
        hashes = np.empty(len(encoded), np.uint64)
        joined = b"".join(data for data in encoded if len(data) <= SHORT)
        hashes[short] = self._short(joined, lengths[short])[0]
        hashes[~short] = [self._long(data) for data in encoded if len(data) > SHORT]
        return hashes

    def _long(self, data: bytes) -> int:
        digest = hashlib.blake2b(data, digest_size=8, key=self._key).digest()
        return max(int.from_bytes(digest, "little"), BUCKETS)

    def _short(self, joined: bytes, lengths: Integers) -> tuple[Words, Bytes]:
        """Hash strings that stand one after the other."""
        data = np.frombuffer(joined + bytes(SHORT + 8), np.uint8)
        # Every byte's next eight as one word, without a copy: strings start anywhere.
        words = np.lib.stride_tricks.as_strided(data[:8].view("<u8"), (len(data) - 7,), (1,), writeable=False)
        starts = np.cumsum(lengths) - lengths
        hashes = np.empty(len(lengths), np.uint64)
        for at in range(0, len(lengths), _ROWS):
            part = slice(at, at + _ROWS)
            hashes[part] = self._block(words, starts[part], lengths[part])
        return hashes, np.where(lengths > 0, data[starts], np.uint8(0))

    def _block(self, words: Words, starts: Integers, lengths: Integers) -> Words:
        first: Words = lengths.view(np.uint64) * self._first[0] + self._first[1]
        second: Words = lengths.view(np.uint64) * self._second[0] + self._second[1]
        longest, shortest, some = int(lengths.max()), int(lengths.min()), None
        for at in range(0, longest, 8):
            if at > 8 and (some is None or len(some) > _FEW):
                some = np.flatnonzero(lengths > at)
                some = None if len(some) > len(lengths) // 2 else some
            begin, left = (starts, lengths) if some is None else (starts[some], lengths[some])
            word = words[begin + at]
            if shortest < at + 8:  # past its end, a string goes on with zeros
                word &= _MASKS[longest - at] if shortest == longest else _MASKS[np.clip(left - at, 0, 8)]
            low, high = word & _LOW, word >> _HALF
            place = 2 + at // 4
            one = low * self._first[place] + high * self._first[place + 1]
            two = low * self._second[place] + high * self._second[place + 1]
            if some is None:
                first += one
                second += two
            else:
                first[some] += one
                second[some] += two
        hashes: Words = (first & ~_LOW) | (second >> _HALF)
        hashes ^= hashes >> _HALF
        hashes *= _SPREAD  # one to one: it only breaks up the pattern that numbered names leave
        np.maximum(hashes, np.uint64(BUCKETS), out=hashes)
        return hashes
