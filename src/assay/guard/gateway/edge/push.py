"""Denied addresses to an edge that runs: nginx by a file and a reload, HAProxy by its runtime API. The file is written
first, so that a restart remembers; an edge that does not listen is told as an error, never taken for done.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable

from assay.errors import UndecidedError, UsageError
from assay.files import read_file, write_atomic
from assay.guard.gateway.edge import haproxy, nginx, words

_LONGEST = 10.0
"""Seconds that the runtime API may take for one command."""


def push(addresses: Iterable[str], kind: str, place: str) -> None:
    """Make ``addresses`` (networks too) the whole list of what is denied beside the exported one.

    ``kind``: ``nginx`` or ``haproxy``; ``place``: the folder of its export. Raises `DocumentError` for what is no
    address, `UsageError` for a folder that is none, `UndecidedError` where the edge did not take it over.
    """
    wanted = sorted({str(words.network(one, "denied")) for one in addresses})
    if kind == "nginx":
        _nginx(wanted, place)
    elif kind == "haproxy":
        _haproxy(wanted, place)
    else:
        raise UsageError(f"addresses cannot be pushed to {kind[:40]!r}", hint="there are: nginx, haproxy")


def _nginx(wanted: list[str], place: str) -> None:
    _of_an_export(place, nginx.MAIN)
    write_atomic(os.path.join(place, nginx.PUSHED), nginx.addresses(wanted))
    try:
        process = int(read_file(os.path.join(place, "nginx.pid"), 32))
        # The number may be left behind by an nginx that crashed, and be another's by now: that one would end.
        if not read_file(f"/proc/{process}/cmdline", 1 << 16).startswith(b"nginx: master process"):
            raise ValueError
        os.kill(process, signal.SIGHUP)
    except (UsageError, ValueError, OSError):
        raise UndecidedError(
            f"the list is written, but nginx in {place} could not be told to read it",
            hint="it is read when nginx starts; or run: nginx -s reload",
        ) from None


def _haproxy(wanted: list[str], place: str) -> None:
    _of_an_export(place, haproxy.MAIN)
    write_atomic(os.path.join(place, haproxy.PUSHED), "".join(f"{one} 1\n" for one in wanted).encode())
    name = os.path.join(place, haproxy.SOCKET)
    try:
        # A map of its own name in the process: its entries are listed as "id key value".
        shown = _command(name, f"show map {haproxy.PUSHED}")
        there = {parts[1] for line in shown.splitlines() if len(parts := line.split()) >= 2 and parts[0] != "#"}
        commands = [f"add map {haproxy.PUSHED} {one} 1" for one in wanted if one not in there]
        commands += [f"del map {haproxy.PUSHED} {one}" for one in sorted(there - set(wanted))]
        for i in range(0, len(commands), 50):  # a command line has room for so many
            answer = _command(name, "; ".join(commands[i : i + 50])).strip()
            if answer:
                raise UndecidedError(f"HAProxy in {place} did not take the list over: {answer[:200]}")
    except OSError as error:
        raise UndecidedError(
            f"the list is written, but HAProxy in {place} could not be told: {error.strerror or error}",
            hint="it is read when HAProxy starts",
        ) from None


def _command(name: str, command: str) -> str:
    """One line to the runtime API, and its answer."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(_LONGEST)
        one.connect(name)
        one.sendall(command.encode() + b"\n")
        got = bytearray()
        while piece := one.recv(65536):
            got += piece
            if len(got) > 64 << 20:
                raise OSError("its answer does not end")
    answer = got.decode("utf-8", "replace")
    if answer.startswith("Unknown map"):
        raise OSError(answer.strip())
    return answer


def _of_an_export(place: str, main: str) -> None:
    if not os.path.isfile(os.path.join(place, main)):
        raise UsageError(f"{place} is no folder that 'assay gateway export' wrote: there is no {main}")
