"""Certificates as proof of who signed: what chains, and every way in which one should not."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError, SignatureError, UsageError
from assay.evidence import envelope
from assay.evidence.bundle import Bundle, build, parse
from assay.evidence.envelope import IN_TOTO, Envelope, Signature
from assay.evidence.keys import PrivateKey, generate, load_public, public_key
from assay.evidence.signers.key import CertificateSigner, KeySigner, with_certificates
from assay.evidence.trust.certificate import CertificateAnchor, load_authorities
from helpers import NOW, one_sentence, statement
from small_ca import START, YEAR, Certified, issue, root, usage, weak_rsa

ALICE = "alice@example.com"
ROOT = root()
INTERMEDIATE = ROOT.authority("intermediate")
LEAF = INTERMEDIATE.leaf()


def signed(leaf: Certified, chain: Sequence[Certified] | None = None) -> Bundle:
    key = PrivateKey(public_key(leaf.key.public_key(), "the leaf's key"), leaf.key)
    return CertificateSigner(key, tuple(item.der for item in chain or leaf.chain)).sign(statement())


def anchor(authority: Certified = ROOT, identity: str = ALICE) -> CertificateAnchor:
    return CertificateAnchor((authority.certificate,), identity)


def refused(bundle: Bundle, authority: Certified = ROOT, identity: str = ALICE, now: datetime = NOW) -> str:
    with pytest.raises(SignatureError) as caught:
        anchor(authority, identity).prove(bundle, now)
    assert caught.value.exit_code == 1
    return one_sentence(caught.value)


# --- what counts


def test_signed_through_an_intermediate() -> None:
    bundle = signed(LEAF)
    proof = anchor().prove(parse(bundle.raw, "read again"), NOW)
    assert (proof.method, proof.signer, proof.issuer) == ("certificate", ALICE, "intermediate")
    assert (proof.algorithm, proof.time, proof.time_source) == ("ecdsa-p256", None, None)


def test_signed_below_the_root_and_with_the_root_in_the_chain() -> None:
    assert anchor().prove(signed(ROOT.leaf()), NOW).issuer == "root"
    assert anchor().prove(signed(LEAF, [LEAF, INTERMEDIATE, ROOT]), NOW)


def test_intermediates_in_any_order() -> None:
    lower = INTERMEDIATE.authority("lower")
    leaf = lower.leaf()
    assert anchor().prove(signed(leaf, [leaf, INTERMEDIATE, lower]), NOW).issuer == "lower"


def test_trusting_an_intermediate_only() -> None:
    assert anchor(INTERMEDIATE).prove(signed(LEAF, [LEAF]), NOW)
    refused(signed(ROOT.leaf()), INTERMEDIATE)


def test_every_kind_of_name() -> None:
    names = [
        x509.RFC822Name("team@example.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/trainer"),
        x509.DNSName("models.example.com"),
    ]
    bundle = signed(INTERMEDIATE.leaf("Model Team", names=names))
    for identity in ("team@example.com", "spiffe://example.com/trainer", "models.example.com", "Model Team"):
        assert anchor(identity=identity).prove(bundle, NOW).signer == identity
    for identity in ("", "TEAM@example.com", "example.com", "models.example.com ", "*.example.com"):
        refused(bundle, identity=identity)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "ecdsa-p384"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "rsa-pss"),
    ],
)
def test_leaf_keys(key: Any, algorithm: str) -> None:
    assert anchor().prove(signed(INTERMEDIATE.leaf(key=key)), NOW).algorithm == algorithm


def test_either_statement_of_purpose_is_enough() -> None:
    assert anchor().prove(signed(INTERMEDIATE.leaf(key_usage=None)), NOW)
    assert anchor().prove(signed(INTERMEDIATE.leaf(purposes=None)), NOW)


def test_of_several_authorities_any() -> None:
    both = load_authorities(root("another").pem + ROOT.pem, "ca.pem")
    assert len(both) == 2
    assert CertificateAnchor(both, ALICE).prove(signed(LEAF), NOW)


# --- time


def test_expired_and_not_yet_valid() -> None:
    bundle = signed(LEAF)
    assert "2026-01-01 to 2027-01-01" in refused(bundle, now=START + YEAR + timedelta(seconds=1))
    assert "not at 2025-12-31" in refused(bundle, now=START - timedelta(seconds=1))
    assert anchor().prove(bundle, START) and anchor().prove(bundle, START + YEAR)


def test_an_expired_authority() -> None:
    short = START + timedelta(days=30)
    refused(signed(ROOT.authority("short", end=short).leaf()))
    old = root(end=short)
    refused(signed(old.leaf()), old)


# --- who


def test_another_authority() -> None:
    twin = root()  # same name, another key
    assert twin.certificate.subject == ROOT.certificate.subject
    refused(signed(LEAF), twin)
    impostor = twin.authority("intermediate").leaf()
    refused(signed(impostor))
    refused(signed(impostor, [impostor, INTERMEDIATE]))


def test_another_identity() -> None:
    bundle = signed(INTERMEDIATE.leaf("bob"))
    assert "bob@example.com" in refused(bundle) and "alice" in refused(bundle)


def test_self_signed() -> None:
    purposes = [ExtendedKeyUsageOID.CODE_SIGNING]
    forged = issue("alice", None, names=[x509.RFC822Name(ALICE)], purposes=purposes)
    refused(signed(forged))
    refused(signed(forged, [forged, INTERMEDIATE, ROOT]))


def test_missing_intermediate_and_chain_in_the_wrong_order() -> None:
    refused(signed(LEAF, [LEAF]))
    refused(signed(LEAF, [INTERMEDIATE, LEAF]))
    refused(signed(LEAF, [INTERMEDIATE, LEAF]), identity="intermediate")
    refused(signed(LEAF, [ROOT, INTERMEDIATE, LEAF]), identity="root")


def test_name_constraints_hold_for_every_kind_of_name() -> None:
    for ours, theirs in (
        (x509.RFC822Name("example.org"), x509.RFC822Name("example.com")),
        (x509.DNSName("example.org"), x509.DNSName("example.com")),
    ):
        constraint = [(x509.NameConstraints([ours], None), True)]
        limited = ROOT.authority("limited", extensions=constraint)
        kind = type(theirs)
        name = "alice@example.com" if kind is x509.RFC822Name else "models.example.com"
        refused(signed(limited.leaf(names=[kind(name)])), identity=name)
        inside = name.replace(".com", ".org")
        allowed = signed(limited.leaf(ALICE, names=[kind(inside)]))
        assert anchor(identity=inside).prove(allowed, NOW)
        # Constraints do not reach the common name, so that it does not count below such an authority.
        refused(allowed, identity=ALICE)
        refused(signed(limited.leaf(ALICE, names=[])), identity=ALICE)


# --- for what


@pytest.mark.parametrize(
    "options",
    [
        {"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]},
        {"purposes": [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]},
        {"purposes": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]},
        {"key_usage": usage()},
        {"key_usage": usage(certify=True)},
        {"key_usage": None, "purposes": None},
    ],
)
def test_a_certificate_that_is_not_for_signing(options: dict[str, Any]) -> None:
    assert "not for signing" in refused(signed(INTERMEDIATE.leaf(**options)))


def test_a_web_server_s_certificate() -> None:
    server = INTERMEDIATE.leaf(
        "models", names=[x509.DNSName("models.example.com")], purposes=[ExtendedKeyUsageOID.SERVER_AUTH]
    )
    assert "not for signing" in refused(signed(server), identity="models.example.com")


# --- leaves that act as authorities


@pytest.mark.parametrize(
    "mallory",
    [
        INTERMEDIATE.leaf("mallory"),
        INTERMEDIATE.leaf("mallory", ca=None),
        INTERMEDIATE.leaf("mallory", ca=None, key_usage=usage(sign=True, certify=True)),
        INTERMEDIATE.leaf("mallory", ca=True),  # calls itself an authority, but may not sign certificates
    ],
    ids=["leaf", "no constraints", "usage alone", "constraints alone"],
)
def test_a_leaf_that_certifies_another(mallory: Certified) -> None:
    refused(signed(mallory.leaf("alice")))
    refused(signed(mallory.leaf("alice")), mallory.issuer or ROOT)


def test_a_signing_certificate_that_calls_itself_an_authority_still_signs() -> None:
    """Those of released model signatures do."""
    assert anchor().prove(signed(INTERMEDIATE.leaf(ca=True)), NOW)


def test_path_length() -> None:
    none = ROOT.authority("none below", path_length=0)
    assert anchor().prove(signed(none.leaf()), NOW)
    refused(signed(none.authority("below").leaf()))
    strict = root(path_length=0)
    assert anchor(strict).prove(signed(strict.leaf()), NOW)
    refused(signed(strict.authority("below").leaf()), strict)


def test_a_chain_that_is_too_long() -> None:
    authority = ROOT
    for i in range(12):
        authority = authority.authority(f"authority {i}")
    refused(signed(authority.leaf()))


# --- strength and form


def bundle_with(chain: Sequence[bytes]) -> Bundle:
    return build(Envelope(statement(), IN_TOTO, (Signature(b"signature"),)), certificates=tuple(chain))


@pytest.mark.parametrize("key", [weak_rsa(), ec.generate_private_key(ec.SECP256K1())])
def test_weak_or_unknown_keys(key: Any) -> None:
    leaf = INTERMEDIATE.leaf(key=key)
    refused(bundle_with([item.der for item in leaf.chain]))
    weak = root(key=key)
    refused(signed(weak.leaf()), weak)


def test_unknown_critical_extension() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert anchor().prove(signed(INTERMEDIATE.leaf(extensions=[(unknown, False)])), NOW)
    refused(signed(INTERMEDIATE.leaf(extensions=[(unknown, True)])))


def test_no_certificate_at_all() -> None:
    assert "no certificate" in refused(KeySigner(generate()).sign(statement()))


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"\x30\x80", b"not a certificate", ROOT.pem])
def test_bytes_that_are_no_certificate(der: bytes) -> None:
    assert "cannot be read" in refused(bundle_with([der]))
    refused(bundle_with([LEAF.der, der]))


ENVELOPE = signed(LEAF).envelope


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_certificate_makes_a_traceback_or_counts_when_spoiled(data: st.DataObject) -> None:
    chain = [item.der for item in LEAF.chain]
    which = data.draw(st.integers(0, len(chain) - 1))
    at = data.draw(st.integers(0, len(chain[which]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != chain[which][at]))
    chain[which] = chain[which][:at] + bytes([byte]) + chain[which][at + 1 :]
    try:
        anchor().prove(build(ENVELOPE, certificates=tuple(chain)), NOW)
    except SignatureError as error:
        one_sentence(error)
    else:  # the parser forgives a wrong count of unused bits; what is signed and by what is still the same
        spoiled = x509.load_der_x509_certificate(chain[which])
        assert spoiled.tbs_certificate_bytes == LEAF.chain[which].certificate.tbs_certificate_bytes
        assert spoiled.signature == LEAF.chain[which].certificate.signature


def numbered(version: int) -> bytes:
    """The leaf with another version number: the parser's complaint about that is an exception of its own."""
    marker = b"\xa0\x03\x02\x01\x02"
    assert LEAF.der.count(marker) == 1
    return LEAF.der.replace(marker, marker[:-1] + bytes([version]))


