"""Git LFS: finding the content that a pointer stands for.

Content counts only when its SHA-256 is the pointer's oid, wherever it was found; the digest engine's result is held
against the oid by the git target. Nothing here may be taken for content because of its name or place.
Source: the git-lfs project's ``docs/spec.md`` (pointers) and ``docs/api/batch.md``, ``basic-transfers.md``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from assay.errors import TargetError
from assay.targets.git.pointers import Pointer, object_path
from assay.targets.git.repository import Repository
from assay.targets.names import is_url, shown


def find_content(pointers: Mapping[str, Pointer], stores: Sequence[str], worktree: str | None) -> dict[str, str]:
    """Absolute path of the content by name, for those pointers that have any on this disk.

    A store's object must have the pointer's size, else it is damaged (`TargetError`). A worktree's file only counts
    as a candidate when its size fits, since it may be an edited one; the digests decide about both.
    """
    found: dict[str, str] = {}
    for name, pointer in pointers.items():
        if pointer.extended:
            raise TargetError(
                f"{shown(name)} was stored by a Git LFS extension, a program that would have to run to read it",
                hint="attest the folder of a checkout instead: dir:PATH",
            )
        for store in stores:
            path = object_path(store, pointer.oid)
            size = _regular_size(path)
            if size is None:
                continue
            if size != pointer.size:
                raise TargetError(
                    f"the Git LFS object of {shown(name)} has {size} bytes instead of {pointer.size}",
                    hint=f"remove {shown(path)} and run git lfs pull",
                )
            found[name] = os.path.realpath(path)
            break
        else:
            path = os.path.join(worktree, name) if worktree else ""
            if path and _regular_size(path) == pointer.size:
                found[name] = os.path.realpath(path)
    return found


def check_content(name: str, pointer: Pointer, path: str, sha256: bytes) -> None:
    """Raise `TargetError` unless ``sha256`` of the content found at ``path`` is the pointer's oid."""
    if sha256.hex() != pointer.oid:
        raise TargetError(
            f"the content of {shown(name)} at {shown(path)} is not the one that its Git LFS pointer names",
            hint="remove it and run git lfs pull; the pointer's oid is " + pointer.oid,
        )


def _unresolved(missing: Sequence[str]) -> TargetError:
    """The error that names pointers without content."""
    few = ", ".join(shown(name) for name in sorted(missing)[:5])
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return TargetError(
        f"the Git LFS content of {few}{more} is not here",
        hint="git lfs pull, or leave the files out with --path or --ignore",
    )


def _regular_size(path: str) -> int | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def locate(
    repository: Repository,
    location: str,
    pointers: Mapping[str, Pointer],
    userinfo: str | None,
    *,
    offline: bool,
) -> dict[str, tuple[Pointer, str]]:
    """By name: each pointer and where its content lies, which is fetched first when ``location`` is a URL.

    Raises `TargetError` naming those that have none; `UndecidedError` where a server cannot be reached.
    """
    if not pointers:
        return {}
    stores = _stores(repository, location)
    found = find_content(pointers, stores, repository.worktree)
    missing = {name: pointer for name, pointer in pointers.items() if name not in found}
    if missing and is_url(location) and not offline:
        from assay.targets.git.lfs_download import download, endpoint

        server = endpoint(location)
        if server is not None:
            download(server, missing, userinfo)
            found |= find_content(missing, stores, None)
            missing = {name: pointer for name, pointer in pointers.items() if name not in found}
    if missing:
        raise _unresolved(list(missing))
    return {name: (pointers[name], path) for name, path in found.items()}


def _stores(repository: Repository, name: str) -> list[str]:
    """Folders with Git LFS objects: the repository's own and the configured one, or our cache for a URL."""
    if not is_url(name):
        stores = [os.path.join(repository.common, "lfs", "objects")]
        if storage := repository.config("lfs.storage"):
            stores.append(os.path.join(repository.common, storage, "objects"))
        return stores
    from assay.targets.git.lfs_download import cache_store

    if not name.startswith("file://"):
        return [cache_store()]
    path = unquote(urlsplit(name).path)
    return [os.path.join(path, "lfs", "objects"), os.path.join(path, ".git", "lfs", "objects")]
