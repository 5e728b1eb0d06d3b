"""``components``: how complete a bill of materials is: how much it lists, and what it says of each package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from msgspec import Meta

from assay.errors import DocumentError
from assay.policy.checks import bom
from assay.policy.checks.arguments import Arguments, Count, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import told
from assay.policy.fields import hashes
from assay.policy.verdict import Violation


class Components(Arguments, frozen=True):
    """Completeness of the list of packages."""

    minimum: Annotated[Count, Meta(description="How many packages must be listed.")] = 1
    state: Annotated[
        tuple[Literal["version", "purl", "licence", "supplier", "digest"], ...],
        Meta(description="What must be stated for each of them; a digest must be strong."),
    ] = ()


class _Check:
    name = "components"
    types: tuple[str, ...] = bom.TYPES
    schema = schema(Components)

    def prepare(self, arguments: Any, place: str) -> Components:
        """See `Check.prepare`."""
        read = convert(Components, arguments, place)
        if not read.minimum and not read.state:
            raise DocumentError(f"{place}: nothing is demanded", hint="minimum or state")
        return read

    def violations(self, document: Document, arguments: Components) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(bom.read(document), arguments))


def _wrong(bill: bom.Bill, wanted: Components) -> Iterator[Violation]:
    yield from bill.problems
    packages = list(bill.packages)
    if len(packages) < wanted.minimum:
        yield Violation(f"{len(packages)} packages are listed, needs {wanted.minimum}", "components")
    for part in packages:
        for fact in wanted.state:
            if not _states(part, fact):
                yield Violation(f"no {fact} is stated for {part.title}", part.path, {"package": part.name[:500]})


def _states(part: bom.Part, fact: str) -> bool:
    if fact == "licence":
        return any(licence and licence not in ("NOASSERTION", "NONE") for licence in part.licences)
    if fact == "digest":
        return any(any(hashes(part.raw.get(key))) for key in ("hashes", "verifiedUsing", "checksums"))
    return bool({"version": part.version, "purl": part.purl, "supplier": part.supplier}[fact])


CHECK = _Check()
