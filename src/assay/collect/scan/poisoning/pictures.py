"""Two small SVGs: where suspect rows lie among the others, and what speaks against how many rows.

Labels come from strangers: they are escaped, and the pictures hold neither scripts nor links.
"""

from __future__ import annotations

from html import escape

from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.interface import PoisoningResult

_COLOURS = ("#4477aa", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#332288", "#999933")
"""Paul Tol's bright scheme (distinct also for most who are colour-blind) without its red, which marks the suspect."""

_SUSPECT = "#d62728"
_WIDTH, _HEIGHT, _EDGE = 640, 440, 30


def pictures(result: PoisoningResult) -> dict[str, bytes]:
    """File name to SVG: ``rows.svg`` and ``reasons.svg``."""
    return {"rows.svg": _rows(result).encode(), "reasons.svg": _reasons(result).encode()}


def _rows(result: PoisoningResult) -> str:
    """First two principal components; a ring around a suspect row, wider with its score."""
    body = []
    wide, high = _WIDTH - 190 - 2 * _EDGE, _HEIGHT - 2 * _EDGE
    for point in sorted(result.points, key=lambda point: point.score):
        x, y = _EDGE + point.x * wide, _EDGE + (1 - point.y) * high
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{_colour(point.label)}" fill-opacity="0.7"/>')
        if point.score > 0.2:
            size = 3 + 4 * point.score
            body.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" fill="none" stroke="{_SUSPECT}" '
                f'stroke-opacity="{min(1.0, 0.2 + point.score):.2f}"/>'
            )
    for i, (name, count) in enumerate(list(result.labels.items())[:18]):
        y = _EDGE + 12 + 20 * i
        body.append(f'<circle cx="{_WIDTH - 180}" cy="{y - 4}" r="4" fill="{_colour(i)}"/>')
        body.append(_text(_WIDTH - 170, y, f"{one_line(name, 16)} ({count:,})"))
    if len(result.labels) > 18:
        body.append(_text(_WIDTH - 170, _EDGE + 12 + 360, f"and {len(result.labels) - 18:,} more"))
    body.append(_text(_EDGE, _HEIGHT - 10, "Rows by their first two principal components; red rings: suspect"))
    return _page(_HEIGHT, body, f"Rows of {result.target}")


def _reasons(result: PoisoningResult) -> str:
    listed = sorted(result.counts.items(), key=lambda item: (-item[1], item[0]))
    largest = max(result.counts.values(), default=1)
    body = [_text(_EDGE, 24, f"Rows by reason, of {result.analysed:,}")]
    for i, (kind, count) in enumerate(listed):
        y = 50 + 26 * i
        length = (_WIDTH - 260) * count / largest
        body.append(_text(_EDGE, y, kind))
        body.append(f'<rect x="170" y="{y - 12}" width="{length:.1f}" height="16" fill="{_COLOURS[0]}"/>')
        body.append(_text(int(178 + length), y, f"{count:,}"))
    return _page(60 + 26 * len(listed), body, f"Reasons in {result.target}")


def _colour(label: int) -> str:
    return "#777777" if label < 0 else _COLOURS[label % len(_COLOURS)]


def _text(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y}">{escape(one_line(text, 200))}</text>'


def _page(height: int, body: list[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><title>{escape(one_line(title, 200))}</title>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(body)}</svg>\n'
    )
