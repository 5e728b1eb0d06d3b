"""What this machine, user and container let us do, found out by doing it in a child that then ends.

Nothing is concluded from a kernel's version or a platform's name: the same kernel says yes on a laptop and no in a
container. What a probe did not try does not work.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Iterator
from functools import cache

from assay.guard.sandbox import landlock, mounts, namespaces, remembered
from assay.guard.sandbox.interface import Place

_PIDFD_GETFD = 438
_IO_URING_SETUP = 425


@cache
def probe(tracer: str | None = None, *, everything: bool = False) -> Place:
    """What works here; remembered as long as the process lives. Of the tracers, only the best one that works is tried,
    and ``tracer``, unless ``everything`` is asked for. Where all of it worked the last time, it is not tried again.
    """
    version = landlock.abi()
    usual = tracer is None and not everything
    works = remembered.recall() if usual and version else None
    if works is None:
        works = {
            **_tracers(tracer, everything=everything),
            "landlock": None if version else "the kernel has no Landlock, or a filter refuses it",
            **_in_child(_calls_and_namespaces),
        }
        if usual:
            remembered.remember(works)
    return Place(works, version, os.uname().release, os.uname().machine)


def forget() -> None:
    """Something that should work did not: the next one tries all of it again."""
    probe.cache_clear()
    remembered.forget()


def _tracers(named: str | None, *, everything: bool) -> dict[str, str | None]:
    from assay.collect.trace.tracers import TRACERS

    works: dict[str, str | None] = {}
    for tracer in TRACERS.values():
        if everything or tracer.name == named or None not in works.values():
            works[tracer.name] = tracer.available()
        else:
            works[tracer.name] = "it was not tried: a better one works"
    return works


def _in_child(attempts: Callable[[], Iterator[tuple[str, str | None]]]) -> dict[str, str | None]:
    """What ``attempts`` yields in a child of its own; as far as it came, when it ends early."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reads)
            for name, why in attempts():
                os.write(writes, json.dumps([name, why]).encode() + b"\n")
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as answer:
        told = [json.loads(line) for line in answer]
    os.waitpid(child, 0)
    return dict(told)


def _try(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except OSError as error:
        return str(error)
    return None


def _calls_and_namespaces() -> Iterator[tuple[str, str | None]]:
    """In one child, since it is the forks that cost; the namespaces last, because they change where it is."""
    yield from _calls()
    yield from _namespaces()


def _namespaces() -> Iterator[tuple[str, str | None]]:
    """Each one needs those before it."""
    failed = _try(namespaces.new_user)
    yield "user-namespace", failed
    for name, attempt in (("network-namespace", _network), ("mount-namespace", _mounts), ("overlay", _overlay)):
        failed = failed or _try(attempt)
        yield name, failed


def _network() -> None:
    namespaces.unshare(namespaces.NEWNET)
    namespaces.loopback_up()


_BASE = "/proc"
"""What the file system of the probe is mounted over, in the child's own view: a folder that is everywhere."""


def _mounts() -> None:
    mounts.read_only([_BASE], programs=False)


def _overlay() -> None:
    namespaces.mount("tmpfs", _BASE, "tmpfs")
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{_BASE}/{name}")
    layers = f"lowerdir={_BASE}/lower,upperdir={_BASE}/upper,workdir={_BASE}/work"
    namespaces.mount("overlay", f"{_BASE}/merged", "overlay", options=f"{layers},userxattr,volatile")


def _calls() -> Iterator[tuple[str, str | None]]:
    yield "pidfd-getfd", _try(_getfd)
    yield "io-uring", _try(_ring)


def _getfd() -> None:
    """Fetching a descriptor from a child of ours, as the monitor would."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if not child:
        import signal

        signal.pause()
    try:
        pidfd = os.pidfd_open(child)
        if libc.syscall(_PIDFD_GETFD, pidfd, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def _ring() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_IO_URING_SETUP, 1, ctypes.create_string_buffer(120)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
