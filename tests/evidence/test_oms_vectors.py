"""The specification's vectors and the signatures of released versions give the right answer, without a network."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from assay.errors import DocumentError, SignatureError
from assay.evidence import oms, statement
from assay.evidence.bundle import Bundle, parse
from assay.evidence.keys import PrivateKey, generate, load_public, public_key
from assay.evidence.signers.key import CertificateSigner, KeySigner
from assay.evidence.trust.certificate import CertificateAnchor, load_authorities
from assay.evidence.trust.interface import Anchor
from assay.evidence.trust.key import KeyAnchor
from assay.evidence.trust.sigstore import SigstoreAnchor
from helpers import NOW, manifest_of, model_statement, one_sentence, write_model
from small_ca import root

DATA = Path(__file__).parent.parent / "data"
CASES = DATA / "oms" / "cases"
RELEASED = DATA / "model-signing"
SCHEMAS = [json.loads(path.read_bytes()) for path in sorted((DATA / "oms/schemas/v1.0").glob("*.json"))]
REGISTRY: Registry[Any] = Registry().with_resources(
    [(schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS]
)

KEY = KeyAnchor(load_public((RELEASED / "keys/signing-key-pub.pem").read_bytes(), "signing-key-pub.pem"))
AUTHORITY = load_authorities((RELEASED / "keys/ca-cert.pem").read_bytes(), "ca-cert.pem")
CERTIFICATE = CertificateAnchor(AUTHORITY, "intermediate-ca")
SIGSTORE = SigstoreAnchor("stefanb@us.ibm.com", "https://sigstore.verify.ibm.com/oauth2")
ANCHORS: dict[str, Anchor] = {"elliptic-key": KEY, "certificate": CERTIFICATE, "sigstore": SIGSTORE}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reaches for the network fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("verification reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def load(path: Path) -> Bundle:
    return parse(path.read_bytes(), path.name)


def schema_errors(kind: str, document: Any) -> list[str]:
    schema = {"$ref": f"https://model_signing/{kind}/v1.0/schema"}
    return [error.message for error in Draft202012Validator(schema, registry=REGISTRY).iter_errors(document)]


# --- the specification's vectors


@pytest.mark.parametrize(("name", "anchor"), [("key", KEY), ("certificate", CERTIFICATE), ("sigstore", SIGSTORE)])
def test_valid(name: str, anchor: Anchor) -> None:
    bundle = load(CASES / "valid" / f"{name}.bundle.json")
    assert anchor.prove(bundle, NOW).method == name
    claims = oms.claims(statement.from_envelope(bundle.envelope, name), name)
    assert list(claims.names) == ["signme-1", "signme-2"] and "ignore-me" in claims.ignored


@pytest.mark.parametrize("path", sorted((CASES / "invalid").iterdir()), ids=lambda path: path.name)
def test_invalid(path: Path) -> None:
    try:
        bundle = load(path)
    except DocumentError as error:
        assert path.name in one_sentence(error)
        return
    # Readable since Sigstore knows bundles with timestamps alone, but nobody accepts it.
    assert path.name == "missing-tlog-entries.bundle.json"
    for anchor in ANCHORS.values():
        with pytest.raises(SignatureError):
            anchor.prove(bundle, NOW)


def test_invalid_payload() -> None:
    (path,) = (CASES / "invalid-payload").iterdir()
    bundle = load(path)
    with pytest.raises(DocumentError, match="not a model signature"):
        oms.claims(statement.from_envelope(bundle.envelope, path.name), path.name)


def test_the_schemas_tell_the_vectors_apart() -> None:
    """Keeps the checks of our own bundles below from passing for want of a working schema."""
    for path in (CASES / "valid").iterdir():
        assert not schema_errors("bundle", json.loads(path.read_bytes()))
    assert schema_errors("bundle", json.loads((CASES / "invalid/missing-envelope.bundle.json").read_bytes()))
    (path,) = (CASES / "invalid-payload").iterdir()
    assert schema_errors("statement", json.loads(load(path).envelope.payload))


# --- released versions


RELEASES = sorted(path for path in RELEASED.iterdir() if (path / "model.sig").exists())


@pytest.mark.parametrize("folder", RELEASES, ids=lambda path: path.name)
def test_released_signature(folder: Path) -> None:
    method = folder.name.split("-", 1)[1]
    bundle = load(folder / "model.sig")
    proof = ANCHORS[method].prove(bundle, NOW)
    assert proof.method == {"elliptic-key": "key"}.get(method, method)
    claims = oms.claims(statement.from_envelope(bundle.envelope, "model.sig"), "model.sig")
    assert claims.manifest is not None
    here = manifest_of(folder)
    signed = {name: here[list(here.names).index(name)].sha256 for name in claims.names}
    assert [item.sha256 for item in claims.manifest] == list(signed.values())
    left = set(here.names) - set(signed)
    assert left == ({"model.sig"} if folder.name.startswith("v1.0.0") else {"model.sig", "ignore-me"})


def test_released_signatures_are_all_there() -> None:
    assert len(RELEASES) == 6


@pytest.mark.parametrize("folder", RELEASES, ids=lambda path: path.name)
def test_released_signature_spoiled_or_by_somebody_else(folder: Path) -> None:
    method = folder.name.split("-", 1)[1]
    document = json.loads((folder / "model.sig").read_bytes())
    bundle = load(folder / "model.sig")
    payload = bundle.envelope.payload.replace(b"signme-1", b"signme-0")
    assert payload != bundle.envelope.payload
    from base64 import b64encode

    document["dsseEnvelope"]["payload"] = b64encode(payload).decode()
    with pytest.raises(SignatureError):
        ANCHORS[method].prove(parse(json.dumps(document).encode(), "spoiled"), NOW)
    strangers: list[Anchor] = [
        KeyAnchor(generate("ecdsa-p384").public),
        CertificateAnchor(AUTHORITY, "root-ca"),
        CertificateAnchor((root().certificate,), "intermediate-ca"),
        SigstoreAnchor(SIGSTORE.identity, "https://accounts.google.com"),
        SigstoreAnchor("somebody@us.ibm.com", SIGSTORE.issuer),
    ]
    for stranger in strangers:
        with pytest.raises(SignatureError) as caught:
            stranger.prove(bundle, NOW)
        one_sentence(caught.value)


def test_times_that_sigstore_proved() -> None:
    """Version 1.0.0's entry carries the log's signed time, 1.1.0's a timestamp."""
    old = SIGSTORE.prove(load(RELEASED / "v1.0.0-sigstore/model.sig"), NOW)
    assert (old.time, old.time_source) == (datetime(2025, 5, 3, 1, 34, 46, tzinfo=UTC), "transparency log")
    new = SIGSTORE.prove(load(RELEASED / "v1.1.0-sigstore/model.sig"), NOW)
    assert (new.time, new.time_source) == (datetime(2025, 10, 10, 2, 12, 20, tzinfo=UTC), "timestamp authority")


