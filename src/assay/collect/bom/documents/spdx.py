"""A bill of materials as SPDX 3.0.1 JSON-LD with the AI and Dataset profiles; the same input gives the same
bytes.

The AI profile asks for exactly one declared and one concluded licence of every model: nothing is concluded
here, so that one is SPDX's "no assertion". Nothing is stated that no file states.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

import assay
from assay.collect.bom.build import Bom
from assay.collect.bom.documents import facts
from assay.collect.bom.documents.words import clean
from assay.collect.bom.interface import Licence, Package
from assay.collect.bom.purl import clean_url, target_purl
from assay.errors import UsageError
from assay.evidence.predicates import spdx

NO_ASSERTION = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"

_NAMESPACE = uuid.UUID("c0a4fd0b-2f7e-5c34-8d0e-5a3c2b9f7d21")
"""Namespace of document ids; any fixed UUID does."""

_CREATION = "_:creation"
_HASHES = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
    "BLAKE3": "blake3",
}
_DATA_TYPES = {"image-folder": "image", "parquet": "structured", "csv": "structured", "tsv": "structured"}


class _Writer:
    """Collects elements; ids are fragments of the document's own namespace."""

    def __init__(self, bom: Bom) -> None:
        contents = bom.manifest.contents().hex()
        self.base = uuid.uuid5(_NAMESPACE, f"{contents} {clean(bom.name)} {bom.facts.revision or ''}").urn
        self.bom = bom
        self.elements: list[spdx.Element] = []
        self.licences: dict[str, str] = {}

    def id(self, kind: str, name: str = "") -> str:
        """An IRI; names are digested, since not every name can stand in an IRI."""
        tail = f"-{hashlib.sha256(name.encode()).hexdigest()[:32]}" if name else ""
        return f"{self.base}#{kind}{tail}"

    def add(self, element: spdx.Element) -> str:
        self.elements.append(element)
        return element.spdxId

    def relate(self, source: str, relation: str, to: Iterable[str], *, complete: bool = False) -> None:
        """One relationship; none when there is nothing to relate to."""
        ends = sorted(set(to))
        if ends:
            self.add(
                spdx.Relationship(
                    spdxId=self.id("relationship", f"{source} {relation} {ends[0]}"),
                    creationInfo=_CREATION,
                    from_=source,
                    relationshipType=relation,
                    to=ends,
                    completeness="complete" if complete else None,
                )
            )

    def licence(self, stated: Licence) -> str:
        """The element for a licence, written once."""
        text = clean(stated.expression)
        if text in self.licences:
            return self.licences[text]
        expression, custom = text, None
        if not stated.spdx:
            slug = re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-")[:60] or "unnamed"
            expression = f"LicenseRef-{slug}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
            words = self.add(
                spdx.SimpleLicensingText(
                    spdxId=self.id("licence-text", text),
                    creationInfo=_CREATION,
                    simplelicensing_licenseText=text,
                )
            )
            custom = [spdx.DictionaryEntry(key=expression, value=words)]
        self.licences[text] = self.add(
            spdx.LicenseExpression(
                spdxId=self.id("licence", text),
                creationInfo=_CREATION,
                comment=f"stated in {clean(stated.source)}",
                simplelicensing_licenseExpression=expression,
                simplelicensing_customIdToUri=custom,
            )
        )
        return self.licences[text]

    def license_of(self, element: str, stated: Sequence[Licence]) -> None:
        """Exactly one declared and one concluded licence, as the AI and Dataset profiles demand."""
        self.relate(element, "hasDeclaredLicense", [self.licence(item) for item in stated] or [NO_ASSERTION])
        self.relate(element, "hasConcludedLicense", [NO_ASSERTION])


