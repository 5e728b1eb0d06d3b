"""``hf:`` targets: one commit of a repository on the Hugging Face hub, through ``huggingface_hub`` and its cache.

A revision is resolved to its commit before anything is downloaded, and offline only the cache's own record of the
commit says which files there are. A snapshot that is incomplete, has files that the repository lacks, or holds other
bytes than the hub's ids say is an error that names the file; it never becomes a smaller target.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from assay.errors import AssayError, MissingExtraError, TargetError, UndecidedError
from assay.files import write_atomic
from assay.targets.ignore import DEFAULT_IGNORES, Ignore, Selection
from assay.targets.interface import Facts, Manifest, Options, Reference
from assay.targets.listing import Listing
from assay.targets.local import LocalTarget
from assay.targets.names import shown
from assay.targets.tree import check_name, list_tree

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What a commit holds, before its files are here."""

    commit: str
    """Full commit id."""
    ids: Mapping[str, str]
    """By file name: SHA-256 of the content (64 digits) where the hub keeps it in LFS, else git's blob id (40)."""


def open_hub(reference: Reference, options: Options) -> HubTarget:
    """The target that an ``hf:`` reference names, downloaded into ``huggingface_hub``'s cache where it is not there.

    Raises `TargetError`; `UndecidedError` where the hub cannot be reached or the cache lacks what it needs offline;
    `MissingExtraError` without ``huggingface_hub``.
    """
    try:
        import huggingface_hub
        from huggingface_hub import constants
    except ImportError:
        raise MissingExtraError("a target on the Hugging Face hub", "hub") from None
    kind, repository = _repository(reference.name)
    offline = options.offline or bool(constants.HF_HUB_OFFLINE)
    revision = reference.revision or constants.DEFAULT_REVISION
    if revision.startswith("/"):
        raise TargetError(f"{shown(revision)} is not a revision of {shown(reference.name)}")
    what = f"{reference.name}@{revision}"
    try:
        if offline:
            snapshot = _cached(constants.HF_HUB_CACHE, kind, repository, revision, what)
        else:
            snapshot = _asked(kind, repository, revision, what)
        wanted = _wanted(snapshot, options, what)
        folder = huggingface_hub.snapshot_download(
            repository,
            repo_type=kind,
            revision=snapshot.commit,
            allow_patterns=None if wanted == set(snapshot.ids) else sorted(map(_literal, wanted)),
            local_files_only=offline,
        )
    except AssayError:
        raise
    except Exception as error:  # the library's HTTP client differs between versions, and so do its exceptions
        raise _translated(error, what) from None
    if not offline:
        _remember(os.path.dirname(os.path.dirname(folder)), revision, snapshot.commit)
    listing, facts = list_tree(folder, options)
    _compare(listing, wanted, snapshot, options, what)
    origin = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repository}"
    facts = replace(facts, origin=origin, revision=snapshot.commit, digests={"gitCommit": snapshot.commit})
    pinned = Reference(reference.scheme, reference.name, snapshot.commit)
    return HubTarget(pinned, repository.split("/")[-1], facts, listing, options, snapshot.ids)


class HubTarget(LocalTarget):
    """A snapshot in the cache. Its digests are held against the ids that the hub gives for the commit."""

    def __init__(
        self,
        reference: Reference,
        name: str,
        facts: Facts,
        listing: Listing,
        options: Options,
        ids: Mapping[str, str],
    ) -> None:
        super().__init__(reference, name, facts, listing, options)
        self._ids = ids

    def manifest(self, *, sha256: bool = True, blake3: bool = True) -> Manifest:
        """As `LocalTarget.manifest`; without SHA-256, LFS files are not held against their ids."""
        manifest = super().manifest(sha256=sha256, blake3=blake3)
        for resource in manifest:
            expected = self._ids[resource.name]
            found = self._blob_id(resource.name, resource.size) if len(expected) == 40 else None
            if len(expected) == 64 and resource.sha256 is not None:
                found = resource.sha256.hex()
            if found is not None and found != expected:
                raise TargetError(
                    f"{shown(resource.name)} in the hub's cache is not what the commit holds",
                    hint=f"it was changed or damaged; remove the cache of {self.reference.name} and download again",
                )
        return manifest

    def _blob_id(self, name: str, size: int) -> str:
        """Git's id of a file; only small files have no SHA-256 on the hub."""
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        with self.open(name) as file:
            while data := file.read(_CHUNK):
                digest.update(data)
        return digest.hexdigest()

    def __enter__(self) -> HubTarget:
        return self


def _repository(name: str) -> tuple[str, str]:
    """Kind and id of a repository: ``datasets/org/name`` is a data set, everything else a model."""
    if name.startswith("datasets/"):
        return "dataset", name.removeprefix("datasets/")
    return "model", name


def _asked(kind: str, repository: str, revision: str, what: str) -> _Snapshot:
    """What the hub says about a revision."""
    from huggingface_hub import HfApi

    info = HfApi().repo_info(repository, repo_type=kind, revision=revision, files_metadata=True)
    siblings = getattr(info, "siblings", None) or ()
    ids = {file.rfilename: _id(file, what, file.rfilename) for file in siblings}
    return _checked(info.sha or "", revision, ids, what)


