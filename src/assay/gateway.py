"""`assay.gateway.Guard`: the gateway as ASGI middleware, for services that are written in Python.

The front door of `assay.guard.gateway`: it reads the gateway file, proves the model with the evidence store and the
policy, and puts the decision core in front of the application.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from assay.errors import MissingExtraError

if TYPE_CHECKING:
    from assay.guard.gateway.asgi import Middleware
    from assay.guard.gateway.running.embedded import Embedded
    from assay.guard.gateway.settings import Settings

__all__ = ["Guard"]


class Guard:
    """``app.add_middleware(assay.gateway.Guard, config="gateway.yaml")``, or ``Guard(app, config=…)``.

    ``config`` is a gateway file (its `upstream` and `listen` are not used) or settings that were read. The file is read
    at once, so that a mistake in it ends the start; threads begin with the first request, in the process that serves.
    Raises `AssayError`.
    """

    def __init__(self, app: Any, config: str | os.PathLike[str] | Settings) -> None:
        try:
            from assay.api import serving
            from assay.guard.gateway.running import checking, rooms

            rooms.require_extra()
        except ImportError as error:
            raise MissingExtraError(f"the gateway (it imports {error.name})", "gateway") from None
        self._app = app
        self._settings = serving.read(os.fspath(config)) if isinstance(config, str | os.PathLike) else config
        checking.check(self._settings)
        self._lock = threading.Lock()
        self._embedded: Embedded | None = None
        self._middleware: Middleware | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing(send))
            return
        middleware = self._middleware
        if middleware is None:
            middleware = self._start()
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
            if self._middleware is None:
                self._embedded = Embedded(self._settings, lambda settings: prover(settings, warn))
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
