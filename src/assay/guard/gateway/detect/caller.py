"""What is remembered of one caller (or of several that are watched together), and what a query adds to it.

At most 12 KB each. The numbers of a query that do not depend on who asks are found once, by `Eye`, and then shown to
each state that they concern.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from assay.guard.gateway.detect import cusum, near
from assay.guard.gateway.detect.cusum import BETS, HIGH, RARE, SIGNALS, TAIL, UNUSUAL, Signal
from assay.guard.gateway.detect.features import Space

KEPT = 4
"""Suspicious queries that are kept as evidence, the latest."""
FILLED = 32
"""Queries of a caller before a new one can be called far from them."""
TELLING = math.log(0.01)
"""A p-value below it makes a query one of them."""

ABOUT_QUERY = (2, 3, 4)
"""Signals that say the same again when a query is asked again almost as it was: they count by how new the query is.
Whoever polls an unusual entity is no attacker.
"""
_NEAR, _FAR, _OUTLYING, _RESIDUAL, _MARGIN, _FLIP = range(len(SIGNALS))


@dataclass(frozen=True, slots=True)
class Looks:
    """Several queries of one request, as arrays."""

    coordinates: np.ndarray
    lengths: np.ndarray
    outlying: np.ndarray
    residual: np.ndarray
    margin: np.ndarray
    """NaN where the answer does not say it."""
    labels: np.ndarray
    """-1 where the answer has none."""
    digests: np.ndarray


class State:
    """One caller's ring, sums and evidence."""

    __slots__ = ("evidence", "ring", "sums")

    def __init__(self, components: int) -> None:
        self.ring = near.Ring(components)
        self.sums = cusum.fresh()
        self.evidence: list[tuple[str, int, float]] = []
        """Request id, signal's index, logarithm of the p-value; the latest last."""


