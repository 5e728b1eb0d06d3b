"""State of a column of strings: each value counted by its hash, and in 1,024 buckets once there are too many.

While values are counted one by one, the texts of short ones are kept, so that they can be shown; `publish` drops rare
ones. Which form a state has depends on the set of values alone. It must never hold more than the spec's number of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from assay.collect.profile.interface import Categories, ColumnSpec, Kind
from assay.collect.profile.serial import Reader, Writer, refused, require_sum
from assay.collect.profile.state.counted import NOTHING, Values
from assay.collect.profile.state.hashing import BUCKETS, SHORT, Bytes, hasher
from assay.collect.profile.state.numeric import NumericState
from assay.collect.profile.state.proxies import Proxies
from assay.collect.profile.state.registers import KEPT, Distinct, Words, different

if TYPE_CHECKING:
    import polars

Integers = NDArray[np.int64]

_COUNTS = ("missing", "odd", "count", "integral", "fractional")
_PENDING = 1 << 24  # bytes that wait, about
_SMALL = 1 << 16
_FEW = 2048
_FIRST = "+-.0123456789"
_NUMERIC = np.isin(np.arange(256), list(_FIRST.encode()))
_WHOLE = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_WHOLE_HERE, _NUMBER_HERE = (re.compile(pattern.replace("$", r"\Z")) for pattern in (_WHOLE, _NUMBER))
_SPLIT = np.uint64(54)  # 2**10 buckets by the upper ten bits


class CategoryState:
    """Counts strings. Not to be used from two threads at once."""

    def __init__(self, column: ColumnSpec, seed: int, exact: int) -> None:
        self._column = column
        self._limit = exact
        self._hasher = hasher(seed)
        self.missing = self.odd = self.count = self.integral = self.fractional = 0
        self.lengths = NumericState(column, seed) if column.kind is Kind.TEXT else None
        self._values: Values | None = NOTHING
        """While values are counted one by one."""
        self._proxies = Proxies()
        self._first: polars.Series | None = None
        self._buckets = np.zeros(BUCKETS, np.int64)
        self._distinct = Distinct()
        self._tracked = np.sort(self._hasher.hash_texts(list(column.tracked)))
        self._tracked_counts = np.zeros(len(self._tracked), np.int64)

    def add(self, strings: polars.Series, *, odd: bool = False) -> None:
        """Add strings without nulls. ``odd``: they are the text of values that are no strings."""
        if not len(strings):
            return
        self.count += len(strings)
        self.odd += len(strings) if odd else 0
        if self.lengths is not None:
            self.lengths.add(strings.str.len_chars().to_numpy().astype(np.float64), whole_numbers=True)
        if self._values is None:
            hashes, heads = self._hasher.hash(strings)
            self._classify(strings, heads, None)
            self._fill(hashes, None)
            return
        if self._first is None and not len(self._proxies) and len(strings) < _SMALL:
            self._first = strings  # a small table may be all there is, and is counted faster by itself
            return
        if self._first is not None:
            self._proxies.add(self._first)
            self._first = None
        self._proxies.add(strings)
        crowded = len(self._proxies) > self._limit or len(self._proxies) * (self._proxies.width + 32) > _PENDING
        if crowded or self._proxies.width > SHORT:
            self._settle()

    def absorb(self, other: CategoryState) -> None:
        """Add another state of the same column."""
        self._settle()
        other._settle()
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if self.lengths is not None and other.lengths is not None:
            self.lengths.absorb(other.lengths)
        if self._values is not None and other._values is not None:
            self._keep(other._values)
            return
        self._spill()
        if other._values is not None:
            self._fill(other._values.hashes, other._values.counts)
        else:
            self._buckets += other._buckets
            self._tracked_counts += other._tracked_counts
            self._distinct.absorb(other._distinct)

    def rows(self) -> int:
        """How many rows the state is about."""
        return self.count + self.missing

    def publish(self, least: int) -> None:
        """Forget the texts of values that were seen less often than ``least`` times."""
        self._settle()
        if self._values is not None and self._column.kind is not Kind.BOOLEAN:
            self._values = self._values.without_rare(least)

    def decode(self, labels: int | None) -> Categories:
        """What the state says, with the texts of values that were seen at least ``labels`` times (None: all)."""
        self._settle()
        if self._values is not None:
            least = 0 if labels is None or self._column.kind is Kind.BOOLEAN else labels
            hashes, counts, texts = self._values.hashes, self._values.counts, self._values.labels(least)
            distinct = len(hashes)
        else:
            used, seen = np.flatnonzero(self._buckets), np.flatnonzero(self._tracked_counts)
            hashes = np.concatenate([used.astype(np.uint64), self._tracked[seen]])
            counts = np.concatenate([self._buckets[used], self._tracked_counts[seen]])
            often = {int(self._tracked[at]) for at in seen if self._tracked_counts[at] >= (labels or 0)}
            texts = {key: text for key, text in self._tracked_texts().items() if key in often}
            distinct = min(max(self._distinct.estimate(), self._limit + 1), self.count)
        return Categories(
            count=self.count,
            missing=self.missing,
            odd=self.odd,
            exact=self._values is not None,
            hashes=hashes,
            counts=counts,
            labels=texts,
            distinct=distinct,
            integral=self.integral,
            fractional=self.fractional,
            lengths=self.lengths.decode() if self.lengths is not None else None,
        )

    def write(self, writer: Writer) -> None:
        """Append the state."""
        self._settle()
        for name in _COUNTS:
            writer.natural(getattr(self, name))
        if self.lengths is not None:
            self.lengths.write(writer)
        writer.natural(0 if self._values is None else 1)
        if self._values is None:
            writer.array(self._buckets)
            writer.array(self._tracked_counts)
            self._distinct.write(writer)
            return
        self._values.write(writer)

    @classmethod
    def read(cls, reader: Reader, column: ColumnSpec, seed: int, exact: int) -> CategoryState:
        """What `write` wrote. Raises `DocumentError` where the numbers contradict each other."""
        state = cls(column, seed, exact)
        for name in _COUNTS:
            setattr(state, name, reader.natural())
        if state.odd > state.count or state.integral + state.fractional > state.count:
            raise refused("there are more odd values than values")
        if state.lengths is not None:
            state.lengths = NumericState.read(reader, column, seed)
            if state.lengths.rows() != state.count or state.lengths.integral != state.count:
                raise refused("there are more lengths than texts")
        if reader.natural(1):
            state._values = Values.read(reader, exact, state.count, state._hasher)
        else:
            state._read_buckets(reader)
        return state

    def _read_buckets(self, reader: Reader) -> None:
        self._values = None
        buckets, tracked = reader.array(BUCKETS), reader.array(len(self._tracked))
        require_sum(self.count, [*buckets.tolist(), *tracked.tolist()], "the counts of the buckets")
        if len(buckets) != BUCKETS or len(tracked) != len(self._tracked):
            raise refused("there are more or fewer buckets than there must be")
        self._buckets, self._tracked_counts = buckets.astype(np.int64), tracked.astype(np.int64)
        self._distinct = Distinct.read(reader)
        if self.count <= self._limit or len(self._distinct.kept) < min(KEPT, self._limit):
            raise refused("so few values are not counted in buckets")

    def _settle(self) -> None:
        """Hash what was counted."""
        if self._first is not None:
            counted = self._first.rename("text").value_counts(name="count")
            self._first = None
        elif len(self._proxies):
            counted = self._proxies.empty()
        else:
            return
        counts = counted["count"].to_numpy().astype(np.int64)
        if len(counts) <= _FEW:
            texts = counted["text"].to_list()
            self._classify_few(texts, counts.tolist())
            self._keep(Values.of(self._hasher.hash_texts(texts), counts, texts))
            return
        hashes, heads = self._hasher.hash(counted["text"])
        self._classify(counted["text"], heads, counted["count"])
        if len(counts) > self._limit and different(hashes) > self._limit:  # their texts are not needed any more
            self._spill()
            self._fill(hashes, counts)
        else:
            self._keep(Values.of(hashes, counts, counted["text"].to_list()))

    def _keep(self, more: Values) -> None:
        assert self._values is not None
        self._values = self._values.joined(more)
        if len(self._values.hashes) > self._limit:
            self._spill()

    def _spill(self) -> None:
        """Go over to buckets."""
        if self._values is not None:
            self._fill(self._values.hashes, self._values.counts)
            self._values = None

    def _fill(self, hashes: Words, counts: Integers | None) -> None:
        self._distinct.add(hashes)
        if len(self._tracked) and len(hashes):
            place = np.searchsorted(self._tracked, hashes)
            place[place == len(self._tracked)] = 0
            known = self._tracked[place] == hashes
            np.add.at(self._tracked_counts, place[known], 1 if counts is None else counts[known])
            hashes, counts = hashes[~known], None if counts is None else counts[~known]
        buckets = (hashes >> _SPLIT).view(np.int64)
        if counts is None:
            self._buckets += np.bincount(buckets, minlength=BUCKETS)
        else:
            np.add.at(self._buckets, buckets, counts)

    def _classify(self, strings: polars.Series, heads: Bytes, counts: polars.Series | None) -> None:
        """Count strings that read as numbers."""
        likely = _NUMERIC[heads]
        if not likely.any():
            return
        strings, counts = strings.filter(likely), None if counts is None else counts.filter(likely)
        integral, number = strings.str.contains(_WHOLE), strings.str.contains(_NUMBER)
        fractional = number & ~integral
        self.integral += _total(integral, counts)
        self.fractional += _total(fractional, counts)

    def _classify_few(self, texts: list[str], counts: list[int]) -> None:
        """The same in Python, which is faster for a few."""
        for text, count in zip(texts, counts, strict=True):
            if text[:1] in _FIRST and text and _NUMBER_HERE.search(text):
                if _WHOLE_HERE.search(text):
                    self.integral += count
                else:
                    self.fractional += count

    def _tracked_texts(self) -> dict[int, str]:
        tracked = self._column.tracked
        return dict(zip(self._hasher.hash_texts(list(tracked)).tolist(), tracked, strict=True))


def _total(chosen: polars.Series, counts: polars.Series | None) -> int:
    return int(chosen.sum() if counts is None else counts.filter(chosen).sum())
