"""Making a calibration: from training rows, and from streams of callers who are honest, or mostly so.

A third of the callers gives p-values, the others slack and thresholds, since nobody is a fair judge of the data that
they learned from. In observed traffic some callers may be attackers: who is far from most others is left out and named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.errors import UsageError
from assay.guard.gateway.detect import cusum, features, near, pooled
from assay.guard.gateway.detect.answers import information, labels_of, margins
from assay.guard.gateway.detect.calibration import Budgets, Calibration, SignalPart, part_of
from assay.guard.gateway.detect.caller import ABOUT_QUERY, Eye, signal_values
from assay.guard.gateway.detect.cusum import BETS, HIGH, SIGNALS, TAIL
from assay.guard.gateway.detect.features import Space
from assay.guard.gateway.interface import Answers, Table

WANTED = 200
"""Callers, below which the expected share of false alarms is not to be trusted."""
FEWEST = 10
"""Callers, below which nothing is calibrated."""
EXTRA = 0.15
"""Slack beyond the worst honest caller's average, in nats a query."""
FACTORS = (1.25, 1.5, 2.0, 3.0, 5.0)
"""How far above the worst honest peak the alarm may be; the first that keeps false alarms low enough is taken."""
LEAST = 6.0
"""Lowest threshold, in nats: what honest callers never raised still needs some evidence."""
TRUSTED = 0.9
"""Share of observed callers who must be honest: the others' influence is bounded by what these say."""
COMMON = 1.0
"""Slack, in nats a query, beyond which a signal is left out: honest callers live where it looks. ``near`` is, wherever
somebody polls.
"""
STEADY = 100.0
"""Queries that a caller's average must rest on to count in full: an average of few is no habit."""
USUAL_BOUND = 1e12
TELLING = frozenset({"outlying", "residual", "margin"})
"""Signals by which an observed caller may be left out."""
LEVELS = 256
"""Knots of a table of p-values."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One caller's queries, in their order."""

    name: str
    table: Table
    answers: Answers
    seconds: float = 0.0
    """From the first to the last; 0: not known."""
    rejected: float = 0.0
    """Share of its requests that the schema refused."""
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a space makes of a stream."""

    name: str
    values: np.ndarray
    news: np.ndarray
    """How much each query is, once the usual distance is known; before, the squared distance."""
    coordinates: np.ndarray


def calibrate(
    reference: Table,
    streams: Sequence[Stream],
    *,
    observed: bool = False,
    false_alarms: float = 0.01,
    made: str = "",
    seed: int = 0,
) -> Calibration:
    """A calibration.

    Args:
        reference: Training rows, at least 20.
        streams: Callers; at least `FEWEST`, and `WANTED` for thresholds that are worth their name.
        observed: They are real traffic, in which attackers may be (up to one in ten callers and queries).
        false_alarms: Share of honest callers who may be flagged.
        made: The time, RFC 3339.
        seed: Of centroids, of the split, of the random features.

    Raises:
        UsageError: Too few rows or callers, or callers whose columns are not those of the training rows.
    """
    if reference.features.ndim != 2 or len(reference.features) < 20:
        raise UsageError("a calibration needs at least 20 training rows", hint="1,000 are plenty")
    streams = [stream for stream in streams if len(stream.table.features) >= 20]
    if len(streams) < FEWEST:
        raise UsageError(
            f"a calibration needs at least {FEWEST} callers with 20 queries each, and there are {len(streams)}",
            hint=f"observe for longer in count mode, until there are {WANTED}",
        )
    space = features.fit(reference, seed)
    for stream in streams:
        if not space.fits(stream.table):
            raise UsageError(f"the queries of {stream.name[:100]} do not have the columns of the training rows")
    seen = [_look(space, stream) for stream in streams]
    order = np.random.default_rng(seed).permutation(len(seen))
    seen = [seen[i] for i in order]
    apart = np.concatenate([one.values[:, 0] for one in seen])
    usual = max(float(np.median(apart[~np.isnan(apart)])) if (~np.isnan(apart)).any() else 1.0, 1e-9)
    excluded: list[str] = []
    most = int((1.0 - TRUSTED) * len(seen) + 1e-9)
    for _ in range(4 if observed else 1):
        third = max(1, len(seen) // 3)
        tables = _tables([one.values for one in seen[:third]])
        gains = [_gains(one, tables, usual) for one in seen]
        if not observed or not (out := _unlike(gains, most - len(excluded))):
            break
        excluded += [seen[i].name for i in out]
        seen = [one for i, one in enumerate(seen) if i not in out]
    judged = gains[third:]
    lengths = [len(one.values) for one in seen]
    slack, peaks = _limits(judged)
    used = slack.reshape(len(SIGNALS), BETS).max(axis=1) <= COMMON
    factors, expected = _factors(judged, false_alarms, used)
    signals = []
    for index, table in enumerate(tables):
        at = slice(BETS * index, BETS * (index + 1))
        if table is None or not used[index]:
            continue
        limit = np.maximum(factors[index] * peaks[at], LEAST)
        knots, logs = table
        signals.append(
            SignalPart(
                name=SIGNALS[index],
                knots=tuple(knots.tolist()),
                logs=tuple(logs.tolist()),
                slack=tuple(slack[at].tolist()),
                threshold=tuple(limit.tolist()),
                factor=float(factors[index]),
            )
        )
    kept = {one.name for one in seen}
    return Calibration(
        made=made,
        source="observed" if observed else "simulated",
        digest=_digest(reference, streams),
        streams=len(seen),
        queries=float(np.mean(lengths)),
        excluded=tuple(name[:200] for name in excluded[:1000]),
        expected=expected,
        usual=usual,
        space=part_of(space),
        signals=tuple(signals),
        pooled=pooled.calibrate([one.coordinates for one in seen], [_tails(one, tables) for one in seen], seed),
        budgets=_budgets([stream for stream in streams if stream.name in kept]),
    )


def _look(space: Space, stream: Stream) -> _Seen:
    rows = np.ascontiguousarray(space.rows(stream.table), dtype=np.float64)
    count = len(rows)
    looks = Eye(space, (), 1.0).many(
        rows,
        np.asarray(labels_of(stream.answers, count), dtype=np.int32),
        np.asarray(margins(stream.answers, count), dtype=np.float64),
    )
    values, news = signal_values(near.Ring(space.components), looks, USUAL_BOUND)
    return _Seen(stream.name, values, news * USUAL_BOUND, looks.coordinates)


def _tables(streams: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """Knots and logarithms of p-values of each signal, from all queries of these callers together."""
    tables: list[tuple[np.ndarray, np.ndarray] | None] = []
    for index in range(len(SIGNALS)):
        values = np.concatenate([stream[:, index] for stream in streams])
        values = np.sort(-values[~np.isnan(values)] if HIGH[index] else values[~np.isnan(values)])
        if len(values) < 200:
            tables.append(None)
            continue
        ranks = np.unique(np.geomspace(1, len(values), LEVELS).astype(int)) - 1
        knots = np.unique(values[ranks])
        knots = knots[np.isfinite(knots)]
        if not len(knots):
            # Honest callers never had a neighbour with another label: any is as rare as one in all of their queries.
            knots = np.array([0.0])
        level = (np.searchsorted(values, knots, side="right") + 1) / (len(values) + 1)
        tables.append((knots, np.concatenate([np.log(level), [0.0]])))
    return tables


def _gains(
    one: _Seen, tables: Sequence[tuple[np.ndarray, np.ndarray] | None], usual: float
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of all bets, rows by (signals by bets), and what each weighs: 0 where a query says nothing."""
    news = np.minimum(one.news / usual, 1.0)
    columns, weights = [], []
    for index, table in enumerate(tables):
        if table is None:
            logs = np.full(len(one.values), np.nan)
        else:
            logs = cusum.log_p(one.values[:, index], *table, bool(HIGH[index]))
        columns.append(cusum.gains(logs))
        weight = np.where(np.isnan(logs), 0.0, news if index in ABOUT_QUERY else 1.0)
        weights.append(np.repeat(weight[:, None], BETS, axis=1))
    return np.hstack(columns), np.hstack(weights)