def build(bom: Bom) -> spdx.Document:
    """The typed SPDX document. Raises `UsageError` when the manifest has no SHA-256 digests."""
    if not bom.manifest.sha256:
        raise UsageError("a bill of materials needs the SHA-256 of every file")
    writer = _Writer(bom)
    agent = writer.add(
        spdx.SoftwareAgent(spdxId=writer.id("assay"), creationInfo=_CREATION, name=f"assay {assay.__version__}")
    )
    root = writer.add(_root(writer))
    writer.license_of(root, [licence for card in bom.cards for licence in card.licences])
    files = {resource.name: writer.add(_file(writer, resource)) for resource in bom.manifest}
    writer.relate(root, "contains", files.values(), complete=not bom.facts.part)
    _models(writer, root, files)
    _data(writer, root, files)
    _packages(writer, root)
    kinds = {type(element) for element in writer.elements}
    profiles = ["core", "software", "simpleLicensing"]
    profiles += ["ai"] if spdx.AIPackage in kinds else []
    profiles += ["dataset"] if spdx.DatasetPackage in kinds else []
    info = spdx.CreationInfo(
        id=_CREATION,
        specVersion=spdx.VERSION,
        created=bom.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        createdBy=[agent],
    )
    head = spdx.SpdxDocument(
        spdxId=writer.id("document"),
        creationInfo=_CREATION,
        name=clean(bom.name),
        rootElement=[root],
        element=[element.spdxId for element in writer.elements],
        profileConformance=profiles,
    )
    return spdx.Document(context=spdx.CONTEXT, graph=[info, head, *writer.elements])


def document(bom: Bom) -> dict[str, Any]:
    """The document as JSON-like values: what a statement carries as its predicate."""
    import msgspec

    made: dict[str, Any] = msgspec.to_builtins(build(bom))
    return made


