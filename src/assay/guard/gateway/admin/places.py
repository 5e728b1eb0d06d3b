"""Where the admin API listens, and the token that opens it. Only a unix socket or this machine's own addresses."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat

from assay.errors import UsageError
from assay.files import read_file, require_folder, write_atomic
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.around import Admin

_LOOPBACK = re.compile(r"(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\]):(\d{1,5})")


def configured(settings: Settings) -> tuple[str, str]:
    """Listen address and token file of a gateway file, as `parse` and `token` take them."""
    admin = settings.admin or Admin()
    kind, colon, path = admin.listen.partition(":")
    listen = f"unix:{settings.path(path)}" if kind == "unix" and colon else admin.listen
    return listen, settings.path(admin.token)


def parse(listen: str) -> str | tuple[str, int]:
    """A socket's path, or host and port. Raises `UsageError` for an address that others reach."""
    kind, colon, path = listen.partition(":")
    if kind == "unix" and colon:
        if not path or "\0" in path or len(os.fsencode(path)) > 100:  # sun_path has 108 bytes, and we need a few
            raise UsageError(f"{path[:120]!r} cannot be a socket's path", hint="a path has at most 100 bytes")
        return path
    match = _LOOPBACK.fullmatch(listen)
    if match is None or int(match[2]) > 65535 or any(int(part) > 255 for part in re.findall(r"\d+", match[1])):
        raise UsageError(
            f"the admin API cannot listen on {listen[:100]!r}",
            hint="it takes unix:/path/to/socket, or 127.0.0.1:PORT, [::1]:PORT or localhost:PORT; nothing that others "
            "reach",
        )
    return match[1].strip("[]"), int(match[2])


def token(path: str, *, make: bool = False) -> str:
    """The token in a file; with ``make`` a new one (256 random bits, mode 600) where there is none.

    Raises `UsageError` where others may read it, or it is too short to be one.
    """
    if make and not os.path.lexists(path):
        require_folder(path)
        with contextlib.suppress(FileExistsError):  # another worker was faster, and its token is as good
            write_atomic(path, secrets.token_urlsafe(32).encode() + b"\n", mode=0o600, exclusive=True)
    data = read_file(path, 4096)
    found = os.stat(path)
    if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in (0, os.geteuid()):
        raise UsageError(f"{path} may be read or written by others than you", hint=f"chmod 600 {path}")
    text = data.strip().decode("ascii", "replace")
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{32,1024}", text):
        raise UsageError(f"{path} holds no token", hint="delete it, and the gateway makes one when it starts")
    return text
