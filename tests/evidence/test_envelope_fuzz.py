"""Mutated documents, from the bytes of a file to the list of files that a statement claims.

Whatever comes in: an `AssayError` of one sentence or an answer, never another exception, and never a proof for a
payload that the key did not sign.
"""

from __future__ import annotations

import base64
import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.errors import AssayError, DocumentError
from assay.evidence import bundle as bundles
from assay.evidence import documents, listing, oms, oms_rows, predicates, statement, strict_json
from assay.evidence.envelope import IN_TOTO, Envelope, Signature, decode_base64
from assay.evidence.keys import load_public
from assay.evidence.trust.certificate import CertificateAnchor, load_authorities
from assay.evidence.trust.key import KeyAnchor
from evidence.store_making import SIGNER
from helpers import model_statement as statement_of_model
from helpers import one_sentence, places, write_model

DATA = Path(__file__).parent.parent / "data"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SAMPLES = {path.name: path.read_bytes() for path in sorted((DATA / "evidence").glob("*.json*"))}
SAMPLES |= {
    f"{path.parent.name}-{path.name}": path.read_bytes()
    for path in sorted((DATA / "oms" / "cases" / "valid").rglob("*.json"))[:3]
}
KEYS = [load_public((DATA / "evidence" / "signer.pub").read_bytes(), "signer.pub"), SIGNER.key.public]
ANCHORS = [
    *map(KeyAnchor, KEYS),
    CertificateAnchor(
        load_authorities((DATA / "evidence" / "root.pem").read_bytes(), "root.pem"), identity="signer@example.com"
    ),
]
SIGNED = {found.envelope.pae() for name, data in SAMPLES.items() for found in documents.read_documents(data, name)}
"""What may be proved: exactly what the samples' signers signed."""

fuzzed = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


def walk(data: bytes) -> None:
    """A file's whole way through the readers and the verifier."""
    for read in (documents.read_documents, bundles.parse, statement.parse):
        try:
            found = read(data, "f")
        except AssayError as error:
            one_sentence(error)
            continue
        for item in found if isinstance(found, list) else [found]:
            if isinstance(item, statement.Statement):
                claims(item)
            else:
                verify(item)


def verify(found: bundles.Bundle) -> None:
    for anchor in ANCHORS:
        try:
            anchor.prove(found, NOW)
        except AssayError as error:
            one_sentence(error)
        else:
            assert found.envelope.pae() in SIGNED
    try:
        claims(documents.statement_of(found, "f"))
        listing.read(found, "f")
    except AssayError as error:
        one_sentence(error)


def claims(found: statement.Statement) -> None:
    assert found.subjects
    assert all(subject.digest for subject in found.subjects)
    plain = documents.unwrap_predicate(found)
    for action in (oms.claims, listing.claims):
        try:
            action(plain, "f")
        except AssayError as error:
            one_sentence(error)
    try:
        predicates.check(plain.predicate_type, plain.predicate)
    except AssayError as error:
        one_sentence(error)
    assert statement.parse(found.dump(), "f") == found


# Strategies ----------------------------------------------------------------------------------------------------

WORDS = [
    b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\", b"\\u0000", b"\\ud800", b"NaN", b"-Infinity", b"1e999", b"null",
    b"-0", b"1.0", b"9" * 5000, b"\xff", b"\xef\xbb\xbf", b"\x00", b"\n", b"[" * 3000, b'{"a":' * 3000, b"=", b"AAAA",
    b'"payload":"e30=",', b'"payloadType":"x",', b'"signatures":[],', b'"_type":"x",', b'"mediaType":"x",', b" ",
]  # fmt: skip
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 2**63, 2**64, 10**400, 1.5, -0.0, 1e300, "", "\0", "..", "../x", "/", "a" * 70_000,
    "é\u202e", [], {}, [[]], [None], {"": ""}, [{}] * 40, "AA==", "AAA", "e30=", "A" * 64, "0" * 64, "e" * 63, IN_TOTO,
]  # fmt: skip


