"""The fewest new pieces of evidence that several rules can share: which type each of them should be of.

A set cover: exact by search while there are few types to choose from, greedy beyond that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from assay.policy.authoring.supposing import Demand

MAX_CHOICES = 14
"""Up to so many choices all combinations are tried (16,384 of them)."""

Choice = tuple[str, str, str]
"""Type, variant, and digest of what it is about (empty for the target)."""


def cover(demands: Sequence[Demand]) -> tuple[dict[Choice, list[Demand]], bool]:
    """Demands by the piece of evidence that serves them, and whether there is certainly no smaller set."""
    choices: dict[Choice, None] = {}
    for demand in demands:
        for kind in demand.selector.types:
            choices.setdefault((kind.rstrip("*"), demand.variant, demand.about.sha256 if demand.about else ""))
    listed = list(choices)
    serves = {choice: frozenset(i for i, one in enumerate(demands) if _serves(choice, one)) for choice in listed}
    every = frozenset(range(len(demands)))
    chosen = _search(listed, serves, every) if len(listed) <= MAX_CHOICES else None
    exact = chosen is not None
    if chosen is None:
        chosen = _greedy(listed, serves, every)
    made: dict[Choice, list[Demand]] = {choice: [] for choice in chosen}
    for i, demand in enumerate(demands):
        made[next(choice for choice in chosen if i in serves[choice])].append(demand)
    return {choice: group for choice, group in made.items() if group}, exact


def _serves(choice: Choice, demand: Demand) -> bool:
    kind, variant, about = choice
    if about != (demand.about.sha256 if demand.about else "") or (demand.variant and variant != demand.variant):
        return False
    return any(kind == one or (one.endswith("*") and kind.startswith(one[:-1])) for one in demand.selector.types)


def _search(
    listed: Sequence[Choice], serves: dict[Choice, frozenset[int]], every: frozenset[int]
) -> list[Choice] | None:
    for size in range(len(listed) + 1):
        for some in combinations(listed, size):
            if frozenset().union(*(serves[choice] for choice in some)) >= every:
                return list(some)
    return None


def _greedy(listed: Sequence[Choice], serves: dict[Choice, frozenset[int]], every: frozenset[int]) -> list[Choice]:
    chosen: list[Choice] = []
    left = every
    while left:
        best = max(listed, key=lambda choice: len(serves[choice] & left))
        if not serves[best] & left:
            break
        chosen.append(best)
        left -= serves[best]
    return chosen
