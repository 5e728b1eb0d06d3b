"""Reading a bundle: all its files, once, into memory, within bounds; then, where it is demanded, its signature.

What is given out are the very bytes whose signature was proved. A remote bundle that may be anything tomorrow (a
branch, a tag) is refused unless its contents have to be signed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from assay.errors import AssayError, DocumentError, TargetError, UndecidedError, UsageError
from assay.evidence import documents
from assay.evidence.trust.interface import Proof
from assay.evidence.verification import Candidate
from assay.policy.bundles.builtin import builtin
from assay.policy.bundles.contents import choose
from assay.policy.bundles.reference import BundleReference
from assay.policy.bundles.signatures import Demand, InMemory, prove
from assay.policy.sources import MAX_FILE, Loose, Packed, Sources
from assay.targets.interface import Options, Reference, Target
from assay.targets.names import shown

MAX_FILES = 2_000
"""Files of a bundle."""

MAX_BYTES = 16 << 20
"""Bytes of all its files."""

SIGNATURE = "model.sig"
"""Name of a signature that lies in the bundle itself. It is never part of what it signs, signed or not."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What `read` gives."""

    sources: Sources
    """All files; of a loose policy file, those beside it as they are asked for."""
    entry: str
    """The policy's file."""
    uri: str
    """The policy's place for a verdict, with ``#FILE``; without a path of this machine."""
    proof: Proof | None = None
    """Who signed it; None where that was not demanded."""


def read(reference: BundleReference, *, demand: Demand | None = None, offline: bool = False) -> Bundle:
    """The files of a bundle and the policy to begin with.

    With ``demand`` the files must be signed by one of its anchors, and those that the signer left out are no part of
    the bundle. What ships with assay is as trusted as assay is, and a single file stands alone: no file beside it is
    signed with it, so that it can use none.

    Raises `UsageError` (no or several policies in it, a remote one that is neither pinned nor signed); `TargetError`
    and `DocumentError` for what cannot be read; with ``demand`` always `UndecidedError` instead of these two, and for
    a bundle that is unsigned, altered, or signed by somebody else.
    """
    target = reference.target
    if target is None:
        name = reference.entry or ""
        sources, entry = builtin(name)
        return Bundle(sources, entry, sources.uri)
    if demand is None:
        if target.scheme == "file":
            return _loose(target)
        if reference.remote and not reference.pinned:
            raise UsageError(
                f"the policy {reference.text} is whatever its owner makes of it tomorrow",
                hint="name its contents (@ and the full commit id, or @sha256:…), or demand a signature of it",
            )
        files, thing, _ = _load(reference, offline)
        return _made(files, thing, reference, None)
    with _undecided(reference.text):
        files, thing, inside = _load(reference, offline)
        proof, unsigned = prove(thing, _uri(thing), demand, inside)
        return _made({name: files[name] for name in files if name not in unsigned}, thing, reference, proof)


@contextmanager
def _undecided(what: str) -> Iterator[None]:
    """A bundle that must be signed and cannot be read leaves the decision open, whatever is wrong with it."""
    try:
        yield
    except (UsageError, UndecidedError):
        raise
    except AssayError as error:
        raise UndecidedError(f"the policy {what} cannot be verified: {error.message}", hint=error.hint) from None


def _loose(target: Reference) -> Bundle:
    directory, name = os.path.split(os.path.realpath(target.name))
    uri = f"file:{name}"
    return Bundle(Loose(directory, uri), name, uri)


def _load(reference: BundleReference, offline: bool) -> tuple[dict[str, bytes], InMemory, Sequence[Candidate]]:
    """All files, the same as a target, and the documents in its own signature file."""
    with _open(reference, offline) as thing:
        if len(thing.names) > MAX_FILES or sum(thing.sizes) > MAX_BYTES:
            raise TargetError(
                f"the policy bundle {reference.text} has {len(thing.names):,} files with {sum(thing.sizes):,} bytes; "
                f"at most {MAX_FILES:,} with {MAX_BYTES:,} are read",
                hint="keep policies in a folder, repository or artifact of their own",
            )
        if large := thing.facts.notes.get("lfs"):
            raise TargetError(f"the policy bundle {reference.text} keeps files in Git LFS: {shown(str(large))}")
        files: dict[str, bytes] = {}
        left = MAX_BYTES
        for name in thing.names:
            with thing.open(name) as file:
                data = file.read(MAX_FILE + 1)
            left -= len(data)
            if len(data) > MAX_FILE or left < 0:
                raise TargetError(f"{shown(name)} of the policy bundle {reference.text} is larger than what is read")
            files[name] = data
        inside = [] if thing.single else _inside(files.pop(SIGNATURE, None))
        return files, InMemory(thing.reference, thing.name, files, single=thing.single), inside


def _open(reference: BundleReference, offline: bool) -> Target:
    options = Options(offline=offline)
    assert reference.target is not None
    if reference.target.scheme == "oci":
        from assay.targets.oci.target import open_oci

        return open_oci(reference.target, options, max_bytes=MAX_BYTES, max_files=MAX_FILES)
    from assay.targets.registry import SCHEMES

    return SCHEMES[reference.target.scheme](reference.target, options, reference.login)


def _inside(data: bytes | None) -> list[Candidate]:
    """The documents of a signature file in the bundle; one that cannot be read signs nothing."""
    if data is None:
        return []
    try:
        return [Candidate(f"its own {SIGNATURE}", item) for item in documents.read_documents(data, SIGNATURE)]
    except DocumentError:
        return []


def _made(files: dict[str, bytes], thing: InMemory, reference: BundleReference, proof: Proof | None) -> Bundle:
    uri = _uri(thing)
    sources = Packed(uri, files, signer=str(proof) if proof is not None else None)
    if thing.single:
        return Bundle(sources, thing.names[0], uri, proof)
    entry = choose(sources, reference.entry)
    return Bundle(sources, entry, f"{uri}#{entry}", proof)


def _uri(thing: InMemory) -> str:
    """Scheme, place and revision; of a local place its base name alone."""
    reference = thing.reference
    local = reference.scheme in ("dir", "file") or os.path.exists(reference.name)
    where = thing.name if local else reference.name
    return f"{reference.scheme}:{where}" + (f"@{reference.revision}" if reference.revision else "")
