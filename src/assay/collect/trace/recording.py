"""Adds up what was seen of a step: files, programs, contacts and rare calls, each once, however often it happened.

What a step does may not make the record forget: files and programs have no limit; repeated contacts and rare calls that
say nothing new are counted once, and where a limit is reached the trace says so as a `Gap`.
"""

from __future__ import annotations

import os
from stat import S_ISDIR
from time import time_ns
from typing import TypeVar

from msgspec.structs import replace

from assay.collect.trace.interface import Contact, FileUse, Gap, Process, RareCall, Stat

_MOST = 100_000
_Kept = TypeVar("_Kept", Contact, RareCall)

RACING = Gap(
    "racing-threads",
    "a thread of the step can change a path or an address while the kernel reads it: what the monitor did not do "
    "itself may have been another file or host than the one that is listed",
    ("files", "programs"),
)


def stat_of(result: os.stat_result) -> Stat:
    """The part of a ``stat`` that says which bytes were meant."""
    return Stat(
        result.st_dev, result.st_ino, result.st_size, result.st_mtime_ns, result.st_ctime_ns, result.st_mode
    )  # fmt: skip


class Recording:
    """What was seen so far."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.files: dict[bytes, FileUse] = {}
        self.contacts: list[Contact] = []
        self.calls: list[RareCall] = []
        self.gaps: dict[str, Gap] = {}
        self.events = 0
        self._said: set[object] = set()

    def gap(self, name: str, message: str, *about: str) -> None:
        """Remember a blind spot, and what it leaves open (all of it by default); the first message of a name stands."""
        if name not in self.gaps:
            self.gaps[name] = Gap(name, message, about) if about else Gap(name, message)

    def process(self, process: Process) -> int:
        """Add a program; its index."""
        self.processes.append(process)
        return len(self.processes) - 1

    def file(self, path: bytes, process: int, first: Stat | None) -> FileUse:
        """The entry of a path that is asked for now, made with ``first`` when it is new."""
        use = self.files.get(path)
        if use is None:
            use = self.files[path] = FileUse(path, first=first, at=time_ns())
        use.by.add(process)
        return use

    def keep(self, record: Contact | RareCall) -> None:
        """What an arbiter wants remembered: all of it."""
        if isinstance(record, Contact):
            self._bounded(self.contacts, record, "contacts", "network")
        else:
            self._bounded(self.calls, record, "rare calls", "programs")

    def contact(self, contact: Contact) -> None:
        """One that was only seen: the same one of the same program once."""
        if self._news(replace(contact, time=0)):
            self._bounded(self.contacts, contact, "contacts", "network")

    def rare(self, call: RareCall) -> None:
        """A rare call: the same one of the same program once."""
        if self._news(replace(call, time=0)):
            self._bounded(self.calls, call, "rare calls", "programs")

    def _news(self, key: object) -> bool:
        if key in self._said:
            return False
        if len(self._said) < 2 * _MOST:
            self._said.add(key)
        return True

    def _bounded(self, kept: list[_Kept], record: _Kept, what: str, about: str) -> None:
        if len(kept) < _MOST:
            kept.append(record)
        else:
            self.gap(f"too-many-{what.replace(' ', '-')}", f"only the first {_MOST:,} {what} are listed", about)


def opened(use: FileUse, flags: int) -> None:
    """Count an open by its flags (asm-generic/fcntl.h)."""
    directory = use.first is not None and S_ISDIR(use.first.mode)
    writes = flags & os.O_ACCMODE != os.O_RDONLY
    creates = flags & os.O_CREAT and use.first is None and not use.written
    if flags & os.O_PATH:
        # Nothing can be read through it, but it names a place that later calls start from.
        if directory or flags & os.O_DIRECTORY:
            use.listed += 1
        return
    if flags & os.O_EXCL and flags & os.O_CREAT and use.first is None:
        use.exclusive = True
    if writes or flags & os.O_TRUNC or creates:
        use.written += 1
    if flags & os.O_ACCMODE in (os.O_RDONLY, os.O_RDWR):
        if directory or flags & os.O_DIRECTORY:
            use.listed += not writes
        else:
            use.read += 1