Gains = Sequence[tuple[np.ndarray, np.ndarray]]


def _drift(gains: Gains) -> np.ndarray:
    """Average gain a query, callers by bets."""
    return np.array([(gain * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), STEADY) for gain, weight in gains])


def _limits(gains: Gains) -> tuple[np.ndarray, np.ndarray]:
    """Slack of each bet, and the worst honest peak with it."""
    slack = np.maximum(_drift(gains).max(axis=0), 0.0) + EXTRA
    return slack, _peaks(gains, slack).max(axis=0)


def _peaks(gains: Gains, slack: np.ndarray) -> np.ndarray:
    zero = np.zeros(len(slack))
    return np.array([cusum.walk((gain - slack) * weight, zero).max(axis=0) for gain, weight in gains])


def _factors(gains: Gains, allowed: float, used: np.ndarray) -> tuple[np.ndarray, float]:
    """Factors of the signals that keep false alarms low enough, and the expected share of these, by five-fold
    validation. The signal that is wrong most often is raised first, so that a fickle one does not dull the others.
    """
    folds = np.arange(len(gains)) % 5
    ratios = np.zeros((len(gains), len(SIGNALS)))
    for fold in range(min(5, len(gains))):
        slack, peaks = _limits([g for g, f in zip(gains, folds, strict=True) if f != fold])
        held = [g for g, f in zip(gains, folds, strict=True) if f == fold]
        worst = _peaks(held, slack) / np.maximum(peaks, LEAST / FACTORS[0])
        ratios[folds == fold] = worst.reshape(len(held), len(SIGNALS), BETS).max(axis=2) * used
    places = np.zeros(len(SIGNALS), dtype=int)
    while True:
        factors = np.array(FACTORS)[places]
        over = ratios > factors
        flagged = int(over.any(axis=1).sum())
        # One more than there were, of one more than there are: none in ten callers is not none in a million.
        expected = (flagged + 1.0) / (len(gains) + 1.0)
        if not flagged or expected <= allowed or not (places < len(FACTORS) - 1)[over.any(axis=0)].any():
            return factors, expected
        places[np.where(places < len(FACTORS) - 1, over.sum(axis=0), -1).argmax()] += 1


