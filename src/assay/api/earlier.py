"""Earlier versions of a target, by path, git revision or digest, and the proof that somebody trusted attested them.

A comparison is worth as much as what it is made with: a version that nobody expected signed for is never handed on.
"""

from __future__ import annotations

import contextlib
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import BinaryIO

from assay.api.anchors import TrustIn, anchors
from assay.api.gathering import Gathered
from assay.api.keeping import open_store
from assay.config import Config
from assay.errors import AssayError, TargetError, UndecidedError, UsageError
from assay.evidence import documents
from assay.evidence.decision import decide
from assay.evidence.trust.interface import Anchor
from assay.evidence.verification import Attestation, Candidate, Reader, by_digest, examine
from assay.targets.interface import Facts, Manifest, Options, Reference, Target
from assay.targets.names import check_revision, shown
from assay.targets.registry import resolve

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Attested:
    """An earlier version whose evidence holds."""

    target: Target
    contents: str
    """Digest (hex) of what was attested; what is read must have it."""
    by: str
    """Who was proved to have signed, in words."""
    doubts: tuple[str, ...]
    """What an earlier scan for poisoning found in this very version, one sentence each; empty: nothing, or none."""


@dataclass(frozen=True, slots=True)
class Search:
    """Where earlier versions and their evidence are looked for."""

    near: Target
    """The present version."""
    trust: TrustIn
    """Whose signature counts; empty: whoever the configuration or the default names."""
    options: Options
    """How the present version is read; earlier ones are read alike."""
    directory: str | None
    """Evidence directory."""
    config: Config
    now: datetime


@contextlib.contextmanager
def earlier(names: Sequence[str], search: Search) -> Iterator[list[Attested]]:
    """The versions that ``names`` name, open: paths and other targets, ``@REVISION`` of the git repository that the
    present version lies in, or the digest of contents that somebody attested.

    Raises `UndecidedError` for one that nobody trusted attested, or whose data are not found.
    """
    with contextlib.ExitStack() as stack:
        yield [_one(name, search, stack) for name in names]


def _one(name: str, search: Search, stack: contextlib.ExitStack) -> Attested:
    if (digest := _DIGEST.fullmatch(name)) and not os.path.exists(name):
        return _by_digest(digest[1], search, stack)
    if name.startswith("@") and not os.path.exists(name):
        found = stack.enter_context(_at_revision(check_revision(name[1:]), search))
        return _attested(found, name, search, search.near.reference)
    thing = stack.enter_context(resolve(name, search.options))
    return _attested(thing, name, search, thing.reference, by_name=True)


def _attested(
    thing: Target, name: str, search: Search, reference: Reference, *, by_name: bool = False, digest: str | None = None
) -> Attested:
    """The version with the proof for it. ``by_name``: a signed list of its files counts too."""
    expected = anchors(search.trust, search.config, reference)
    manifest = thing.manifest(blake3=False)
    contents = manifest.contents().hex()
    if digest is not None and contents != digest:
        raise UndecidedError(f"{shown(name)} is no longer the version with the digest sha256:{digest}")
    with Gathered(thing, None, search.directory, search.config, part=bool(search.options.paths)) as evidence:
        examined = [examine(candidate, expected, search.now) for candidate in evidence.lookup(contents)]
        proved = [held for item in examined if item.proof and (held := by_digest(item, contents, None)).matched]
        if not proved and by_name and not search.options.paths:
            proved = _by_list(thing, name, search, expected, evidence, contents)
        where, seen = evidence.where, next(iter(examined), None)
    if not proved:
        why = f": {seen.problem}" if seen is not None and seen.problem else f" in {where}"
        raise UndecidedError(
            f"nobody trusted attested the earlier version {shown(name)}{why}",
            hint="attest it when it is known to be good: assay scan --poisoning DATASET -o attest, "
            "or say whose signature counts with --since-key FILE.pub",
        )
    return Attested(thing, contents, str(proved[0].proof), tuple(_doubts(proved, name)))


def _by_list(
    thing: Target, name: str, search: Search, expected: list[Anchor], evidence: Gathered, contents: str
) -> list[Attestation]:
    """The signed list of files that the version equals; a list that leaves files out vouches for none of their rows."""

    def reopen(paths: tuple[str, ...], default_ignores: bool) -> Target:
        return resolve(name, replace(search.options, paths=paths, default_ignores=default_ignores))

    reader = Reader(reopen, thing, (), sha256=True, signatures=evidence.signatures)
    with contextlib.closing(reader):
        found = decide(reader, evidence.candidates, expected, search.now, lookup=evidence.lookup)
        whole = reader.manifest((), True, fast=False).contents().hex() == contents
    part = found.attestations and found.attestations[0].claims and found.attestations[0].claims.part
    return (
        list(found.attestations[:1])
        if found.verdict == "accepted" and whole and not found.unsigned and not part
        else []
    )


def _doubts(proved: Iterable[Attestation], name: str) -> Iterator[str]:
    for item in proved:
        predicate = item.statement.predicate if item.statement is not None else {}
        verdict = predicate.get("verdict")
        if predicate.get("kind") == "poisoning" and verdict not in ("none", "safe"):
            yield f"the earlier version {shown(name)} was itself attested as {shown(str(verdict), 40)}"
            return