def _cached(cache: str, kind: str, repository: str, revision: str, what: str) -> _Snapshot:
    """What the cache remembers about a revision, without the network."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    commit = revision
    if not _COMMIT.fullmatch(revision):
        folder = f"{kind}s--{repository.replace('/', '--')}"
        try:
            with open(os.path.join(cache, folder, "refs", revision), encoding="ascii") as file:
                commit = file.read(100).strip()
        except (OSError, ValueError):
            raise UndecidedError(
                f"the hub's cache does not know {shown(what)}, and offline nobody can be asked",
                hint="download it once without --offline",
            ) from None
    try:
        files = get_cached_repo_tree(repository, repo_type=kind, revision=commit)
    except CachedRepoTreeNotFoundError:
        raise UndecidedError(
            f"the hub's cache does not say which files {shown(what)} has",
            hint="download it once without --offline, or name the snapshot's folder: dir:PATH",
        ) from None
    return _checked(commit, revision, {file.path: _id(file, what, file.path) for file in files}, what)


def _id(file: Any, what: str, name: str) -> str:
    """The content's id in a ``RepoSibling`` or ``RepoFile``."""
    lfs = file.lfs
    found = lfs.sha256 if lfs is not None else file.blob_id
    if not isinstance(found, str) or not _COMMIT.fullmatch(found):
        raise TargetError(f"the hub gives no id for the content of {shown(name)} in {shown(what)}")
    return found


def _checked(commit: str, revision: str, ids: dict[str, str], what: str) -> _Snapshot:
    """Refuse what would lead out of the cache's folders or is not what was asked for."""
    if not _COMMIT.fullmatch(commit):
        raise TargetError(f"{shown(commit)} is not a commit, for {shown(what)}")
    if _COMMIT.fullmatch(revision) and revision != commit:
        raise TargetError(f"the hub answers with the commit {commit} where {shown(what)} was asked for")
    for name in ids:
        parts = name.split("/")
        if not all(parts) or "." in parts or ".." in parts:
            raise TargetError(f"{shown(what)} has a file of the name {shown(name)}")
        for part in parts:
            check_name(part, name)
    return _Snapshot(commit, ids)


def _wanted(snapshot: _Snapshot, options: Options, what: str) -> set[str]:
    """Names of the files to have: all of them, or what ``options.paths`` selects."""
    if not options.paths:
        return set(snapshot.ids)
    selection = Selection.of(options.paths)
    hits = {name: selection.hits(name) for name in snapshot.ids}
    for k, glob in enumerate(options.paths):
        if not any(k in found for found in hits.values()):
            raise TargetError(f"--path {glob!r} matches no file of {shown(what)}")
    return {name for name, found in hits.items() if found}


def _literal(name: str) -> str:
    """A pattern for `fnmatch` that matches ``name`` alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _remember(root: str, revision: str, commit: str) -> None:
    """Record what the revision was, as ``huggingface_hub`` does, so that it resolves offline later."""
    path = os.path.join(root, "refs", "" if _COMMIT.fullmatch(revision) else revision)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.basename(path):
            write_atomic(path, commit.encode())
    except OSError as error:
        raise TargetError(f"the hub's cache {shown(root)} cannot be written: {error.strerror}") from None


def _compare(listing: Listing, wanted: set[str], snapshot: _Snapshot, options: Options, what: str) -> None:
    """The snapshot's files must be the commit's: none missing, none added."""
    names = set(listing.names)
    if extra := names - set(snapshot.ids):
        raise TargetError(
            f"the hub's cache has a file {shown(min(extra))} that {shown(what)} has not",
            hint="something else put it there; remove it",
        )
    ignore = Ignore.of((DEFAULT_IGNORES if options.default_ignores else ()) + options.ignore)
    missing = [name for name in wanted - names if not _ignored(ignore, name)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UndecidedError(f"the hub's cache lacks {shown(min(missing))}{more} of {shown(what)}")


def _ignored(ignore: Ignore, name: str) -> bool:
    parts = name.split("/")
    return any(
        ignore.matches("".join(p + "/" for p in parts[:k]), part + ("/" if k < len(parts) - 1 else ""))
        for k, part in enumerate(parts)
    )


def _translated(error: Exception, what: str) -> AssayError:
    """The error to raise for one of ``huggingface_hub`` or its HTTP client."""
    from huggingface_hub import errors

    reason = shown(str(error).split("\n")[0], 300)[1:-1]
    if isinstance(error, errors.RevisionNotFoundError):
        return TargetError(f"the hub has no revision {shown(what)}")
    if isinstance(error, errors.RepositoryNotFoundError):  # also a gated one
        return TargetError(
            f"the hub has no repository for {shown(what)}, or wants a login", hint="hf auth login, or set HF_TOKEN"
        )
    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(error.response, "status_code", 0)
        if 400 <= status < 500 and status != 429:
            return TargetError(f"the hub refuses {shown(what)}: {reason}")
    if isinstance(error, errors.IncompleteSnapshotError):
        missing = re.search(r"missing \((.*?)\)\.", str(error))
        return UndecidedError(f"the hub's cache lacks {missing[1] if missing else 'files'} of {shown(what)}")
    return UndecidedError(f"{shown(what)} cannot be had from the hub: {type(error).__name__}: {reason}")
