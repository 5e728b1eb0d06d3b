"""A store in a folder, which several processes use at once.

The log is the truth and the index follows it: an entry counts from the moment that its file has its name, and whoever
comes next brings the index up to date. Nothing here rewrites or removes what was added.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import TypeVar

from assay.errors import AssayError, DocumentError, StoreError, UndecidedError, UsageError
from assay.evidence.stores.facts import facts
from assay.evidence.stores.heads import Heads, default_path
from assay.evidence.stores.index import DAMAGED, Index, file_identity
from assay.evidence.stores.interface import STATEMENT, TOMBSTONE, Entry, Head, Report
from assay.evidence.stores.log import Log, Record, decode, digest
from assay.files import sync_directory

_T = TypeVar("_T")
_MAX_LABELS = 64
_MAX_TEXT = 1000


class DirectoryStore:
    """See `interface.Store`. One object serves one thread."""

    def __init__(self, path: str, *, create: bool, heads: str | None = None) -> None:
        self._log = Log(path)
        self._heads = Heads(heads or default_path())
        self._index: Index | None = None
        self._notes: list[str] = []
        made = not self._log.exists()
        if made and not create:
            raise UndecidedError(f"there is no evidence store at {path!r}", hint="name another with -d DIR")
        if create:
            self._log.create()
        self._remembered = False
        self._compare_with_last_time(made)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Store.notes`."""
        return tuple(self._notes)

    def head(self) -> Head:
        """See `Store.head`."""
        return self._ask(lambda index: index.head())

    def find(
        self,
        *,
        digest: str | None = None,
        name: str | None = None,
        shape: str | None = None,
        predicate_type: str | None = None,
        signer: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        discarded: bool = False,
    ) -> list[Entry]:
        """See `Store.find`."""
        for time in (since, until):
            if time is not None:
                _check_time(time)
        return self._ask(
            lambda index: index.find(
                digest=digest,
                name=name,
                shape=shape,
                predicate_type=predicate_type,
                signer=signer,
                since=since,
                until=until,
                labels=labels,
                discarded=discarded,
            )
        )

    def get(self, name: str) -> Entry:
        """See `Store.get`."""
        if name.isascii() and name.isdigit() and len(name) <= 18:
            entry = self._ask(lambda index: index.entry(int(name)))
            if entry is not None and entry.kind != DAMAGED:
                return entry
            if 0 < int(name) <= self.head().seq:
                raise StoreError(f"entry {int(name)} is missing or damaged", hint="assay evidence check says more")
        if not re.fullmatch(r"[0-9a-f]{4,64}", name):
            if name.isascii() and name.isdigit():
                raise UndecidedError(f"the store has no entry {name}")
            raise UsageError(
                f"{name[:100]!r} names no entry", hint="a number, or the first 4 or more hex digits of a bundle's digest"
            )
        found = self._ask(lambda index: index.by_blob(name))
        if not found:
            raise UndecidedError(f"the store has no bundle whose digest starts with {name!r}")
        if len({entry.blob for entry in found}) > 1:
            raise UsageError(f"{name!r} is the start of {len(found)} bundles' digests", hint="write more digits of it")
        return found[0]

    def read(self, entry: Entry) -> bytes:
        """See `Store.read`."""
        record = self._record(entry.seq)
        if record is None:
            raise StoreError(f"entry {entry.seq} was removed from the store {self._log.path!r}")
        if (record.kind, record.blob) != (entry.kind, entry.blob):
            raise StoreError(
                f"entry {entry.seq} is for another bundle than the index says",
                hint="assay evidence check names what was changed",
            )
        return self._log.blob(record.blob)

    def add(
        self, bundle: bytes, *, now: datetime, labels: Mapping[str, str] | None = None, target: str | None = None
    ) -> Entry:
        """See `Store.add`."""
        labels = dict(labels or {})
        _check_time(now)
        _check_texts(labels, target)
        known = facts(bundle, "the bundle")
        blob = digest(bundle)
        with self._writing() as index:
            for entry in index.by_blob(blob):
                if not entry.discarded:
                    self._log.blob(blob)  # what was kept must still be there before it is called kept
                    return entry
            head = index.head()
            record = Record(head.seq + 1, head.digest, STATEMENT, blob, now, labels, target)
            own = self._log.write(bundle, record)
            return self._indexed(index, record, own, lambda: index.insert(record, own, known))

    def discard(self, entry: Entry, *, reason: str, now: datetime) -> Entry:
        """See `Store.discard`."""
        _check_time(now)
        _check_text("the reason", reason)
        with self._writing() as index:
            current = index.entry(entry.seq)
            if current is None or (current.kind, current.blob) != (entry.kind, entry.blob):
                raise StoreError(f"entry {entry.seq} is not in the store {self._log.path!r}")
            if current.kind != STATEMENT:
                raise UsageError(f"entry {entry.seq} is no statement and cannot be discarded")
            if current.discarded_by is not None:
                raise UsageError(f"entry {entry.seq} is already discarded, by entry {current.discarded_by}")
            head = index.head()
            record = Record(
                head.seq + 1, head.digest, TOMBSTONE, entry.blob, now, discards=entry.seq, reason=reason
            )
            own = self._log.write(b"", record)
            return self._indexed(index, record, own, lambda: index.insert(record, own, None))

    def check(self, expect_head: str | None = None) -> Report:
        """See `Store.check`."""
        from assay.evidence.stores.check import check

        seen = None
        with contextlib.suppress(DocumentError):  # said when the store was opened
            seen = self._heads.seen(self._log.path)
        return check(self._log, self._current(), seen, expect_head)

    def export(self, entries: Iterable[Entry]) -> bytes:
        """See `Store.export`."""
        # Line ends stand in JSON between values only, where a space means the same: no byte of a value changes.
        lines = [self.read(entry).rstrip(b" \t\r\n") for entry in entries if entry.kind == STATEMENT]
        return b"".join(re.sub(rb"[\r\n]", b" ", line) + b"\n" for line in lines)

    def close(self) -> None:
        """See `Store.close`."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def __enter__(self) -> DirectoryStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Reading through the index ---------------------------------------------------------------------------------

    def _ask(self, question: Callable[[Index], _T]) -> _T:
        """An answer of an index that is up to date; one that turns out broken is built again and asked once more."""
        try:
            return question(self._current())
        except sqlite3.Error as error:
            self.close()
            self._note(f"the index could not be used ({error}) and was built again")
            with self._guard("read"):
                self._index = self._built_in_memory() if not self._rebuild_quietly() else self._index
            assert self._index is not None
            return question(self._index)

    def _current(self) -> Index:
        """An index with everything that the log has, without the lock where nothing is to be done."""
        index = self._index
        try:
            if index is None:
                index = self._index = Index.open(self._index_path)
            if self._log.entry_bytes(index.head().seq + 1) is None:
                self._check_end(index)
                return index
            if index.identity is None:
                self._catch_up(index)
                return index
        except (sqlite3.Error, OSError):
            self.close()
        return self._repaired()

    @property
    def _index_path(self) -> str:
        return os.path.join(self._log.path, "index.sqlite")
