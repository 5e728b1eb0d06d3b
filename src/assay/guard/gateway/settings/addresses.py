"""Where a model server is: ``http://host:port``, ``https://host``, ``unix:/path`` as a value.

Read when the file is, so that no address that cannot be used is ever loaded. Nothing here asks a name server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from assay.errors import DocumentError

_URL = re.compile(r"(https?)://((?:[A-Za-z0-9_][A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?")

_NAMED = re.compile(r"//[^/]*@")
"""A user and password, which an error must not repeat."""


@dataclass(frozen=True, slots=True)
class Address:
    """One model server."""

    host: str
    """Name or address; empty for a unix socket."""
    port: int
    path: str
    """Of a unix socket; else empty."""
    tls: bool
    authority: bytes
    """What ``Host`` says to it."""


def address(text: str) -> Address:
    """Raises `DocumentError` where the text is no address of a server."""
    if text.startswith("unix:") and len(text) > 5:
        return Address("", 0, text.removeprefix("unix:"), False, b"localhost")
    match = _URL.fullmatch(text)
    if match is None or int(match[3] or 1) not in range(1, 65536):
        raise DocumentError(
            f"{_NAMED.sub('//(hidden)@', text)[:100]!r} is no address of a model server",
            hint="write http://HOST:PORT, https://HOST:PORT or unix:/PATH; no path can be put before the requests' own",
        )
    tls = match[1] == "https"
    authority = match[2] + (f":{match[3]}" if match[3] else "")
    return Address(match[2].strip("[]"), int(match[3] or (443 if tls else 80)), "", tls, authority.encode())
