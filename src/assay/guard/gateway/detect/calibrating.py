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
from assay.guard.gateway.detect import crowd, cusum, features, near, pooled, strays, thresholds, unlike
from assay.guard.gateway.detect.answers import information, labels_of, margins
from assay.guard.gateway.detect.calibration import Budgets, Calibration, SignalPart, part_of
from assay.guard.gateway.detect.caller import Eye, signal_values
from assay.guard.gateway.detect.cusum import BETS, SIGNALS, TAIL
from assay.guard.gateway.detect.features import Space
from assay.guard.gateway.interface import Answers, Table

WANTED = 200
"""Callers, below which the expected share of false alarms is not to be trusted."""
FEWEST = 10
"""Callers, below which nothing is calibrated."""
COMMON = 1.0
"""Slack, in nats a query, beyond which a signal is left out: honest callers live where it looks. ``near`` is, wherever
somebody polls.
"""
USUAL_BOUND = 1e12


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
    labels: np.ndarray
    digests: np.ndarray


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
    most = int((1.0 - unlike.TRUSTED) * len(seen) + 1e-9)
    if observed:
        for _ in range(4):
            tables = thresholds.tables([one.values for one in seen], unlike.TRUSTED)
            out = unlike.unlike([_gains(one, tables, usual) for one in seen], most - len(excluded))
            seen, excluded = _without(seen, out, excluded)
    third = max(1, len(seen) // 3)
    tables = thresholds.tables([one.values for one in seen[:third]])
    gains = [_gains(one, tables, usual) for one in seen]
    judged = gains[third:]
    lengths = [len(one.values) for one in seen]
    slack, peaks = thresholds.limits(judged)
    used = slack.reshape(len(SIGNALS), BETS).max(axis=1) <= COMMON
    factors, expected = thresholds.factors(judged, false_alarms, used)
    signals = []
    for index, table in enumerate(tables):
        at = slice(BETS * index, BETS * (index + 1))
        if table is None or not used[index]:
            continue
        limit = np.maximum(factors[index] * peaks[at], thresholds.LEAST)
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
        pooled=pooled.calibrate([one.coordinates for one in seen], [_tails(one, tables, usual) for one in seen], seed),
        crowded=crowd.calibrate(
            [one.coordinates for one in seen], [one.labels for one in seen], [one.digests for one in seen], seed
        ),
        strays=strays.calibrate([_least(one, tables) for one in seen[third:]]),
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
    return _Seen(stream.name, values, news * USUAL_BOUND, looks.coordinates, looks.labels, looks.digests)


def _gains(one: _Seen, tables: Sequence[thresholds.Table | None], usual: float) -> tuple[np.ndarray, np.ndarray]:
    return thresholds.gains(one.values, np.minimum(one.news / usual, 1.0), tables)


def _without(seen: list[_Seen], out: list[int], excluded: list[str]) -> tuple[list[_Seen], list[str]]:
    return [one for i, one in enumerate(seen) if i not in out], excluded + [seen[i].name for i in out]


def _tails(one: _Seen, tables: Sequence[thresholds.Table | None], usual: float) -> np.ndarray:
    """Which queries are in the tail, for pools."""
    return (_least(one, tables) < TAIL) & (one.news > pooled.NEWS * usual)


def _least(one: _Seen, tables: Sequence[thresholds.Table | None]) -> np.ndarray:
    """How far out queries are: logarithms of the lesser of two p-values."""
    found = np.zeros(len(one.values))
    for index in (SIGNALS.index("outlying"), SIGNALS.index("residual")):
        if (table := tables[index]) is not None:
            found = np.minimum(found, cusum.log_p(one.values[:, index], *table, True))
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
