"""``vulnerabilities``: how many known vulnerabilities of which severity a scan may report.

Reads in-toto's vulnerability predicate and CycloneDX's ``vulnerabilities``. The worst of several ratings counts;
without a rating that is understood a vulnerability counts as critical, unless the rule says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta

from assay.policy import durations
from assay.policy.checks.arguments import Arguments, Ignored, Maximum, convert, limits, schema
from assay.policy.checks.bom import CYCLONEDX, CYCLONEDX_TYPES
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, glob, listed, moment, objects, odd, show, string, told
from assay.policy.verdict import Violation

VULNS = "https://in-toto.io/attestation/vulns/v0.2"
SEVERITIES = ("critical", "high", "medium", "low")
_WORDS = {
    "critical": "critical",
    "high": "high",
    "important": "high",
    "medium": "medium",
    "moderate": "medium",
    "low": "low",
    "negligible": "low",
    "info": "none",
    "informational": "none",
    "none": "none",
}
_HARMLESS = ("false_positive", "not_affected", "resolved", "resolved_with_pedigree")


class Vulnerabilities(Arguments, frozen=True):
    """Known vulnerabilities. Without arguments: none at all."""

    max: Annotated[Maximum, Meta(description="Most vulnerabilities of each severity; without it none of any.")] = (
        Maximum(critical=0, high=0, medium=0, low=0)
    )
    unknown: Annotated[
        Literal["critical", "high", "medium", "low"],
        Meta(description="What a vulnerability without an understood severity counts as."),
    ] = "critical"
    ignore: Annotated[
        tuple[Ignored, ...], Meta(description="Vulnerabilities that were accepted, each until a day.")
    ] = ()
    analysis: Annotated[
        Literal["count", "accepted"],
        Meta(description="accepted: those that the document itself calls not affected or resolved do not count."),
    ] = "count"
    database_age: Annotated[str, Meta(description="How old the scanner's knowledge may be, as 2d.")] | None = None


_SCALE = re.compile(r"cvss|nvd|ghsa|osv")
_SCORE = re.compile(r"[0-9]{1,2}(\.[0-9]{1,6})?")


class _Check:
    name = "vulnerabilities"
    types: tuple[str, ...] = (VULNS, *CYCLONEDX_TYPES)
    schema = schema(Vulnerabilities)

    def prepare(self, arguments: Any, place: str) -> tuple[Vulnerabilities, timedelta | None]:
        """See `Check.prepare`."""
        read = convert(Vulnerabilities, arguments, place)
        age = read.database_age
        return read, durations.parse(age, f"{place}.database-age") if age is not None else None

    def violations(
        self, document: Document, arguments: tuple[Vulnerabilities, timedelta | None]
    ) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document, *arguments))


def _wrong(document: Document, wanted: Vulnerabilities, age: timedelta | None) -> Iterator[Violation]:
    predicate, cyclonedx = document.predicate, document.predicate_type.startswith(CYCLONEDX)
    path = "vulnerabilities" if cyclonedx else "scanner.result"
    results = dig(predicate, *path.split("."))
    if results is None or odd(results):
        yield Violation("there is no list of vulnerabilities: nobody looked for any", path)
    if age is not None:
        updated = moment(dig(predicate, "scanner", "db", "lastUpdate"))
        if updated is None:
            yield Violation("the age of the scanner's database is unknown", "scanner.db.lastUpdate")
        elif document.now - updated > age:
            old = f"{durations.text(document.now - updated)} old, more than {durations.text(age)}"
            yield Violation(f"the scanner's database is {old}", "scanner.db.lastUpdate")
    most = limits(wanted.max)
    found: dict[str, list[tuple[int, Mapping[str, Any], str]]] = {severity: [] for severity in SEVERITIES}
    for i, result in enumerate(listed(results)):
        if not isinstance(result, dict):
            continue
        severity = (_cyclonedx(result) if cyclonedx else _in_toto(result)) or wanted.unknown
        if severity not in most or (wanted.analysis == "accepted" and dig(result, "analysis", "state") in _HARMLESS):
            continue
        expired = ""
        if wanted.ignore:
            id = (string(result.get("id")) or "").lower()
            until = [entry.until for entry in wanted.ignore if glob(entry.id.lower(), id)]
            if until and document.now.date() <= max(until):
                continue
            expired = f" (accepted until {max(until)}, which is over)" if until else ""
        found[severity].append((i, result, expired))
    for severity, items in found.items():
        yield from over(severity, len(items), most, (_told(path, severity, *item) for item in items))


def _told(path: str, severity: str, i: int, result: Mapping[str, Any], expired: str) -> Violation:
    id = string(result.get("id")) or "without an id"
    what = _about(result)
    text = f"{severity} vulnerability {show(id)}{f' in {what}' if what else ''}{expired}"
    return Violation(text, f"{path}[{i}]", {"id": id[:200], "severity": severity})


def over(severity: str, count: int, most: Mapping[str, int], items: Iterable[Violation]) -> Iterator[Violation]:
    """The findings of one severity, where there are more than are tolerated."""
    limit = most.get(severity)
    if limit is not None and count > limit:
        if limit:
            text = f"{count} findings are {severity}, at most {limit} may be"
            yield Violation(text, "", {"severity": severity, "count": count})
        yield from items


def _in_toto(result: Mapping[str, Any]) -> str | None:
    rated = (_rating(item.get("method"), item.get("score")) for item in objects(result.get("severity")))
    return _worst(rated)


def _cyclonedx(result: Mapping[str, Any]) -> str | None:
    found: list[str | None] = []
    for rating in objects(result.get("ratings")):
        found.append(_WORDS.get(str(rating.get("severity")).lower()))
        found.append(_rating(rating.get("method"), rating.get("score")))
        found.append(_rating(rating.get("method"), rating.get("vector")))
    return _worst(found)


def _worst(found: Any) -> str | None:
    known = [severity for severity in found if severity is not None]
    return min(known, key=(*SEVERITIES, "none").index, default=None)


def _rating(method: object, score: object) -> str | None:
    """A severity from a word or a score of 0 to 10. Other scales (EPSS is a probability) say nothing of severity."""
    text = str(score).strip().lower() if isinstance(score, str | int | float) and not isinstance(score, bool) else ""
    if text in _WORDS:
        return _WORDS[text]
    scale = str(method).lower() if isinstance(method, str) else ""
    if not _SCALE.match(scale):
        return None
    if not _SCORE.fullmatch(text) or float(text) > 10:
        return None
    value = float(text)
    # CVSS v3.1, section 5: qualitative severity rating scale.
    steps = (("critical", 9.0), ("high", 7.0), ("medium", 4.0), ("low", 0.1))
    return next((severity for severity, least in steps if value >= least), "none")


def _about(result: Mapping[str, Any]) -> str:
    """The package concerned, where the scanner says so."""
    notes = result.get("annotations")
    for note in (notes, *listed(notes)):
        for key in ("package", "purl", "component"):
            if found := string(dig(note, key)):
                return show(found)
    return next((show(found) for item in objects(result.get("affects")) if (found := string(item.get("ref")))), "")


CHECK = _Check()
