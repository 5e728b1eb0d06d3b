"""A bill of materials as CycloneDX 1.6: the same bill, clock and target always give the same bytes.

Every file is one ``file`` component at the top level, with what its own bytes say of it as properties, so
that the list of files can be read back exactly. Models and data sets inside of something else get a component
of their own beside it. The dependency graph leads from the target to all components but files, which would
only repeat the list.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

import assay
from assay.collect.bom.build import Bom
from assay.collect.bom.documents import components, facts, licences
from assay.collect.bom.documents.facts import assay_property
from assay.collect.bom.documents.words import clean
from assay.collect.bom.purl import clean_url, purl, target_purl
from assay.collect.headers.interface import ModelFile
from assay.errors import UsageError
from assay.evidence.predicates.cyclonedx import file_component, manifest_properties
from assay.evidence.predicates.cyclonedx_types import (
    Component,
    Contents,
    Data,
    Dependency,
    Document,
    ExternalReference,
    Format,
    Hash,
    Metadata,
    ModelCard,
    ModelParameters,
    Pedigree,
    PerformanceMetric,
    Property,
    QuantitativeAnalysis,
    Tools,
)

ROOT = "target"
"""The main component's bom-ref."""

_SERIAL = uuid.UUID("5f6a1b7e-6d0f-5f4e-9f0c-2d1f0c6f5a11")
"""Namespace of serial numbers; any fixed UUID does."""

_TYPES = {"model": "machine-learning-model", "dataset": "data", "environment": "platform", "file": "file"}


def build(bom: Bom) -> Document:
    """The typed CycloneDX document. Raises `UsageError` when the manifest has no SHA-256 digests."""
    if not bom.manifest.sha256:
        raise UsageError("a bill of materials needs the SHA-256 of every file")
    main = _main(bom)
    inside = components.all_of(bom)
    graph = [Dependency(ref=ROOT, depends_on=[str(part.bom_ref) for part in inside] or None)]
    for part in inside:
        places = part.evidence.occurrences if part.evidence and part.type != "library" else None
        held = [f"file:{place.location}" for place in places or ()]
        graph.append(Dependency(ref=str(part.bom_ref), depends_on=held or None))
    contents = bom.manifest.contents().hex()
    return Document(
        schema="http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format="CycloneDX",
        spec_version="1.6",
        serial_number=f"urn:uuid:{uuid.uuid5(_SERIAL, f'{contents} {_stable_reference(bom)}')}",
        version=1,
        metadata=Metadata(
            timestamp=bom.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            tools=Tools(components=[Component(type="application", name="assay", version=assay.__version__)]),
            component=main,
            properties=list(_reading(bom)) or None,
        ),
        components=[*inside, *_files(bom)] or None,
        dependencies=graph,
    )


def document(bom: Bom) -> dict[str, Any]:
    """The document as JSON-like values: what a statement carries as its predicate."""
    import msgspec

    made: dict[str, Any] = msgspec.to_builtins(build(bom))
    return made


