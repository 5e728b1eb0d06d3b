"""Calls that reach out over sockets: whom they name, and over which kind of socket.

What flows over a socket that is connected is not looked at; a call without an address says nothing new.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping, Sequence
from time import time_ns

from assay.collect.trace.calls import AT_FDCWD, Call, GoneError
from assay.collect.trace.filters import Condition
from assay.collect.trace.interface import Contact, Decision

# Families without a name in Python's socket module everywhere: linux/socket.h
_FAMILIES = {1: "unix", 2: "inet", 10: "inet6", 16: "netlink", 17: "packet", 29: "can", 31: "bluetooth", 38: "alg",
             40: "vsock", 43: "smc", 44: "xdp"}  # fmt: skip
_ORDINARY = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
_TRANSPORTS = {"ping": "icmp", "pingv6": "icmp", "tcpv6": "tcp", "udpv6": "udp", "rawv6": "raw", "udp-lite": "udplite"}
_KIND = 0xF  # SOCK_TYPE_MASK, linux/net.h
_ADDRESS_MOST = 128  # sizeof(struct sockaddr_storage)
_MESSAGES_MOST = 64

WATCHED: Mapping[str, Sequence[Sequence[Condition]]] = {
    "connect": ((),),
    "bind": ((),),
    "sendto": (((4, "!=", 0),),),
    "sendmsg": ((),),
    "sendmmsg": ((),),
    # Ordinary sockets are told by what they connect to; others by being made.
    "socket": (
        (*((0, "!=", family) for family in _ORDINARY),),
        ((0, "!=", socket.AF_UNIX), (0, "!=", socket.AF_NETLINK), (1, "&", 2), (1, "&", 1)),
    ),
}


def handle(call: Call, decision: Decision, rule: str = "", error: int | None = None) -> None:
    """Record whom it reaches out to. Raises `GoneError` when the caller does not wait any more."""
    if call.name == "socket":
        number, kind, protocol = call.number(0), call.number(1) & _KIND, call.number(2)
        transport = {1: "tcp", 2: "udp", 3: "raw"}.get(kind, str(kind)) if number in (2, 10) else "raw"
        _keep(call, _family(number), transport, str(protocol), None, decision, rule, error)
        return
    descriptor = call.number(0)
    addresses = _addresses(call)
    if not addresses:
        return
    transport = _transport(call, descriptor)
    if not call.alive():
        raise GoneError
    for raw in addresses:
        family, address, port = parse(raw)
        if family == "unix" and address and address[0] not in "/@":
            address = os.fsdecode(call.absolute(AT_FDCWD, os.fsencode(address))) or address
        if family == "unspec":
            continue  # dissolves a connection
        if family == "unix" and call.name != "bind":
            call.world.recording.gap(
                "shared-descriptors",
                "the step talked over Unix sockets: files that another program opened and handed over are not seen",
                "files",
            )
        _keep(call, family, transport, address, port, decision, rule, error)


def _keep(
    call: Call,
    family: str,
    transport: str,
    address: str,
    port: int | None,
    decision: Decision,
    rule: str,
    error: int | None,
) -> None:
    call.world.recording.contact(
        Contact(time_ns(), call.index, call.name, family, transport, address, port, None, decision, rule, error)
    )


def _addresses(call: Call) -> list[bytes]:
    arguments = call.arguments
    match call.name:
        case "sendto":
            return [_address(call, arguments[4], call.number(5))]
        case "sendmsg":
            return _of_message(call, arguments[1])
        case "sendmmsg":
            # struct mmsghdr: struct msghdr (56 bytes), unsigned int, padding
            count = min(arguments[2] & 0xFFFFFFFF, _MESSAGES_MOST)
            return [raw for at in range(count) for raw in _of_message(call, arguments[1] + 64 * at)]
    return [_address(call, arguments[1], call.number(2))]


def _of_message(call: Call, address: int) -> list[bytes]:
    header = call.memory(address, 16)
    if len(header) < 16:
        return []
    name, length = struct.unpack("<Qi", header[:12])
    return [_address(call, name, length)] if name and length > 0 else []


def _address(call: Call, address: int, length: int) -> bytes:
    return call.memory(address, max(0, min(length, _ADDRESS_MOST)))


def _family(number: int) -> str:
    return _FAMILIES.get(number, f"family-{number}")


def parse(raw: bytes) -> tuple[str, str, int | None]:
    """(family, address, port) of a ``struct sockaddr``; empty parts where it is too short to hold them."""
    if len(raw) < 2:
        return "unspec", "", None
    number = int.from_bytes(raw[:2], "little")
    match number:
        case 0:
            return "unspec", "", None
        case 1:
            name = raw[2:]
            if name[:1] == b"\0":
                return "unix", "@" + os.fsdecode(name[1:]).rstrip("\0").replace("\0", "@"), None
            return "unix", os.fsdecode(name.split(b"\0")[0]), None
        case 2 if len(raw) >= 8:
            return "inet", socket.inet_ntop(socket.AF_INET, raw[4:8]), int.from_bytes(raw[2:4], "big")
        case 10 if len(raw) >= 24:
            return "inet6", socket.inet_ntop(socket.AF_INET6, raw[8:24]), int.from_bytes(raw[2:4], "big")
        case 16 if len(raw) >= 12:
            return "netlink", str(int.from_bytes(raw[4:8], "little")), None
        case 40 if len(raw) >= 12:
            port, identity = struct.unpack("<II", raw[4:12])  # struct sockaddr_vm
            return "vsock", str(identity), port
    return _family(number), "", None


def _transport(call: Call, descriptor: int) -> str:
    """What the kernel calls the socket's protocol (``sockfs_xattr_get``, net/socket.c); empty when it will not tell."""
    try:
        name = os.getxattr(f"/proc/{call.thread}/fd/{descriptor}", "system.sockprotoname")
    except OSError:
        return ""
    text = name.rstrip(b"\0").decode("ascii", "replace").lower()
    return "unix" if text.startswith("unix") else _TRANSPORTS.get(text, text)
