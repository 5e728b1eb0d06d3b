"""The matrix: columns of a framework (tactics, functions) with a cell per row, and the cards of characteristics.

A cell tells its state by symbol, by pattern and by a hidden word beside its colour. Sub-techniques fold under theirs.
"""

from __future__ import annotations

from assay.policy.coverage.html_text import Page, chip, kind, text
from assay.policy.coverage.interface import State
from assay.policy.coverage.wording import WORDS, counted, plain


def columns(page: Page) -> list[tuple[str, list[int]]]:
    """Name and top rows of each column: the framework's own matrix, else for the AI RMF its functions."""
    report = page.report
    if report.columns:
        top = [at for at, row in enumerate(page.rows) if row.columns and not _folded(page, at)]
        return [(name, [at for at in top if column in page.rows[at].columns]) for column, name in report.columns]
    if report.framework != "airmf":
        return []
    found, start = [], 0
    for section in report.sections:
        found.append((section.name, list(range(start, start + len(section.rows)))))
        start += len(section.rows)
    return found


def _folded(page: Page, at: int) -> bool:
    """Whether it is shown under its technique."""
    parent = page.by_id.get(page.rows[at].parent or "")
    return parent is not None and parent != at and bool(page.rows[parent].columns) and not page.rows[parent].parent


def matrix(page: Page) -> str:
    """The matrix with its heading; nothing for a framework without columns."""
    found = columns(page)
    if not any(rows for _, rows in found):
        return ""
    under: dict[int, list[int]] = {}
    for at, row in enumerate(page.rows):
        if row.parent is not None and _folded(page, at):
            under.setdefault(page.by_id[row.parent], []).append(at)
    stacks = "".join(_column(page, number, name, rows, under) for number, (name, rows) in enumerate(found))
    bold = " Bold: the key rows below." if any(row.highlighted for row in page.rows) else ""
    wide = " few" if len(found) < 6 else ""
    return (
        "<section aria-labelledby=matrix><h2 id=matrix>The matrix</h2>"
        f"<p>Each cell leads to its proof. What the filter leaves out is faded.{bold}</p>"
        f'<div class="matrix{wide}" tabindex=0 role=region aria-labelledby=matrix>{stacks}</div></section>'
    )


def _column(page: Page, number: int, name: str, rows: list[int], under: dict[int, list[int]]) -> str:
    states = [page.rows[at].state for top in rows for at in (top, *under.get(top, ()))]
    assessable = sum(state is not State.NOT_ASSESSABLE for state in states)
    backed = sum(state is State.EVIDENCE for state in states)
    share = f"{backed} of {assessable} by evidence" if assessable else "not assessable"
    cells = "".join(_cell(page, at, under.get(at, [])) for at in rows)
    return (
        f'<section class=column aria-labelledby="column-{number}"><h3 id="column-{number}">{text(name)}'
        f"<small>{share}</small></h3><ul>{cells}</ul></section>"
    )


def _cell(page: Page, at: int, subs: list[int]) -> str:
    inner = ""
    if subs:
        backed = sum(page.rows[sub].state is State.EVIDENCE for sub in subs)
        cells = "".join(_cell(page, sub, []) for sub in subs)
        label = f"{len(subs)} sub · {backed} ✓"
        spoken = f"{counted(len(subs), 'sub-technique')}, {backed} backed by verified evidence"
        inner = f'<details><summary aria-label="{spoken}">{label}</summary><ul>{cells}</ul></details>'
    row = page.rows[at]
    words = WORDS[row.state]
    star = " key" if row.highlighted else ""
    name = f"{text(plain(row.name, 160))} <i>{text(row.id)}</i><span class=vh>, {words.long}</span>"
    return (
        f'<li class="cell {page.state(at)}{star}"><a href="#{page.anchors[at]}">'
        f"<b class=sym aria-hidden=true>{words.symbol}</b><span>{name}</span></a>{inner}</li>"
    )


def characteristics(page: Page) -> str:
    """The cards; nothing for a framework that has none."""
    found = page.report.characteristics
    if not found:
        return ""
    cards = "".join(
        f'<li class="card {kind(one.state)}"><h3>{text(one.name)}</h3>{chip(one.state)}<p>{text(one.why)}</p>'
        f"<p class=ids>{', '.join(page.named(identifier) for identifier in dict.fromkeys(one.rows))}</p></li>"
        for one in found
    )
    return (
        "<section aria-labelledby=traits><h2 id=traits>Characteristics of trustworthy AI</h2>"
        "<p>The same rows seen another way: a characteristic has the state that most of its assessable rows have at "
        f"least.</p><ul class=cards>{cards}</ul></section>"
    )
