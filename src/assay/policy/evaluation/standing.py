"""How far one piece of evidence comes for one selector.

The order of the steps is the lattice's: is it about the target, did those whom the rule expects sign it, is it fresh,
does it say what is demanded. The first step that fails decides, so nothing in an unproved document can make itself
heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from assay.errors import AssayError
from assay.policy import conditions, fields
from assay.policy.case import Item
from assay.policy.checks import CHECKS
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import show
from assay.policy.durations import text as duration
from assay.policy.evaluation import quorum
from assay.policy.model import Selector
from assay.policy.verdict import Kind, Verdict, Violation

SKEW = timedelta(minutes=5)
"""How far clocks may differ before a time in the future is a lie."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of one piece of evidence."""

    item: Item
    verdict: Verdict
    reason: str
    """One sentence without the name of the evidence; empty for one that satisfies."""
    kind: Kind | None = None
    """What sort of change would help."""
    violations: tuple[Violation, ...] = ()
    more: bool = False
    """There may be further violations: the first one decides, `explained` finds the others."""


def stand(item: Item, selector: Selector, pool: Sequence[Item], now: datetime) -> Standing:
    """Hold ``item`` against ``selector``; ``pool`` is all evidence of the kind, for those who sign together."""
    trusted = _signed(item, selector, pool, now)
    if item.discarded:
        return Standing(item, Verdict.MISSING, "was taken back", Kind.ATTEST)
    if not item.matched:
        if item.difference is not None and trusted is None:
            return Standing(item, Verdict.FAIL, f"describes other contents: {_differs(item)}", Kind.ATTEST)
        # A list of files by a stranger was not compared at all, so nothing is said of what it is about.
        why = "is about other contents" if item.proofs else "is signed by nobody who is expected, and was not compared"
        return Standing(item, Verdict.MISSING, why, Kind.ATTEST)
    if trusted is not None:
        return Standing(item, Verdict.UNTRUSTED, trusted, Kind.SIGN)
    stale = too_old(item, selector, now)
    if stale is not None:
        return Standing(item, Verdict.STALE, stale, Kind.REFRESH)
    wrong = next(_wrong(item, selector, now), None)
    if wrong is not None:
        return Standing(item, Verdict.FAIL, wrong.message, Kind.CORRECT, (wrong,), more=True)
    return Standing(item, Verdict.PASS, "")


def explained(standing: Standing, selector: Selector, now: datetime) -> Standing:
    """The same with everything that is wrong: asked for the one piece of evidence that a result is about."""
    if not standing.more:
        return standing
    # A condition and a check may say the same of one field.
    found = {(wrong.message, wrong.path): wrong for wrong in _wrong(standing.item, selector, now)}
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return replace(standing, reason=standing.reason + more, violations=tuple(found.values()), more=False)


def labelled(item: Item, selector: Selector) -> bool:
    """Whether it carries the labels that the selector asks for."""
    if not selector.labels:
        return True
    found = item.said.get("labels")
    found = found if isinstance(found, dict) else {}
    return all(
        isinstance(found.get(name), str) and fnmatchcase(found[name], glob) for name, glob in selector.labels.items()
    )


def concerned(item: Item, selector: Selector, now: datetime) -> bool:
    """Whether it is about what the selector's checks ask about: a scan of another kind is another thing."""
    for name, arguments in selector.checks.items():
        # See `Particular`: most checks are of a type of document that has one sort only.
        concerns = getattr(CHECKS[name], "concerns", None)
        if concerns is not None and not concerns(document(item, now), arguments):
            return False
    return True


def believed(item: Item, selector: Selector) -> bool:
    """Whether at least one of those whom the selector expects signed it: only such evidence can supersede other."""
    groups = selector.signed_by.groups
    return not groups or bool(quorum.counting(item, groups))


