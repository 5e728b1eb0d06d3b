"""A decision for people at a terminal: the answer first, then every rule, and for each that does not pass what was
wrong, what may come of it and what mends it. Control characters of other people's documents never get through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assay.policy.documents import words
from assay.policy.documents.layout import columns, cut, wrap, wrap_command
from assay.policy.verdict import Decision, Kind, RuleResult, Verdict

SHOWN = 5
"""Violations of one rule that are printed; all of them with ``verbose``."""

_SYMBOLS = {
    Verdict.PASS: "✓",
    Verdict.WARN: "!",
    Verdict.FAIL: "✗",
    Verdict.STALE: "✗",
    Verdict.UNTRUSTED: "✗",
    Verdict.MISSING: "?",
    Verdict.ERROR: "?",
    Verdict.NOT_APPLICABLE: "-",
}
_COLOURS = {"✓": "32", "!": "33", "✗": "31", "?": "33", "-": "2"}
_ANSWERS = {"accepted": "32", "rejected": "31", "undecided": "33"}
_WORD = len(Verdict.UNTRUSTED)
_LABEL = 10
"""Columns of the longest label, ``mitigation``."""


def render(decision: Decision, *, verbose: bool = False, width: int = 80, colour: bool = False) -> str:
    """The table, without a final newline. ``colour`` adds ANSI colours; nothing else in it steers a terminal.

    Lines take at most ``width`` columns (40 at least), but for a word of a command line that is longer.
    """
    width = max(40, width)
    lines = list(_headline(decision, width, colour))
    skipped: list[RuleResult] = []
    for control, results in words.groups(decision):
        shown = [result for result in results if verbose or result.verdict is not Verdict.NOT_APPLICABLE]
        skipped += [result for result in results if not verbose and result.verdict is Verdict.NOT_APPLICABLE]
        if shown:
            lines += ["", *(_paint(line, "1", colour) for line in wrap(words.clean(control) or "rules", width))]
        for result in shown:
            lines += _rule(result, decision, width, verbose, colour)
    lines += [""]
    if skipped:
        names = ", ".join(words.clean(result.rule, 200) for result in skipped)
        lines += wrap(f"not for this target: {names}", width, "", "  ")
    lines += _footer(decision, width, verbose)
    return "\n".join(lines)


def _headline(decision: Decision, width: int, colour: bool) -> Iterator[str]:
    answer = words.answer(decision)
    target = words.clean(decision.target)
    text = f"{target} by {words.policy(decision)}: {words.summary(decision)}"
    first, *more = wrap(text, width, f"{answer}  ", "  ")
    yield _paint(answer, _ANSWERS[answer], colour) + first[len(answer) :]
    yield from more


def _rule(result: RuleResult, decision: Decision, width: int, verbose: bool, colour: bool) -> Iterator[str]:
    symbol = _SYMBOLS[result.verdict]
    word = "n/a" if result.verdict is Verdict.NOT_APPLICABLE else result.verdict
    start = f"  {symbol} {word:{_WORD}}  "
    name, rule = words.clean(result.name, 500), words.clean(result.rule, 200) + words.level(result)
    passes = result.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE)
    if passes and not verbose:
        first, *more = [start + cut(f"{rule}  {name}".rstrip(), width - columns(start))]
    elif columns(start + rule) > width // 2:
        first, *more = wrap(f"{rule} {name}", width, start, " " * columns(start))
    else:
        first, *more = wrap(name, width, f"{start}{rule}  ", " " * columns(start))
    yield _paint(first[: len(start)], _COLOURS[symbol], colour) + first[len(start) :]
    yield from more
    if not passes or verbose:
        yield from _details(result, decision, width, verbose)
    for note in result.notes:
        yield from _labelled("note", words.clean(note), width)


def _details(result: RuleResult, decision: Decision, width: int, verbose: bool) -> Iterator[str]:
    passes = result.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE)
    yield from _labelled("why", words.clean(result.reason), width)
    yield from _violations(result, width, verbose)
    for used in result.used:
        yield from _labelled("evidence", words.evidence(used, full=verbose), width)
    if passes:
        return
    for need in result.needs:
        if need.kind is not Kind.CORRECT or not result.violations:
            yield from _labelled("needed", words.clean(need.what), width)
        command = words.command(need, decision)
        if command is not None:
            yield from wrap_command(command, width, f"    {'run':{_LABEL}}  ", " " * 6)
    yield from _labelled("risk", words.clean(result.risk), width)
    yield from _labelled("mitigation", words.clean(result.mitigation), width)


def _violations(result: RuleResult, width: int, verbose: bool) -> Iterator[str]:
    found = result.violations
    told = {words.clean(result.reason)}
    if len(found) == 1 and not verbose and words.violation(found[0]) in told:
        return
    shown = found if verbose else found[:SHOWN]
    label = "violations" if len(found) > 1 else "violation"
    for violation in shown:
        yield from _labelled(label, words.violation(violation), width)
        label = ""
    if len(found) > len(shown):
        yield from _labelled("", f"… and {len(found) - len(shown):,} more", width)


def _labelled(label: str, text: str, width: int) -> Sequence[str]:
    start = f"    {label:{_LABEL}}  "
    return wrap(text, width, start, " " * len(start)) if text else ()


def _footer(decision: Decision, width: int, verbose: bool) -> Iterator[str]:
    for warning in decision.warnings:
        yield from wrap(f"warning: {words.clean(warning)}", width, "", "  ")
    policy = decision.policy
    signer = f"signed by {words.clean(policy.signer, 200)}" if policy.signer else "not signed"
    digest = words.clean(policy.sha256 if verbose else policy.sha256[:12])
    yield from wrap(f"policy {words.clean(policy.uri)}, sha256 {digest}, {signer}", width, "", "  ")
    if decision.evidence and (verbose or not decision.accepted):
        yield from wrap(f"evidence looked for in {words.clean(decision.evidence)}", width, "", "  ")


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
