"""CycloneDX as a predicate: its types, how it is read, and the list of files inside it.

`claimed_manifest` is the verifier's way from a signed bill of materials back to the exact manifest; it must
never repair what it reads. This module is imported by every verification, so it imports nothing heavy.
Source: the predicate is the document itself (in-toto/attestation, spec/predicates/cyclonedx.md).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from assay.errors import DocumentError
from assay.evidence.predicates import printable
from assay.evidence.predicates.cyclonedx_types import Component, Document, Hash, Property
from assay.targets.interface import DIGEST, SEGMENT, Manifest, Resource

PREDICATE_TYPE = "https://cyclonedx.org/bom"
VERSIONED = tuple(f"https://cyclonedx.org/bom/v1.{minor}" for minor in (3, 4, 5, 6))
"""What the specification's examples and other tools write; read, never written."""

SIZE = "assay:size"
"""Property of a file component: bytes, decimal."""
SEGMENTS = "assay:blake3:segments"
"""Property of a file larger than 4 MiB: hex of the BLAKE3 digests of each 4 MiB, concatenated."""
FILES = "assay:files"
"""Property of the main component: how many file components there are."""
CONTENTS = "assay:contents"
"""Property of the main component: hex of `Manifest.contents`, which makes the list of files complete or
refused.
"""
SINGLE = "assay:single"
"""Property of the main component, ``true`` when the target is one file."""

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""The same characters that no target may have in a name: they make it mean two things."""
_ODD_PART = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")
"""An empty part, ``.`` or ``..``."""


def parse(bom: Mapping[str, Any] | Document) -> Document:
    """The typed document. Raises `DocumentError` naming the field that is not what CycloneDX says."""
    if isinstance(bom, Document):
        return bom
    try:
        return msgspec.convert(bom, Document)
    except msgspec.ValidationError as error:
        raise DocumentError(f"not a CycloneDX document: {printable(str(error)[:250])}") from None
    except RecursionError:
        raise DocumentError("not a CycloneDX document: its components are nested too deeply") from None


def file_component(resource: Resource) -> Component:
    """The component that says everything about one file; `claimed_manifest` is its inverse."""
    hashes = []
    if resource.sha256 is not None:
        hashes.append(Hash("SHA-256", resource.sha256.hex()))
    if resource.blake3 is not None:
        hashes.append(Hash("BLAKE3", resource.blake3.hex()))
    properties = [Property(SIZE, str(resource.size))]
    if resource.segments:
        properties.append(Property(SEGMENTS, resource.segments.hex()))
    return Component(
        type="file", bom_ref=f"file:{resource.name}", name=resource.name, hashes=hashes, properties=properties
    )


def manifest_properties(manifest: Manifest) -> list[Property]:
    """What the main component says of the list of files, so that a missing or added one is noticed."""
    properties = [Property(FILES, str(len(manifest))), Property(CONTENTS, manifest.contents().hex())]
    if manifest.single:
        properties.append(Property(SINGLE, "true"))
    return properties


def claimed_manifest(bom: Mapping[str, Any] | Document) -> Manifest:
    """The manifest that a bill of materials was written from, exactly.

    Raises `DocumentError` when the document does not list every file with size and SHA-256 (a bill that
    another tool wrote, or one whose list was altered). File components are taken from the top level only, in
    any order.
    """
    document = parse(bom)
    main = document.metadata.component if document.metadata else None
    contents = main.property(CONTENTS) if main else None
    if main is None or contents is None:
        raise DocumentError(
            f"the bill of materials has no property {CONTENTS}: it does not list every file",
            hint="only a bill of materials that assay wrote can be used to find modified files",
        )
    listed = [component for component in document.components or () if component.type == "file"]
    listed.sort(key=lambda component: component.name)
    manifest = _manifest(listed, single=main.property(SINGLE) == "true")
    if main.property(FILES) != str(len(listed)):
        raise DocumentError(f"the bill of materials lists {len(listed)} files, its {FILES} says otherwise")
    if manifest.single and len(listed) != 1:
        raise DocumentError(f"the bill of materials is of one file and lists {len(listed)}")
    if manifest.contents().hex() != contents:
        raise DocumentError(f"the bill of materials does not agree with its own {CONTENTS}")
    return manifest


def _manifest(listed: Sequence[Component], *, single: bool) -> Manifest:
    """Columns from components that are sorted by name."""
    names = [component.name for component in listed]
    _check_names(names)
    sizes = array("Q")
    sha256: list[str] = []
    blake3: list[str] = []
    segments: dict[int, bytes] = {}
    for i, component in enumerate(listed):
        size, pieces = _facts(component)
        sizes.append(size)
        digests = {item.alg: item.content for item in component.hashes or ()}
        if len(digests) != len(component.hashes or ()):
            raise _wrong(component, "two hashes of one algorithm")
        if "SHA-256" not in digests:
            raise _wrong(component, "the SHA-256 hash is missing")
        sha256.append(_digest(component, digests["SHA-256"]))
        if "BLAKE3" in digests:
            blake3.append(_digest(component, digests["BLAKE3"]))
            if pieces is not None:
                raise _wrong(component, "both a BLAKE3 hash and segments")
            if size > SEGMENT:
                raise _wrong(component, f"{size} bytes need {SEGMENTS}, not a BLAKE3 hash")
        elif pieces is not None:
            blake3.append("00" * DIGEST)
            if size <= SEGMENT or len(pieces) != -(-size // SEGMENT) * DIGEST:
                raise _wrong(component, f"{SEGMENTS} does not fit its size of {size} bytes")
            segments[i] = pieces
    if blake3 and len(blake3) != len(names):
        raise DocumentError("some files have BLAKE3 digests and some have none")
    return Manifest(
        names, sizes, bytes.fromhex("".join(sha256)), bytes.fromhex("".join(blake3)), segments, single=single
    )


def _facts(component: Component) -> tuple[int, bytes | None]:
    """Size and segment digests of one file."""
    size: int | None = None
    pieces: bytes | None = None
    for item in component.properties or ():
        if item.name == SIZE:
            if size is not None:
                raise _wrong(component, f"{SIZE} is there twice")
            if item.value is None or not _DECIMAL.fullmatch(item.value):
                raise _wrong(component, f"{SIZE} is not a number of bytes")
            size = int(item.value)
        elif item.name == SEGMENTS:
            if pieces is not None:
                raise _wrong(component, f"{SEGMENTS} is there twice")
            if item.value is None or not _HEX.fullmatch(item.value):
                raise _wrong(component, f"{SEGMENTS} is not lower-case hex")
            pieces = bytes.fromhex(item.value)
    if size is None:
        raise _wrong(component, f"{SIZE} is missing")
    return size, pieces


def _digest(component: Component, value: str) -> str:
    if len(value) != 2 * DIGEST or not _HEX.fullmatch(value):  # bytes.fromhex would take spaces and capitals
        raise _wrong(component, "a hash is not lower-case hex of its length")
    return value


def _wrong(component: Component, what: str) -> DocumentError:
    return DocumentError(f"the bill of materials, file {component.name[:200]!r}: {what}")


def _check_names(names: Sequence[str]) -> None:
    """Plain paths inside the target, each once; ``names`` is sorted."""
    for a, b in pairwise(names):
        if a == b:
            raise DocumentError(f"the bill of materials lists the file {a[:200]!r} twice")
    for name in names:
        _check_name(name)


def _check_name(name: str) -> None:
    if _UNSAFE.search(name) or _ODD_PART.search(name):
        raise DocumentError(f"the file name {name[:200]!r} is not a plain path inside the target")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DocumentError(f"the file name {name[:200]!r} is not UTF-8") from None
