"""The decision for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.policy.documents import as_json
from assay.policy.verdict import Decision, Verdict, Violation
from policy.documents.decisions import ACCEPTED, EVERY, UNDECIDED, decision, rule


def test_golden() -> None:
    made = as_json.render(EVERY)
    assert made == json.loads((Path(__file__).parent / "golden" / "every.json").read_text())


@pytest.mark.parametrize(
    ("made", "answer", "code"), [(ACCEPTED, "accepted", 0), (EVERY, "rejected", 1), (UNDECIDED, "undecided", 3)]
)
def test_the_answer(made: Decision, answer: str, code: int) -> None:
    document = as_json.render(made)
    assert document["schema"] == as_json.SCHEMA
    assert (document["answer"], document["exitCode"], document["accepted"]) == (answer, code, code == 0)
    assert sum(document["counts"].values()) == len(document["rules"]) == len(made.results)


def test_all_violations_and_the_very_command() -> None:
    licence = as_json.render(EVERY)["rules"][2]
    assert len(licence["violations"]) == 42
    assert licence["violations"][0]["details"] == {"package": "readline0", "licence": "GPL-3.0-only"}
    assert licence["needs"][0]["command"] == "assay bom dir:bert -o attest"


def test_details_that_are_no_json() -> None:
    loop: dict[str, object] = {}
    loop["again"] = loop
    details = {
        "nan": float("nan"),
        "big": 2**80,
        "set": {1},
        "bytes": b"x",
        "\ud800": "\udfff",
        "loop": loop,
        "t": EVERY.time,
    }
    document = as_json.render(decision(rule("a", Verdict.FAIL, violations=(Violation("x", "", details),))))
    json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    found = document["rules"][0]["violations"][0]["details"]
    assert found["nan"] == "nan" and found["big"] == hex(2**80) and found["set"] == "(set)"
    assert found["t"] == "2026-06-01T12:00:00Z"
