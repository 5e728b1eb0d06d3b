"""Queries of a form that no calibration is for: near-duplicates and flips alone, against limits that suit anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from assay.guard.gateway.detect import near, texts
from assay.guard.gateway.detect.budgets import FLIPS, NEAR
from assay.guard.gateway.detect.memory import Entry
from assay.guard.gateway.interface import Table


def look(entry: Entry, table: Table, labels: Sequence[int]) -> Iterator[str]:
    """Add rows, one for each label (-1: not known), to what is remembered of a caller; signals that became alarms. An
    equal query teaches nothing.
    """
    if entry.bands is None:
        entry.bands = near.Bands()
    features = np.ascontiguousarray(table.features, np.float64) if len(table.features) == len(labels) else None
    nothing = np.zeros(0)
    for i, label in enumerate(labels):
        words = texts.words(table, i) if table.text else []
        parts, whole = near.bands(nothing if features is None else features[i], words)
        close, same, flipped = entry.bands.one(parts, label, whole)
        if same:
            continue
        entry.nears = NEAR.step(entry.nears, close)
        entry.flips = FLIPS.step(entry.flips, flipped)
        if entry.nears > NEAR.limit:
            entry.nears = 0.0
            yield "near"
        if entry.flips > FLIPS.limit:
            entry.flips = 0.0
            yield "flip"
