"""A verdict becomes evidence: signed statements about the target that later policies can require."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import assay
from assay.api.keeping import open_store
from assay.api.signers import SignWith, signer
from assay.collect.provenance.context import context
from assay.config import Config, load
from assay.evidence.statement import Statement, Subject
from assay.policy.documents import attestations
from assay.policy.verdict import Decision


@dataclass(frozen=True, slots=True)
class Kept:
    """What was signed and kept."""

    by: str
    """Who signed, in words."""
    entries: tuple[str, ...]
    """Digests under which the store has the statements: the full result, the VSA, the SVR."""


def attest_verdict(
    decision: Decision,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    *,
    directory: str | None = None,
    config: Config | None = None,
) -> Kept:
    """Sign the full result, a SLSA verification summary and an in-toto simple verification result, and keep them.

    All three are about the very bytes that were decided about, accepted or not. Raises `AssayError`.
    """
    config = config if config is not None else load(None)
    secret, by = signer(signer_choice, config)
    said = {
        "time": decision.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "contents": decision.sha256,
        "labels": {**config.labels, **decision.labels},
        "context": context(None, os.environ).document(),
        "tool": {"name": "assay", "version": assay.__version__},
    }
    annotations = {name: value for name, value in said.items() if value}
    subject = Subject(decision.name, {"sha256": decision.sha256}, annotations)
    with open_store(directory, config=config, create=True) as store:

        def keep(kind: str, predicate: dict[str, Any]) -> str:
            bundle = secret.sign(Statement((subject,), kind, predicate).dump())
            return store.add(bundle.raw, now=decision.time, labels=dict(decision.labels)).blob

        return Kept(by, attestations.all_of(decision, keep))
