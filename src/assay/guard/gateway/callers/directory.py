"""Who asks: one certificate, token or key, proved; or nobody, where strangers may call.

Whatever is wrong with a credential, its bearer reads the same sentence; the reason is counted, and stands in the log.
A failed credential never becomes anonymous, and two of them are never weighed against each other.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from hmac import compare_digest
from importlib.util import find_spec

import msgspec

from assay.errors import DocumentError, MissingExtraError
from assay.guard.gateway.callers.certificates import Certificates
from assay.guard.gateway.callers.key_store import REMEMBERED, Keys, KeyStore
from assay.guard.gateway.callers.tokens import Issuer, Refused, Tokens, Unavailable
from assay.guard.gateway.interface import Caller, Context, Decision
from assay.guard.gateway.networks import household
from assay.guard.gateway.settings import Settings

REALM = "assay"
NEEDED = Decision(False, 401, "caller", "credentials are needed", challenge=f'Bearer realm="{REALM}"')
"""RFC 6750, 3.1: a request without credentials gets no error code."""
FAILED = Decision(
    False,
    401,
    "caller",
    "the credentials were not accepted",
    challenge=f'Bearer realm="{REALM}", error="invalid_token"',
)
AMBIGUOUS = Decision(
    False,
    401,
    "caller",
    "more than one credential was sent",
    challenge=f'Bearer realm="{REALM}", error="invalid_request"',
)
UNAVAILABLE = Decision(False, 503, "caller", "credentials cannot be checked at the moment", retry_after=10)
"""The issuer's keys are not to be had: nothing is said about the token."""

_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")
"""RFC 6750, 2.1."""
_SHORT = 128
"""Longer values of ``Authorization`` are no keys; a key's is 62 bytes."""


STRANGERS = 4096
"""Addresses of strangers that are remembered; all are forgotten when there are more."""


class KeySetFigures(msgspec.Struct, frozen=True):
    """How one issuer's key set is."""

    issuer: str
    source: str
    keys: int
    """Pairs of a key and an algorithm that it is for."""
    fetched: float
    """UNIX seconds of the newest good answer; 0: there was none."""
    problem: str


class Figures(msgspec.Struct, frozen=True):
    """How the room is, for health and metrics. Holds no credential."""

    keys: int
    """API keys in the file, whatever they are worth."""
    remembered: int
    """Presented keys and tokens whose caller is remembered."""
    refused: dict[str, int]
    """By reason: ``key``, ``key-ended``, ``token-signature``, ``ambiguous``, …"""
    key_sets: tuple[KeySetFigures, ...]
    problems: tuple[str, ...]
    """Sentences for whoever runs the gateway."""


