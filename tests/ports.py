"""Ports for servers that cannot be given a socket, only a number."""

from __future__ import annotations

import os
import socket

_FIRST, _COUNT = 10_000, 20_000
"""Below those that a kernel gives to whoever binds to port 0 or connects: what was free a moment ago stays so, though
other tests go on beside this one before the server is there.
"""

_at = os.getpid() * 509
"""Where this process looks next: processes that run beside each other begin far from each other."""


def free_port() -> int:
    """A port of this machine that nobody uses, and that no other caller in this process has been given lately."""
    global _at
    for _ in range(_COUNT):
        _at += 1
        port = _FIRST + _at % _COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("all ports are in use")
