"""What earlier runs saw: the state of each window and its looks, for pictures and to find batches that come twice."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assay.errors import StoreError
from assay.watch.database import Database, Row
from assay.watch.instants import microseconds, moment

KEPT = 500
"""Windows of one monitor that are kept, the newest."""

MAX_STATE = 512 << 20
"""Bytes of a state that are kept and unpacked at most, as of a baseline's."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS monitor_window (
  monitor TEXT NOT NULL,
  due BIGINT NOT NULL,
  looks TEXT NOT NULL,
  state TEXT NOT NULL,
  sums TEXT NOT NULL,
  PRIMARY KEY (monitor, due))""",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """One window."""

    monitor: str
    due: datetime
    """UTC: its end."""
    looks: tuple[Mapping[str, Any], ...]
    """As JSON-like values."""
    state: bytes
    """Of its profile."""
    sums: bytes = b""
    """What small differences have added up to, as `watch.drift.change` writes it; empty without."""


class Windows:
    """See the module."""

    def __init__(self, place: str) -> None:
        """``place`` as `Database` takes it. Raises `StoreError`."""
        self._database = Database(place, _SCHEMA)

    def keep(
        self, monitor: str, due: datetime, looks: list[Mapping[str, Any]], state: bytes, sums: bytes = b""
    ) -> None:
        """Keep one; a run that is repeated replaces what it had kept. Raises `StoreError`."""
        if len(state) > MAX_STATE:
            raise StoreError(f"the profile of the window has {len(state):,} bytes, {MAX_STATE:,} at most are kept")
        packed = base64.b64encode(zlib.compress(state)).decode()
        with self._database.transaction() as go:
            go.change("DELETE FROM monitor_window WHERE monitor = ? AND due = ?", (monitor, microseconds(due)))
            go.change(
                "INSERT INTO monitor_window VALUES (?, ?, ?, ?, ?)",
                (monitor, microseconds(due), json.dumps(looks), packed, sums.decode()),
            )
            go.change(
                "DELETE FROM monitor_window WHERE monitor = ? AND due NOT IN "
                "(SELECT due FROM monitor_window WHERE monitor = ? ORDER BY due DESC LIMIT ?)",
                (monitor, monitor, KEPT),
            )

    def last(self, monitor: str, count: int, before: datetime | None = None) -> list[Kept]:
        """The newest ``count`` windows that end before ``before``, oldest first.

        Raises `StoreError` for a window that is damaged, or larger than `MAX_STATE`.
        """
        which, parameters = ("AND due < ? ", (microseconds(before),)) if before is not None else ("", ())
        with self._database.reading() as go:
            rows = go.rows(
                f"{_ALL}WHERE monitor = ? {which}ORDER BY due DESC LIMIT ?",
                (monitor, *parameters, count),
            )
        return [_kept(row) for row in reversed(rows)]


_ALL = "SELECT monitor, due, looks, state, sums FROM monitor_window "


def _kept(row: Row) -> Kept:
    try:
        unpack = zlib.decompressobj()
        state = unpack.decompress(base64.b64decode(row[3], validate=True), MAX_STATE)
        if not unpack.eof:
            raise ValueError("it is cut off, or too large")
        return Kept(row[0], moment(row[1]), tuple(json.loads(row[2])), state, row[4].encode())
    except (ValueError, zlib.error) as error:
        kept = f"the window of {row[0]!r} that the database kept for {moment(row[1]):%Y-%m-%dT%H:%M:%SZ}"
        raise StoreError(f"{kept} is damaged: {error}") from None
