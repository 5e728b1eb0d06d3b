"""The comment on a pull request, as a CommonMark parser reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt
from markdown_it.token import Token

from assay.policy.documents import markdown
from assay.policy.verdict import Decision, Kind, Need, Verdict, Violation
from policy.documents.decisions import EVERY, HOSTILE, decision, decisions, rule, used

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OURS = {"<details>", "</details>", "<summary>", "</summary>"}


def tokens(text: str) -> list[Token]:
    """All tokens, inline ones too."""
    made: list[Token] = []
    for token in PARSER.parse(text):
        made += [token, *(token.children or ())]
    return made


def check_harmless(text: str) -> None:
    """No link, image, emphasis or HTML but our own, and outside of code nothing that a host turns into one."""
    found = tokens(text)
    kinds = {token.type for token in found}
    assert not kinds & {"link_open", "image", "em_open", "s_open", "table_open", "code_block", "fence", "html_inline"}
    blocks = "".join(token.content for token in found if token.type == "html_block")
    for tag in OURS:
        blocks = blocks.replace(tag, "")
    assert "<" not in blocks and "&" not in blocks
    prose = " ".join(token.content for token in found if token.type == "text")
    assert not set("@#<>|`[]_~$\\") & set(prose), prose
    assert "://" not in prose and "www." not in prose.lower()


def test_golden() -> None:
    assert markdown.render(EVERY) == (Path(__file__).parent / "golden" / "every.md").read_text()


def test_what_a_reader_sees() -> None:
    text = markdown.render(EVERY)
    check_harmless(text)
    headings = [token.content for token in PARSER.parse(text) if token.type == "inline"]
    assert headings[0] == "❌ Rejected: `dir:bert` by ml-baseline 1.0"
    assert "Run: `assay bom dir:bert -o attest`" in headings
    assert "… and 37 more" in headings


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    result = rule(
        text or "-", Verdict.FAIL, name=text, reason=text, risk=text, mitigation=text, notes=(text,),
        violations=(Violation(text, text),), used=(used(kind=text or "-", signers=(text,)),),
        needs=(Need(Kind.ATTEST, text, command=text),),
    )  # fmt: skip
    made = markdown.render(decision(result, rule("b" + text, Verdict.PASS, name=text), target=text, warnings=(text,)))
    check_harmless(made)
    assert made.replace("\n", "").isprintable()


@settings(max_examples=60)
@given(decisions)
def test_random_decisions_are_harmless(made: Decision) -> None:
    text = markdown.render(made)
    check_harmless(text)
    assert text.replace("\n", "").replace("⚠️", "").isprintable()


def test_it_fits_into_a_comment() -> None:
    failing = [rule(f"r{i}", Verdict.FAIL, violations=(Violation("`" * 500),) * 9) for i in range(400)]
    passing = [rule(f"p{i}", Verdict.PASS, name="x" * 500) for i in range(400)]
    text = markdown.render(decision(*failing, *passing))
    assert len(text) < 65_536
    assert "more rules that do not pass" in text and "more" in text.split("<details>")[1]
    check_harmless(text)
