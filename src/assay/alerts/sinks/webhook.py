"""A webhook: the alert as a CloudEvents 1.0 document, by HTTP POST, signed when there is a secret.

It follows no redirect, speaks plain http to this machine only, and ends within a minute whatever the server does. What
goes wrong is said in words of our own, since the address may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
import time
import urllib.request

from assay.alerts.finding import Alert
from assay.alerts.references import expand, scrub
from assay.alerts.settings import WebhookSettings, urlsplit_or_none
from assay.alerts.sinks.interface import SinkError
from assay.alerts.wording import cloud_event
from assay.errors import UsageError
from assay.files import read_file

TIMEOUT = 10.0
"""Seconds that one step (connecting, a piece of the answer) may take."""

DEADLINE = 30.0
"""Seconds after which a server that answers drop by drop is cut off."""


def signature(secret: bytes, identifier: str, moment: int, body: bytes) -> str:
    """The ``webhook-signature`` header of Standard Webhooks 1.0: HMAC-SHA256 over id, time and body."""
    signed = b"%s.%d.%s" % (identifier.encode(), moment, body)
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class WebhookSink:
    """See the module."""

    def __init__(self, settings: WebhookSettings) -> None:
        self.name = settings.name
        self._settings = settings

    def send(self, alert: Alert) -> None:
        """Post one alert; a status of 2xx is success."""
        post(self._settings, alert.id, cloud_event(alert))


def post(settings: WebhookSettings, identifier: str, body: bytes) -> None:
    """Post a CloudEvents document; a status of 2xx is success. A receiver knows a repetition by ``identifier``.

    Raises `SinkError`, which never holds the address.
    """
    url = expand(settings.url)
    parts = urlsplit_or_none(url)
    if parts is None:
        raise SinkError("the webhook's url is not an http or https URL, or has a user name in it")
    scheme, host, port, path = parts
    if scheme == "http" and not settings.insecure and not _is_this_machine(host):
        raise SinkError("the webhook's url is plain http to another machine", hint="use https, or set 'insecure: true'")
    try:
        status = _post(scheme, host, port, path, body, _headers(settings, identifier, body))
    except (OSError, http.client.HTTPException) as error:
        raise SinkError(scrub(f"the webhook cannot be reached: {_reason(error)}", url)) from None
    if 300 <= status < 400:
        raise SinkError(f"the webhook answered {status}, a redirect, and none is followed")
    if not 200 <= status < 300:
        raise SinkError(f"the webhook answered {status}")


def _headers(settings: WebhookSettings, identifier: str, body: bytes) -> dict[str, str]:
    moment = int(time.time())
    headers = {
        "Content-Type": "application/cloudevents+json; charset=UTF-8",
        "User-Agent": "assay",
        "Connection": "close",
        "webhook-id": identifier,
        "webhook-timestamp": str(moment),
    }
    if (secret := _secret(settings)) is not None:
        headers["webhook-signature"] = signature(secret, identifier, moment, body)
    return headers


def _secret(settings: WebhookSettings) -> bytes | None:
    if settings.secret is not None:
        text = expand(settings.secret)
    elif settings.secret_file is not None:
        try:
            text = read_file(settings.secret_file, 1 << 16).decode().strip()
        except (UsageError, UnicodeDecodeError):
            raise SinkError(f"the secret in {settings.secret_file} cannot be read") from None
    else:
        return None
    if not text:
        raise SinkError("the webhook's secret is empty")
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise SinkError("the webhook's secret begins with 'whsec_' and is not base64 after it") from None


def _post(scheme: str, host: str, port: int | None, path: str, body: bytes, headers: dict[str, str]) -> int:
    connection, late = _connection(scheme, host, port), threading.Event()

    def cut() -> None:
        late.set()
        # The main thread is in recv: only shutting the socket down wakes it.
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(DEADLINE, cut)
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", path, body, headers)
        status = connection.getresponse().status
        if late.is_set():  # http.client takes an answer whose headers end early
            raise TimeoutError
        return status
    finally:
        timer.cancel()
        connection.close()


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    context = ssl.create_default_context()
    proxy = urlsplit_or_none(urllib.request.getproxies().get("https", ""))
    if proxy is None or urllib.request.proxy_bypass(host):
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
    connection = http.client.HTTPSConnection(proxy[1], proxy[2] or 80, timeout=TIMEOUT, context=context)
    connection.set_tunnel(host, port or 443)
    return connection


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.HTTPException):
        return "its answer is not HTTP"  # the exception's own text may hold the address
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
