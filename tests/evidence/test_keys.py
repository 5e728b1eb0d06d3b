"""Key pairs: every algorithm both ways, and every kind of file that is not the key it should be."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, padding, rsa, x25519
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError, SignatureError, UsageError
from assay.evidence import keys
from assay.evidence.envelope import IN_TOTO, Envelope, Signature
from assay.evidence.keys import ALGORITHMS, PrivateKey, generate, load_private, load_public
from assay.evidence.signers.key import KeySigner
from assay.evidence.trust.key import KeyAnchor
from helpers import NOW, one_sentence, statement

NAMES = {
    "ecdsa-p256": "ecdsa-p256",
    "ecdsa-p384": "ecdsa-p384",
    "ed25519": "ed25519",
    "rsa-pss-3072": "rsa-pss",
    "ml-dsa-65": "ml-dsa-65",
}


@pytest.fixture(scope="module", params=ALGORITHMS)
def key(request: pytest.FixtureRequest) -> PrivateKey:
    return generate(request.param)


def never(prompt: str) -> bytes:
    raise AssertionError(f"asked for a passphrase: {prompt}")


def pem_of(private: object) -> bytes:
    encryption = serialization.NoEncryption()
    return private.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def public_pem(private: object) -> bytes:
    return private.public_key().public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_every_algorithm_is_named() -> None:
    assert set(NAMES) == set(ALGORITHMS) and ALGORITHMS[0] == "ecdsa-p256"


def test_round_trip(key: PrivateKey) -> None:
    loaded = load_private(key.pem(None), "key.pem", never)
    public = load_public(key.public.pem, "key.pub")
    assert public.pem == loaded.public.pem and public.key_id == key.public.key_id
    assert public.algorithm in NAMES.values()
    public.verify(loaded.sign(b"data"), b"data")
    bundle = KeySigner(loaded).sign(statement())
    proof = KeyAnchor(public).prove(bundle, NOW)
    assert (proof.method, proof.signer, proof.issuer) == ("key", public.key_id, None)
    assert proof.algorithm == public.algorithm and proof.time is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_generated_kind_is_the_one_asked_for(algorithm: str) -> None:
    made = generate(algorithm)
    assert made.public.algorithm == NAMES[algorithm]
    if algorithm == "rsa-pss-3072":
        assert made.key.key_size == 3072


def test_signature_of_other_data_or_another_key(key: PrivateKey) -> None:
    signature = key.sign(b"data")
    stranger = generate().public
    for public, data, spoiled in (
        (key.public, b"datb", signature),
        (key.public, b"", signature),
        (stranger, b"data", signature),
        (key.public, b"data", b""),
        (key.public, b"data", signature[:-1]),
        (key.public, b"data", bytes(len(signature))),
    ):
        with pytest.raises(SignatureError) as caught:
            public.verify(spoiled, data)
        one_sentence(caught.value)


def test_every_bit_of_a_signature_counts(key: PrivateKey) -> None:
    signature = bytearray(key.sign(b"data"))
    for at in range(0, len(signature), max(1, len(signature) // 40)):
        signature[at] ^= 1
        with pytest.raises(SignatureError):
            key.public.verify(bytes(signature), b"data")
        signature[at] ^= 1
    key.public.verify(bytes(signature), b"data")


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_other_bytes_are_a_signature(data: bytes) -> None:
    for public in PUBLIC:
        with pytest.raises(SignatureError):
            public.verify(data, b"data")


PUBLIC = [generate(algorithm).public for algorithm in ALGORITHMS if algorithm != "rsa-pss-3072"]


def test_encrypted(key: PrivateKey) -> None:
    asked = []

    def passphrase(prompt: str) -> bytes:
        asked.append(prompt)
        return "päss wörd".encode()

    pem = key.pem("päss wörd".encode())
    assert b"ENCRYPTED" in pem
    assert load_private(pem, "key.pem", passphrase).public.pem == key.public.pem
    assert len(asked) == 1 and "key.pem" in asked[0]


def test_wrong_passphrase(key: PrivateKey) -> None:
    pem = key.pem(b"right")
    for wrong in (b"wrong", b"right ", b"", b"\xff" * 300):
        with pytest.raises(DocumentError) as caught:
            load_private(pem, "key.pem", lambda _, answer=wrong: answer)  # type: ignore[misc]
        assert "key.pem" in one_sentence(caught.value) and "passphrase" in (caught.value.hint or "")


def test_older_private_formats_are_read() -> None:
    """What ``openssl`` and ``ssh-keygen -m PEM`` wrote before PKCS #8, encrypted or not."""
    made = ec.generate_private_key(ec.SECP256R1())
    for encryption in (serialization.NoEncryption(), serialization.BestAvailableEncryption(b"secret")):
        pem = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption)
        assert load_private(pem, "key.pem", lambda _: b"secret").public.pem == public_pem(made)


