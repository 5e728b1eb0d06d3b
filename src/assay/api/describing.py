"""`bom`: what is in a target, as a bill of materials in a chosen format, signed and kept when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assay.api.signers import SignWith, signer
from assay.api.stating import state
from assay.config import Config, load
from assay.errors import UsageError
from assay.targets.interface import Options
from assay.targets.registry import resolve

if TYPE_CHECKING:
    from assay.collect.bom.build import Bom

FORMATS = {
    "json": "json",
    "cyclonedx-json": "json",
    "statement": "statement",
    "statement-cyclonedx-json": "statement",
    "attest": "attest",
    "attest-cyclonedx-json": "attest",
    "spdx-json": "spdx-json",
    "table": "table",
}
"""What the caller may ask for, with the longer names of the published product as aliases."""


@dataclass(frozen=True, slots=True)
class Described:
    """What `bom` made."""

    reference: str
    """The target, pinned."""
    format: str
    document: bytes
    """The document in the format that was asked for; for ``attest`` the signed bundle."""
    bom: Bom
    """The facts, independent of a format."""
    contents: str
    """SHA-256 (hex) of names, sizes and digests."""
    by: str | None = None
    """Who signed, in words; None when nothing was."""
    entry: str | None = None
    """Digest under which the store keeps the attestation."""
    store: str | None = None


def bom(
    target: str,
    *,
    format: str = "json",
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    now: datetime | None = None,
) -> Described:
    """Inventory ``target``: files with digests, and from their bytes models, data sets and packages.

    ``format``: ``json`` (CycloneDX 1.6), ``statement`` (in-toto, unsigned), ``attest`` (signed and kept in the evidence
    store), ``spdx-json`` (SPDX 3.0), ``table``. Nothing is loaded or executed. Raises `AssayError`.
    """
    from assay.collect.bom.build import collect
    from assay.collect.bom.documents import cyclonedx, spdx, table
    from assay.evidence.predicates.cyclonedx import PREDICATE_TYPE

    kind = FORMATS.get(format)
    if kind is None:
        raise UsageError(f"unknown format {format!r}", hint=f"one of: {', '.join(FORMATS)}")
    config = config if config is not None else load(None)
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    # Who signs is settled first: nobody wants to hear after an hour of digests that the key is missing.
    secret, by = signer(signer_choice, config) if kind == "attest" else (None, None)
    with resolve(target, options) as thing:
        manifest = thing.manifest()
        facts = collect(thing, manifest, now=now)
        contents = manifest.contents().hex()
        reference = str(thing.reference)
        if kind == "spdx-json":
            return Described(reference, kind, spdx.render(facts), facts, contents)
        if kind == "table":
            return Described(reference, kind, table.render(facts).encode(), facts, contents)
        if kind == "json":
            return Described(reference, kind, cyclonedx.render(facts), facts, contents)
        made = state(
            thing,
            manifest,
            (PREDICATE_TYPE, cyclonedx.document(facts)),
            secret=secret,
            directory=directory,
            options=options,
            labels=labels,
            config=config,
            identify=identify,
            now=now,
        )
        return Described(reference, kind, made.document, facts, contents, by, made.entry, made.store)
