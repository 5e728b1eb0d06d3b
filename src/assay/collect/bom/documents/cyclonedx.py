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
from assay.collect.bom.documents import facts, licences
from assay.collect.bom.documents.words import clean
from assay.collect.bom.interface import DataFile, ModelFile, Package
from assay.collect.bom.purl import clean_url, purl, target_purl
from assay.errors import UsageError
from assay.evidence.predicates.cyclonedx import (
    Component,
    Contents,
    Data,
    Dependency,
    Document,
    Evidence,
    ExternalReference,
    Format,
    Hash,
    Metadata,
    ModelCard,
    ModelParameters,
    Occurrence,
    Pedigree,
    PerformanceMetric,
    Property,
    QuantitativeAnalysis,
    Tools,
    file_component,
    manifest_properties,
)

ROOT = "target"
"""The main component's bom-ref."""

_SERIAL = uuid.UUID("5f6a1b7e-6d0f-5f4e-9f0c-2d1f0c6f5a11")
"""Namespace of serial numbers; any fixed UUID does."""

_ALGORITHMS = {"MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512", "BLAKE3"}

_TYPES = {"model": "machine-learning-model", "dataset": "data", "environment": "platform", "file": "file"}


def build(bom: Bom) -> Document:
    """The typed CycloneDX document. Raises `UsageError` when the manifest has no SHA-256 digests."""
    if not bom.manifest.sha256:
        raise UsageError("a bill of materials needs the SHA-256 of every file")
    main = _main(bom)
    stated = _stated_datasets(bom)
    inside = [*_models(bom), *_data(bom), *stated, *_packages(bom.packages)]
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
    where = clean_url(bom.facts.origin or "") or (
        bom.reference.name if bom.reference.scheme == "hf" else bom.name
    )
    return f"{bom.reference.scheme}:{where}@{bom.facts.revision or ''}"


def _property(name: str, value: object) -> Property:
    return Property(f"assay:{name}", clean(value))


def _reading(bom: Bom) -> Iterator[Property]:
    """How the target was read, and what could not be."""
    for rule in bom.facts.part:
        yield _property("part", rule)
    for rule in bom.facts.ignore_rules:
        yield _property("ignore-rule", rule)
    for name in bom.facts.ignored:
        yield _property("ignored", name)
    if bom.facts.followed_links:
        yield _property("followed-links", "true")
    for name, digest in sorted(bom.facts.digests.items()):
        yield _property(f"digest:{name}", digest)
    for warning in bom.warnings:
        yield _property("warning", warning)
    said = [(file.path, file.warnings) for file in bom.models]
    said += [(card.path, card.warnings) for card in bom.cards]
    said += [(data.path, data.warnings) for data in bom.data]
    for path, warnings in said:
        for warning in warnings:
            yield _property("warning", f"{path}: {warning}")


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
    properties += [_property("size", bom.manifest.size), *sources]
    card = pedigree = None
    if bom.kind == "model":
        card = _card(bom)
        properties += facts.totals(bom.main_models)
        pedigree = _pedigree(bom)
    data = None
    if bom.kind == "dataset":
        rows = [file.rows for file in bom.data]
        known = (
            [Property("assay:data:rows", str(sum(row or 0 for row in rows)))]
            if None not in rows and rows
            else []
        )
        data = [
            Data(type="dataset", name=clean(bom.name), contents=Contents(properties=known) if known else None)
        ]
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
    architecture = first["architecture"] or next(
        (file.architecture for file in main if file.architecture), None
    )
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
    properties = [
        _property("language", name) for name in sorted({x for card in cards for x in card.languages})
    ]
    properties += [_property("tag", name) for name in sorted({x for card in cards for x in card.tags})]
    if first["library"]:
        properties.append(_property("library", first["library"]))
    for card in cards:
        properties += [
            _property(f"card:{clean(key, 100)}", card.metadata[key]) for key in sorted(card.metadata)
        ]
        if card.quantisation:
            properties.append(_property("card:quantisation", card.quantisation))
    made = ModelCard(
        model_parameters=parameters if parameters != ModelParameters() else None,
        quantitative_analysis=QuantitativeAnalysis(performance_metrics=metrics) if metrics else None,
        properties=properties or None,
    )
    return made if made != ModelCard() else None


