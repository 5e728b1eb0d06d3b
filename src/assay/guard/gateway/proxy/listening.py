"""Sockets that callers connect to, bound before there is an event loop, so that workers can share them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat

from assay.errors import UsageError

BACKLOG = 1024
PATH = 107
"""Bytes that a unix socket's path may have (unix(7), without its last zero)."""
_HINTS = {
    errno.EADDRINUSE: "another program has that port: end it, or choose another one (--listen, listen)",
    errno.EADDRNOTAVAIL: "it is no address of this machine: 127.0.0.1 is for this machine alone, 0.0.0.0 for everybody",
    errno.EACCES: "ports below 1024 are for root, or for whom CAP_NET_BIND_SERVICE was given",
}
_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]*)):([0-9]{1,5})")


def parse(text: str) -> re.Match[str] | None:
    """Host and port of a place; None: it is a unix socket's. Raises `UsageError` where it is no place."""
    if text.startswith("unix:"):
        if not 0 < len(os.fsencode(text)) - 5 <= PATH or "\0" in text:
            raise UsageError(f"{text[:150]!r} cannot be a socket: its path has 1 to {PATH} bytes")
        return None
    match = _PLACE.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise UsageError(f"{text[:100]!r} is no address to listen on", hint="write HOST:PORT, [IPV6]:PORT or unix:PATH")
    return match


def listen(text: str, reuse_port: bool = False) -> socket.socket:
    """A listening socket for ``HOST:PORT``, ``[::1]:PORT`` or ``unix:PATH``; port 0 is any free one.

    With ``reuse_port`` several processes may listen on the same one. A unix socket that nobody listens on any more is
    replaced; one that somebody does is an error. Raises `UsageError`.
    """
    match = parse(text)
    if match is None:
        return _unix(text.removeprefix("unix:"))
    host, port = match[1] or match[2] or "0.0.0.0", int(match[3])  # noqa: S104 - who leaves the host out asks for it
    family = socket.AF_INET6 if match[1] else socket.AF_INET
    listener = None
    try:
        if not match[1]:
            host = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if match[1]:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise UsageError(f"cannot listen on {text}: {error.strerror}", hint=_HINTS.get(error.errno or 0)) from None
    return listener


def _unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        listener.bind(path)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on unix:{path}: {error.strerror or error}") from None
    except UsageError:
        listener.close()
        raise
    return listener


def _clear(path: str) -> None:
    """Take away a socket that nobody listens on."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise UsageError(f"cannot listen on unix:{path}: something else has that name")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
    raise UsageError(f"cannot listen on unix:{path}: somebody does already", hint="is another gateway running?")
