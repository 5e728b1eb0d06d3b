"""Markdown, CSV and JSON: complete, the same each time, and harmless whatever names the evidence carries."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.policy.coverage import FORMATS, FRAMEWORKS, Record, assess
from assay.policy.coverage.csv import COLUMNS, as_csv, cell
from assay.policy.coverage.interface import Report, State
from assay.policy.coverage.json import SCHEMA, as_json
from assay.policy.coverage.markdown import escape, markdown
from helpers import NOW
from policy.coverage import coverage_samples as made

HOSTILE = [
    "=cmd|'/C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "-2+3",
    "\t=1+1",
    "＝1+1",
    "a;=cmd()",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "| broken | table |",
    "[link](https://evil.example)",
    "![image](https://evil.example/x.png)",
    "https://evil.example www.evil.example a@evil.example",
    "`code` **bold** _it_ ~~gone~~ # head",
    "\x1b[31mred\x1b[0m\x07",
    "\u202egnp.exe\u2066\u200b",
    "line\nbreak\r\n| --- |\x0b\x85\u2028",
    '"quoted", "twice"',
    "@octocat #1 &lt; \\| \\",
]


def hostile_report(text: str, framework: str = "atlas") -> Report:
    """Everything that a stranger or a signer can choose is ``text``."""
    rules = [{"id": text, "verdict": "pass", "frameworks": {framework: ["AML.M0005", text], text: [text]}}]
    named = {"policy": {"id": text}, "verdict": "pass", "rules": rules}
    stored = [
        Record(text, 1, made.VERDICT, named, {}, text, (text,), NOW),
        Record(text + "2", 2, "https://model_signing/signature/v1.0", {"resources": [1]}, {}, text, (text, text), NOW),
    ]
    return assess(framework, stored, {}, now=NOW, store=text, head=text)


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_row_is_in_every_format(framework: str) -> None:
    report = assess(framework, made.all_records(), {"require_sha256": True}, now=NOW, store="evidence", head="9:ab")
    lines = read_csv(as_csv(report))
    assert tuple(lines[0]) == COLUMNS
    assert [line[3] for line in lines[1:]] == [row.id for row in report.rows]
    assert [line[6] for line in lines[1:]] == [row.state.value for row in report.rows]
    text = markdown(report)
    assert all(escape(row.id) in text and escape(row.name) in text for row in report.rows)
    assert all(link.digest in text for row in report.rows for link in row.links)
    document = as_json(report)
    assert document["schema"] == SCHEMA
    assert document["framework"]["version"] == report.version
    listed = [row for section in document["sections"] for row in section["rows"]]
    assert [(row["id"], row["state"]) for row in listed] == [(row.id, row.state.value) for row in report.rows]
    assert document["counts"] == {state.value: report.count(state) for state in State}
    assert document["store"] == {"name": "evidence", "head": "9:ab"}


@pytest.mark.parametrize("format", ["markdown", "json", "csv"])
def test_the_same_report_gives_the_same_bytes(format: str) -> None:
    first, second = (FORMATS[format](assess("airmf", made.all_records(), {}, now=NOW)) for _ in range(2))
    assert first == second and first.endswith(b"\n")
    first.decode()


def test_the_formats_that_people_may_ask_for() -> None:
    assert list(FORMATS) == ["html", "markdown", "json", "csv", "oscal", "navigator"]


def test_json_has_an_attestation_for_each_claim() -> None:
    signed = made.record(*made.PROVES[0][1:], subject="bert", entry=4)
    document = json.loads(FORMATS["json"](assess("atlas", [signed], {}, now=NOW)))
    rows = {row["id"]: row for section in document["sections"] for row in section["rows"]}
    assert rows["AML.M0013"]["evidence"] == [
        {
            "digest": {"sha256": signed.digest},
            "entry": 4,
            "predicateType": "https://model_signing/signature/v1.0",
            "subject": "bert",
            "signers": [made.SIGNER],
            "time": "2026-05-31T12:00:00Z",
            "claim": "every file of the model is named with its digest and signed",
        }
    ]
    assert rows["AML.T0010"]["aliases"] == ["ML Supply Chain Compromise"]
    assert document["attestations"] == {"read": 1, "trusted": 1}


def test_markdown_says_what_it_rests_on() -> None:
    stored = [made.record(*made.PROVES[0][1:], subject="bert"), made.record(*made.PROVES[1][1:], signers=())]
    text = markdown(assess("atlas", stored, {}, now=NOW, store="evidence", head="2:abc"))
    assert "# Coverage: MITRE ATLAS 5.6.0" in text
    assert "2 attestations read, 1 by expected signers" in text
    assert "formerly ML Supply Chain Compromise" in text
    assert "Head of the store: `2:abc`." in text
    assert "> 1 of 2 attestations are not signed by an expected signer; they back nothing." in text
    assert re.search(
        r"^\| \*\*\[AML\.M0013\]\(https://atlas\.mitre\.org/mitigations/AML\.M0013\) Code Signing", text, re.M
    )


def check_csv(report: Report) -> None:
    lines = read_csv(as_csv(report))
    assert {len(line) for line in lines} == {len(COLUMNS)}
    assert as_csv(report).count("\r\n") == len(lines)
    for text in (value for line in lines for value in line):
        assert text.isprintable()
        # Whether it is read with commas or with semicolons, nothing begins like a formula.
        for part in re.split("[;,]", text):
            assert part.strip()[:1] not in tuple("=+-@＝＋－＠"), text


def check_markdown(report: Report) -> None:
    text = markdown(report)
    bare = re.sub(r"\\[\\`*_\[\]#|~$@:.]", "", text)
    for line in bare.splitlines():
        assert line.isprintable()
        if line.startswith("|"):
            assert line.endswith("|") and line.count("|") in (3, 5, 7), line
    assert "<" not in bare and not re.search("&(?!(amp|lt|gt);)", bare)
    links = re.findall(r"\]\((.*?)\)", bare)
    assert all(re.match(r"https://(atlas\.mitre\.org|airc\.nist\.gov|slsa\.dev)/", link) for link in links)
    assert "![" not in bare
    # In a code span nothing is a link, and only digests' characters are let in.
    spans = re.findall("`(.*?)`", bare)
    assert all(re.fullmatch("[A-Za-z0-9:.-]*", span) for span in spans)
    known = re.sub(r"`.*?`|https://(atlas\.mitre\.org|airc\.nist\.gov|slsa\.dev)/", "", bare)
    assert "://" not in known and not re.search(r"(?i)www\.", known) and "@" not in known


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_harmless(text: str) -> None:
    report = hostile_report(text)
    assert next(row for row in report.rows if row.id == "AML.M0005").state is State.EVIDENCE
    check_csv(report)
    check_markdown(report)
    for format in ("markdown", "json", "csv"):
        assert "\x1b" not in FORMATS[format](report).decode()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40) | st.lists(st.sampled_from(HOSTILE), max_size=3).map(" ".join))
def test_any_name_is_harmless(text: str) -> None:
    report = hostile_report(text, "slsa")
    check_csv(report)
    check_markdown(report)
    json.loads(FORMATS["json"](report))


@given(st.text(max_size=60))
def test_a_cell_is_never_a_formula(text: str) -> None:
    made_cell = cell(text)
    assert made_cell.isprintable() and made_cell[:1] not in tuple("=+-@＝＋－＠")
    assert cell(made_cell).strip("'") == made_cell.strip("'")
