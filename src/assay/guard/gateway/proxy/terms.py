"""What one configuration means to the proxy, looked up once: by route, sizes, time-outs and the model server's pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from assay.guard.gateway.headers import host_names, single
from assay.guard.gateway.proxy.pool import Pool
from assay.guard.gateway.proxy.request_heads import RequestReader
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import RouteSettings

BODIES = 32
"""As much as so many of the largest bodies is held at the same time. One address may have 512 connections, and a body
that lacks its last byte is held for minutes.
"""


class Held:
    """Bytes of bodies and answers that are held to be looked into, of all requests of one configuration."""

    __slots__ = ("most", "now")

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = 0


@dataclass(frozen=True, slots=True)
class Place:
    """One route. Sizes in bytes, times in seconds."""

    pool: Pool
    held: Held
    body: int
    decoded: int
    response: int
    """Most bytes of an answer; a very large number: any."""
    buffered: int
    kept: int
    """Most bytes of a body that is kept for those who capture and learn."""
    body_time: float
    first_byte: float
    stream: float
    idle: float
    websocket: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """One configuration."""

    settings: Settings
    reader: RequestReader
    hosts: frozenset[bytes]
    """Names that ``Host`` may have, in lower case, without port; empty: any."""
    places: tuple[Place, ...]
    """By `Route.index`."""
    head: float
    idle: float
    stream: float


def terms(settings: Settings, pool: Callable[[str], Pool]) -> Terms:
    """``pool`` finds the connections to an upstream. Raises `DocumentError` where there is no such address."""
    sizes, timeouts = settings.sizes, settings.timeouts
    reader = RequestReader(
        line=sizes.line,
        size=sizes.headers,
        count=sizes.count,
        secrets=frozenset({b"authorization", b"x-api-key", settings.callers.header.lower().encode()}),
        keep_secrets=settings.pass_credentials,
        alone=single(settings),
    )
    every = [sizes, *(route.sizes for route in settings.routes if route.sizes is not None)]
    held = Held(BODIES * max(max(one.body, one.decoded, one.buffered) for one in every))
    return Terms(
        settings,
        reader,
        host_names(settings),
        tuple(_place(settings, route, pool(route.upstream or settings.upstream), held) for route in settings.routes),
        timeouts.head,
        timeouts.idle,
        timeouts.stream,
    )


def _place(settings: Settings, route: RouteSettings, pool: Pool, held: Held) -> Place:
    sizes = route.sizes or settings.sizes
    timeouts = route.timeouts or settings.timeouts
    kept = sizes.buffered
    if settings.detect.mode == "off" and settings.capture is not None:
        kept = min(kept, settings.capture.limit)  # detectors see larger ones, or size would hide from them
    return Place(
        pool,
        held,
        sizes.body,
        sizes.decoded,
        1 << 62 if sizes.response is None else sizes.response,
        sizes.buffered,
        kept,
        timeouts.body,
        timeouts.first_byte,
        timeouts.stream,
        timeouts.idle,
        route.websocket,
    )