def test_public_given_as_private_and_the_other_way_round(key: PrivateKey) -> None:
    with pytest.raises(DocumentError, match=r"key\.pub is a public key"):
        load_private(key.public.pem, "key.pub", never)
    for pem in (key.pem(None), key.pem(b"secret")):
        with pytest.raises(DocumentError, match=r"key\.pem is a private key"):
            load_public(pem, "key.pem")


@pytest.mark.parametrize("bits", [1024, 2047])
def test_weak_rsa(bits: int) -> None:
    weak = rsa.generate_private_key(65537, bits)
    with pytest.raises(DocumentError, match="too short"):
        load_public(public_pem(weak), "weak.pub")
    with pytest.raises(DocumentError, match="too short"):
        load_private(pem_of(weak), "weak.pem", never)


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()])
def test_unknown_curve(curve: ec.EllipticCurve) -> None:
    other = ec.generate_private_key(curve)
    with pytest.raises(DocumentError, match=f"curve {curve.name}"):
        load_public(public_pem(other), "other.pub")
    with pytest.raises(DocumentError, match=f"curve {curve.name}"):
        load_private(pem_of(other), "other.pem", never)


def test_keys_that_sign_otherwise_or_not_at_all() -> None:
    for other in (ed448.Ed448PrivateKey.generate(), dsa.generate_private_key(2048)):
        with pytest.raises(DocumentError, match="not accepted"):
            load_public(public_pem(other), "other.pub")
        with pytest.raises(DocumentError, match="not accepted"):
            load_private(pem_of(other), "other.pem", never)
    with pytest.raises(DocumentError, match="cannot sign"):
        load_private(pem_of(x25519.X25519PrivateKey.generate()), "exchange.pem", never)


def test_other_parameters_of_ml_dsa() -> None:
    from cryptography.hazmat.primitives.asymmetric import mldsa

    other = mldsa.MLDSA44PrivateKey.generate()
    with pytest.raises(DocumentError, match="not accepted"):
        load_public(public_pem(other), "other.pub")
    with pytest.raises(DocumentError, match="not accepted"):
        load_private(pem_of(other), "other.pem", never)


