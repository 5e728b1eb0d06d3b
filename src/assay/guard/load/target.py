"""A target some of whose files are held: judged by its held bytes, whatever becomes of the files meanwhile.

The judge sees an ordinary target. Digests of held files are of the held bytes; those of the other files, which are
judged with them and not loaded, come from the digest engine.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import BinaryIO

from assay.errors import TargetError
from assay.guard.load.held import Held
from assay.targets.digest.plan import identity_of
from assay.targets.interface import DIGEST, Facts, Manifest, Options, Reference, Target
from assay.targets.listing import Listing
from assay.targets.local import LocalTarget
from assay.targets.registry import resolve

MAX_HELD = 512
"""Files that are held open at once; more would come close to the usual limit of descriptors."""


class HeldTarget:
    """A local target, and the files of it that are held. Close it to give them back."""

    def __init__(self, inner: LocalTarget, names: Iterable[str], held: dict[str, Held] | None = None) -> None:
        self._inner = inner
        self._wanted = tuple(names)
        self._held = held if held is not None else {}
        self._owner = held is None
        self.reference: Reference = inner.reference
        self.name: str = inner.name
        self.facts: Facts = inner.facts
        self.names: Sequence[str] = inner.names
        self.single: bool = inner.single
        self._manifest: Manifest | None = None
        self.trusted = False
        """The digests come from the trusted cache, and the held files are watched instead of copied."""
        if len(self._wanted) > MAX_HELD:
            raise TargetError(f"{self.name!r} has {len(self._wanted)} files to load, more than {MAX_HELD}")
        try:
            for name in self._wanted:
                if name not in self._held:
                    self._held[name] = Held(name, inner.open(name))
        except BaseException:
            self.close()
            raise
        self.sizes = array("Q", inner.sizes)
        for i, name in enumerate(self.names):
            if name in self._held:
                self.sizes[i] = self._held[name].size

    @property
    def paths(self) -> tuple[str, ...]:
        """Globs that it is limited to."""
        return self._inner.options.paths

    @property
    def trusts_cache(self) -> bool:
        """Whether the caller trusts this user's cache."""
        return self._inner.options.trust_cache

    def digest(self, name: str) -> bytes | None:
        """What identifies a file's bytes in the last manifest, which was judged; None without one."""
        if self._manifest is None:
            return None
        found = self._manifest[list(self.names).index(name)]
        return found.segments or found.blake3 or found.sha256

    def held(self, name: str) -> Held:
        """A held file."""
        return self._held[name]

    def open(self, name: str) -> BinaryIO:
        """As `Target.open`; held files give their held bytes."""
        return self._held[name].open() if name in self._held else self._inner.open(name)

    def again(self, paths: tuple[str, ...], default_ignores: bool) -> Target:
        """The same target listed in another way, with the same held files."""
        options = replace(self._inner.options, paths=paths, default_ignores=default_ignores)
        inner = resolve(self.reference, options)
        assert isinstance(inner, LocalTarget)
        listed = set(inner.names)
        return HeldTarget(inner, (name for name in self._wanted if name in listed), self._held)

    def only(self, names: Iterable[str]) -> HeldTarget:
        """The same target limited to some of its held files."""
        chosen = sorted(names)
        sizes = array("Q", (self._held[name].size for name in chosen))
        listing = Listing(self._inner.listing.root, chosen, sizes)
        inner = LocalTarget(self.reference, self.name, self.facts, listing, self._inner.options, self.single)
        return HeldTarget(inner, chosen, self._held)

    def manifest(self, *, sha256: bool = True, blake3: bool = True) -> Manifest:
        """As `Target.manifest`. Copies the held files, unless the trusted cache knows all files as they are."""
        if self._inner.options.trust_cache and not any(held.copied for held in self._held.values()):
            found = self._trusted(sha256=sha256, blake3=blake3)
            if found is not None:
                self.trusted = True
                self._manifest = found
                return found
        self.trusted = False
        self._manifest = self._digested(sha256=sha256, blake3=blake3)
        return self._manifest

    def copy_all(self) -> None:
        """Make copies of all held files now; needed where a library would read a watched file later than the check."""
        for held in self._held.values():
            held.copy(blake3=False)

    def _trusted(self, *, sha256: bool, blake3: bool) -> Manifest | None:
        """The manifest by the cache alone, for the very files that are open; None where some file must be read.

        The cache is asked by the open files' identities: by name, a file that is swapped and swapped back between
        two looks would be judged by one file's digests and loaded with the other's bytes.
        """
        from assay.targets.digest.cache import digest_cached

        inner = self._inner
        listing = Listing(inner.listing.root, list(self.names), self.sizes, inner.listing.paths, self._identities())
        scope = "\0".join((str(self.reference), os.path.abspath(self.reference.name), *inner.options.paths))
        for _ in range(2):  # the first reads what is not known yet, and the second must then know everything
            result = digest_cached(
                listing,
                scope=scope,
                sha256=sha256,
                blake3=blake3,
                fresh=True,
                single=self.single,
                workers=inner.options.workers,
                progress=inner.options.progress,
            )
            if result.from_cache == len(self.names):
                return result.manifest
            if result.note is not None:
                break
        return None

    def _identities(self) -> bytes:
        found = []
        for i, name in enumerate(self.names):
            if name in self._held:
                found.append(self._held[name].identity)
            else:
                status = os.lstat(os.path.join(self._inner.listing.root, self._inner.listing.path(i)))
                found.append(identity_of(status))
        return b"".join(found)

    def _digested(self, *, sha256: bool, blake3: bool) -> Manifest:
        listing = self._inner.listing
        rest = [i for i, name in enumerate(self.names) if name not in self._held]
        others = Listing(
            listing.root,
            [self.names[i] for i in rest],
            array("Q", (self.sizes[i] for i in rest)),
            {k: listing.path(i) for k, i in enumerate(rest)},
        )
        from assay.targets.digest.engine import digest

        workers = self._inner.options.workers
        read = digest(others, sha256=sha256, blake3=blake3, workers=workers) if rest else None
        shas, blakes, segments = [], [], {}
        k = 0
        for i, name in enumerate(self.names):
            if name in self._held:
                held = self._held[name]
                held.copy(blake3=blake3)
                shas.append(held.sha256() if sha256 else b"")
                whole, parts = held.blake3() if blake3 else (b"", b"")
            else:
                assert read is not None
                shas.append(read.sha256[k * DIGEST : (k + 1) * DIGEST])
                whole, parts = read.blake3[k * DIGEST : (k + 1) * DIGEST], read.segments.get(k, b"")
                k += 1
            blakes.append(whole)
            if parts:
                segments[i] = parts
        return Manifest(list(self.names), self.sizes, b"".join(shas), b"".join(blakes), segments, self.single)

    def close(self) -> None:
        """Give the held files back."""
        if self._owner:
            for held in self._held.values():
                held.close()

    def __enter__(self) -> HeldTarget:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def hold(reference: str, options: Options, names: Callable[[Sequence[str]], Iterable[str]]) -> HeldTarget:
    """Open a local target and hold the files that ``names`` chooses among its names.

    Raises `TargetError` for a target that is no local file or folder, or has no such file.
    """
    inner = resolve(reference, options)
    if not isinstance(inner, LocalTarget):
        inner.__exit__(None, None, None)
        raise TargetError(f"{reference!r} is not a file or folder on this machine, and cannot be loaded from")
    chosen = tuple(names(inner.names))
    return HeldTarget(inner, chosen)
