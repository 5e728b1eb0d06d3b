"""Keyless signing: an OIDC identity becomes a short-lived certificate, and the signature is put on a log.

The identity token is a secret: it is sent to the certificate authority and must never be shown or stored.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, DocumentError, MissingExtraError, UndecidedError, UsageError
from assay.evidence.bundle import Bundle, parse
from assay.evidence.trust.sigstore import sentence
from assay.files import read_file

if TYPE_CHECKING:
    from sigstore.dsse import Statement
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken

_MAX_TOKEN = 1 << 16
_MAX_CONFIG = 16 << 20


@dataclass(frozen=True, slots=True)
class KeylessSigner:
    """Signs as whoever the identity token speaks for.

    The token is, in this order: ``token``, ``token_file``, the credential of the CI job that this runs in
    (GitHub, GitLab, CircleCI, Buildkite, Google Cloud), or what the user's browser brings back, when there
    is a terminal.
    """

    token: str | None = field(default=None, repr=False)
    """An OIDC identity token for the audience ``sigstore``."""
    token_file: str | None = None
    """Path to a file that holds one."""
    trust_config: str | None = None
    """Path to a private deployment's client trust configuration; None for Sigstore's public one."""

    def sign(self, payload: bytes) -> Bundle:
        """See `Signer.sign`. The payload is signed byte for byte.

        Raises `UndecidedError` when a service refuses or cannot be reached, `UsageError` for a payload that
        Sigstore does not take, and `MissingExtraError` without ``sigstore``.
        """
        try:
            from sigstore.sign import SigningContext
            from sigstore.verify import Verifier
        except ImportError:
            raise MissingExtraError("signing with Sigstore", "keyless") from None
        statement = _statement(payload)
        config = self._config()
        token = self._identity(config)
        try:
            with SigningContext.from_trust_config(config).signer(token) as signer:
                made = signer.sign_dsse(statement)
            # The library does not look at what log and timestamp authority answer. A signature that no
            # verifier would accept must fail here, where it can be repeated, and not when the model is
            # deployed.
            Verifier(trusted_root=config.trusted_root).verify_dsse(made, _Anybody())
        except Exception as error:
            raise _refusal(error) from None
        return parse(made.to_json().encode(), "the new signature")

    def _config(self) -> ClientTrustConfig:
        from sigstore.models import ClientTrustConfig

        if self.trust_config is None:
            try:
                return ClientTrustConfig.production()
            except Exception as error:
                raise UndecidedError(
                    f"what Sigstore's services are now cannot be fetched: {sentence(error)}",
                    hint="check the network and try again, or sign with --key",
                ) from None
        try:
            config = ClientTrustConfig.from_json(read_file(self.trust_config, _MAX_CONFIG).decode())
            _ = config.trusted_root, config.signing_config  # both are checked only when they are looked at
            return config
        except AssayError:
            raise
        except Exception as error:
            raise DocumentError(f"{self.trust_config} is not a client trust configuration: {sentence(error)}") from None

    def _identity(self, config: ClientTrustConfig) -> IdentityToken:
        import jwt
        from sigstore.oidc import IdentityToken, Issuer, detect_credential

        try:
            raw = self.token
            if raw is None and self.token_file is not None:
                raw = read_file(self.token_file, _MAX_TOKEN).decode().strip()
            if raw is None:
                raw = detect_credential()
            if raw is not None:
                return IdentityToken(raw)
            if sys.stdin and sys.stdin.isatty() and sys.stderr.isatty():
                return Issuer(config.signing_config.get_oidc_url()).identity_token()
        except AssayError:
            raise
        except Exception as error:
            if isinstance(error.__cause__, jwt.ExpiredSignatureError):
                raise UndecidedError("the identity token has expired", hint="get a new one and sign again") from None
            raise _refusal(error) from None
        raise UndecidedError(
            "nobody to sign as: there is no identity token, no CI credential, and no terminal to log in from",
            hint="give an identity token file, let the CI job issue identity tokens, or sign with --key",
        )


class _Anybody:
    """Policy for a look at one's own new signature: whoever the authority took us for is fine."""

    def verify(self, cert: Any) -> None:
        return


def _statement(payload: bytes) -> Statement:
    from sigstore.dsse import Statement
    from sigstore.errors import Error

    try:
        return Statement(payload)
    except Error as error:
        raise UsageError(
            f"Sigstore does not sign this statement: {sentence(error)}",
            hint="subjects may only have SHA-2 and SHA-3 digests: sign with --key or leave the others out",
        ) from None


def _refusal(error: Exception) -> UndecidedError:
    """What went wrong between us and the services; the library's errors hide the answer in their causes."""
    import requests

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, requests.RequestException):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return UndecidedError(f"Sigstore did not sign: {sentence(error)}")
    if cause.response is not None:
        said = sentence(ValueError(_message(cause.response) or cause.response.reason))
        return UndecidedError(f"{cause.response.url} refused (HTTP {cause.response.status_code}): {said}")
    place = str(cause.request.url) if cause.request is not None else "a Sigstore service"
    return UndecidedError(
        f"{place} cannot be reached ({type(cause).__name__})",
        hint="check the network and try again, or sign with --key",
    )


def _message(response: Any) -> str:
    """What a service says of its refusal; Fulcio and Rekor answer with a JSON object that has a ``message``."""
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return str(response.text)
