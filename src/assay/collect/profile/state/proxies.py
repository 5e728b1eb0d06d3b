"""Counting strings by a fast hash that holds in this process only, so that each different string is looked at once.

Polars' own hash changes from version to version: it must never be part of a state. Its seed is drawn anew in each
process, so that nobody can choose strings that share one.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars

    from assay.collect.profile.state.registers import Words

_SEED = secrets.randbits(63)
_HEAD = 4096


class Proxies:
    """Counts of strings, by process-wide hashes."""

    __slots__ = ("_counts", "_keys", "_texts", "width")

    def __init__(self) -> None:
        self._keys: Words = np.zeros(0, np.uint64)
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self._texts: polars.Series | None = None
        self.width = 0
        """Bytes of the longest string."""

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, strings: polars.Series) -> None:
        """Count strings; there are some, and no nulls among them."""
        import polars

        keys = strings.hash(_SEED).to_numpy()
        ordered = np.sort(keys)
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        found, counts = ordered[starts], np.diff(starts, append=len(ordered))
        if len(self._keys):
            place = np.searchsorted(self._keys, found)
            place[place == len(self._keys)] = 0
            known = self._keys[place] == found
            self._counts[place[known]] += counts[known]
            if known.all():
                return
            found, counts = found[~known], counts[~known]
        first = _places(keys, found)
        texts = strings.gather(polars.Series(first.astype(np.uint32)))
        self.width = max(self.width, int(str(texts.str.len_bytes().max())))
        order = np.argsort(np.concatenate([self._keys, found]))
        self._keys = np.concatenate([self._keys, found])[order]
        self._counts = np.concatenate([self._counts, counts])[order]
        joined = texts if self._texts is None else polars.concat([self._texts, texts])
        self._texts = joined.gather(polars.Series(order.astype(np.uint32)))

    def empty(self) -> polars.DataFrame:
        """The strings and how often each came; nothing is left."""
        import polars

        made = polars.DataFrame({"text": self._texts, "count": self._counts}, schema_overrides={"text": polars.String})
        self._keys, self._counts, self._texts, self.width = self._keys[:0], self._counts[:0], None, 0
        return made


def _places(keys: Words, found: Words) -> NDArray[np.int64]:
    """Where each of ``found``, ascending, stands in ``keys``. Most are among the first, and sorting all takes long."""
    places = np.full(len(found), -1, np.int64)
    for head in (_HEAD, len(keys)):
        left = np.flatnonzero(places < 0)
        if not len(left):
            break
        rows = np.flatnonzero(np.isin(keys[:head], found[left]))
        seen, at = np.unique(keys[rows], return_index=True)
        places[np.searchsorted(found, seen)] = rows[at]
    return places
