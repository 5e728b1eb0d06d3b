"""HTTP for a registry: HTTPS, or plain HTTP to this machine; bounded time; redirects that leave the login behind.

The registry is not trusted: it can send us to no other kind of URL, and from another machine never to this one.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from http.client import HTTPMessage
from ipaddress import ip_address
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from assay.errors import TargetError, UndecidedError
from assay.targets.names import shown

if TYPE_CHECKING:
    import ssl

TIMEOUT = 30.0
"""Seconds that one read or connection may take."""


def is_loopback(host: str) -> bool:
    """Whether ``host`` (with or without a port) is this machine, by its name alone."""
    name = host.lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def base_url(host: str) -> str:
    """Where a registry's API is: HTTPS everywhere but on this machine."""
    return f"{'http' if is_loopback(host) else 'https'}://{host}"


def request(url: str, headers: Mapping[str, str], context: ssl.SSLContext | None = None) -> Any:
    """The open answer to a GET, closed by the caller; `urllib.error.HTTPError` (open, too) for one from 400 on.

    ``context`` says which authorities are trusted, where they are not the system's. Raises `UndecidedError` when
    nobody answers.
    """
    opener = urllib.request.OpenerDirector()  # no handler for file:, ftp: and data:
    for handler in _handlers(url, context):
        opener.add_handler(handler)
    asked = urllib.request.Request(url, headers=dict(headers))  # noqa: S310  (see above)
    try:
        answer = opener.open(asked, timeout=TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UndecidedError(f"{shown(_plain(url))} cannot be reached: {reason(error)}") from None
    if answer is None:
        raise TargetError(f"{shown(_plain(url))} is not an HTTP address")
    return answer


def follows(old: str, new: str) -> bool:
    """Whether an answer from ``old`` may send us to ``new``: to HTTPS elsewhere, on this machine to plain HTTP too."""
    here, there = urlsplit(old), urlsplit(new)
    if here.hostname and is_loopback(here.hostname):
        return there.scheme == "https" or (there.scheme == "http" and is_loopback(there.hostname or ""))
    return there.scheme == "https" and not is_loopback(there.hostname or "")


def reason(error: BaseException) -> str:
    """An error of the network, for a message of ours."""
    return shown(str(getattr(error, "reason", "") or error))[1:-1]


def _plain(url: str) -> str:
    """Without the query, where servers put secrets."""
    return url.partition("?")[0]


def _handlers(url: str, context: ssl.SSLContext | None) -> Iterable[urllib.request.BaseHandler]:
    yield from (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    )
    if not is_loopback(urlsplit(url).hostname or ""):
        yield urllib.request.ProxyHandler()


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        """As inherited; an address that is none is refused like any other."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:
            raise _refused(req, fp, code, headers) from None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not follows(req.full_url, newurl):
            raise _refused(req, fp, code, headers)
        same = urlsplit(req.full_url)[:2] == urlsplit(newurl)[:2]
        dropped = {"host"} if same else {"host", "authorization", "cookie"}
        kept = {key: value for key, value in req.header_items() if key.lower() not in dropped}
        return urllib.request.Request(newurl, headers=kept, unverifiable=True)  # noqa: S310


def _refused(req: urllib.request.Request, fp: IO[bytes], code: int, headers: HTTPMessage) -> urllib.error.HTTPError:
    return urllib.error.HTTPError(req.full_url, code, "redirect to a place that is refused", headers, fp)
