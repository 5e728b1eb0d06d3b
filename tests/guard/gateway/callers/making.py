"""What the tests of this room share: settings, requests, and an identity provider that signs what it is told to."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from assay.guard.gateway.interface import Certificate, Context
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.reading import convert

NOW = 1_800_000_000.0
ISSUER = "https://idp.example"


def settings(folder: Path, callers: dict[str, Any], **more: Any) -> Settings:
    """Settings as from a file with these callers and the plans ``default`` and ``gold``."""
    raw = {"plans": {"default": {}, "gold": {}}, "callers": callers, **more}
    return convert(raw, "gateway.yaml", str(folder))


def ask(at: float = NOW, certificate: Certificate | None = None, **headers: str) -> Context:
    """A request with these headers (``_`` for ``-``)."""
    sent = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    context = Context("POST", b"/v2/models/m/infer", sent, "192.0.2.1", at, certificate=certificate)
    context.address = context.peer  # as the rules say it, who are asked before
    return context


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """An identity provider with one key of each kind."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {
            "rs": rsa.generate_private_key(65537, 2048),
            "es": ec.generate_private_key(ec.SECP256R1()),
            "ed": ed25519.Ed25519PrivateKey.generate(),
        }

    def public(self, kid: str) -> dict[str, Any]:
        kind = {"rs": "RS256", "es": "ES256", "ed": "EdDSA"}[kid[:2]]
        return jwt.get_algorithm_by_name(kind).to_jwk(self.keys[kid].public_key(), as_dict=True) | {"kid": kid}

    def jwks(self, *kids: str) -> bytes:
        return json.dumps({"keys": [self.public(kid) for kid in kids or self.keys]}).encode()

    def pem(self, kid: str) -> bytes:
        """The public key as PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return bytes(self.keys[kid].public_key().public_bytes(serialization.Encoding.PEM, form))

    def claims(self, **more: Any) -> dict[str, Any]:
        made = {"iss": ISSUER, "aud": "gateway", "sub": "alice", "iat": NOW - 10, "exp": NOW + 600} | more
        return {name: value for name, value in made.items() if value is not ...}

    def token(self, kid: str = "es", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good but for what is given; ``...`` leaves a claim out."""
        return self.signed(json.dumps(self.claims(**claims)).encode(), kid, headers)

    def signed(self, payload: bytes, kid: str = "es", headers: dict[str, Any] | None = None) -> str:
        """Any bytes as the payload, with a good signature."""
        algorithm = {"rs": "RS256", "es": "ES256", "ed": "EdDSA"}[kid[:2]]
        header = {"typ": "JWT", "alg": algorithm, "kid": kid} | (headers or {})
        return self.raw(json.dumps({k: v for k, v in header.items() if v is not ...}).encode(), payload, kid)

    def raw(self, header: bytes, payload: bytes, kid: str = "es") -> str:
        """Any bytes as header and payload, with a good signature."""
        algorithm = jwt.get_algorithm_by_name({"rs": "RS256", "es": "ES256", "ed": "EdDSA"}[kid[:2]])
        signing = f"{b64(header)}.{b64(payload)}"
        return f"{signing}.{b64(algorithm.sign(signing.encode(), self.keys[kid]))}"
