"""``ntia``: the minimum elements for a software bill of materials (NTIA, July 2021, section IV).

Supplier, name, version and another unique identifier of each component, how they depend on each other, who made the
bill and when. Files are no components in that sense.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from assay.policy.checks import bom
from assay.policy.checks.arguments import Arguments, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, listed, mapping, moment, objects, string, told
from assay.policy.verdict import Violation

Element = Literal["supplier", "name", "version", "identifier", "dependencies", "author", "time"]


class Ntia(Arguments, frozen=True):
    """Without arguments: all seven elements."""

    exclude: Annotated[tuple[Element, ...], Meta(description="Elements that are not demanded.")] = ()


class _Check:
    name = "ntia"
    types: tuple[str, ...] = bom.TYPES
    schema = schema(Ntia)

    def prepare(self, arguments: Any, place: str) -> Ntia:
        """See `Check.prepare`."""
        return convert(Ntia, arguments, place)

    def violations(self, document: Document, arguments: Ntia) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document, arguments.exclude))


def _wrong(document: Document, without: tuple[str, ...]) -> Iterator[Violation]:
    bill, predicate = bom.read(document), document.predicate
    yield from bill.problems
    listed_parts = [part for part in bill.parts if part.kind != "file" and not part.inside]
    if not listed_parts:
        yield Violation("no component is listed", "components")
    for part in [*([bill.target] if bill.target is not None else []), *listed_parts]:
        found = {
            "supplier": part.supplier,
            "name": part.name,
            "version": part.version,
            "identifier": part.purl or part.identifiers,
        }
        for element, value in found.items():
            if not value and element not in without:
                yield Violation(f"no {element} is stated for {part.title}", part.path, {"element": element})
    whole = _cyclonedx if document.predicate_type.startswith(bom.CYCLONEDX) else _spdx
    for element, (there, path) in whole(predicate, bill).items():
        if not there and element not in without:
            yield Violation(f"the bill states no {_WORDS[element]}", path, {"element": element})


_WORDS = {"dependencies": "dependencies of its target", "author": "author", "time": "time"}


def _cyclonedx(predicate: Mapping[str, Any], bill: bom.Bill) -> dict[str, tuple[bool, str]]:
    graph = {string(item.get("ref")) for item in objects(predicate.get("dependencies"))}
    head = mapping(predicate.get("metadata"))
    tools = head.get("tools")
    makers = [*objects(head.get("authors")), *objects(tools), *objects(dig(tools, "components"))]
    makers += [mapping(head.get(key)) for key in ("manufacturer", "manufacture", "supplier")]
    return {
        "dependencies": (bill.target is not None and bill.target.id in graph - {None}, "dependencies"),
        "author": (any(string(maker.get("name")) for maker in makers), "metadata"),
        "time": (moment(head.get("timestamp")) is not None, "metadata.timestamp"),
    }


def _spdx(predicate: Mapping[str, Any], bill: bom.Bill) -> dict[str, tuple[bool, str]]:
    root = bill.target.id if bill.target is not None else None
    graph = predicate.get("@graph")
    if graph is None:
        head = mapping(predicate.get("creationInfo"))
        ends = {string(item.get("spdxElementId")) for item in objects(predicate.get("relationships"))}
        ends |= {string(item.get("relatedSpdxElement")) for item in objects(predicate.get("relationships"))}
        heads, path, makers = [head], "creationInfo", "creators"
    else:
        heads = [item for item in objects(graph) if item.get("type") == "CreationInfo"]
        related = [item for item in objects(graph) if "relationshipType" in item]
        ends = {string(item.get("from")) for item in related if not str(item["relationshipType"]).endswith("License")}
        path, makers = "@graph", "createdBy"
    return {
        "dependencies": (root is not None and root in ends, "relationships"),
        "author": (any(string(name) for head in heads for name in listed(head.get(makers))), path),
        "time": (any(moment(head.get("created")) is not None for head in heads), path),
    }


CHECK = _Check()