def test_certificates_of_unknown_versions() -> None:
    assert "cannot be read" in refused(bundle_with([numbered(9)]))
    pem = ssl.DER_cert_to_PEM_cert(numbered(9)).encode()
    key = PrivateKey(public_key(LEAF.key.public_key(), "key"), LEAF.key)
    with pytest.raises(UsageError):
        load_authorities(pem, "ca.pem")
    with pytest.raises(UsageError):
        with_certificates(key, pem, "chain.pem")
    with pytest.raises(DocumentError):
        load_public(pem, "key.pem")
    beside = {"sig": b64encode(b"signature").decode(), "certificate": b64encode(pem).decode()}
    written = {"payloadType": IN_TOTO, "payload": b64encode(statement()).decode(), "signatures": [beside]}
    with pytest.raises(DocumentError, match="certificate"):
        envelope.parse(written, "witness.json")


# --- the signature


def test_signature_by_another_key_or_over_another_payload() -> None:
    good = signed(LEAF)
    stranger = signed(INTERMEDIATE.leaf()).envelope.signatures
    refused(build(Envelope(good.envelope.payload, IN_TOTO, stranger), certificates=good.certificates))
    other = Envelope(statement("other"), IN_TOTO, good.envelope.signatures)
    refused(build(other, certificates=good.certificates))
    retyped = Envelope(good.envelope.payload, "application/json", good.envelope.signatures)
    refused(build(retyped, certificates=good.certificates))


