"""A worker's life: open files come in over a socket, findings go out, until the socket closes or a file kills it.

It runs with limits on memory and CPU that fit the file at hand. It must never run anything of its parent's, keep a
parent's file open, or let one file's state reach the next: what a crash leaves behind ends with the process.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

import msgspec

from assay.collect.scan.models.interface import Finding, Limits, Rules
from assay.collect.scan.models.judging import Judge, Judged, judge
from assay.collect.scan.models.pickle import machine

HEADER = struct.Struct("<cI")
"""Kind and length of a frame."""

FRAME = 1 << 20
"""Largest frame that a parent reads."""

START, FILE, DIGEST, FINDING, DONE = b"S", b"Q", b"H", b"F", b"D"
"""Kinds: what a spawned worker needs; a file to judge; then its digest, each finding, and its end."""

LEAST = 4
"""CPU seconds that the smallest file may take: a thousand times what it takes, and too few for a bomb to be felt."""

BYTES_A_SECOND = 10_000_000
"""The slowest honest file, in bytes for a second of CPU: weights that bzip2 or xz packed, a pickle of protocol 0."""

BOMB = 10
"""A file that takes so many times longer than the slowest honest one of its size is none."""

LARGE = 32 << 20
"""Bytes from which on a file may take more than `Limits.memory`, and is the last one of its worker."""

PER_BYTE = 16
"""Address space for each byte beyond `LARGE`: what a pickle of small objects takes when it is read."""

_encoder = msgspec.msgpack.Encoder()


class Request(msgspec.Struct, array_like=True):
    """One file to judge; its descriptor comes with the frame."""

    path: str
    size: int
    digest: bool
    known: bytes | None


class Start(msgspec.Struct, array_like=True):
    """What every file is judged by; for a worker that was not forked."""

    work: bytes
    """Pickled by the parent: rules, limits, the target's files, the judging function."""


def seconds_for(size: int, limits: Limits) -> int:
    """CPU seconds that scanning a file of ``size`` bytes may take, without its digest."""
    return int(min(limits.seconds, LEAST + size / BYTES_A_SECOND))


def is_bomb(size: int, limits: Limits) -> bool:
    """Whether a file that used up its CPU time is a bomb. Otherwise it was only too large to be scanned in that time.

    It is one where the time was enough for any honest file of its size, many times over (`BOMB`).
    """
    return seconds_for(size, limits) >= max(LEAST, BOMB * size / BYTES_A_SECOND)


def memory_for(size: int, limits: Limits, base: int) -> int:
    """Bytes of address space that a worker may have while it scans; ``base`` is what it has before."""
    return max(limits.memory, base + limits.memory * 3 // 4) + PER_BYTE * max(0, size - LARGE)


def serve(
    channel: socket.socket,
    rules: Rules,
    limits: Limits,
    siblings: Mapping[str, int],
    by: Judge,
) -> None:
    """Judge files until the other end closes."""
    base = _address_space()
    while (received := receive(channel)) is not None:
        kind, payload, descriptors = received
        if kind != FILE or len(descriptors) != 1:
            raise ValueError("not a request for one file")
        request = msgspec.msgpack.decode(payload, type=Request)
        _limit(base, request, limits)
        gc.disable()
        if request.size >= LARGE:
            machine.kept = []  # the parent ends this process after the file, and with it what is in there
        with os.fdopen(descriptors[0], "rb") as file:
            done = judge(
                file,
                request.path,
                request.size,
                rules,
                limits,
                siblings,
                by,
                lambda finding: _say(channel, finding),
                digest=partial(_digested, channel, request.size, limits) if request.digest else None,
                known=request.known,
            )
        send(channel, DONE, _encoder.encode(done))
        if request.size < LARGE:
            gc.enable()


def _say(channel: socket.socket, finding: Finding) -> None:
    send(channel, FINDING, _encoder.encode(finding))


def _digested(channel: socket.socket, size: int, limits: Limits, sha256: bytes) -> None:
    """Tell the digest. Computing it took as long as it takes: what a file may cost counts from here."""
    send(channel, DIGEST, sha256)
    _limit_time(size, limits)


def _limit(base: int, request: Request, limits: Limits) -> None:
    """Limits for one more file: address space, and CPU time counted from now."""
    size = request.size
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = memory_for(size, limits, base)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    if not request.digest:
        _limit_time(size, limits)
    else:
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def _limit_time(size: int, limits: Limits) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(time.process_time()) + 1 + seconds_for(size, limits)
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _address_space() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 1 << 30


def send(channel: socket.socket, kind: bytes, payload: bytes, descriptors: list[int] | None = None) -> None:
    """One frame, with descriptors."""
    data = HEADER.pack(kind, len(payload)) + payload
    if descriptors:
        sent = socket.send_fds(channel, [data], descriptors)
        data = data[sent:]
    if data:
        channel.sendall(data)


def receive(channel: socket.socket) -> tuple[bytes, bytes, list[int]] | None:
    """The next frame, waiting for it; None where the other end has closed."""
    head, descriptors, _, _ = socket.recv_fds(channel, HEADER.size, 1)
    if not head:
        return None
    head += _exactly(channel, HEADER.size - len(head))
    kind, length = HEADER.unpack(head)
    return kind, _exactly(channel, length), descriptors


def _exactly(channel: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = channel.recv(min(length - len(parts), 1 << 20))
        if not part:
            raise EOFError("the other end closed within a frame")
        parts += part
    return bytes(parts)


def live(channel: socket.socket, *work: Any) -> NoReturn:
    """A forked worker's whole life: nothing that the parent has registered ever runs here."""
    try:
        settle(channel.fileno())
        serve(channel, *work)
    finally:
        os._exit(0)  # the parent sees the closed socket, and says which file it was


def settle(keep: int) -> None:
    """No core files, signals that end this process quietly, and none of the parent's open files but ``keep``."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        inherited = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        inherited = [0, 1, 2]
    for descriptor in inherited:
        if descriptor not in (keep, nowhere):
            # Not closed: an object of the parent's that dies here would close whatever has its number by then.
            with contextlib.suppress(OSError):
                os.dup2(nowhere, descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT, signal.SIGXCPU):
        signal.signal(one, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def main(descriptor: int) -> NoReturn:
    """A spawned worker: what a forked one inherits comes as the first frame, from the process that started this one."""
    import pickle

    channel = socket.socket(fileno=descriptor)
    received = receive(channel)
    if received is None or received[0] != START:
        os._exit(0)
    start = msgspec.msgpack.decode(received[1], type=Start)
    work = pickle.loads(start.work)  # noqa: S301  (of our own parent, over a socket that nobody else has)
    live(channel, *work)


__all__ = ["Judged", "live", "main", "receive", "send", "serve"]
