"""All services together, what a client must know of them, and bundles made without asking a client."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from sigstore_double.ct import CertificateLog
from sigstore_double.fulcio import Fulcio
from sigstore_double.identity import IdentityProvider
from sigstore_double.pki import DAY, Authority, b64, der, now, spki
from sigstore_double.rekor import Rekor
from sigstore_double.timestamp import TimestampAuthority

IN_TOTO = "application/vnd.in-toto+json"


@dataclass
class Deployment:
    """One private Sigstore."""

    url: str
    provider: IdentityProvider = field(init=False)
    ct: CertificateLog = field(default_factory=CertificateLog)
    fulcio: Fulcio = field(init=False)
    rekor: Rekor = field(default_factory=Rekor)
    tsa: TimestampAuthority = field(default_factory=TimestampAuthority)

    def __post_init__(self) -> None:
        self.provider = IdentityProvider(self.url)
        self.fulcio = Fulcio(self.ct, {self.url: self.provider.keys()})

    def trusted_root(self) -> dict[str, Any]:
        """``trusted_root.json``."""
        valid = {"start": f"{now() - DAY:%Y-%m-%dT%H:%M:%SZ}"}
        ct_id = hashlib.sha256(spki(self.ct.key.public_key())).digest()
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log("PKIX_ED25519", spki(self.rekor.key.public_key()), self.rekor.log_id, valid)],
            "certificateAuthorities": [self._chain(self.fulcio.intermediate.certificate, self.fulcio.root, valid)],
            "ctlogs": [self._log("PKIX_ECDSA_P256_SHA_256", spki(self.ct.key.public_key()), ct_id, valid)],
            "timestampAuthorities": [self._chain(self.tsa.certificate, self.tsa.root, valid)],
        }

    def client_trust_config(self) -> dict[str, Any]:
        """What ``--trust-config`` takes: the trust root, and where the services are."""
        valid = {"start": f"{now() - DAY:%Y-%m-%dT%H:%M:%SZ}"}

        def service(path: str, version: int) -> dict[str, Any]:
            address = self.url + path
            return {"url": address, "majorApiVersion": version, "operator": "double", "validFor": valid}

        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service("", 1)],
                "oidcUrls": [service("", 1)],
                "rekorTlogUrls": [service("", 2)],
                "tsaUrls": [service("/api/v1/timestamp", 1)],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }

    def _log(self, details: str, key: bytes, log_id: bytes, valid: dict[str, str]) -> dict[str, Any]:
        return {
            "baseUrl": self.url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {"rawBytes": b64(key), "keyDetails": details, "validFor": valid},
            "logId": {"keyId": b64(log_id)},
        }

    def _chain(self, leaf: x509.Certificate, root: Authority, valid: dict[str, str]) -> dict[str, Any]:
        certificates = [{"rawBytes": b64(der(item))} for item in (leaf, root.certificate)]
        return {
            "subject": {"organization": "double", "commonName": "double"},
            "uri": self.url,
            "certChain": {"certificates": certificates},
            "validFor": valid,
        }

    def bundle(
        self,
        payload: bytes,
        *,
        identity: str = "alice@example.com",
        key: ec.EllipticCurvePrivateKey | None = None,
        certificate: x509.Certificate | None = None,
        rekor: Rekor | None = None,
        tsa: TimestampAuthority | None = None,
        stamped_at: datetime | None = None,
    ) -> dict[str, Any]:
        """A bundle as a client would make it, each part of which an attack can replace."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = certificate or self.fulcio.issue(key.public_key(), identity, self.url)
        pae = b"DSSEv1 %d %b %d %b" % (len(IN_TOTO), IN_TOTO.encode(), len(payload), payload)
        digest = hashlib.sha256(pae).digest()
        signature = key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        verifier = {
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "x509Certificate": {"rawBytes": b64(der(certificate))},
        }
        request = {"digest": b64(digest), "signature": {"content": b64(signature), "verifier": verifier}}
        entry = (rekor or self.rekor).answer({"hashedRekordRequestV002": request})
        stamp = (tsa or self.tsa).stamp_message(signature, stamped_at)
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(der(certificate))},
                "tlogEntries": [entry],
                "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": b64(stamp)}]},
            },
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": IN_TOTO,
                "signatures": [{"sig": b64(signature), "keyid": ""}],
            },
        }


def digest_of(entry: dict[str, Any]) -> bytes:
    """The digest that a log entry is for."""
    body = json.loads(base64.b64decode(entry["canonicalizedBody"]))
    return base64.b64decode(body["spec"]["hashedRekordV002"]["data"]["digest"])
