"""What `assay verify -p` prints."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.policy.documents import layout, table, words
from assay.policy.verdict import Decision, Kind, Level, Need, Verdict, Violation
from policy.documents.decisions import ACCEPTED, ANSWERS, EMPTY, EVERY, HOSTILE, UNDECIDED, decision, rule, used

GOLDEN = Path(__file__).parent / "golden"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("name", ["every", "verbose", "accepted", "undecided"])
def test_golden(name: str) -> None:
    made = {
        "every": lambda: table.render(EVERY),
        "verbose": lambda: table.render(EVERY, verbose=True, width=100),
        "accepted": lambda: table.render(ACCEPTED),
        "undecided": lambda: table.render(UNDECIDED),
    }[name]()
    assert made + "\n" == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_answer_comes_first(answer: str) -> None:
    assert table.render(ANSWERS[answer]).startswith(f"{answer}  dir:bert by ml-baseline 1.0: ")


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (EMPTY, "no rule that counts is for it"),
        (decision(rule("a", Verdict.MISSING, level=Level.NOTE)), "no rule that counts is for it"),
        (decision(rule("a", Verdict.PASS)), "its one rule passes"),
        (decision(rule("a", Verdict.PASS), rule("b", Verdict.PASS)), "all 2 rules pass"),
        (decision(rule("a", Verdict.PASS), rule("b", Verdict.NOT_APPLICABLE)), "its one rule passes"),
        (decision(rule("a", Verdict.FAIL)), "1 of 1 rule fails"),
        (UNDECIDED, "1 of 2 rules has no evidence"),
        (
            decision(rule("a", Verdict.FAIL), rule("b", Verdict.FAIL), rule("c", Verdict.MISSING)),
            "2 of 3 rules fail, 1 has no evidence",
        ),
        (
            EVERY,
            "1 of 9 rules fails, 1 has stale evidence, 1 has untrusted evidence, 1 has no evidence, "
            "1 could not be evaluated, 2 warn",
        ),
    ],
)
def test_summary(made: Decision, text: str) -> None:
    assert words.summary(made) == text


def test_colours_only_when_asked_and_nothing_else() -> None:
    plain, coloured = table.render(EVERY), table.render(EVERY, colour=True)
    assert "\x1b" not in plain
    assert coloured != plain
    assert ANSI.sub("", coloured) == plain


def test_more_violations_than_are_shown() -> None:
    assert "… and 37 more" in table.render(EVERY)
    verbose = table.render(EVERY, verbose=True)
    assert "… and" not in verbose
    assert "readline41" in verbose and "readline41" not in table.render(EVERY)


def test_the_command_names_the_target_as_one_word() -> None:
    need = Need(Kind.ATTEST, "x", command="assay attest TARGET --type scan")
    made = decision(rule("a", Verdict.MISSING, needs=(need,)), target="dir:my model; reboot $(x) 'y'")
    text = table.render(made, width=500)
    command = next(line for line in text.splitlines() if line.strip().startswith("run")).split("run", 1)[1].strip()
    assert shlex.split(command) == ["assay", "attest", made.target, "--type", "scan"]


def test_a_long_command_can_be_pasted_from_several_lines() -> None:
    need = Need(Kind.ATTEST, "x", command="assay attest TARGET --type scan --predicate REPORT.json --label a=b")
    made = decision(rule("a", Verdict.MISSING, needs=(need,)), target="hf:organisation/a-model@" + "1" * 40)
    lines = table.render(made).splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().startswith("run"))
    stop = next(i for i in range(start, len(lines)) if not lines[i].endswith("\\")) + 1
    pasted = "\n".join([lines[start].split("run", 1)[1], *lines[start + 1 : stop]])
    assert stop > start + 1 and max(map(len, lines[start:stop])) <= 80
    shell = subprocess.run(["sh", "-c", f"printf '%s\\n' {pasted}"], capture_output=True, text=True, check=True)
    assert shell.stdout.split() == (words.command(need, made) or "").split()


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_steers_the_terminal(text: str) -> None:
    result = rule(
        text or "-", Verdict.FAIL, control=text, name=text, reason=text, risk=text, mitigation=text, notes=(text,),
        violations=(Violation(text, text), Violation("b")),
        used=(replace(used(), subject=text, source=text, signers=(text,)),),
        needs=(Need(Kind.ATTEST, text, command=f"assay attest TARGET {text}"),),
    )  # fmt: skip
    made = decision(result, target=text, name=text, warnings=(text,), evidence=text)
    for verbose in (False, True):
        assert table.render(made, verbose=verbose).replace("\n", "").isprintable()


@given(st.text(max_size=60), st.integers(2, 30), st.sampled_from(["", "- ", "  label  "]))
def test_wrapping_keeps_the_text_and_the_width(text: str, width: int, first: str) -> None:
    text = words.clean(text)
    lines = layout.wrap(text, width, first, "")
    assert "".join("".join(lines)[len(first.rstrip()) if not text else len(first) :].split()) == "".join(text.split())
    if len(first) < width - 1:
        assert all(layout.columns(line) <= width for line in lines)


def test_wide_characters_take_two_columns() -> None:
    assert layout.columns("模型") == 4
    assert layout.columns("e\u0301") == 1
    assert layout.wrap("模型权重", 5) == ["模型", "权重"]
    assert layout.cut("模型权重", 5) == "模型…"
