"""`Middleware`: an ASGI application that asks the decision core before it asks the one behind it.

It must never let through what it could not decide: its own faults are answered with 500. Time-outs of connections and
of slow heads are the server's; so are addresses: run uvicorn with ``--no-proxy-headers``, or whoever reaches it from a
trusted address names his own.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter

from assay.errors import UsageError
from assay.guard.gateway.asgi.exchange import Exchange
from assay.guard.gateway.asgi.inspecting import Inspecting
from assay.guard.gateway.asgi.reading import PATHS, Limits, context_of
from assay.guard.gateway.asgi.sockets import NO_SOCKET, Socket
from assay.guard.gateway.asgi.types import App, Receive, Scope, Send
from assay.guard.gateway.core import Core, Gate
from assay.guard.gateway.interface import ANSWER, BODY, Context, Verb
from assay.guard.gateway.refusing import FAULT, TOO_LARGE
from assay.guard.gateway.settings import Settings

_logger = logging.getLogger("assay.gateway")


class Middleware:
    """Put it outermost of all that reads or answers requests; only what compresses answers or speaks CORS goes around
    it. The application finds who asks in ``scope["assay"]`` (`interface.Caller`).
    """

    def __init__(self, app: App, gate: Gate, settings: Settings) -> None:
        self.app = app
        self._gate = gate
        self._core: Core | None = None
        self._limits = Limits(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        kind = scope["type"]
        if kind != "http":
            if kind == "lifespan":
                return await self.app(scope, receive, send)
            if kind != "websocket":
                raise UsageError(f"the gateway knows no ASGI scope of type {str(kind)[:40]!r}, and lets none through")
        begun = perf_counter()
        core = self._gate.core
        if core is not self._core:  # the first request, and the first after a reload
            self._core, self._limits = core, Limits(core.settings)
        context = self._decide(core, scope)
        if kind == "websocket":
            return await self._connect(core, context, scope, receive, send, begun)
        exchange = Exchange(context, receive, send, 0, begun)
        try:
            if not context.decision.allowed:
                return await exchange.refuse(context.decision)
            assert context.route is not None
            sizes = self._limits.routes[context.route.index]
            length = context.headers.get(b"content-length")
            if length is not None and int(length) > sizes.body:
                return await exchange.refuse(TOO_LARGE)
            exchange.limit = sizes.body
            if context.needs:
                exchange = inspecting = Inspecting(core, context, receive, send, sizes, begun)
                timeouts = core.settings.routes[context.route.index].timeouts or core.settings.timeouts
                if (prepared := await inspecting.prepare(scope, timeouts)) is None:
                    return None
                scope = prepared
            if context.wait:
                await asyncio.sleep(context.wait)
            scope["assay"] = context.caller
            exchange.asked = perf_counter()
            await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            context.error = context.error or "cancelled"
            raise
        except Exception:
            if exchange.refused and exchange.complete:
                return None  # it is about the answer that the application could not give
            context.error = context.error or "app-error"
            raise
        finally:
            _finish(core, context, exchange)

    async def _connect(
        self, core: Core, context: Context, scope: Scope, receive: Receive, send: Send, begun: float
    ) -> None:
        """A WebSocket: decided by its handshake, and then by nobody, so that the route has to allow it."""
        socket = Socket(context, receive, send, self._limits.sizes.body, begun)
        try:
            if context.decision.allowed:
                assert context.route is not None
                route = core.settings.routes[context.route.index]
                open_to_all = (
                    context.route.verb is Verb.HEALTH
                )  # nobody has asked who may, or whether the model is proved
                if not route.websocket or open_to_all or context.needs & (BODY | ANSWER):
                    core.refuse(context, NO_SOCKET)
            if not context.decision.allowed:
                return await socket.refuse(context.decision, scope)
            if context.wait:
                await asyncio.sleep(context.wait)
            scope["assay"] = context.caller
            socket.asked = perf_counter()
            await self.app(scope, socket.receive, socket.send)
        except BaseException:
            context.error = context.error or "app-error"
            raise
        finally:
            _finish(core, context, socket)

    def _decide(self, core: Core, scope: Scope) -> Context:
        """The request, and in it what was decided. What goes wrong is a refusal."""
        context, problem = context_of(scope, self._limits)
        try:
            if problem is not None:
                core.refuse(context, problem)
            elif core.decide(context).allowed and context.path != scope["path"]:
                core.refuse(context, PATHS)  # the application would see another one than was decided
        except Exception:
            _logger.exception("the gateway failed while it decided")
            core.refuse(context, FAULT)
        return context


def _finish(core: Core, context: Context, exchange: Exchange | Socket) -> None:
    try:
        exchange.close()
        core.finish(context, exchange.request, exchange.response)
    except Exception:  # the answer has left: all that can still be done is to say so
        _logger.exception("the gateway failed while it remembered a request")
