"""Asking a running gateway: one request over its unix socket or loopback address, with its token."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any

from assay.errors import AssayError, UndecidedError, UsageError
from assay.guard.gateway.admin import places

MAX_ANSWER = 64 << 20
TIMEOUT = 30.0
"""Seconds for connecting and for each piece of the answer."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, place: str | tuple[str, int]) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._place = place

    def connect(self) -> None:
        """To the socket, or to the address as it was given."""
        if isinstance(self._place, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(TIMEOUT)
            self.sock.connect(self._place)
        else:
            self.sock = socket.create_connection(self._place, TIMEOUT)


def call(listen: str, token_file: str, method: str, path: str, body: Any = None) -> Any:
    """The answer's document (text for metrics). Raises `UndecidedError` when nobody answers, `UsageError` when the
    gateway refuses, with the gateway's own sentence.
    """
    if not os.path.lexists(token_file):
        raise UndecidedError(
            f"there is no token {token_file}",
            hint="the gateway writes it when it starts with an admin section in its file: is it running?",
        )
    headers = {"authorization": f"Bearer {places.token(token_file)}", "connection": "close"}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["content-type"] = "application/json"
    connection = _Connection(places.parse(listen))
    try:
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        content = answer.read(MAX_ANSWER + 1)
    except (OSError, http.client.HTTPException) as error:
        raise UndecidedError(
            f"no gateway answers on {listen}: {getattr(error, 'strerror', None) or type(error).__name__}",
            hint="is it running, with an admin section in its file? --admin names another place",
        ) from None
    finally:
        connection.close()
    if len(content) > MAX_ANSWER:
        raise UndecidedError(f"the answer of {listen} is larger than {MAX_ANSWER:,} bytes")
    kind = answer.getheader("content-type", "").partition(";")[0]
    return _read(answer.status, kind, content, listen)


def _read(status: int, kind: str, content: bytes, listen: str) -> Any:
    try:
        document = content.decode() if kind == "text/plain" else json.loads(content)
    except ValueError:
        raise UndecidedError(f"{listen} is no gateway's admin API: its answer cannot be read") from None
    if status < 300 or (status == 503 and isinstance(document, dict) and "ready" in document):
        return document
    if not isinstance(document, dict) or not isinstance(document.get("error"), str):
        raise UndecidedError(f"{listen} answered {status}")
    hint = document.get("hint")
    kind_of: type[AssayError] = UndecidedError if status >= 500 else UsageError
    raise kind_of(document["error"], hint=hint if isinstance(hint, str) else None)
