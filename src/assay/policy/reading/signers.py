"""Who may have signed, as policies name them: groups at the top of the file, or people right where they are needed."""

from __future__ import annotations

from typing import Any

from assay.errors import AssayError
from assay.policy.model import (
    TRUSTED,
    CertificateSigner,
    IdentitySigner,
    KeySigner,
    SignedBy,
    Signer,
    SignerGroup,
)
from assay.policy.reading.problems import Path, Reading, near
from assay.policy.sources import Sources

_KEYS = ("keys", "identities", "certificates")

INLINE = "signer at line "
"""How people are called who are named right where they are needed."""


class Signers:
    """The groups of one policy, while it is read."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.groups: dict[str, SignerGroup] = {TRUSTED: SignerGroup(TRUSTED, ())}

    def declare(self, value: Any, path: Path, reading: Reading) -> None:
        """The ``signers:`` section."""
        if value is None:
            return
        if not isinstance(value, dict):
            reading.wrong(path, "signers is not a mapping of names to people")
            return
        for name, members in value.items():
            at = (*path, name)
            if name == TRUSTED:
                reading.wrong(
                    at, f"the group {TRUSTED!r} is the caller's and cannot be declared", "choose another name"
                )
                continue
            self.groups[name] = SignerGroup(name, self._members(members, at, reading))

    def signed_by(self, value: Any, threshold: Any, path: Path, reading: Reading) -> SignedBy:
        """A ``signed-by:`` with its ``threshold:``."""
        names = self._names(value, path, reading)
        count = 1
        if threshold is not None:
            if isinstance(threshold, bool) or not isinstance(threshold, int) or not 1 <= threshold <= 100:
                reading.wrong(path, "threshold is not a number from 1 to 100")
            else:
                count = threshold
        known = [self.groups[name] for name in names if name in self.groups]
        # Whether the caller trusts enough people is seen when the caller is known; the others can be counted now.
        total = sum(len(group.members) for group in known)
        if count > 1 and TRUSTED not in names and total < count:
            reading.wrong(path, f"threshold {count} can never be reached: only {total} signer(s) are named")
        return SignedBy(names, count)

    def _names(self, value: Any, path: Path, reading: Reading) -> tuple[str, ...]:
        if value is None:
            return (TRUSTED,)
        if isinstance(value, dict):
            members = self._members(value, path, reading)
            name = place = f"{INLINE}{reading.line(path)}"
            # Several may stand in one line, or in the same line of two files: none may take another's name.
            number = 1
            while name in self.groups and self.groups[name].members != members:
                number += 1
                name = f"{place} ({number})"
            self.groups[name] = SignerGroup(name, members)
            return (name,)
        names = reading.texts(value, path, "signed-by")
        if not names:
            reading.wrong(path, "signed-by names nobody", "leave it out to mean those whom the caller trusts")
        for name in names:
            if name not in self.groups:
                reading.wrong(path, f"nobody is called {name!r} in signers", near(name, self.groups))
        return names or (TRUSTED,)

    def _members(self, value: Any, path: Path, reading: Reading) -> tuple[Signer, ...]:
        found = reading.mapping(value, path, "a group of signers", _KEYS)
        members: list[Signer] = []
        for name in reading.texts(found.get("keys"), (*path, "keys"), "keys"):
            if (pem := self._file(name, (*path, "keys"), reading, "key")) is not None:
                members.append(KeySigner(pem, name))
        for i, item in enumerate(_list(found.get("identities"))):
            at = (*path, "identities", i)
            who = reading.mapping(item, at, "an identity", ("identity", "issuer"))
            identity, issuer = who.get("identity"), who.get("issuer")
            if isinstance(identity, str) and isinstance(issuer, str) and identity and issuer:
                members.append(IdentitySigner(identity, issuer))
            else:
                reading.wrong(at, "an identity needs its issuer: anybody can get a certificate from some issuer")
        for i, item in enumerate(_list(found.get("certificates"))):
            at = (*path, "certificates", i)
            who = reading.mapping(item, at, "a certificate", ("ca", "identity"))
            ca, identity = who.get("ca"), who.get("identity")
            if not (isinstance(ca, str) and isinstance(identity, str) and ca and identity):
                reading.wrong(at, "a certificate needs ca (a PEM file) and identity")
            elif (pem := self._file(ca, at, reading, "ca")) is not None:
                members.append(CertificateSigner(pem, ca, identity))
        if not members and not any(problem.fatal for problem in reading.problems):
            reading.wrong(path, "nobody is named: a signature would have to be by nobody", f"add {', '.join(_KEYS)}")
        return tuple(members)

    def _file(self, name: str, path: Path, reading: Reading, what: str) -> bytes | None:
        try:
            pem = self._sources.read(name)
            if what == "key":
                from assay.evidence.keys import load_public

                load_public(pem, name)
            else:
                from assay.evidence.trust.certificate import load_authorities

                load_authorities(pem, name)
        except AssayError as error:
            reading.caught(path, error)
        except OSError as error:
            reading.wrong(path, f"{name!r}: {error.strerror}", "files that a policy names lie beside it")
        else:
            return pem
        return None


def _list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
