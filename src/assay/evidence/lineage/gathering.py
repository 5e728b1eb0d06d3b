"""From a store to `Pieces`: every statement is read once for finding it, and again, and proved, when it is reached.

So memory grows with what is reached, and signatures are checked only where an edge would rest on them. What cannot be
read is told: it may be the very statement that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import TracebackType

from assay.errors import AssayError, DocumentError
from assay.evidence import documents, listing
from assay.evidence.bundle import Bundle
from assay.evidence.lineage.interface import Piece, Said
from assay.evidence.lineage.links import Links
from assay.evidence.lineage.reading import read
from assay.evidence.statement import Statement
from assay.evidence.stores.interface import Entry, Store

Prove = Callable[[Bundle, Statement | None], tuple[tuple[str, ...], str]]
"""The expected signers who were proved, in words, and why there are none. Without a statement: whoever may sign any."""

Progress = Callable[[int, int], None]
"""Told how many entries were read, and of how many."""


class Gathered:
    """The statements of one store; discarded ones are not among them. Use it as a context manager."""

    def __init__(self, store: Store, prove: Prove, progress: Progress | None = None) -> None:
        self._store, self._prove = store, prove
        self._links = Links()
        self.problems: list[str] = []
        """Entries that cannot be read: there may be an edge in them."""
        self.piece = lru_cache(maxsize=20_000)(self._piece)
        entries = store.find()
        self.count = len(entries)
        """How many statements there are."""
        for number, entry in enumerate(entries, 1):
            if progress is not None and number % 500 == 0:
                progress(number, len(entries))
            found = self._read(entry)
            if found is not None:
                self._links.add(entry.seq, found[2])

    def entries(self, key: str, role: int) -> Sequence[int]:
        """See `Pieces.entries`."""
        return self._links.entries(key, role)

    def sharing(self, seq: int, role: int) -> Sequence[int]:
        """See `Pieces.sharing`."""
        return self._links.sharing(seq, role)

    def _piece(self, seq: int) -> Piece | None:
        entry = self._store.get(str(seq))
        found = self._read(entry)
        if found is None:
            return None
        bundle, statement, said = found
        signers, problem = self._prove(bundle, statement)
        return Piece(seq, entry.blob, said, signers, problem, entry.time)

    def _read(self, entry: Entry) -> tuple[Bundle, Statement, Said] | None:
        name = f"evidence {entry.blob[:12]}"
        try:
            bundle = documents.read_documents(self._store.read(entry), name)[0]
        except AssayError as error:
            self._problem(f"{name} cannot be read: {error.message}")
            return None
        try:
            statement, claims = listing.read(bundle, name)
        except DocumentError as error:
            # A stranger's broken document is as if it were not there; one that somebody expected signed may be the
            # very step that was asked for.
            if self._prove(bundle, None)[0]:
                self._problem(f"{name} is signed and cannot be understood: {error.message}")
            return None
        return bundle, statement, read(statement, claims)

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def __enter__(self) -> Gathered:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._links.close()
