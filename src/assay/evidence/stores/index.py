"""The SQLite index of a store: what makes a bundle findable without reading the others.

It holds nothing that the log and the bundles do not, can be thrown away at any time, and is believed for finding only:
whoever uses an entry reads it from the log again. This module loads SQLite; import it when a store is opened.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from assay.evidence.stores.facts import Facts
from assay.evidence.stores.interface import STATEMENT, TOMBSTONE, Entry, Head
from assay.evidence.stores.log import NO_DIGEST, Record, time_text

DAMAGED = "damaged"
"""Kind of a row for an entry whose file can be read but is none of ours."""

_TABLES = """
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY, digest TEXT NOT NULL, kind TEXT NOT NULL, blob TEXT NOT NULL, time TEXT NOT NULL,
  labels TEXT NOT NULL, target TEXT, discards INTEGER, reason TEXT,
  predicate_type TEXT, signers TEXT NOT NULL, size INTEGER, discarded_by INTEGER);
CREATE INDEX entries_blob ON entries (blob, seq);
CREATE INDEX entries_time ON entries (time, seq);
CREATE INDEX entries_predicate_type ON entries (predicate_type, seq);
CREATE TABLE subjects (
  digest TEXT NOT NULL, seq INTEGER NOT NULL, algorithm TEXT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (digest, seq, algorithm, name)) WITHOUT ROWID;
CREATE INDEX subjects_name ON subjects (name, seq);
CREATE TABLE signers (
  signer TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (signer, seq)) WITHOUT ROWID;
CREATE TABLE labels (
  key TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (key, value, seq)) WITHOUT ROWID;
