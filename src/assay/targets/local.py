"""Targets on a local disk: a folder (``dir:``) or one file (``file:``).

Opening a target lists it and reads nothing. No file is ever opened but beneath the target's root, and what its name
in a statement is never tells where on this machine it lies.
"""

from __future__ import annotations

import os
import stat
import time
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import BinaryIO

from assay.errors import ChangedError, TargetError, UsageError
from assay.targets.digest.beneath import open_beneath, open_root, unreadable
from assay.targets.digest.engine import digest
from assay.targets.interface import Facts, Manifest, Options, Reference
from assay.targets.listing import Listing
from assay.targets.tree import check_name, list_tree

_FRESH = 1.0
"""Seconds for which the stat of a listing stands for the present one."""


class LocalTarget:
    """A listed folder or file. Also what other kinds of target build, once their files are on a disk."""

    def __init__(
        self,
        reference: Reference,
        name: str,
        facts: Facts,
        listing: Listing,
        options: Options,
        single: bool = False,
    ) -> None:
        self.reference = reference
        """As opened."""
        self.name = name
        """What a statement calls it."""
        self.facts = facts
        """Links, ignored names, origin."""
        self.listing = listing
        """Where the files are."""
        self.options = options
        """How it is read."""
        self.single = single
        """It is one file."""
        self._listed = time.monotonic()
        self.names: Sequence[str] = listing.names
        """Of its resources, sorted."""
        self.sizes: array[int] = listing.sizes
        """Bytes of each resource when it was listed."""
        self.reread = 0
        """Files that the last `manifest` read."""
        self.from_cache = 0
        """Files whose digests the last `manifest` took from the trusted cache."""
        self.cache_note: str | None = None
        """Why the trusted cache was not used, or not written, although it was asked for; None where it was."""

    def open(self, name: str) -> BinaryIO:
        """A resource's bytes. Raises `TargetError` for a name that the target does not have."""
        i = bisect_left(self.names, name)
        if i == len(self.names) or self.names[i] != name:
            raise TargetError(f"{self.name!r} has no file {name!r}")
        root = open_root(self.listing.root)
        try:
            descriptor = open_beneath(root, self.listing.path(i))
        except OSError as error:
            raise unreadable(name, error) from None
        finally:
            os.close(root)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ChangedError(f"{name!r} is no longer the file that was listed")
        return os.fdopen(descriptor, "rb")

    def manifest(self, *, sha256: bool = True, blake3: bool = True) -> Manifest:
        """Digest every file, or with ``options.trust_cache`` those that changed since the last time."""
        options = self.options
        if options.trust_cache:
            from assay.targets.digest.cache import digest_cached

            result = digest_cached(
                self.listing,
                scope="\0".join((str(self.reference), os.path.abspath(self.reference.name), *options.paths)),
                sha256=sha256,
                blake3=blake3,
                # A command verifies what it has just listed; who keeps a target open has every file looked at again.
                fresh=time.monotonic() - self._listed < _FRESH,
                single=self.single,
                workers=options.workers,
                progress=options.progress,
            )
            self.from_cache, self.cache_note = result.from_cache, result.note
            self.reread = len(self.names) - result.from_cache
            return result.manifest
        manifest = digest(
            self.listing,
            sha256=sha256,
            blake3=blake3,
            single=self.single,
            workers=options.workers,
            progress=options.progress,
        )
        self.reread, self.from_cache = len(self.names), 0
        return manifest

    def __enter__(self) -> LocalTarget:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is held open between calls."""


def _path(reference: Reference) -> str:
    if reference.revision is not None:
        raise UsageError(
            f"{str(reference)!r}: a {'folder' if reference.scheme == 'dir' else 'file'} on disk has no revision",
            hint="for a commit of a repository write git:PATH@REVISION",
        )
    if not reference.name or "\0" in reference.name:
        raise UsageError(f"{str(reference)!r} names no path")
    try:
        return os.path.realpath(reference.name, strict=True)
    except OSError as error:
        raise TargetError(f"{reference.name!r} cannot be opened: {error.strerror}") from None


def open_directory(reference: Reference, options: Options) -> LocalTarget:
    """``dir:PATH``: all files beneath a folder that are not ignored, called by the folder's own name."""
    path = _path(reference)
    if not os.path.isdir(path):
        raise TargetError(f"{reference.name!r} is not a folder", hint=f"for one file write file:{reference.name}")
    name = os.path.basename(path) or "root"
    check_name(name, name)
    listing, facts = list_tree(path, options)
    return LocalTarget(reference, name, facts, listing, options)


def open_file(reference: Reference, options: Options) -> LocalTarget:
    """``file:PATH``: one file, called by its name as written.

    A link is followed, since the user has named it: a model in the Hugging Face cache keeps its name, and not that
    of the blob that it is a link to.
    """
    path = _path(reference)
    if options.paths:
        raise UsageError(f"{reference.name!r} is one file, so --path cannot limit it")
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError as error:
        raise TargetError(f"{reference.name!r} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise TargetError(f"{reference.name!r} is a folder", hint=f"write dir:{reference.name}")
    if not stat.S_ISREG(status.st_mode):
        raise TargetError(f"{reference.name!r} is a device, FIFO or socket, which has no digest")
    name = os.path.basename(os.path.abspath(reference.name))
    check_name(name, name)
    root, base = os.path.split(path)
    linked = os.path.islink(reference.name)
    listing = Listing(root, [name], array("Q", [status.st_size]), {} if base == name else {0: base})
    return LocalTarget(reference, name, Facts(followed_links=linked), listing, options, single=True)
