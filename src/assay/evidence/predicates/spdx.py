"""SPDX: the 3.0.1 elements that assay writes (core, software, AI, dataset, simple licensing), and what it
checks of others'.

The predicate is the document itself. Source: SPDX 3.0.1 model and its JSON-LD serialisation (one
``@context``, a flat ``@graph``, identifiers as references); SPDX 2.3 is read, never written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from assay.evidence.predicates.common import Text

PREDICATE_TYPE = "https://spdx.dev/Document/v3"
PREDICATE_TYPE_2 = "https://spdx.dev/Document/v2.3"
PREDICATE_TYPES_2 = ("https://spdx.dev/Document", PREDICATE_TYPE_2, "https://spdx.dev/Document/v2.2")
CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
VERSION = "3.0.1"


class _Node(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    pass


class CreationInfo(_Node, frozen=True, kw_only=True, tag="CreationInfo", rename={"id": "@id"}):
    """Who wrote the elements, and when."""

    id: str
    """A blank node."""
    specVersion: str
    """``3.0.1``."""
    created: str
    """RFC 3339 with ``Z``, whole seconds."""
    createdBy: list[str]
    """Agents."""


class Hash(_Node, frozen=True, kw_only=True, tag="Hash"):
    """A digest."""

    algorithm: str
    """``sha256``, ``blake3``, …"""
    hashValue: str
    """Hex."""


class DictionaryEntry(_Node, frozen=True, kw_only=True, tag="DictionaryEntry"):
    """A key and its value."""

    key: str
    """The key."""
    value: str | None = None
    """The value."""


class Element(_Node, frozen=True, kw_only=True):
    """What all elements have."""

    spdxId: str
    """An IRI, unique in the document."""
    creationInfo: str
    """The blank node of the creation."""
    name: str | None = None
    """The element's name."""
    comment: str | None = None
    """In words."""
    verifiedUsing: list[Hash] | None = None
    """Digests."""


class SoftwareAgent(Element, frozen=True, kw_only=True, tag="SoftwareAgent"):
    """The program that wrote the document."""


class Package(Element, frozen=True, kw_only=True, tag="software_Package"):
    """A target that is code, or a package."""

    software_primaryPurpose: str | None = None
    """``model``, ``data``, ``library``, …"""
    software_packageVersion: str | None = None
    """Revision or version."""
    software_packageUrl: str | None = None
    """Package URL."""
    software_downloadLocation: str | None = None
    """Where it came from."""


class AIPackage(Package, frozen=True, kw_only=True, tag="ai_AIPackage"):
    """A model."""

    ai_typeOfModel: list[str] | None = None
    """Architecture."""
    ai_domain: list[str] | None = None
    """Its task."""
    ai_hyperparameter: list[DictionaryEntry] | None = None
    """Parameter count, dtypes, quantisation, and what the file states of the training."""
    ai_metric: list[DictionaryEntry] | None = None
    """As the card states them."""


class DatasetPackage(Package, frozen=True, kw_only=True, tag="dataset_DatasetPackage"):
    """A data set."""

    dataset_datasetType: list[str]
    """``structured``, ``image``, …, ``noAssertion``."""
    dataset_datasetSize: int | None = None
    """Bytes."""


class File(Element, frozen=True, kw_only=True, tag="software_File"):
    """A file."""

    software_primaryPurpose: str | None = None
    """``model``, ``data``, …"""


class Relationship(Element, frozen=True, kw_only=True, tag="Relationship", rename={"from_": "from"}):
    """One element's relation to others."""

    from_: str
    """The element."""
    relationshipType: str
    """``contains``, ``trainedOn``, …"""
    to: list[str]
    """The others."""
    completeness: str | None = None
    """``complete`` when the list is all there is."""


class LicenseExpression(Element, frozen=True, kw_only=True, tag="simplelicensing_LicenseExpression"):
    """A licence."""

    simplelicensing_licenseExpression: str
    """SPDX expression."""
    simplelicensing_customIdToUri: list[DictionaryEntry] | None = None
    """Where the ``LicenseRef-`` ids in it are explained."""


class SimpleLicensingText(Element, frozen=True, kw_only=True, tag="simplelicensing_SimpleLicensingText"):
    """A licence that is none of SPDX's, as it was stated."""

    simplelicensing_licenseText: str
    """The words."""


class SpdxDocument(Element, frozen=True, kw_only=True, tag="SpdxDocument"):
    """The document itself."""

    rootElement: list[str]
    """What it is about."""
    element: list[str]
    """What it holds."""
    profileConformance: list[str]
    """Profiles whose rules it keeps."""


class Document(Struct, frozen=True, kw_only=True, rename={"context": "@context", "graph": "@graph"}):
    """What assay writes."""

    context: str
    """The JSON-LD context."""
    graph: list[_Node]
    """The elements, each of them once."""


class AnyElement(Struct, frozen=True, kw_only=True, rename={"id": "@id"}):
    """An element of somebody else's document."""

    type: Text
    """Its class."""
    spdxId: str | None = None
    """Its identifier."""
    id: str | None = None
    """A blank node's identifier."""


class AnyDocument(Struct, frozen=True, kw_only=True, rename={"context": "@context", "graph": "@graph"}):
    """Somebody's SPDX 3 document."""

    context: str | list[Any]
    """Must name SPDX's."""
    graph: Annotated[list[AnyElement], Meta(min_length=1)]
    """The elements."""

    def __post_init__(self) -> None:
        named = [self.context] if isinstance(self.context, str) else self.context
        if not any(isinstance(item, str) and item.startswith("https://spdx.org/rdf/3.") for item in named):
            raise ValueError("@context is not SPDX 3's")
        if sum(element.type == "SpdxDocument" for element in self.graph) != 1:
            raise ValueError("@graph must hold exactly one SpdxDocument")


class CreationInfo2(Struct, frozen=True, kw_only=True):
    """Who wrote an SPDX 2 document, and when."""

    created: Text
    """RFC 3339."""
    creators: Annotated[list[Text], Meta(min_length=1)]
    """``Tool: …``, ``Organization: …``."""


class Document2(Struct, frozen=True, kw_only=True):
    """Somebody's SPDX 2 document."""

    spdxVersion: Annotated[str, Meta(pattern=r"^SPDX-2\.[0-9]$")]
    """``SPDX-2.3``."""
    id: Literal["SPDXRef-DOCUMENT"] = field(name="SPDXID")
    """Always this."""
    name: Text
    """The document's name."""
    dataLicense: Text
    """``CC0-1.0``."""
    documentNamespace: Text
    """Unique URI."""
    creationInfo: CreationInfo2
    """Who and when."""
    packages: list[dict[str, Any]] | None = None
    """Its packages."""
    files: list[dict[str, Any]] | None = None
    """Its files."""
