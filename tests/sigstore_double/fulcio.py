"""The certificate authority: a token and a proof of possession become a short-lived certificate."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from sigstore_double.ct import CertificateLog
from sigstore_double.identity import AUDIENCE
from sigstore_double.pki import Authority, authority, key_usage, now, pem

ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
ISSUER_V2 = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
TIMESTAMPS = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


class Refused(Exception):
    """The request's identity or proof does not hold; answered with 401."""


@dataclass
class Fulcio:
    """Root and intermediate, and the issuers whose tokens count."""

    log: CertificateLog
    issuers: Mapping[str, Mapping[str, Any]]
    """Issuer to its JSON Web Key Set."""
    root: Authority = field(default_factory=lambda: authority("fulcio root", path_length=1))
    intermediate: Authority = field(init=False)

    def __post_init__(self) -> None:
        self.intermediate = authority(
            "fulcio intermediate", self.root, path_length=0, usage=ExtendedKeyUsageOID.CODE_SIGNING
        )

    def answer(self, request: Mapping[str, Any], authorization: str) -> dict[str, Any]:
        """``POST /api/v2/signingCert``."""
        claims = self.authenticate(authorization.removeprefix("Bearer "))
        csr = x509.load_pem_x509_csr(base64.b64decode(request["certificateSigningRequest"], validate=True))
        key = csr.public_key()
        if not csr.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise Refused("the signing request does not prove possession of its key")
        leaf = self.issue(key, claims.get("email") or claims["sub"], claims["iss"])
        chain = [leaf, self.intermediate.certificate, self.root.certificate]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": [pem(item) for item in chain]}}}

    def authenticate(self, token: str) -> dict[str, Any]:
        """The token's claims, after checking its signature by the issuer that it names."""
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
            keys = jwt.PyJWKSet.from_dict(dict(self.issuers[unverified["iss"]]))
            claims: dict[str, Any] = jwt.decode(
                token,
                keys[jwt.get_unverified_header(token)["kid"]],
                algorithms=["ES256"],
                audience=AUDIENCE,
                issuer=unverified["iss"],
                options={"require": ["exp", "iat", "sub"]},
            )
        except (jwt.PyJWTError, KeyError) as error:
            raise Refused(f"the identity token is not valid: {error}") from error
        if "email" in claims and claims.get("email_verified") is not True:
            raise Refused("the e-mail address is not verified")
        return claims

    def issue(
        self,
        key: ec.EllipticCurvePublicKey,
        identity: str,
        issuer: str,
        *,
        start: datetime | None = None,
        log: CertificateLog | None = None,
        promised: bool = True,
    ) -> x509.Certificate:
        """A certificate. ``start``, another ``log`` and no promise at all are for attacks."""
        begin = start or now()
        general: x509.GeneralName = (
            x509.UniformResourceIdentifier(identity) if "://" in identity else x509.RFC822Name(identity)
        )
        authority_key = self.intermediate.key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.intermediate.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(minutes=10))
            .add_extension(key_usage(sign=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
            .add_extension(x509.SubjectAlternativeName([general]), critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER, issuer.encode()), critical=False)
            .add_extension(x509.UnrecognizedExtension(ISSUER_V2, core.UTF8String(issuer).dump()), critical=False)
        )
        if promised:
            tbs = builder.sign(self.intermediate.key, hashes.SHA384()).tbs_certificate_bytes
            promise = core.OctetString((log or self.log).promise(tbs, authority_key)).dump()
            builder = builder.add_extension(x509.UnrecognizedExtension(TIMESTAMPS, promise), critical=False)
        return builder.sign(self.intermediate.key, hashes.SHA384())
