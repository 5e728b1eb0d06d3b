"""Where the rooms of the gateway are put together: each as the settings ask, handed to the core that asks them.

Nothing is decided here. Rooms that need a library of the extra are imported inside of the function that needs them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from assay.errors import MissingExtraError
from assay.files import read_file
from assay.guard.gateway.core import Core, Gate, Parts, Proof
from assay.guard.gateway.interface import Counters, Sample, Standing
from assay.guard.gateway.metrics.families import Family, families
from assay.guard.gateway.metrics.registry import Registry
from assay.guard.gateway.metrics.registry import Total as Total
from assay.guard.gateway.remembering import MANY
from assay.guard.gateway.running.observation import Change, Learning, Observation
from assay.guard.gateway.running.remote import Remote
from assay.guard.gateway.running.state import State
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import Rule

if TYPE_CHECKING:
    import socket

    from assay.guard.gateway.callers.directory import Directory
    from assay.guard.gateway.limits.redis import Synced
    from assay.guard.gateway.limits.shared import Shared
    from assay.guard.gateway.logs.writer import Nothing, Writer
    from assay.guard.gateway.rules.ruleset import Ruleset

DENIED = "denied-by-hand"
"""The rule for addresses that an administrator denied; before all others."""


class Face(Protocol):
    """Something that listens."""

    async def drain(self, seconds: float) -> None:
        """Finish what is under way."""

    def reload(self, settings: Settings) -> None:
        """For new connections."""

    def figures(self) -> Mapping[str, float]:
        """For metrics."""


@dataclass(frozen=True, slots=True)
class Made:
    """One configuration at work, in one process."""

    core: Core
    log: Writer | Nothing
    observer: Remote
    figures: Registry
    callers: Directory
    rules: Ruleset

    def samples(self) -> list[Sample]:
        """What has ended since the last time, for whoever learns; all of it is in the log's hands then."""
        self.core.remembering.flush()
        return self.observer.take()

    def close(self) -> None:
        """Nothing begins any more: everything is written."""
        self.core.remembering.end()
        self.log.close()

    def refresh(self) -> None:
        """Files that have changed; about once a second, where a disk may be waited for."""
        self.callers.refresh()
        self.rules.refresh()

    def levels(self) -> dict[str, float]:
        """How things stand."""
        total = self.figures.total
        total("log_lines_lost", self.log.lost)
        total("samples_dropped", self.observer.dropped)
        total("samples_shortened", self.observer.shortened)
        for why, count in self.callers.figures().refused.items():
            total(f"credentials_refused_{why.replace('-', '_')}", count)
        return {
            "log_lines_waiting": float(self.log.waiting),
            **{f"rule_matches_{name.replace('-', '_')}": float(count) for name, count in self.rules.figures().items()},
        }


def require_extra() -> None:
    """Raise `MissingExtraError` where the gateway's libraries are not installed."""
    from importlib.util import find_spec

    for name in ("httptools", "uvloop", "numpy"):
        if find_spec(name) is None:
            raise MissingExtraError(f"the gateway ({name} is not installed)", "gateway")


def make(
    settings: Settings,
    state: State,
    counters: Counters,
    standings: Mapping[str, Standing],
    proof: Proof,
    before: Made | None = None,
) -> Made:
    """The rooms and their core; ``before`` is what a reload takes the place of. Raises `AssayError`."""
    from assay.guard.gateway.callers import directory
    from assay.guard.gateway.capture.draw import Draw
    from assay.guard.gateway.limits.plans import Plans
    from assay.guard.gateway.logs import open_log
    from assay.guard.gateway.protocols import routes
    from assay.guard.gateway.rules import ruleset

    rules = ruleset.compile(_with_denied(settings, state), counters)
    callers = directory.build(settings)
    if before is not None:
        callers.take_over(before.callers)
    callers.refresh()
    if before is None:
        callers.wait(5.0)  # the first callers shall not be refused because key sets are on their way
    serving = routes.build(settings, state.secret("noise"))
    figures = Registry(by_caller=settings.metrics_by_caller) if before is None else before.figures
    if before is not None and before.core.settings.log == settings.log:
        log = before.log
    else:
        log = open_log(settings, state.secret("log"))  # whoever reloads closes the old one
    observer = Remote(settings, Draw(settings).draw if settings.capture is not None else None, figures.record)
    if before is not None:
        observer.take_over(before.observer)
    classes = {index: route.classes for index, route in enumerate(settings.routes) if route.classes is not None}
    plans = Plans(settings, counters, classes=classes)
    parts = Parts(serving, callers, rules, plans, log, observer, standings)
    return Made(Core(settings, parts, proof, together=MANY), log, observer, figures, callers, rules)


