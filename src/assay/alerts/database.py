"""The outbox's SQLite file: made whole, opened checked, changed in transactions that survive a kill and a power cut.

It never leaves a half-made file, never lets others read it, and never lets an error of SQLite through: a damaged, full
or locked file is a sentence that names it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator

from assay.errors import StoreError
from assay.files import sync_directory

BUSY = 10.0
"""Seconds to wait for other processes; a transaction takes milliseconds."""

_APPLICATION = 0x61736179  # "asay"
_VERSION = 1

_SCHEMA = """
CREATE TABLE alert (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  state TEXT NOT NULL,
  time INTEGER NOT NULL,
  finding BLOB NOT NULL
);
CREATE INDEX alert_time ON alert (time);
CREATE TABLE open_finding (
  owner TEXT NOT NULL,
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  alert INTEGER NOT NULL REFERENCES alert (seq),
  PRIMARY KEY (owner, scope, key)
) WITHOUT ROWID;
CREATE INDEX open_alert ON open_finding (alert);
CREATE TABLE delivery (
  alert INTEGER NOT NULL REFERENCES alert (seq),
  sink TEXT NOT NULL,
  owner TEXT NOT NULL,
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending',
  attempts INTEGER NOT NULL DEFAULT 0,
  next_attempt INTEGER NOT NULL,
  claimed_until INTEGER NOT NULL DEFAULT 0,
  last_error TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (alert, sink)
) WITHOUT ROWID;
CREATE INDEX delivery_pending ON delivery (owner, sink, attempts, alert) WHERE state = 'pending';
CREATE INDEX delivery_of_finding ON delivery (owner, sink, scope, key, alert) WHERE state = 'pending';
CREATE INDEX delivery_state ON delivery (state);
"""


def connect(path: str) -> sqlite3.Connection:
    """The outbox in the file ``path``, made when it is not there. Raises `StoreError`."""
    with speaking(path):
        if not os.path.lexists(path):
            _make(path)
        elif os.stat(path).st_mode & 0o077:
            os.chmod(path, 0o600)  # by name: closing a descriptor of ours would drop SQLite's locks on the file
        connection = _open(path)
        try:
            names = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        except BaseException:
            connection.close()
            raise
        if names != [_APPLICATION, _VERSION]:
            connection.close()
            raise StoreError(
                f"{path} is not an outbox that this version of assay reads", hint="name another file as 'outbox'"
            )
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, path: str) -> Iterator[None]:
    """All or nothing. The write lock is taken at the start, so that what is read does not change before it is used."""
    with speaking(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def speaking(path: str) -> Iterator[None]:
    """Turn what SQLite and the file system say into a `StoreError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(f"the outbox {path} cannot be used: {error}", hint="see 'assay alerts list'") from None
    except sqlite3.Error as error:
        raise StoreError(
            f"the outbox {path} is damaged: {error}",
            hint="keep a copy and remove it; a new one is made, and what is open is announced again",
        ) from None
    except OSError as error:
        raise StoreError(f"the outbox {path} cannot be used: {error.strerror or error}") from None


def _open(path: str) -> sqlite3.Connection:
    # Transactions are begun by hand: sqlite3's own rules for it change between versions of Python.
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=FULL")  # in WAL mode NORMAL may lose what was acknowledged
        connection.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: str) -> None:
    """A whole new file under a temporary name, then linked: nobody sees it before it has its tables and its mode."""
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = os.path.join(folder, f".{os.path.basename(path)[:100]}.{secrets.token_hex(6)}.tmp")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        connection = _open(temporary)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
            connection.execute(f"PRAGMA user_version={_VERSION}")
        finally:
            connection.close()
        with contextlib.suppress(FileExistsError):  # somebody else was first, with the same tables
            os.link(temporary, path)
    finally:
        for name in (temporary, temporary + "-wal", temporary + "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    sync_directory(folder)
