"""SPDX documents as a bill: 3.0 (a graph of elements) and 2.2, 2.3. See `bom` for what a bill is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.policy.checks.bom import Bill, Part
from assay.policy.checks.reading import listed, mapping, objects, odd, string
from assay.policy.verdict import Violation

_KINDS = {
    "ai_AIPackage": "machine-learning-model",
    "dataset_DatasetPackage": "data",
    "software_File": "file",
    "software_Package": "library",
    "software_Snippet": "file",
}
_PURPOSES = {"model": "machine-learning-model", "data": "data", "file": "file"}
_NO_ASSERTION = ("NoAssertionLicense", "NoneLicense")


def read_3(document: Mapping[str, Any]) -> Bill:
    """An SPDX 3 document."""
    problems: list[Violation] = []
    graph = document.get("@graph")
    if odd(graph) or not listed(graph):
        problems.append(Violation("@graph is not a list of elements", "@graph"))
    elements = {key: item for item in objects(graph) if (key := _id(item))}
    roots: dict[str, None] = {}
    for item in objects(graph):
        if item.get("type") == "SpdxDocument":
            roots |= dict.fromkeys(root for root in listed(item.get("rootElement")) if isinstance(root, str))
    parts: dict[str, Part] = {}
    for i, item in enumerate(listed(graph)):
        kind = _KINDS.get(str(mapping(item).get("type")))
        if kind is None:
            continue
        key = _id(item)
        if key is None or key in parts:
            problems.append(
                Violation(f"@graph[{i}] has {'no id' if key is None else 'the id of another'}", f"@graph[{i}]")
            )
        key = f"@graph[{i}]" if key is None or key in parts else key
        parts[key] = _part_3(item, kind, key, f"@graph[{i}]", elements, problems)
    # A document may be about an SBOM element, which is about the software.
    for root in list(roots):
        if root not in parts:
            inner = listed(mapping(elements.get(root)).get("rootElement"))
            roots |= dict.fromkeys(item for item in inner if isinstance(item, str))
    ancestors = _relations(graph, parts, set(roots), elements)
    return _bill(parts, [root for root in roots if root in parts], ancestors, problems)


def _relations(graph: Any, parts: dict[str, Part], roots: set[str], elements: Mapping[str, Any]) -> set[str]:
    """Put licences at the parts that they are stated for; return the ids of the roots' ancestors."""
    ancestors: set[str] = set()
    silent: dict[str, str | None] = {}
    for item in objects(graph):
        kind, start = item.get("relationshipType"), item.get("from")
        ends = [end for end in listed(item.get("to")) if isinstance(end, str)]
        if not isinstance(start, str):
            continue
        if kind in ("hasDeclaredLicense", "hasConcludedLicense") and start in parts:
            for end in ends:
                if end.endswith(_NO_ASSERTION):
                    silent[start] = end.rpartition("/")[2]
                else:
                    parts[start].licences.append(_licence(end, elements))
        elif kind == "contains" and start in roots:
            for end in ends:
                if end in parts and parts[end].kind != "library":
                    parts[end].inside = True
        elif kind == "ancestorOf" and not roots.isdisjoint(ends):
            ancestors.add(start)
        elif kind == "descendantOf" and start in roots:
            ancestors.update(ends)
    for key, said in silent.items():
        if said == "NoneLicense":
            parts[key].licences.append("NONE")
    return ancestors


def _licence(end: str, elements: Mapping[str, Any]) -> str | None:
    """What a licence element says: the expression, with references of our own put back into the words they stand
    for.
    """
    element = mapping(elements.get(end))
    expression = string(element.get("simplelicensing_licenseExpression"))
    for entry in objects(element.get("simplelicensing_customIdToUri")):
        if entry.get("key") == expression:
            text = string(mapping(elements.get(str(entry.get("value")))).get("simplelicensing_licenseText"))
            return text if text is not None and len(text) < 200 else expression
    return expression or string(element.get("name"))