class Directory:
    """Implements `parts.Callers`."""

    def __init__(
        self,
        header: bytes,
        anonymous: str | None,
        keys: KeyStore | None,
        tokens: Tokens | None,
        certificates: Certificates | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._header = header
        self._anonymous = anonymous
        self._strangers: dict[str, Caller] = {}
        self._store = keys
        self._keys = Keys({}) if keys is None else keys.current
        self._tokens = tokens
        self._certificates = certificates
        self._clock = clock
        self._asks = keys is not None or tokens is not None
        self._refused: dict[str, int] = {}

    def identify(self, context: Context) -> Caller | Decision:
        """Who it is, proved; else 401 with a challenge, or 503 where an issuer's keys are not to be had."""
        headers = context.headers
        given = headers.get(b"authorization")
        own = headers.get(self._header)
        if context.certificate is None or self._certificates is None:
            # What was presented before, and is still good: the only path that has to be fast.
            known = None
            if own is None:
                if given is not None:
                    if len(given) < _SHORT:
                        known = self._keys.known_bearers.get(given)
                    elif self._tokens is not None and (caller := self._tokens.recall(given, context.at)) is not None:
                        return caller
            elif given is None:
                known = self._keys.known.get(own)
            if known is not None and known.until > context.at and known.caller is not None:
                return known.caller
        return self._identify(context, given, own)

    def _identify(self, context: Context, given: bytes | None, own: bytes | None) -> Caller | Decision:
        certified = None
        if self._certificates is not None and context.certificate is not None:
            certified = self._certificates.find(context.certificate)
        if not self._asks:  # then these are no credentials of ours, and may be the model server's
            given = own = None
        if certified is not None:
            assert context.certificate is not None
            if context.certificate.not_after < context.at:  # TLS has looked only when the connection began
                return self._refuse(context, "certificate-ended")
            return certified if given is None and own is None else self._refuse(context, "ambiguous", AMBIGUOUS)
        if given is None:
            return self._stranger(context) if own is None else self._by_key(context, own, own, bearer=False)
        bearer = _BEARER.fullmatch(given)
        if bearer is None:
            return self._refuse(context, "scheme")
        if own is not None and not compare_digest(own, bearer[1]):
            return self._refuse(context, "ambiguous", AMBIGUOUS)
        if bearer[1].count(b".") == 2:
            return self._by_token(context, bearer[1], given)
        return self._by_key(context, bearer[1], given, bearer=True)

    def _stranger(self, context: Context) -> Caller | Decision:
        """Nobody, by address: strangers do not share what one of them uses up. Of IPv6 everybody has a whole /64."""
        if self._anonymous is None:
            return NEEDED
        known = self._strangers.get(context.address)
        if known is None:
            if len(self._strangers) >= STRANGERS:
                self._strangers.clear()
            known = self._strangers[context.address] = Caller(
                f"address:{household(context.address)}", plan=self._anonymous
            )
        return known

    def _by_key(self, context: Context, presented: bytes, value: bytes, *, bearer: bool) -> Caller | Decision:
        keys = self._keys  # once: what is remembered belongs to these contents of the file
        entry = keys.find(presented)
        caller = entry.caller
        if caller is None or entry.until <= context.at:
            return self._refuse(context, "key" if caller is None else "key-ended")
        known = keys.known_bearers if bearer else keys.known
        if len(known) >= REMEMBERED:
            known.clear()
        if len(value) < _SHORT:
            known[value] = entry
        return caller

    def _by_token(self, context: Context, token: bytes, value: bytes) -> Caller | Decision:
        if self._tokens is None:
            return self._refuse(context, "token-issuer")
        try:
            return self._tokens.find(token, value, context.at)
        except Refused as reason:
            return self._refuse(context, str(reason))
        except Unavailable:
            return self._refuse(context, "token-keys-gone", UNAVAILABLE)

    def _refuse(self, context: Context, why: str, decision: Decision = FAILED) -> Decision:
        self._refused[why] = self._refused.get(why, 0) + 1
        context.error = f"caller:{why}"
        return decision

    def refresh(self) -> None:
        """Look for changed files and old key sets. About once a second, by one thread; waits for disks, no network."""
        if self._store is not None:
            self._store.refresh(self._clock())
            self._keys = self._store.current
        for issuer in self._tokens.issuers.values() if self._tokens else ():
            issuer.keys.refresh(self._clock)

    def ready(self) -> bool:
        """Whether every issuer's keys were there once."""
        return self._tokens is None or all(issuer.keys.current for issuer in self._tokens.issuers.values())

    def wait(self, seconds: float) -> bool:
        """After the first `refresh`, before serving: at most so long for `ready`, which is returned."""
        end = time.monotonic() + seconds
        while not (ready := self.ready()) and time.monotonic() < end:
            time.sleep(0.02)
        return ready

    def take_over(self, before: Directory) -> None:
        """After a reload: go on with the key sets that are known, and with what was counted, but with no answer."""
        self._refused = before._refused
        if self._tokens is not None and before._tokens is not None:
            for name, issuer in self._tokens.issuers.items():
                if (known := before._tokens.issuers.get(name)) is not None:
                    issuer.keys.take_over(known.keys)

    def figures(self) -> Figures:
        """How the room is."""
        issuers = list(self._tokens.issuers.values()) if self._tokens else []
        keys = self._keys
        sets = tuple(
            KeySetFigures(
                issuer.name,
                issuer.keys.source,
                len(issuer.keys.current.keys) if issuer.keys.current else 0,
                issuer.keys.fetched,
                issuer.keys.problem,
            )
            for issuer in issuers
        )
        remembered = len(keys.known) + len(keys.known_bearers)
        remembered += sum(len(issuer.keys.current.known) for issuer in issuers if issuer.keys.current)
        problems = (self._store.problems if self._store else ()) + tuple(one.problem for one in sets if one.problem)
        return Figures(len(keys.by_digest), remembered, dict(self._refused), sets, problems)


def build(settings: Settings, clock: Callable[[], float] = time.time) -> Directory:
    """The room, as configured; key sets are fetched by `Directory.refresh`. Raises `AssayError`."""
    callers = settings.callers
    plans = frozenset(settings.plans)
    if callers.jwt and find_spec("jwt") is None:
        raise MissingExtraError("tokens (callers: jwt)", "gateway")
    header = callers.header.lower()
    if not re.fullmatch(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}", header) or header in ("authorization", "cookie", "host"):
        raise DocumentError(f"callers: {header[:64]!r} cannot be the header of a key")
    try:
        issuers = []
        for one in callers.jwt:
            if "://" in one.jwks and not one.jwks.startswith("https://"):
                raise DocumentError(f"callers: the key set {one.jwks[:200]!r} is neither a file nor https://")
            if not one.audience or not one.issuer or not one.algorithms:
                raise DocumentError("callers: each jwt names its issuer, at least one audience and one algorithm")
            issuers.append(Issuer(one, one.jwks if "://" in one.jwks else settings.path(one.jwks), plans))
        certificates = None if callers.mtls is None else Certificates(callers.mtls)
    except msgspec.ValidationError as error:
        raise DocumentError(f"callers: permissions: {error}") from None
    return Directory(
        header.encode(),
        callers.anonymous,
        None if callers.keys is None else KeyStore(settings.path(callers.keys), plans),
        Tokens(issuers) if issuers else None,
        certificates,
        clock,
    )
