"""A model, an evidence store, people with keys, and policies about it: everything real, in one folder.

Statements are made by hand here, because an attacker is not bound to what assay's commands would write.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from assay.api.anchors import TrustIn
from assay.api.deciding import Deciding, decide
from assay.config import Config
from assay.evidence import keys
from assay.evidence.envelope import IN_TOTO, pae
from assay.evidence.keys import PrivateKey
from assay.evidence.stores import open_directory
from assay.evidence.stores.interface import Entry
from assay.policy.verdict import Decision, Verdict
from helpers import manifest_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""When everything is decided."""
EVALUATION = "https://assay.dev/evaluation/v0.1"
BILL = "https://cyclonedx.org/bom"
PROVENANCE = "https://slsa.dev/provenance/v1"
GENERIC = "https://assay.dev/generic/v0.1"
MODEL_SIGNATURE = "https://model_signing/signature/v1.0"

FILES = {"config.json": b'{"model_type": "bert"}', "weights.bin": b"\x00\x01" * 50, "code/modeling.py": b"x = 1\n"}

BILL_OF_NOTHING = {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": {"name": "m"}}}


@cache
def key(name: str) -> PrivateKey:
    """Somebody's key; the same for all tests, for only the names matter."""
    return keys.generate("ed25519")


def evaluation(accuracy: Any = 0.95) -> dict[str, Any]:
    """The predicate of an evaluation."""
    return {"dataset": "test", "metrics": {"accuracy": accuracy}}


def provenance(builder: str, *inputs: str) -> dict[str, Any]:
    """The predicate of a build from things with these SHA-256 digests."""
    sources = [{"uri": f"pkg:generic/{i}", "digest": {"sha256": digest}} for i, digest in enumerate(inputs)]
    definition = {"buildType": "https://example.com/build", "externalParameters": {}, "resolvedDependencies": sources}
    return {"buildDefinition": definition, "runDetails": {"builder": {"id": builder}}}


def signed_by(*names: str, payload: bytes, kind: str = IN_TOTO) -> dict[str, Any]:
    """An envelope over any bytes."""
    signatures = [{"sig": base64.b64encode(key(name).sign(pae(kind, payload))).decode()} for name in names]
    return {"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": signatures}


def dump(document: Any) -> bytes:
    """A document as a file's bytes."""
    return json.dumps(document).encode()


@dataclass
class Scene:
    """One target with its evidence."""

    root: Path
    model: Path
    now: datetime = NOW

    @classmethod
    def at(cls, root: Path, files: Mapping[str, bytes] = FILES) -> Scene:
        """A scene in an empty folder."""
        made = cls(root, root / "model")
        made.write(files)
        return made

    @property
    def store(self) -> str:
        """The evidence directory."""
        return str(self.root / "evidence")

    @property
    def contents(self) -> str:
        """The target's digest, hex."""
        return manifest_of(self.model).contents().hex()

    def write(self, files: Mapping[str, bytes], folder: Path | None = None) -> Path:
        """Files of the target, or of another folder."""
        folder = folder or self.model
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def public(self, *names: str) -> tuple[str, ...]:
        """Files with people's public keys."""
        for name in names:
            (self.root / f"{name}.pub").write_bytes(key(name).public.pem)
        return tuple(str(self.root / f"{name}.pub") for name in names)

    def private(self, name: str) -> str:
        """A file with somebody's private key."""
        path = self.root / f"{name}.pem"
        path.write_bytes(key(name).pem(None))
        return str(path)

    def statement(
        self,
        kind: str = EVALUATION,
        predicate: Mapping[str, Any] | None = None,
        *,
        digest: Mapping[str, str] | str | None = None,
        age: timedelta | None = timedelta(hours=1),
        said: Mapping[str, Any] | None = None,
        before: Sequence[Mapping[str, Any]] = (),
        after: Sequence[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> bytes:
        """A statement about the target, or about another ``digest``, with further subjects before and after."""
        digests = (
            {"sha256": self.contents} if digest is None else {"sha256": digest} if isinstance(digest, str) else digest
        )
        annotations = dict(said or {})
        if age is not None:
            annotations.setdefault("time", f"{self.now - age:%Y-%m-%dT%H:%M:%SZ}")
        subject = {"name": "model", "digest": dict(digests), "annotations": annotations}
        document = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [*before, subject, *after],
            "predicateType": kind,
            "predicate": dict(evaluation() if predicate is None else predicate),
        }
        return dump(document | fields)

    def document(self, *by: str, **about: Any) -> bytes:
        """A signed statement as a file's bytes."""
        return dump(signed_by(*by, payload=self.statement(**about)))

    def add(self, document: bytes, *, at: datetime | None = None) -> Entry:
        """Put a document into the store, which anybody can do who may write there."""
        with open_directory(self.store, create=True) as store:
            return store.add(document, now=at or self.now)

    def attest(self, *by: str, **about: Any) -> Entry:
        """A signed statement in the store."""
        return self.add(self.document(*by, **about))

    def discard(self, entry: Entry) -> None:
        """Take an entry back."""
        with open_directory(self.store, create=False) as store:
            store.discard(entry, reason="wrong", now=self.now)

    def policy(self, rules: str, *, signers: Iterable[str] = (), name: str = "policy.yml") -> str:
        """A policy file with these rules (YAML list items) and a group for each of the people."""
        groups = ""
        for person in signers:
            self.public(person)
            groups += f"  {person}: {{keys: [{person}.pub]}}\n"
        lines = "".join(f"  {line}\n" for line in rules.strip("\n").splitlines())
        text = "assay-policy: 1\nid: p\n" + (f"signers:\n{groups}" if groups else "") + "controls:\n- id: c\n  rules:\n"
        path = self.root / name
        path.write_text(text + lines)
        return str(path)

    def decide(
        self,
        policy: str,
        *,
        target: str | None = None,
        trusted: Sequence[str] = ("alice",),
        now: datetime | None = None,
        config: Config | None = None,
        **how: Any,
    ) -> Decision:
        """The decision, with the keys of ``trusted`` as those whom the caller believes."""
        path = self.policy(policy) if policy.lstrip().startswith("- ") else policy
        given = Deciding(trust=TrustIn(self.public(*trusted)), directory=self.store)
        given = replace(given, **how)
        return decide(target or str(self.model), path, given, config=config or Config(), now=now or self.now)

    def verdict(self, policy: str, **how: Any) -> Verdict:
        """Of one rule, or of several together."""
        return self.decide(policy, **how).verdict


def sha256(data: bytes) -> str:
    """Hex."""
    return hashlib.sha256(data).hexdigest()


def reasons(decision: Decision) -> str:
    """Everything that the results say, for looking at in a failed test."""
    return "; ".join(f"{result.rule}: {result.verdict}: {result.reason}" for result in decision.results)