def _part_3(
    item: Mapping[str, Any],
    kind: str,
    key: str,
    path: str,
    elements: Mapping[str, Any],
    problems: list[Violation],
) -> Part:
    name = string(item.get("name"))
    if name is None:
        problems.append(Violation(f"{path} has no name", path))
    if kind == "library":
        kind = _PURPOSES.get(str(item.get("software_primaryPurpose")), kind)
    makers = [item.get("suppliedBy"), *listed(item.get("originatedBy"))]
    named = (string(mapping(elements.get(maker)).get("name")) for maker in makers if isinstance(maker, str))
    identifiers = [
        found for entry in objects(item.get("externalIdentifier")) if (found := string(entry.get("identifier")))
    ]
    identifiers += [f"{h.get('algorithm')}:{h.get('hashValue')}" for h in objects(item.get("verifiedUsing"))]
    return Part(
        name=name or "",
        kind=kind,
        path=path,
        version=string(item.get("software_packageVersion")),
        purl=string(item.get("software_packageUrl")),
        id=key,
        supplier=next((found for found in named if found), None),
        identifiers=tuple(identifiers),
        inside=kind == "file",
        raw=item,
    )


def read_2(document: Mapping[str, Any]) -> Bill:
    """An SPDX 2 document."""
    problems: list[Violation] = []
    parts: dict[str, Part] = {}
    for key, kind in (("packages", "library"), ("files", "file")):
        if odd(document.get(key)):
            problems.append(Violation(f"{key} is not a list of objects", key))
        for i, item in enumerate(listed(document.get(key))):
            if isinstance(item, Mapping):
                part = _part_2(item, kind, f"{key}[{i}]", problems)
                if part.id is None or part.id in parts:
                    what = "no SPDXID" if part.id is None else "the SPDXID of another"
                    problems.append(Violation(f"{part.path} has {what}", part.path))
                parts[part.path if part.id is None or part.id in parts else part.id] = part
    roots = dict.fromkeys(item for item in listed(document.get("documentDescribes")) if isinstance(item, str))
    ancestors: set[str] = set()
    for item in objects(document.get("relationships")):
        start, relation, end = item.get("spdxElementId"), item.get("relationshipType"), item.get("relatedSpdxElement")
        if not isinstance(start, str) or not isinstance(end, str):
            continue
        if relation == "DESCRIBES" and start == "SPDXRef-DOCUMENT":
            roots[end] = None
        elif relation == "DESCRIBED_BY" and end == "SPDXRef-DOCUMENT":
            roots[start] = None
        elif relation == "DESCENDANT_OF" and start in roots:
            ancestors.add(end)
    return _bill(parts, [root for root in roots if root in parts], ancestors, problems)


def _part_2(item: Mapping[str, Any], kind: str, path: str, problems: list[Violation]) -> Part:
    name = string(item.get("name")) or string(item.get("fileName"))
    if name is None:
        problems.append(Violation(f"{path} has no name", path))
    references = [entry for entry in objects(item.get("externalRefs")) if string(entry.get("referenceLocator"))]
    purl = next((entry["referenceLocator"] for entry in references if entry.get("referenceType") == "purl"), None)
    identifiers = [entry["referenceLocator"] for entry in references if entry.get("referenceType") != "purl"]
    identifiers += [f"{c.get('algorithm')}:{c.get('checksumValue')}" for c in objects(item.get("checksums"))]
    stated = [string(item.get(key)) for key in ("licenseDeclared", "licenseConcluded")]
    makers = (string(item.get(name)) for name in ("supplier", "originator"))
    purpose = str(item.get("primaryPackagePurpose")).lower()
    return Part(
        name=name or "",
        kind="file" if purpose == "file" else kind,
        path=path,
        version=string(item.get("versionInfo")),
        purl=purl,
        id=string(item.get("SPDXID")),
        supplier=next((maker for maker in makers if maker and maker != "NOASSERTION"), None),
        identifiers=tuple(identifiers),
        licences=[text for text in dict.fromkeys(stated) if text is not None and text != "NOASSERTION"],
        inside=kind == "file",
        raw=item,
    )


def _bill(parts: Mapping[str, Part], roots: list[str], ancestors: set[str], problems: list[Violation]) -> Bill:
    target = parts[roots[0]] if len(roots) == 1 else None
    if target is None:
        count = "no thing" if not roots else f"{len(roots)} things"
        problems.append(Violation(f"the document is about {count}, so that none of them is the target"))
    bases = {key for key in ancestors if key in parts and parts[key].kind == "machine-learning-model"}
    rest = [part for key, part in parts.items() if part is not target and key not in bases]
    return Bill(target, rest, [parts[key] for key in sorted(ancestors) if key in parts], problems)


def _id(item: Mapping[str, Any]) -> str | None:
    return string(item.get("spdxId")) or string(item.get("@id"))
