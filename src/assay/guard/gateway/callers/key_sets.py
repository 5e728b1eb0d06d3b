"""Public keys of a token's issuer (RFC 7517), from a file or over HTTPS, fetched beside the requests and never for one.

A set that cannot be had keeps its last good contents for an hour and then fits no token. Symmetric keys are left out:
a public key that is taken for a secret is the oldest attack there is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from assay.errors import AssayError, DocumentError
from assay.files import read_file
from assay.guard.gateway.interface import Caller

MAX_BYTES = 256 << 10
"""Largest key set that is read."""
MAX_KEYS = 100
KEPT = 3600.0
"""Seconds that the last good set goes on when there is no newer one; at least twice the time between two fetches."""
SOONEST = 10.0
"""Seconds between two fetches, whoever asks."""
DEADLINE = 20.0
"""Seconds for a whole fetch."""
RSA_BITS = range(2048, 8193)
"""NIST SP 800-131A; beyond it a signature takes milliseconds."""

_BY_KIND = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""RFC 7518, 3.1 and RFC 8037, 3.1: which algorithms a key is for, by its type and curve."""


class KeySet:
    """What one version of a key set says. `known` is who was proved with it and until when, by the header's value."""

    __slots__ = ("by_id", "keys", "known", "until")

    def __init__(self, keys: Iterable[tuple[str | None, str, Any]], until: float) -> None:
        self.keys = tuple(keys)
        """Key id, algorithm, `jwt.PyJWK`; one for each algorithm that the key is for."""
        self.by_id: dict[tuple[str, str], list[Any]] = {}
        for identity, algorithm, key in self.keys:
            if identity is not None:
                self.by_id.setdefault((identity, algorithm), []).append(key)
        self.until = until
        """UNIX seconds from which on it fits no token; later, when it was seen again."""
        self.known: dict[bytes, tuple[Caller, float]] = {}

    def fitting(self, identity: str | None, algorithm: str) -> list[Any]:
        """Keys that a token may have been signed with. Without an id only a single key can be meant."""
        if identity is not None:
            return self.by_id.get((identity, algorithm), [])
        found = [key for _, name, key in self.keys if name == algorithm]
        return found if len(found) == 1 else []


def parse(data: bytes, name: str, allowed: Iterable[str], until: float) -> KeySet:
    """The keys that can be used. Raises `DocumentError` for anything but a key set with at least one."""
    from assay.evidence import strict_json

    raw = strict_json.loads(data, name, max_bytes=MAX_BYTES)
    listed = raw.get("keys") if isinstance(raw, dict) else None
    if not isinstance(listed, list):
        raise DocumentError(f"{name} is no JSON Web Key Set", hint='it is an object with a list "keys"')
    if len(listed) > MAX_KEYS:
        raise DocumentError(f"{name} has more than {MAX_KEYS} keys")
    allowed = frozenset(allowed)
    found = [entry for one in listed if isinstance(one, dict) for entry in _read(one, allowed)]
    if not found:
        raise DocumentError(f"{name} has no key for {', '.join(sorted(allowed))}")
    return KeySet(found, until)


def _read(raw: dict[str, Any], allowed: frozenset[str]) -> list[tuple[str | None, str, Any]]:
    """One key, for each of its algorithms; none where it is for something else, or is no secret any more."""
    import jwt

    kind, identity = raw.get("kty"), raw.get("kid")
    curve = None if kind == "RSA" else raw.get("crv")
    operations = raw.get("key_ops")
    if not isinstance(kind, str) or not isinstance(curve, str | None) or "d" in raw:
        return []
    if raw.get("use", "sig") != "sig" or not isinstance(operations, list | None):
        return []
    if operations is not None and "verify" not in operations:
        return []
    if identity is not None and not (isinstance(identity, str) and len(identity) <= 256):
        return []
    names = [name for name in _BY_KIND.get((kind, curve), ()) if name in allowed and raw.get("alg", name) == name]
    try:
        made = [(identity, name, jwt.PyJWK(raw, algorithm=name)) for name in names]
    except (jwt.PyJWTError, ValueError, TypeError):
        return []
    if kind == "RSA" and any(key.key.key_size not in RSA_BITS for _, _, key in made):
        return []
    return made


class Followed:
    """One issuer's key set, kept fresh."""

    def __init__(self, source: str, algorithms: Iterable[str], every: float) -> None:
        self.source = source
        """A file's absolute path or an ``https://`` address."""
        self.current: KeySet | None = None
        """None: there was no good one yet."""
        self.wanted = False
        """Set by the hot path when a token names a key that is not there."""
        self.problem = ""
        """Why the newest attempt failed; empty: it did not."""
        self.fetched = 0.0
        """UNIX seconds of the newest good one."""
        self._algorithms = tuple(algorithms)
        self._every = every
        self._kept = max(KEPT, 2 * every)
        self._data = b""
        self._tag = ""
        self._due = 0.0
        self._soonest = 0.0
        self._thread: threading.Thread | None = None

    def refresh(self, clock: Callable[[], float]) -> None:
        """Fetch if it is time; called about once a second by one thread, never waits for a network."""
        now = clock()
        if self._thread is not None and self._thread.is_alive():
            return
        # A clock that was set back must not stop us for as long.
        self._due, self._soonest = min(self._due, now + self._every), min(self._soonest, now + SOONEST)
        if now < self._due and not (self.wanted and now >= self._soonest):
            return
        self._soonest = now + SOONEST
        self.wanted = False
        if self.source.startswith("https://"):
            self._due = now + self._every
            self._thread = threading.Thread(target=self._fetch, args=(clock,), name="assay-key-set", daemon=True)
            self._thread.start()
        else:
            self._due = now + min(self._every, 1.0)  # a file costs nothing
            self._fetch(clock)

    def take_over(self, before: Followed) -> None:
        """Go on with what another one has fetched from the same place. Callers are proved anew: plans may differ."""
        current = before.current
        if (self.source, self._algorithms) == (before.source, before._algorithms) and current is not None:
            self.current = KeySet(current.keys, current.until)
            self.fetched = before.fetched

    def _fetch(self, clock: Callable[[], float]) -> None:
        try:
            data = self._get()
            until = clock() + self._kept
            if data == self._data and self.current is not None:
                self.current.until = until
            else:
                self.current = parse(data, self.source, self._algorithms, until)
                self._data = data
        except Exception as error:  # whatever breaks us is a bad key set, and the next may be a good one
            self._tag = ""
            self.problem = error.message if isinstance(error, AssayError) else f"{self.source}: {type(error).__name__}"
            self._due = min(self._due, clock() + SOONEST)
        else:
            self.problem = ""
            self.fetched = clock()

    def _get(self) -> bytes:
        if not self.source.startswith("https://"):
            return read_file(self.source, MAX_BYTES)
        return self._download()

    def _download(self) -> bytes:
        import http.client
        import urllib.error

        from assay.targets.oci import web

        headers = {"accept": "application/jwk-set+json, application/json", "user-agent": "assay-gateway"}
        if self._tag and self._data:
            headers["if-none-match"] = self._tag
        end = time.monotonic() + DEADLINE
        try:
            with web.request(self.source, headers) as answer:
                tag = answer.headers.get("etag", "")
                data = b""
                while piece := answer.read1(65536):
                    data += piece
                    if len(data) > MAX_BYTES:
                        raise DocumentError(f"{self.source} is larger than the {MAX_BYTES:,} bytes that are read")
                    if time.monotonic() > end:
                        raise DocumentError(f"{self.source} did not answer within {DEADLINE:g} seconds")
                if answer.length:
                    raise DocumentError(f"{self.source} broke off in the middle")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 304 and "if-none-match" in headers:
                return self._data
            raise DocumentError(f"{self.source} answered {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DocumentError(f"{self.source} cannot be read: {web.reason(error)}") from None
        self._tag = tag if len(tag) < 256 and tag.isprintable() else ""
        return data
