"""What may stand in a generated configuration. A value that could mean more than itself there is refused, with the key
that it comes from; nothing is ever escaped and hoped for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from assay.errors import DocumentError

_FILE = re.compile(r"/[A-Za-z0-9._/@+=,~-]{0,400}")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]+\]|\*\.[A-Za-z0-9._-]{1,250}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,128}")


def file(value: str, key: str) -> str:
    """An absolute path. Raises `DocumentError`."""
    return _only(_FILE, value, key, "an absolute path of letters, digits and ._/@+=,~-")


def path(value: str, key: str) -> str:
    """A path of requests, without escapes."""
    return _only(_PATH, value, key, "a path of letters, digits and ._~-")


def name(value: str, key: str) -> str:
    """A host's name, its first label maybe ``*``."""
    return _only(_NAME, value, key, "a host's name or address")


def header(value: str, key: str) -> str:
    """A header's name; without ``_``, which edges drop."""
    return _only(_HEADER, value, key, "a header's name of letters, digits and -").lower()


def account(value: str, key: str) -> str:
    """An account of the system."""
    return _only(_GROUP, value, key, "an account's name")


def secret(value: str, key: str) -> str:
    """Something that only the edge and the service know."""
    if not _SECRET.fullmatch(value):
        raise DocumentError(f"{key}: a secret for an edge has 16 to 128 letters, digits, _ or -")
    return value


def network(value: str, key: str) -> IPv4Network | IPv6Network:
    """An address or network; without a zone, which is any text and means nothing to anybody else."""
    try:
        return ip_network(_unzoned(value), strict=False)
    except ValueError:
        raise DocumentError(f"{key}: {value[:60]!r} is no address or network") from None


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens."""

    host: str = ""
    """Without brackets; empty for a unix socket."""
    port: int = 0
    file: str = ""
    """The unix socket."""
    tls: bool = False

    @property
    def text(self) -> str:
        """``host:port``, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """What ``Host`` says to it; the port that goes without saying is left out."""
        return "localhost" if self.file else self.text.removesuffix(":443" if self.tls else ":80")


def listens(value: str, key: str) -> Address:
    """``HOST:PORT``, ``[::1]:PORT`` or ``unix:/path``; the host may be ``*`` or ``0.0.0.0``."""
    if value.startswith("unix:"):
        return Address(file=file(value.removeprefix("unix:"), key))
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    host = "0.0.0.0" if host in ("*", "") else host  # noqa: S104 - as the file says
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise DocumentError(f"{key}: {value[:100]!r} is no HOST:PORT")
    return Address(_host(host, key), int(port))


def upstream(value: str, key: str) -> Address:
    """``http://host:port``, ``https://…`` or ``unix:/path``."""
    if value.startswith("unix:"):
        return Address(file=file(value.removeprefix("unix:"), key))
    try:
        if not value.isascii() or not value.isprintable():  # `urlsplit` takes line ends away
            raise ValueError
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise DocumentError(f"{key}: {value[:100]!r} is no address of a server") from None
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise DocumentError(f"{key}: {value[:100]!r} is no http://HOST:PORT, https://HOST:PORT or unix:/PATH")
    tls = parts.scheme == "https"
    return Address(_host(parts.hostname, key), port or (443 if tls else 80), tls=tls)


def _host(value: str, key: str) -> str:
    if ":" not in value:
        return name(value, key)
    try:
        return str(ip_address(_unzoned(value)))
    except ValueError:
        raise DocumentError(f"{key}: {value[:100]!r} is no address") from None


def _unzoned(value: str) -> str:
    """Raises `ValueError`: Python lets anything stand behind the ``%`` of an address."""
    if "%" in value:
        raise ValueError
    return value


def _only(pattern: re.Pattern[str], value: str, key: str, what: str) -> str:
    if not pattern.fullmatch(value) or ".." in value:
        raise DocumentError(
            f"{key}: {value[:100]!r} cannot be written into an edge's configuration", hint=f"it takes {what}"
        )
    return value
