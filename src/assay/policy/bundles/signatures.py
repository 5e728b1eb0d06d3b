"""Whether somebody expected signed exactly the files of a bundle that are in memory.

The files were read before and are not read again, so that nobody can change them between here and their use. Only a
signed list of all files counts: a report about the bundle, signed by the same people, approves of nothing.
"""

from __future__ import annotations

import hashlib
import io
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import BinaryIO

from assay.errors import AssayError, UndecidedError
from assay.evidence.compare import Difference
from assay.evidence.trust.interface import Anchor, Proof
from assay.evidence.verification import Attestation, Candidate, Reader, examine, hold
from assay.targets.ignore import Selection
from assay.targets.interface import SEGMENT, Facts, Manifest, Reference, Target

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Demand:
    """A bundle must be signed."""

    anchors: Sequence[Anchor]
    """By one of these."""
    find: Callable[[Target], Sequence[Candidate]]
    """Documents that may be its signature: in the evidence store, beside it. Those that were taken back included."""
    now: datetime
    """Time of verification, UTC."""


class InMemory:
    """A target whose files are in memory, each of at most `SEGMENT` bytes; see `Target` for the contract."""

    def __init__(self, reference: Reference, name: str, files: Mapping[str, bytes], *, single: bool) -> None:
        self.reference = reference
        self.name = name
        self.facts = Facts(revision=reference.revision)
        self.single = single
        self.names: Sequence[str] = sorted(files)
        self.sizes = array("Q", (len(files[name]) for name in self.names))
        self._files = dict(files)

    def open(self, name: str) -> BinaryIO:
        """See `Target.open`."""
        return io.BytesIO(self._files[name])

    def manifest(self, *, sha256: bool = True, blake3: bool = True) -> Manifest:
        """See `Target.manifest`."""
        data = [self._files[name] for name in self.names]
        first = b"".join(hashlib.sha256(item).digest() for item in data) if sha256 else b""
        second = b""
        if blake3:
            from blake3 import blake3 as new

            second = b"".join(new(item).digest() for item in data)
        return Manifest(self.names, self.sizes, first, second, single=self.single)

    def part(self, paths: tuple[str, ...]) -> InMemory:
        """The files that some globs select."""
        selection = Selection.of(paths)
        files = {name: data for name, data in self._files.items() if not paths or selection.hits(name)}
        made = InMemory(self.reference, self.name, files, single=self.single)
        made.facts = replace(self.facts, part=paths)
        return made

    def __enter__(self) -> InMemory:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is held open."""


def prove(thing: InMemory, what: str, demand: Demand, inside: Sequence[Candidate]) -> tuple[Proof, tuple[str, ...]]:
    """The proof that an expected signer signed these files, and the names that the signer's ignore rules leave out.

    Files of those names are unsigned and must not be used. ``inside`` are documents that came with the bundle. Raises
    `UndecidedError` in every other case.
    """
    assert all(size <= SEGMENT for size in thing.sizes)
    if not demand.anchors:
        raise UndecidedError(
            f"the policy {what} has to be signed, and nobody is named whose signature would count",
            hint="name the signers of policies",
        )
    try:
        found = list(demand.find(thing))
    except AssayError as error:
        raise UndecidedError(f"the signature of the policy {what} cannot be read: {error.message}") from None
    taken_back = {candidate.bundle.raw for candidate in found if candidate.discarded}
    reader = Reader(lambda paths, _: thing.part(paths), thing, (), sha256=True)
    problems: list[str] = []
    for candidate in (*inside, *found):
        if candidate.bundle.raw in taken_back:
            problems.append(f"{candidate.source}: it was taken back")
            continue
        attestation = examine(candidate, demand.anchors, demand.now)
        problem, unsigned = _held(attestation, reader)
        if problem is None and attestation.proof is not None:
            return attestation.proof, unsigned
        problems.append(f"{candidate.source}: {problem}")
    if not problems:
        raise UndecidedError(
            f"the policy {what} has to be signed, and there is no signature of it",
            hint="sign it as any other target (assay sign), or name the folder with the evidence",
        )
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise UndecidedError(f"the policy {what} is not what somebody expected signed: {problems[0]}{more}")


def _held(attestation: Attestation, reader: Reader) -> tuple[str | None, tuple[str, ...]]:
    """Why a document is no signature of the files (None when it is), and the names that it leaves out."""
    if attestation.proof is None:
        return attestation.problem or "no proof", ()
    if attestation.claims is None:
        return "it does not list the files", ()
    if attestation.claims.part:
        return f"it speaks of a part only: {', '.join(attestation.claims.part)[:100]}", ()
    try:
        held, unsigned = hold(attestation, reader, None)
    except AssayError as error:
        return error.message, ()
    return (None if held.matched else _sentence(held.difference or Difference())), tuple(unsigned)


def _sentence(difference: Difference) -> str:
    kinds = (("modified", difference.modified), ("missing", difference.missing), ("not signed", difference.extra))
    return "; ".join(
        f"{kind}: {', '.join(name[:80] for name in names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"
        for kind, names in kinds
        if names
    )
