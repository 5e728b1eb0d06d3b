"""The page: nothing in a report becomes markup, nothing is asked from outside, and every row and proof is there."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

import coverage_reports as made
from assay.policy.coverage import html
from assay.policy.coverage.interface import MAX_LINKS, Characteristic, Link, State
from assay.policy.coverage.wording import plain

TAGS = {
    *("html", "head", "meta", "title", "style", "script", "body", "header", "main", "section", "aside", "form"),
    *("h1", "h2", "h3", "p", "a", "b", "i", "bdi", "span", "small", "strong", "code", "time", "ul", "ol", "li", "div"),
    *("dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary"),
    *("fieldset", "legend", "label", "input", "button", "wbr"),
}
"""What the page is made of: nothing that loads, embeds or sends."""

ATTRIBUTES = {
    *("class", "id", "href", "rel", "lang", "charset", "content", "datetime", "http-equiv", "name", "type", "checked"),
    *("placeholder", "colspan", "scope", "role", "tabindex", "aria-hidden", "aria-label", "aria-labelledby"),
}
"""Among them no handler of events and no style."""

VOID = {"meta", "input", "wbr"}


class Reader(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "li" and self.open[-1] == "li":
            self.open.pop()  # its end tag may be left out
        self.tags.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "ul" and self.open[-1] == "li":
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.raw[self.open[-1]] if self.open and self.open[-1] in self.raw else self.said).append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    unknown_decl = handle_pi = handle_comment

    @property
    def text(self) -> str:
        return "".join(self.said)

    def values(self, attribute: str) -> list[str]:
        return [value or "" for _, attrs in self.tags for name, value in attrs.items() if name == attribute]


def _read(report: made.Report) -> Reader:
    """The page, after checking what must hold for any."""
    page = html.render(report)
    page.encode()
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags} <= TAGS
    assert {name for _, attrs in reader.tags for name in attrs} <= ATTRIBUTES
    assert len(reader.raw["script"]) == len(reader.raw["style"]) == 1
    policy = next(attrs["content"] or "" for _, attrs in reader.tags if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(reader.raw[kind][0].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    for href in reader.values("href"):
        assert href.startswith("https://") or (href.startswith("#") and href[1:] in ids), href
    for named in reader.values("aria-labelledby"):
        assert named in ids
    assert page.replace("\n", "").isprintable()
    for row in report.rows:
        assert plain(row.id) in reader.text
    return reader


def test_the_answer_comes_first_with_all_four_numbers() -> None:
    report = made.atlas_sized()
    reader = _read(report)
    first = reader.text[: reader.text.index("The matrix")]
    assert "How are we protecting our AI pipelines?" in first and "What to do next" in first
    for state in State:
        assert str(report.count(state)) in first
    assert "assay attest DATA --type dataset" in first


def test_each_proof_is_named_with_signer_time_and_command() -> None:
    link = made.link(7)
    text = _read(made.report(made.row(links=(link,), more_links=5))).text
    for part in (link.digest, link.signers[0], link.subject, link.claim, f"assay evidence show {link.digest}", "#7"):
        assert part in text
    assert "2026-06-01 05:30" in text and "And 5 more" in text and "6 attestations" in text


def test_former_names_and_reasons_of_what_no_tool_can_assess() -> None:
    outside = made.row("AML.T0050", State.NOT_ASSESSABLE, why="People decide it.")
    text = _read(made.report(made.row(aliases=("ML Supply Chain Compromise",)), outside)).text
    assert "formerly ML Supply Chain Compromise" in text
    assert "People decide it." in text[text.index("What no tool can assess") :]


def test_where_the_numbers_come_from() -> None:
    report = made.report(made.row())
    text = _read(report).text
    for part in (report.head, "412 looked at, 398 signed", "bert-tiny, fraud-scorer", "5.6.0", "Apache-2.0"):
        assert part in text[text.index("Where these numbers come from") :]


def test_the_matrix_has_a_column_per_tactic_and_folds_sub_techniques_under_theirs() -> None:
    rows = (
        made.row(columns=("AML.TA0004", "AML.TA0011")),
        made.row("AML.T0010.001", State.NOTHING, parent="AML.T0010"),
        made.row("AML.M0005", State.CONFIGURATION),
    )
    reader = _read(made.report(*rows))
    links = reader.values("href")
    assert links.count("#row-AML.T0010") == 2 + 1  # once per tactic, and from its sub-technique's details
    assert links.count("#row-AML.T0010.001") == 2
    assert "1 of 2 by evidence" in reader.text


def test_the_ai_rmf_has_functions_as_columns_and_seven_cards() -> None:
    reader = _read(made.airmf_sized())
    assert [value for value in reader.values("class") if value.startswith("column")] == ["column"] * 4
    assert sum(value.startswith("card ") for value in reader.values("class")) == 7
    for name in made.CHARACTERISTICS:
        assert name in reader.text


def test_a_framework_without_columns_is_tables_alone() -> None:
    report = made.report(made.row("L1"), made.row("L2", State.NOTHING), framework="slsa", columns=())
    reader = _read(report)
    assert "The matrix" not in reader.text and "rows" in reader.values("class")


@pytest.mark.parametrize("text", made.HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    row = made.row(
        text or "id",
        name=text,
        why=text,
        text=text,
        url=text,
        aliases=(text,),
        related=(text, "no such row"),
        measures=(replace(made.MEASURES[0], title=text, how=text, note=text),),
        links=(Link(text, text, text, (text,), text),),
        columns=("AML.TA0004",),
        highlighted=True,
    )
    report = made.report(row, row, name=text, store=text, head=text, targets=(text,), warnings=(text,))
    cards = (Characteristic(text, text, State.NOTHING, text, (text,)),)
    reader = _read(replace(report, characteristics=cards, columns=(("AML.TA0004", text),)))
    assert reader.text.count(plain(text)) > 10
    assert not any(value.startswith(("javascript:", "data:")) for value in reader.values("href"))


def test_direction_marks_are_shown_not_obeyed() -> None:
    page = html.render(made.report(made.row(name="\u202egnp.exe")))
    assert "\u202e" not in page and "[U+202E]gnp.exe" in page


def test_commands_are_code_and_advice_is_text() -> None:
    hows = ("assay sign MODEL, with a key", "a rule with `atlas: [AML.T0010]`, and `assay verify`", "Ask <b>them</b>")
    measures = tuple(replace(made.MEASURES[0], how=how) for how in hows)
    page = html.render(made.report(made.row(state=State.NOTHING, measures=measures)))
    assert "<code>assay sign MODEL</code>, with a key" in page
    assert "a rule with <code>atlas: [AML.T0010]</code>, and <code>assay verify</code>" in page
    assert "Ask &lt;b&gt;them&lt;/b&gt;" in page


def test_only_https_addresses_are_links() -> None:
    for url in ("http://example.com", "javascript:alert(1)", "//example.com", "HTTPS://example.com", "https://a b"):
        hrefs = _read(made.report(made.row(url=url))).values("href")
        assert all(href.startswith("#") for href in hrefs), url
    assert 'https://example.com/?a="b' in _read(made.report(made.row(url='https://example.com/?a="b'))).values("href")


def test_rows_of_one_id_have_anchors_of_their_own() -> None:
    reader = _read(made.report(made.row("MAP 4.1"), made.row("MAP-4.1"), made.row("MAP 4.1")))
    assert sum(value.startswith("row-") for value in reader.values("id")) == 3


def test_the_whole_of_atlas_with_twenty_attestations_a_row_is_below_a_megabyte() -> None:
    report = made.atlas_sized(MAX_LINKS)
    numbers = iter(range(10**6))
    sections = [
        replace(
            section,
            rows=tuple(
                replace(row, links=tuple(made.link(next(numbers)) for _ in range(MAX_LINKS))) for row in section.rows
            ),
        )
        for section in report.sections
    ]
    page = html.render(replace(report, sections=tuple(sections)))
    assert len(page.encode()) < 1_000_000


def test_colours_can_be_read() -> None:
    """WCAG 2.1, 1.4.3: text and its background differ by at least 4.5 to 1, in light, dark and print."""
    style = Reader(html.render(made.report())).raw["style"][0]
    themes = [dict(re.findall(r"--([a-z-]+):(#[0-9a-f]+)", block)) for block in re.findall(r":root\{[^}]*\}", style)]
    assert len(themes) == 3
    pairs = [("ink", "bg"), ("soft", "bg"), ("soft", "panel"), ("link", "bg"), ("link", "panel"), ("bg", "brand")]
    pairs += [(state, f"{state}-bg") for state in ("yes", "set", "no", "out")]
    pairs += [("ink", f"{state}-bg") for state in ("yes", "set", "no", "out")] + [("ink", "set-stripe")]
    pairs += [("soft", f"{state}-bg") for state in ("yes", "no", "out")] + [("yes", "panel")]
    for theme in themes:
        for text, ground in pairs:
            assert _contrast(theme[text], theme[ground]) >= 4.5, (text, ground, theme)


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@settings(max_examples=100, deadline=None)
@given(made.random_reports)
def test_any_report_gives_a_sound_page_and_always_the_same(report: made.Report) -> None:
    _read(report)
    assert html.render(report) == html.render(report)
