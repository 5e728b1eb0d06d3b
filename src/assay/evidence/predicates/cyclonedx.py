"""CycloneDX as assay writes it (1.6) and reads it (1.3 to 1.6): the typed document, and the list of files
inside it.

`claimed_manifest` is the verifier's way from a signed bill of materials back to the exact manifest; it must
never repair what it reads. This module is imported by every verification, so it imports nothing heavy.
Source: ECMA-424 / CycloneDX 1.6 JSON schema; the predicate is the document itself (in-toto
spec/predicates/cyclonedx.md).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from assay.errors import DocumentError
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


class _Node(Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


class Hash(_Node, frozen=True):
    """A digest."""

    alg: str
    """``SHA-256``, ``BLAKE3``, …"""
    content: str
    """Hex."""


class Property(_Node, frozen=True):
    """A fact that the format has no field for."""

    name: str
    """``assay:…`` for ours."""
    value: str | None = None
    """Always a string in this format."""


class License(_Node, frozen=True, kw_only=True):
    """One licence: by SPDX id, or by the words it was stated in."""

    id: str | None = None
    """SPDX id."""
    name: str | None = None
    """Anything else."""
    acknowledgement: str | None = None
    """``declared``: stated by somebody; ``concluded``: found by analysis."""
    properties: list[Property] | None = None
    """``assay:source``: the file and field that states it."""


class LicenseChoice(_Node, frozen=True, kw_only=True):
    """A licence, or one expression of several."""

    license: License | None = None
    """One of these two."""
    expression: str | None = None
    """SPDX expression; then it is the only item of its list."""
    acknowledgement: str | None = None
    """Of the expression."""


class ExternalReference(_Node, frozen=True, kw_only=True):
    """Something outside of the document."""

    type: str
    """``vcs``, ``distribution``, …"""
    url: str
    """An IRI."""
    comment: str | None = None
    """What it is."""


class Contents(_Node, frozen=True, kw_only=True):
    """What a data set holds."""

    properties: list[Property] | None = None
    """Format, columns, rows."""


class Data(_Node, frozen=True, kw_only=True):
    """A data set, or (``ref`` alone) a reference to the component that is one."""

    type: str | None = None
    """``dataset``; required unless there is a ``ref``."""
    name: str | None = None
    """Its name."""
    contents: Contents | None = None
    """What it holds."""
    ref: str | None = None
    """A component's bom-ref."""


class Format(_Node, frozen=True, kw_only=True):
    """Form of a model's input or output."""

    format: str | None = None
    """``string``, ``image``, or name, type and shape as the model file states them."""


class ModelParameters(_Node, frozen=True, kw_only=True):
    """What kind of model it is."""

    task: str | None = None
    """``text-classification``, …"""
    architecture_family: str | None = None
    """``bert``, ``llama``, …"""
    model_architecture: str | None = None
    """Class name: ``BertForTokenClassification``."""
    datasets: list[Data] | None = None
    """What it was trained on, as stated."""
    inputs: list[Format] | None = None
    """What goes in."""
    outputs: list[Format] | None = None
    """What comes out."""


class PerformanceMetric(_Node, frozen=True, kw_only=True):
    """A metric, as the card states it."""

    type: str | None = None
    """``accuracy``."""
    value: str | None = None
    """As written."""
    slice: str | None = None
    """On what."""


class QuantitativeAnalysis(_Node, frozen=True, kw_only=True):
    """The metrics."""

    performance_metrics: list[PerformanceMetric] | None = None
    """As stated."""


class ModelCard(_Node, frozen=True, kw_only=True):
    """Facts about a model."""

    model_parameters: ModelParameters | None = None
    """What kind of model it is."""
    quantitative_analysis: QuantitativeAnalysis | None = None
    """The metrics."""
    considerations: dict[str, Any] | None = None
    """Intended use and limits, as stated by whoever wrote the document; we write none."""
    properties: list[Property] | None = None
    """Languages, tags and other facts."""


class Occurrence(_Node, frozen=True, kw_only=True):
    """Where a component was found."""

    location: str
    """Path inside the target."""


class Evidence(_Node, frozen=True, kw_only=True):
    """How we know of a component."""

    occurrences: list[Occurrence] | None = None
    """Where it was found."""


class Pedigree(_Node, frozen=True, kw_only=True):
    """Where a component comes from."""

    ancestors: list[Component] | None = None
    """Base models."""


class Component(_Node, frozen=True, kw_only=True):
    """Anything that is in the bill."""

    type: str
    """``machine-learning-model``, ``data``, ``library``, ``file``, …"""
    bom_ref: str | None = field(default=None, name="bom-ref")
    """Unique in the document."""
    group: str | None = None
    """Organisation, where the name has one."""
    name: str
    """A file's path, a package's name."""
    version: str | None = None
    """A package's version, a target's revision."""
    description: str | None = None
    """In words."""
    scope: str | None = None
    """``required``, ``optional`` or ``excluded``."""
    hashes: list[Hash] | None = None
    """Digests."""
    licenses: list[LicenseChoice] | None = None
    """As stated."""
    purl: str | None = None
    """Package URL."""
    pedigree: Pedigree | None = None
    """Where it comes from."""
    external_references: list[ExternalReference] | None = None
    """Its repository, for example."""
    components: list[Component] | None = None
    """What is inside; other tools nest, we do not."""
    evidence: Evidence | None = None
    """How we know of it."""
    model_card: ModelCard | None = None
    """Models only."""
    data: list[Data] | None = None
    """Data sets only."""
    properties: list[Property] | None = None
    """Our further facts."""

    def property(self, name: str) -> str | None:
        """Value of the first property of that name."""
        for item in self.properties or ():
            if item.name == name:
                return item.value
        return None