def _formats(main: Sequence[ModelFile], key: str) -> list[Format] | None:
    text = next((file.metadata[key] for file in main if file.metadata.get(key)), None)
    return [Format(format=clean(text))] if text else None


def _models(bom: Bom) -> Iterator[Component]:
    """Models inside of something that is not itself the model."""
    if bom.kind == "model":
        return
    for file in bom.models:
        card = None
        if file.architecture:
            card = ModelCard(model_parameters=ModelParameters(model_architecture=clean(file.architecture)))
        yield Component(
            type="machine-learning-model",
            bom_ref=f"model:{file.path}",
            name=file.path,
            evidence=Evidence(occurrences=[Occurrence(location=file.path)]),
            model_card=card,
            properties=facts.totals([file]),
        )


def _data(bom: Bom) -> Iterator[Component]:
    """Data sets by file or folder."""
    for file in bom.data:
        properties = facts.of_data(file)
        yield Component(
            type="data",
            bom_ref=f"data:{file.path}",
            name=file.path,
            evidence=Evidence(occurrences=[Occurrence(location=file.path)]) if _is_file(bom, file) else None,
            data=[Data(type="dataset", name=file.path, contents=Contents(properties=properties))],
        )


def _is_file(bom: Bom, file: DataFile) -> bool:
    """A folder of images is one data set of many files."""
    from bisect import bisect_left

    at = bisect_left(bom.manifest.names, file.path)
    return at < len(bom.manifest) and bom.manifest.names[at] == file.path


def _stated_datasets(bom: Bom) -> list[Component]:
    """Data sets that a model's card says it was trained or evaluated on."""
    if bom.kind != "model":
        return []
    names = sorted({clean(name) for card in bom.cards if card.kind == "model" for name in card.datasets})
    return [
        Component(
            type="data", bom_ref=f"dataset:{name}", name=name or "?", data=[Data(type="dataset", name=name)]
        )
        for name in names
    ]


def _packages(packages: Sequence[Package]) -> Iterator[Component]:
    """One component a package URL: what was declared without a version joins the one locked version of its
    name.
    """
    versions: dict[str, set[str]] = {}
    for package in packages:
        if package.version:
            versions.setdefault(package.name, set()).add(package.purl)
    merged: dict[str, list[Package]] = {}
    for package in packages:
        known = versions.get(package.name, set())
        key = next(iter(known)) if not package.version and len(known) == 1 else package.purl
        merged.setdefault(key, []).append(package)
    for key in sorted(merged):
        group = merged[key]
        best = next((package for package in group if package.version), group[0])
        choices, sources = licences.choices([licence for package in group for licence in package.licences])
        hashes = sorted({pair for package in group for pair in package.hashes if pair[0] in _ALGORITHMS})
        properties = [_property("scope", scope) for scope in sorted({package.scope for package in group})]
        direct = {package.direct for package in group} - {None}
        if direct:
            properties.append(_property("direct", "true" if True in direct else "false"))
        properties += [
            _property("requirement", text) for text in sorted({p.requirement for p in group if p.requirement})
        ]
        places = [
            Occurrence(location=clean(source)) for source in sorted({package.source for package in group})
        ]
        yield Component(
            type="library",
            bom_ref=f"package:{key}",
            name=best.name,
            version=best.version,
            scope="required",
            hashes=[Hash(*pair) for pair in hashes] or None,
            licenses=choices or None,
            purl=best.purl,
            evidence=Evidence(occurrences=places),
            properties=[*properties, *sources],
        )


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
