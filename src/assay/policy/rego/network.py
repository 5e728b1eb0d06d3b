"""``http.send`` for rules that may ask the network: in the parent process, so that the process which runs the rule
needs no network, and can't get around the list of hosts by crashing the engine.

A request goes to a host that the policy names, by HTTPS, or by HTTP to this machine when it is named as such. It
carries what the rule says and nothing of the user's: no proxy, cookie, netrc or client certificate. Every failure is an
error of the rule. A name that resolves to this machine, to a link-local (cloud metadata) or another special address is
refused, and the connection is made to the very address that was looked at.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

BODY = 4 << 20
"""Bytes of a response that are read; a longer one is an error."""
REQUEST = 1 << 20
REDIRECTS = 3
METHODS = ("GET", "HEAD", "POST")
_LOCAL = ("localhost", "127.0.0.1", "::1")
_KNOWN = frozenset(
    [
        *("url", "method", "headers", "body", "raw_body", "timeout", "enable_redirect", "force_json_decode"),
        *("raise_error", "max_retry_attempts", "cache", "force_cache", "force_cache_duration_seconds"),
        *("caching_mode", "cache_ignored_headers"),
    ]
)
"""Fields of a request that are understood or harmless. `raise_error` changes nothing: a failure is an error here."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_HEADERS_OF_OURS = {
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "accept-encoding",
    "proxy-authorization",
}
_HOP = {301, 302, 303, 307, 308}


class Refused(Exception):
    """The request was not made, or had no usable response; the message is one sentence."""


def respond(request: Any, hosts: tuple[str, ...], answers: Mapping[str, Any], seconds: float) -> Any:
    """The response to one request, as OPA documents it. Raises `Refused`."""
    if not isinstance(request, Mapping) or not isinstance(url := request.get("url"), str):
        raise Refused("http.send: the request names no URL")
    if url in answers and str(request.get("method", "GET")).upper() == "GET":
        return _completed(answers[url])
    if unknown := sorted(str(name) for name in request if name not in _KNOWN):
        raise Refused(f"http.send: '{unknown[0][:100]}' is not supported")
    method = str(request.get("method", "")).upper()
    if method not in METHODS:
        raise Refused(f"http.send: the method is not one of {', '.join(METHODS)}")
    headers, body = _headers(request.get("headers")), _body(request)
    deadline = time.monotonic() + seconds
    for _ in range(REDIRECTS + 1):
        parts = _permitted(url, hosts)
        status, reason, got, data = _ask(parts, method, headers, body, deadline)
        target = got.get("location")
        if status not in _HOP or request.get("enable_redirect") is not True or not target:
            return _response(status, reason, got, data, request)
        url = urljoin(url, target)
        if urlsplit(url)[:2] != parts[:2]:
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        if status in (301, 302, 303) and method == "POST":
            method, body = "GET", b""
    raise Refused(f"http.send: {url[:200]} was redirected more than {REDIRECTS} times")


def _completed(answer: Any) -> Any:
    """An answer given beforehand, with the fields that rules read beside the body."""
    if not isinstance(answer, Mapping):
        return answer
    made = {"status": "200 OK", "status_code": 200, "headers": {}, **answer}
    made.setdefault("raw_body", json.dumps(made.get("body")))
    return made


def _permitted(url: str, hosts: tuple[str, ...]) -> SplitResult:
    """The URL's parts when it may be asked."""
    shown = "".join(char if char.isprintable() else " " for char in url[:200])
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise Refused(f"http.send: {shown} is not a URL") from None
    if any(ord(char) <= 32 or ord(char) >= 127 for char in url) or not host or parts.username is not None:
        raise Refused(f"http.send: {shown} is not a URL of a host, in ASCII and without a user")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOCAL):
        raise Refused(f"http.send: {shown} is neither HTTPS nor this machine")
    named = f"[{host}]" if ":" in host else host
    standard = 443 if parts.scheme == "https" else 80
    allowed = {item.lower() for item in hosts}
    if f"{named}:{port or standard}" not in allowed and not (port in (None, standard) and allowed & {host, named}):
        raise Refused(f"http.send asks {named}{f':{port}' if port else ''}, which this rule is not allowed to")
    return parts


