"""Writes the sample documents in this folder, in the shapes of the tools that their names say. See README.md.

Deliberately without assay's own code: the shapes are spelled out here a second time.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = Path(__file__).parent
IN_TOTO = "application/vnd.in-toto+json"
MODEL = hashlib.sha256(b"the model\n").hexdigest()
SUBJECT = [{"name": "model", "digest": {"sha256": MODEL}}]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def envelope(key: ec.EllipticCurvePrivateKey, payload: bytes, kind: str = IN_TOTO, **extra: Any) -> dict[str, Any]:
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return {"payloadType": kind, "payload": b64(payload), "signatures": [{"keyid": "", "sig": b64(signature), **extra}]}


def statement(predicate_type: str, predicate: Any, version: str = "v1") -> bytes:
    document = {"_type": f"https://in-toto.io/Statement/{version}", "subject": SUBJECT}
    return json.dumps({**document, "predicateType": predicate_type, "predicate": predicate}).encode()


def certificate(
    common: str, key: Any, issuer: x509.Name, issuer_key: Any, ca: bool, email: str | None = None
) -> x509.Certificate:
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, False, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if email:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def pem(item: x509.Certificate) -> bytes:
    return item.public_bytes(serialization.Encoding.PEM)


def write(name: str, document: Any, indent: int | None = None) -> None:
    (HERE / name).write_text(json.dumps(document, indent=indent) + "\n", encoding="utf-8")


def main() -> None:
    key, root_key, middle_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sample root")])
    root = certificate("sample root", root_key, root_name, root_key, True)
    middle = certificate("sample intermediate", middle_key, root_name, root_key, True)
    leaf = certificate("signer", key, middle.subject, middle_key, False, "signer@example.com")
    public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (HERE / "signer.pub").write_bytes(key.public_key().public_bytes(*public))
    (HERE / "root.pem").write_bytes(pem(root))

    # cosign attest, as `cosign download attestation` prints it: a bare envelope a line, Statement v0.1
    vuln = {"invocation": {"uri": "", "event_id": "", "builder.id": ""}, "scanner": {"uri": "", "result": {}}}
    cosign = envelope(key, statement("https://cosign.sigstore.dev/attestation/vuln/v1", vuln, "v0.1"))
    write("cosign-attestation.json", cosign)
    slsa = {
        "buildDefinition": {"buildType": "https://example.org/train/v1", "externalParameters": {}},
        "runDetails": {"builder": {"id": "https://example.org/builder"}},
    }
    provenance = envelope(key, statement("https://slsa.dev/provenance/v1", slsa))

    # cosign 1 and 2, attest-blob --bundle
    body = {"apiVersion": "0.0.1", "kind": "intoto", "spec": {}}
    write(
        "cosign-attest-blob-bundle.json",
        {
            "base64Signature": b64(json.dumps(cosign).encode()),
            "cert": b64(pem(leaf)),
            "rekorBundle": {
                "SignedEntryTimestamp": b64(b"not a real one"),
                "Payload": {
                    "body": b64(json.dumps(body).encode()),
                    "integratedTime": 1770000000,
                    "logIndex": 1,
                    "logID": "c0d23d6ad406973f9559f3ba2d1ca01f84147d8ffc5b8445c224f98b9591801d",
                },
            },
        },
    )

    # A Sigstore bundle v0.3 by a key, and GitHub's answer around one
    material = {"publicKey": {"hint": "sample"}, "tlogEntries": []}
    media_type = "application/vnd.dev.sigstore.bundle.v0.3+json"
    bundle = {"mediaType": media_type, "verificationMaterial": material, "dsseEnvelope": provenance}
    write("sigstore-bundle.json", bundle, indent=2)
    item = {"bundle": bundle, "bundle_url": "https://example.org/b", "repository_id": 1}
    write("github-attestations.json", {"attestations": [item, {**item, "bundle": None}]})

    # .intoto.jsonl: envelopes and bundles mixed, with blank lines and lines of another kind
    known = [json.dumps(item) for item in (cosign, bundle, provenance)]
    lines = [known[0], "", known[1], '{"kind": "something else"}', "# a comment", known[2]]
    (HERE / "attestations.intoto.jsonl").write_text("\n".join(lines), encoding="utf-8")

    # witness: certificate and intermediates beside the signature, PEM in base64
    collection = {
        "name": "train",
        "attestations": [
            {
                "type": "https://witness.dev/attestations/product/v0.1",
                "attestation": {"model": {"mime_type": "application/octet-stream", "digest": {"sha256": MODEL}}},
                "starttime": "2026-01-02T03:04:05.678901Z",
                "endtime": "2026-01-02T03:04:06Z",
            }
        ],
    }
    payload = statement("https://witness.testifysec.com/attestation-collection/v0.1", collection, "v0.1")
    chain = {"certificate": b64(pem(leaf)), "intermediates": [b64(pem(middle))], "timestamps": None}
    write("witness-collection.json", envelope(key, payload, **chain))

    # valint: Statement v0.1, its own wrapper around the predicate, and two envelopes
    environment = {"context_type": "github", "run_id": "17", "content_type": "attest-cyclonedx-json"}
    boms = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": []}
    sarif = {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "scanner"}}, "results": []}]}
    documents = {
        "cyclonedx": ("https://cyclonedx.org/bom/v1.5", {"environment": environment, "bom": boms}),
        "sarif": (
            "http://docs.oasis-open.org/sarif/sarif/2.1.0",
            {"environment": environment, "mimeType": "application/sarif+json", "content": sarif},
        ),
        "generic-json": (
            "http://scribesecurity.com/evidence/generic/v0.1",
            {"environment": environment, "mimeType": "application/json", "content": {"accuracy": 0.5}},
        ),
        "generic-text": (
            "http://scribesecurity.com/evidence/generic/v0.1",
            {"environment": environment, "mimeType": "text/plain", "content": b64(b"looks good\n")},
        ),
    }
    for name, (kind, predicate) in documents.items():
        inner = envelope(key, statement(kind, predicate, "v0.1"))
        inner["signatures"] = [{"keyid": "", "sig": b64(b"nobody checks this one")}]
        write(f"valint-{name}.json", envelope(key, json.dumps(inner).encode()))


if __name__ == "__main__":
    main()
