"""Who is left out of a calibration from observed traffic: callers far from most others, who may be attackers.

A person has to look at them: their names stand in the calibration.
"""

from __future__ import annotations

import numpy as np

from assay.guard.gateway.detect.cusum import BETS, SIGNALS
from assay.guard.gateway.detect.thresholds import EXTRA, Gains, drift, peaks

TRUSTED = 0.9
"""Share of observed callers who must be honest: the others' influence is bounded by what these say."""
TELLING = frozenset({"outlying", "residual", "margin", "flip"})
"""Signals by which an observed caller may be left out: whoever polls is unlike others in how near its queries are."""


def unlike(callers: Gains, most: int) -> list[int]:
    """Callers far from the others, by average gain or by peak, the worst first, at most ``most``. Limits come from the
    `TRUSTED` share, so one caller moves them as little as if it were not there. Who polls nothing but close cases is
    among them: one such caller, kept, would hide every search for a boundary.
    """
    average = drift(callers)
    slack = np.maximum(np.quantile(average, TRUSTED, axis=0), 0.0) + EXTRA
    telling = np.repeat([name in TELLING for name in SIGNALS], BETS)
    worst = np.zeros(len(callers))
    for found, least in ((average, 0.3), (peaks(callers, slack), 20.0)):
        middle, high = np.quantile(found, 0.5, axis=0), np.quantile(found, TRUSTED, axis=0)
        # Who has said little is no suspect for it: averages below 0 are all the same to the detectors.
        limit = np.maximum(high + 2.0 * (high - middle), 0.0) + least
        worst = np.maximum(worst, ((found - limit) / least)[:, telling].max(axis=1))
    return [int(i) for i in np.argsort(-worst) if worst[i] > 0][:most]
