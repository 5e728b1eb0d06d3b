"""``licences``: what the target, or what it consists of, is licensed under, by allow and deny lists of SPDX ids.

Of ``A OR B`` one licence must be acceptable, of ``A AND B`` both. Where several licences are stated beside each other,
nobody said that one may choose: all must be acceptable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from assay.errors import DocumentError
from assay.policy.checks import bom
from assay.policy.checks.arguments import Arguments, Unknown, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import first, show, told
from assay.policy.verdict import Violation

_SUPERSEDED = re.compile(r"((?:agpl|lgpl|gpl|gfdl)-[0-9]\.[0-9])(\+?)")
"""Ids of SPDX before 3.0."""
_TOKEN = re.compile(r"[()]|[^\s()]+")
WITH = "\0with\0"
"""Joins a licence and its exception, once they are known to be SPDX ids: ``MIT with restrictions`` is not MIT."""
_SAYS_NOTHING = ("noassertion", "none", "unknown", "other", "unlicensed")
"""Stated words that name no licence."""
_NOT_KNOWN = "is none that SPDX knows, so that nothing can be said of it"


class Licences(Arguments, frozen=True):
    """Licences that are acceptable. Without a list: that a known licence is stated at all."""

    allow: Annotated[Words, Meta(description="SPDX ids, or names such as llama2, that are acceptable; globs.")] = ()
    deny: Annotated[Words, Meta(description="SPDX ids or other names that are not acceptable; globs: GPL-*.")] = ()
    of: Annotated[
        Literal["target", "components", "all"], Meta(description="Whose licence: the target's, its components', both.")
    ] = "target"
    unknown: Annotated[
        Unknown, Meta(description="Whether something may state no licence, or one that no list knows.")
    ] = "fail"


@dataclass(frozen=True, slots=True)
class _Prepared:
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    of: str
    unknown: bool


class _Check:
    name = "licences"
    types: tuple[str, ...] = bom.TYPES
    schema = schema(Licences)

    def prepare(self, arguments: Any, place: str) -> _Prepared:
        """See `Check.prepare`."""
        read = convert(Licences, arguments, place)
        for entry in (*read.allow, *read.deny):
            if re.search(r"[()]|\s(and|or)\s", entry, re.IGNORECASE):
                raise DocumentError(f"{place}: {show(entry)} is an expression", hint="list its licences one by one")
        allow, deny = (_entries(read.allow), _entries(read.deny))
        if both := set(allow) & set(deny):
            raise DocumentError(f"{place}: {show(min(both))} is both allowed and denied")
        return _Prepared(allow, deny, read.of, read.unknown == "allow")

    def violations(self, document: Document, arguments: _Prepared) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(bom.read(document), arguments))


def _entries(entries: Words) -> tuple[str, ...]:
    """Entries in canonical form; one with an exception also as it is found in an expression."""
    plain = [_canonical(entry) for entry in entries]
    return (*plain, *(entry.replace(" with ", WITH) for entry in plain if " with " in entry))


def _wrong(bill: bom.Bill, wanted: _Prepared) -> Iterator[Violation]:
    yield from bill.problems
    looked_at: list[bom.Part] = []
    if wanted.of != "components" and bill.target is not None:
        looked_at.append(bill.target)
    if wanted.of != "target":
        found = [part for part in bill.parts if part.licences or not part.inside]
        if not found and wanted.of == "components" and not wanted.unknown:
            yield Violation("no component is listed whose licence could be looked at", "components")
        looked_at += found
    judged: dict[str, str | None] = {}
    for part in looked_at:
        stated = part.licences
        if (None in stated) if stated else not wanted.unknown:
            yield _violation(part, "states no licence" if not stated else "states a licence that can't be read")
        for licence in stated:
            if licence is not None:
                if licence not in judged:
                    judged[licence] = _judge(licence, wanted)
                if (reason := judged[licence]) is not None:
                    yield _violation(part, reason, licence)


def _violation(part: bom.Part, reason: str, licence: str | None = None) -> Violation:
    details = {"component": part.name[:500], "purl": part.purl, "licence": licence and licence[:500]}
    given = {key: value for key, value in details.items() if value}
    text = f"licence {show(licence)} of {part.title} {reason}" if licence else f"{part.title} {reason}"
    return Violation(text, f"{part.path}.licenses" if part.path.startswith(("comp", "meta")) else part.path, given)


def _judge(stated: str, wanted: _Prepared) -> str | None:
    """Why a licence, as stated, is not acceptable."""
    words = _canonical(stated)
    if " " not in words and "(" not in words and (wanted.allow or first(wanted.deny, words)):
        return _leaf(words, wanted)  # nothing to parse: most licences are one id
    if first(wanted.deny, words) is None and words in wanted.allow:
        return None
    from assay.collect.bom.licences import parse_licence

    licence = parse_licence(stated, "")
    if licence.spdx:
        return _expression(licence.expression, wanted)
    # What is no SPDX expression may mean anything: only a list that names it can answer.
    return _leaf(words, wanted) or (None if wanted.allow or wanted.unknown else _NOT_KNOWN)


def _leaf(licence: str, wanted: _Prepared) -> str | None:
    """Why a single licence, in canonical form and perhaps with an exception, is not acceptable."""
    base = licence.partition(WITH)[0]
    if first(wanted.deny, licence):
        return "is on the deny list"
    if licence in _SAYS_NOTHING and licence not in wanted.allow:
        return None if wanted.unknown else "names no licence"
    if wanted.allow and first(wanted.allow, licence):
        return None
    # An exception grants more than its licence: it is as good as the licence, and as bad.
    if first(wanted.deny, base):
        return "is on the deny list"
    if wanted.allow:
        return None if first(wanted.allow, base) else "is not on the allow list"
    return _NOT_KNOWN if base.startswith(("licenseref-", "documentref-")) and not wanted.unknown else None


def _expression(text: str, wanted: _Prepared) -> str | None:
    """Why an SPDX expression is not acceptable. ``AND`` binds closer than ``OR`` (SPDX 2.3, annex D)."""
    reasons: list[str] = []
    values: list[bool] = []
    operators: list[str] = []
    tokens = _TOKEN.findall(text)

    def reduce(until: str) -> None:
        while operators and operators[-1] != "(" and (until != "AND" or operators[-1] == "AND"):
            right, left = values.pop(), values.pop()
            values.append((left and right) if operators.pop() == "AND" else (left or right))

    at = 0
    try:
        while at < len(tokens):
            word = tokens[at]
            at += 1
            if word == "(":
                operators.append(word)
            elif word == ")":
                reduce(word)
                operators.pop()
            elif word in ("AND", "OR"):
                reduce(word)
                operators.append(word)
            else:
                if tokens[at : at + 1] == ["WITH"]:
                    word = f"{word}{WITH}{tokens[at + 1]}"
                    at += 2
                reason = _leaf(_canonical(word), wanted)
                values.append(reason is None)
                if reason is not None:
                    reasons.append(reason)
        reduce("")
        accepted = len(values) == 1 and not operators and values[0]
    except IndexError:
        return "can't be read as an SPDX expression"
    return None if accepted else (reasons[0] if reasons else "can't be read as an SPDX expression")


def _canonical(text: str) -> str:
    """Lower case, single spaces, and today's id for ``GPL-2.0`` and its like."""
    words = " ".join(text.split()).casefold()
    return re.sub(rf"(?<!\S){_SUPERSEDED.pattern}(?!\S)", lambda m: m[1] + ("-or-later" if m[2] else "-only"), words)


CHECK = _Check()
