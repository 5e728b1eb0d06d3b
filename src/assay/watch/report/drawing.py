"""Figures with one look: colours that the colour-blind tell apart, and that a black-and-white printer does, too.

matplotlib's figures are used without its window system. A name with ``$`` in it is text and no formula.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from assay.errors import MissingExtraError
from assay.watch.report.interface import Chart

BASELINE, CURRENT, LIMIT, BAD, GOOD, UNKNOWN = "#8a8a8a", "#0072b2", "#d55e00", "#d55e00", "#009e73", "#e69f00"
"""Okabe and Ito's palette, and a grey."""

LINES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#000000", "#d55e00", "#f0e442")
"""Of several lines in one chart; each has a mark of its own as well."""

LONG = 60
"""Characters of a name that are drawn."""

_STYLE: Any = {
    "svg.hashsalt": "assay",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,
}


@contextmanager
def figure(
    name: str, title: str, alt: str, *, wide: float = 4.6, high: float = 2.5
) -> Iterator[tuple[Any, list[Chart]]]:
    """Axes to draw on; when the block ends the list holds the chart. Sizes in inches. Raises `MissingExtraError`."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("a picture", "charts") from None
    made: list[Chart] = []
    with matplotlib.rc_context(_STYLE):
        drawn = Figure(figsize=(wide, high), layout="constrained")
        axes = drawn.subplots()
        axes.set_prop_cycle(color=LINES)
        axes.set_title(shown(title), loc="left", fontsize=9.5, fontweight="bold")
        yield axes, made
        made.append(Chart(file_name(name), shown(title), _svg(drawn, title, alt), _png(drawn), shown(alt, 400)))


def shown(text: str, most: int = LONG) -> str:
    """A stranger's text, printable and short."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def file_name(text: str) -> str:
    """A name for a file: letters, digits, dashes; different texts stay different."""
    import hashlib

    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:80]
    if plain and plain == text:
        return plain
    return f"{plain or 'column'}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _svg(drawn: Any, title: str, alt: str) -> str:
    from html import escape

    out = io.StringIO()
    drawn.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    # No metadata block with addresses, and ids that do not meet those of other pictures on the page.
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    mark = file_name(title).replace(".", "-")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)([^")]+)', rf"\1{mark}-\2", text)
    end = text.index(">")
    head = f' role="img" aria-label="{escape(shown(alt or title, 400), quote=True)}"'
    return text[:end] + head + text[end:]


def _png(drawn: Any) -> bytes:
    out = io.BytesIO()
    drawn.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()
