"""Keeping a store's index up to date with its log, whatever happened to either of them in the meantime.

The log is never changed here. An index that is missing, old, damaged or in the way of a read-only disk is built again,
in its file where that can be written and else in memory, and the user is told.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Protocol

from assay.errors import AssayError, DocumentError, StoreError
from assay.evidence.stores.facts import facts
from assay.evidence.stores.index import DAMAGED, Index, file_identity
from assay.evidence.stores.interface import STATEMENT
from assay.evidence.stores.log import Log, decode, digest
from assay.files import sync_directory


class Note(Protocol):
    """Told what the user should hear; ``doubtful`` when it means that entries may be missing."""

    def __call__(self, text: str, *, doubtful: bool = False) -> None:
        """Take note."""
        ...


class Upkeep:
    """The index of one store, open."""

    def __init__(self, log: Log, note: Note) -> None:
        self._log = log
        self._note = note
        self._index: Index | None = None
        self._path = os.path.join(log.path, "index.sqlite")

    def close(self) -> None:
        """Let go of the index."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def for_reading(self) -> Index:
        """An index of everything in the log; takes the lock only when there is something to bring up to date.

        Raises `StoreError` for an entry that cannot be read at all.
        """
        try:
            index = self._index
            if index is None:
                index = self._index = Index.open(self._path)
            if index.identity is None:
                self._catch_up(index)
            if not self._log.has(index.head().seq + 1):
                if problem := self._end_problem(index):
                    self._note(problem, doubtful=True)
                return index
        except (sqlite3.Error, OSError):
            self.close()
        try:
            with self._log.locked():
                return self._refreshed()
        except (OSError, StoreError):
            self._note("the index is not up to date and cannot be written here: it is kept in memory")
            return self._in_memory()

    def for_writing(self) -> Index:
        """The same for somebody who holds the lock and will add to the log.

        Raises `StoreError` for a log that was cut: what is added to it would hide that.
        """
        index = self._refreshed()
        problem = self._end_problem(index)
        if problem is None and self._log.last() != index.head().seq:
            problem = f"the log of the store {self._log.path!r} has a gap after entry {index.head().seq}"
        if problem:
            raise StoreError(
                problem, hint="assay evidence check says more; if you restored an older copy, remove its index.sqlite"
            )
        return index

    def rebuilt(self) -> Index:
        """The index built again from the log; in its file for somebody who holds the lock and can write it."""
        self.close()
        temporary = os.path.join(self._log.path, f".index.{os.urandom(6).hex()}.tmp")
        try:
            made = Index.create(temporary)
            try:
                self._fill(made)
            finally:
                made.close()
            self._put_in_place(temporary)
            self._index = Index.open(self._path)
        except (sqlite3.Error, OSError) as error:
            self._note(f"the index could not be written ({error}): it is kept in memory")
            return self._in_memory()
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return self._index

    def _put_in_place(self, temporary: str) -> None:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        for suffix in ("-journal", "-wal", "-shm"):  # SQLite would play the old file's journal into the new one
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path + suffix)
        os.rename(temporary, self._path)
        sync_directory(self._log.path)

    def _refreshed(self) -> Index:
        """The index in its file, up to date. Only under the lock."""
        try:
            if self._index is not None and self._index.identity != file_identity(self._path):
                self.close()  # somebody built it again, or it was in memory until now
            if self._index is None:
                self._index = Index.open(self._path)
            self._catch_up(self._index)
            return self._index
        except FileNotFoundError:
            if self._log.last():
                self._note("the index was missing and was built again from the log")
            return self.rebuilt()
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, OSError) or _passing(error):
                self._note(f"the index could not be brought up to date ({error}): it is kept in memory")
                return self._in_memory()
            self._note(f"the index was damaged or of another version ({error}) and was built again from the log")
            return self.rebuilt()

    def _in_memory(self) -> Index:
        """A copy of the index, or a new one, that no file stands behind."""
        self.close()
        try:
            stored = Index.open(self._path)
            try:
                self._index = stored.copy()
            finally:
                stored.close()
            self._catch_up(self._index)
        except (sqlite3.Error, OSError):
            return self.rebuilt_in_memory()
        return self._index

    def rebuilt_in_memory(self) -> Index:
        """The index built again from the log, for somebody who cannot write its file."""
        self.close()
        self._index = Index.create(None)
        self._fill(self._index)
        return self._index

    def _catch_up(self, index: Index) -> None:
        """Add what the log has beyond the index: entries of a writer that was killed, or of an older index."""
        first = seq = index.head().seq + 1
        if not self._log.has(seq):
            return
        with index.transaction():
            while self._log.has(seq):
                self._insert(index, seq)
                seq += 1
        for done in {first, seq - 1}:
            self._log.settle(done)

    def _fill(self, index: Index) -> None:
        with index.transaction():
            for seq in range(1, self._log.last() + 1):
                self._insert(index, seq)
        if damaged := index.damaged():
            numbers = ", ".join(map(str, damaged))
            self._note(f"entries are missing or damaged ({numbers}): assay evidence check says more", doubtful=True)

    def _insert(self, index: Index, seq: int) -> None:
        data = self._log.entry_bytes(seq)
        if data is None:
            return
        own = digest(data)
        try:
            record = decode(data, f"entry {seq}")
            if record.seq != seq:
                raise DocumentError(f"entry {seq} says that it is entry {record.seq}")
        except DocumentError:
            index.insert_damaged(seq, own)
            return
        known = None
        if record.kind == STATEMENT:
            # A bundle that is gone or changed leaves an entry that can be listed; reading it says what is wrong.
            with contextlib.suppress(AssayError):
                known = facts(self._log.blob(record.blob), "the bundle")
        index.insert(record, own, known)

    def _end_problem(self, index: Index) -> str | None:
        """What is wrong with the newest entry that the index remembers."""
        head = index.head()
        if head.seq == 0:
            return None
        try:
            data = self._log.entry_bytes(head.seq)
        except StoreError as error:
            return error.message
        if data is None:
            return f"the log of the store {self._log.path!r} was cut: entry {head.seq} was removed"
        if digest(data) != head.digest:
            return f"entry {head.seq} of the store {self._log.path!r} was replaced or edited"
        newest = index.entry(head.seq)
        if newest is None or newest.kind == DAMAGED:
            return f"entry {head.seq} of the store {self._log.path!r} is damaged"
        return None


def _passing(error: sqlite3.Error) -> bool:
    """Whether the disk or another process is the matter (full, busy, read-only) and not what the file holds."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode != sqlite3.SQLITE_ERROR
