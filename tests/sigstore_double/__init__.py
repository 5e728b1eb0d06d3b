"""A private Sigstore on loopback, for tests: identity provider, Fulcio, CT and Rekor logs, timestamps.

It speaks the services' protocols, so that ``sigstore``, ``model_signing`` and assay sign and verify against
it unchanged. It checks what the real services check (token, proof of possession, signature) and keeps its
keys and its log in memory; it is no service to depend on.
"""

from __future__ import annotations

from sigstore_double.deployment import Deployment
from sigstore_double.server import Faults, Server, running

__all__ = ["Deployment", "Faults", "Server", "running"]
