"""What honest callers' queries say about each signal: p-values, slack, thresholds. Pure.

Nobody is a fair judge of the data that they learned from: p-values come from some callers, the rest from others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.guard.gateway.detect import cusum
from assay.guard.gateway.detect.caller import ABOUT_QUERY
from assay.guard.gateway.detect.cusum import BETS, HIGH, SIGNALS

EXTRA = 0.15
"""Slack beyond the worst honest caller's average, in nats a query."""
FACTORS = (1.25, 1.5, 2.0, 3.0, 5.0)
"""How far above the worst honest peak the alarm may be; the first that keeps false alarms low enough is taken."""
LEAST = 6.0
"""Lowest threshold, in nats: what honest callers never raised still needs some evidence."""
STEADY = 100.0
"""Queries that a caller's average must rest on to count in full: an average of few is no habit."""
LEVELS = 256
"""Knots of a table of p-values."""

Table = tuple[np.ndarray, np.ndarray]
"""Knots and logarithms of p-values of one signal."""
Gains = Sequence[tuple[np.ndarray, np.ndarray]]
"""Of each caller: logarithms of all bets, queries by (signals by bets), and what each weighs: 0 where a query says
nothing.
"""


def tables(streams: Sequence[np.ndarray], trusted: float = 1.0) -> list[Table | None]:
    """Of each signal, from all queries of these callers together; None where they are too few. ``trusted``: share of
    callers who say at each knot how common that is, those to whom it is most common left out: so that what a few do all
    the time is no less unusual for it.
    """
    found: list[Table | None] = []
    for index in range(len(SIGNALS)):
        turned = [-stream[:, index] if HIGH[index] else stream[:, index] for stream in streams]
        each = [np.sort(values[~np.isnan(values)]) for values in turned]
        values = np.sort(np.concatenate(each))
        if len(values) < 200:
            found.append(None)
            continue
        ranks = np.unique(np.geomspace(1, len(values), LEVELS).astype(int)) - 1
        knots = np.unique(values[ranks])
        knots = knots[np.isfinite(knots)]
        if not len(knots):
            # Honest callers never had a neighbour with another label: any is as rare as one in all of their queries.
            knots = np.array([0.0])
        below = np.searchsorted(values, knots, side="right").astype(np.float64)
        if trusted < 1.0:
            shares = [np.searchsorted(one, knots, side="right") / len(one) for one in each if len(one)]
            lowest = np.sort(shares, axis=0)[: max(1, int(trusted * len(shares)))]
            below = lowest.mean(axis=0) * len(values)
        level = (below + 1) / (len(values) + 1)
        found.append((knots, np.concatenate([np.log(level), [0.0]])))
    return found


def gains(values: np.ndarray, news: np.ndarray, known: Sequence[Table | None]) -> tuple[np.ndarray, np.ndarray]:
    """One of `Gains`, from a caller's ``values`` (queries by signals) and how much each query is ``news``."""
    columns, weights = [], []
    for index, table in enumerate(known):
        if table is None:
            logs = np.full(len(values), np.nan)
        else:
            logs = cusum.log_p(values[:, index], *table, bool(HIGH[index]))
        columns.append(cusum.gains(logs))
        weight = np.where(np.isnan(logs), 0.0, news if index in ABOUT_QUERY else 1.0)
        weights.append(np.repeat(weight[:, None], BETS, axis=1))
    return np.hstack(columns), np.hstack(weights)


def drift(callers: Gains) -> np.ndarray:
    """Average gain a query, callers by bets."""
    return np.array([(gain * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), STEADY) for gain, weight in callers])


def peaks(callers: Gains, slack: np.ndarray) -> np.ndarray:
    """The largest sum of each bet, callers by bets."""
    zero = np.zeros(len(slack))
    return np.array([cusum.walk((gain - slack) * weight, zero).max(axis=0) for gain, weight in callers])


def limits(callers: Gains) -> tuple[np.ndarray, np.ndarray]:
    """Slack of each bet, and the worst honest peak with it."""
    slack = np.maximum(drift(callers).max(axis=0), 0.0) + EXTRA
    return slack, peaks(callers, slack).max(axis=0)


def factors(callers: Gains, allowed: float, used: np.ndarray) -> tuple[np.ndarray, float]:
    """Factors of the signals that keep false alarms low enough, and the expected share of these, by five-fold
    validation. The signal that is wrong most often is raised first, so that a fickle one does not dull the others.
    """
    folds = np.arange(len(callers)) % 5
    ratios = np.zeros((len(callers), len(SIGNALS)))
    for fold in range(min(5, len(callers))):
        slack, highest = limits([one for one, f in zip(callers, folds, strict=True) if f != fold])
        held = [one for one, f in zip(callers, folds, strict=True) if f == fold]
        worst = peaks(held, slack) / np.maximum(highest, LEAST / FACTORS[0])
        ratios[folds == fold] = worst.reshape(len(held), len(SIGNALS), BETS).max(axis=2) * used
    places = np.zeros(len(SIGNALS), dtype=int)
    while True:
        found = np.array(FACTORS)[places]
        over = ratios > found
        flagged = int(over.any(axis=1).sum())
        # One more than there were, of one more than there are: none in ten callers is not none in a million.
        expected = (flagged + 1.0) / (len(callers) + 1.0)
        if not flagged or expected <= allowed or not (places < len(FACTORS) - 1)[over.any(axis=0)].any():
            return found, expected
        places[np.where(places < len(FACTORS) - 1, over.sum(axis=0), -1).argmax()] += 1