def _ask(
    parts: SplitResult, method: str, headers: Mapping[str, str], body: bytes, deadline: float
) -> tuple[int, str, dict[str, str], bytes]:
    """One request and its response."""
    host = (parts.hostname or "").lower()
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    name = f"{host}:{port}"
    connection = http.client.HTTPConnection(host, port)
    try:
        raw = socket.create_connection((_address(host, port), port), timeout=_left(deadline))
        connection.sock = raw
        # A server that sends a byte now and then keeps every single read alive; the watch ends them all.
        open_now: list[socket.socket] = [raw]
        watch = threading.Timer(_left(deadline), _end, [open_now])
        watch.daemon = True
        watch.start()
        try:
            if secure:
                context = ssl.create_default_context()
                tls = context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
                connection.sock = open_now[0] = tls
                tls.do_handshake()
            return _converse(connection, parts, method, headers, body)
        finally:
            watch.cancel()
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"http.send: {name} is not whom it says it is: {error.verify_message}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        late = isinstance(error, TimeoutError) or time.monotonic() >= deadline
        said = "does not answer in time" if late else f"cannot be asked: {type(error).__name__}"
        raise Refused(f"http.send: {name} {said}") from None
    finally:
        connection.close()


def _converse(
    connection: http.client.HTTPConnection, parts: SplitResult, method: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, str, dict[str, str], bytes]:
    """Send the request and read the response over an open connection."""
    connection.putrequest(
        method,
        (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        skip_host=True,
        skip_accept_encoding=True,
    )
    sent = {"Host": parts.netloc.lower(), "User-Agent": "assay", "Connection": "close", **headers}
    if body or method == "POST":
        sent["Content-Length"] = str(len(body))
    for header, value in sent.items():
        connection.putheader(header, value)
    connection.endheaders(body or None)
    response = connection.getresponse()
    data = bytearray()
    while piece := response.read1(1 << 16):
        data += piece
        if len(data) > BODY:
            raise Refused(f"http.send: {parts.netloc} answers with more than {BODY:,} bytes")
    if response.length:
        raise Refused(f"http.send: {parts.netloc} broke off its answer")
    got: dict[str, str] = {}
    for header, value in response.getheaders():
        got[header.lower()] = f"{got[header.lower()]}, {value}" if header.lower() in got else value
    return response.status, response.reason, got, bytes(data)


def _end(open_now: list[socket.socket]) -> None:
    with contextlib.suppress(OSError):
        open_now[0].shutdown(socket.SHUT_RDWR)


def _address(host: str, port: int) -> str:
    """An address of the host, none of which may be special unless the host is this machine by name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(item[4][0]) for item in found]
    for text in addresses:
        if special(text, local=host in _LOCAL):
            raise Refused(f"http.send: {host} resolves to {text}, which no rule may ask")
    if not addresses:
        raise Refused(f"http.send: {host} has no address")
    return addresses[0]


def special(text: str, *, local: bool) -> bool:
    """Whether an address may not be asked. A company's own (private) network may, as its host was named."""
    try:
        address = ipaddress.ip_address(text.split("%")[0])
    except ValueError:
        return True
    if isinstance(address, ipaddress.IPv6Address):  # an address within an address
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return special(str(inner), local=False)
    if local:
        return not address.is_loopback
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
        or text.split("%")[0] in _METADATA
    )


_METADATA = ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")
"""Clouds' metadata services at addresses that are not link-local."""


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _headers(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or len(given) > 50:
        raise Refused("http.send: the headers are not an object")
    headers = {}
    for name, value in given.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None or name.lower() in _HEADERS_OF_OURS:
            raise Refused(f"http.send: '{str(name)[:100]}' is not a header that a rule may set")
        if not isinstance(value, str) or len(value) > 8_000 or any(not 32 <= ord(char) < 127 for char in value):
            raise Refused(f"http.send: the header '{name}' is not printable text")
        headers[name] = value
    return headers


def _body(request: Mapping[str, Any]) -> bytes:
    raw = request.get("raw_body")
    if raw is not None and not isinstance(raw, str):
        raise Refused("http.send: raw_body is not text")
    body = request.get("body")
    data = raw.encode() if raw else json.dumps(body).encode() if body is not None else b""
    if len(data) > REQUEST:
        raise Refused(f"http.send: the request is larger than {REQUEST:,} bytes")
    return data


def _response(status: int, reason: str, headers: dict[str, str], data: bytes, request: Mapping[str, Any]) -> Any:
    text = data.decode(errors="replace")
    body: Any = None
    if "json" in headers.get("content-type", "") or request.get("force_json_decode") is True:
        try:
            body = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise Refused("http.send: the answer says that it is JSON and is not") from None
    return {
        "status": f"{status} {reason}".strip(),
        "status_code": status,
        "headers": {name: [value] for name, value in headers.items()},
        "body": body,
        "raw_body": text,
    }


def _no_number(text: str) -> Any:
    raise ValueError(text)
