"""A decision as Markdown, for a comment on a pull request.

What strangers wrote into documents ends up on a page with other people's rights: it must never become a link, an
image, HTML, a mention or a reference. Whatever word could become one is written as code, where nothing is interpreted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.policy.documents import words
from assay.policy.documents.values import timestamp
from assay.policy.verdict import Decision, RuleResult, Verdict

LONGEST = 60_000
"""Characters of the whole; GitHub takes comments of 65,536."""

SHOWN = 5
"""Violations, needs and pieces of evidence of one rule that are listed."""

_TEXT = 500
"""Characters of one text."""

_SYMBOLS = {
    Verdict.PASS: "✅",
    Verdict.WARN: "⚠️",
    Verdict.FAIL: "❌",
    Verdict.STALE: "❌",
    Verdict.UNTRUSTED: "❌",
    Verdict.MISSING: "❓",
    Verdict.ERROR: "❓",
    Verdict.NOT_APPLICABLE: "➖",
}
_ANSWERS = {"accepted": "✅ Accepted", "rejected": "❌ Rejected", "undecided": "❓ Undecided"}

_HARMLESS = re.compile(r"(?:[^\W_]|[.,;:()'\"/=+…-])+")
_LIVE = re.compile(r"://|www\.|mailto:|[0-9a-f]{7}|gh-\d|:[^\W_]+:", re.IGNORECASE)
"""Words of harmless characters that some host of pull requests makes a link, a reference or a picture of."""


def render(decision: Decision) -> str:
    """The comment, of at most `LONGEST` characters and some; it ends with a newline."""
    heading = f"### {_ANSWERS[words.answer(decision)]}: {code(decision.target)} by {prose(words.policy(decision))}"
    left = LONGEST - len(heading)
    made = [heading, "", f"{prose(words.summary(decision))}.", ""]
    passing = [result for result in decision.results if result.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE)]
    others = [result for result in decision.results if result.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)]
    told = 0
    for result in others:
        block = "\n".join([*_failing(result, decision), ""])
        left -= len(block) + 1
        if left < 0:
            break
        made.append(block)
        told += 1
    if told < len(others):
        made += [f"… and {len(others) - told:,} more rules that do not pass.", ""]
    made += [*_passing(passing, left), *_footer(decision)]
    return "\n".join(made) + "\n"


def prose(text: str, limit: int = _TEXT) -> str:
    """Text of a stranger as it may stand inside a line: harmless words as they are, runs of others as code."""
    made: list[str] = []
    risky: list[str] = []
    for word in words.clean(text, limit).split(" "):
        if _HARMLESS.fullmatch(word) and not _LIVE.search(word):
            made += [code(" ".join(risky)), word] if risky else [word]
            risky = []
        elif word:
            risky.append(word)
    return " ".join([*made, code(" ".join(risky))] if risky else made)


def code(text: str, limit: int = _TEXT) -> str:
    """Text of a stranger as a code span."""
    text = words.clean(text, limit)
    if not text:
        return "(nothing)"
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _failing(result: RuleResult, decision: Decision) -> Iterator[str]:
    name = f": {prose(result.name)}" if result.name and result.name != result.rule else ""
    yield f"#### {_SYMBOLS[result.verdict]} {code(result.rule, 200)}{name}"
    yield ""
    yield f"- **{result.verdict}**{words.level(result).replace('[', '(').replace(']', ')')}: {prose(result.reason)}"
    for violation in result.violations[:SHOWN]:
        place = f" at {code(violation.path, 200)}" if violation.path else ""
        yield f"  - {prose(violation.message)}{place}"
    if len(result.violations) > SHOWN:
        yield f"  - … and {len(result.violations) - SHOWN:,} more"
    for used in result.used[:SHOWN]:
        yield f"- Evidence: {prose(words.evidence(used))}"
    for need in result.needs[:SHOWN]:
        yield f"- Needed: {prose(need.what)}"
        command = words.command(need, decision)
        if command is not None:
            yield f"- Run: {code(command)}"
    if result.risk:
        yield f"- Risk: {prose(result.risk)}"
    if result.mitigation:
        yield f"- Mitigation: {prose(result.mitigation)}"
    for note in result.notes[:SHOWN]:
        yield f"- Note: {prose(note)}"


def _passing(results: list[RuleResult], left: int) -> Iterator[str]:
    if not results:
        return
    passed = sum(result.verdict is Verdict.PASS for result in results)
    rest = f", {len(results) - passed} not for this target" if passed < len(results) else ""
    yield f"<details><summary>{passed} of the rules pass{rest}</summary>"
    yield ""
    for i, result in enumerate(results):
        line = f"- {_SYMBOLS[result.verdict]} {code(result.rule, 200)} {prose(result.name)}".rstrip()
        line = "\n".join([line, *(f"  - Note: {prose(note)}" for note in result.notes[:SHOWN])])
        left -= len(line) + 1
        if left < 0:
            yield f"- … and {len(results) - i:,} more"
            break
        yield line
    yield ""
    yield "</details>"
    yield ""


def _footer(decision: Decision) -> Iterator[str]:
    for warning in decision.warnings[:SHOWN]:
        yield f"> Warning: {prose(warning)}"
        yield ""
    policy = decision.policy
    signer = f"signed by {prose(policy.signer)}" if policy.signer else "not signed"
    yield (
        f"Policy {code(policy.uri, 200)}, sha256 {code(policy.sha256[:12])}, {signer}; "
        f"contents {code(decision.sha256[:12])}; decided {timestamp(decision.time)}."
    )