def observation(
    settings: Settings,
    state: State,
    tell: Callable[[Sequence[Change]], None],
    warn: Callable[[str], None],
    place: str | None = None,
    before: Observation | None = None,
) -> Observation:
    """Those who capture and learn; ``place`` is the file of standings, if not the gateway's, and ``before`` what a
    reload takes the place of. Raises `AssayError`.
    """
    from assay.alerts import settings as alerts
    from assay.guard.gateway import detect
    from assay.guard.gateway.capture.writer import open_capture
    from assay.guard.gateway.protocols import routes

    learning = Learning(
        routes.build(settings, state.secret("noise")),
        detect.build(settings),
        open_capture(settings, state.secret("capture"), warn),
        alerts.parse(settings.alerts, settings.path("gateway.yaml")),
    )
    scope = f"gateway: {settings.listen[0]}"
    return Observation(learning, place or state.standings, scope=scope, tell=tell, warn=warn, before=before)


def counters(settings: Settings, state: State) -> Shared:
    """Those of this machine; made before the first fork."""
    from assay.guard.gateway.limits.shared import Shared

    return Shared(state.counters, synced=settings.redis is not None)


def synchronised(settings: Settings, counters: Shared) -> Synced | None:
    """Brings counters of several machines together, in a thread; None where there is one. Raises `AssayError`."""
    if settings.redis is None:
        return None
    from assay.guard.gateway.limits.redis import Synced

    made = Synced(counters, settings.redis)
    made.start()
    return made


def sockets(settings: Settings) -> list[list[socket.socket]]:
    """One list for each worker: own sockets for TCP, where the kernel spreads connections, and a common one for unix.

    Raises `UsageError` where a place is taken.
    """
    made: list[list[socket.socket]] = [[] for _ in range(settings.workers)]
    for place in settings.listen:
        if place.startswith("unix:"):
            common = listen(f"unix:{settings.path(place.removeprefix('unix:'))}", False)
            for several in made:
                several.append(common)
        else:
            for several in made:
                several.append(listen(place, settings.workers > 1))
    return made


def listen(place: str, reuse_port: bool, mode: int | None = None) -> socket.socket:
    """A bound socket; ``mode`` is a unix socket's. Raises `UsageError`."""
    import os

    from assay.guard.gateway.proxy.listening import listen as bound

    made = bound(place, reuse_port)
    if mode is not None and place.startswith("unix:"):
        os.chmod(place.removeprefix("unix:"), mode)
    return made


def close(sockets: Sequence[socket.socket]) -> None:
    """Let go of sockets, and of the names of unix sockets: nobody shall connect to what answers no more."""
    import contextlib
    import os
    import socket

    for one in sockets:
        name = one.getsockname() if one.fileno() >= 0 and one.family == socket.AF_UNIX else None
        one.close()
        if name:
            with contextlib.suppress(OSError):
                os.unlink(name)


def secret(settings: Settings) -> bytes:
    """What an edge has to bring to a decision service on a loopback address; empty: nothing was settled. Raises
    `UsageError`.
    """
    return b"" if settings.service_secret is None else read_file(settings.path(settings.service_secret), 4096).strip()


async def faces(
    gate: Gate, settings: Settings, proxied: Sequence[socket.socket], asked: Sequence[socket.socket]
) -> list[Face]:
    """What listens in a worker: the proxy, the decision service, or both."""
    made: list[Face] = []
    if proxied:
        from assay.guard.gateway.proxy.server import Server

        server = Server(gate, settings)
        await server.start(proxied)
        made.append(server)
    if asked:
        from assay.guard.gateway.service.server import Service

        service = Service(gate, settings, secret=secret(settings))
        await service.start(asked)
        made.append(service)
    return made


def told(keeper: Any) -> list[Family]:
    """All metrics of a gateway, as its keeper knows them."""
    observed = keeper.observation
    model = keeper.settings.model
    return families(
        keeper.figures,
        list(keeper.levels.values()),
        standings=observed.levels(),
        counters=observed.figures(),
        proved=None if model is None else keeper.proof.refusal is None,
    )


def exporter(keeper: Any, warn: Callable[[str], None]) -> Callable[[float], None] | None:
    """Sends metrics to OpenTelemetry when they are due; called about each second. Raises `MissingExtraError`."""
    otlp = keeper.settings.otlp
    if otlp is None:
        return None
    from assay.guard.gateway.metrics.otlp import Exporter

    made = Exporter(otlp, time.time(), warn)

    def send(now: float) -> None:
        if made.due(now):
            made.send(told(keeper), now)

    return send


def _with_denied(settings: Settings, state: State) -> Settings:
    """The settings, with what an administrator denied before all rules."""
    rule = Rule(id=DENIED, priority=-(1 << 31), action="block", match={"address-in": DENIED})
    addresses = {**settings.addresses, DENIED: {"file": state.denied}}
    return msgspec.structs.replace(settings, addresses=addresses, rules=(rule, *settings.rules))
