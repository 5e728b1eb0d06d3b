"""The CycloneDX document as typed values: what assay writes (1.6), lenient enough for other tools' 1.3 to
1.6.

Fields that we neither write nor look at are ignored when reading. Source: ECMA-424 / CycloneDX 1.6 JSON
schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field


class _Node(Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


class Hash(_Node, frozen=True, gc=False):
    """A digest."""

    alg: str
    """``SHA-256``, ``BLAKE3``, …"""
    content: str
    """Hex."""


class Property(_Node, frozen=True, gc=False):
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
