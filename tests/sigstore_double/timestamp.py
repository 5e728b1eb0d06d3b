"""The timestamp authority (RFC 3161), on the ASN.1 types of ``asn1crypto``."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asn1crypto import cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sigstore_double.pki import DAY, Authority, authority, der, key_usage, name, now

SHA256 = {"algorithm": "sha256"}


@dataclass
class TimestampAuthority:
    """Stamps whatever digest it is given."""

    root: Authority = field(default_factory=lambda: authority("tsa root", path_length=0))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        public, issuer = self.key.public_key(), self.root.key.public_key()
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name("tsa"))
            .issuer_name(self.root.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - 30 * DAY)
            .not_valid_after(now() + 3000 * DAY)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(key_usage(sign=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
            .sign(self.root.key, hashes.SHA384())
        )

    def answer(self, request: bytes) -> bytes:
        """``POST /api/v1/timestamp``: TimeStampReq to TimeStampResp."""
        asked = tsp.TimeStampReq.load(request)
        return self.stamp(asked["message_imprint"], now(), asked["nonce"].native, asked["cert_req"].native)

    def stamp_message(self, message: bytes, at: datetime | None = None) -> bytes:
        """A TimeStampResp for ``message`` without a request; ``at`` is for attacks."""
        imprint = {"hash_algorithm": SHA256, "hashed_message": hashlib.sha256(message).digest()}
        return self.stamp(imprint, at or now(), secrets.randbits(63), True)

    def stamp(self, imprint: Any, at: datetime, nonce: int | None, with_certificate: bool) -> bytes:
        """The signed answer."""
        info = {
            "version": "v1",
            "policy": "1.2.3.4.1",
            "message_imprint": imprint,
            "serial_number": secrets.randbits(63),
            "gen_time": at,
        }
        if nonce is not None:
            info["nonce"] = nonce
        content = tsp.TSTInfo(info)
        certificate = asn1_x509.Certificate.load(der(self.certificate))
        attributes = self._attributes(content.dump(), at, certificate)
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier("issuer_and_serial_number", _serial(certificate)),
                "digest_algorithm": SHA256,
                "signed_attrs": attributes,
                "signature_algorithm": {"algorithm": "sha256_ecdsa"},
                "signature": self.key.sign(attributes.untag().dump(), ec.ECDSA(hashes.SHA256())),
            }
        )
        signed = {
            "version": "v3",
            "digest_algorithms": [SHA256],
            "encap_content_info": {
                "content_type": "tst_info",
                "content": cms.ParsableOctetString(content.dump()),
            },
            "signer_infos": [signer],
        }
        if with_certificate:
            signed["certificates"] = [cms.CertificateChoices("certificate", certificate)]
        token = {"content_type": "signed_data", "content": cms.SignedData(signed)}
        return bytes(tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump())

    def _attributes(self, content: bytes, at: datetime, certificate: Any) -> Any:
        identifier = {
            "hash_algorithm": SHA256,
            "cert_hash": hashlib.sha256(der(self.certificate)).digest(),
            "issuer_serial": {
                "issuer": [asn1_x509.GeneralName("directory_name", certificate.issuer)],
                "serial_number": certificate.serial_number,
            },
        }
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "signing_time", "values": [cms.Time({"utc_time": at})]},
                {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
                {"type": "signing_certificate_v2", "values": [{"certs": [identifier]}]},
            ]
        )
        return cms.CMSAttributes(sorted(attributes, key=lambda item: item.dump()))  # DER's order of a SET


def _serial(certificate: Any) -> dict[str, Any]:
    return {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
