"""From a predicate about a target to the statement, its signature and its place in the evidence store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assay.api.keeping import keep, store_path
from assay.api.subjects import described, subject
from assay.config import Config
from assay.evidence.signers.interface import Signer
from assay.evidence.statement import Statement
from assay.targets.interface import Manifest, Options, Target


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement that was made."""

    document: bytes
    """The signed bundle; the bare statement where nobody signed."""
    contents: str
    """SHA-256 (hex) of names, sizes and digests."""
    entry: str | None = None
    """Digest under which the store keeps the attestation."""
    store: str | None = None
    """The store's place."""


def state(
    thing: Target,
    manifest: Manifest,
    predicate: tuple[str, dict[str, Any]],
    *,
    secret: Signer | None,
    directory: str | None,
    options: Options,
    labels: Mapping[str, str] | None,
    config: Config,
    identify: bool,
    now: datetime,
) -> Stated:
    """State ``predicate`` (its type and document) about ``thing``; signed and kept where there is a signer."""
    labels = {**config.labels, **(labels or {})}
    said = described(thing, manifest, options, now=now, labels=labels, identify=identify)
    payload = Statement((subject(thing, manifest, said),), *predicate).dump()
    contents = manifest.contents().hex()
    if secret is None:
        return Stated(payload, contents)
    bundle = secret.sign(payload)
    return Stated(
        bundle.raw, contents, keep(bundle, thing, directory, config, now, said), store_path(directory, config)
    )
