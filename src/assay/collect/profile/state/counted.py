"""Different strings by their hashes, with counts, and with the texts of those that can be shown.

It must never hold a text of more than 256 bytes, whatever the strings are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.collect.profile.serial import Reader, Writer, refused, require_sum, steps
from assay.collect.profile.state.hashing import SHORT, Hasher
from assay.collect.profile.state.registers import Words

Integers = NDArray[np.int64]
Texts = NDArray[np.object_]


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """What was counted, ascending by hash."""

    hashes: Words
    counts: Integers
    texts: Texts
    """A string each, or None."""

    @classmethod
    def of(cls, hashes: Words, counts: Integers, texts: list[str]) -> Values:
        """From strings in any order, each there once."""
        known = np.empty(len(texts), np.object_)
        # Four bytes of UTF-8 are the most that a character takes.
        known[:] = [
            text if len(text) <= SHORT // 4 or (len(text) <= SHORT and len(text.encode()) <= SHORT) else None
            for text in texts
        ]
        return NOTHING.joined(cls(hashes, counts, known))

    def joined(self, other: Values) -> Values:
        """Both together."""
        hashes = np.concatenate([self.hashes, other.hashes])
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        texts = np.concatenate([self.texts, other.texts])[order]
        counts = np.concatenate([self.counts, other.counts])[order]
        fresh = np.ones(len(hashes), np.bool_)
        fresh[1:] = hashes[1:] != hashes[:-1]
        if fresh.all():
            return Values(hashes, counts, texts)
        starts = np.flatnonzero(fresh)
        group = np.cumsum(fresh) - 1
        shown = texts[starts]
        # One text has one hash; should two texts ever share one, the lesser is shown, whichever came first.
        again = np.flatnonzero(~fresh)
        for at in again[texts[again] != shown[group[again]]].tolist():
            text, before = texts[at], shown[group[at]]
            if text is not None and (before is None or text < before):
                shown[group[at]] = text
        return Values(hashes[starts], np.add.reduceat(counts, starts), shown)

    def without_rare(self, least: int) -> Values:
        """Without the texts of values that were seen less often."""
        texts = self.texts.copy()
        texts[self.counts < least] = None
        return Values(self.hashes, self.counts, texts)

    def labels(self, least: int) -> dict[int, str]:
        """Texts by hash, of values that were seen at least so often."""
        often = np.flatnonzero(self.counts >= least)
        pairs = zip(self.hashes[often].tolist(), self.texts[often].tolist(), strict=True)
        return {key: text for key, text in pairs if text is not None}

    def write(self, writer: Writer) -> None:
        """Append hashes, counts and texts."""
        texts = [None if text is None else text.encode() for text in self.texts.tolist()]
        writer.array(steps(self.hashes))
        writer.array(self.counts)
        writer.array(np.array([0 if text is None else len(text) + 1 for text in texts], np.uint64))
        writer.blob(b"".join(text for text in texts if text is not None))

    @classmethod
    def read(cls, reader: Reader, limit: int, count: int, hasher: Hasher) -> Values:
        """What `write` wrote, ``count`` values in all. Raises `DocumentError` for everything else."""
        hashes, counts = reader.ascending(limit), reader.counts(limit)
        sizes = reader.array(limit).astype(np.int64)
        blob = reader.blob(limit * SHORT)
        require_sum(count, counts.tolist(), "the counts of the values")
        if not len(hashes) == len(counts) == len(sizes) or (len(sizes) and int(sizes.max()) > SHORT + 1):
            raise refused("there are not as many counts as values")
        shown = np.flatnonzero(sizes)
        lengths = (sizes[shown] - 1).tolist()
        if sum(lengths) != len(blob):
            raise refused("the texts are longer or shorter than said")
        texts, at = [], 0
        try:
            for length in lengths:
                texts.append(blob[at : at + length].decode())
                at += length
        except UnicodeDecodeError:
            raise refused("a text is not UTF-8") from None
        if not np.array_equal(hasher.hash_texts(texts), hashes[shown]):
            raise refused("a text is not the one that was counted")
        known = np.empty(len(hashes), np.object_)
        known[shown] = texts
        return cls(hashes, counts, known)


NOTHING = Values(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.empty(0, np.object_))
"""No values."""