def _unlike(gains: Gains, most: int) -> list[int]:
    """Callers far from the others, by average gain or by peak, the worst first, at most ``most``. Limits come from the
    `TRUSTED` share, so one caller moves them as little as if it were not there. Whoever polls is unlike others in how
    near its queries are, and flips where what it polls is a close case: that alone is no ground.
    """
    drift = _drift(gains)
    slack = np.maximum(np.quantile(drift, TRUSTED, axis=0), 0.0) + EXTRA
    telling = np.repeat([name in TELLING for name in SIGNALS], BETS)
    worst = np.zeros(len(gains))
    for found, least in ((drift, 0.3), (_peaks(gains, slack), 20.0)):
        middle, high = np.quantile(found, 0.5, axis=0), np.quantile(found, TRUSTED, axis=0)
        limit = high + 2.0 * (high - middle) + least
        worst = np.maximum(worst, ((found - limit) / least)[:, telling].max(axis=1))
    out = [int(i) for i in np.argsort(-worst) if worst[i] > 0]
    return out[:most]


def _tails(one: _Seen, tables: Sequence[tuple[np.ndarray, np.ndarray] | None]) -> np.ndarray:
    """Which queries are in the tail, for pools."""
    found = np.zeros(len(one.values), dtype=bool)
    for index in (SIGNALS.index("outlying"), SIGNALS.index("residual")):
        if (table := tables[index]) is not None:
            found |= cusum.log_p(one.values[:, index], *table, True) < TAIL
    return found


def _budgets(streams: Sequence[Stream]) -> Budgets:
    """The most that a caller used a day, where the streams say how long they took."""
    days = [(stream, max(stream.seconds / 86400.0, 1.0)) for stream in streams if stream.seconds > 0]
    rows = max((len(stream.table.features) / span for stream, span in days), default=0.0)
    tokens = max((stream.tokens / span for stream, span in days), default=0.0)
    bits = max((bits_of(stream) / span for stream, span in days), default=0.0)
    return Budgets(rows=rows, bits=bits, tokens=tokens, rejected=min(0.5, max([0.05, *(s.rejected for s in streams)])))


def bits_of(stream: Stream) -> float:
    """Bits that a stream's answers gave away."""
    return float(information(stream.answers, len(stream.table.features)).sum())


def _digest(reference: Table, streams: Sequence[Stream]) -> str:
    found = hashlib.sha256(np.ascontiguousarray(reference.features).tobytes())
    for stream in streams:
        found.update(stream.name.encode())
        found.update(np.ascontiguousarray(stream.table.features).tobytes())
    return found.hexdigest()
