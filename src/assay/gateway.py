"""`assay.gateway.Guard`: the gateway as ASGI middleware, for services that are written in Python.

The front door of `assay.guard.gateway`: it reads the gateway file, proves the model with the evidence store and the
policy, and puts the decision core in front of the application.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, MissingExtraError

if TYPE_CHECKING:
    from assay.guard.gateway.asgi import Middleware
    from assay.guard.gateway.running.embedded import Embedded
    from assay.guard.gateway.settings import Settings

__all__ = ["Guard"]


class Guard:
    """``app.add_middleware(assay.gateway.Guard, config="gateway.yaml")``, or ``Guard(app, config=…)``.

    ``config`` is a gateway file (its `upstream` and `listen` are not used) or settings that were read. The file is read
    at once, and a mistake in it ends the start; threads begin with the server's start (its lifespan), else with the
    first request, in the process that serves.
    Raises `AssayError`.
    """

    def __init__(self, app: Any, config: str | os.PathLike[str] | Settings) -> None:
        self._app = app
        self._failed: AssayError | None = None
        """Why it could not begin. It is not tried again: what refused once must not let anybody through later."""
        try:
            self._settings = _read(config)
        except AssayError as error:
            if not _serving():
                raise
            self._failed = error  # frameworks build middleware late: a server would take it for "has no lifespan"
        self._lock = threading.Lock()
        self._embedded: Embedded | None = None
        self._middleware: Middleware | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3."""
        middleware = self._middleware
        if middleware is None:
            try:
                middleware = self._start()
            except AssayError as error:
                await _unbegun(error, scope, receive, send)
                return
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing(send))
        else:
            await middleware(scope, receive, send)

    def close(self) -> None:
        """Write what has to be written; the lifespan's end does it where the server has one."""
        if self._embedded is not None:
            self._embedded.close()

    def _start(self) -> Middleware:
        from assay.api.serving import prover
        from assay.guard.gateway.asgi import Middleware
        from assay.guard.gateway.running.embedded import Embedded
        from assay.guard.gateway.running.keeper import warn

        with self._lock:
            if self._failed is not None:
                raise self._failed
            if self._middleware is None:
                try:
                    self._embedded = Embedded(self._settings, lambda settings: prover(settings, warn))
                except AssayError as error:
                    self._failed = error
                    warn(f"the gateway could not begin, and lets nobody through: {error}")
                    raise
                self._middleware = Middleware(self._app, self._embedded.gate, self._settings)
                import atexit

                atexit.register(self.close)
        return self._middleware

    def _closing(self, send: Any) -> Any:
        async def told(message: Any) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                self.close()
            await send(message)

        return told


def _read(config: str | os.PathLike[str] | Settings) -> Settings:
    """The settings, checked."""
    try:
        from assay.api import serving
        from assay.guard.gateway.running import checking, rooms

        rooms.require_extra()
    except ImportError as error:
        raise MissingExtraError(f"the gateway (it imports {error.name})", "gateway") from None
    settings = serving.read(os.fspath(config)) if isinstance(config, str | os.PathLike) else config
    checking.check(settings)
    return settings


def _serving() -> bool:
    """Whether a server is at work in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _unbegun(error: AssayError, scope: Any, receive: Any, send: Any) -> None:
    """Tell the server that it cannot start, or a caller that nobody is served."""
    from assay.guard.gateway.refusing import FAULT, body

    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": str(error)})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1011})
    else:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": FAULT.status, "headers": headers})
        await send({"type": "http.response.body", "body": body(FAULT, "-")})
