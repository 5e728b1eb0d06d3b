"""A store in a folder, which several processes use at once.

The log is the truth and the index follows it: an entry counts from the moment that its file has its name, and whoever
comes next brings the index up to date. Nothing here rewrites or removes what was added.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TypeVar

from assay.errors import DocumentError, StoreError, UndecidedError, UsageError
from assay.evidence.stores.facts import Facts, facts
from assay.evidence.stores.heads import Heads, default_path
from assay.evidence.stores.index import DAMAGED, Index
from assay.evidence.stores.interface import STATEMENT, TOMBSTONE, Entry, Head, Report
from assay.evidence.stores.log import Log, Record, decode, digest
from assay.evidence.stores.upkeep import Upkeep

_T = TypeVar("_T")
_MAX_LABELS = 64
_MAX_TEXT = 1000
"""Characters of a label's key or value, of a reason, of a target."""


class DirectoryStore:
    """See `interface.Store`. One object serves one thread."""

    def __init__(self, path: str, *, create: bool, heads: str | None = None) -> None:
        self._log = Log(path)
        self._heads = Heads(heads or default_path())
        self._notes: dict[str, bool] = {}
        self._upkeep = Upkeep(self._log, self._note)
        self._new = not self._log.exists()
        if self._new and not create:
            raise UndecidedError(f"there is no evidence store at {path!r}", hint="name another with -d DIR")
        if create:
            self._log.create()
        self._greeted = self._diverged = False
        with contextlib.suppress(StoreError):  # the first use says so again; `check` must be possible still
            self._ask(Index.head)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Store.notes`."""
        return tuple(self._notes)

    @property
    def doubts(self) -> tuple[str, ...]:
        """See `Store.doubts`."""
        return tuple(text for text, doubtful in self._notes.items() if doubtful)

    def head(self) -> Head:
        """See `Store.head`."""
        return self._ask(Index.head)

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
        limit: int | None = None,
    ) -> list[Entry]:
        """See `Store.find`."""
        return self._ask(
            lambda index: index.find(
                digest=digest,
                name=name,
                shape=shape,
                predicate_type=predicate_type,
                signer=signer,
                since=since and _utc(since),
                until=until and _utc(until),
                labels=labels,
                discarded=discarded,
                limit=limit,
            )
        )

    def get(self, name: str) -> Entry:
        """See `Store.get`."""
        is_number = name.isascii() and name.isdigit() and len(name) <= 18
        if is_number:
            seq = int(name)
            entry = self._ask(lambda index: index.entry(seq))
            if entry is not None and entry.kind != DAMAGED:
                return entry
            if 0 < seq <= self.head().seq:
                raise StoreError(f"entry {seq} is missing or damaged", hint="assay evidence check says more")
        if not re.fullmatch(r"[0-9a-f]{4,64}", name):
            if is_number:
                raise UndecidedError(f"the store has no entry {name}")
            hint = "a number, or the first 4 or more hex digits of a bundle's digest"
            raise UsageError(f"{name[:100]!r} names no entry", hint=hint)
        found = self._ask(lambda index: index.by_blob(name))
        if not found:
            raise UndecidedError(f"the store has no bundle whose digest starts with {name!r}")
        if len({entry.blob for entry in found}) > 1:
            raise UsageError(f"several bundles' digests start with {name!r}", hint="write more digits of it")
        return found[0]

    def read(self, entry: Entry) -> bytes:
        """See `Store.read`."""
        data = self._log.entry_bytes(entry.seq)
        if data is None:
            raise StoreError(f"entry {entry.seq} was removed from the store {self._log.path!r}")
        hint = "assay evidence check names what was changed"
        try:
            record = decode(data, f"entry {entry.seq}")
        except DocumentError as error:
            raise StoreError(error.message, hint=hint) from None
        # The index is believed for finding only: what it says of this entry must be what the log says.
        if (record.seq, record.kind, record.blob) != (entry.seq, entry.kind, entry.blob):
            raise StoreError(f"entry {entry.seq} is not what the index says", hint=hint)
        return self._log.blob(record.blob)

    def add(
        self, bundle: bytes, *, now: datetime, labels: Mapping[str, str] | None = None, target: str | None = None
    ) -> Entry:
        """See `Store.add`."""
        labels = dict(labels or {})
        _check_labels(labels)
        if target is not None:
            _check_text("the target", target)
        time, known, blob = _utc(now), facts(bundle, "the bundle"), digest(bundle)

        def action(index: Index) -> Entry:
            for entry in index.by_blob(blob):
                if not entry.discarded:
                    self._log.blob(blob)  # still whole: it is about to be called kept
                    return entry
            head = index.head()
            record = Record(head.seq + 1, head.digest, STATEMENT, blob, time, labels, target)
            return self._append(index, bundle, record, known)

        return self._write(action)

    def discard(self, entry: Entry, *, reason: str, now: datetime) -> Entry:
        """See `Store.discard`."""
        _check_text("the reason", reason)
        time = _utc(now)

        def action(index: Index) -> Entry:
            current = index.entry(entry.seq)
            if current is None or (current.kind, current.blob) != (entry.kind, entry.blob):
                raise StoreError(f"entry {entry.seq} is not in the store {self._log.path!r}")
            if current.kind != STATEMENT:
                raise UsageError(f"entry {entry.seq} is no statement and cannot be discarded")
            if current.discarded_by is not None:
                raise UsageError(f"entry {entry.seq} is already discarded, by entry {current.discarded_by}")
            head = index.head()
            record = Record(head.seq + 1, head.digest, TOMBSTONE, entry.blob, time, discards=entry.seq, reason=reason)
            return self._append(index, b"", record, None)

        return self._write(action)

    def check(self, expect_head: str | None = None) -> Report:
        """See `Store.check`."""
        from assay.evidence.stores.check import check

        index = None
        with contextlib.suppress(StoreError):  # an entry that cannot even be read; the check names it
            self._ask(Index.head)
            index = self._upkeep.for_reading()
        seen = None
        with contextlib.suppress(DocumentError):  # said when the store was used first
            seen = None if self._new else self._heads.seen(self._log.path)
        report = check(self._log, index, seen, expect_head)
        if not report.problems:
            self._heads.remember(self._log.path, report.head)
        return report

    def export(self, entries: Iterable[Entry]) -> bytes:
        """See `Store.export`."""
        # Line ends stand in JSON between values only, where a space means the same: no byte of a value changes.
        lines = [self.read(entry).strip(b" \t\r\n") for entry in entries if entry.kind == STATEMENT]
        return b"".join(re.sub(rb"[\r\n]", b" ", line) + b"\n" for line in lines)

    def close(self) -> None:
        """See `Store.close`."""
        self._upkeep.close()

    def __enter__(self) -> DirectoryStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: Callable[[Index], _T]) -> _T:
        """An answer of an index that is up to date; an index that turns out broken is built again first."""
        index = self._upkeep.for_reading()
        self._compare_with_last_time(index)
        try:
            return question(index)
        except sqlite3.Error as error:
            self._note(f"the index was damaged ({error}) and was built again from the log")
            with contextlib.suppress(OSError, StoreError), self._log.locked():
                return question(self._upkeep.rebuilt())
            return question(self._upkeep.rebuilt_in_memory())

    def _write(self, action: Callable[[Index], Entry]) -> Entry:
        """Do something under the lock that adds an entry."""
        try:
            with self._log.locked():
                index = self._upkeep.for_writing()
                self._compare_with_last_time(index)
                try:
                    return action(index)
                except sqlite3.Error as error:  # before anything was added: `_append` deals with its own
                    self._note(f"the index was damaged ({error}) and was built again from the log")
                    return action(self._upkeep.rebuilt())
        except OSError as error:
            raise self._log.failure(error, "written to") from None

    def _append(self, index: Index, bundle: bytes, record: Record, known: Facts | None) -> Entry:
        own = self._log.write(bundle, record)
        # From here on the entry is kept, whatever happens to what follows.
        try:
            with index.transaction():
                index.insert(record, own, known)
        except sqlite3.Error as error:
            self._note(f"the entry was added, but not to the index ({error}); the next command does that")
            self._upkeep.close()
        if not self._diverged:
            self._heads.remember(self._log.path, Head(record.seq, own), replace=self._new)
            self._new = False
        return Entry(
            record.seq,
            own,
            record.kind,
            record.blob,
            record.time,
            record.labels,
            record.target,
            record.discards,
            record.reason,
            known.predicate_type if known else None,
            known.signers if known else (),
            known.size if known else None,
        )

    def _compare_with_last_time(self, index: Index) -> None:
        """Once: is this still the history that this user saw here last?"""
        if self._greeted:
            return None
        self._greeted = True
        head = index.head()
        if damaged := index.damaged():
            # An index that was built anew after an entry was deleted is consistent, and has a hole.
            numbers = ", ".join(map(str, damaged))
            self._note(f"entries are missing or damaged ({numbers}): assay evidence check says more", doubtful=True)
        try:
            seen = self._heads.seen(self._log.path)
        except DocumentError as error:
            self._diverged = True
            return self._note(
                f"{error.message}: what was last seen of this store is unknown; remove that file", doubtful=True
            )
        if seen is not None and seen.seq and self._new:
            return self._note(f"a store of {seen.seq} entries was last seen here; this is a new one", doubtful=True)
        if seen is not None and seen.seq and index.digest(seen.seq) != seen.digest:
            self._diverged = True
            how = "is shorter than" if seen.seq > head.seq else "is not"
            return self._note(
                f"the history of this store {how} the one last seen here (entry {seen.seq}, {seen.digest[:16]}):"
                f" evidence was removed or replaced, or an older copy restored ({self._heads.path} remembers)",
                doubtful=True,
            )
        if head.seq and (seen is None or seen.seq < head.seq):
            self._heads.remember(self._log.path, head)
        return None

    def _note(self, text: str, *, doubtful: bool = False) -> None:
        self._notes[text] = self._notes.get(text, False) or doubtful


def _utc(time: datetime) -> datetime:
    if time.utcoffset() is None:
        raise UsageError("a time without a time zone could mean any hour", hint="pass UTC")
    return time.astimezone(UTC)


def _check_text(what: str, text: str) -> None:
    if not 0 < len(text) <= _MAX_TEXT or not text.isprintable():
        raise UsageError(f"{what} must be 1 to {_MAX_TEXT} printable characters: {text[:60]!a}")


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > _MAX_LABELS:
        raise UsageError(f"{len(labels)} labels are more than the {_MAX_LABELS} that an entry may have")
    for key, value in labels.items():
        _check_text("a label's key", key)
        if value:
            _check_text(f"the label {key!r}", value)