def _by_digest(digest: str, search: Search, stack: contextlib.ExitStack) -> Attested:
    """The version with these contents: trusted evidence says where they were, and there they must still be."""
    expected = anchors(search.trust, search.config, search.near.reference)
    with open_store(search.directory, config=search.config) as store:
        proved: list[Attestation] = []
        for entry in store.find(digest=digest, limit=50):
            bundle = documents.read_documents(store.read(entry), f"evidence {entry.blob[:12]}")[0]
            item = examine(Candidate(f"evidence {entry.blob[:12]}", bundle, entry.seq), expected, search.now)
            if item.proof and by_digest(item, digest, None).matched:
                proved.append(item)
    if not proved:
        raise UndecidedError(
            f"nobody trusted attested contents with the digest sha256:{digest}",
            hint="name the earlier version itself: its folder or file, or @REVISION in git",
        )
    for place in dict.fromkeys(place for item in proved for place in _places(item, search.near)):
        with contextlib.suppress(AssayError), contextlib.ExitStack() as attempt:
            if place.startswith("@"):
                thing = attempt.enter_context(_at_revision(place[1:], search))
            else:
                thing = attempt.enter_context(resolve(place, search.options))
            found = _attested(thing, place, search, search.near.reference, digest=digest)
            stack.enter_context(attempt.pop_all())
            return found
    raise UndecidedError(
        f"the version with the digest sha256:{digest} is attested, and its data are not found here",
        hint="name the folder, file or @REVISION where they are",
    )


def _places(item: Attestation, near: Target) -> Iterator[str]:
    """Where the evidence says that the contents were, as far as that can be looked for from here."""
    said = str(item.said.get("target", ""))
    scheme, _, name = said.partition(":")
    if scheme in ("dir", "file") and name and os.path.basename(name) == name:
        folder = os.path.dirname(os.path.realpath(near.reference.name))
        for path in (os.path.join(folder, name), name):
            if near.reference.scheme in ("dir", "file") and os.path.exists(path):
                yield f"{scheme}:{path}"
    elif scheme in ("git", "hf") and item.said.get("revision") and "/" in name:
        yield said
    context = item.said.get("context")
    commits = [item.said.get("revision")]
    if isinstance(context, dict):
        commits += [context.get("git_commit"), context.get("target_git_commit")]
    yield from (f"@{commit}" for commit in commits if isinstance(commit, str) and _COMMIT.fullmatch(commit))


def _at_revision(revision: str, search: Search) -> Target:
    """The data set as it was at a revision of the git repository that it lies in."""
    from assay.targets.git.repository import GitFailedError, git_environment, run_git

    reference, options = search.near.reference, search.options
    if reference.scheme == "git":
        return resolve(Reference("git", reference.name, revision), options)
    if reference.scheme not in ("dir", "file"):
        raise UsageError(f"'@{revision}' is a revision of a git repository, and {str(reference)!r} lies in none")
    path = os.path.realpath(reference.name)
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    try:
        answer, _ = run_git(("rev-parse", "--show-toplevel"), folder, git_environment())
    except GitFailedError:
        raise UsageError(
            f"'@{revision}' is a revision of a git repository, and {reference.name!r} lies in none"
        ) from None
    top = os.fsdecode(answer.rstrip(b"\n"))
    inside = os.path.relpath(path, os.path.realpath(top))
    if inside == ".":
        return resolve(Reference("git", top, revision), options)
    glob = re.sub(r"([*?\[])", r"[\1]", inside) + ("" if search.near.single else "/")
    whole = resolve(Reference("git", top, revision), replace(options, paths=(glob,)))
    return _Inside(whole, inside, search.near.name, search.near.single)


class _Inside:
    """One file or folder of a git target as the target that it is by itself: its evidence has these names."""

    def __init__(self, whole: Target, inside: str, name: str, single: bool) -> None:
        self._whole = whole
        self._prefix = inside.rpartition("/")[0] + "/" if single and "/" in inside else "" if single else inside + "/"
        full = [inside] if single else [item for item in whole.names if item.startswith(self._prefix)]
        self._at = [i for i, item in enumerate(whole.names) if item in set(full)]
        if not self._at:
            whole.__exit__(None, None, None)
            raise TargetError(f"{str(whole.reference)!r} has no {inside!r}")
        self.reference = whole.reference
        self.name = name
        self.facts: Facts = whole.facts
        self.names: Sequence[str] = [whole.names[i].removeprefix(self._prefix) for i in self._at]
        self.sizes = array("Q", [whole.sizes[i] for i in self._at])
        self.single = single

    def open(self, name: str) -> BinaryIO:
        """See `Target.open`."""
        return self._whole.open(self._prefix + name)

    def manifest(self, *, sha256: bool = True, blake3: bool = True) -> Manifest:
        """See `Target.manifest`. BLAKE3 is left out: nothing that is compared by names inside asks for it."""
        whole = self._whole.manifest(sha256=sha256, blake3=False)
        digests = b"".join(whole.sha256[i * 32 : i * 32 + 32] for i in self._at)
        sizes = array("Q", [whole.sizes[i] for i in self._at])
        return Manifest(self.names, sizes, digests, b"", single=self.single)

    def __enter__(self) -> _Inside:
        return self

    def __exit__(self, *exc: object) -> None:
        self._whole.__exit__(None, None, None)
