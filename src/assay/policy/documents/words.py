"""What every document says in the same words: the answer, its summary, and text that is fit to be shown.

Names, reasons and violations come out of documents that strangers wrote: nothing leaves here that could steer a
terminal, hide text or break a line.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator

from assay.policy.evaluation.words import short
from assay.policy.verdict import Decision, Level, Need, RuleResult, Used, Verdict, Violation

LONGEST = 2000
"""Characters of one text that are shown."""


_COUNTED = {
    Verdict.FAIL: ("fails", "fail"),
    Verdict.STALE: ("has stale evidence", "have stale evidence"),
    Verdict.UNTRUSTED: ("has untrusted evidence", "have untrusted evidence"),
    Verdict.MISSING: ("has no evidence", "have no evidence"),
    Verdict.ERROR: ("could not be evaluated", "could not be evaluated"),
    Verdict.WARN: ("warns", "warn"),
}


def answer(decision: Decision) -> str:
    """The decision in one word: ``accepted``, ``rejected`` or ``undecided``."""
    return {0: "accepted", 1: "rejected"}.get(decision.exit_code, "undecided")


def summary(decision: Decision) -> str:
    """The decision in numbers: ``2 of 14 rules fail, 1 has no evidence``."""
    counts = Counter(result.effective for result in decision.results)
    total = len(decision.results) - counts[Verdict.NOT_APPLICABLE]
    if not total:
        return "no rule that counts is for it"
    told = [(verdict, counts[verdict]) for verdict in _COUNTED if counts[verdict]]
    if not told:
        return "its one rule passes" if total == 1 else f"all {total} rules pass"
    first = f"{told[0][1]} of {total} {'rule' if total == 1 else 'rules'}"
    parts = [f"{number} {_COUNTED[verdict][number != 1]}" for verdict, number in told]
    return ", ".join([f"{first} {_COUNTED[told[0][0]][told[0][1] != 1]}", *parts[1:]])


def policy(decision: Decision) -> str:
    """The policy's id and version."""
    return clean(f"{decision.policy.id} {decision.policy.version}", 200)


def clean(text: str, limit: int = LONGEST) -> str:
    """One line of printable text. White space becomes one blank, whatever else can't be printed is spelled out."""
    text = " ".join(text[: limit * 2].split()) if len(text) > limit * 2 else " ".join(text.split())
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _spelled(char) for char in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _spelled(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def kind(uri: str) -> str:
    """A predicate type's short name, or its URI."""
    return clean(short(uri), 200)


def evidence(used: Used, *, full: bool = False) -> str:
    """A piece of evidence in words, with enough of its digest to find it in the store."""
    signers = ", ".join(clean(signer, 200) for signer in used.signers)
    signed = f"signed by {signers}" if signers else "not signed by anybody expected"
    place = f" in {clean(used.source, 200)}" if used.source else ""
    digest = used.digest if full else used.digest[:12]
    return f"{kind(used.predicate_type)} about {clean(used.subject, 200)!r}{place}, {signed} ({clean(digest)})"


def violation(item: Violation) -> str:
    """A violation in words, with its place."""
    place = f" (at {clean(item.path, 200)})" if item.path else ""
    return clean(item.message) + place


def command(need: Need, decision: Decision) -> str | None:
    """The need's command line for this very target, safe to paste: the target is one word for the shell."""
    if need.command is None:
        return None
    target = shlex.quote(clean(decision.target))
    return " ".join(target if word == "TARGET" else word for word in clean(need.command).split(" "))


def level(result: RuleResult) -> str:
    """How much the rule weighs, where that is less than all: ``[warning]``."""
    return "" if result.level is Level.ERROR else f" [{result.level}]"


def groups(decision: Decision) -> Iterator[tuple[str, list[RuleResult]]]:
    """The results by control, in the policy's order."""
    made: dict[str, list[RuleResult]] = {}
    for result in decision.results:
        made.setdefault(result.control, []).append(result)
    yield from made.items()
