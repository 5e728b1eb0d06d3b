"""The rows of one SQL statement: SQLite by a connection that can only read, PostgreSQL by a cursor of the server.

The statement runs in a read-only transaction. User and password of the URL appear in no name, note or error.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import polars as pl

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources import values
from assay.collect.profile.sources.interface import BYTES, Notes, Origin
from assay.collect.profile.sources.shape import even, repeated
from assay.errors import DocumentError, MissingExtraError, UndecidedError, UsageError

BATCH = 16_384
"""Rows that are fetched at a time, fewer if they are long."""

FIRST = 256
"""Rows of the first batch, whose length says how many the next ones are."""

SCHEMES = ("sqlite", "postgresql", "postgres")

READS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
"""What a statement may do in SQLite; attaching other files, pragmas and writing are not among it."""


class Query:
    """The rows of one statement."""

    keys: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()
    rows: int | None = None

    def __init__(self, url: str, statement: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise UsageError(
                f"the database scheme {parts.scheme!r} is unknown", hint=f"use one of {', '.join(SCHEMES)}"
            )
        if not statement.strip():
            raise UsageError("there is no SQL statement to run")
        self._url, self._statement = url, statement
        self._sqlite = parts.scheme == "sqlite"
        place = url.partition("://")[2].removeprefix("/") if self._sqlite else f"{parts.hostname or ''}{parts.path}"
        self._path = place
        self.name = f"{parts.scheme}:{place}"
        self.origin = Origin("sql", (place,) if self._sqlite else (), statement, self.name)
        self.notes = Notes()

    def expect(self, kinds: Mapping[str, Kind]) -> None:
        """Databases know their types; what SQLite mixes becomes text."""

    def schema(self) -> Mapping[str, pl.DataType]:
        """Of the first rows."""
        return next(iter(self.frames())).schema

    def frames(self, only: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
        """As the server sends them. An order is the statement's business."""
        self.notes = Notes()
        yield from even(self._read_sqlite() if self._sqlite else self._read_postgres(), self.name, self.notes)

    def _read_sqlite(self) -> Iterator[pl.DataFrame]:
        try:
            address = f"file:{quote(self._path)}?mode=ro"
            with contextlib.closing(sqlite3.connect(address, uri=True, check_same_thread=False)) as connection:
                connection.text_factory = _lenient
                connection.execute("begin")
                connection.set_authorizer(
                    lambda action, *_: sqlite3.SQLITE_OK if action in READS else sqlite3.SQLITE_DENY
                )
                cursor = connection.execute(self._statement)
                yield from self._fetch(cursor.description, cursor.fetchmany)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise DocumentError(f"{self.name}, after row {self.notes.rows:,}: {error}") from None

    def _read_postgres(self) -> Iterator[pl.DataFrame]:
        try:
            import psycopg
        except ImportError:
            raise MissingExtraError("reading from PostgreSQL", "postgres") from None
        try:
            connection = psycopg.connect(self._url, connect_timeout=20)
        except psycopg.Error as error:
            said = _public(error, self._url)
            raise UndecidedError(f"{self.name} cannot be reached: {said}", hint="is the address right?") from None
        try:
            with contextlib.closing(connection):
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                with connection.cursor(name="assay") as cursor:
                    cursor.execute(self._statement.rstrip().rstrip(";"))
                    yield from self._fetch(cursor.description, cursor.fetchmany)
        except psycopg.Error as error:
            said = _public(error, self._url)
            raise DocumentError(f"{self.name}, after row {self.notes.rows:,}: {said}") from None

    def _fetch(self, description: Any, fetch: Callable[[int], list[tuple[Any, ...]]]) -> Iterator[pl.DataFrame]:
        """Batches of about `BYTES`: the size of the last one tells how many rows the next has."""
        if description is None:
            raise UsageError(f"the statement for {self.name} gives no rows", hint="it must be one SELECT")
        names = [str(entry[0]) for entry in description]
        repeated(names, f"the answer of {self.name}")
        count = FIRST
        empty = True
        while rows := fetch(count):
            frames = values.frames(dict(zip(names, zip(*rows, strict=True), strict=True)))
            yield from frames
            empty = False
            size = sum(int(frame.estimated_size()) for frame in frames)
            count = max(1, min(BATCH, BYTES * len(rows) // max(8 * size, 1)))
        if empty:
            yield pl.DataFrame(schema=dict.fromkeys(names, pl.Null))


def _lenient(data: bytes) -> str:
    """SQLite's text, which need not be UTF-8."""
    return data.decode(errors="replace")


def _public(error: Exception, url: str) -> str:
    """The first line of an error, without the password."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    password = urlsplit(url).password
    return said.replace(password, "…") if password else said
