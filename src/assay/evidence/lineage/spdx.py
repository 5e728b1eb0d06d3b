"""Relations in an SPDX document: ancestors, data that it was trained on or generated from, models and data it needs.

Versions 3 (a graph; spdx.github.io/spdx-spec/v3.0.1, Core/RelationshipType) and 2 (packages; v2.3, clause 11).
Only relations of the thing itself count: what its packages are made of is no lineage of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from assay.evidence.lineage.interface import STATED, Act, Thing
from assay.evidence.lineage.things import items, mapping, once, text, thing

_KINDS = {"ai_AIPackage": "model", "dataset_DatasetPackage": "dataset"}
_DERIVED, _TRAINED, _NEEDS = (
    "derived from (SPDX document)",
    "trained on (SPDX document)",
    "depends on (SPDX document)",
)
_FROM = {
    "descendantOf": _DERIVED,
    "DESCENDANT_OF": _DERIVED,
    "GENERATED_FROM": _DERIVED,
    "trainedOn": _TRAINED,
    "finetunedOn": _TRAINED,
    "dependsOn": _NEEDS,
}
"""Relations from the thing to what it was made with."""
_TO = {"ancestorOf": _DERIVED, "ANCESTOR_OF": _DERIVED, "generates": _DERIVED, "GENERATES": _DERIVED}
"""Relations from what it was made with to the thing."""
_ROOT, _SPDX2_DESCRIBES, _SPDX2_DESCRIBED = "rootElement", "DESCRIBES", "DESCRIBED_BY"
_DOCUMENT = "SPDXRef-DOCUMENT"
_DEEPEST = 5
_HASH_NAMES = {"SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512", "SHA1": "sha1", "MD5": "md5"}
_HASH_NAMES |= {"SHA3-256": "sha3_256", "SHA3-384": "sha3_384", "SHA3-512": "sha3_512", "BLAKE3": "blake3"}


def kind(document: Mapping[str, Any]) -> str:
    """What the document is about."""
    elements = _elements(document)
    return next((_KINDS[name] for root in _roots(document, elements) if (name := _type(elements[root])) in _KINDS), "")


def acts(document: Mapping[str, Any], subjects: tuple[Thing, ...]) -> tuple[Act, ...]:
    """What the document states about where its subject comes from."""
    elements = _elements(document)
    roots = _roots(document, elements)
    found: dict[str, dict[str, None]] = {_DERIVED: {}, _TRAINED: {}, _NEEDS: {}}
    for source, name, target in _relations(document, elements):
        if source in roots and name in _FROM and target not in roots:
            found[_FROM[name]][target] = None
        elif target in roots and name in _TO and source not in roots:
            found[_TO[name]][source] = None
    made = []
    known: set[str] = set()
    for name, ends in found.items():
        inputs = once(_thing(elements[end]) for end in ends if end in elements and _counts(name, elements[end]))
        # Parts of the subject itself are listed so too; without a digest nobody can tell them from other things.
        inputs = tuple(item for item in inputs if item.key not in known and (name != _NEEDS or item.strong))
        known |= {item.key for item in inputs}
        if inputs:
            made.append(Act(name, inputs, subjects, STATED))
    return tuple(made)


def _counts(name: str, element: Mapping[str, Any]) -> bool:
    """Packages of code are no lineage."""
    return name != _NEEDS or _type(element) in _KINDS


def _elements(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """By id: the graph of version 3, the packages and files of version 2."""
    listed = items(document.get("@graph")) or [*items(document.get("packages")), *items(document.get("files"))]
    found = ((_id(item), item) for item in map(mapping, listed))
    return {name: item for name, item in found if name}


def _id(element: Mapping[str, Any]) -> str:
    value = element.get("spdxId") or element.get("@id") or element.get("SPDXID")
    return value if isinstance(value, str) else ""


def _type(element: Mapping[str, Any]) -> str:
    return text(element.get("type") or element.get("@type"))


def _roots(document: Mapping[str, Any], elements: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """What the document is about; a collection in between stands for its own roots."""
    if "@graph" not in document:
        found = {one for one in items(document.get("documentDescribes")) if isinstance(one, str)}
        for source, name, target in _relations(document, elements):
            if (source, name) == (_DOCUMENT, _SPDX2_DESCRIBES):
                found.add(target)
            elif (name, target) == (_SPDX2_DESCRIBED, _DOCUMENT):
                found.add(source)
        return found & elements.keys()
    level = {name for name, item in elements.items() if _type(item) == "SpdxDocument"}
    found = set()
    for _ in range(_DEEPEST):
        inner = {one for name in level for one in items(elements[name].get(_ROOT)) if isinstance(one, str)}
        inner &= elements.keys()
        found |= {name for name in inner if _ROOT not in elements[name]}
        level = inner - found
    return found


def _relations(
    document: Mapping[str, Any], elements: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str, str]]:
    """(from, relation, to), of both versions."""
    for item in map(mapping, items(document.get("relationships"))):
        ends = (item.get("spdxElementId"), item.get("relationshipType"), item.get("relatedSpdxElement"))
        if all(isinstance(end, str) for end in ends):
            yield ends  # type: ignore[misc]
    for item in elements.values():
        source, name = item.get("from"), item.get("relationshipType")
        if isinstance(source, str) and isinstance(name, str):
            for target in items(item.get("to")):
                if isinstance(target, str):
                    yield source, name, target


def _thing(element: Mapping[str, Any]) -> Thing | None:
    hashes: dict[str, Any] = {}
    for item in map(mapping, (*items(element.get("verifiedUsing")), *items(element.get("checksums")))):
        name = text(item.get("algorithm"))
        value = item.get("hashValue") or item.get("checksumValue")
        hashes[_HASH_NAMES.get(name, name)] = value.lower() if isinstance(value, str) else value
    uri = element.get("software_packageUrl") or element.get("software_downloadLocation")
    return thing(hashes, text(element.get("name")), text(uri))
