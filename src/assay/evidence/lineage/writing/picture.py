"""A lineage as SVG and as a page of its own: no script, nothing from elsewhere, and every name escaped."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from assay.evidence.lineage.interface import Edge, Lineage
from assay.evidence.lineage.writing import layout, tree, words
from assay.evidence.predicates import printable

MOST_NODES = 600
"""Nodes of one picture: the nearest ones."""

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 210, 46, 70, 16, 20
_LETTERS = 31
"""Letters that fit into a box."""
_FILL = {"model": "#dbeafe", "dataset": "#dcfce7", "service": "#fae8ff", "image": "#fae8ff", "code": "#f1f5f9"}

_STYLE = """
svg{font-family:system-ui,sans-serif;font-size:12px;background:#fff}
.box rect{stroke:#334155}.step rect{fill:#fef9c3}.unproved rect{stroke-dasharray:4 3;stroke:#b91c1c}
.target rect{stroke-width:3}.kind{fill:#475569;font-size:10px}.edge{fill:none;stroke:#334155}
.edge.unproved{stroke:#b91c1c;stroke-dasharray:4 3}text{fill:#0f172a}
"""
_PAGE = """
body{font:14px system-ui,sans-serif;margin:24px;color:#0f172a;background:#fff}table{border-collapse:collapse}
td,th{border:1px solid #cbd5e1;padding:4px 8px;text-align:left;vertical-align:top;overflow-wrap:anywhere}
.scroll{overflow:auto;border:1px solid #cbd5e1}.no{color:#b91c1c}code{font-size:12px}
"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The part of a graph that a picture shows."""

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    left: int
    """Nodes that are not in it."""


def drawn(graph: Lineage, most: int = MOST_NODES) -> Drawn:
    """The nodes nearest to the target, the proved ones first."""
    around: dict[str, list[tuple[bool, str]]] = {}
    for edge in graph.edges.values():
        around.setdefault(edge.start, []).append((not edge.proved, edge.end))
        around.setdefault(edge.end, []).append((not edge.proved, edge.start))
    found, queue = {graph.target: None}, deque([graph.target])
    while queue and len(found) < most:
        for _, node in sorted(around.get(queue.popleft(), ())):
            if node not in found and len(found) < most:
                found[node] = None
                queue.append(node)
    edges = tuple(edge for _, edge in sorted(graph.edges.items()) if edge.start in found and edge.end in found)
    return Drawn(tuple(found), edges, len(graph.artifacts) + len(graph.steps) - len(found))


def svg(graph: Lineage, most: int = MOST_NODES) -> str:
    """The picture as an SVG document."""
    part = drawn(graph, most)
    arranged = layout.arranged(part.nodes, [(edge.start, edge.end) for edge in part.edges])
    made = arranged.columns
    tallest = max(len(nodes) for nodes in made)
    high = tallest * (_HEIGHT + _DOWN)
    place: dict[str, tuple[int, int]] = {}
    for column, nodes in enumerate(made):
        top = (high - len(nodes) * (_HEIGHT + _DOWN)) // 2
        for row, key in enumerate(nodes):
            place[key] = (_EDGE + column * (_WIDTH + _ACROSS), _EDGE + top + row * (_HEIGHT + _DOWN))
    total = high + (3 if part.left else 1) * _EDGE
    wide = 2 * _EDGE + len(made) * (_WIDTH + _ACROSS) - _ACROSS
    body = [_arrow(edge, place, arranged.routes) for edge in part.edges] + [
        _box(graph, key, *place[key]) for key in part.nodes
    ]
    note = f"{part.left:,} nodes farther away are not drawn" if part.left else ""
    if note:
        body.append(f'<text x="{_EDGE}" y="{high + 2 * _EDGE}">{_text(note)}</text>')
    title = _text(f"Lineage of {graph.artifacts[graph.target].name}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {total}" width="{wide}" '
        f'height="{total}" role="img" aria-label="{title}"><title>{title}</title><style>{_STYLE}</style>'
        '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#334155"/></marker></defs>\n' + "\n".join(body) + "\n</svg>\n"
    )


def page(graph: Lineage, *, up: bool = True, down: bool = True) -> str:
    """The picture with tables beneath it, as an HTML page that needs nothing else."""
    name = _text(graph.artifacts[graph.target].name)
    answer = "".join(f"<li>{_text(line)}</li>" for line in tree.summary(graph, up=up, down=down))
    notes = "".join(f'<li class="no">{_text(line)}</li>' for line in (*graph.incomplete, *graph.notes))
    steps = "".join(
        f"<tr><td>{_text(words.step(step))}</td><td>{_text(words.signed(step))}</td>"
        f"<td><code>{_text(step.act.command)}</code></td><td>{_text(words.others(step))}</td></tr>"
        for _, step in sorted(graph.steps.items())
    )
    nodes = "".join(
        f"<tr><td>{_text(words.artifact(node))}</td><td><code>{_text(node.key)}</code></td>"
        f"<td>{_text('; '.join(words.evidence(node)))}</td></tr>"
        for _, node in sorted(graph.artifacts.items())
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Lineage of '
        f'{name}</title><meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src 'unsafe-inline'\"><style>{_PAGE}</style></head><body><h1>Lineage of {name}</h1>"
        f"<ul>{answer}{notes}</ul><p>A dashed red line is not proved and counts for nothing.</p>"
        f'<div class="scroll">{svg(graph)}</div><h2>Steps</h2><table><tr><th>step</th><th>who says so</th>'
        f"<th>command</th><th>not drawn</th></tr>{steps}</table><h2>Artifacts</h2><table><tr><th>artifact</th>"
        f"<th>digest</th><th>evidence about it</th></tr>{nodes}</table></body></html>\n"
    )


def dot(graph: Lineage, most: int = MOST_NODES) -> str:
    """The graph for Graphviz."""
    part = drawn(graph, most)
    number = {key: f"n{at}" for at, key in enumerate(part.nodes)}
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    for key in part.nodes:
        first, second = _lines(graph, key)
        shape = ", shape=ellipse" if key in graph.steps else ", penwidth=2" if key == graph.target else ""
        lines.append(f'  {number[key]} [label={_quoted(first)} + "\\n" + {_quoted(second)}{shape}];')
    for edge in part.edges:
        style = "" if edge.proved else ' [style=dashed, color="#b91c1c"]'
        lines.append(f"  {number[edge.start]} -> {number[edge.end]}{style};")
    return "\n".join([*lines, "}", ""])


def _box(graph: Lineage, key: str, x: int, y: int) -> str:
    first, second = _lines(graph, key)
    step = graph.steps.get(key)
    proved = step.proved if step is not None else _reached(graph, key)
    classes = f"box{' step' if step is not None else ''}{'' if proved else ' unproved'}"
    classes += " target" if key == graph.target else ""
    fill = "" if step is not None else f' fill="{_FILL.get(graph.artifacts[key].kind, "#ffffff")}"'
    corner = 18 if step is not None else 4
    told = f"{words.step(step)}: {words.signed(step)}" if step is not None else f"{graph.artifacts[key].name} {key}"
    return (
        f'<g class="{classes}"><title>{_text(told)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'rx="{corner}"{fill}/><text x="{x + 10}" y="{y + 20}">{_text(_cut(first))}</text>'
        f'<text class="kind" x="{x + 10}" y="{y + 36}">{_text(_cut(second, 36))}</text></g>'
    )


def _arrow(edge: Edge, place: dict[str, tuple[int, int]], routes: dict[tuple[str, str], list[str]]) -> str:
    ends = [edge.start, *routes.get((edge.start, edge.end), ()), edge.end]
    path = ""
    for left, right in pairwise(ends):
        (x1, y1), (x2, y2) = place[left], place[right]
        x1, y1, y2 = x1 + _WIDTH, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
        bend = max(_ACROSS // 2, abs(x2 - x1) // 2)
        across = f"L{x1} {y1}" if path else f"M{x1} {y1}"
        path += f"{across}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    why = f"<title>{_text('not proved: ' + edge.reason)}</title>" if not edge.proved else ""
    return f'<path class="edge{"" if edge.proved else " unproved"}" marker-end="url(#to)" d="{path}">{why}</path>'


def _lines(graph: Lineage, key: str) -> tuple[str, str]:
    if key in graph.steps:
        step = graph.steps[key]
        return step.act.name, f"{step.kind}, {step.signers[0] if step.proved else 'not proved'}"
    node = graph.artifacts[key]
    kind = words.KINDS.get(node.kind, node.kind) or "artifact"
    return node.name, kind if key.startswith(("uri:", "name:")) else f"{kind}, {words.short(key)}"


def _reached(graph: Lineage, key: str) -> bool:
    return key == graph.target or key in graph.sources or key in graph.uses


def _cut(text: str, most: int = _LETTERS) -> str:
    """The end of a long name is what tells it from others, and so is its beginning."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"


def _text(value: str) -> str:
    return escape(printable(value), quote=True)


def _quoted(value: str) -> str:
    """A string of the DOT language; a backslash would be an escape of its own, so it goes."""
    return '"' + printable(value).replace("\\", "/").replace('"', "'") + '"'
