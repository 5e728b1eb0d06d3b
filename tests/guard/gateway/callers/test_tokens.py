"""Callers by token: what is proved, and the known ways to make a verifier believe what was not."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import AssayError
from assay.guard.gateway.callers import build
from assay.guard.gateway.callers.directory import FAILED, UNAVAILABLE, Directory
from assay.guard.gateway.callers.key_sets import KEPT
from assay.guard.gateway.callers.tokens import MAX_TOKEN, REMEMBERED
from assay.guard.gateway.interface import Caller, Decision, Permission
from guard.gateway.callers.making import ISSUER, NOW, Provider, ask, b64, settings

HEADER = b'{"typ":"JWT","alg":"%s","kid":"%s"}'


class Place:
    """A directory that trusts one provider, whose keys are in a file."""

    def __init__(self, folder: Path, provider: Provider, kids: tuple[str, ...] = ("es", "rs"), **jwt: Any) -> None:
        self.folder = folder
        self.now = NOW
        self.provider = provider
        (folder / "jwks.json").write_bytes(provider.jwks(*kids))
        one = {"issuer": ISSUER, "audience": ["gateway"], "jwks": "jwks.json", **jwt}
        self.directory: Directory = build(settings(folder, {"jwt": [one]}), clock=lambda: self.now)
        self.directory.refresh()

    def who(self, token: str, at: float | None = None) -> Caller | Decision:
        return self.directory.identify(ask(self.now if at is None else at, authorization=f"Bearer {token}"))

    def why(self, token: str) -> str:
        """The reason of a refusal, as the log has it."""
        context = ask(self.now, authorization=f"Bearer {token}")
        assert self.directory.identify(context) is FAILED
        return context.error.removeprefix("caller:")

    def rewrite(self, *kids: str) -> None:
        (self.folder / "jwks.json").write_bytes(self.provider.jwks(*kids))
        self.later(2)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.directory.refresh()


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture
def place(tmp_path: Path, provider: Provider) -> Place:
    return Place(tmp_path, provider)


def test_a_token_is_proved_once_and_remembered(place: Place, provider: Provider) -> None:
    token = provider.token("rs", scope="read write")
    first = place.who(token)
    assert first == Caller(
        f"jwt:{ISSUER}|alice", "alice", f"jwt:{ISSUER}|alice", "default", (Permission(),), groups=("read", "write")
    )
    assert place.who(token) is first and place.directory.figures().remembered == 1


def test_claims_say_owner_plan_and_groups(tmp_path: Path, provider: Provider) -> None:
    place = Place(
        tmp_path,
        provider,
        subject="client_id",
        owner="org",
        **{"plan-claim": "tier", "groups-claim": "roles", "permissions": [{"model": "m", "verb": "infer"}]},
    )
    who = place.who(provider.token(client_id="svc", org="acme", tier="gold", roles=["a", "b"]))
    assert who == Caller(
        f"jwt:{ISSUER}|svc", "svc", "acme", "gold", (Permission(model="m", verb="infer"),), groups=("a", "b")
    )
    other = place.who(provider.token(client_id="svc", org="acme", tier="platinum"))
    assert isinstance(other, Caller) and other.plan == "default", "a token names no plan that the file does not have"


def test_a_misspelt_permission_is_an_error_not_everything(tmp_path: Path, provider: Provider) -> None:
    with pytest.raises(AssayError, match="modle"):
        Place(tmp_path, provider, permissions=[{"modle": "m"}])


@pytest.mark.parametrize("change", [{"jwks": "http://127.0.0.1/keys"}, {"jwks": "ftp://x/k"}, {"audience": []}])
def test_what_cannot_be_safe_is_refused_at_the_start(
    tmp_path: Path, provider: Provider, change: dict[str, Any]
) -> None:
    with pytest.raises(AssayError):
        Place(tmp_path, provider, **change)


def test_none_is_no_algorithm(place: Place, provider: Provider) -> None:
    payload = json.dumps(provider.claims()).encode()
    for name in ("none", "None", "NONE", "nOnE", "", None):
        header = b64(json.dumps({"alg": name, "kid": "es"}).encode())
        for signature in ("", "AA", b64(b"\x00" * 64)):
            assert place.why(f"{header}.{b64(payload)}.{signature}") in ("token-algorithm", "token-form")


@pytest.mark.parametrize("form", ["pem", "jwk", "n", "der"])
def test_a_public_key_is_no_shared_secret(place: Place, provider: Provider, form: str) -> None:
    public = provider.public("rs")
    secret = {
        "pem": provider.pem("rs"),
        "jwk": json.dumps(public).encode(),
        "n": public["n"].encode(),
        "der": b"".join(provider.pem("rs").splitlines()[1:-1]),
    }[form]
    signing = f"{b64(HEADER % (b'HS256', b'rs'))}.{b64(json.dumps(provider.claims()).encode())}"
    mac = hmac.new(secret, signing.encode(), hashlib.sha256).digest()
    assert place.why(f"{signing}.{b64(mac)}") == "token-algorithm"


def test_a_symmetric_key_in_the_set_is_left_out(tmp_path: Path, provider: Provider) -> None:
    place = Place(tmp_path, provider)
    keys = json.loads(provider.jwks("es"))
    keys["keys"].append({"kty": "oct", "k": b64(b"s" * 32), "kid": "hs", "alg": "RS256"})
    (tmp_path / "jwks.json").write_text(json.dumps(keys))
    place.later(2)
    assert place.directory.figures().key_sets[0].keys == 1
    signing = f"{b64(HEADER % (b'RS256', b'hs'))}.{b64(json.dumps(provider.claims()).encode())}"
    mac = hmac.new(b"s" * 32, signing.encode(), hashlib.sha256).digest()
    assert place.why(f"{signing}.{b64(mac)}") == "token-key"


def test_an_algorithm_has_to_be_allowed_and_the_keys_own(tmp_path: Path, provider: Provider) -> None:
    place = Place(tmp_path, provider, algorithms=["ES256"])
    assert place.why(provider.token("rs")) == "token-algorithm"
    assert isinstance(place.who(provider.token("es")), Caller)
    assert place.why(provider.token("es", {"kid": "rs"})) == "token-key", "the key of another algorithm"
    assert place.why(provider.token("es", {"alg": "RS256"})) == "token-algorithm"


@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "/dev/null", "x' UNION SELECT 'k'--", "es\x00", "", "k" * 100_0, "ES", "http://evil/jwks"],
)
def test_a_key_id_only_looks_up(place: Place, provider: Provider, kid: str) -> None:
    assert place.why(provider.token("es", {"kid": kid})) == "token-key"


@pytest.mark.parametrize("kid", [["es"], {"es": 1}, 1, True])
def test_a_key_id_is_text(place: Place, provider: Provider, kid: Any) -> None:
    assert place.why(provider.token("es", {"kid": kid})) == "token-form"


def test_without_a_key_id_only_a_single_key_can_be_meant(tmp_path: Path, provider: Provider) -> None:
    place = Place(tmp_path, provider, kids=("es", "rs"))
    assert isinstance(place.who(provider.token("es", {"kid": ...})), Caller)
    provider.keys["es2"] = Provider().keys["es"]
    place.rewrite("es", "es2")
    assert place.why(provider.token("es", {"kid": ...}, sub="bob")) == "token-key"
    assert isinstance(place.who(provider.token("es2")), Caller)


def test_a_key_that_the_token_brings_is_not_looked_at(place: Place, provider: Provider) -> None:
    evil = Provider()
    for header in (
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"jwk": evil.public("es")},
        {"x5c": ["AAAA"]},
    ):
        assert place.why(evil.token("es", header)) == "token-signature"
        assert isinstance(place.who(provider.token("es", header)), Caller)


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": None},
        {"crit": ["b64"], "b64": True},
        {"b64": False, "crit": ["b64"]},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": 1},
        {"typ": None},
    ],
)
def test_what_is_critical_nested_or_of_another_kind_is_refused(
    place: Place, provider: Provider, header: dict[str, Any]
) -> None:
    assert place.why(provider.token("es", header)) == "token-form"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+JWT", ...])
def test_kinds_of_tokens_for_calling(place: Place, provider: Provider, kind: Any) -> None:
    assert isinstance(place.who(provider.token("es", {"typ": kind})), Caller)


@pytest.mark.parametrize("missing", ["exp", "iat", "aud", "sub"])
def test_a_claim_that_is_missing(place: Place, provider: Provider, missing: str) -> None:
    assert place.why(provider.token(**{missing: ...})) == "token-claims"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": ...}, "token-issuer"),
        ({"iss": "https://evil.example"}, "token-issuer"),
        ({"iss": ISSUER + "/"}, "token-issuer"),
        ({"iss": [ISSUER]}, "token-issuer"),
        ({"aud": "other"}, "token-claims"),
        ({"aud": ["other", "gatewa"]}, "token-claims"),
        ({"aud": {"gateway": 1}}, "token-claims"),
        ({"aud": []}, "token-claims"),
        ({"aud": ["gateway", 1]}, "token-claims"),
        ({"exp": NOW - 30}, "token-expired"),
        ({"exp": NOW - 1e9}, "token-expired"),
        ({"exp": str(NOW + 60)}, "token-claims"),
        ({"exp": True}, "token-claims"),
        ({"exp": None}, "token-claims"),
        ({"exp": 10**400}, "token-claims"),
        ({"exp": 1e300}, "token-claims"),
        ({"exp": [NOW]}, "token-claims"),
        ({"iat": NOW + 31}, "token-early"),
        ({"iat": "now"}, "token-claims"),
        ({"nbf": NOW + 31}, "token-early"),
        ({"nbf": "0"}, "token-claims"),
        ({"nbf": None}, "token-claims"),
        ({"sub": ""}, "token-claims"),
        ({"sub": 7}, "token-claims"),
        ({"sub": "alice\x00"}, "token-claims"),
        ({"sub": "alice\nbob"}, "token-claims"),
        ({"sub": "alice\u202ebob"}, "token-claims"),
        ({"sub": "a" * 257}, "token-claims"),
        ({"scope": 5}, "token-claims"),
        ({"scope": ["a", 5]}, "token-claims"),
        ({"scope": "a b\x00"}, "token-claims"),
        ({"scope": ["x"] * 65}, "token-claims"),
    ],
)
def test_claims_are_checked(place: Place, provider: Provider, claims: dict[str, Any], why: str) -> None:
    assert place.why(provider.token("es", **claims)) == why


def test_a_token_that_is_good_only_with_a_proof_of_possession_is_not_good_alone(
    place: Place, provider: Provider
) -> None:
    for confirmation in ({"jkt": "0ZcOCORZNYy"}, {"x5t#S256": "bwcK0esc3AC"}, {}, None):
        assert place.why(provider.token("es", cnf=confirmation)) == "token-bound"


def test_the_leeway_and_not_a_second_more(place: Place, provider: Provider) -> None:
    token = provider.token(exp=NOW + 100)
    assert isinstance(place.who(token), Caller)
    assert isinstance(place.who(token, NOW + 129.9), Caller), "remembered and still good"
    assert place.who(token, NOW + 130) is FAILED, "remembered, but over"
    assert isinstance(place.who(provider.token(iat=NOW + 30, nbf=NOW + 30)), Caller)


def test_a_claim_twice_is_refused_whoever_reads_it(place: Place, provider: Provider) -> None:
    text = json.dumps(provider.claims())
    for doubled in (
        text[:-1] + ', "sub": "admin"}',
        text[:-1] + ', "exp": 9999999999}',
        text[:-1] + ', "s\\u0075b": "a"}',
    ):
        assert place.why(provider.signed(doubled.encode())) == "token-form"
    header = b'{"typ":"JWT","alg":"none","alg":"ES256","kid":"es"}'
    assert place.why(provider.raw(header, text.encode())) == "token-form"


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b'"x"', b"\xff", b"{", b"[" * 4000, b'{"a":NaN}', b"{} {}"])
def test_a_payload_that_is_no_object(place: Place, provider: Provider, payload: bytes) -> None:
    assert place.why(provider.signed(payload)) in ("token-form", "key")


def test_a_token_that_is_too_large_or_spelt_otherwise(place: Place, provider: Provider) -> None:
    good = provider.token()
    assert place.why(provider.token(note="x" * MAX_TOKEN)) == "token-form"
    head, payload, signature = good.split(".")
    for bad in (
        f"{head}.{payload}.",
        f".{payload}.{signature}",
        f"{head}..{signature}",
        f"{head}=.{payload}.{signature}",
    ):
        assert place.why(bad) in ("token-form", "scheme")
    assert place.why(f"{good}.x") == "key", "four parts are no token"
    assert place.why(f"{good}==") == "token-form"


def test_every_bit_of_the_signature_counts(place: Place, provider: Provider) -> None:
    good = provider.token("rs")
    head, payload, signature = good.split(".")
    for place_ in range(0, len(signature) - 1, 7):
        other = "A" if signature[place_] != "A" else "B"
        assert place.why(f"{head}.{payload}.{signature[:place_]}{other}{signature[place_ + 1 :]}") == "token-signature"
    forged = b64(json.dumps(provider.claims(sub="root")).encode())
    assert place.why(f"{head}.{forged}.{signature}") == "token-signature"
    assert isinstance(place.who(good), Caller)


def test_psychic_signatures(place: Place, provider: Provider) -> None:
    """CVE-2022-21449: r = s = 0 is a signature of anything to a careless ECDSA."""
    head, payload, _ = provider.token("es").split(".")
    for signature in (b"\x00" * 64, b"\xff" * 64, b"", b"\x30\x06\x02\x01\x00\x02\x01\x00"):
        assert place.why(f"{head}.{payload}.{b64(signature)}") in ("token-signature", "token-form")


def test_rollover_with_overlap(place: Place, provider: Provider) -> None:
    provider.keys["es3"] = Provider().keys["es"]
    old, new = provider.token("es"), provider.token("es3")
    assert isinstance(place.who(old), Caller) and place.why(new) == "token-key"
    place.rewrite("es", "es3")
    assert isinstance(place.who(old), Caller) and isinstance(place.who(new), Caller)
    place.rewrite("es3")
    assert place.why(old) == "token-key", "remembered, but its key is gone"
    assert isinstance(place.who(new), Caller)


def test_a_set_that_vanishes_is_kept_for_an_hour_and_then_closed(place: Place, provider: Provider) -> None:
    token = provider.token(exp=NOW + 10 * KEPT)
    assert isinstance(place.who(token), Caller)
    (place.folder / "jwks.json").unlink()
    place.later(KEPT - 10)
    assert isinstance(place.who(token), Caller) and place.directory.figures().problems
    place.later(11)
    assert place.who(token) is UNAVAILABLE and UNAVAILABLE.status == 503
    place.rewrite("es")
    assert isinstance(place.who(token), Caller) and not place.directory.figures().problems


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys": []}',
        b'{"keys": {}}',
        b'{"keys": [1, null]}',
        b"\xff",
        b'{"keys": [], "keys": []}',
        b'{"keys": [%s]}' % b",".join([b"{}"] * 101),
        b" " * (257 << 10),
    ],
)
def test_a_set_that_is_none_does_not_replace_a_good_one(place: Place, provider: Provider, data: bytes) -> None:
    (place.folder / "jwks.json").write_bytes(data)
    place.later(2)
    assert place.directory.figures().problems
    assert isinstance(place.who(provider.token()), Caller)


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "RS256"},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"kty": "oct"},
        {"kty": ["EC"]},
        {"x": "AAAA"},
        {"x": 5},
        {"d": "AAAA"},
        {"kid": 5},
        {"kid": "k" * 300},
    ],
)
def test_a_key_for_something_else_verifies_nothing(place: Place, provider: Provider, change: dict[str, Any]) -> None:
    keys = {"keys": [provider.public("es") | change, provider.public("rs")]}
    (place.folder / "jwks.json").write_text(json.dumps(keys))
    place.later(2)
    assert not place.directory.figures().problems
    assert place.why(provider.token("es")) == "token-key" and isinstance(place.who(provider.token("rs")), Caller)


def test_a_weak_key_verifies_nothing(place: Place, provider: Provider) -> None:
    from small_ca import weak_rsa

    weak = jwt.get_algorithm_by_name("RS256").to_jwk(weak_rsa().public_key(), as_dict=True) | {"kid": "weak"}
    (place.folder / "jwks.json").write_text(json.dumps({"keys": [weak, provider.public("es")]}))
    place.later(2)
    assert place.directory.figures().key_sets[0].keys == 1


def test_two_issuers_do_not_vouch_for_each_other(tmp_path: Path, provider: Provider) -> None:
    other = Provider()
    (tmp_path / "a.json").write_bytes(provider.jwks("es"))
    (tmp_path / "b.json").write_bytes(other.jwks("es"))
    two = [
        {"issuer": ISSUER, "audience": ["gateway"], "jwks": "a.json"},
        {"issuer": "https://b.example", "audience": ["gateway"], "jwks": "b.json"},
    ]
    directory = build(settings(tmp_path, {"jwt": two}), clock=lambda: NOW)
    directory.refresh()

    def who(token: str) -> Caller | Decision:
        return directory.identify(ask(authorization=f"Bearer {token}"))

    assert isinstance(who(provider.token()), Caller)
    second = who(other.token(iss="https://b.example"))
    assert isinstance(second, Caller) and second.id == "jwt:https://b.example|alice"
    assert who(other.token()) is FAILED and who(provider.token(iss="https://b.example")) is FAILED
    with pytest.raises(AssayError, match="same issuer"):
        build(settings(tmp_path, {"jwt": [two[0], two[0]]}))


def test_before_the_first_key_set_nothing_is_said(tmp_path: Path, provider: Provider) -> None:
    one = {"issuer": ISSUER, "audience": ["gateway"], "jwks": "later.json"}
    directory = build(settings(tmp_path, {"jwt": [one]}), clock=lambda: NOW)
    directory.refresh()
    assert directory.identify(ask(authorization=f"Bearer {provider.token()}")) is UNAVAILABLE
    assert not directory.ready()


def test_what_is_remembered_is_bounded(place: Place, provider: Provider) -> None:
    place.directory.refresh()
    issuer = next(iter(place.directory._tokens.issuers.values()))  # type: ignore[union-attr]
    current = issuer.keys.current
    assert current is not None
    for number in range(REMEMBERED + 5):  # as many verified tokens, without the cost of signing them
        current.known[number.to_bytes(32)] = (Caller("x"), math.inf)
    assert isinstance(place.who(provider.token()), Caller)
    assert len(current.known) == REMEMBERED


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=80))
def test_bytes_from_anywhere_are_refused_in_words(head: bytes, payload: bytes, signature: bytes) -> None:
    assert SHARED.who(f"{b64(head)}.{b64(payload)}.{b64(signature)}") is FAILED


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4))
def test_any_value_of_a_claim_or_header_is_refused_or_read(value: Any) -> None:
    for name in ("exp", "iat", "nbf", "aud", "sub", "scope", "jti"):
        assert isinstance(SHARED.who(SHARED.provider.token(**{name: value})), Caller | Decision)
    for name in ("alg", "kid", "typ", "jwk", "crit"):
        assert isinstance(SHARED.who(SHARED.provider.token("es", {name: value})), Caller | Decision)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "kid", "crv", "x", "y", "n", "e", "alg", "use", "key_ops"]),
        st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "AA", "RS256", "verify"])
        | st.text()
        | st.none()
        | st.integers()
        | st.lists(st.text(), max_size=2),
    )
)
def test_any_key_in_a_set_is_left_out_or_read(key: dict[str, Any]) -> None:
    place = SHARED
    (place.folder / "jwks.json").write_text(json.dumps({"keys": [key, place.provider.public("rs")]}))
    place.later(2)
    assert not place.directory.figures().problems
    (place.folder / "jwks.json").write_bytes(place.provider.jwks("es", "rs"))
    place.later(2)


SHARED: Place


@pytest.fixture(autouse=True, scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> None:
    """For the tests by examples, which have no fixture of their own for each."""
    global SHARED
    SHARED = Place(tmp_path_factory.mktemp("shared"), provider)
