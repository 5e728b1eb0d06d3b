"""A lineage as a tree in text: above what it comes from, below what became of it. What was shown stands there once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from assay.evidence.lineage.interface import Edge, Lineage
from assay.evidence.lineage.writing import words

MOST_LINES = 400
_DEEPEST = 40
"""Levels of indentation; a longer chain goes on at the same one."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and what it is drawn as."""

    text: str
    state: str
    """``proved``, ``unproved`` or ``plain``."""


def lines(graph: Lineage, *, up: bool = True, down: bool = True, most: int = MOST_LINES) -> Iterator[Line]:
    """The tree, at most ``most`` lines a direction."""
    node = graph.artifacts[graph.target]
    yield Line(f"{words.artifact(node)}  {words.short(node.key)}", "plain")
    for text in words.evidence(node):
        yield Line(f"  evidence: {text}", "plain")
    for wanted, upwards, title in ((up, True, "comes from"), (down, False, "went into")):
        if wanted:
            branch = list(_branch(graph, upwards=upwards, most=most))
            yield Line(title if branch else f"{title}: nothing that the evidence speaks of", "plain")
            yield from branch


def _branch(graph: Lineage, *, upwards: bool, most: int) -> Iterator[Line]:
    around: dict[str, list[Edge]] = {}
    for edge in graph.edges.values():
        around.setdefault(edge.end if upwards else edge.start, []).append(edge)
    shown: set[str] = set()
    # Nodes still to print: edge, prefix of its line and of the lines below it. A stack, since chains are long.
    stack = [*_children(around, graph.target, "", upwards, 0)]
    count = 0
    while stack:
        edge, mark, prefix, depth = stack.pop()
        if count >= most:
            yield Line(f"… and {len(stack) + 1:,} more branches (--verbose, -o json or --graph shows them)", "plain")
            return
        key = edge.start if upwards else edge.end
        yield Line(mark + _text(graph, key, edge, again=key in shown), "proved" if edge.proved else "unproved")
        count += 1
        if key in shown:
            continue
        shown.add(key)
        if key in graph.steps and (rest := words.others(graph.steps[key])):
            yield Line(f"{prefix}  and {rest}", "plain")
            count += 1
        stack += _children(around, key, prefix, upwards, depth + 1)


def _children(
    around: dict[str, list[Edge]], key: str, prefix: str, upwards: bool, depth: int
) -> list[tuple[Edge, str, str, int]]:
    """The edges at a node, last first, as they go onto a stack."""
    edges = sorted(
        around.get(key, ()), key=lambda edge: (not edge.proved, edge.kind, edge.start if upwards else edge.end)
    )
    made = []
    for i, edge in enumerate(edges):
        last = i == len(edges) - 1
        deep = depth >= _DEEPEST
        made.append(
            (edge, prefix + ("└─ " if last else "├─ "), prefix if deep else prefix + ("   " if last else "│  "), depth)
        )
    return made[::-1]


def _text(graph: Lineage, key: str, edge: Edge, *, again: bool) -> str:
    seen = "  (shown above)" if again else ""
    if key in graph.steps:
        step = graph.steps[key]
        why = f"  [not proved: {edge.reason}]" if step.proved and not edge.proved else ""
        return f"{words.step(step)}  ({words.signed(step)}){why}{seen}"
    node = graph.artifacts[key]
    why = "" if edge.proved else f"  [not proved: {edge.reason}]"
    part = "  (holds this file)" if edge.kind == "part" else ""
    hung = words.evidence(node) if not again else []
    about = f"  [{'; '.join(hung)}]" if hung else ""
    digest = "" if key.startswith(("uri:", "name:")) else f"  {words.short(key)}"
    return f"{words.artifact(node)}{digest}{part}{about}{why}{seen}"


def summary(graph: Lineage, *, up: bool, down: bool) -> list[str]:
    """The answer in a sentence or two; only what is proved is counted."""
    made = []
    if up:
        made.append(f"proved to come from {len(graph.sources):,} artifact(s)")
    if down:
        found = ", ".join(words.plural(count, kind) for kind, count in graph.counted().items())
        made.append(f"proved to be used for {found}" if found else "no proved use")
    unproved = sum(not edge.proved for edge in graph.edges.values())
    if unproved:
        made.append(f"{unproved:,} edge(s) not proved, shown and not counted")
    return made
