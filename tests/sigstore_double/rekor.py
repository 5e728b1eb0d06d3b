"""The transparency log, version 2: ``hashedrekord`` entries in a Merkle tree (RFC 6962), with checkpoints."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from sigstore_double.pki import b64


@dataclass
class Rekor:
    """Holds the leaves in memory."""

    origin: str = "rekor.double.invalid"
    key: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    leaves: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def log_id(self) -> bytes:
        """Key ID of a signed note (C2SP signed-note): over the origin, the algorithm and the raw key."""
        raw = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return hashlib.sha256(self.origin.encode() + b"\n\x01" + raw).digest()

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """``POST /api/v2/log/entries``. Raises ``InvalidSignature`` for a signature that is not one."""
        given = request["hashedRekordRequestV002"]
        signature, verifier = given["signature"], given["signature"]["verifier"]
        certificate = verifier["x509Certificate"]["rawBytes"]
        key = x509.load_der_x509_certificate(base64.b64decode(certificate)).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("only ECDSA keys are logged here")
        digest = base64.b64decode(given["digest"])
        key.verify(base64.b64decode(signature["content"]), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        content = {
            "data": {"algorithm": "SHA2_256", "digest": given["digest"]},
            "signature": {
                "content": signature["content"],
                "verifier": {
                    "keyDetails": verifier["keyDetails"],
                    "x509Certificate": {"rawBytes": certificate},
                },
            },
        }
        entry = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": content}}
        return self.add(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode())

    def add(self, body: bytes) -> dict[str, Any]:
        """Append a leaf; the TransparencyLogEntry with its inclusion proof in the tree as of now."""
        with self.lock:
            self.leaves.append(hashlib.sha256(b"\0" + body).digest())
            leaves = list(self.leaves)
        index = len(leaves) - 1
        root = _root(leaves)
        return {
            "logIndex": str(index),
            "logId": {"keyId": b64(self.log_id)},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "integratedTime": "0",
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": b64(root),
                "treeSize": str(len(leaves)),
                "hashes": [b64(item) for item in _path(index, leaves)],
                "checkpoint": {"envelope": self.checkpoint(root, len(leaves))},
            },
            "canonicalizedBody": b64(body),
        }

    def checkpoint(self, root: bytes, size: int) -> str:
        """A signed note over the tree's head (C2SP tlog-checkpoint)."""
        note = f"{self.origin}\n{size}\n{b64(root)}\n"
        signature = self.log_id[:4] + self.key.sign(note.encode())
        return f"{note}\n\u2014 {self.origin} {b64(signature)}\n"


def _split(count: int) -> int:
    """Largest power of two smaller than ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = _split(len(leaves))
    return hashlib.sha256(b"\1" + _root(leaves[:k]) + _root(leaves[k:])).digest()


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*_path(index, leaves[:k]), _root(leaves[k:])]
    return [*_path(index - k, leaves[k:]), _root(leaves[:k])]
