"""Sockets that a step polls already when another one takes their place: what it asked to be told moves along.

An ``epoll`` knows an open file by the file and the number that it was added under. The new socket is therefore added
under the step's own number, from a thread whose descriptors are its own: nothing of ours ever has that number.
Sources: ``epoll_ctl(2)``, ``proc_pid_fdinfo(5)``, ``unshare(2)``, ``eventpoll.c``.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import threading
from contextlib import suppress

from msgspec import Struct

from assay.collect.trace import kernel
from assay.guard.sandbox.network import sockets

_ADD, _DELETE = 1, 2  # EPOLL_CTL_ADD, EPOLL_CTL_DEL: linux/eventpoll.h
_CLONE_FILES = 0x400  # linux/sched.h
_POLLER = "anon_inode:[eventpoll]"
_ENTRY = re.compile(rb"^tfd:\s*(\d+) events:\s*([0-9a-f]+) data:\s*([0-9a-f]+)\s+pos:\S+ ino:\s*([0-9a-f]+)", re.M)


class Polled(Struct, frozen=True):
    """That a step wants to be told about one of its sockets."""

    poller: int
    """Its number of the ``epoll``."""
    events: int
    data: int
    """What the step gets back with an event."""


def polled(thread: int, number: int, inode: int) -> list[Polled]:
    """Who polls the socket that a thread calls by this number."""
    found = []
    folder = f"/proc/{thread}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                if os.readlink(f"{folder}/{name}") == _POLLER:
                    with open(f"/proc/{thread}/fdinfo/{name}", "rb") as file:
                        entries = _ENTRY.findall(file.read())
                    found += [
                        Polled(int(name), int(events, 16), int(data, 16))
                        for target, events, data, node in entries
                        if int(target) == number and int(node, 16) == inode
                    ]
    return found


def move(thread: int, number: int, old: int, new: int, entries: list[Polled]) -> bool:
    """Let those who poll the step's socket ``old`` poll ``new`` instead, under the same number; both are descriptors
    of ours. False when it cannot be done: then the step would wait for ever.
    """
    failed: list[OSError] = []

    def work() -> None:
        try:
            kernel.call("unshare", _CLONE_FILES)
            for entry in entries:
                _move(sockets.fetch(thread, entry.poller), number, old, new, entry)
        except OSError as error:
            failed.append(error)

    mover = threading.Thread(target=work)
    mover.start()
    mover.join()
    return not failed


def _move(poller: int, number: int, old: int, new: int, entry: Polled) -> None:
    """In a thread of its own, whose descriptors are gone when it ends."""
    poller, first, then = (fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, number + 1) for one in (poller, old, new))
    os.dup2(first, number, inheritable=False)
    with suppress(OSError):
        kernel.call("epoll_ctl", poller, _DELETE, number, bytes(16))
    os.dup2(then, number, inheritable=False)
    kernel.call("epoll_ctl", poller, _ADD, number, _event(entry, os.uname().machine))


def _event(entry: Polled, machine: str) -> bytes:
    """``struct epoll_event``, which has no gap on x86-64 alone (``EPOLL_PACKED``)."""
    return struct.pack("<IQ" if machine == "x86_64" else "<I4xQ", entry.events, entry.data)
