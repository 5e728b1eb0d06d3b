"""What a store is to everything above: entries that are only ever added, found by what their statements claim.

A store answers "what do we have about this digest?"; who signed it is asked of the verifier, with the bytes that
`Store.read` returns. An entry's facts about its statement are claims, for finding it, and never proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Protocol

from msgspec import Struct, field

STATEMENT = "statement"
"""Kind of an entry that adds a bundle."""
TOMBSTONE = "tombstone"
"""Kind of an entry that discards an earlier one."""


class Head(Struct, frozen=True):
    """The newest entry of a log. Through the links it stands for the whole history before it."""

    seq: int
    """Number of the entry; 0 for an empty store."""
    digest: str
    """Hex SHA-256 of the entry; 64 zeros for an empty store."""

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"


class Entry(Struct, frozen=True):
    """One entry of a store's log, with what the index says about its statement."""

    seq: int
    """Number, from 1 without gaps."""
    digest: str
    """Hex SHA-256 of the entry itself, which the next entry names."""
    kind: str
    """`STATEMENT` or `TOMBSTONE`."""
    blob: str
    """Hex SHA-256 of the bundle's bytes; a tombstone has that of the entry that it discards."""
    time: datetime
    """When it was added, UTC, by the clock of whoever added it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Given by whoever added it; not signed."""
    target: str | None = None
    """The reference under which the target was attested; not signed."""
    discards: int | None = None
    """Tombstones only: the number of the discarded entry."""
    reason: str | None = None
    """Tombstones only: why."""
    predicate_type: str | None = None
    """As the statement claims; None for a tombstone and for a bundle that can no longer be read."""
    signers: tuple[str, ...] = ()
    """Key ids and certificate identities as the bundle claims them."""
    size: int | None = None
    """Bytes of the statement."""
    discarded_by: int | None = None
    """Number of the tombstone that discards this entry."""

    @property
    def discarded(self) -> bool:
        """Whether a later entry discards this one."""
        return self.discarded_by is not None


class Report(Struct, frozen=True):
    """What a check of a whole store found."""

    entries: int
    """How many entries the log has, tombstones included."""
    head: Head
    """The newest entry: what to pass as the expected head next time."""
    problems: tuple[str, ...]
    """One sentence each, naming the entry or file. Empty: nothing was removed, replaced, reordered or edited."""
    unlinked: int = 0
    """Bundles that no entry names: left by an interrupted command, or by a log that was cut."""


class Store(Protocol):
    """A store that is open, for one thread. Use it as a context manager, or close it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should hear about the store so far: an index rebuilt, a history shorter than last seen."""
        ...

    @property
    def doubts(self) -> tuple[str, ...]:
        """The notes that mean that entries may be missing: a history cut, replaced or damaged."""
        ...

    def add(self, bundle: bytes, *, now: datetime, labels: Mapping[str, str] = ..., target: str | None = None) -> Entry:
        """Keep one bundle, byte for byte. When it returns, the entry survives a kill and a power cut.

        ``now`` must have a time zone. The same bytes again return the entry that is there, with its own labels,
        unless that was discarded. Raises `DocumentError` for what is not one bundle with a statement, `UsageError`
        for labels or a target that cannot be kept, `StoreError` for a store that is full, locked, damaged or not
        writable; nothing was added then.
        """
        ...

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
        """Entries of statements that have all that is asked for, newest first; all of them when nothing is.

        ``digest`` is the hex digest of a subject, whatever its algorithm, or its ``contents``, ``gitCommit`` or
        ``gitTree``; ``name`` a subject's name, ``shape`` the digest of a target's names and sizes, ``signer`` a key
        id or certificate identity as claimed. ``since`` and ``until`` are inclusive. With ``discarded``, discarded
        entries are in the list too; ``limit`` is the number of entries at most.
        """
        ...

    def get(self, name: str) -> Entry:
        """The entry with this number, or whose bundle's digest starts with these (at least 4) hex digits.

        A name of decimal digits is taken for a number when there is such an entry. Raises `UndecidedError` when there
        is none, `UsageError` for a prefix of several.
        """
        ...

    def read(self, entry: Entry) -> bytes:
        """The bundle's bytes, after comparing the entry with the log and the bytes with their digest (`StoreError`)."""
        ...

    def discard(self, entry: Entry, *, reason: str, now: datetime) -> Entry:
        """Add a tombstone that says why ``entry`` does not count any more. Nothing is removed.

        Raises `UsageError` for an entry that is already discarded or is itself a tombstone.
        """
        ...

    def check(self, expect_head: str | None = None) -> Report:
        """Read everything again and compare every link, digest and index row.

        ``expect_head`` is a head noted earlier, ``SEQ:DIGEST`` or its digest alone: the log must still contain it.
        """
        ...

    def head(self) -> Head:
        """The newest entry."""
        ...

    def export(self, entries: Iterable[Entry]) -> bytes:
        """The entries' bundles as JSON Lines (``.intoto.jsonl``), in the order given; tombstones are left out."""
        ...

    def close(self) -> None:
        """Let go of the index."""
        ...

    def __enter__(self) -> Store: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
