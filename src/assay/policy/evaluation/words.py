"""What is told about a result: one sentence, and what would help."""

from __future__ import annotations

from collections.abc import Sequence

from assay.evidence.predicates import SHORT
from assay.policy.evaluation import quorum
from assay.policy.evaluation.choose import Chosen
from assay.policy.evaluation.standing import Standing
from assay.policy.model import Selector
from assay.policy.verdict import Kind, Need, Used, Verdict

_NAMES = {uri: name for name, uri in SHORT.items()} | {
    "https://model_signing/signature/v1.0": "model-signature",
    "https://model_signing/Digests/v0.1": "model-signature",
    "https://cyclonedx.org/bom*": "cyclonedx",
    "https://slsa.dev/provenance/v1*": "slsaprovenance",
}

_COMMANDS = {
    "cyclonedx": "assay bom TARGET -o attest",
    "model-signature": "assay sign TARGET",
    # What a run proves is never written by hand: a record that somebody typed proves nothing.
    **dict.fromkeys(("link", "slsaprovenance", "runtime-trace"), "assay run --outputs DIR -- COMMAND"),
    "monitoring": "assay monitor check --baseline FILE --data DATA --target TARGET",
}


def short(kind: str) -> str:
    """A predicate type's short name, or the URI."""
    return _NAMES.get(kind, kind)


def used(standing: Standing) -> Used:
    """A piece of evidence as the verdict names it."""
    item = standing.item
    subject = item.statement.subjects[0]
    return Used(
        item.digest,
        item.statement.predicate_type,
        subject.name,
        quorum.signers(item),
        item.source,
        subject.digest.get("sha256"),
    )


def sentence(chosen: Chosen) -> str:
    """Why what a selector found does not suffice."""
    if chosen.error is not None:
        return chosen.error
    best = chosen.best
    if best is None:
        return f"there is no {kinds(chosen.selector)} statement" + (
            " about what it leads to" if chosen.selector.linked else " about it"
        )
    return f"{short(best.item.statement.predicate_type)} in {best.item.source} {_reason(best)}"


def _reason(standing: Standing) -> str:
    if standing.verdict is Verdict.FAIL and standing.violations:
        return f"does not hold: {standing.reason}"
    return standing.reason


def kinds(selector: Selector) -> str:
    """The kinds of evidence that a selector accepts: ``cyclonedx or spdx``."""
    return " or ".join(dict.fromkeys(short(kind) for kind in selector.types))


def need(chosen: Chosen) -> Need:
    """The smallest change that helps what a selector found."""
    selector, best = chosen.selector, chosen.best
    who = selector.signed_by
    count = f"{who.threshold} of " if who.threshold > 1 else ""
    named = kinds(selector)
    article = "an" if named[:1] in "aeiou" else "a"
    signed = f", signed by {count}{' or '.join(who.groups)}" if who.groups else ""
    about = "what it is linked to" if selector.linked else "the target"
    kind = best.kind if best is not None and best.kind is not None else Kind.ATTEST
    if chosen.error is not None:
        return Need(
            Kind.REPAIR, "an evidence store that is whole, with its expected head", alias=selector.alias, command=None
        )
    if best is not None and best.item.difference is not None:
        # Never a command that signs again: it would bless whatever somebody put there.
        return Need(
            Kind.CORRECT,
            f"the files as they were signed ({best.reason.partition(': ')[2]}), or a new statement once it is known "
            "who changed them and why",
            selector.types,
            who.groups,
            alias=selector.alias,
        )
    verb = {
        Kind.ATTEST: f"{article} {named} statement about {about}{signed}",
        Kind.SIGN: f"the {named} statement about {about}{signed}",
        Kind.REFRESH: f"a fresh {named} statement about {about}{signed}",
        Kind.CORRECT: f"{article} {named} statement that holds: {best.reason if best else ''}",
    }.get(kind, chosen.error or "")
    # What is linked is another target, whose name is not known here.
    run = None if selector.linked else _scan(selector) or _endpoint(selector) or command(selector.types)
    return Need(kind, verb, selector.types, who.groups, run, selector.alias)


def _scan(selector: Selector) -> str | None:
    """The command of the kinds of scan that have one."""
    asked = selector.checks.get("scan")
    flags = {"models": "", "poisoning": "--poisoning "}.get(getattr(asked, "kind", None) or "")
    return None if flags is None else f"assay scan {flags}TARGET -o attest"


def _endpoint(selector: Selector) -> str | None:
    """The command of what is watched at the API, and not in data."""
    asked, *_ = selector.checks.get("monitoring") or (None,)
    return "assay gateway attest --gateway FILE" if getattr(asked, "kind", None) == "endpoint" else None


def command(types: Sequence[str]) -> str | None:
    """A command line that makes evidence of one of these types."""
    for kind in types:
        name = short(kind)
        if name in _COMMANDS:
            return _COMMANDS[name]
    for kind in types:
        if "*" not in kind:
            return f"assay attest TARGET --type {short(kind)} --predicate REPORT.json"
    return None
