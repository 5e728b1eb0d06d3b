"""Whom to believe: the caller's named signers, else the configuration's for this target, else one's own default key.

Never "anybody": without a name there is no answer, and the error says what to add.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.config import Config, Trust, default_key
from assay.errors import UndecidedError, UsageError
from assay.files import read_file

if TYPE_CHECKING:
    from assay.evidence.trust.interface import Anchor
    from assay.targets.interface import Reference


@dataclass(frozen=True, slots=True)
class TrustIn:
    """The caller's choice of whom to trust; all empty means: whoever the configuration or the default names."""

    keys: tuple[str, ...] = ()
    """Public key files."""
    ca: str | None = None
    """PEM file with certificate authorities; needs ``identity``."""
    identity: str | None = None
    """Name in the certificate: e-mail, URI, DNS name or common name."""
    issuer: str | None = None
    """OIDC issuer; with ``identity`` and without ``ca`` this is a Sigstore signer."""
    trust_root: str | None = None
    """Sigstore trust root or client trust configuration; without it the public one that ships with sigstore."""


def anchors(choice: TrustIn, config: Config, reference: Reference) -> list[Anchor]:
    """The expected signers for a target. Raises `UndecidedError` when there is none."""
    if choice.keys or choice.ca or choice.identity or choice.issuer:
        return anchors_of(choice)
    rule = config.trust_for(f"{reference.scheme}:{reference.name}")
    if rule is not None:
        place = folder(reference)
        if place is not None and config.grants_itself(place):
            raise UsageError(
                f"the assay.yaml in {config.directory!r} lies inside the target and could make it trust itself",
                hint="run from another folder, or name the file with --config if it is yours",
            )
        found = named(rule, config)
        if not found:
            raise UndecidedError(f"the trust rule for {str(reference)!r} in assay.yaml names nobody")
        return found
    return anchors_of(choice)


def anchors_of(choice: TrustIn) -> list[Anchor]:
    """The expected signers when no rule of the configuration applies. Raises `UndecidedError` when there is none."""
    if choice.keys or choice.ca or choice.identity or choice.issuer:
        return _chosen(choice)
    own = public_path(default_key())
    if os.path.isfile(own):
        return [_key(own)]
    raise UndecidedError(
        "nobody is named whose signature would count",
        hint="add --key FILE.pub, or --identity WHO --issuer URL, or --ca FILE --identity WHO, "
        "or a trust rule to assay.yaml",
    )


def named(rule: Trust, config: Config) -> list[Anchor]:
    """The signers that a rule of `assay.yaml` names."""
    found: list[Anchor] = [_key(config.path(path)) for path in rule.keys]
    root = config.path(rule.trust_root) if rule.trust_root else None
    found += [_sigstore(item.identity, item.issuer, root) for item in rule.identities]
    return found + [_certificate(config.path(item.ca), item.identity) for item in rule.certificates]


def folder(reference: Reference) -> str | None:
    """The real path of the folder that came with a local target: itself, its clone, or what a file lies in."""
    if reference.scheme not in ("dir", "git", "file", "oci") or not os.path.exists(reference.name):
        return None
    real = os.path.realpath(reference.name)
    return real if os.path.isdir(real) else os.path.dirname(real)


def public_path(private: str) -> str:
    """Where the public half of a private key's file lies: ``key.pem`` has ``key.pub`` beside it."""
    return os.path.splitext(private)[0] + ".pub"


def anchors_of_keys(paths: Sequence[str]) -> list[Anchor]:
    """The signers whose public key files these are."""
    return [_key(path) for path in paths]


def _chosen(choice: TrustIn) -> list[Anchor]:
    found = anchors_of_keys(choice.keys)
    if choice.ca:
        if not choice.identity:
            raise UndecidedError(
                "--ca alone would accept anybody whom that authority certified", hint="add --identity WHO"
            )
        return [*found, _certificate(choice.ca, choice.identity)]
    if choice.identity or choice.issuer:
        if not (choice.identity and choice.issuer):
            raise UndecidedError(
                "a Sigstore signer is an identity together with the issuer that vouches for it",
                hint="give both --identity and --issuer (or --ca for a certificate of your own authority)",
            )
        return [*found, _sigstore(choice.identity, choice.issuer, choice.trust_root)]
    if not found:
        raise UsageError("--trust-root needs --identity and --issuer")
    return found


def _key(path: str) -> Anchor:
    from assay.evidence.keys import load_public
    from assay.evidence.trust.key import KeyAnchor

    return KeyAnchor(load_public(read_file(path), path))


def _certificate(path: str, identity: str) -> Anchor:
    from assay.evidence.trust.certificate import CertificateAnchor, load_authorities

    return CertificateAnchor(load_authorities(read_file(path), path), identity)


def _sigstore(identity: str, issuer: str, trust_root: str | None) -> Anchor:
    from assay.evidence.trust.sigstore import SigstoreAnchor

    return SigstoreAnchor(identity, issuer, trust_root)
