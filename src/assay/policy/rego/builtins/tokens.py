"""``io.jwt.*``: reading and verifying JSON Web Tokens (RFC 7515, 7519) as OPA does, with `cryptography`.

A token that isn't one is an error, a signature that doesn't hold is ``false``. The algorithm is the function's or the
caller's, never the token's alone: ``none`` and a public key used as a shared secret verify nothing.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_CURVE_OF = {"256": "secp256r1", "384": "secp384r1", "512": "secp521r1"}
_CONSTRAINTS = {"cert", "secret", "alg", "iss", "aud", "time"}
_NESTED = 5
_REJECTED: list[Any] = [False, {}, {}]


def decode(token: str) -> list[Any]:
    """``io.jwt.decode``: header, payload and signature in hex; nothing is verified."""
    header, payload, signature = _split(token)
    for _ in range(_NESTED):
        if str(header.get("cty", "")).upper() != "JWT":
            break
        header, payload, signature = _split(payload.decode())
    return [header, _object(payload), signature.hex()]


def decode_verify(token: str, constraints: Any) -> list[Any]:
    """``io.jwt.decode_verify``: ``[true, header, payload]``, or ``[false, {}, {}]``. ``time`` (in nanoseconds) is
    given by the worker unless the rule gives it.
    """
    if not isinstance(constraints, Mapping) or (unknown := constraints.keys() - _CONSTRAINTS):
        raise ValueError(f"io.jwt.decode_verify: unknown constraint {unknown if constraints else ''}")
    for name in constraints.keys() - {"time"}:
        if not isinstance(constraints[name], str):
            raise TypeError(f"io.jwt.decode_verify: {name} is not a string")
    if ("cert" in constraints) == ("secret" in constraints):
        raise ValueError("io.jwt.decode_verify: either cert or secret must be given")
    if not isinstance(time := constraints.get("time"), int | float) or isinstance(time, bool) or time < 0:
        raise TypeError("io.jwt.decode_verify: time is not a number of nanoseconds")
    keys = [constraints["secret"].encode()] if "secret" in constraints else _keys(constraints["cert"])
    for _ in range(_NESTED):
        header, payload, signature = _split(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or constraints.get("alg", algorithm) != algorithm or "crit" in header:
            return _REJECTED
        signed = token.rpartition(".")[0].encode()
        if not any(_holds(algorithm, key, signed, signature) for key in _chosen(keys, header)):
            return _REJECTED
        if str(header.get("cty", "")).upper() != "JWT":
            claims = _object(payload)
            return [True, header, claims] if _accepted(claims, constraints, time / 1e9) else _REJECTED
        token = payload.decode()
    return _REJECTED


def _accepted(claims: Mapping[str, Any], constraints: Mapping[str, Any], now: float) -> bool:
    """Whether issuer, audience and times are as they must be."""
    for name in ("exp", "nbf"):
        value = claims.get(name, 0)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"io.jwt.decode_verify: {name} value must be a number")
    if "iss" in constraints and claims.get("iss") != constraints["iss"]:
        return False
    audience = claims.get("aud")
    if "aud" in constraints:
        if constraints["aud"] not in (audience if isinstance(audience, list) else [audience]):
            return False
    elif audience is not None:
        return False
    return not ("exp" in claims and now >= claims["exp"]) and not ("nbf" in claims and now < claims["nbf"])


def _verifier(algorithm: str) -> Callable[[str, str], bool]:
    def verify(token: str, key: str) -> bool:
        header, _, signature = _split(token)
        signed = token.rpartition(".")[0].encode()
        keys = [key.encode()] if algorithm.startswith("HS") else _keys(key)
        return any(_holds(algorithm, item, signed, signature) for item in _chosen(keys, header))

    return verify


verify_hs256, verify_hs384, verify_hs512 = (_verifier(name) for name in ("HS256", "HS384", "HS512"))
verify_rs256, verify_rs384, verify_rs512 = (_verifier(name) for name in ("RS256", "RS384", "RS512"))
verify_ps256, verify_ps384, verify_ps512 = (_verifier(name) for name in ("PS256", "PS384", "PS512"))
verify_es256, verify_es384, verify_es512 = (_verifier(name) for name in ("ES256", "ES384", "ES512"))
verify_eddsa = _verifier("EdDSA")


def _holds(algorithm: str, key: Any, signed: bytes, signature: bytes) -> bool:
    """Whether a signature is this key's, by this algorithm and no other."""
    family, digest = algorithm[:2], _HASHES.get(algorithm[2:])
    try:
        if family == "HS" and digest is not None and isinstance(key, bytes):
            return hmac.compare_digest(hmac.new(key, signed, f"sha{algorithm[2:]}").digest(), signature)
        if family == "RS" and digest is not None and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), digest)
            return True
        if family == "PS" and digest is not None and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), digest)
            return True
        if family == "ES" and digest is not None and isinstance(key, ec.EllipticCurvePublicKey):
            size = (key.curve.key_size + 7) // 8
            if key.curve.name != _CURVE_OF[algorithm[2:]] or len(signature) != 2 * size:
                return False
            halves = (int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
            key.verify(encode_dss_signature(*halves), signed, ec.ECDSA(digest))
            return True
        if algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
            return True
    except InvalidSignature:
        return False
    return False


def _keys(text: str) -> list[Any]:
    """Public keys: a PEM certificate or key, a JSON Web Key or a set of them (RFC 7517)."""
    if text.lstrip().startswith("{"):
        document = json.loads(text)
        items = document.get("keys", [document])
        return [Named(item.get("kid"), _web_key(item)) for item in items]
    data = text.encode()
    if b"BEGIN CERTIFICATE" in data:
        return [certificate.public_key() for certificate in x509.load_pem_x509_certificates(data)]
    return [serialization.load_pem_public_key(data)]


class Named:
    """A key with the id that a token's header may choose it by."""

    def __init__(self, name: Any, key: Any) -> None:
        self.name = name
        self.key = key


def _chosen(keys: list[Any], header: Mapping[str, Any]) -> list[Any]:
    """The keys to try: those with the header's id where there are any, else all."""
    wanted = header.get("kid")
    named = [item.key for item in keys if isinstance(item, Named) and wanted is not None and item.name == wanted]
    return named or [item.key if isinstance(item, Named) else item for item in keys]


def _web_key(item: Mapping[str, Any]) -> Any:
    kind = item.get("kty")
    if kind == "RSA":
        return rsa.RSAPublicNumbers(_number(item["e"]), _number(item["n"])).public_key()
    if kind == "EC":
        return ec.EllipticCurvePublicNumbers(_number(item["x"]), _number(item["y"]), _CURVES[item["crv"]]).public_key()
    if kind == "OKP" and item.get("crv") == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(_base64(item["x"]))
    raise ValueError("io.jwt: a key of an unknown kind")


def _split(token: Any) -> tuple[dict[str, Any], bytes, bytes]:
    """Header, payload and signature."""
    parts = token.split(".") if isinstance(token, str) else []
    if len(parts) != 3:
        raise ValueError(f"io.jwt: a token must have 3 sections, not {len(parts)}")
    return _object(_base64(parts[0])), _base64(parts[1]), _base64(parts[2])


def _object(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("io.jwt: a section is not an object")
    return found


def _base64(text: str) -> bytes:
    text = text.rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _number(text: str) -> int:
    return int.from_bytes(_base64(text), "big")
