"""Tables of rows: one line each, and beneath it, folded, the measures and every attestation that proves the claim."""

from __future__ import annotations

from collections.abc import Iterable

from assay.policy.coverage.html_text import Page, breakable, chip, how, outside, table, text
from assay.policy.coverage.interface import Link, Measure, Row, State
from assay.policy.coverage.wording import counted, plain, stamp


def rows(page: Page, positions: Iterable[int], caption: str) -> str:
    """The table of these rows."""
    lines = [_line(page, at) + _details(page, at) for at in positions]
    return table(caption, ("Id", "Name", "State", "What backs it, or what would"), lines, "rows")


def _line(page: Page, at: int) -> str:
    row = page.rows[at]
    css = f"r {page.state(at)}{' sub' if row.parent else ''}"
    return (
        f'<tr class="{css}" id="{page.anchors[at]}"><th scope=row>{breakable(row.id)}</th><td>{page.name(at)}</td>'
        f"<td>{chip(row.state)}</td><td>{text(row.why)}</td></tr>"
    )


def _details(page: Page, at: int) -> str:
    row = page.rows[at]
    body = _words(row) + _measures(row.measures) + _links(row) + _related(page, row)
    if not body:
        return ""
    return (
        f'<tr class="m {page.state(at)}"><td colspan=4><details><summary>{_label(row)}</summary>'
        f"<div class=body>{body}</div></details></td></tr>"
    )


def _label(row: Row) -> str:
    said = []
    if row.links:
        said.append(counted(len(row.links) + row.more_links, "attestation"))
    if row.measures:
        said.append(f"{sum(measure.met for measure in row.measures)} of {counted(len(row.measures), 'measure')} met")
    return ", ".join(said) or "About this row"


def _words(row: Row) -> str:
    """The framework's own words, and where they stand."""
    said = f"<p class=own>{text(row.text)}</p>" if plain(row.text) else ""
    if url := outside(row.url):
        said += f'<p><a href="{url}" rel="noopener noreferrer">{text(row.id)} at its source</a></p>'
    elif plain(row.url):
        said += f"<p>{text(row.url)}</p>"
    return said


def _measures(measures: tuple[Measure, ...]) -> str:
    if not measures:
        return ""
    items = "".join(_measure(measure) for measure in measures)
    return f"<h3>What backs it, or would</h3><ul class=measures>{items}</ul>"


def _measure(measure: Measure) -> str:
    sign, word = ("✓", "met") if measure.met else ("○", "open")
    gives = "" if measure.kind is State.EVIDENCE else " <small>a setting, not proof</small>"
    note = f" <small>{text(measure.note)}</small>" if plain(measure.note) else ""
    return f"<li class={word}><b>{sign} {word}</b> <span>{text(measure.title)}{gives}{note}{_how(measure)}</span></li>"


def _how(measure: Measure) -> str:
    """How to get it; what is there needs no instruction."""
    return f"<small class=how>{how(measure.how)}</small>" if plain(measure.how) and not measure.met else ""


def _links(row: Row) -> str:
    """Attestations by claim, kind and signer, so that what they share is said once."""
    if not row.links:
        return ""
    groups: dict[tuple[str, str, tuple[str, ...]], list[Link]] = {}
    for link in row.links:
        groups.setdefault((link.claim, link.predicate_type, link.signers), []).append(link)
    more = f"<p>And {row.more_links:,} more in the store.</p>" if row.more_links else ""
    return (
        "<h3>Attestations that prove it</h3>"
        + "".join(_group(key, links) for key, links in groups.items())
        + f"{more}<p>See one in full: <code>assay evidence show {text(row.links[0].digest)}</code></p>"
    )


def _group(key: tuple[str, str, tuple[str, ...]], links: list[Link]) -> str:
    claim, predicate_type, signers = key
    who = ", ".join(f"<bdi>{text(signer)}</bdi>" for signer in signers) or "nobody named"
    items = "".join(
        # There may be thousands: the shortest markup, isolated by the style sheet, and no end tag, as HTML allows.
        f"<li><code>{text(link.digest)}</code><b>{text(link.subject)}</b><i>{_when(link)}</i>"
        for link in links
    )
    how = f"<small>{text(predicate_type)}, signed by {who}</small>"
    return f"<p class=claim>{text(claim)} {how}</p><ul class=proof>{items}</ul>"


def _when(link: Link) -> str:
    time = stamp(link.time)[:16].replace("T", " ") if link.time else "no time"
    return f"{time} #{link.entry}" if link.entry else time


def _related(page: Page, row: Row) -> str:
    said = []
    if row.parent:
        said.append(f"Part of {page.named(row.parent)}.")
    if row.related:
        said.append(f"Related: {', '.join(page.named(identifier) for identifier in row.related)}.")
    return f"<p>{' '.join(said)}</p>" if said else ""