def edited(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes cut, doubled, flipped, or with something put in."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, min(len(data), at + 40)))
        kind = draw(st.sampled_from(["cut", "drop", "double", "flip", "insert", "replace"]))
        if kind == "cut":
            data = data[:at]
        elif kind == "drop":
            data = data[:at] + data[to:]
        elif kind == "double":
            data = data[:to] + data[at:to] + data[to:]
        elif kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
        else:
            data = data[:at] + draw(st.sampled_from(WORDS)) + data[to if kind == "replace" else at :]
    return data


def changed(draw: st.DrawFn, document: Any) -> Any:
    """A JSON value with some of its values replaced, removed, renamed or moved to another place."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        spots = list(places(document))
        if not spots:
            return document
        *path, last = draw(st.sampled_from(spots))
        parent = document
        for key in path:
            parent = parent[key]
        kind = draw(st.sampled_from(["replace", "remove", "swap", "repeat"]))
        if kind == "remove":
            del parent[last]
        elif kind == "replace":
            parent[last] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
        elif kind == "swap":
            other = document
            for key in draw(st.sampled_from(spots)):
                try:
                    other = other[key]
                except (KeyError, IndexError, TypeError):
                    break
            parent[last] = copy.deepcopy(other)
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]))
        else:
            parent[draw(st.sampled_from(["", "x", "bom", "content", "annotations", "digest", "blake3"]))] = parent[last]
    return document


def first_document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return json.loads(data.splitlines()[0])


PAYLOADS = [found.envelope.payload for name, data in SAMPLES.items() for found in documents.read_documents(data, name)]


@pytest.fixture(scope="module")
def model_payload(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return statement_of_model(write_model(tmp_path_factory.mktemp("model")))


# The runs ------------------------------------------------------------------------------------------------------


def test_the_samples_themselves_come_through() -> None:
    assert len(SIGNED) >= 10
    for data in SAMPLES.values():
        walk(data)
    proved = 0
    for name in sorted(path.name for path in (DATA / "evidence").glob("*.json")):
        for found in documents.read_documents(SAMPLES[name], name):
            ANCHORS[0].prove(found, NOW)
            proved += 1
    assert proved >= 9


@fuzzed
@given(st.data())
def test_edited_bytes(data: st.DataObject) -> None:
    draw = data.draw
    walk(edited(draw, draw(st.sampled_from(list(SAMPLES.values())))))


@fuzzed
@given(st.data())
def test_changed_values(data: st.DataObject) -> None:
    document = first_document(data.draw(st.sampled_from(list(SAMPLES.values()))))
    walk(strict_json.dumps(changed(data.draw, document)))


@fuzzed
@given(st.data())
def test_changed_statements_under_an_old_signature(data: st.DataObject) -> None:
    """The payload changes and the signature stays: read it may be, proved never."""
    draw = data.draw
    found = draw(st.sampled_from([item for d in SAMPLES.values() for item in documents.read_documents(d, "f")]))
    payload = found.envelope.payload
    payload = edited(draw, payload) if draw(st.booleans()) else strict_json.dumps(changed(draw, json.loads(payload)))
    kind = draw(st.sampled_from([found.envelope.payload_type, "application/vnd.in-toto.x+json", "text/plain"]))
    verify(bundles.Bundle(Envelope(payload, kind, found.envelope.signatures), b"", certificates=found.certificates))


@fuzzed
@given(st.data())
def test_changed_model_signatures(model_payload: bytes, data: st.DataObject) -> None:
    """Both readers of model signatures agree: the fast one gives the slow one's answer or none."""
    draw = data.draw
    if draw(st.booleans()):
        payload = edited(draw, model_payload)
    else:
        payload = strict_json.dumps(changed(draw, json.loads(model_payload)))
    try:
        parsed = statement.parse(payload, "f")
        slow: Any = (parsed, oms.claims(parsed, "f"))
    except AssayError as error:
        one_sentence(error)
        slow = None
    else:
        claims(parsed)
    try:
        fast = oms_rows.read(payload, "f")
    except AssayError as error:
        one_sentence(error)
        assert slow is None
    else:
        if fast is not None:
            assert slow is not None
            assert fast[0].subjects == slow[0].subjects
            assert fast[1] == slow[1]


@fuzzed
@given(st.data())
def test_what_is_signed_is_what_is_read(data: st.DataObject) -> None:
    """A signer who signs a changed document is proved for exactly the bytes that are read."""
    draw = data.draw
    payload = strict_json.dumps(changed(draw, json.loads(draw(st.sampled_from(PAYLOADS)))))
    signature = Signature(SIGNER.key.sign(Envelope(payload, IN_TOTO, ()).pae()))
    built = bundles.build(Envelope(payload, IN_TOTO, (signature,)), key_hint="k")
    (found,) = documents.read_documents(built.raw, "f")
    assert found.envelope.payload == payload
    assert KeyAnchor(SIGNER.key.public).prove(found, NOW).method == "key"
    raw = bytearray(payload)
    raw[draw(st.integers(0, len(raw) - 1))] ^= 1 << draw(st.integers(0, 7))
    tampered = bundles.Bundle(Envelope(bytes(raw), IN_TOTO, (signature,)), b"")
    with pytest.raises(AssayError):
        KeyAnchor(SIGNER.key.public).prove(tampered, NOW)


@fuzzed
@given(st.text(max_size=40) | st.binary(max_size=30).map(lambda data: base64.b64encode(data).decode()))
def test_base64_has_one_spelling(text: str) -> None:
    try:
        data = decode_base64(text, "f")
    except DocumentError as error:
        one_sentence(error)
    else:
        assert base64.b64encode(data).decode() == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@fuzzed
@given(JSON, st.data())
def test_strict_json_is_a_subset_of_json_with_one_meaning(value: Any, data: st.DataObject) -> None:
    whole = strict_json.dumps(value)
    assert strict_json.loads(whole, "f") == value
    try:
        read = strict_json.loads(edited(data.draw, whole), "f")
    except DocumentError as error:
        one_sentence(error)
    else:
        assert strict_json.loads(strict_json.dumps(read), "f") == read


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":1}',
        b'[{"x":{"b":[],"b":[]}}]',
        b'"\\ud800"',
        b'{"\\udc00":1}',
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e400]",
        b"[01]",
        b"[1,]",
        b"{'a':1}",
        b"[1] [2]",
        b"\xef\xbb\xbf[]",
        b'"\xed\xa0\x80"',
        b'"\xc0\xaf"',
        b'"\x01"',
        b"[" * 200_000,
        b"9" * 5000,
        b"",
    ],
)
def test_what_is_not_strict_json(data: bytes) -> None:
    with pytest.raises(DocumentError) as caught:
        strict_json.loads(data, "f")
    one_sentence(caught.value)
