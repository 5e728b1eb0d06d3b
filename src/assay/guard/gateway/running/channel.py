"""Messages between workers and keeper: length, then MessagePack, over a unix socket of the same user.

A sender never waits: what does not fit into its buffer is dropped, and counted by whoever sends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from assay.guard.gateway.interface import Decision, Sample, Standing

LARGEST = 256 << 20
"""Longest message, in bytes; a peer that announces a longer one is hung up on."""

WAITING = 32 << 20
"""Bytes that may wait to be sent; where there are more, messages are dropped."""

_LENGTH = struct.Struct("<I")


class Samples(msgspec.Struct, tag="samples", array_like=True):
    """From a worker: requests that have ended."""

    samples: list[Sample]


class Figures(msgspec.Struct, tag="figures", array_like=True):
    """From a worker: what its counters have gained, and how things stand with it."""

    worker: int
    deltas: dict[str, Any]
    levels: dict[str, float]
    """Open connections and the like, by name: not sums but states."""


class Standings(msgspec.Struct, tag="standings", array_like=True):
    """From the keeper: what changed; None: the key has no standing any more."""

    changes: list[tuple[str, Standing | None]]


class Proved(msgspec.Struct, tag="proved", array_like=True):
    """From the keeper: what is known of the model."""

    refusal: Decision | None
    version: str
    about: str
    """`proving.about` of the settings that name the model: an answer about another one is none."""
    known: bool = True
    """False: it is still being looked at for the first time."""
    file: str = ""
    """`proving.fingerprint` of the keeper's settings."""


Message = Samples | Figures | Standings | Proved

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """With its length before it."""
    data = _encoder.encode(message)
    return _LENGTH.pack(len(data)) + data


def send(writer: asyncio.StreamWriter, data: bytes) -> bool:
    """Hand encoded bytes to the socket; False: they were dropped, since the other end does not keep up."""
    if writer.is_closing() or writer.transport.get_write_buffer_size() > WAITING:
        return False
    writer.write(data)
    return True


async def messages(reader: asyncio.StreamReader) -> AsyncIterator[Message]:
    """What the other end sends, until it is gone or sends what is no message."""
    while True:
        try:
            (length,) = _LENGTH.unpack(await reader.readexactly(4))
            if length > LARGEST:
                return
            yield _decoder.decode(await reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError):
            return


def same_user(writer: asyncio.StreamWriter) -> bool:
    """Whether the other end runs as we do (unix(7), SO_PEERCRED)."""
    peer = writer.get_extra_info("socket")
    _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(user == os.geteuid())