class Tools(_Node, frozen=True, kw_only=True):
    """What wrote the document."""

    components: list[Component] | None = None
    """The tools."""


class Metadata(_Node, frozen=True, kw_only=True):
    """About the document."""

    timestamp: str | None = None
    """RFC 3339."""
    tools: Tools | list[dict[str, Any]] | None = None
    """What wrote it; a list before 1.5."""
    component: Component | None = None
    """What the document is about."""
    properties: list[Property] | None = None
    """Our facts about the reading: what was ignored, what could not be read."""


class Dependency(_Node, frozen=True, kw_only=True):
    """Edges of the dependency graph from one component."""

    ref: str
    """The component."""
    depends_on: list[str] | None = None
    """What it needs or holds."""


class Document(_Node, frozen=True, kw_only=True):
    """The bill of materials."""

    schema: str | None = field(default=None, name="$schema")
    """The JSON schema, for editors."""
    bom_format: Literal["CycloneDX"]
    """Names the format."""
    spec_version: Annotated[str, Meta(pattern=r"^1\.[3-9]$")]
    """``1.6`` when we write it."""
    serial_number: str | None = None
    """``urn:uuid:…``."""
    version: int | None = None
    """Of this document; 1 when we write it."""
    metadata: Metadata | None = None
    """About the document and what it is about."""
    components: list[Component] | None = None
    """The parts."""
    dependencies: list[Dependency] | None = None
    """Who needs whom."""


_T = TypeVar("_T")

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""The same characters that no target may have in a name: they make it mean two things."""


def parse(bom: Mapping[str, Any] | Document) -> Document:
    """The typed document. Raises `DocumentError` naming the field that is not what CycloneDX says."""
    return bom if isinstance(bom, Document) else _convert(bom, Document)


def _convert(value: object, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DocumentError(f"not a CycloneDX document: {str(error)[:300]}") from None
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
    """Columns from sorted components."""
    names: list[str] = []
    sizes = array("Q")
    sha256: list[str] = []
    blake3: list[str] = []
    segments: dict[int, bytes] = {}
    previous: str | None = None
    for i, component in enumerate(listed):
        name = component.name
        if name == previous:
            raise DocumentError(f"the file {name[:200]!r} is listed twice")
        _check_name(name)
        names.append(name)
        previous = name
        size = 0
        seen: set[str] = set()
        for item in component.properties or ():
            if item.name in (SIZE, SEGMENTS):
                if item.name in seen:
                    raise DocumentError(f"file {name[:200]!r}: {item.name} is there twice")
                seen.add(item.name)
                if item.name == SIZE:
                    size = _size(item.value, name)
                else:
                    segments[i] = bytes.fromhex(_hex(item.value, name, SEGMENTS))
        if SIZE not in seen:
            raise DocumentError(f"file {name[:200]!r}: {SIZE} is missing")
        sizes.append(size)
        digests = {item.alg: item.content for item in component.hashes or ()}
        if len(digests) != len(component.hashes or ()):
            raise DocumentError(f"file {name[:200]!r}: two hashes of one algorithm")
        if "SHA-256" not in digests:
            raise DocumentError(f"file {name[:200]!r}: the SHA-256 hash is missing")
        sha256.append(_hex(digests["SHA-256"], name, "SHA-256", DIGEST))
        if "BLAKE3" in digests:
            blake3.append(_hex(digests["BLAKE3"], name, "BLAKE3", DIGEST))
            if i in segments:
                raise DocumentError(f"file {name[:200]!r} has both a BLAKE3 hash and segments")
            if size > SEGMENT:
                raise DocumentError(
                    f"file {name[:200]!r}: a file of {size} bytes needs {SEGMENTS}, not a BLAKE3 hash"
                )
        elif i in segments:
            blake3.append("00" * DIGEST)
            if size <= SEGMENT or len(segments[i]) != -(-size // SEGMENT) * DIGEST:
                raise DocumentError(f"file {name[:200]!r}: {SEGMENTS} does not fit its size of {size} bytes")
    if blake3 and len(blake3) != len(names):
        raise DocumentError("some files have BLAKE3 digests and some have none")
    return Manifest(
        names, sizes, bytes.fromhex("".join(sha256)), bytes.fromhex("".join(blake3)), segments, single=single
    )


def _check_name(name: str) -> None:
    if not name or _UNSAFE.search(name) or any(part in ("", ".", "..") for part in name.split("/")):
        raise DocumentError(f"the file name {name[:200]!r} is not a plain path inside the target")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DocumentError(f"the file name {name[:200]!r} is not UTF-8") from None


def _size(value: str | None, name: str) -> int:
    if value is None or not _DECIMAL.fullmatch(value):
        raise DocumentError(f"file {name[:200]!r}: {SIZE} is not a number of bytes")
    return int(value)


def _hex(value: str | None, name: str, what: str, length: int | None = None) -> str:
    if value is None or not _HEX.fullmatch(value) or (length is not None and len(value) != 2 * length):
        raise DocumentError(f"file {name[:200]!r}: {what} is not lower-case hex of its length")
    return value
