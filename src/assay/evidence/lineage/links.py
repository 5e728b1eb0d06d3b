"""Which entries of a store speak of which digest, and how: the materials too, which the store's own index leaves out.

A temporary database that SQLite keeps in memory while it is small and on disk when it is not. It is believed for
finding only. This module loads SQLite; import it when lineage is asked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from assay.evidence.lineage.interface import EMPTY, FOLDER, INPUT, MEMBER, OUTPUT, SAME, SUBJECT, Said
from assay.evidence.statement import STRONG


class Links:
    """Add all of them, then ask."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        for text in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF"):
            self._db.execute(text)
        self._db.execute("CREATE TABLE links (key BLOB NOT NULL, role INTEGER NOT NULL, seq INTEGER NOT NULL)")
        self._db.execute("BEGIN")  # it is nobody's but ours, and gone afterwards: one transaction is cheapest
        self._ready = False

    def add(self, seq: int, said: Said) -> None:
        """What one entry speaks of."""
        self._db.executemany("INSERT INTO links VALUES (?,?,?)", ((_short(k), role, seq) for k, role in rows(said)))

    def entries(self, key: str, role: int) -> list[int]:
        """Numbers of the entries, newest first."""
        found = self._asked().execute(
            "SELECT DISTINCT seq FROM links WHERE key=? AND role=? ORDER BY seq DESC", (_short(key), role)
        )
        return [row[0] for row in found]

    def sharing(self, seq: int, role: int) -> list[int]:
        """Numbers of the entries that speak as ``role`` of a file that the entry ``seq`` lists, newest first."""
        found = self._asked().execute(
            "SELECT DISTINCT o.seq FROM links m JOIN links o ON o.key=m.key AND o.role=? WHERE m.seq=? AND m.role=?"
            " ORDER BY o.seq DESC",
            (role, seq, MEMBER),
        )
        return [row[0] for row in found]

    def close(self) -> None:
        """Let go of it."""
        self._db.close()

    def _asked(self) -> sqlite3.Connection:
        if not self._ready:
            self._db.execute("CREATE INDEX by_key ON links (key, role, seq)")
            self._db.execute("CREATE INDEX by_entry ON links (seq, role, key)")
            self._ready = True
        return self._db


def rows(said: Said) -> Iterator[tuple[str, int]]:
    """Key and role of everything that a statement speaks of by a digest that joins."""
    found = {(item.key, SUBJECT) for item in said.subjects if item.joins}
    found |= {(key, role) for group in said.same for key in group if key != EMPTY for role in (SUBJECT, SAME)}
    found |= {(item.key, FOLDER) for item in said.subjects if said.members and item.joins}
    for act in said.acts:
        found |= {(item.key, INPUT) for item in act.inputs if item.joins}
        found |= {(item.key, OUTPUT) for item in act.outputs if item.joins}
    found |= {(key, MEMBER) for key in said.members if key.partition(":")[0] in STRONG and key != EMPTY}
    return iter(found)


def _short(key: str) -> bytes:
    """SHA-256, which nearly all are, as its 32 bytes; any other as text, which is longer."""
    algorithm, _, value = key.partition(":")
    return bytes.fromhex(value) if algorithm == "sha256" else key.encode()
