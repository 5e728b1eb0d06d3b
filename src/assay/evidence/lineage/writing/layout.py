"""Where the nodes of a directed graph go: columns from left to right, few crossings. Pure arithmetic.

After Sugiyama, Tagawa and Toda (1981): edges that close a circle are turned round, a node's column is the longest path
to it, and a few sweeps put each node at the mean of its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

BEND = "bend "
"""How the name of a bend begins; no node's does."""

_SWEEPS = 8
_MOST_BENDS = 20_000
"""Beyond that, long edges go straight: nobody could follow so many, and they would cost the most."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything goes."""

    columns: list[list[str]]
    """Nodes by column, from top to bottom; among them the bends of long edges."""
    routes: dict[tuple[str, str], list[str]]
    """The bends of an edge that passes columns, so that it does not seem to start at a node that it passes behind."""


def arranged(nodes: Sequence[str], edges: Iterable[tuple[str, str]]) -> Layout:
    """The nodes in columns, so that edges go from left to right."""
    after: dict[str, list[str]] = {node: [] for node in nodes}
    for start, end in dict.fromkeys(edges):
        if start != end and start in after and end in after:
            after[start].append(end)
    order = _acyclic(after)
    before: dict[str, list[str]] = {node: [] for node in nodes}
    column = dict.fromkeys(nodes, 0)
    for node in order:
        for end in after[node]:
            before[end].append(node)
            column[end] = max(column[end], column[node] + 1)
    # Sources stand right before what first needs them, and not all in the first column.
    for node in reversed(order):
        if not before[node] and after[node]:
            column[node] = min(column[end] for end in after[node]) - 1
    made: list[list[str]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    for node in order:
        made[column[node]].append(node)
    routes = _bend(made, column, before, after)
    for sweep in range(_SWEEPS):
        _settle(made, before if sweep % 2 == 0 else after, reverse=sweep % 2 == 1)
    return Layout([nodes for nodes in made if nodes], routes)


def _bend(
    made: list[list[str]], column: Mapping[str, int], before: dict[str, list[str]], after: dict[str, list[str]]
) -> dict[tuple[str, str], list[str]]:
    """Put a bend into every column that an edge passes, as one more node of that column."""
    routes: dict[tuple[str, str], list[str]] = {}
    room = _MOST_BENDS
    for start, end in [(start, end) for start, ends in after.items() for end in ends]:
        passed = range(column[start] + 1, column[end])
        if not passed or room < len(passed):
            continue
        room -= len(passed)
        bends = [f"{BEND}{len(routes)}.{at}" for at in passed]
        routes[start, end] = bends
        after[start].remove(end)
        before[end].remove(start)
        chain = [start, *bends, end]
        for left, right in pairwise(chain):
            after.setdefault(left, []).append(right)
            before.setdefault(right, []).append(left)
        for bend, at in zip(bends, passed, strict=True):
            made[at].append(bend)
    return routes


def _acyclic(after: dict[str, list[str]]) -> list[str]:
    """An order in which every edge goes forward, after turning round those that close a circle."""
    state = dict.fromkeys(after, 0)
    finished: list[str] = []
    turned: list[tuple[str, str]] = []
    for root in after:
        stack = [(root, iter(tuple(after[root])))] if not state[root] else []
        state[root] = state[root] or 1
        while stack:
            node, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[node] = 2
                finished.append(node)
                stack.pop()
            elif state[following] == 1:
                turned.append((node, following))
            elif not state[following]:
                state[following] = 1
                stack.append((following, iter(tuple(after[following]))))
    for start, end in turned:
        after[start].remove(end)
        if start not in after[end]:
            after[end].append(start)
    return finished[::-1]


def _settle(made: list[list[str]], beside: Mapping[str, Sequence[str]], *, reverse: bool) -> None:
    """One sweep: sort every column by the mean height of the nodes that its nodes hang on."""
    height = {node: at / max(1, len(nodes) - 1) for nodes in made for at, node in enumerate(nodes)}
    for nodes in reversed(made) if reverse else made:
        means = {
            node: sum(height[other] for other in beside[node]) / len(beside[node]) if beside[node] else height[node]
            for node in nodes
        }
        nodes.sort(key=means.__getitem__)
        height |= {node: at / max(1, len(nodes) - 1) for at, node in enumerate(nodes)}
