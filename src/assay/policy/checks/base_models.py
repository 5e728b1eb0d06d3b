"""``base-models``: from which models the target may descend, by what its bill of materials says of its pedigree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta

from assay.errors import DocumentError
from assay.policy.checks import bom
from assay.policy.checks.arguments import Arguments, Unknown, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import first, show, told
from assay.policy.fields import hashes
from assay.policy.verdict import Violation

_DIGEST = re.compile(r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})")


class BaseModels(Arguments, frozen=True):
    """Base models: ``google-bert/*``, ``pkg:huggingface/org/name*``, or by digest ``sha256:…``."""

    allow: Annotated[Words, Meta(description="Every base model must be one of these.")] = ()
    deny: Annotated[Words, Meta(description="No base model may be one of these (globs, no digests).")] = ()
    none: Annotated[Unknown, Meta(description="Whether the bill may name no base model at all.")] = "fail"


class _Check:
    name = "base-models"
    types: tuple[str, ...] = (*bom.CYCLONEDX_TYPES, *bom.SPDX_TYPES)
    schema = schema(BaseModels)

    def prepare(self, arguments: Any, place: str) -> BaseModels:
        """See `Check.prepare`."""
        read = convert(BaseModels, arguments, place)
        if not (read.allow or read.deny):
            raise DocumentError(f"{place}: neither allow nor deny is given")
        for entry in read.allow + read.deny:
            if re.match(r"sha[0-9]+:", entry) and (entry in read.deny or not _DIGEST.fullmatch(entry)):
                why = "a digest denies nothing: another one is quickly made" if entry in read.deny else "no digest"
                raise DocumentError(f"{place}: {show(entry)} can't stand here, {why}")
        return read

    def violations(self, document: Document, arguments: BaseModels) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(bom.read(document), arguments))


def _wrong(bill: bom.Bill, wanted: BaseModels) -> Iterator[Violation]:
    yield from bill.problems
    if not bill.ancestors and wanted.none == "fail":
        yield Violation("the bill names no base model", "metadata.component.pedigree")
    for part in bill.ancestors:
        names = _names(part)
        digests = set(hashes(part.raw.get("hashes"))) | set(hashes(part.raw.get("verifiedUsing")))
        by_digest = any(entry.partition(":")[2] in digests for entry in wanted.allow if _DIGEST.fullmatch(entry))
        details = {"model": part.name[:500]}
        if any(first(wanted.deny, name) for name in (part.name, part.purl or "", *names)):
            yield Violation(f"the base model {part.title} is on the deny list", part.path, details)
        elif wanted.allow and not by_digest and not _named(part, names, wanted.allow):
            yield Violation(f"the base model {part.title} is not on the allow list", part.path, details)


def _named(part: bom.Part, names: set[str], allow: Words) -> bool:
    """Whether its package URL is allowed, or else every name by which it goes."""
    globs = [entry for entry in allow if not _DIGEST.fullmatch(entry)]  # a name like a digest is no digest
    return bool(part.purl and first(globs, part.purl)) or all(first(globs, name) for name in names)


def _names(part: bom.Part) -> set[str]:
    """Its name, and the one in its package URL, which is the same, or a longer form, unless somebody pretends."""
    path = re.split("[@?#]", (part.purl or "").partition("/")[2], maxsplit=1)[0]
    return {path} if path and f"/{path}".endswith(f"/{part.name}") else {part.name, *filter(None, [path])}


CHECK = _Check()
