"""The documents that may concern a target: in the evidence store, in a named file, or beside the target itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from assay.api.keeping import open_store, store_path
from assay.config import Config
from assay.errors import AssayError
from assay.evidence import documents
from assay.evidence.verification import Candidate
from assay.files import read_file
from assay.targets.interface import Manifest, Target

if TYPE_CHECKING:
    from assay.evidence.stores.interface import Entry, Store

MAX_CANDIDATES = 50
"""Documents of the store that are tried for one name; the newest ones."""


class Gathered:
    """Documents that may concern a target, and where they were looked for. Use it as a context manager."""

    def __init__(
        self, thing: Target, signature: str | None, directory: str | None, config: Config, *, part: bool = False
    ) -> None:
        self.problems: list[str] = []
        """Evidence that could not be read: it cannot help a verdict, and its absence may hide something newer."""
        self._store: Store | None = None
        self._read_before: dict[str, list[Candidate]] = {}
        files = (signature,) if signature is not None else tuple(filter(os.path.isfile, _beside(thing)))
        where = list(files)
        if signature is None:
            place = store_path(directory, config)
            if directory is not None or os.path.isdir(place):
                self._store = open_store(directory, config=config)
            where.insert(0, place)
        self.where = " and ".join(where)
        """For messages."""
        self.signatures = frozenset(filter(None, (_inside(thing, path) for path in files)))
        """Names under which the signature files lie in the target itself."""
        self.candidates = [*self._kept(thing, part), *(item for path in files for item in self._parse(path))]
        """Documents to try, most promising first."""

    def _parse(self, path: str) -> list[Candidate]:
        return [Candidate(path, bundle) for bundle in documents.read_documents(read_file(path), path)]

    def _kept(self, thing: Target, part: bool) -> list[Candidate]:
        if self._store is None:
            return []
        shape = Manifest(thing.names, thing.sizes, b"", b"").shape().hex()
        entries = [] if part else self._store.find(shape=shape, limit=MAX_CANDIDATES)
        seen = {entry.blob for entry in entries}
        entries += [item for item in self._store.find(name=thing.name, limit=MAX_CANDIDATES) if item.blob not in seen]
        return self._read(entries)

    def lookup(self, contents: str) -> Sequence[Candidate]:
        """Documents of the store about contents with this SHA-256 (hex)."""
        return self._read(self._store.find(digest=contents, limit=MAX_CANDIDATES)) if self._store is not None else []

    def about(self, digest: str, wanted: Callable[[str], bool]) -> list[Candidate]:
        """All documents of the store with a subject of this digest (hex) and a predicate type that is wanted.

        Those that were taken back are among them, marked: a policy that asks for the newest must not overlook them.
        """
        if self._store is None:
            return []
        found = self._store.find(digest=digest, discarded=True)
        return self._read([entry for entry in found if wanted(entry.predicate_type or "")])

    def incomplete(self) -> str | None:
        """Why there may be evidence that was not seen; None when it is a whole log, as far as this user can know."""
        if self._store is None:
            return "the evidence does not come from a store, which would show whether something is missing"
        return next(iter(self.doubts()), None)

    def doubts(self) -> tuple[str, ...]:
        """What is known to be wrong with the evidence so far: unreadable pieces, a store's history cut or replaced."""
        return (*self.problems, *(self._store.doubts if self._store is not None else ()))

    def _read(self, entries: Sequence[Entry]) -> list[Candidate]:
        return [candidate for entry in entries for candidate in self._one(entry)]

    def _one(self, entry: Entry) -> list[Candidate]:
        if entry.blob not in self._read_before:
            name = f"evidence {entry.blob[:12]}"
            found: list[Candidate] = []
            try:
                bundles = documents.read_documents(self._store.read(entry), name) if self._store else []
                found = [Candidate(name, bundle, entry.seq, entry.discarded) for bundle in bundles[:1]]
            except AssayError as error:
                self.problems.append(f"{name} cannot be read: {error.message}")
            self._read_before[entry.blob] = found
        return self._read_before[entry.blob]

    def __enter__(self) -> Gathered:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._store is not None:
            self.problems += self._store.notes
            self._store.close()


def _inside(thing: Target, path: str) -> str | None:
    """The name of a file within a folder target; None for one that lies elsewhere."""
    if thing.reference.scheme != "dir":
        return None
    relative = os.path.relpath(os.path.realpath(path), os.path.realpath(thing.reference.name))
    return None if relative.startswith("..") else relative


def _beside(thing: Target) -> tuple[str, ...]:
    """Where a signature lies when nobody says: beside the target, or in it as ``model.sig``."""
    if thing.reference.scheme not in ("dir", "file"):
        return ()
    real = os.path.realpath(thing.reference.name)
    return (real + ".sig", os.path.join(real, "model.sig"))
