"""Who signs, when several could: the caller's choice, the configuration's, the default key, Sigstore."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from assay.config import Config, default_key
from assay.errors import UndecidedError, UsageError
from assay.files import read_file

if TYPE_CHECKING:
    from assay.evidence.signers.interface import Signer

Passphrase = Callable[[str], bytes]
"""Asked with a text for a prompt when a private key is encrypted."""


class SignWith(Struct, frozen=True):
    """The caller's choice of signer; all empty means: whoever the configuration or the default names."""

    key: str | None = None
    """Private key file."""
    certificate: str | None = None
    """PEM file with the key's certificate and intermediates."""
    keyless: bool = False
    identity_token: str | None = None
    """File with an OIDC token for keyless signing."""
    trust_config: str | None = None
    """Sigstore client trust configuration of a private deployment."""
    passphrase_file: str | None = None


def signer(choice: SignWith, config: Config) -> tuple[Signer, str]:
    """The signer, and who it is in words. Raises `UndecidedError` when there is none."""
    key, certificate, keyless = choice.key, choice.certificate, choice.keyless
    trust_config = choice.trust_config
    if key and keyless:
        raise UsageError("--key and --keyless exclude each other")
    if not key and not keyless:
        named = config.signing
        keyless = named.keyless
        key = config.path(named.key) if named.key else None
        certificate = certificate or (config.path(named.certificate) if named.certificate else None)
        trust_config = trust_config or (config.path(named.trust_config) if named.trust_config else None)
    if not key and not keyless and os.path.isfile(default_key()):
        key = default_key()
    if key:
        return _with_key(key, certificate, passphrase(choice.passphrase_file))
    if not keyless and not _can_be_keyless():
        raise UndecidedError(
            "nobody to sign as",
            hint="make a key with 'assay keys generate', or sign with --keyless or --key FILE",
        )
    from assay.evidence.signers.keyless import KeylessSigner

    return KeylessSigner(token_file=choice.identity_token, trust_config=trust_config), "your Sigstore identity"


def _can_be_keyless() -> bool:
    """Keyless as a last resort needs its library, and a token in the environment or somebody at a terminal."""
    from importlib.util import find_spec

    ambient = (
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "SIGSTORE_ID_TOKEN",
        "BUILDKITE_AGENT_ACCESS_TOKEN",
        "CIRCLE_OIDC_TOKEN_V2",
    )
    return find_spec("sigstore") is not None and (sys.stdin.isatty() or any(name in os.environ for name in ambient))


def _with_key(path: str, certificate: str | None, ask: Passphrase) -> tuple[Signer, str]:
    from assay.evidence import keys
    from assay.evidence.signers.key import KeySigner, with_certificates

    if not os.path.exists(path):
        raise UsageError(
            f"there is no key {path}", hint=f"make one with 'assay keys generate -O {path}', or name another"
        )
    key = keys.load_private(read_file(path), path, ask)
    if certificate:
        return with_certificates(key, read_file(certificate), certificate), f"the certificate in {certificate}"
    return KeySigner(key), f"key {key.public.key_id[:16]}"


def passphrase(file: str | None) -> Passphrase:
    """How a passphrase is found: ``file``, else ``$ASSAY_PASSPHRASE``, else a prompt on the terminal."""

    def ask(prompt: str) -> bytes:
        if file is not None:
            return read_file(file).split(b"\n", 1)[0].rstrip(b"\r")
        if (value := os.environ.get("ASSAY_PASSPHRASE")) is not None:
            return value.encode()
        if not sys.stdin.isatty():
            raise UndecidedError(
                "the private key is encrypted and there is no terminal to ask for its passphrase",
                hint="give --passphrase-file FILE or set ASSAY_PASSPHRASE",
            )
        from getpass import getpass

        return getpass(prompt).encode()

    return ask