def test_certificates_beside_the_signature() -> None:
    """As witness writes them; several signers may each bring their own."""
    unsigned = Envelope(statement(), IN_TOTO, ())
    signatures = []
    for leaf in (ROOT.leaf("bob"), LEAF):
        raw = leaf.key.sign(unsigned.pae(), ec.ECDSA(leaf.certificate.signature_hash_algorithm))
        signatures.append(Signature(raw, certificates=tuple(item.der for item in leaf.chain)))
    bundle = Bundle(Envelope(unsigned.payload, IN_TOTO, tuple(signatures)), b"")
    assert anchor().prove(bundle, NOW).signer == ALICE
    assert anchor(identity="bob@example.com").prove(bundle, NOW).signer == "bob@example.com"
    refused(bundle, identity="carol@example.com")


# --- loading


def test_files_of_authorities() -> None:
    assert load_authorities(ROOT.pem, "ca.pem") == (ROOT.certificate,)
    for data in (b"", b"nothing", ROOT.der, generate().public.pem):
        with pytest.raises(UsageError, match=r"ca\.pem") as caught:
            load_authorities(data, "ca.pem")
        one_sentence(caught.value)


def test_signing_with_a_certificate_of_another_key() -> None:
    key = PrivateKey(public_key(LEAF.key.public_key(), "key"), LEAF.key)
    signer = with_certificates(key, LEAF.chain_pem, "chain.pem")
    assert anchor().prove(signer.sign(statement()), NOW)
    with pytest.raises(UsageError, match="not for the key"):
        with_certificates(generate(), LEAF.chain_pem, "chain.pem")
    with pytest.raises(UsageError, match="not for the key"):
        with_certificates(key, INTERMEDIATE.pem + LEAF.pem, "chain.pem")
    with pytest.raises(UsageError, match="no PEM certificate"):
        with_certificates(key, b"", "chain.pem")
