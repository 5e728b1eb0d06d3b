"""``monitoring``: that the last look at how a model behaves is recent, looked at something, and raised no alarm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta

from assay.policy import durations
from assay.policy.checks.arguments import Arguments, Count, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, first, listed, moment, number, odd, show, string, told
from assay.policy.verdict import Violation

TYPES = ("https://assay.dev/monitoring/v0.1",)
_SKEW = timedelta(minutes=5)


class Monitoring(Arguments, frozen=True):
    """A monitoring run: of which kind, how recent, and which violations are tolerated."""

    kind: Annotated[
        Literal["data-quality", "drift", "model-quality", "bias", "explainability", "endpoint", "poisoning"],
        Meta(description="What was monitored."),
    ]
    max_age: Annotated[str, Meta(description="How long ago the period may have ended, as 1d.")] | None = None
    tolerate: Annotated[
        tuple[Literal["error", "warning", "note"], ...], Meta(description="Severities of violations that do not count.")
    ] = ()
    samples: Annotated[Count, Meta(description="How many rows, predictions or requests must have been seen.")] = 1
    checks: Annotated[
        Words, Meta(description="What must have been checked, and decided (globs): accuracy, drift:*.")
    ] = ()
    found: Annotated[
        Literal["good", "anything"],
        Meta(description="good: no alarm and no violation. anything: that somebody looks is enough."),
    ] = "good"


class _Check:
    name = "monitoring"
    types: tuple[str, ...] = TYPES
    schema = schema(Monitoring)

    def prepare(self, arguments: Any, place: str) -> tuple[Monitoring, timedelta | None]:
        """See `Check.prepare`."""
        read = convert(Monitoring, arguments, place)
        age = read.max_age
        return read, durations.parse(age, f"{place}.max-age") if age is not None else None

    def concerns(self, document: Document, arguments: tuple[Monitoring, timedelta | None]) -> bool:
        """See `Particular.concerns`: one of another kind is about something else."""
        return document.predicate.get("kind") == arguments[0].kind

    def violations(self, document: Document, arguments: tuple[Monitoring, timedelta | None]) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document, *arguments))


def _wrong(document: Document, wanted: Monitoring, age: timedelta | None) -> Iterator[Violation]:
    report = document.predicate
    if report.get("kind") != wanted.kind:
        yield Violation(f"it monitors {show(report.get('kind'))}, not {wanted.kind}", "kind")
    status = report.get("status")
    if status not in (("ok", "violations") if wanted.found == "good" else ("ok", "violations", "alarm")):
        yield Violation(f"the status is {show(status)}", "status")
    if status == "violations" and not listed(report.get("violations")):
        yield Violation("the status is 'violations' and none is listed", "violations")
    yield from _period(document, age)
    samples = number(report.get("samples"))
    if samples is None or samples < wanted.samples:
        yield Violation(f"{show(report.get('samples'))} samples were seen, needs {wanted.samples}", "samples")
    constraints = report.get("constraints")
    if odd(constraints) or not listed(constraints):
        yield Violation("nothing is listed that was checked", "constraints")
    undecided = {_about(item) for item in listed(report.get("undecided"))}
    decided = [item for item in listed(constraints) if _about(item) not in undecided]
    names = {name for item in decided if (name := string(dig(item, "check"))) is not None}
    for pattern in wanted.checks:
        if not any(first((pattern,), name) for name in names):
            yield Violation(f"{show(pattern)} was not checked", "constraints", {"check": pattern})
    if wanted.found == "anything":
        return
    if odd(report.get("violations")):
        yield Violation("violations is not a list of violations", "violations")
    for i, item in enumerate(listed(report.get("violations"))):
        if isinstance(item, Mapping) and item.get("severity") not in wanted.tolerate:
            yield _violation(item, f"violations[{i}]")


def _about(item: object) -> tuple[str | None, str | None]:
    """What was checked of what."""
    return string(dig(item, "check")), string(dig(item, "feature"))


def _period(document: Document, age: timedelta | None) -> Iterator[Violation]:
    end = moment(dig(document.predicate, "period", "end"))
    if end is None:
        yield Violation("the period has no end", "period.end")
    elif end > document.now + _SKEW:
        yield Violation(f"the period ends in the future ({show(end)})", "period.end")
    elif age is not None and document.now - end > age:
        ago = durations.text(document.now - end)
        yield Violation(f"the period ended {ago} ago, more than {durations.text(age)}", "period.end")


def _violation(item: Mapping[str, Any], place: str) -> Violation:
    check, feature = string(item.get("check")) or "a constraint", string(item.get("feature"))
    said = " ".join((string(item.get("message")) or "").split())[:300]
    text = f"{check[:100]} does not hold" + (f" for {show(feature)}" if feature else "") + (f": {said}" if said else "")
    details = {"check": check[:200], "feature": feature and feature[:200], "severity": str(item.get("severity"))[:50]}
    return Violation(text, place, {key: value for key, value in details.items() if value})


CHECK = _Check()
