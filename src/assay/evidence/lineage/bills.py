"""Relations in a CycloneDX bill of materials: ancestors, data sets, and the models and data that it depends on.

Packages and files are no lineage: the first are what `bom` is for, the second are the members of a folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from assay.evidence.lineage.interface import STATED, Act, Thing
from assay.evidence.lineage.things import items, mapping, once, text, thing

_KINDS = {"machine-learning-model": "model", "data": "dataset", "container": "image"}
_ALGORITHMS = {
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
    "SHA3-256": "sha3_256",
    "SHA3-384": "sha3_384",
    "SHA3-512": "sha3_512",
    "SHA-1": "sha1",
    "MD5": "md5",
}
_DEEPEST = 20


def kind(bill: Mapping[str, Any]) -> str:
    """What the bill's main component is."""
    return _KINDS.get(text(_main(bill).get("type")), "")


def acts(bill: Mapping[str, Any], subjects: tuple[Thing, ...]) -> tuple[Act, ...]:
    """What the bill states about where its subject comes from. (CycloneDX 1.6, pedigree, modelCard, dependencies.)"""
    main = _main(bill)
    listed = {text(item.get("bom-ref")): item for item in _components(bill) if item.get("bom-ref")}
    bases = once(_component(item) for item in items(mapping(main.get("pedigree")).get("ancestors")))
    data = [mapping(item) for item in _datasets(main)]
    trained = once(_component(listed.get(text(item.get("ref"))) or item) for item in data)
    own = text(main.get("bom-ref"))
    needed = once(
        _component(listed[text(ref)])
        for item in items(bill.get("dependencies"))
        if own and text(mapping(item).get("ref")) == own
        for ref in items(mapping(item).get("dependsOn"))
        if text(ref) in listed and listed[text(ref)].get("type") in _KINDS
    )
    known = {item.key for item in (*bases, *trained)}
    made = (
        ("derived from (bill of materials)", bases),
        ("trained on (bill of materials)", trained),
        # Parts of the subject itself are listed so too; without a digest nobody can tell them from other things.
        ("depends on (bill of materials)", tuple(item for item in needed if item.strong and item.key not in known)),
    )
    return tuple(Act(name, inputs, subjects, STATED) for name, inputs in made if inputs)


def _main(bill: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(bill.get("metadata")).get("component"))


def _datasets(main: Mapping[str, Any]) -> list[Any]:
    return items(mapping(mapping(main.get("modelCard")).get("modelParameters")).get("datasets"))


def _components(bill: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All components, nested ones too."""
    level = [mapping(item) for item in items(bill.get("components"))]
    for _ in range(_DEEPEST):
        yield from level
        level = [mapping(item) for above in level for item in items(above.get("components"))]


def _component(value: object) -> Thing | None:
    found = mapping(value)
    hashes = {
        _ALGORITHMS[item["alg"]]: item.get("content")
        for item in map(mapping, items(found.get("hashes")))
        if item.get("alg") in _ALGORITHMS
    }
    group, name = text(found.get("group")), text(found.get("name")) or text(found.get("ref"))
    return thing(hashes, f"{group}/{name}" if group else name, text(found.get("purl")))