"""

_STATEMENTS = sorted(text.strip() for text in _TABLES.split(";") if text.strip())

_COLUMNS = (
    "seq, digest, kind, blob, time, labels, target, discards, reason, predicate_type, signers, size, discarded_by"
)


class Index:
    """One open index."""

    def __init__(self, connection: sqlite3.Connection, identity: tuple[int, int] | None) -> None:
        self._connection = connection
        self.identity = identity
        """Device and inode of its file; None for one in memory."""

    @classmethod
    def open(cls, path: str) -> Index:
        """The index in the file ``path``. Raises `sqlite3.Error` or `OSError` where that is not a current one."""
        identity = file_identity(path)
        index = cls(_connect(f"file:{_quoted(path)}?mode=rw"), identity)
        try:
            rows = index._connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
            # Compared as a whole: another version's tables, and triggers or views that somebody planted.
            if sorted(str(row[0]) for row in rows) != _STATEMENTS:
                raise sqlite3.DatabaseError("the index has other tables")
        except BaseException:
            index.close()
            raise
        return index

    @classmethod
    def create(cls, path: str | None) -> Index:
        """An empty index in the new file ``path``, or in memory.

        It is filled without syncs or a journal; the caller syncs the file and renames it into place.
        """
        connection = _connect(f"file:{_quoted(path)}?mode=rwc" if path else ":memory:")
        index = cls(connection, None)
        try:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("PRAGMA synchronous=OFF")
            connection.executescript(_TABLES)
        except BaseException:
            index.close()
            raise
        return index

    def copy(self) -> Index:
        """The same in memory."""
        made = Index(_connect(":memory:"), None)
        self._connection.backup(made._connection)
        return made

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; what is read inside is of one moment."""
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def head(self) -> Head:
        """The newest entry that was indexed."""
        row = self._connection.execute("SELECT seq, digest FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        return Head(int(row[0]), str(row[1])) if row else Head(0, NO_DIGEST)

    def insert(self, record: Record, digest: str, facts: Facts | None) -> None:
        """One entry, with what is known of its statement. Call it inside a `transaction`."""
        execute, many = self._connection.execute, self._connection.executemany
        signers = facts.signers if facts else ()
        execute(
            f"INSERT INTO entries ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,NULL)",  # noqa: S608
            (
                record.seq,
                digest,
                record.kind,
                record.blob,
                time_text(record.time),
                _dump(dict(record.labels)),
                record.target,
                record.discards,
                record.reason,
                facts.predicate_type if facts else None,
                _dump(list(signers)),
                facts.size if facts else None,
            ),
        )
        if facts:
            rows = ((digest, record.seq, algorithm, name) for name, algorithm, digest in facts.subjects)
            many("INSERT OR IGNORE INTO subjects (digest, seq, algorithm, name) VALUES (?,?,?,?)", rows)
            many("INSERT OR IGNORE INTO signers VALUES (?,?)", ((signer, record.seq) for signer in signers))
        many("INSERT INTO labels VALUES (?,?,?)", ((k, v, record.seq) for k, v in record.labels.items()))
        if record.kind == TOMBSTONE:
            execute(
                "UPDATE entries SET discarded_by=? WHERE seq=? AND kind=? AND discarded_by IS NULL",
                (record.seq, record.discards, STATEMENT),
            )

    def insert_damaged(self, seq: int, digest: str) -> None:
        """Remember that the file of an entry is there but none of ours."""
        self._connection.execute(
            "INSERT INTO entries (seq, digest, kind, blob, time, labels, signers) VALUES (?,?,?,'','','{}','[]')",
            (seq, digest, DAMAGED),
        )

    def entry(self, seq: int) -> Entry | None:
        """The entry with this number."""
        found = self._select("seq=?", [seq])
        return found[0] if found else None

    def digest(self, seq: int) -> str | None:
        """Digest of an entry, damaged ones too."""
        row = self._connection.execute("SELECT digest FROM entries WHERE seq=?", (seq,)).fetchone()
        return str(row[0]) if row else None

    def by_blob(self, prefix: str) -> list[Entry]:
        """Statements whose bundle's digest starts so, newest first."""
        return self._select("blob>=? AND blob<? AND kind=?", [prefix, prefix + "g", STATEMENT])

    def damaged(self) -> list[int]:
        """Numbers of entries that are missing or damaged, at most ten."""
        find = self._connection.execute
        # Asked at every opening: the common answer, none, has to be found without looking at each entry.
        count, last = find("SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM entries").fetchone()
        if count == last and not find("SELECT 1 FROM entries WHERE blob='' LIMIT 1").fetchone():
            return []
        rows = find("SELECT seq FROM entries WHERE kind=? ORDER BY seq LIMIT 10", (DAMAGED,)).fetchall()
        gaps = find(
            "SELECT seq+1 FROM entries e WHERE NOT EXISTS (SELECT 1 FROM entries n WHERE n.seq=e.seq+1)"
            " ORDER BY seq LIMIT 10"
        ).fetchall()
        first = [] if self.digest(1) or not self.head().seq else [1]
        head = self.head().seq
        return sorted({*first, *(row[0] for row in rows), *(row[0] for row in gaps if row[0] <= head)})

    def find(
        self,
        *,
        digest: str | None,
        name: str | None,
        shape: str | None,
        predicate_type: str | None,
        signer: str | None,
        since: datetime | None,
        until: datetime | None,
        labels: Mapping[str, str] | None,
        discarded: bool,
        limit: int | None = None,
    ) -> list[Entry]:
        """See `Store.find`."""
        where, values = query(digest, name, shape, predicate_type, signer, since, until, labels, discarded)
        return self._select(where, values, limit)

    def plan(self, where: str, values: list[Any]) -> list[str]:
        """How SQLite would look this up, a step an item."""
        rows = self._connection.execute(f"EXPLAIN QUERY PLAN {_selection(where)}", [*values, -1])
        return [str(row[3]) for row in rows]

    def tables(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Every row of every table in a fixed order, for comparing two indexes."""
        for table, key in (
            ("entries", "seq"),
            ("subjects", "seq, digest, algorithm, name"),
            ("signers", "seq, signer"),
            ("labels", "seq, key"),
        ):
            for row in self._connection.execute(f"SELECT * FROM {table} ORDER BY {key}"):  # noqa: S608
                yield table, row

    def _select(self, where: str, values: list[Any], limit: int | None = None) -> list[Entry]:
        try:
            rows = self._connection.execute(_selection(where), [*values, -1 if limit is None else limit])
            return [_entry(row) for row in rows]
        except (ValueError, TypeError, AttributeError) as error:  # not a row that `insert` wrote
            raise sqlite3.DatabaseError(str(error)) from None


def query(
    digest: str | None,
    name: str | None,
    shape: str | None,
    predicate_type: str | None,
    signer: str | None,
    since: datetime | None,
    until: datetime | None,
    labels: Mapping[str, str] | None,
    discarded: bool,
) -> tuple[str, list[Any]]:
    """A condition with its values; every part of it is answered by an index."""
    parts, values = [f"kind='{STATEMENT}'"], []
    for condition, value in (
        ("seq IN (SELECT seq FROM subjects WHERE digest=? AND algorithm<>'shape')", digest),
        ("seq IN (SELECT seq FROM subjects WHERE digest=? AND algorithm='shape')", shape),
        ("seq IN (SELECT seq FROM subjects WHERE name=?)", name),
        ("seq IN (SELECT seq FROM signers WHERE signer=?)", signer),
        ("predicate_type=?", predicate_type),
        ("seq IN (SELECT seq FROM entries WHERE time>=?)", since and time_text(since)),
        ("seq IN (SELECT seq FROM entries WHERE time<=?)", until and time_text(until)),
    ):
        if value is not None:
            parts.append(condition)
            values.append(value)
    for key, value in (labels or {}).items():
        parts.append("seq IN (SELECT seq FROM labels WHERE key=? AND value=?)")
        values += [key, value]
    if not discarded:
        parts.append("discarded_by IS NULL")
    return " AND ".join(parts), values


def file_identity(path: str) -> tuple[int, int]:
    """Device and inode of a file. Raises `OSError`, also for a symbolic link."""
    status = os.lstat(path)
    if not os.path.isfile(path) or os.path.islink(path):
        raise FileNotFoundError(path)
    return status.st_dev, status.st_ino


def _connect(uri: str) -> sqlite3.Connection:
    # Transactions are begun by hand: sqlite3's own rules for it change between versions of Python.
    return sqlite3.connect(uri, timeout=30, isolation_level=None, uri=uri.startswith("file:"))


def _quoted(path: str) -> str:
    """As a URI's path (RFC 3986, section 2.1)."""
    name = os.fsencode(os.path.abspath(path))
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in name)


_PLAIN = frozenset("/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def _selection(where: str) -> str:
    return f"SELECT {_COLUMNS} FROM entries WHERE {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _entry(row: tuple[Any, ...]) -> Entry:
    seq, digest, kind, blob, time, labels, target, discards, reason, predicate_type, signers, size, discarded_by = row
    return Entry(
        seq=seq,
        digest=digest,
        kind=kind,
        blob=blob,
        time=datetime.fromisoformat(time),
        labels=json.loads(labels),
        target=target,
        discards=discards,
        reason=reason,
        predicate_type=predicate_type,
        signers=tuple(json.loads(signers)),
        size=size,
        discarded_by=discarded_by,
    )
