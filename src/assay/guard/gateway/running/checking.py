"""Whatever would only fail later, found before anything listens: at a start, a reload, by `assay gateway check`.

It makes no file and no folder, and binds nothing. It imports what starts threads: never ask it in a process that forks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from assay.errors import AssayError, DocumentError, UsageError
from assay.files import read_file, require_folder
from assay.guard.gateway.settings import Settings

WORKERS = 60
"""Most processes; each has a column of the shared counters, and the keeper, too."""


def check(settings: Settings) -> tuple[str, ...]:
    """Raise `AssayError` for what no way in can do without: rules, plans, keys, routes, detectors, log, capture.

    Returns sentences on what hinders nobody but callers: keys that are refused, issuers whose keys are not known.
    """
    from assay.alerts import settings as alerts
    from assay.guard.gateway import capture, detect, logs
    from assay.guard.gateway.callers import directory
    from assay.guard.gateway.limits.local import Local
    from assay.guard.gateway.limits.plans import Plans
    from assay.guard.gateway.protocols import routes
    from assay.guard.gateway.rules import ruleset
    from assay.guard.gateway.running.saved import restored
    from assay.guard.gateway.running.state import State

    counters = Local()
    ruleset.compile(settings, counters)
    Plans(settings, counters)
    callers = directory.build(settings)
    routes.build(settings, bytes(32))
    detectors = detect.build(settings)
    logs.check(settings)
    capture.check(settings)
    alerts.parse(settings.alerts, "the gateway file")
    state = State(settings)
    if not _to_be_made(state.folder, "state"):
        state.examine()
        restored(state.standings, detectors)
    if settings.capture is not None:
        _to_be_made(settings.path(settings.capture.folder), "capture.folder")
    who = settings.callers
    if who.anonymous is None and who.keys is None and not who.jwt and who.mtls is None:
        return ("nobody may call: 'callers' names no keys, tokens or certificates, and no plan for anonymous callers",)
    return (*callers.figures().problems, *_key_sets(settings))


def _key_sets(settings: Settings) -> Iterator[str]:
    """What is wrong with files of issuers' keys; those that are fetched are not looked at."""
    from assay.guard.gateway.callers import key_sets

    for one in settings.callers.jwt:
        if "://" not in one.jwks:
            path = settings.path(one.jwks)
            try:
                key_sets.parse(read_file(path, key_sets.MAX_BYTES), path, one.algorithms, 0.0)
            except AssayError as error:
                yield error.message


def check_gateway(settings: Settings, service: str | None = None, proxy: bool = True) -> tuple[str, ...]:
    """Raise `AssayError` for what a gateway with processes of its own cannot begin with, and return what `check` does,
    which is included.
    """
    from assay.guard.gateway.running.state import State

    notes = check(settings)
    State(settings).reachable()
    if settings.workers > WORKERS:
        raise DocumentError(f"workers: {settings.workers} are too many: at most {WORKERS} count together")
    if proxy:
        _check_proxy(settings)
    if service is not None:
        _check_place(service)
    if settings.admin is not None:
        from assay.guard.gateway.admin import places

        listen, token = places.configured(settings)
        places.parse(listen)
        if os.path.lexists(token):
            places.token(token)
        else:
            require_folder(token)
    if settings.redis is not None:
        from assay.guard.gateway.limits.redis import client

        client(settings.redis)
    if settings.otlp is not None:
        from assay.guard.gateway.metrics.otlp import Exporter

        Exporter(settings.otlp, 0.0, lambda _sentence: None)
    return notes


def _check_proxy(settings: Settings) -> None:
    from assay.guard.gateway.proxy import tls
    from assay.guard.gateway.settings.addresses import address

    if not settings.upstream and any(route.upstream is None for route in settings.routes):
        raise UsageError("the gateway file names no upstream", hint="upstream: http://127.0.0.1:8080")
    upstreams = [address(route.upstream or settings.upstream) for route in settings.routes]
    if any(one.tls for one in upstreams):
        tls.client_context(settings)
    tls.server_context(settings)
    if not settings.listen:
        raise DocumentError("listen: the gateway listens nowhere", hint='listen: ["127.0.0.1:8000"]')
    for place in settings.listen:
        unix = place.startswith("unix:")
        _check_place(f"unix:{settings.path(place.removeprefix('unix:'))}" if unix else place)


def _check_place(place: str) -> None:
    from assay.guard.gateway.proxy.listening import parse

    parse(place)


def _to_be_made(folder: str, what: str) -> bool:
    """Whether a folder is not there yet. Raises `UsageError` where it cannot be made."""
    above = folder
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{what}: {folder} cannot be written: {above} is not a folder where you may")
    return above != folder
