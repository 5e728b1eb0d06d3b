"""One small database for what must survive a crash: which runs and actions were taken up, and how they ended.

A SQLite file, or PostgreSQL where several machines share the work; every statement here means the same in both. What a
database says becomes a sentence that names it, without the password of its URL.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from assay.errors import MissingExtraError, StoreError, UsageError

BUSY = 10.0
"""Seconds to wait for other processes; a transaction takes milliseconds."""

Row: TypeAlias = tuple[Any, ...]


class Transaction(Protocol):
    """What a transaction offers. ``?`` stands for a parameter in both databases."""

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """What a query finds."""
        ...

    def change(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Carry out a change; how many rows it touched."""
        ...


class Database:
    """See the module. Each transaction opens its own connection: they are rare, and forks and threads do no harm."""

    def __init__(self, place: str, schema: Sequence[str]) -> None:
        """``place`` is a file's path, ``sqlite:///path`` or ``postgresql://…``; ``schema`` makes what is not there yet.

        Raises `UsageError`, `MissingExtraError` or `StoreError`.
        """
        self._server = place if place.startswith(("postgresql://", "postgres://")) else None
        if self._server is None and "://" in place and not place.startswith("sqlite:///"):
            raise UsageError(f"{_told(place)!r} is no place for a database", hint="a file, or postgresql://HOST/NAME")
        self._file = "" if self._server else os.path.abspath(place.removeprefix("sqlite:///"))
        self.name = _told(place)
        """For people: without a password."""
        if not self._server:
            _make(self._file, self.name)
        with self.transaction() as go:
            for statement in schema:
                go.change(statement)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing; on disk when it is left. Raises `StoreError`."""
        with _postgresql(self._server, self.name) if self._server else _sqlite(self._file, self.name) as opened:
            yield opened


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(statement, parameters).fetchall()

    def change(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        return self._connection.execute(statement, parameters).rowcount


class _Postgresql:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        self._cursor.execute(statement.replace("?", "%s"), parameters or None)
        found: list[Row] = self._cursor.fetchall()
        return found

    def change(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        self._cursor.execute(statement.replace("?", "%s"), parameters or None)
        return int(self._cursor.rowcount)


@contextlib.contextmanager
def _sqlite(path: str, name: str) -> Iterator[Transaction]:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")  # in WAL mode NORMAL may lose what was acknowledged
            # The write lock is taken at the start, so that what is read does not change before it is used.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield _Sqlite(connection)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
    except sqlite3.Error as error:
        raise StoreError(f"the database {name} cannot be used: {error}") from None


@contextlib.contextmanager
def _postgresql(url: str, name: str) -> Iterator[Transaction]:
    try:
        import psycopg
    except ImportError:
        raise MissingExtraError("a PostgreSQL database", "postgres") from None
    try:
        with psycopg.connect(url, connect_timeout=int(BUSY)) as connection, connection.cursor() as cursor:
            yield _Postgresql(cursor)
    except psycopg.Error as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"the database {name} cannot be used: {said.replace(url, name)}") from None


def _make(path: str, name: str) -> None:
    """An empty file that only its owner reads: names of targets and segments are nobody else's."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the database {name} cannot be made: {getattr(error, 'strerror', None) or error}") from None


def _told(place: str) -> str:
    try:
        parts = urlsplit(place)
        if not parts.hostname:
            return place
        return f"{parts.scheme}://{parts.hostname}{parts.path}"
    except ValueError:
        return place.partition("://")[0] + "://…"
