"""Functions that regorus lacks. What OPA's suite says of them runs as a rule; here is what it does not ask."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from assay.policy.rego.builtins import certificates, networks, tokens
from assay.policy.rego.interface import Answer, Query
from assay.policy.rego.regorus import RegorusEngine

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 10**9


@pytest.fixture(scope="module")
def engine() -> Iterator[RegorusEngine]:
    with RegorusEngine() as opened:
        yield opened


def ask(engine: RegorusEngine, expression: str, given_: Any = None) -> Answer:
    rule = f"package verify\nimport rego.v1\nverify := {expression}"
    return engine.evaluate(Query({"r.rego": rule}), [given_ or {}], now=NOW)[0]


def pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
KEYS |= {"PS256": KEYS["RS256"], "RS512": KEYS["RS256"], "PS384": KEYS["RS256"]}


@pytest.mark.parametrize("algorithm", sorted(KEYS))
def test_tokens_of_another_library(engine: RegorusEngine, algorithm: str) -> None:
    key = KEYS[algorithm]
    token = jwt.encode({"sub": "x", "exp": NOW + timedelta(hours=1)}, key, algorithm=algorithm)
    name = f"io.jwt.verify_{algorithm.lower()}"
    assert ask(engine, f"{name}(input.t, input.k)", {"t": token, "k": pem(key)}).value is True
    wrong = {"t": token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB"), "k": pem(key)}
    assert ask(engine, f"{name}(input.t, input.k)", wrong).value is False
    decoded = ask(engine, 'io.jwt.decode_verify(input.t, {"cert": input.k})', {"t": token, "k": pem(key)}).value
    assert decoded[0] is True and decoded[2]["sub"] == "x"
    web = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    keys = json.dumps({"keys": [{"kty": "oct", "k": "eA"} | {"kty": web["kty"]} | web | {"kid": "1"}]})
    assert ask(engine, f"{name}(input.t, input.k)", {"t": token, "k": keys}).value is True


def test_tokens_expire_at_the_time_of_the_decision(engine: RegorusEngine) -> None:
    for seconds, good in ((-1, False), (0, False), (1, True)):
        token = jwt.encode({"exp": NOW + timedelta(seconds=seconds)}, "secret" * 8, algorithm="HS256")
        answer = ask(
            engine, 'io.jwt.decode_verify(input, {"secret": "secretsecretsecretsecretsecretsecretsecretsecret"})', token
        )
        assert answer.value[0] is good
    assert time.time_ns() != NOW_NS


def test_a_public_key_is_no_shared_secret_and_none_is_no_algorithm() -> None:
    key = KEYS["RS256"]

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    head = f"{part({'alg': 'HS256'})}.{part({'sub': 'x'})}"
    forged = hmac.new(pem(key).encode(), head.encode(), "sha256").digest()
    token = f"{head}.{base64.urlsafe_b64encode(forged).rstrip(b'=').decode()}"
    assert tokens.decode_verify(token, {"cert": pem(key), "time": NOW_NS}) == [False, {}, {}]
    assert tokens.verify_rs256(token, pem(key)) is False
    unsigned = f"{part({'alg': 'none'})}.{part({'sub': 'x'})}."
    for constraints in ({"cert": pem(key)}, {"secret": ""}, {"secret": "x", "alg": "none"}):
        assert tokens.decode_verify(unsigned, {**constraints, "time": NOW_NS}) == [False, {}, {}]


@pytest.mark.parametrize(
    "constraints",
    [
        {},
        {"secret": "a", "cert": "b"},
        {"secret": "a", "nope": 1},
        {"secret": 1},
        {"secret": "a", "time": "x"},
        [],
        None,
    ],
)
def test_constraints_that_are_none_are_errors(engine: RegorusEngine, constraints: Any) -> None:
    token = jwt.encode({}, "secret" * 8, algorithm="HS256")
    answer = ask(engine, "io.jwt.decode_verify(input.t, input.c)", {"t": token, "c": constraints})
    assert answer.error is not None and not answer.defined


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "....", "e30.e30", "%.%.%", 3, None, ["a.b.c"]])
def test_tokens_that_are_none_are_errors(engine: RegorusEngine, token: Any) -> None:
    for expression in (
        "io.jwt.decode(input.t)",
        'io.jwt.verify_hs256(input.t, "x")',
        'io.jwt.decode_verify(input.t, {"secret": "x"})',
    ):
        assert ask(engine, expression, {"t": token}).error is not None


@given(st.text(max_size=40))
def test_any_text_is_a_token_or_an_error(text: str) -> None:
    for call in (tokens.decode, lambda item: tokens.verify_hs256(item, "x")):
        with contextlib.suppress(ValueError, TypeError):
            assert call(text) is not True


def test_ranges_of_addresses(engine: RegorusEngine) -> None:
    assert ask(engine, 'net.cidr_intersects("10.0.0.0/8", "10.1.0.0/16")').value is True
    assert ask(engine, 'net.cidr_intersects("10.0.0.0/8", "::/0")').value is False
    assert ask(engine, 'net.cidr_merge(["10.0.0.0/25", "10.0.0.128/25", "10.0.0.7"])').value == ["10.0.0.0/24"]
    assert ask(engine, 'net.cidr_contains_matches(["10.0.0.0/8"], {"a": "10.1.1.1", "b": "11.1.1.1"})').value == [
        [0, "a"]
    ]
    assert networks.contains("10.0.0.0/8", "10.1.1.1") and not networks.contains("10.0.0.0/8", "::1")
    for bad in ('net.cidr_merge(["::1"])', 'net.cidr_merge("x")', 'net.cidr_intersects("10.0.0.1", "10.0.0.0/8")'):
        assert ask(engine, bad).error is not None


@given(st.lists(st.ip_addresses(v=4).map(str), max_size=6))
def test_merging_keeps_every_address(addresses: list[str]) -> None:
    merged = networks.merge(addresses)
    assert all(any(networks.contains(outer, item) for outer in merged) for item in addresses)


def chain(*, path_length: int | None = 0, is_ca: bool = True, days: int = 10) -> str:
    """A root and a leaf, made here."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("root", "leaf")]

    def made(subject: int, key: Any, basic: x509.BasicConstraints) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(names[subject])
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW - timedelta(days=1) + timedelta(days=days))
            .add_extension(basic, critical=True)
        )

    top = made(0, root, x509.BasicConstraints(ca=is_ca, path_length=path_length if is_ca else None))
    low = made(1, leaf, x509.BasicConstraints(ca=False, path_length=None))
    low = low.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
    return "".join(item.sign(root, hashes.SHA256()).public_bytes(Encoding.PEM).decode() for item in (top, low))


