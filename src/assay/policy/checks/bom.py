"""A bill of materials as the checks see it, whoever wrote it: CycloneDX 1.3 to 1.6, SPDX 2.2, 2.3 and 3.0.

One pass over the document, without recursion, that never raises: what has not the form that its format demands is kept
as a problem, which every check reports, because a part that can't be read may be the one that is forbidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, listed, objects, odd, show, string
from assay.policy.verdict import Violation

CYCLONEDX = "https://cyclonedx.org/bom"
CYCLONEDX_TYPES = (CYCLONEDX, CYCLONEDX + "/v*")
SPDX_TYPES = ("https://spdx.dev/Document", "https://spdx.dev/Document/v*")
TYPES = (*CYCLONEDX_TYPES, *SPDX_TYPES)
"""Predicate types that are bills of materials."""


@dataclass(slots=True)
class Part:
    """One thing in a bill."""

    name: str
    """With its group, where it has one: ``google-bert/bert-base-uncased``."""
    kind: str
    """CycloneDX's type, or the like: ``library``, ``file``, ``data``, ``machine-learning-model``, …"""
    path: str
    """Where it stands in the predicate."""
    version: str | None = None
    purl: str | None = None
    id: str | None = None
    """Reference inside of the document."""
    supplier: str | None = None
    identifiers: tuple[str, ...] = ()
    """Other unique ones: CPE, SWID, digests (``sha256:…``)."""
    licences: list[str | None] = field(default_factory=list)
    """As stated, all of which apply; None for one that can't be read."""
    inside: bool = False
    """A part of the target's own files, under the target's licence unless it states one."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    """What the document says of it."""

    @property
    def title(self) -> str:
        """What to call it in a message."""
        return show(self.name if self.version is None else f"{self.name} {self.version}")


@dataclass(slots=True)
class Bill:
    """What a bill of materials says."""

    target: Part | None
    """What it is about; None where it does not say so, or names several."""
    parts: list[Part]
    """Everything else, files included."""
    ancestors: list[Part]
    """Base models."""
    problems: list[Violation]
    """What could not be read."""

    @property
    def packages(self) -> Iterator[Part]:
        """Software among the parts."""
        return (part for part in self.parts if part.kind not in ("file", "data", "machine-learning-model"))


def read(document: Document) -> Bill:
    """The bill in a document of one of `TYPES`."""
    if document.predicate_type.startswith(CYCLONEDX):
        return _cyclonedx(document.predicate)
    from assay.policy.checks import bom_spdx

    if document.predicate_type.startswith("https://spdx.dev/Document/v3"):
        return bom_spdx.read_3(document.predicate)
    return bom_spdx.read_2(document.predicate)


def properties(part: Mapping[str, Any], name: str) -> Iterator[str]:
    """Values of a CycloneDX part's properties of that name."""
    return (
        item["value"]
        for item in objects(part.get("properties"))
        if item.get("name") == name and isinstance(item.get("value"), str)
    )


def _cyclonedx(bom: Mapping[str, Any]) -> Bill:
    problems: list[Violation] = []
    if bom.get("bomFormat") != "CycloneDX":
        problems.append(Violation("the predicate is no CycloneDX document", "bomFormat"))
    main = dig(bom, "metadata", "component")
    target = _component(main, "metadata.component", problems) if isinstance(main, Mapping) else None
    if target is None:
        problems.append(Violation("metadata.component is absent: the bill does not say what it is about", "metadata"))
    parts: list[Part] = []
    # Nested components are parts like all others; a stack, because a stranger decides how deep they lie.
    waiting: list[tuple[Any, str]] = [(bom.get("components"), "components")]
    if isinstance(main, Mapping):
        waiting.append((main.get("components"), "metadata.component.components"))
    while waiting:
        value, path = waiting.pop()
        if odd(value):
            problems.append(Violation(f"{path[:100]} is not a list of components", path[:500]))
        for i, item in enumerate(listed(value)):
            if isinstance(item, Mapping):
                # Beyond a few levels the path would grow with the square of the depth, and nobody reads it.
                here = f"{path}[{i}]" if len(path) < 300 else path
                parts.append(_component(item, here, problems))
                if "components" in item:
                    waiting.append((item["components"], f"{here}.components" if len(here) < 300 else here))
    ancestors = dig(main, "pedigree", "ancestors")
    if odd(ancestors):
        problems.append(Violation("pedigree.ancestors is not a list of components", "metadata.component.pedigree"))
    bases = [
        _component(item, f"metadata.component.pedigree.ancestors[{i}]", problems)
        for i, item in enumerate(listed(ancestors))
        if isinstance(item, Mapping)
    ]
    return Bill(target, parts, bases, problems)


def _component(item: Mapping[str, Any], path: str, problems: list[Violation]) -> Part:
    name, group = string(item.get("name")), string(item.get("group"))
    if name is None:
        problems.append(Violation(f"{path[:100]} has no name", path))
    kind = string(item.get("type")) or "unknown"
    licences: list[str | None] = []
    if odd(item.get("licenses")):
        licences.append(None)
    for choice in objects(item.get("licenses")):
        licence = choice.get("license")
        stated = string(choice.get("expression")) or string(dig(licence, "id")) or string(dig(licence, "name"))
        licences.append(stated)
    identifiers = [string(item.get("cpe")), string(dig(item, "swid", "tagId"))]
    identifiers += [f"{h['alg']}:{h['content']}" for h in objects(item.get("hashes")) if "alg" in h and "content" in h]
    # Our bills list a target's model and data files as parts that were found in it, beside its packages.
    occurs = kind in ("file", "data", "machine-learning-model") and bool(listed(dig(item, "evidence", "occurrences")))
    return Part(
        name=f"{group}/{name}" if group and name else name or "",
        kind=kind,
        path=path,
        version=string(item.get("version")),
        purl=string(item.get("purl")),
        id=string(item.get("bom-ref")),
        supplier=_supplier(item),
        identifiers=tuple(found for found in identifiers if found),
        licences=licences,
        inside=kind == "file" or occurs,
        raw=item,
    )


def _supplier(item: Mapping[str, Any]) -> str | None:
    """Who made or supplied a component, by any of the fields that CycloneDX has had for that."""
    for key in ("supplier", "manufacturer", "author", "publisher"):
        value = item.get(key)
        if found := string(value) or string(dig(value, "name")):
            return found
    return next((found for author in objects(item.get("authors")) if (found := string(author.get("name")))), None)
