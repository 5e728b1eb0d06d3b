"""Trust in a certificate authority together with the identity that its certificate must carry.

The chain is checked by ``cryptography``'s path validation at the time of verification, not at a time that the
certificate itself names: the latter would accept what was signed with an expired and stolen key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from assay.errors import DocumentError, SignatureError, UsageError
from assay.evidence.bundle import Bundle
from assay.evidence.keys import public_key
from assay.evidence.trust.interface import Proof

_UNREADABLE = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
"""What ``cryptography`` raises beside ``ValueError`` for certificates that are malformed."""


@dataclass(frozen=True, slots=True)
class CertificateAnchor:
    """Accepts what was signed with a certificate that chains to one of these authorities and names this identity."""

    authorities: tuple[x509.Certificate, ...]
    identity: str
    """E-mail, URI, DNS name or common name that the certificate must carry, compared exactly."""

    def describe(self) -> str:
        """See `Anchor.describe`."""
        return f"certificate of {self.identity!r}"

    def prove(self, bundle: Bundle, now: datetime) -> Proof:
        """See `Anchor.prove`. The order of the steps: chain and validity, purpose, identity, then the signature."""
        candidates = [bundle.certificates] if bundle.certificates else []
        candidates += [signature.certificates for signature in bundle.envelope.signatures if signature.certificates]
        if not candidates:
            raise SignatureError("the document carries no certificate")
        problem = SignatureError("no certificate fits")
        for chain in candidates:
            try:
                return self._prove(chain, bundle, now)
            except SignatureError as error:
                problem = error
        raise problem

    def _prove(self, chain: tuple[bytes, ...], bundle: Bundle, now: datetime) -> Proof:
        try:
            leaf, *intermediates = [x509.load_der_x509_certificate(der) for der in chain]
            names = identities(leaf)
            key = public_key(leaf.public_key(), "the signing certificate")
        except (ValueError, UnsupportedAlgorithm, *_UNREADABLE) as error:
            raise SignatureError(f"the certificate cannot be read: {str(error)[:120]}") from None
        except DocumentError as error:
            raise SignatureError(error.message) from None
        # An expired or not-yet-valid certificate gets its own sentence: it is the failure that honest users meet.
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            span = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
            raise SignatureError(f"the certificate is valid from {span}, not at {now:%Y-%m-%d %H:%M}Z")
        # Stops: certificates of other authorities, broken signatures, end-entity certificates acting as authorities.
        try:
            path = _verifier(self.authorities, now).verify(leaf, intermediates).chain
        except (verification.VerificationError, ValueError, *_UNREADABLE) as error:
            reason = str(error).partition(" (encountered")[0][:240]
            raise SignatureError(f"the certificate does not chain to a trusted authority: {reason}") from None
        # Stops: a web server's certificate of the same authority used to sign models.
        if not _may_sign(leaf):
            raise SignatureError("the certificate is not for signing (key usage)")
        # Stops: an authority that may certify some names only and puts another into the common name, which name
        # constraints do not reach.
        if any(_constrains_names(certificate) for certificate in path):
            names = alternative_names(leaf)
        # Stops: anybody else whom the same authority certified.
        if self.identity not in names:
            raise SignatureError(f"the certificate is for {', '.join(names) or 'nobody'}, not for {self.identity!r}")
        for signature in bundle.envelope.signatures:
            try:
                key.verify(signature.sig, bundle.envelope.pae())
            except SignatureError:
                continue
            issuer = _common_name(leaf.issuer)
            return Proof("certificate", self.identity, issuer, key.algorithm, key_id=key.key_id)
        raise SignatureError("the signature is not one by the certificate's key over this document")


def load_authorities(pem: bytes, what: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a CA file. Raises `UsageError` when there is none."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, x509.InvalidVersion):
        raise UsageError(f"{what} holds no PEM certificate") from None


def identities(certificate: x509.Certificate) -> list[str]:
    """Every name that the certificate carries: alternative names first, then the common name."""
    common = _common_name(certificate.subject)
    return [*alternative_names(certificate), *([common] if common else [])]


def alternative_names(certificate: x509.Certificate) -> list[str]:
    """The e-mails, URIs and DNS names that the certificate carries."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *value.get_values_for_type(x509.RFC822Name),
        *value.get_values_for_type(x509.UniformResourceIdentifier),
        *value.get_values_for_type(x509.DNSName),
    ]


def _constrains_names(certificate: x509.Certificate) -> bool:
    return any(isinstance(extension.value, x509.NameConstraints) for extension in certificate.extensions)


def _common_name(name: x509.Name) -> str | None:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if len(values) == 1 else None


def _verifier(authorities: tuple[x509.Certificate, ...], now: datetime) -> verification.ClientVerifier:
    """RFC 5280 path validation; web-only demands (alternative names, server usage) are lifted, the rest stays."""
    return (
        verification.PolicyBuilder()
        .store(verification.Store(list(authorities)))
        .time(now.astimezone(UTC).replace(tzinfo=None))
        .max_chain_depth(8)
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.permit_all()
            .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _is_authority)
            .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _may_certify),
            ee_policy=verification.ExtensionPolicy.permit_all(),
        )
        .build_client_verifier()
    )


def _is_authority(policy: verification.Policy, certificate: x509.Certificate, value: x509.BasicConstraints) -> None:
    if not value.ca:
        raise ValueError("not a certificate authority")


def _may_certify(policy: verification.Policy, certificate: x509.Certificate, value: x509.KeyUsage | None) -> None:
    # RFC 5280, 6.1.4 (n). Basic constraints alone are not enough: signing certificates exist that call themselves
    # authorities (those of released model signatures do), and their holders must not certify anybody else.
    if value is not None and not value.key_cert_sign:
        raise ValueError("its key usage does not allow it to sign certificates")


def _may_sign(leaf: x509.Certificate) -> bool:
    """Digital signature usage where usage is stated; code signing where an extended usage is stated."""
    extensions = {extension.oid: extension.value for extension in leaf.extensions}
    usage = extensions.get(ExtensionOID.KEY_USAGE)
    extended = extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if isinstance(usage, x509.KeyUsage) and not usage.digital_signature:
        return False
    if isinstance(extended, x509.ExtendedKeyUsage):
        return ExtendedKeyUsageOID.CODE_SIGNING in extended
    return isinstance(usage, x509.KeyUsage)
