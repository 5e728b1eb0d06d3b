"""How a report's values become HTML: the only place where text and markup meet.

Nothing that a report holds is ever markup, an attribute without quotes, or an address of another scheme than https.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from assay.policy.coverage.interface import Report, State
from assay.policy.coverage.wording import WORDS, plain

CLASSES = {
    State.EVIDENCE: "yes",
    State.CONFIGURATION: "set",
    State.NOTHING: "no",
    State.NOT_ASSESSABLE: "out",
}
"""The states' names in the style sheet."""


def text(value: str) -> str:
    """As text or inside a quoted attribute; nothing invisible is left in it."""
    return escape(plain(value), quote=True)


def outside(url: str) -> str | None:
    """The address, escaped, when a reader may be sent there; None for any other scheme than https."""
    if not url.startswith("https://") or not url.isprintable() or " " in url:
        return None
    return escape(url, quote=True)


def breakable(identifier: str) -> str:
    """An id that a narrow column breaks between its parts and not inside them."""
    return text(identifier).replace("_", "_<wbr>").replace(".", ".<wbr>")


def how(value: str) -> str:
    """What to run or set: what stands in backquotes, or a command in front, as code; the rest as text."""
    value = plain(value)
    if "`" in value:
        pieces = value.split("`")
    elif value.startswith("assay "):
        command, comma, rest = value.partition(", ")
        pieces = ["", command, comma + rest]
    else:
        pieces = [value]
    return "".join(
        f"<code>{escape(piece)}</code>" if at % 2 else escape(piece) for at, piece in enumerate(pieces) if piece
    )


def kind(state: State) -> str:
    """The state's class in the style sheet."""
    return f"s-{CLASSES[state]}"


def chip(state: State) -> str:
    """A label that says the state by symbol, colour and word."""
    words = WORDS[state]
    return f'<span class="chip {kind(state)}"><b class=sym aria-hidden=true>{words.symbol}</b> {words.short}</span>'


def table(caption: str, heads: Sequence[str], lines: Iterable[str], css: str = "") -> str:
    """A table in a box that scrolls by itself, so that the page never does sideways."""
    cells = "".join(f"<th scope=col>{head}</th>" for head in heads)
    return (
        f'<div class=scroll tabindex=0 role=region aria-label="{text(caption)}"><table class="{css}">'
        f"<caption class=vh>{text(caption)}</caption><thead><tr>{cells}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


class Page:
    """The report's rows with an anchor for each; rows are named by their position, since ids may repeat."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.rows = list(report.rows)
        self.anchors: list[str] = []
        self.by_id: dict[str, int] = {}
        used: set[str] = set()
        for at, row in enumerate(self.rows):
            slug = "row-" + re.sub(r"[^A-Za-z0-9._-]+", "-", row.id)
            if slug in used:
                slug = f"row-{at}:{slug[4:]}"  # no slug of an id holds a colon
            used.add(slug)
            self.anchors.append(slug)
            self.by_id.setdefault(row.id, at)

    def state(self, at: int) -> str:
        """The class of the row's state."""
        return kind(self.rows[at].state)

    def link(self, at: int) -> str:
        """The row's id as a link to its details."""
        return f'<a href="#{self.anchors[at]}">{text(self.rows[at].id)}</a>'

    def name(self, at: int) -> str:
        """The row's name, with its earlier ones."""
        row = self.rows[at]
        former = "".join(f" <small class=was>formerly {text(alias)}</small>" for alias in row.aliases)
        return f"<bdi>{text(row.name)}</bdi>{former}"

    def named(self, identifier: str) -> str:
        """An id as a link where the report has such a row, else as text."""
        return self.link(self.by_id[identifier]) if identifier in self.by_id else text(identifier)
