"""``crypto.x509.*``: reading certificates, with the fields that rules look at, by the names that Go gives them.

A chain is verified up to the root that the rule passes along, at the time of the decision. What assay itself trusts is
decided elsewhere.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

_NAMES = {
    "CommonName": NameOID.COMMON_NAME,
    "SerialNumber": NameOID.SERIAL_NUMBER,
    "Country": NameOID.COUNTRY_NAME,
    "Organization": NameOID.ORGANIZATION_NAME,
    "OrganizationalUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "Locality": NameOID.LOCALITY_NAME,
    "Province": NameOID.STATE_OR_PROVINCE_NAME,
    "StreetAddress": NameOID.STREET_ADDRESS,
    "PostalCode": NameOID.POSTAL_CODE,
}


def parse_certificates(text: str) -> list[dict[str, Any]]:
    """``crypto.x509.parse_certificates``."""
    return [described(certificate) for certificate in _load(text)]


def parse_and_verify(text: str, now: int) -> list[Any]:
    """``crypto.x509.parse_and_verify_certificates``: whether the last of the certificates is vouched for by those
    before it, root first, at ``now`` (nanoseconds), and the chain from the leaf up.
    """
    chain = _load(text)
    if len(chain) < 2:
        return [False, []]
    time = datetime.fromtimestamp(now // 1_000_000_000, UTC)
    for at, certificate in enumerate(chain):
        issuer = chain[max(at - 1, 0)]
        if not certificate.not_valid_before_utc <= time <= certificate.not_valid_after_utc:
            return [False, []]
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            return [False, []]
        if at < len(chain) - 1 and not _may_issue(certificate, below=len(chain) - 2 - at):
            return [False, []]
    return [True, [described(certificate) for certificate in reversed(chain)]]


def described(certificate: x509.Certificate) -> dict[str, Any]:
    """The fields of a certificate."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    basic = _extension(certificate, x509.BasicConstraints)
    found: dict[str, Any] = {
        "Subject": _name(certificate.subject),
        "Issuer": _name(certificate.issuer),
        "NotBefore": certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "NotAfter": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Version": certificate.version.value + 1,
        "IsCA": basic is not None and basic.ca,
        "BasicConstraintsValid": basic is not None,
        "DNSNames": _values(names, x509.DNSName),
        "EmailAddresses": _values(names, x509.RFC822Name),
        "URIStrings": _values(names, x509.UniformResourceIdentifier),
        "IPAddresses": _values(names, x509.IPAddress),
        "Raw": base64.b64encode(certificate.public_bytes(_der())).decode(),
    }
    if certificate.serial_number < 1 << 63:  # a larger one would lose digits on its way into the rule
        found["SerialNumber"] = certificate.serial_number
    return found


def _load(text: str) -> list[x509.Certificate]:
    """Certificates in PEM, in PEM within base64, or in DER within base64."""
    if "-----BEGIN" in text:
        return x509.load_pem_x509_certificates(text.encode())
    data = base64.b64decode(text, validate=True)
    if data.startswith(b"-----BEGIN"):
        return x509.load_pem_x509_certificates(data)
    return [x509.load_der_x509_certificate(data)]


def _may_issue(certificate: x509.Certificate, below: int) -> bool:
    """Whether it may vouch for others, ``below`` of which may vouch for others again."""
    basic = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        return False
    return basic.path_length is None or basic.path_length >= below


def _extension(certificate: x509.Certificate, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(name: x509.Name) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, oid in _NAMES.items():
        values = [str(item.value) for item in name.get_attributes_for_oid(oid)]
        single = field in ("CommonName", "SerialNumber")
        found[field] = (values[-1] if values else "") if single else values or None
    return found


def _values(names: Any, kind: Any) -> list[str] | None:
    return ([str(item) for item in names.get_values_for_type(kind)] or None) if names is not None else None


def _der() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER
