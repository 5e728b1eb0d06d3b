"""Callers by certificate: TLS has proved it, globs say whose counts.

A glob sees the whole subject (RFC 4514) or one whole name, never a part: ``CN=alice*`` is also ``CN=alice,O=Evil``.
Names (``URI:spiffe://…``, ``DNS:…``) say more exactly who is meant.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

from assay.guard.gateway.interface import Caller, Certificate, Permission
from assay.guard.gateway.settings.callers import Mutual

REMEMBERED = 4096
"""Certificates whose caller is remembered; all are forgotten when there are more."""


class Certificates:
    """Who somebody with a certificate is."""

    def __init__(self, settings: Mutual) -> None:
        """Raises `msgspec.ValidationError` for permissions that are none."""
        self._globs = settings.subjects
        self._plan = settings.plan
        self._permissions = msgspec.convert(settings.permissions, tuple[Permission, ...])
        self._known: dict[str, Caller | None] = {}

    def find(self, certificate: Certificate) -> Caller | None:
        """The caller; None: no glob fits it, and it proves nobody."""
        digest = certificate.digest
        try:
            return self._known[digest]
        except KeyError:
            found = self._find(certificate)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[digest] = found
            return found

    def _find(self, certificate: Certificate) -> Caller | None:
        said = [name for name in (certificate.subject, *certificate.names) if name]
        fitting = [name for name in said if any(fnmatchcase(name, glob) for glob in self._globs)]
        if not fitting:
            return None
        name = fitting[0]  # the subject, where that fits: of what fits none, nobody has said that it is true
        if len(name) > 256 or not name.isprintable():
            name = f"sha256:{certificate.digest}"
        identity = f"mtls:{name}"
        return Caller(identity, name, identity, self._plan, self._permissions)