def test_a_logged_time_that_was_changed() -> None:
    document = json.loads((RELEASED / "v1.0.0-sigstore/model.sig").read_bytes())
    entry = document["verificationMaterial"]["tlogEntries"][0]
    for change in ({"integratedTime": str(int(entry["integratedTime"]) + 1)}, {"inclusionPromise": None}):
        document["verificationMaterial"]["tlogEntries"] = [{**entry, **change}]
        with pytest.raises(SignatureError):
            SIGSTORE.prove(parse(json.dumps(document).encode(), "spoiled"), NOW)


# --- ours against the schemas


@pytest.mark.parametrize("shape", ["folder", "file"])
@pytest.mark.parametrize("method", ["key", "certificate"])
def test_our_bundles_fit_the_schemas(tmp_path: Path, shape: str, method: str) -> None:
    model = write_model(tmp_path / "model")
    payload = model_statement(model if shape == "folder" else model / "config.json")
    leaf = root().authority("intermediate").leaf()
    key = PrivateKey(public_key(leaf.key.public_key(), "key"), leaf.key)
    chain = tuple(item.der for item in leaf.chain)
    signer = KeySigner(key) if method == "key" else CertificateSigner(key, chain)
    bundle = signer.sign(payload)
    assert not schema_errors("bundle", json.loads(bundle.raw))
    assert not schema_errors("statement", json.loads(bundle.envelope.payload))