def certificate_for(private: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7)
    builder = builder.public_key(private.public_key()).not_valid_before(NOW).not_valid_after(NOW)
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_certificate_as_key() -> None:
    """Its key is used and nothing else of it: whoever trusts a key does not ask how long its certificate lasts."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = certificate_for(private)
    assert load_public(pem, "somebody.pem").pem == public_pem(private)
    with pytest.raises(DocumentError):
        load_private(pem, "somebody.pem", never)
    with pytest.raises(DocumentError, match="curve"):
        load_public(certificate_for(ec.generate_private_key(ec.SECP256K1())), "somebody.pem")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG",
        "schlüssel".encode("utf-16"),
    ],
)
def test_files_that_are_no_keys(data: bytes) -> None:
    for load in (lambda: load_public(data, "file"), lambda: load_private(data, "file", lambda _: b"secret")):
        with pytest.raises(DocumentError) as caught:
            load()
        assert "file" in one_sentence(caught.value)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_file_makes_a_traceback(data: st.DataObject) -> None:
    pem = data.draw(st.sampled_from(PEMS))
    at = data.draw(st.integers(0, len(pem) - 1))
    spoiled = pem[:at] + data.draw(st.binary(max_size=4)) + pem[at + data.draw(st.integers(0, 40)) :]
    for load in (load_public, lambda pem, what: load_private(pem, what, lambda _: b"secret")):
        try:
            load(spoiled, "file")
        except DocumentError as error:
            one_sentence(error)


PEMS = [
    pem
    for made in (generate("ecdsa-p256"), generate("ed25519"), generate("ml-dsa-65"))
    for pem in (made.pem(None), made.public.pem)
] + [certificate_for(ec.generate_private_key(ec.SECP256R1()))]


def test_unknown_algorithm() -> None:
    with pytest.raises(UsageError, match="unknown key algorithm 'rsa'") as caught:
        generate("rsa")
    assert "ed25519" in (caught.value.hint or "")


def test_rsa_signatures_as_go_tools_make_them() -> None:
    """PKCS #1 v1.5 is verified, since cosign writes it, but with SHA-256 only and never written."""
    private = rsa.generate_private_key(65537, 2048)
    public = keys.public_key(private.public_key(), "key")
    public.verify(private.sign(b"data", padding.PKCS1v15(), hashes.SHA256()), b"data")
    with pytest.raises(SignatureError):
        public.verify(private.sign(b"data", padding.PKCS1v15(), hashes.SHA1()), b"data")
    short_salt = padding.PSS(padding.MGF1(hashes.SHA256()), 20)
    with pytest.raises(SignatureError):
        public.verify(private.sign(b"data", short_salt, hashes.SHA256()), b"data")


def test_key_id_is_what_model_signatures_call_a_key() -> None:
    import hashlib

    public = generate().public
    assert public.pem.endswith(b"-----END PUBLIC KEY-----\n")
    assert public.key_id == hashlib.sha256(public.pem).hexdigest()


# --- the anchor


def test_hints_decide_nothing() -> None:
    key = generate()
    bundle = KeySigner(key).sign(statement())
    other = KeyAnchor(generate().public)
    with pytest.raises(SignatureError):
        other.prove(bundle, NOW)
    lying = bundle.raw.replace(key.public.key_id.encode(), other.key.key_id.encode())
    assert lying != bundle.raw
    from assay.evidence.bundle import parse

    assert KeyAnchor(key.public).prove(parse(lying, "lying"), NOW).signer == key.public.key_id
    with pytest.raises(SignatureError):
        other.prove(parse(lying, "lying"), NOW)


def test_any_of_several_signatures_may_be_the_expected_one() -> None:
    from assay.evidence.bundle import build

    first, second, stranger = generate("ecdsa-p256"), generate("ml-dsa-65"), generate("ed25519")
    envelope = Envelope(statement(), IN_TOTO, ())
    signatures = tuple(Signature(key.sign(envelope.pae())) for key in (first, second))
    bundle = build(Envelope(envelope.payload, IN_TOTO, signatures))
    assert KeyAnchor(first.public).prove(bundle, NOW).algorithm == "ecdsa-p256"
    assert KeyAnchor(second.public).prove(bundle, NOW).algorithm == "ml-dsa-65"
    with pytest.raises(SignatureError, match="no signature by key"):
        KeyAnchor(stranger.public).prove(bundle, NOW)


def test_the_encoding_of_early_releases_covers_their_documents_only() -> None:
    """Version 0.2 signed a text with the payload's Python spelling; for other documents that is no signature."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    from assay.evidence.bundle import build

    for curve in (ec.SECP256R1(), ec.SECP384R1()):
        private = ec.generate_private_key(curve)
        anchor = KeyAnchor(keys.public_key(private.public_key(), "key"))
        for kind, accepted in (("https://model_signing/Digests/v0.1", True), ("https://example.com/v1", False)):
            payload = statement(predicateType=kind)
            text = f"DSSEV1 {len(IN_TOTO)} {IN_TOTO} {len(payload)} {payload!r}"
            signature = Signature(private.sign(text.encode(), ECDSA(hashes.SHA256())))
            bundle = build(Envelope(payload, IN_TOTO, (signature,)))
            if accepted:
                assert "model_signing 0.2" in anchor.prove(bundle, NOW).algorithm
            else:
                with pytest.raises(SignatureError):
                    anchor.prove(bundle, NOW)
