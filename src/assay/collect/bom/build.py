"""The neutral bill of materials: what all readers found in one target, before any document format.

It asks each reader once and decides what kind of thing the target is. It digests nothing and writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from assay.collect.bom.interface import Card, DataFile, Package
from assay.collect.headers.interface import ModelFile
from assay.targets.interface import Facts, Manifest, Reference, Target

Kind = Literal["model", "dataset", "code", "environment", "file"]
"""What a target is, in one word."""

_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.[^./]+$)")
_FORMATS = ("safetensors", "gguf", "onnx", "pytorch-zip", "pytorch-legacy", "keras", "saved-model", "hdf5")
"""Where a folder holds one model in several formats, the first of these speaks for it."""


@dataclass(frozen=True, slots=True)
class Bom:
    """Everything that a document about one target is written from."""

    name: str
    """What statements call the target."""
    reference: Reference
    """Pinned. May hold a path of this machine: documents use ``name`` and ``facts.origin`` instead."""
    facts: Facts
    """Origin, revision, what was ignored."""
    manifest: Manifest
    """Every file with its digests."""
    kind: Kind
    """What the target is."""
    models: Sequence[ModelFile]
    """Model files, by path."""
    cards: Sequence[Card]
    """Model and data set cards."""
    data: Sequence[DataFile]
    """Data files, by path."""
    packages: Sequence[Package]
    """Python packages, sorted."""
    time: datetime
    """When it was collected, UTC."""
    warnings: Sequence[str] = ()
    """What could not be read and is in no other list."""

    @property
    def all_warnings(self) -> list[str]:
        """Everything that could not be read; each names its file."""
        said = [(file.path, text) for file in self.models for text in file.warnings]
        said += [(card.path, text) for card in self.cards for text in card.warnings]
        said += [(file.path, text) for file in self.data for text in file.warnings]
        named = [text if text.startswith(f"{path}: ") else f"{path}: {text}" for path, text in said]
        return [*self.warnings, *named]

    @property
    def main_models(self) -> list[ModelFile]:
        """The files (one, or the shards of one) that are the model; empty when several could be meant.

        Nearest to the root, and of the preferred format where there are several: a folder often holds the
        same weights twice, and adding them up would double the model.
        """
        if not self.models:
            return []
        top = min(file.path.count("/") for file in self.models)
        near = [file for file in self.models if file.path.count("/") == top]
        best = min(_rank(file.format) for file in near)
        groups: dict[str, list[ModelFile]] = {}
        for file in near:
            if _rank(file.format) == best:
                groups.setdefault(_SHARD.sub("", file.path), []).append(file)
        return next(iter(groups.values())) if len(groups) == 1 else []


def _rank(form: str) -> int:
    return _FORMATS.index(form) if form in _FORMATS else len(_FORMATS)


def collect(target: Target, manifest: Manifest, *, now: datetime) -> Bom:
    """Ask every reader about an open target whose manifest is known. ``now`` is the clock's time, with a
    zone.

    Raises what the target raises while it is read. Content that cannot be understood is a warning in the
    result.
    """
    from assay.collect.bom.packages import read_packages

    models: list[ModelFile] = []
    cards: list[Card] = []
    data: list[DataFile] = []
    if target.reference.scheme != "env":
        from assay.collect.bom.cards import read_cards
        from assay.collect.bom.data import read_data
        from assay.collect.headers import read_models

        models = sorted(read_models(target), key=lambda file: file.path)
        cards = sorted(read_cards(target), key=lambda card: card.path)
        data = sorted(read_data(target), key=lambda file: file.path)
    packages, warnings = read_packages(target)
    if target.reference.scheme == "env":
        from assay.collect.bom.packages.installed import with_hashes

        packages = with_hashes(packages, manifest)
    return Bom(
        target.name,
        target.reference,
        target.facts,
        manifest,
        kind_of(target, models, cards, data),
        models,
        cards,
        data,
        packages,
        now,
        warnings,
    )


def kind_of(target: Target, models: Sequence[ModelFile], cards: Sequence[Card], data: Sequence[DataFile]) -> Kind:
    """What the target is: by where it comes from, else by what is in it. A project with a model inside stays
    code.
    """
    if target.reference.scheme == "env":
        return "environment"
    if target.single:
        return "model" if models else "dataset" if data else "file"
    origin = target.facts.origin or ""
    if target.reference.scheme == "hf" or origin.startswith("https://huggingface.co/"):
        is_data = target.reference.name.startswith("datasets/") or "/datasets/" in origin
        return "dataset" if is_data else "model"
    if any(name in target.names for name in _PROJECT):
        return "code"
    if any(card.kind == "dataset" and "/" not in card.path for card in cards):
        return "dataset"
    top = {card.kind for card in cards if "/" not in card.path and (card.architecture or card.task or card.library)}
    if models or "model" in top:
        return "model"
    return "dataset" if data else "code"
