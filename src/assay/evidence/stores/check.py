"""Checking a whole store: every entry, link and bundle is read again, and the index compared with what they say.

Only reads. A log that was cut at its end together with its index is consistent; heads noted elsewhere show it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from assay.errors import AssayError, DocumentError, StoreError, UsageError
from assay.evidence.stores.facts import Facts, facts
from assay.evidence.stores.heads import parse_head
from assay.evidence.stores.index import Index
from assay.evidence.stores.interface import STATEMENT, Head, Report
from assay.evidence.stores.log import NO_DIGEST, Log, Record, decode, digest


def check(log: Log, index: Index | None, seen: Head | None, expected: str | None) -> Report:
    """What is wrong with a store. ``seen`` is the head that this user saw last, ``expected`` one that the caller noted;
    ``index`` is None where none could be had.

    Raises `UsageError` for an expected head that is none.
    """
    wanted = _expected(expected)
    walk = _Walk(log, index)
    walk.to(log.last())
    if index is not None:
        try:
            with index.transaction():  # one moment of the index; the entries that came meanwhile are read too
                walk.to(max(index.head().seq, log.last()))
                walk.compare(index)
        except sqlite3.Error as error:
            walk.problems.append(f"the index cannot be read ({error}); remove index.sqlite, it is built again")
    walk.remembers(seen, "this user last saw it")
    if wanted is not None:
        walk.remembers(wanted, "the expected head says")
    unlinked = sum(name not in walk.linked for name in log.blobs())
    problems = tuple(dict.fromkeys(walk.problems))
    return Report(walk.entries, walk.head, problems, unlinked)


def _expected(text: str | None) -> Head | None:
    if text is None:
        return None
    head = parse_head(text if ":" in text else f"0:{text}")
    if head is None:
        raise UsageError(
            f"the expected head {text[:100]!r} is none", hint="SEQ:DIGEST or DIGEST, as evidence check prints it"
        )
    return head


class _Walk:
    """The way through the log, from the first entry to the newest."""

    def __init__(self, log: Log, index: Index | None) -> None:
        self.log = log
        self.index = index
        self.problems: list[str] = []
        self.entries = 0
        self.head = Head(0, NO_DIGEST)
        self.linked: set[str] = set()
        self._shadow = Index.create(None)
        self._digests: dict[str, int] = {}
        self._statements: dict[int, str] = {}
        self._previous: str | None = NO_DIGEST
        self._at = 0

    def to(self, last: int) -> None:
        """Read entries up to this number."""
        with self._shadow.transaction():
            for seq in range(self._at + 1, last + 1):
                self._step(seq)
        self._at = max(self._at, last)

    def _step(self, seq: int) -> None:
        try:
            data = self.log.entry_bytes(seq)
        except StoreError as error:
            self.problems.append(error.message)
            self._previous = None
            return
        if data is None:
            self.problems.append(f"entry {seq} was removed")
            self._previous = None
            return
        own = digest(data)
        self.entries += 1
        self.head = Head(seq, own)
        self._digests[own] = seq
        remembered = self.index.digest(seq) if self.index else None
        if remembered is not None and remembered != own:
            self.problems.append(f"entry {seq} was replaced or edited since it was indexed")
        try:
            record = decode(data, f"entry {seq}")
        except DocumentError as error:
            self.problems.append(error.message)
            self._shadow.insert_damaged(seq, own)
        else:
            self._record(seq, record, own)
        self._previous = own

    def _record(self, seq: int, record: Record, own: str) -> None:
        if record.seq != seq:
            self.problems.append(f"entry {seq} says that it is entry {record.seq}: the log was reordered")
            self._shadow.insert_damaged(seq, own)
            return
        # After a gap there is nothing to compare with; the gap itself is named.
        if self._previous is not None and record.previous != self._previous:
            self.problems.append(f"entry {seq} does not follow entry {seq - 1}: one of the two was replaced or edited")
        known: Facts | None = None
        if record.kind == STATEMENT:
            self._statements[seq] = record.blob
            self.linked.add(record.blob)
            try:
                known = facts(self.log.blob(record.blob), f"the bundle of entry {seq}")
            except AssayError as error:
                self.problems.append(f"entry {seq}: {error.message}")
        elif self._statements.get(record.discards or 0) != record.blob:
            self.problems.append(f"entry {seq} discards entry {record.discards}, which is not such a statement")
        self._shadow.insert(record, own, known)

    def compare(self, index: Index) -> None:
        """Every row of the index beside the one that the entries give."""
        if index.head().seq > self.head.seq:
            self.problems.append(
                f"the log ends at entry {self.head.seq}, but the index remembers entry {index.head().seq}:"
                " the newest entries were removed"
            )
        for ours, theirs in zip_longest(_rows(self._shadow), _rows(index)):
            if ours != theirs:
                seq, table = min(row[:2] for row in (ours, theirs) if row is not None)
                self.problems.append(
                    f"the index ({table}) differs from what entry {seq} says; remove index.sqlite, it is built again"
                )
                break

    def remembers(self, head: Head | None, who: str) -> None:
        """Compare with a head noted elsewhere; number 0 means that only the digest is known."""
        if head is None or head.digest == NO_DIGEST or head.digest in self._digests:
            return
        if head.seq > self.head.seq:
            self.problems.append(
                f"the log ends at entry {self.head.seq}, but {who} at entry {head.seq}: the newest entries were removed"
            )
        else:
            place = f" {head.seq}" if head.seq else ""
            self.problems.append(
                f"the log does not hold entry{place} as {who} (digest {head.digest[:16]}): it was cut or replaced"
            )


def _rows(index: Index) -> Iterator[tuple[int, str, tuple[Any, ...]]]:
    """Rows with the entry that each belongs to."""
    for table, row in index.tables():
        seq = row[0] if table == "entries" else row[2] if table == "labels" else row[1]
        yield seq, table, row