class Eye:
    """Space and signals at work, with room for one query at a time. Not for several threads at once."""

    def __init__(
        self, space: Space, signals: Sequence[Signal], usual: float, wanted: Callable[[str], bool] = lambda name: True
    ) -> None:
        """``signals``: of the calibration; one that is not ``wanted`` is never an alarm, and still says what is odd.
        ``usual``: the squared distance at which a query counts as news.
        """
        self.space = space
        self.usual = usual
        self.signals: list[Signal | None] = [None] * len(SIGNALS)
        self._marks: list[Signal | None] = [None] * len(SIGNALS)
        for signal in signals:
            index = SIGNALS.index(signal.name)
            self._marks[index] = signal
            if wanted(signal.name):
                self.signals[index] = signal
        size = space.components
        self._product = np.zeros(space.matrix.shape[1], np.float32)
        self._coordinates = self._product[:size]
        self._inner = self._product[: space.inner]
        self._rest = self._product[size : size + space.rest]
        self._middles = self._product[size + space.rest :]
        self._wide = np.zeros(len(space.centre))
        self._scaled = np.zeros(len(space.centre), np.float32)
        self._room = np.zeros(near.LAST, np.float32)
        self.coordinates = self._coordinates
        """Of the last query looked at; overwritten by the next."""
        self.query = np.ones(size + 1, np.float32)
        """The same with a 1 behind them."""
        self.length = 0.0
        """Their square."""
        self.odd = False
        """Whether the last query is one of the five in a hundred honest ones that are most unusual."""
        self.depth = 0
        """1 where it is one of three in a thousand, 2 where it is one of a thousand."""
        self.digest = 0
        """Of the last query: see `near.digest`."""
        self.news = 1.0
        """How much it was news to the state that it was shown last, from 0 to 1."""
        self.many_news = np.zeros(0)
        """The same for several."""
        self._label = -1
        self._common: list[tuple[int, Signal, float]] = []

    def one(self, row: np.ndarray, label: int, margin: float) -> None:
        """Look at one row (float64, of the space's columns); what `show` then adds to states."""
        space, scaled = self.space, self._scaled
        if space.any_missing:
            scaled = space.scaled(row[None, :])[0]
        else:
            wide = self._wide
            np.fmin(row, space.upper, out=wide)
            np.fmax(wide, space.lower, out=wide)
            np.subtract(wide, space.centre, out=wide)
            np.multiply(wide, space.inverse, out=scaled, casting="same_kind")
        product = self._product
        scaled.dot(space.matrix, out=product)
        coordinates, inner, middles = self._coordinates, self._inner, self._middles
        square = float(scaled.dot(scaled))
        self.length = float(coordinates.dot(coordinates))
        rest = self._rest
        residual = float(rest.dot(rest)) if space.rest else square - float(inner.dot(inner))
        np.subtract(middles, space.half, out=middles)
        outlying = square - 2.0 * float(middles[middles.argmax()])
        self.query[:-1] = coordinates
        self.digest = (hash(row.tobytes()) & 0xFFFFFFFF) - 0x80000000  # as `near.digest`, without its call
        self._label = label
        common, signals = self._common, self.signals
        common.clear()
        odd, depth = False, 0
        marks = self._marks
        if (mark := marks[_OUTLYING]) is not None:
            if -outlying <= mark.odd:
                odd, depth = True, (-outlying <= mark.rare) + (-outlying <= mark.tail)
            if mark is signals[_OUTLYING]:
                common.append((_OUTLYING, mark, -outlying))
        if (mark := marks[_RESIDUAL]) is not None:
            if -residual <= mark.odd:
                odd, depth = True, max(depth, (-residual <= mark.rare) + (-residual <= mark.tail))
            if mark is signals[_RESIDUAL]:
                common.append((_RESIDUAL, mark, -residual))
        self.odd = odd
        self.depth = depth
        if margin == margin and (signal := signals[_MARGIN]) is not None:
            common.append((_MARGIN, signal, margin))

    def show(self, state: State, request: str, factor: float = 1.0) -> list[int] | None:
        """Add the last query looked at to ``state``. Signals (indices) that became alarms; their sums start anew.
        ``factor``: of the thresholds.
        """
        distance, same, flipped = state.ring.one(self.query, self.length, self._label, self.digest, self._room)
        if same:
            self.news = 0.0
            return None  # an equal query teaches nothing
        found = self._common
        signals = self.signals
        own = len(found)
        news = 1.0
        if distance == distance:
            if distance < self.usual:
                news = distance / self.usual
            found = found.copy()
            if (signal := signals[_NEAR]) is not None:
                found.append((_NEAR, signal, distance))
            if state.ring.seen > FILLED and (signal := signals[_FAR]) is not None:
                found.append((_FAR, signal, -distance))
            if (signal := signals[_FLIP]) is not None and self._label >= 0:
                found.append((_FLIP, signal, distance if flipped else math.inf))
        self.news = news
        sums = state.sums
        alarms = None
        for index, signal, value in found:
            own -= 1
            if own < 0:  # near, far and flip are about the distance itself
                news = 1.0
            at = BETS * index
            if value > signal.calm and not (sums[at] or sums[at + 1] or sums[at + 2]):
                continue
            place = bisect_left(signal.knots, value)
            first, second, third = signal.steps[place]
            a = sums[at] + first * news
            b = sums[at + 1] + second * news
            c = sums[at + 2] + third * news
            sums[at] = a if a > 0.0 else 0.0
            sums[at + 1] = b if b > 0.0 else 0.0
            sums[at + 2] = c if c > 0.0 else 0.0
            if signal.logs[place] < TELLING:
                _keep(state, request, index, signal.logs[place])
            limits = signal.threshold
            if a > factor * limits[0] or b > factor * limits[1] or c > factor * limits[2]:
                sums[at] = sums[at + 1] = sums[at + 2] = 0.0
                alarms = [*(alarms or ()), index]
        return alarms

    def many(self, rows: np.ndarray, labels: np.ndarray, margins: np.ndarray) -> Looks:
        """Look at several rows at once."""
        coordinates, lengths, outlying, residual = self.space.look(self.space.scaled(rows))
        digests = np.fromiter((near.digest(row.tobytes()) for row in np.ascontiguousarray(rows)), np.int32, len(rows))
        return Looks(coordinates, lengths, outlying, residual, margins, labels, digests)

    def show_many(self, state: State, looks: Looks, request: str, factor: float = 1.0) -> list[int] | None:
        """Add them to ``state``, as `one` and `show` would, one after the other."""
        values, news = signal_values(state.ring, looks, self.usual)
        self.many_news = news
        logs = self.logs(values)
        alarms: list[int] | None = None
        for index, signal in enumerate(self.signals):
            if signal is None:
                continue
            column = logs[:, index]
            known = ~np.isnan(column)
            steps = np.where(known[:, None], cusum.gains(column) - np.array(signal.slack), 0.0)
            if index in ABOUT_QUERY:
                steps *= news[:, None]
            at, begin = BETS * index, 0
            limits = factor * np.array(signal.threshold)
            while begin < len(steps):
                sums = cusum.walk(steps[begin:], np.array(state.sums[at : at + BETS]))
                over = (sums > limits).any(axis=1)
                if not over.any():
                    state.sums[at : at + BETS] = type(state.sums)("d", sums[-1].tolist())
                    break
                begin += int(over.argmax()) + 1
                for bet in range(BETS):
                    state.sums[at + bet] = 0.0
                if alarms is None:
                    alarms = []
                if index not in alarms:
                    alarms.append(index)
            if known.any() and (least := float(np.nanmin(column))) < TELLING:
                _keep(state, request, index, least)
        return alarms

    def oddities(self, looks: Looks) -> tuple[np.ndarray, np.ndarray]:
        """`odd` and `depth` of each query."""
        least = np.zeros(len(looks.labels))
        for index, values in ((_OUTLYING, looks.outlying), (_RESIDUAL, looks.residual)):
            if (signal := self._marks[index]) is not None:
                least = np.minimum(least, cusum.log_p(values, np.array(signal.knots), np.array(signal.logs), True))
        return least < UNUSUAL, (least < RARE).astype(int) + (least < TAIL)

    def scores(self, state: State) -> dict[str, float]:
        """How far each signal is towards its alarm."""
        return {
            signal.name: max(state.sums[BETS * index + bet] / signal.threshold[bet] for bet in range(BETS))
            for index, signal in enumerate(self.signals)
            if signal is not None
        }

    def logs(self, values: np.ndarray) -> np.ndarray:
        """Logarithms of the p-values of signals (rows by signals), NaN where there is none."""
        logs = np.full(values.shape, np.nan)
        for index, signal in enumerate(self.signals):
            if signal is not None:
                knots, table = np.array(signal.knots), np.array(signal.logs)
                logs[:, index] = cusum.log_p(values[:, index], knots, table, bool(HIGH[index]))
        return logs


def signal_values(ring: near.Ring, looks: Looks, usual: float) -> tuple[np.ndarray, np.ndarray]:
    """The signals of several queries, rows by signals, NaN where a query says nothing, and how much each is news, from
    0 to 1; the ring then has them.
    """
    before = ring.seen
    distances, same, flipped = ring.many(looks.coordinates, looks.lengths, looks.labels, looks.digests)
    news = np.where(same, 0.0, np.where(np.isnan(distances), 1.0, np.minimum(distances / usual, 1.0)))
    distances = np.where(same, np.nan, distances)
    far = np.where(before + np.arange(len(distances)) < FILLED, np.nan, distances)
    flip = np.where(flipped, distances, np.inf)
    flip = np.where(np.isnan(distances) | (looks.labels < 0), np.nan, flip)
    return np.column_stack([distances, far, looks.outlying, looks.residual, looks.margin, flip]), news


def _keep(state: State, request: str, index: int, log: float) -> None:
    evidence = state.evidence
    evidence.append((request, index, log))
    if len(evidence) > KEPT:
        del evidence[0]