def render(bom: Bom) -> bytes:
    """The document as readable JSON."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(build(bom)), indent=2) + b"\n"


def _root(writer: _Writer) -> spdx.Element:
    """The target: a model, a data set, or a package of code."""
    bom = writer.bom
    common: dict[str, Any] = {
        "spdxId": writer.id("target"),
        "creationInfo": _CREATION,
        "name": clean(bom.name),
        "verifiedUsing": [spdx.Hash(algorithm="sha256", hashValue=bom.manifest.contents().hex())],
        "software_packageVersion": clean(bom.facts.revision) if bom.facts.revision else None,
        "software_downloadLocation": clean_url(bom.facts.origin or "") or None,
        "software_packageUrl": target_purl(
            bom.reference.scheme, bom.reference.name, clean(bom.name), bom.facts.revision, bom.facts.origin
        ),
    }
    if bom.kind == "model":
        return _ai(writer, common)
    if bom.kind == "dataset":
        kinds = sorted({_DATA_TYPES.get(file.format, "noAssertion") for file in bom.data}) or ["noAssertion"]
        return spdx.DatasetPackage(
            **common,
            software_primaryPurpose="data",
            dataset_datasetType=kinds,
            dataset_datasetSize=bom.manifest.size,
        )
    purpose = {"environment": "platform", "file": "file"}.get(bom.kind, "source")
    return spdx.Package(**common, software_primaryPurpose=purpose)


def _ai(writer: _Writer, common: dict[str, Any]) -> spdx.AIPackage:
    bom = writer.bom
    cards = [card for card in bom.cards if card.kind == "model"]
    found = [*(card.architecture for card in cards), *(file.architecture for file in bom.main_models)]
    metrics = [
        spdx.DictionaryEntry(
            key=clean(" ".join(filter(None, [metric.get("type"), metric.get("dataset")])) or "metric"),
            value=clean(metric.get("value", "")),
        )
        for card in cards
        for metric in card.metrics
    ]
    entries = [
        spdx.DictionaryEntry(key=item.name.removeprefix("assay:model:"), value=item.value)
        for item in facts.totals(bom.main_models)
    ]
    return spdx.AIPackage(
        **common,
        software_primaryPurpose="model",
        ai_typeOfModel=sorted({clean(name) for name in found if name}) or None,
        ai_domain=sorted({clean(card.task) for card in cards if card.task}) or None,
        ai_hyperparameter=entries or None,
        ai_metric=metrics or None,
    )


def _file(writer: _Writer, resource: Any) -> spdx.File:
    hashes = [spdx.Hash(algorithm="sha256", hashValue=resource.sha256.hex())]
    if resource.blake3 is not None:
        hashes.append(spdx.Hash(algorithm="blake3", hashValue=resource.blake3.hex()))
    return spdx.File(
        spdxId=writer.id("file", resource.name),
        creationInfo=_CREATION,
        name=resource.name,
        verifiedUsing=hashes,
    )


def _models(writer: _Writer, root: str, files: dict[str, str]) -> None:
    """Base models and stated data sets of a model; models inside of something else."""
    bom = writer.bom
    if bom.kind != "model":
        for file in bom.models:
            made = spdx.AIPackage(
                spdxId=writer.id("model", file.path),
                creationInfo=_CREATION,
                name=file.path,
                software_primaryPurpose="model",
                ai_typeOfModel=[clean(file.architecture)] if file.architecture else None,
            )
            writer.license_of(writer.add(made), [])
            writer.relate(root, "contains", [made.spdxId])
            writer.relate(made.spdxId, "contains", [files[file.path]] if file.path in files else [])
        return
    cards = [card for card in bom.cards if card.kind == "model"]
    for name in sorted({clean(base) for card in cards for base in card.base_models}):
        made = spdx.AIPackage(
            spdxId=writer.id("base", name), creationInfo=_CREATION, name=name, software_primaryPurpose="model"
        )
        writer.license_of(writer.add(made), [])
        writer.relate(made.spdxId, "ancestorOf", [root])
    trained = []
    for name in sorted({clean(name) for card in cards for name in card.datasets}):
        data = spdx.DatasetPackage(
            spdxId=writer.id("dataset", name),
            creationInfo=_CREATION,
            name=name,
            software_primaryPurpose="data",
            dataset_datasetType=["noAssertion"],
        )
        trained.append(writer.add(data))
        writer.license_of(data.spdxId, [])
    writer.relate(root, "trainedOn", trained)


def _data(writer: _Writer, root: str, files: dict[str, str]) -> None:
    """Data files inside of something that is not itself the data set."""
    for file in writer.bom.data if writer.bom.kind != "dataset" else ():
        made = spdx.DatasetPackage(
            spdxId=writer.id("data", file.path),
            creationInfo=_CREATION,
            name=file.path,
            software_primaryPurpose="data",
            dataset_datasetType=[_DATA_TYPES.get(file.format, "noAssertion")],
        )
        writer.license_of(writer.add(made), [])
        writer.relate(root, "contains", [made.spdxId])
        writer.relate(made.spdxId, "contains", [files[file.path]] if file.path in files else [])


def _packages(writer: _Writer, root: str) -> None:
    """Python packages, one element a package URL."""
    merged: dict[str, list[Package]] = {}
    for package in writer.bom.packages:
        merged.setdefault(package.purl, []).append(package)
    needed = []
    for purl, group in sorted(merged.items()):
        hashes = sorted({pair for package in group for pair in package.hashes if pair[0] in _HASHES})
        needed.append(
            writer.add(
                spdx.Package(
                    spdxId=writer.id("package", purl),
                    creationInfo=_CREATION,
                    name=group[0].name,
                    verifiedUsing=[spdx.Hash(algorithm=_HASHES[a], hashValue=b) for a, b in hashes] or None,
                    software_primaryPurpose="library",
                    software_packageVersion=group[0].version,
                    software_packageUrl=purl,
                )
            )
        )
        stated = [licence for package in group for licence in package.licences]
        if stated:
            writer.license_of(needed[-1], stated)
    writer.relate(root, "dependsOn", needed)
