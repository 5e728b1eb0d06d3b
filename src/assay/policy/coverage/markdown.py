"""The report as Markdown (GitHub's), for a pull request or a wiki. Whatever comes from documents is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from assay.evidence.predicates import printable
from assay.policy.coverage.interface import Link, Report, Row, Section, State

WORDS = {
    State.EVIDENCE: "verified evidence",
    State.CONFIGURATION: "configuration only",
    State.NOTHING: "nothing",
    State.NOT_ASSESSABLE: "not assessable",
}
"""States in words."""

_MARKS = {State.EVIDENCE: "✅", State.CONFIGURATION: "🔧", State.NOTHING: "❌", State.NOT_ASSESSABLE: "➖"}

_SPECIAL = re.compile(r"([\\`*_\[\]#|~$@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
"""What begins markup, a mention, or a link that GitHub would find by itself."""
_URL = re.compile(r"https://[A-Za-z0-9./_#?=&%:-]+")


def markdown(report: Report) -> str:
    """The report: what is backed by what, row by row, with the attestations that show it."""
    return "\n".join(_lines(report)) + "\n"


def escape(text: str) -> str:
    """Text as itself: no markup, no link, no mention, no HTML, no end of a table's cell or line."""
    flat = printable(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", flat)


def _lines(report: Report) -> Iterator[str]:
    yield f"# Coverage: {escape(report.name)} {escape(report.version)}"
    yield ""
    trusted = f"{report.statements:,} attestations read, {report.trusted:,} by expected signers"
    yield f"{escape(report.store or 'Evidence')}, {_time(report.time)}: {trusted}."
    if report.head:
        yield f"Head of the store: `{_code(report.head)}`."
    yield ""
    yield "| backed by | rows |"
    yield "|---|---:|"
    for state in State:
        yield f"| {_MARKS[state]} {WORDS[state]} | {report.count(state)} |"
    for warning in report.warnings:
        yield ""
        yield f"> {escape(warning)}"
    if report.characteristics:
        yield from _table("Characteristics of trustworthy AI", ("characteristic", "backed by", "why", "rows"))
        for item in report.characteristics:
            yield _line(escape(item.name), _state(item.state), escape(item.why), escape(", ".join(item.rows)))
    for section in report.sections:
        yield from _section(section)
    if any(row.links for row in report.rows):
        yield from _evidence(report)
    if report.targets:
        yield ""
        yield f"Targets: {', '.join(escape(name) for name in report.targets)}."
    yield ""
    yield f"Framework text: {escape(report.source)}. Licence: {escape(report.licence)}."


def _section(section: Section) -> Iterator[str]:
    yield from _table(section.name, ("row", "backed by", "why", "attestations"), section.text)
    for row in section.rows:
        marked = f"**{_named(row)}**" if row.highlighted else _named(row)
        links = " ".join(f"`{_code(link.digest[:12])}`" for link in row.links[:3])
        more = len(row.links) - 3 + row.more_links
        yield _line(marked, _state(row.state), escape(row.why), links + (f" +{more}" if more > 0 else ""))


def _evidence(report: Report) -> Iterator[str]:
    """Each attestation that is linked, once, with the rows that it stands for."""
    by_digest: dict[str, tuple[Link, list[str]]] = {}
    for row in report.rows:
        for link in row.links:
            by_digest.setdefault(link.digest, (link, []))[1].append(row.id)
    yield from _table("Evidence", ("digest", "about", "type", "signed by", "made", "rows"))
    for digest, (link, rows) in sorted(by_digest.items()):
        shown = ", ".join(rows[:8]) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
        yield _line(
            f"`{_code(digest)}`",
            escape(link.subject),
            escape(link.predicate_type),
            escape(", ".join(link.signers)),
            _time(link.time) if link.time else "",
            escape(shown),
        )


def _table(title: str, head: tuple[str, ...], text: str = "") -> Iterator[str]:
    yield from ("", f"## {escape(title)}", "")
    if text:
        yield from (escape(text), "")
    yield _line(*head)
    yield "|" + "---|" * len(head)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _named(row: Row) -> str:
    id = escape(row.id)
    shown = f"[{id}]({row.url})" if _URL.fullmatch(row.url) else id
    former = f" (formerly {escape(', '.join(row.aliases))})" if row.aliases else ""
    return f"{shown} {escape(row.name)}{former}"


def _state(state: State) -> str:
    return f"{_MARKS[state]} {WORDS[state]}"


def _code(text: str) -> str:
    """For a code span: digests and numbers, nothing else."""
    return "".join(char for char in text if char.isascii() and (char.isalnum() or char in ":.-"))


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
