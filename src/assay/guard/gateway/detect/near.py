"""The last queries of one caller, and which of them is nearest to the next one.

Distances are those of the space's coordinates. One query at a time and many at once give the same answers; equal
queries are told apart from near ones by a digest, so that steps too small for the coordinates are still near.
"""

from __future__ import annotations

from array import array

import numpy as np

LAST = 128
"""Queries of a caller that are remembered."""
CHUNK = 64
"""Rows that are looked at together; never more than `LAST`."""

NOWHERE = -1e30
_LATER = np.triu(np.ones((CHUNK, CHUNK), dtype=bool))
_OVERWRITTEN = np.tril(np.ones((CHUNK, CHUNK), dtype=bool), -1)


class Ring:
    """The last `LAST` queries: coordinates, and minus half their squared length beside them (one product then gives the
    nearest), labels, and digests.
    """

    __slots__ = ("digests", "labels", "place", "rows", "seen")

    def __init__(self, components: int) -> None:
        self.rows = np.zeros((LAST, components + 1), dtype=np.float32)
        self.rows[:, -1] = NOWHERE
        self.labels = array("i", bytes(4 * LAST))
        self.digests = array("i", bytes(4 * LAST))
        self.place = 0
        self.seen = 0
        """How many came, in all."""

    def one(
        self, query: np.ndarray, length: float, label: int, digest: int, scores: np.ndarray
    ) -> tuple[float, bool, bool]:
        """Squared distance to the nearest of the last queries, whether it is the very same, and whether its label is
        another; then remember the query. ``query`` is the coordinates with a 1 behind them, ``scores`` room for
        `LAST` float32. The distance is NaN for the first.
        """
        rows, place = self.rows, self.place
        if self.seen:
            rows.dot(query, out=scores)
            best = int(scores.argmax())
            distance = length - 2.0 * float(scores[best])
            if distance < 0.0:
                distance = 0.0
            same = self.digests[best] == digest
            flipped = label >= 0 and self.labels[best] != label and self.labels[best] >= 0
        else:
            distance, same, flipped = float("nan"), False, False
        rows[place] = query
        rows[place, -1] = -0.5 * length
        self.labels[place] = label
        self.digests[place] = digest
        self.place = (place + 1) % LAST
        self.seen += 1
        return distance, same, flipped

    def many(
        self, queries: np.ndarray, lengths: np.ndarray, labels: np.ndarray, digests: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same for many queries in their order: distances (NaN where there was none before), same, flipped."""
        parts = [
            self._chunk(queries[i : i + CHUNK], lengths[i : i + CHUNK], labels[i : i + CHUNK], digests[i : i + CHUNK])
            for i in range(0, len(queries), CHUNK)
        ]
        distances, same, flipped = zip(*parts, strict=True)
        return np.concatenate(distances), np.concatenate(same), np.concatenate(flipped)

    def _chunk(
        self, queries: np.ndarray, lengths: np.ndarray, labels: np.ndarray, digests: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = len(queries)
        slots = (self.place + np.arange(count)) % LAST
        before = queries @ self.rows[:, :-1].T + self.rows[:, -1]
        # Row i came after i others of this chunk, which took the places of the oldest.
        held = before[:, slots]
        held[_OVERWRITTEN[:count, :count]] = 2 * NOWHERE
        before[:, slots] = held
        among = queries @ queries.T - 0.5 * lengths[None, :]
        among[_LATER[:count, :count]] = 2 * NOWHERE
        scores = np.hstack([before, among])
        best = scores.argmax(axis=1)
        score = scores[np.arange(count), best].astype(np.float64)
        distances = np.maximum(lengths - 2.0 * score, 0.0)
        distances[score <= 0.5 * NOWHERE] = np.nan
        all_labels = np.concatenate([np.frombuffer(self.labels, np.int32), labels.astype(np.int32)])
        all_digests = np.concatenate([np.frombuffer(self.digests, np.int32), digests.astype(np.int32)])
        known = ~np.isnan(distances)
        same = known & (all_digests[best] == digests)
        flipped = known & (labels >= 0) & (all_labels[best] >= 0) & (all_labels[best] != labels)
        self.rows[slots, :-1] = queries
        self.rows[slots, -1] = -0.5 * lengths
        for slot, label, digest in zip(slots.tolist(), labels.tolist(), digests.tolist(), strict=True):
            self.labels[slot] = label
            self.digests[slot] = digest
        self.place = (self.place + count) % LAST
        self.seen += count
        return distances, same, flipped


def digest(row: bytes) -> int:
    """32 bits of a row's bytes, signed; keyed by the process (PEP 456), so that nobody can make two rows collide."""
    return (hash(row) & 0xFFFFFFFF) - 0x80000000


BANDS = 4
"""Parts of a row that are compared; two alike make a near-duplicate."""


class Bands:
    """The last `LAST` queries without a space: each a few hashes of its numbers cut to four binary digits after the
    first, or of its words. Near is what has half of them alike.
    """

    __slots__ = ("digests", "labels", "place", "rows", "seen")

    def __init__(self) -> None:
        self.rows = np.zeros((LAST, BANDS), dtype=np.int32)
        self.labels = array("i", bytes(4 * LAST))
        self.digests = array("i", bytes(4 * LAST))
        self.place = 0
        self.seen = 0

    def one(self, bands: list[int], label: int, whole: int) -> tuple[bool, bool, bool]:
        """Whether one of the last queries is near, whether it is the very same, and whether its label is another."""
        near = same = flipped = False
        if self.seen:
            alike = (self.rows == bands).sum(axis=1)
            alike[self.seen :] = 0
            best = int(alike.argmax())
            near = bool(alike[best] >= BANDS // 2)
            same = near and self.digests[best] == whole
            flipped = near and label >= 0 and self.labels[best] not in (-1, label)
        place = self.place
        self.rows[place] = bands
        self.labels[place] = label
        self.digests[place] = whole
        self.place = (place + 1) % LAST
        self.seen += 1
        return near, same, flipped


def bands(row: np.ndarray, words: list[str]) -> tuple[list[int], int]:
    """The hashes of a row and its words, and a digest of all of it."""
    cut = (np.ascontiguousarray(row).view(np.int64) >> 48).astype(np.int16)
    size = -(-len(words) // BANDS)
    found = [
        digest(cut[i::BANDS].tobytes() + " ".join(words[i * size : (i + 1) * size]).encode("utf-8", "replace"))
        for i in range(BANDS)
    ]
    return found, digest(row.tobytes() + "\0".join(words).encode("utf-8", "replace"))
