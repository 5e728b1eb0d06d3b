"""The report as one page that a board member can read: the answer first, then the matrix, then every proof.

The page asks for nothing from outside: no font, no script, no picture, and its content security policy would refuse
them. It works without JavaScript. Everything that comes from a report is text, never markup.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from assay.policy.coverage import html_matrix, html_rows
from assay.policy.coverage.html_text import CLASSES, Page, chip, how, kind, table, text
from assay.policy.coverage.interface import Report, Section, State
from assay.policy.coverage.wording import WORDS, Step, counted, next_steps, percent, plain, stamp, summary

QUESTION = "How are we protecting our AI pipelines?"


def render(report: Report) -> str:
    """The page, UTF-8 when it is written."""
    page = Page(report)
    parts = [
        _header(report),
        "<main id=main>",
        _answer(report),
        _warnings(report),
        html_matrix.characteristics(page),
        _filter(report),
        html_matrix.matrix(page),
        _key_rows(page),
        *(_section(page, at, section) for at, section in enumerate(report.sections)),
        _not_assessable(page),
        _about(report),
        "</main>",
    ]
    body = "\n".join(part for part in parts if part)
    return _document(report, body, _style(body), _resource("report.js"))


def _document(report: Report, body: str, style: str, script: str) -> str:
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(f'{report.name} {report.version}')} coverage: {text(QUESTION)}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n{body}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _resource(name: str) -> str:
    return files("assay.policy.coverage").joinpath(name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _style(body: str) -> str:
    """The style sheet, with a rule for each share that a bar shows: the policy forbids attributes of style."""
    shares = sorted({int(share) for share in re.findall(r'class="[a-z -]*\bg(\d+)"', body)})
    return _resource("report.css") + "".join(f".bar .g{share}{{flex-grow:{share}}}" for share in shares)


def _header(report: Report) -> str:
    return (
        '<a class="skip" href="#main">Skip to the report</a>\n<header>'
        f"<p class=brand><b>assay</b> coverage report</p>"
        f"<p class=meta>{text(report.name)} {text(report.version)} · "
        f'<time datetime="{stamp(report.time)}">{_day(report)}</time></p></header>'
    )


def _day(report: Report) -> str:
    moment = stamp(report.time)
    return f"{moment[:10]} {moment[11:16]} UTC"


def _bar(counts: dict[State, int], name: str) -> str:
    """Shares of the states side by side, for the eye; the numbers stand beside it as text."""
    parts = "".join(f'<i class="{kind(state)} g{n}"></i>' for state, n in counts.items() if n)
    return f'<div class=bar role=img aria-label="{text(name)}">{parts}</div>'


def _counts(rows: Report | Section) -> dict[State, int]:
    return {state: sum(row.state is state for row in rows.rows) for state in WORDS}


def _answer(report: Report) -> str:
    counts = _counts(report)
    assessable = sum(counts.values()) - counts[State.NOT_ASSESSABLE]
    tiles = "".join(_tile(state, counts[state], assessable) for state in WORDS)
    spoken = ", ".join(f"{n} {WORDS[state].long}" for state, n in counts.items())
    return (
        "<section class=answer aria-labelledby=answer><div>"
        f"<h1 id=answer>{QUESTION}</h1><p class=lead>{text(summary(report))}</p>"
        f"{_bar(counts, f'Rows: {spoken}')}<ul class=tiles>{tiles}</ul>{_by_section(report)}</div>"
        f"{_next(report, counts)}</section>"
    )


def _tile(state: State, count: int, assessable: int) -> str:
    words = WORDS[state]
    share = f"{percent(count, assessable)} % of what a tool can assess"
    below = "never counted as covered" if state is State.NOT_ASSESSABLE else share if assessable else ""
    return (
        f'<li class="tile {kind(state)}"><b class=sym aria-hidden=true>{words.symbol}</b>'
        f"<strong>{count:,}</strong> <span>{words.long}</span><small>{below}</small></li>"
    )


def _next(report: Report, counts: dict[State, int]) -> str:
    steps = next_steps(report)
    if not steps:
        done = counts[State.EVIDENCE] and not counts[State.CONFIGURATION] and not counts[State.NOTHING]
        said = "Every row that a tool can assess is backed." if done else "No measure is known that would move a row."
        return f"<aside class=next aria-labelledby=next><h2 id=next>What to do next</h2><p>{said}</p></aside>"
    items = "".join(
        f"<li><strong>{text(step.title)}</strong>"
        f"<span class=gain>moves {counted(step.rows, 'more row' if at else 'row')} to "
        f"{chip(step.kind)}{_ways(step)}</span><span class=how>{how(step.how)}</span></li>"
        for at, step in enumerate(steps)
    )
    return (
        "<aside class=next aria-labelledby=next><h2 id=next>What to do next</h2>"
        "<p>The measures that would move most rows, in this order.</p>"
        f"<ol>{items}</ol></aside>"
    )


def _ways(step: Step) -> str:
    return f" in {step.ways} steps, the first of which is" if step.ways > 1 else ""


def _warnings(report: Report) -> str:
    if not report.warnings:
        return ""
    items = "".join(f"<li>{text(warning)}</li>" for warning in report.warnings)
    heading = "<h2 id=notes>Read this with the numbers</h2>"
    return f"<section class=warnings aria-labelledby=notes>{heading}<ul>{items}</ul></section>"


def _key_rows(page: Page) -> str:
    rows = [at for at, row in enumerate(page.rows) if row.highlighted]
    if not rows:
        return ""
    lines = [
        f'<tr class="{page.state(at)}"><th scope=row>{page.link(at)}</th><td>{page.name(at)}</td>'
        f"<td>{chip(page.rows[at].state)}</td><td>{text(page.rows[at].why)}</td></tr>"
        for at in rows
    ]
    return (
        "<section aria-labelledby=key><h2 id=key>Key rows</h2>"
        "<p>The threats and defences of the AI supply chain that are asked about most, under today's names.</p>"
        + table("Key rows", ("Id", "Name", "State", "Why"), lines)
        + "</section>"
    )


def _by_section(report: Report) -> str:
    if len(report.sections) < 2:
        return ""
    lines = []
    for section in report.sections:
        counts = _counts(section)
        spoken = ", ".join(f"{n} {WORDS[state].long}" for state, n in counts.items())
        cells = "".join(f"<td class=n>{n}</td>" for n in counts.values())
        lines.append(f"<tr><th scope=row>{text(section.name)}</th>{cells}<td>{_bar(counts, spoken)}</td></tr>")
    heads = ("Part", *(words.short for words in WORDS.values()), "Share")
    return table("Rows of each part by state", heads, lines, "parts")


def _filter(report: Report) -> str:
    boxes = "".join(
        f'<label class="{kind(state)}"><input type=checkbox id="f-{CLASSES[state]}" checked> '
        f"<b class=sym aria-hidden=true>{words.symbol}</b> {words.short} <small>{report.count(state)}</small></label>"
        for state, words in WORDS.items()
    )
    return (
        "<form class=filter aria-label=Filter><fieldset><legend>Show</legend>"
        f"{boxes}</fieldset><span class=js><label>Find <input type=search id=find placeholder='id or name'></label> "
        "<button type=button id=open>Open all details</button> <button type=button id=close>Close all</button>"
        "</span></form>"
    )


def _section(page: Page, number: int, section: Section) -> str:
    start = sum(len(before.rows) for before in page.report.sections[:number])
    intro = f"<p>{text(section.text)}</p>" if plain(section.text) else ""
    return (
        f"<section aria-labelledby=part-{number}><h2 id=part-{number}>{text(section.name)}</h2>{intro}"
        + html_rows.rows(page, range(start, start + len(section.rows)), plain(section.name) or "Rows")
        + "</section>"
    )


def _not_assessable(page: Page) -> str:
    """What is left to people, by reason, so that it is read as a list of duties and not as a gap of the tool."""
    reasons: dict[str, list[int]] = {}
    for at, row in enumerate(page.rows):
        if row.state is State.NOT_ASSESSABLE:
            reasons.setdefault(plain(row.why), []).append(at)
    if not reasons:
        return ""
    lines = [
        f"<tr><td>{text(why)}</td><td>{', '.join(page.link(at) for at in rows)}</td></tr>"
        for why, rows in sorted(reasons.items(), key=lambda item: -len(item[1]))
    ]
    return (
        "<section aria-labelledby=outside><h2 id=outside>What no tool can assess</h2>"
        "<p>These rows are about people, contracts and decisions. No scan and no signature shows that they are done; "
        "somebody must answer for them. They never count as covered.</p>"
        + table("Rows that no tool can assess, by reason", ("Why", "Rows"), lines)
        + "</section>"
    )


def _about(report: Report) -> str:
    targets = ", ".join(text(target) for target in report.targets) or "none"
    facts = (
        ("Framework", f"{text(report.name)} {text(report.version)} ({text(report.source)}, {text(report.licence)})"),
        ("Made", f"{_day(report)} from the store <b>{text(report.store)}</b>"),
        ("Store's head", f"<code>{text(report.head)}</code>"),
        (
            "Attestations",
            f"{report.statements:,} looked at, {report.trusted:,} signed by expected signers; only these count",
        ),
        ("They are about", targets),
    )
    items = "".join(f"<div><dt>{name}</dt><dd>{said}</dd></div>" for name, said in facts)
    return (
        "<section class=about aria-labelledby=about><h2 id=about>Where these numbers come from</h2>"
        "<p>A row counts as backed when an attestation in the store says what the row needs, its signature holds, and "
        "its signer is expected. The same store and the same day give the same report:</p>"
        f"<p><code>assay report --framework {text(report.framework)}</code></p><dl>{items}</dl></section>"
    )
