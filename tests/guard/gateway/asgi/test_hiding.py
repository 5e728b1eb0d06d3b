"""What an application says beside a hardened answer, and requests that are refused once they were answered."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from asgi_making import Rooms, guarded, scope_of


async def talk(middleware: Any, scope: dict[str, Any], pieces: list[bytes]) -> list[dict[str, Any]]:
    """All that is answered to a body that comes in these pieces."""
    waiting = [
        {"type": "http.request", "body": piece, "more_body": i + 1 < len(pieces)} for i, piece in enumerate(pieces)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await middleware(scope, receive, send)
    return sent


def test_headers_tell_nothing_that_the_hardened_answer_does_not() -> None:
    said = [
        (b"content-type", b"application/json"), (b"cache-control", b"no-cache"), (b"x-score", b"zqz7312"),
        (b"server-timing", b"layers;dur=zqz312"), (b"set-cookie", b"last=zqz7312"),
    ]  # fmt: skip

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": said})
        await send({"type": "http.response.body", "body": json.dumps({"predictions": [[0.2, 0.8]]}).encode()})

    sent = asyncio.run(talk(guarded(app, Rooms()), scope_of(path="/hard"), [b'{"instances": [[1, 2]]}']))
    headers = dict(sent[0]["headers"])
    assert b"zqz" not in repr(headers.values()).encode() and b"0.8" not in sent[1]["body"]
    assert headers[b"content-type"] == b"application/json" and headers[b"cache-control"] == b"no-cache"
    assert b"x-request-id" in headers and headers[b"content-length"] == b"%d" % len(sent[1]["body"])


def test_what_was_answered_is_not_given_back() -> None:
    """A caller who sends too much once it has its answer has used what it was given."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the answer", "more_body": True})
        while (await receive()).get("more_body"):
            pass

    rooms = Rooms()
    sent = asyncio.run(talk(guarded(app, rooms, {"sizes": {"body": 1000}}), scope_of(), [b"x" * 600] * 3))
    assert sent[1]["body"] == b"the answer"
    assert rooms.finished[0].decision.allowed and rooms.finished[0].error == "size"
