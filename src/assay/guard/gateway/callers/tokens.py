"""Tokens of an identity provider (RFC 7519, RFC 8725): a token is either proved in every respect, or is nothing.

Nothing that a token says about itself chooses a key, an algorithm or a place to fetch anything from: its issuer is
looked up among those configured, its key among that issuer's, its algorithm among those allowed for both.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from assay.errors import DocumentError
from assay.guard.gateway.callers.key_sets import Followed, KeySet
from assay.guard.gateway.interface import Caller, Permission
from assay.guard.gateway.settings.callers import Jwt

FORM = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""RFC 7515, 7.1, with a signature and without padding."""
MAX_TOKEN = 8192
"""Bytes; larger ones are not looked at."""
REMEMBERED = 4096
"""Verified tokens of one issuer that are remembered; the oldest goes first."""
_LATEST = 1e12
"""UNIX seconds that no honest token names; integers in JSON may be larger than any float."""
_TYPES = ("jwt", "at+jwt")
"""RFC 8725, 3.11 and RFC 9068, 2.1: another kind of token (a logout, a proof of possession) is not for calling."""


class Refused(Exception):
    """Why a token proves nothing: a short word for our own figures. The caller is never told."""


class Unavailable(Exception):
    """The issuer's keys are not to be had, so nothing can be said about its tokens."""


class Issuer:
    """One issuer whose tokens count."""

    def __init__(self, settings: Jwt, source: str, plans: frozenset[str]) -> None:
        """Raises `msgspec.ValidationError` for permissions that are none."""
        self.name = settings.issuer
        self.keys = Followed(source, settings.algorithms, settings.refresh)
        self._settings = settings
        self._plans = plans
        self._permissions = msgspec.convert(settings.permissions, tuple[Permission, ...])

    def current(self, now: float) -> KeySet:
        """Raises `Unavailable`."""
        current = self.keys.current
        if current is None or now >= current.until:
            raise Unavailable
        return current

    def verify(self, token: str, header: dict[str, Any], claims: dict[str, Any], now: float) -> tuple[Caller, float]:
        """Who it is, and until when (UNIX seconds) the answer may be remembered. Raises `Refused`, `Unavailable`."""
        import jwt

        algorithm, identity = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._settings.algorithms:
            raise Refused("token-algorithm")
        if not isinstance(identity, str | None):
            raise Refused("token-form")
        end = self._time(claims, now)
        current = self.current(now)
        fitting = current.fitting(identity, algorithm)
        if not fitting:
            self.keys.wanted = True
            raise Refused("token-key")
        wrong = "token-signature"
        for key in fitting:
            try:
                jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._settings.audience,
                    issuer=self.name,
                    options={  # the times were looked at above, by the request's own clock
                        "require": ["exp", "iat", "iss", "aud"],
                        "verify_exp": False,
                        "verify_nbf": False,
                        "verify_iat": False,
                        "enforce_minimum_key_length": True,
                    },
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError):
                wrong = "token-claims"
                break
            return self._caller(claims), min(end, current.until)
        raise Refused(wrong)

    def _time(self, claims: dict[str, Any], now: float) -> float:
        """RFC 7519, 4.1.4 to 4.1.6. Returns from when on the token is refused."""
        expires, issued, begins = map(_seconds, (claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)))
        leeway = self._settings.leeway
        if now >= expires + leeway:
            raise Refused("token-expired")
        if now < issued - leeway or now < begins - leeway:
            raise Refused("token-early")
        return min(expires + leeway, now + 86400)

    def _caller(self, claims: dict[str, Any]) -> Caller:
        settings = self._settings
        subject = _word(claims.get(settings.subject))
        identity = f"jwt:{self.name}|{subject}"
        owner = identity if settings.owner is None else _word(claims.get(settings.owner))
        plan = claims.get(settings.plan_claim) if settings.plan_claim is not None else None
        return Caller(
            identity,
            subject,
            owner,
            plan if isinstance(plan, str) and plan in self._plans else settings.plan,
            self._permissions,
            groups=_groups(claims.get(settings.groups_claim)) if settings.groups_claim is not None else (),
        )


class Tokens:
    """All issuers, and what they have vouched for."""

    def __init__(self, issuers: list[Issuer]) -> None:
        """Raises `DocumentError` where two have one name."""
        self.issuers = {issuer.name: issuer for issuer in issuers}
        if len(self.issuers) != len(issuers):
            raise DocumentError("callers: two entries under jwt have the same issuer")
        self._followed = tuple(issuer.keys for issuer in issuers)

    def recall(self, value: bytes, now: float) -> Caller | None:
        """Whom ``Authorization`` with this value was proved to be, where that still holds."""
        for followed in self._followed:
            current = followed.current
            if current is not None and (known := current.known.get(value)) is not None and known[1] > now:
                return known[0]
        return None

    def find(self, token: bytes, value: bytes, now: float) -> Caller:
        """Who it is; remembered by the header's ``value``. Raises `Refused`, `Unavailable`."""
        issuer, header, claims = self._read(token)
        current = issuer.current(now)  # before: what is remembered dies with the keys that it was verified with
        caller, until = issuer.verify(token.decode(), header, claims, now)
        known = current.known
        while len(known) >= REMEMBERED:
            known.pop(next(iter(known)), None)
        if len(value) <= MAX_TOKEN:
            known[value] = (caller, until)
        return caller

    def _read(self, token: bytes) -> tuple[Issuer, dict[str, Any], dict[str, Any]]:
        """The issuer that a token names, its header and claims; nothing of it is proved."""
        if len(token) > MAX_TOKEN or not FORM.fullmatch(token):
            raise Refused("token-form")
        first, second, _ = token.split(b".")
        header, claims = _object(first), _object(second)
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
            raise Refused("token-form")
        # RFC 7515, 4.1.11: what is critical has to be understood, and we understand none; RFC 7797; RFC 7519, 5.2.
        if any(name in header for name in ("crit", "b64", "cty", "zip", "enc")):
            raise Refused("token-form")
        if "cnf" in claims:  # RFC 7800: it was stolen, unless its bearer proves to have a key, which nobody asked for
            raise Refused("token-bound")
        name = claims.get("iss")
        issuer = self.issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise Refused("token-issuer")
        return issuer, header, claims


def _object(part: bytes) -> dict[str, Any]:
    """A part of a token: one JSON object, each name once."""
    from assay.evidence import strict_json

    try:
        found = strict_json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)), "token")
    except (DocumentError, binascii.Error, ValueError):
        raise Refused("token-form") from None
    if not isinstance(found, dict):
        raise Refused("token-form")
    return found


def _word(value: Any) -> str:
    """A claim that ends up in logs and as a key: short, printable, there."""
    if not isinstance(value, str) or not 1 <= len(value) <= 256 or not value.isprintable():
        raise Refused("token-claims")
    return value


def _seconds(value: Any) -> float:
    """RFC 7519, 2: NumericDate; neither text nor a truth value."""
    if type(value) not in (int, float) or abs(value) > _LATEST:
        raise Refused("token-claims")
    return float(value)


def _groups(value: Any) -> tuple[str, ...]:
    """Scopes (RFC 8693, 4.2) or a list. One that cannot be read refuses the token: a rule may block a group."""
    if value is None:
        return ()
    words = value.split(" ") if isinstance(value, str) else value
    if not isinstance(words, list) or len(words) > 64:
        raise Refused("token-claims")
    return tuple(_word(word) for word in words if word != "")
