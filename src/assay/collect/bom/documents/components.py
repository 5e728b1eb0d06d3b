"""The parts of a target as CycloneDX components: models, data sets and packages. Files are in `cyclonedx`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from assay.collect.bom.build import Bom
from assay.collect.bom.documents import facts, licences
from assay.collect.bom.documents.facts import assay_property
from assay.collect.bom.documents.words import clean
from assay.collect.bom.interface import DataFile, Package
from assay.evidence.predicates.cyclonedx_types import (
    Component,
    Contents,
    Data,
    Evidence,
    Hash,
    ModelCard,
    ModelParameters,
    Occurrence,
)

_ALGORITHMS = {"MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512", "BLAKE3"}


def all_of(bom: Bom) -> list[Component]:
    """Every component but the target itself and the files."""
    return [*models(bom), *data(bom), *stated_datasets(bom), *packages(bom.packages)]


def models(bom: Bom) -> Iterator[Component]:
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


def data(bom: Bom) -> Iterator[Component]:
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
    at = bisect_left(bom.manifest.names, file.path)
    return at < len(bom.manifest) and bom.manifest.names[at] == file.path


def stated_datasets(bom: Bom) -> list[Component]:
    """Data sets that a model's card says it was trained or evaluated on."""
    if bom.kind != "model":
        return []
    names = sorted({clean(name) for card in bom.cards if card.kind == "model" for name in card.datasets})
    return [
        Component(type="data", bom_ref=f"dataset:{name}", name=name or "?", data=[Data(type="dataset", name=name)])
        for name in names
    ]


def packages(packages: Sequence[Package]) -> Iterator[Component]:
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
        properties = [assay_property("scope", scope) for scope in sorted({package.scope for package in group})]
        direct = {package.direct for package in group} - {None}
        if direct:
            properties.append(assay_property("direct", "true" if True in direct else "false"))
        properties += [
            assay_property("requirement", text) for text in sorted({p.requirement for p in group if p.requirement})
        ]
        places = [Occurrence(location=clean(source)) for source in sorted({package.source for package in group})]
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
