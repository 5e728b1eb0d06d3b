"""Circles in a graph: no pipeline has one, so somebody who signed is wrong or lies. Found without recursion."""

from __future__ import annotations

from assay.evidence.lineage.interface import Lineage


def cycles(graph: Lineage) -> list[list[str]]:
    """Circles of proved edges, as names; one for each edge that closes one."""
    after: dict[str, list[str]] = {}
    for edge in graph.edges.values():
        if edge.proved and edge.kind != "part":
            after.setdefault(edge.start, []).append(edge.end)
    found, state = [], dict.fromkeys((*graph.artifacts, *graph.steps), 0)
    for root in state:
        stack, path = [(root, iter(after.get(root, ())))] if not state[root] else [], [root]
        state[root] = state[root] or 1
        while stack:
            node, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[node] = 2
                stack.pop()
                path.pop()
            elif state[following] == 1:
                found.append([_called(graph, item) for item in (*path[path.index(following) :], following)])
            elif not state[following]:
                state[following] = 1
                stack.append((following, iter(after.get(following, ()))))
                path.append(following)
    return found


def _called(graph: Lineage, key: str) -> str:
    return graph.artifacts[key].name if key in graph.artifacts else graph.steps[key].act.name