def made(item: Item, *, proved: bool) -> datetime | None:
    """When it was made: the earlier of what it says and what is proved; with ``proved`` only what is proved."""
    times = [proof.proof.time for proof in item.proofs if proof.proof.time is not None]
    if proved:
        return min(times, default=None)
    said = fields.when_made(item.statement)
    return min([*times, said] if said is not None else times, default=None)


def too_old(item: Item, selector: Selector, now: datetime) -> str | None:
    """Why it is stale, or None."""
    if selector.max_age is None:
        return None
    time = made(item, proved=selector.proved_time)
    if time is None:
        how = "no proved time" if selector.proved_time else "no time"
        return f"has {how}, so that its age is unknown"
    if time > now + SKEW:
        return f"says that it was made in the future ({time:%Y-%m-%dT%H:%M:%SZ})"
    if now - time > selector.max_age:
        return f"is {duration(now - time)} old, more than {duration(selector.max_age)}"
    return None


def document(item: Item, now: datetime) -> Document:
    """What checks and conditions get to see of a piece of evidence."""
    statement = item.statement
    return Document(
        statement.predicate_type,
        statement.predicate,
        statement.subjects[0].annotations,
        tuple((subject.name, subject.digest) for subject in statement.subjects),
        now,
    )


def _signed(item: Item, selector: Selector, pool: Sequence[Item], now: datetime) -> str | None:
    """Why those whom the selector expects did not sign it, or None when they did."""
    groups = selector.signed_by.groups
    if groups:
        proofs = quorum.counting(item, groups)
        wanted = selector.signed_by.threshold
        if not proofs:
            others = quorum.signers(item)
            if others:
                return f"is signed by {', '.join(others)}, not by {' or '.join(groups)}"
            return f"is not signed by {' or '.join(groups)}" + (f": {item.problem}" if item.problem else "")
        if wanted > 1:
            proofs = proofs + [
                proof
                for other in pool
                if other is not item and other.matched and not other.discarded
                if quorum.same_content(item, other)
                # What they say of its origin (context, labels) may differ: each must satisfy the rule by itself.
                if too_old(other, selector, now) is None and next(_wrong(other, selector, now), None) is None
                for proof in quorum.counting(other, groups)
            ]
            if (count := quorum.distinct(proofs)) < wanted:
                return f"is signed by {count} of the {wanted} different signers that the rule wants"
    return _built(item, selector)


def _built(item: Item, selector: Selector) -> str | None:
    """Why no builder that the selector names made it, or None. A builder is believed with its own signers only."""
    if not selector.builders:
        return None
    builder = fields.named(item.statement, "builder")
    if not isinstance(builder, str):
        return "names no builder"
    problem = f"was built by {show(builder)}"
    for wanted in selector.builders:
        if fnmatchcase(builder, wanted.id):
            groups = wanted.groups or selector.signed_by.groups
            if quorum.counting(item, groups):
                return None
            problem = f"names the builder {show(builder)} and is not signed by {' or '.join(groups) or 'anybody known'}"
    return problem


def _wrong(item: Item, selector: Selector, now: datetime) -> Iterator[Violation]:
    if not selector.where and not selector.checks:
        return
    seen = document(item, now)
    for condition in selector.where:
        if (wrong := conditions.violation(condition, seen)) is not None:
            yield wrong
    for name, arguments in selector.checks.items():
        try:
            yield from CHECKS[name].violations(seen, arguments)
        except (AssayError, RecursionError) as error:
            # A check never raises; should one do so for a document that nobody thought of, it has not passed.
            yield Violation(f"{name}: {getattr(error, 'message', 'nested too deeply')}")


def _differs(item: Item) -> str:
    difference = item.difference
    if difference is None:
        return "unknown"
    parts = (("modified", difference.modified), ("missing", difference.missing), ("not signed", difference.extra))
    return "; ".join(
        f"{kind}: {', '.join(repr(name) for name in names[:3])}" + (f" and {len(names) - 3} more" * (len(names) > 3))
        for kind, names in parts
        if names
    )