def test_chains_of_certificates(engine: RegorusEngine) -> None:
    good = ask(engine, "crypto.x509.parse_and_verify_certificates(input)", chain()).value
    assert good[0] is True and [item["Subject"]["CommonName"] for item in good[1]] == ["leaf", "root"]
    assert good[1][0]["DNSNames"] == ["a.example"] and good[1][1]["IsCA"] is True
    for bad in (
        chain(is_ca=False),
        chain(days=0),
        "".join(reversed(chain().split("\n-----BEGIN"))),
        chain()[: len(chain()) // 2],
    ):
        answer = ask(engine, "crypto.x509.parse_and_verify_certificates(input)", bad)
        assert answer.error is not None or answer.value == [False, []]
    mixed = certificates._load(chain())[:1] + certificates._load(chain())[1:]
    text = "".join(item.public_bytes(Encoding.PEM).decode() for item in mixed)
    assert ask(engine, "crypto.x509.parse_and_verify_certificates(input)", text).value == [False, []]
    assert ask(engine, "crypto.x509.parse_certificates(input)[1].Issuer.CommonName", chain()).value == "root"
    assert ask(engine, 'crypto.x509.parse_certificates("nope")').error is not None


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('strings.count("11111", "11")', 2),
        ('strings.count("dummy", "")', 6),
        ("array.flatten([1, [2, [3]]])", [1, 2, [3]]),
        ('crypto.hmac.equal("a", "b")', False),
        ('crypto.sha256("")', "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ],
)
def test_values(engine: RegorusEngine, expression: str, value: Any) -> None:
    assert ask(engine, expression).value == value


@pytest.mark.parametrize(
    "expression",
    [
        *("array.flatten(1)", "strings.count(1, 2)", 'rand.intn("a", "b")', "uuid.rfc4122(1)", "crypto.md5(1)"),
        *("crypto.sha256(null)", 'crypto.hmac.sha256("a", 1)', "crypto.hmac.equal(1, 1)"),
    ],
)
def test_wrong_types_are_errors(engine: RegorusEngine, expression: str) -> None:
    assert ask(engine, expression).error is not None
