"""Whether everybody asks otherwise than before: then it is drift, and an alarm says nothing about one caller.

Only callers who have asked for long are witnesses, one for each owner or network, so that whoever would pass an attack
off as drift needs more than half of them, and has to behave for long with each.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from assay.guard.gateway.detect.memory import Entry

ESTABLISHED = 200
"""Queries after which a caller is one of those by whom drift is told from an attack."""
WITNESSES = 10
"""Established callers of different owners, below which nothing is called drift."""
RECENT = 200
"""Callers, the latest, who are asked."""
ODD = 0.4
"""Share of a caller's latest queries that are unusual, above which it has moved. Honest callers have a twentieth."""


def moved(entries: OrderedDict[str, Entry], asking: int) -> float:
    """Share of established callers whose latest queries are unusual; 0 where there are too few to say. Those of the
    group ``asking`` are no witnesses.
    """
    groups: dict[int, bool] = {}
    for entry in islice(reversed(entries.values()), 10 * RECENT):
        if len(groups) >= RECENT:
            break
        if entry.seen >= ESTABLISHED and entry.group != asking:
            groups[entry.group] = groups.get(entry.group, True) and entry.odd > ODD
    return sum(groups.values()) / len(groups) if len(groups) >= WITNESSES else 0.0
