"""Trust in keyless signing: a certificate of ten minutes for an identity that an OIDC issuer vouched for.

Everything is checked offline, from the bundle and a trust root, by ``sigstore``, which only `prove` imports.
This never reaches for the network and never accepts an identity without the issuer that vouched for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from assay.errors import DocumentError, MissingExtraError, SignatureError, UndecidedError, UsageError
from assay.evidence import strict_json
from assay.evidence.bundle import Bundle
from assay.evidence.envelope import expect
from assay.evidence.keys import public_key
from assay.evidence.trust.interface import Proof

if TYPE_CHECKING:
    from sigstore.verify import Verifier

_PRODUCTION = "https://tuf-repo-cdn.sigstore.dev"
"""Under this name the package embeds what Sigstore's public deployment publishes through TUF."""

_CLIENT_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig"

_MAX_TRUST_ROOT = 16 << 20


@dataclass(frozen=True, slots=True)
class SigstoreAnchor:
    """Accepts what this identity signed through Sigstore.

    Without ``trust_root``, the production root that the installed ``sigstore`` package embeds is used, and
    not the user's TUF cache: nobody checks that file again once it is downloaded, and a verdict must not
    depend on who wrote into a home directory. A key that Sigstore introduces later is believed after an
    upgrade of the package, or when a file with it is named.
    """

    identity: str
    """E-mail or URI that the signing certificate must carry, compared exactly."""
    issuer: str
    """URL of the OIDC issuer that must have vouched for it, compared exactly."""
    trust_root: str | None = None
    """Path to a ``trusted_root.json`` or a client trust configuration with one; None for production."""

    def __post_init__(self) -> None:
        # An issuer alone is anybody there; an identity alone is whoever any issuer lets call themselves so.
        if not self.identity or not self.issuer:
            raise UsageError(
                "a Sigstore signer is an identity and its issuer, one of them is missing",
                hint="give both --identity and --issuer",
            )

    def describe(self) -> str:
        """See `Anchor.describe`."""
        return f"Sigstore identity {self.identity!r} of {self.issuer}"

    def prove(self, bundle: Bundle, now: datetime) -> Proof:
        """See `Anchor.prove`.

        ``now`` decides nothing: the certificate must have been valid at the time that the log or a timestamp
        authority vouches for. Raises `MissingExtraError` without ``sigstore``, `DocumentError` for a bad
        trust root.
        """
        if not bundle.certificates or not bundle.log_entries:
            raise SignatureError("the document is not a Sigstore signature: it lacks a certificate or its log entry")
        try:
            from sigstore.models import Bundle as SigstoreBundle
            from sigstore.verify import policy
        except ImportError:
            raise MissingExtraError("verifying a Sigstore signature", "keyless") from None
        verifier = self._verifier()
        expected = policy.Identity(identity=self.identity, issuer=self.issuer)
        try:
            signed = SigstoreBundle.from_json(bundle.raw)
            kind, payload = verifier.verify_dsse(signed, expected)
            times = verifier._establish_time(signed)
            algorithm = public_key(signed.signing_certificate.public_key(), "the certificate").algorithm
        except Exception as error:
            # Whatever a hostile bundle makes the library raise (ValueError, KeyError, ASN.1 errors): no
            # proof.
            raise SignatureError(f"the Sigstore signature does not hold: {sentence(error)}") from None
        # Stops: a bundle that the library's parser and ours read differently.
        if (kind, payload) != (bundle.envelope.payload_type, bundle.envelope.payload):
            raise SignatureError("the Sigstore signature is over another payload than the document's")
        first = min(times, key=lambda item: item.time)
        source = "timestamp authority" if first.source.name == "TIMESTAMP_AUTHORITY" else "transparency log"
        return Proof("sigstore", self.identity, self.issuer, algorithm, first.time, source)

    def _verifier(self) -> Verifier:
        if self.trust_root is None:
            return _verifier(_production_root(), "the trust root of the sigstore package")
        try:
            with open(self.trust_root, "rb") as file:
                return _verifier(file.read(_MAX_TRUST_ROOT + 1), self.trust_root)
        except OSError as error:
            raise DocumentError(f"{self.trust_root} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=4)  # by content: a store's thousand bundles need one, and an edited file is a new one
def _verifier(document: bytes, what: str) -> Verifier:
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore.verify import Verifier
    from sigstore_models.trustroot.v1 import TrustedRoot as Model

    fields = expect(strict_json.loads(document, what, max_bytes=_MAX_TRUST_ROOT), dict, what)
    try:
        if str(fields.get("mediaType")).startswith(_CLIENT_CONFIG):
            return Verifier(trusted_root=ClientTrustConfig.from_json(document.decode()).trusted_root)
        return Verifier(trusted_root=TrustedRoot(Model.from_json(document)))
    except Exception as error:  # pydantic's, the library's own and ASN.1's alike
        raise DocumentError(
            f"{what} is not a Sigstore trust root: {sentence(error)}",
            hint="a trusted_root.json or a client trust configuration is expected",
        ) from None


def _production_root() -> bytes:
    from importlib.resources import files

    try:
        return files("sigstore").joinpath("_store", quote(_PRODUCTION, safe=""), "trusted_root.json").read_bytes()
    except OSError:
        raise UndecidedError(
            "the installed sigstore package embeds no trust root for production",
            hint="name a trusted_root.json",
        ) from None


def sentence(error: BaseException) -> str:
    """An exception of the library as part of a sentence: one line, printable, bounded, without jargon."""
    text = " ".join(str(error).partition(" [type=")[0].split()) or type(error).__name__
    return "".join(character if character.isprintable() else "?" for character in text[:300])
