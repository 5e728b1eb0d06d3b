"""A profile's file and the signature beside it (``FILE.sigstore.json``): writing both, and proving before reading.

A profile decides what is unusual, so nobody's counts but that of somebody who is trusted: a changed, unsigned or
foreign one is an error, never a profile that allows more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from assay.config import Config
from assay.errors import RejectedError, UndecidedError, UsageError
from assay.files import read_file, write_atomic

if TYPE_CHECKING:
    from assay.collect.behaviour.model import Profile
    from assay.evidence.predicates.profile import ProfileState
    from assay.evidence.signers.interface import Signer
    from assay.evidence.trust.interface import Anchor

SIGNATURE = ".sigstore.json"
"""Ending of the file beside a profile that holds its signature."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A profile whose signature holds."""

    profile: Profile
    sha256: str
    """Hex digest of the file."""
    by: str
    """Who was proved to have signed it."""
    state: ProfileState


def open_profile(path: str, *, keys: Sequence[str] = (), config: Config, now: datetime | None = None) -> Opened:
    """The profile in ``path``, after its signature was proved. Raises `UndecidedError` when nobody signed it or nobody
    is trusted, `RejectedError` when the signature is of another file or of somebody else.
    """
    from assay.collect.behaviour import document
    from assay.evidence import documents, predicates
    from assay.evidence.predicates.profile import PREDICATE_TYPE
    from assay.evidence.verification import Candidate, examine

    if not os.path.exists(path):
        raise UsageError(f"there is no profile {path}", hint="with --learn the first run of 'assay run' starts one")
    data = read_file(path, document.MAX_BYTES)
    signature = path + SIGNATURE
    if not os.path.exists(signature):
        raise UndecidedError(
            f"nobody signed the profile {path}",
            hint=f"read it, then: assay profile accept {path} --by YOU --reason TEXT",
        )
    bundles = documents.read_documents(read_file(signature, 1 << 20), signature)
    found = examine(Candidate(signature, bundles[0]), _anchors(keys, config), now or datetime.now(UTC))
    if len(bundles) != 1 or found.proof is None or found.statement is None:
        why = found.problem or f"{signature} holds {len(bundles)} documents instead of one"
        raise RejectedError(f"the profile {path} does not count: {why}")
    statement = found.statement
    if statement.predicate_type != PREDICATE_TYPE:
        raise RejectedError(f"the profile {path} does not count: {signature} is a statement of another type")
    digest = sha256(data).hexdigest()
    if digest not in {subject.digest.get("sha256") for subject in statement.subjects}:
        raise RejectedError(
            f"the profile {path} was changed after it was signed",
            hint=f"look at the change; if it is right: assay profile accept {path} --by YOU --reason TEXT",
        )
    state: ProfileState = predicates.read(PREDICATE_TYPE, dict(statement.predicate))
    return Opened(document.load(data, path), digest, str(found.proof), state)


def save_profile(path: str, profile: Profile, state: ProfileState, secret: Signer) -> str:
    """Write a profile and its signature; the file's digest (hex). Between the two files the profile does not count."""
    from assay.collect.behaviour import document

    return sign_file(path, document.dump(profile), state, secret)


def sign_file(path: str, data: bytes, state: ProfileState, secret: Signer) -> str:
    """Write ``data`` and a signature that says ``state`` about it."""
    from assay.evidence import predicates
    from assay.evidence.predicates.profile import PREDICATE_TYPE
    from assay.evidence.statement import Statement, Subject

    digest = sha256(data).hexdigest()
    subject = Subject(os.path.basename(path), {"sha256": digest})
    bundle = secret.sign(Statement((subject,), PREDICATE_TYPE, predicates.builtins(state)).dump())
    write_atomic(path, data)
    write_atomic(path + SIGNATURE, bundle.raw)
    return digest


def _anchors(keys: Sequence[str], config: Config) -> list[Anchor]:
    from assay.api.anchors import TrustIn, anchors_of, anchors_of_keys, named

    if keys:
        return anchors_of_keys(keys)
    return [anchor for rule in config.trust for anchor in named(rule, config)] or anchors_of(TrustIn())
