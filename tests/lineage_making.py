"""Pipelines for the tests of lineage: signed statements in a real store, and who signed them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.api.anchors import TrustIn
from assay.api.lineage import lineage
from assay.evidence import keys
from assay.evidence.lineage.interface import Lineage
from assay.evidence.signers.key import KeySigner
from assay.evidence.statement import Statement, Subject
from assay.evidence.stores import open_directory

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SLSA = "https://slsa.dev/provenance/v1"
LINK = "https://in-toto.io/attestation/link/v0.3"
BUILD = "https://example.org/pipeline/v1"


def sha(name: str) -> str:
    """The digest of the artifact with this name."""
    return hashlib.sha256(name.encode()).hexdigest()


def key(name: str) -> str:
    """Its key in a graph."""
    return f"sha256:{sha(name)}"


def resource(name: str, **annotations: Any) -> dict[str, Any]:
    """It as a material."""
    made: dict[str, Any] = {"name": name, "digest": {"sha256": sha(name)}}
    return made | ({"annotations": annotations} if annotations else {})


def provenance(step: str, inputs: Sequence[Mapping[str, Any]], **details: Any) -> dict[str, Any]:
    """SLSA provenance v1 of a step."""
    return {
        "buildDefinition": {
            "buildType": BUILD,
            "externalParameters": {"step": step},
            "resolvedDependencies": list(inputs),
        },
        "runDetails": {"builder": {"id": "https://example.org/builder"}, "metadata": details},
    }


class Place:
    """A store, a key pair that is expected, and a stranger's."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, str(root / "evidence")
        self.signer, self.stranger = KeySigner(keys.generate("ed25519")), KeySigner(keys.generate("ed25519"))
        (root / "own.pub").write_bytes(self.signer.key.public.pem)
        self.trust = TrustIn((str(root / "own.pub"),))
        open_directory(self.store, create=True).close()

    def add(self, bundle: bytes) -> int:
        """Keep a bundle; the number of its entry."""
        with open_directory(self.store, create=True) as store:
            return store.add(bundle, now=NOW).seq

    def say(
        self, outputs: Sequence[str | Subject], predicate_type: str, predicate: Mapping[str, Any], *, by: Any = None
    ) -> int:
        """Sign a statement and keep it."""
        subjects = tuple(Subject(item, {"sha256": sha(item)}) if isinstance(item, str) else item for item in outputs)
        return self.add((by or self.signer).sign(Statement(subjects, predicate_type, dict(predicate)).dump()).raw)

    def step(self, name: str, inputs: Sequence[str], outputs: Sequence[str], *, by: Any = None) -> int:
        """A step as provenance."""
        return self.say(outputs, SLSA, provenance(name, [resource(item) for item in inputs]), by=by)

    def pipeline(self) -> None:
        """raw → clean → model → small model; and an evaluation of the model."""
        self.step("prepare", ["raw"], ["clean"])
        self.step("train", ["clean", "train.py"], ["model"])
        self.step("quantise", ["model"], ["model.gguf"])
        self.step("evaluate", ["model", "clean"], ["metrics.json"])

    def of(self, target: str, **more: Any) -> Lineage:
        """The lineage of a named artifact, or of a target on disk."""
        name = target if ":" in target or "/" in target else key(target)
        return lineage(name, **({"trust": self.trust, "directory": self.store, "now": NOW} | more))


def names(graph: Lineage, found: set[str]) -> set[str]:
    """Keys as names."""
    return {graph.artifacts[item].name for item in found}
