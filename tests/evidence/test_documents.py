"""Documents of other tools: what each form gives, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assay.errors import DocumentError, SignatureError
from assay.evidence import predicates
from assay.evidence.bundle import Bundle
from assay.evidence.documents import read_documents, scan, statement_of, statement_payload, unwrap_predicate
from assay.evidence.envelope import IN_TOTO, Envelope, Signature
from assay.evidence.keys import load_public
from assay.evidence.signers.key import KeySigner
from assay.evidence.statement import Statement, Subject
from assay.evidence.trust.certificate import CertificateAnchor, load_authorities
from assay.evidence.trust.key import KeyAnchor
from evidence.store_making import SIGNER, bundle

DATA = Path(__file__).parent.parent / "data" / "evidence"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MODEL = hashlib.sha256(b"the model\n").hexdigest()
ANCHOR = KeyAnchor(load_public((DATA / "signer.pub").read_bytes(), "signer.pub"))
AUTHORITY = CertificateAnchor(
    load_authorities((DATA / "root.pem").read_bytes(), "root.pem"), identity="signer@example.com"
)


def sample(name: str) -> bytes:
    return (DATA / name).read_bytes()


def only(name: str) -> Bundle:
    (found,) = read_documents(sample(name), name)
    return found


@pytest.mark.parametrize(
    ("name", "predicate_type"),
    [
        ("cosign-attestation.json", "https://cosign.sigstore.dev/attestation/vuln/v1"),
        ("cosign-attest-blob-bundle.json", "https://cosign.sigstore.dev/attestation/vuln/v1"),
        ("sigstore-bundle.json", "https://slsa.dev/provenance/v1"),
        ("github-attestations.json", "https://slsa.dev/provenance/v1"),
        ("witness-collection.json", "https://witness.testifysec.com/attestation-collection/v0.1"),
        ("valint-cyclonedx.json", "https://cyclonedx.org/bom/v1.5"),
        ("valint-sarif.json", "http://docs.oasis-open.org/sarif/sarif/2.1.0"),
        ("valint-generic-json.json", "http://scribesecurity.com/evidence/generic/v0.1"),
    ],
)
def test_each_form_is_read_and_its_signature_holds(name: str, predicate_type: str) -> None:
    found = only(name)
    assert ANCHOR.prove(found, NOW).signer == ANCHOR.key.key_id
    statement = statement_of(found, name)
    assert statement.predicate_type == predicate_type
    assert statement.subjects[0].digest == {"sha256": MODEL}


@pytest.mark.parametrize("name", [path.name for path in sorted(DATA.glob("*.json*"))])
def test_what_was_read_can_be_stored_and_read_again_alone(name: str) -> None:
    for found in read_documents(sample(name), name):
        (again,) = read_documents(found.raw, name)
        assert again == found


def test_witness_and_cosign_certificates_are_found() -> None:
    witness, cosign = only("witness-collection.json"), only("cosign-attest-blob-bundle.json")
    assert len(witness.envelope.signatures[0].certificates) == 2
    assert AUTHORITY.prove(witness, NOW).signer == "signer@example.com"
    assert len(cosign.certificates) == 1
    assert cosign.certificates[0] == witness.envelope.signatures[0].certificates[0]


def test_json_lines_with_lines_of_other_kinds() -> None:
    found = scan(sample("attestations.intoto.jsonl"), "f.jsonl")
    assert len(found.bundles) == 3
    assert (found.ignored, found.first_ignored) == (2, "f.jsonl: line 4 is neither a bundle nor a DSSE envelope")
    assert [item.media_type is None for item in found.bundles] == [True, False, True]
    assert [ANCHOR.prove(item, NOW).method for item in found.bundles] == ["key"] * 3


def test_a_line_that_is_broken_does_not_take_the_others_with_it() -> None:
    good = sample("cosign-attestation.json")
    twice = good.replace(b'{"keyid"', b'{"keyid": "a", "keyid"')
    found = scan(good + twice + good[:-9] + b"\n" + good.replace(b"payloadType", b"payloadTyp"), "f")
    assert (len(found.bundles), found.ignored) == (1, 3)
    assert found.first_ignored == "f: line 2 has the key 'keyid' twice in one object"


def test_githubs_list_says_what_it_left_out() -> None:
    found = scan(sample("github-attestations.json"), "g")
    assert (len(found.bundles), found.ignored, found.first_ignored) == (1, 1, "g: attestations[1].bundle is missing")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "f is not JSON"),
        (b"\n\n", "f is not JSON"),
        (b"not json\nat all\n", "f is not JSON"),
        (b"\xef\xbb\xbf" + (DATA / "cosign-attestation.json").read_bytes(), "f is not JSON"),
        (b"\xff\n\xff", "f is not valid UTF-8"),
        (b"[]", "f is not an object"),
        (b"{}", "f is neither a bundle nor a DSSE envelope"),
        (b'{"a":1}\n{"b":2}\n', "f holds no signed statement .f: line 1 is neither"),
        (b'{"attestations":[]}', "f holds no attestation"),
        (b'{"attestations":{}}', "f: attestations is not a list"),
        (b'{"attestations":[{"bundle":null}]}', "f holds no attestation .f: attestations.0..bundle is missing"),
        (b'{"payload":"e30=","payloadType":"a/b","signatures":[]}', "f has no signature"),
        (b'{"payload":"e30","payloadType":"a/b","signatures":[]}', "f: payload is not strict base64"),
        (b'{"base64Signature":"AAAA"}', "f: base64Signature is not"),
        (b'{"base64Signature":7}', "f: base64Signature is not a base64 string"),
        (b'{"base64Signature":"e30="}', "f: base64Signature is a bare signature"),
        (b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}', "f: verificationMaterial is missing"),
        (b'{"mediaType":7}', "f: mediaType is not a string"),
        (b"[" * 100_000 + b"\n" + b"[" * 100_000, "f is nested too deeply"),
        (b'{"a":' * 100_000 + b"\n", "f is nested too deeply"),
    ],
)
def test_what_is_refused_says_why(data: bytes, sentence: str) -> None:
    with pytest.raises(DocumentError, match=sentence):
        read_documents(data, "f")


def test_cosigns_certificate_must_be_one() -> None:
    document = json.loads(sample("cosign-attest-blob-bundle.json"))
    plain = base64.b64decode(document["cert"]).decode()
    assert read_documents(json.dumps({**document, "cert": plain}).encode(), "f")[0].certificates
    for cert in (7, "x", "AAAA", "-----BEGIN CERTIFICATE-----\n\ud7ff"):
        with pytest.raises(DocumentError, match="f: cert"):
            read_documents(json.dumps({**document, "cert": cert}).encode(), "f")


# Two envelopes -------------------------------------------------------------------------------------------------


def double(inner: Any, outer_type: str = IN_TOTO) -> Bundle:
    """What a signer gets who signs ``inner`` under the outer type."""
    payload = inner if isinstance(inner, bytes) else json.dumps(inner).encode()
    envelope = Envelope(payload, outer_type, ())
    return Bundle(Envelope(payload, outer_type, (Signature(SIGNER.key.sign(envelope.pae())),)), b"")


def inner_envelope(payload: bytes, kind: str = IN_TOTO) -> dict[str, Any]:
    signatures = [{"keyid": "", "sig": base64.b64encode(b"not checked").decode()}]
    return {"payloadType": kind, "payload": base64.b64encode(payload).decode(), "signatures": signatures}


STATEMENT = Statement((Subject("m", {"sha256": "a" * 64}),), "https://example.org/x", {"k": 1}).dump()


@pytest.mark.parametrize("outer", [IN_TOTO, "application/vnd.in-toto.x+json"])
def test_one_inner_envelope_is_opened(outer: str) -> None:
    found = double(inner_envelope(STATEMENT), outer)
    KeyAnchor(SIGNER.key.public).prove(found, NOW)
    assert statement_payload(found, "f") == STATEMENT
    assert statement_of(found, "f").predicate == {"k": 1}


def test_a_plain_statement_is_its_own_payload() -> None:
    assert statement_payload(double(STATEMENT), "f") == STATEMENT


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (double(inner_envelope(STATEMENT), "text/plain"), "payload type 'text/plain'"),
        (double(inner_envelope(STATEMENT, "text/plain")), "inner payload type 'text/plain'"),
        (double(inner_envelope(STATEMENT, "application/vnd.dsse.envelope.v1+json")), "inner payload type"),
        (double(inner_envelope(json.dumps(inner_envelope(STATEMENT)).encode())), "_type"),  # a third one
        (double({**inner_envelope(STATEMENT), "payload": "a"}), "inner envelope: payload"),
        (double({**inner_envelope(STATEMENT), "payload": None}), "inner envelope: payload"),
        (double({**inner_envelope(STATEMENT), "_type": "x"}), "_type"),
        (double(b'{"payloadType":"a","payloadType":"b"}'), "twice"),
        (double(b'["payloadType"]'), "is not an object"),
        (double(rb'{"payload\u0054ype":"application/vnd.in-toto+json"}'), "_type"),
    ],
)
def test_other_nestings_are_refused(found: Bundle, sentence: str) -> None:
    with pytest.raises(DocumentError, match=sentence):
        statement_of(found, "f")


def test_a_statement_that_looks_like_an_envelope_too_is_a_statement() -> None:
    """With ``_type`` it is read as every other verifier reads it."""
    other = Statement((Subject("evil", {"sha256": "b" * 64}),), "https://example.org/x", {}).dump()
    found = double({**json.loads(STATEMENT), **inner_envelope(other)})
    assert statement_of(found, "f").subjects[0].name == "m"


def test_the_inner_signatures_prove_nothing() -> None:
    """A good inner envelope in a bundle that somebody else signed is not proved by its inner signer."""
    inner = json.loads(KeySigner(SIGNER.key).sign(STATEMENT).raw)["dsseEnvelope"]
    stranger = Envelope(json.dumps(inner).encode(), IN_TOTO, (Signature(b"\0" * 64),))
    with pytest.raises(SignatureError):
        KeyAnchor(SIGNER.key.public).prove(Bundle(stranger, b""), NOW)


def test_a_change_inside_the_inner_envelope_breaks_the_outer_signature() -> None:
    document = json.loads(sample("valint-cyclonedx.json"))
    payload = json.loads(base64.b64decode(document["payload"]))
    payload["payload"] = base64.b64encode(STATEMENT).decode()
    document["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    (found,) = read_documents(json.dumps(document).encode(), "f")
    assert statement_of(found, "f").subjects[0].name == "m"
    with pytest.raises(SignatureError):
        ANCHOR.prove(found, NOW)


# Predicates in a wrapper ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cyclonedx", "sarif", "generic-json", "generic-text"])
def test_unwrapped_predicates_have_the_form_of_their_type(name: str) -> None:
    wrapped = statement_of(only(f"valint-{name}.json"), name)
    plain = unwrap_predicate(wrapped)
    assert [(item.name, item.digest) for item in plain.subjects] == [
        (item.name, item.digest) for item in wrapped.subjects
    ]
    environment = wrapped.predicate["environment"]
    said = plain.subjects[0].annotations
    assert said["context"] == {name: value for name, value in environment.items() if isinstance(value, str) and value}
    predicates.read(plain.predicate_type, plain.predicate)
    assert unwrap_predicate(plain) == plain


def test_unwrapped_generic_evidence_has_the_digest_of_what_it_carries() -> None:
    text = unwrap_predicate(statement_of(only("valint-generic-text.json"), "f")).predicate
    expected = hashlib.sha256(b"looks good\n").hexdigest()
    assert text["report"] == {"digest": {"sha256": expected}, "mediaType": "text/plain"}
    data = unwrap_predicate(statement_of(only("valint-generic-json.json"), "f")).predicate
    assert data["report"]["digest"] == {"sha256": hashlib.sha256(b'{"accuracy":0.5}').hexdigest()}
    assert data["content"] == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("kind", "predicate"),
    [
        ("https://cyclonedx.org/bom", {"bomFormat": "CycloneDX", "bom": {}}),
        ("https://cyclonedx.org/bom", {"bom": [], "environment": {}}),
        ("https://cyclonedx.org/bomb", {"bom": {}, "environment": {}}),
        ("http://docs.oasis-open.org/sarif/sarif/2.1.0", {"content": {}, "runs": []}),
        ("http://docs.oasis-open.org/sarif/sarif/2.1.0", {"content": "x"}),
        ("https://example.org/x", {"environment": {}, "mimeType": "a/b", "content": {}}),
        ("https://witness.testifysec.com/attestation-collection/v0.1", {"name": "x", "attestations": []}),
    ],
)
def test_other_predicates_stay_as_they_are(kind: str, predicate: dict[str, Any]) -> None:
    statement = Statement((Subject("m", {"sha256": "a" * 64}),), kind, predicate)
    assert unwrap_predicate(statement) is statement


def test_a_bundle_of_ours_comes_through_unchanged() -> None:
    data = bundle(1)
    (found,) = read_documents(data, "f")
    assert found.raw == data
    KeyAnchor(SIGNER.key.public).prove(found, NOW)