def render(bom: Bom) -> bytes:
    """The document as readable JSON."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(build(bom)), indent=2) + b"\n"


def _stable_reference(bom: Bom) -> str:
    """The reference without a path of this machine."""
    where = clean_url(bom.facts.origin or "") or (bom.reference.name if bom.reference.scheme == "hf" else bom.name)
    return f"{bom.reference.scheme}:{where}@{bom.facts.revision or ''}"


def _reading(bom: Bom) -> Iterator[Property]:
    """How the target was read, and what could not be."""
    for rule in bom.facts.part:
        yield assay_property("part", rule)
    for rule in bom.facts.ignore_rules:
        yield assay_property("ignore-rule", rule)
    for name in bom.facts.ignored:
        yield assay_property("ignored", name)
    if bom.facts.followed_links:
        yield assay_property("followed-links", "true")
    for name, digest in sorted(bom.facts.digests.items()):
        yield assay_property(f"digest:{name}", digest)
    for warning in bom.all_warnings:
        yield assay_property("warning", warning)


def _main(bom: Bom) -> Component:
    """The target itself."""
    kind = _TYPES.get(bom.kind)
    if kind is None:
        named = ("pyproject.toml", "setup.py", "setup.cfg")
        kind = "library" if any(name in bom.manifest.names for name in named) else "application"
    origin, choices, sources = (
        clean_url(bom.facts.origin or ""),
        *licences.choices([licence for card in bom.cards for licence in card.licences]),
    )
    properties = manifest_properties(bom.manifest)
    properties += [assay_property("size", bom.manifest.size), *sources]
    card = pedigree = None
    if bom.kind == "model":
        card = _card(bom)
        properties += facts.totals(bom.main_models)
        pedigree = _pedigree(bom)
    data = None
    if bom.kind == "dataset":
        rows = [file.rows for file in bom.data]
        known = [Property("assay:data:rows", str(sum(row or 0 for row in rows)))] if None not in rows and rows else []
        data = [Data(type="dataset", name=clean(bom.name), contents=Contents(properties=known) if known else None)]
    title = next((card.title for card in bom.cards if card.title and "/" not in card.path), None)
    return Component(
        type=kind,
        bom_ref=ROOT,
        name=clean(bom.name),
        version=clean(bom.facts.revision, 1000) if bom.facts.revision else None,
        description=clean(title) if title and title != bom.name else None,
        hashes=[Hash("SHA-256", bom.manifest.contents().hex())],
        licenses=choices or None,
        purl=target_purl(
            bom.reference.scheme, bom.reference.name, clean(bom.name), bom.facts.revision, bom.facts.origin
        ),
        pedigree=pedigree,
        external_references=[ExternalReference(type="vcs", url=origin)] if origin else None,
        model_card=card,
        data=data,
        properties=properties,
    )


def _pedigree(bom: Bom) -> Pedigree | None:
    """Base models, as the cards name them."""
    bases = sorted({clean(base) for card in bom.cards if card.kind == "model" for base in card.base_models})
    if not bases:
        return None
    made = []
    for base in bases:
        group, _, name = base.rpartition("/")
        hub = group and "/" not in group and not base.startswith((".", "/"))
        made.append(
            Component(
                type="machine-learning-model",
                bom_ref=f"base:{base}",
                group=group or None,
                name=name or base,
                purl=purl("huggingface", name, namespace=group) if hub and name else None,
            )
        )
    return Pedigree(ancestors=made)


def _card(bom: Bom) -> ModelCard | None:
    """The model card of a target that is a model: its cards' statements, else what the file itself says."""
    cards = [card for card in bom.cards if card.kind == "model"]
    main = bom.main_models
    first = {
        name: next((getattr(card, name) for card in cards if getattr(card, name)), None)
        for name in ("task", "architecture", "library")
    }
    family = next((card.metadata["model_type"] for card in cards if card.metadata.get("model_type")), None)
    architecture = first["architecture"] or next((file.architecture for file in main if file.architecture), None)
    names = sorted({clean(name) for card in cards for name in card.datasets})
    inputs, outputs = _formats(main, "inputs"), _formats(main, "outputs")
    parameters = ModelParameters(
        task=clean(first["task"]) if first["task"] else None,
        architecture_family=clean(family) if family else None,
        model_architecture=clean(architecture) if architecture else None,
        datasets=[Data(ref=f"dataset:{name}") for name in names] or None,
        inputs=inputs,
        outputs=outputs,
    )
    metrics = [
        PerformanceMetric(
            type=clean(metric["type"]) if metric.get("type") else None,
            value=clean(metric["value"]) if metric.get("value") else None,
            slice=clean(metric["dataset"]) if metric.get("dataset") else None,
        )
        for card in cards
        for metric in card.metrics
    ]
    properties = [assay_property("language", name) for name in sorted({x for card in cards for x in card.languages})]
    properties += [assay_property("tag", name) for name in sorted({x for card in cards for x in card.tags})]
    if first["library"]:
        properties.append(assay_property("library", first["library"]))
    for card in cards:
        properties += [assay_property(f"card:{clean(key, 100)}", card.metadata[key]) for key in sorted(card.metadata)]
        if card.quantisation:
            properties.append(assay_property("card:quantisation", card.quantisation))
    made = ModelCard(
        model_parameters=parameters if parameters != ModelParameters() else None,
        quantitative_analysis=QuantitativeAnalysis(performance_metrics=metrics) if metrics else None,
        properties=properties or None,
    )
    return made if made != ModelCard() else None


def _formats(main: Sequence[ModelFile], key: str) -> list[Format] | None:
    """What an ONNX file states of its inputs or outputs; in other formats the words mean other things."""
    text = next((f.metadata[key] for f in main if f.format == "onnx" and f.metadata.get(key)), None)
    return [Format(format=clean(text))] if text else None


def _files(bom: Bom) -> Iterator[Component]:
    """Every file, in order of name."""
    from msgspec.structs import replace

    about: dict[str, Any] = {file.path: file for file in bom.models}
    for resource in bom.manifest:
        component = file_component(resource)
        model = about.get(resource.name)
        if model is not None:
            component = replace(component, properties=[*(component.properties or ()), *facts.of_model(model)])
        yield component
