"""What this machine, user and container let us do, found out by doing it in a child that then ends.

Nothing is concluded from a kernel's version or a platform's name: the same kernel says yes on a laptop and no in a
container. What a probe did not try does not work.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from functools import cache

from assay.guard.sandbox import landlock, namespaces
from assay.guard.sandbox.interface import Place

_PIDFD_GETFD = 438
_IO_URING_SETUP = 425


@cache
def probe() -> Place:
    """Everything at once; remembered as long as the process lives."""
    from assay.collect.trace.tracers import TRACERS

    version = landlock.abi()
    works = {tracer.name: tracer.available() for tracer in TRACERS.values()}
    works |= {"landlock": None if version else "the kernel has no Landlock, or a filter refuses it"}
    works |= _in_child(_namespaces)
    works |= _in_child(_calls)
    return Place(works, version, platform.release(), platform.machine())


def _in_child(attempts: Callable[[], Iterator[tuple[str, str | None]]]) -> dict[str, str | None]:
    """What ``attempts`` yields in a child of its own. What it did not come to is said to fail with it."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reads)
            os.write(writes, json.dumps(dict(attempts())).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return dict(json.loads(told)) if told else {}


def _try(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except OSError as error:
        return str(error)
    return None


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


def _mounts() -> None:
    namespaces.unshare(namespaces.NEWNS)
    namespaces.mount("none", "/", flags=namespaces.RECURSIVE | namespaces.PRIVATE)
    namespaces.mount("tmpfs", tempfile.gettempdir(), "tmpfs")


def _overlay() -> None:
    base = tempfile.gettempdir()
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{base}/{name}")
    layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
    namespaces.mount("overlay", f"{base}/merged", "overlay", options=f"{layers},userxattr,volatile")


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
