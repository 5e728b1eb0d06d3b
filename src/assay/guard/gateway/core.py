"""The decision core of every way in: `decide` when the head is there, `admit` when the body is, `finish` at the end.

The order of `decide` is the security argument: what cannot be read in one way is refused first; then everybody counts
for the rules, whoever they are and wherever they go; only then is somebody told that a path exists.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from time import CLOCK_BOOTTIME, clock_gettime
from typing import TypeAlias
from uuid import UUID

from assay.guard.gateway import parts
from assay.guard.gateway.interface import (
    ALLOW,
    ANSWER,
    BODY,
    KEEP_ANSWER,
    METER,
    Caller,
    Context,
    Decision,
    Level,
    Route,
    Usage,
    Verb,
)
from assay.guard.gateway.networks import network
from assay.guard.gateway.paths import split
from assay.guard.gateway.permissions import LATER, permitted
from assay.guard.gateway.remembering import Remembering
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.reading import LABEL_ONLY

REMEMBERED = 4096
"""Targets whose answer is remembered; all are forgotten when there are more."""
PERMITS = 65536
"""Permissions that are remembered, of all targets together; all are forgotten when there are more."""

_ASKING = frozenset({Verb.INFER, Verb.EXPLAIN, Verb.CHAT, Verb.COMPLETE, Verb.EMBED})
_FORBIDDEN = Decision(False, 403, "permission", "this caller may not do that")
_BLOCKED = Decision(False, 403, "detect", "this caller is blocked")
_WAITING = Decision(False, 403, "detect", "this caller's requests wait for somebody's approval")
_BY_DEFAULT = Decision(False, 403, "rule:default", "no rule allows this request")


_May: TypeAlias = "dict[int, tuple[Caller, bool]]"
_Target: TypeAlias = "tuple[str, bytes, Route | Decision, _May, int, int, str]"
"""What is remembered of a method and target: path, query, route, who may go there, what kind of route it is (`_HEALTH`,
`_ASKS`, `_NOWHERE` or none of them), what is needed of its bodies, and its hardening.
"""
_NOWHERE, _HEALTH, _ASKS = -1, 1, 2


@dataclass(frozen=True, slots=True)
class Parts:
    """The rooms that a core asks."""

    routes: parts.Routes
    callers: parts.Callers
    rules: parts.Rules
    plans: parts.Plans
    log: parts.Log
    observer: parts.Observer
    standings: parts.Standings


@dataclass(slots=True)
class Proof:
    """What is known of the served model; replaced as a whole by whoever watches it."""

    refusal: Decision | None = None
    """Why nothing is served at the moment."""
    version: str = ""
    """Digest of the model's contents, for the log."""
    problem: str = ""
    """Why it is not proved, for whoever runs the gateway; callers are told less."""


class Core:
    """One configuration at work. A reload makes another beside it; requests end with the one that they began with."""

    def __init__(self, settings: Settings, rooms: Parts, proof: Proof, *, together: int = 1) -> None:
        """``together``: how many requests that have ended are remembered at once (`Remembering`); whoever gives more
        than one calls ``remembering.flush`` a few times a second, and ``end`` when it is over.
        """
        self.settings = settings
        self.proof = proof
        self.remembering = Remembering(rooms.log, rooms.observer, together)
        self._rooms = rooms
        self._leave, self._remember = rooms.plans.leave, self.remembering.add
        # Bound once: `decide` is asked on every request.
        self._address, self._rules = rooms.rules.address, rooms.rules.decide
        self._identify, self._enter, self._draw = rooms.callers.identify, rooms.plans.enter, rooms.observer.draw
        self._standings = rooms.standings
        self._targets: dict[tuple[str, bytes], _Target] = {}
        self._ids = _ids()
        self._default = ALLOW if settings.default == "allow" else _BY_DEFAULT
        self._reactions = settings.detect.reactions
        self._enforced = settings.detect.mode == "enforce"
        self._permits = 0
        """Permissions that are remembered, at most."""
        self._settled = any(plan.rows or plan.row_rate or plan.information for plan in settings.plans.values())
        """Whether plans count predictions: an answer may have more of them than the question said."""
        self._planned = {name: plan.harden for name, plan in settings.plans.items() if plan.harden is not None}
        self._stricter: dict[tuple[str, str], str] = {}
        """Of two hardenings the one that counts; there are few."""

    def decide(self, context: Context) -> Decision:
        """Whether the request goes on, from its head alone. What was decided also stands in the context."""
        context.steady = clock_gettime(CLOCK_BOOTTIME)
        context.id = identity = next(self._ids)
        given = context.headers.get(b"x-request-id")
        context.request_id = identity if given is None else _uuid(given) or identity
        context.model_version = self.proof.version
        context.decision = decision = self._judge(context)
        return decision

    def _judge(self, context: Context) -> Decision:
        target = (context.method, context.target)
        context.path, context.query, route, may, kind, wanted, harden = self._targets.get(target) or self._look_up(
            target
        )
        decision = self._address(context)
        if kind != _NOWHERE:
            context.route = route  # type: ignore[assignment]  # rules ask for protocol, verb and model
        if decision is not None and not decision.allowed:
            return decision
        caller = self._identify(context)
        if type(caller) is Caller:
            context.caller = caller
        if decision is None:
            decision = self._rules(context) or self._default
        if not decision.allowed:
            return decision
        if type(caller) is not Caller:
            return caller  # type: ignore[return-value]  # before the route: a stranger learns no path from us
        if type(route) is not Route:
            return route  # type: ignore[return-value]
        context.model = route.model
        known = may.get(id(caller))
        if known is None or known[0] is not caller:
            known = self._permit(may, caller, route)
        if not known[1]:
            return _FORBIDDEN
        if kind != _HEALTH:
            if self.proof.refusal is not None:
                return self.proof.refusal
            if self._standings and (refused := self._stand(context, caller)):
                return refused
        if (refused := self._enter(context)) is not None:
            return refused
        if kind == _ASKS:
            if harden:
                context.harden = self._harder(context.harden, harden)
            if self._planned and (planned := self._planned.get(caller.plan)) is not None:
                context.harden = self._harder(context.harden, planned)
            if context.harden:
                wanted = BODY | ANSWER
            if wanted:
                context.usage = Usage()
            context.needs = wanted | self._draw(context)
        return ALLOW

    def admit(self, context: Context, body: bytes) -> Decision:
        """Whether the body goes on, where `Context.needs` has `BODY`. `Context.body` is then the one to pass on."""
        measured = self._rooms.routes.measure(context, body)
        if type(measured) is Decision:
            context.decision = measured
            return measured
        assert not isinstance(measured, Decision)
        route, usage = context.route, context.usage
        assert route is not None and usage is not None and context.caller is not None
        usage.rows, usage.tokens_in, usage.tokens_out = measured.rows, measured.tokens_in, measured.tokens_out
        if route.protocol in LATER:
            context.model = measured.model or route.model
            version = measured.version or route.version
            named = Route(route.protocol, route.verb, context.model, version, route.path, route.index)
            if not permitted(context.caller.permissions, named, final=True):
                context.decision = _FORBIDDEN
                return _FORBIDDEN
        if measured.stream:
            context.needs |= METER
        elif usage.tokens_in or self._settled:
            context.needs |= KEEP_ANSWER  # it says what is settled
        price = self.settings.routes[route.index].price
        usage.cost = (
            price.request
            + price.row * usage.rows
            + price.token_in * usage.tokens_in
            + price.token_out * usage.tokens_out
        )
        refused = self._rooms.plans.charge(context)
        context.decision = refused or ALLOW
        context.body = measured.body
        return context.decision

    def answer(self, context: Context, status: int, content_type: bytes, body: bytes, question: bytes) -> bytes:
        """The answer to pass on, where `Context.needs` has `ANSWER`. Raises `parts.Unhardened`."""
        return self._rooms.routes.harden(context, status, content_type, body, question)

    def meter(self, context: Context) -> parts.Meter | None:
        """Follows a streamed answer, where `Context.needs` has `METER`."""
        return self._rooms.routes.meter(context)

    def refuse(self, context: Context, decision: Decision) -> Decision:
        """A face's own refusal, said in the same words: an ambiguous head, a body too large."""
        if not context.id:
            context.id = context.request_id = next(self._ids)
        context.address = context.address or context.peer
        context.decision = decision
        return decision

    def finish(self, context: Context, request: bytes | None = None, response: bytes | None = None) -> None:
        """The request has ended, however: settle, log, show. Called exactly once for each context."""
        try:
            if response is not None and context.usage is not None and context.needs & (BODY | METER) == BODY:
                self._rooms.routes.settle(context, context.content_type, response)
        finally:  # whatever a model server answered, what was reserved is given back, and the request is in the log
            try:
                self._leave(context)
            finally:
                self._remember(context, request, response)

    def _look_up(self, key: tuple[str, bytes]) -> _Target:
        found = split(key[1])
        known: _Target
        if isinstance(found, Decision):
            known = "", b"", found, {}, _NOWHERE, 0, ""
        else:
            route = self._rooms.routes.route(key[0], found[0])
            if isinstance(route, Decision):
                known = *found, route, {}, _NOWHERE, 0, ""
            else:
                kind = _HEALTH if route.verb is Verb.HEALTH else _ASKS if route.verb in _ASKING else 0
                harden = self.settings.routes[route.index].harden or ""
                known = *found, route, {}, kind, needs(self.settings, route.index), harden
        if len(key[1]) <= 512:  # longer ones would make what is remembered large
            if len(self._targets) >= REMEMBERED:
                self._targets.clear()
            self._targets[key] = known
        return known

    def _permit(self, may: _May, caller: Caller, route: Route) -> tuple[Caller, bool]:
        """Remembered by the caller itself, not by its id: rooms make another object when its permissions change."""
        self._permits += 1
        if self._permits > PERMITS:
            self._targets.clear()
            self._permits = 0
        known = may[id(caller)] = (caller, permitted(caller.permissions, route))
        return known

    def _harder(self, first: str, second: str) -> str:
        """Both count: the route's, the plan's and the reaction's are asked for, and an answer has one form."""
        if not first:
            return second
        found = self._stricter.get((first, second))
        if found is None:
            found = self._stricter[first, second] = stricter(self.settings, first, second)
        return found

    def _stand(self, context: Context, caller: Caller) -> Decision | None:
        """How the caller is treated after what detectors said, of it or of those it belongs to; the worst counts."""
        found = []
        # Who has proved who it is does not answer for its neighbours: strangers do, because they have no other name.
        shared = f"net:{network(context.address)}" if caller.id.startswith("address:") else f"owner:{caller.owner}"
        for key in (caller.id, shared):
            standing = self._standings.get(key)
            if standing is not None:  # whoever minds them takes away what is over: this clock may be wrong
                found.append(standing)
        if not found:
            return None
        context.level = max(standing.level for standing in found)
        held = [standing for standing in found if self._enforced or standing.by_hand]
        if not held:
            return None  # detectors only count
        worst = max(held, key=lambda standing: standing.level)
        if worst.level is Level.SLOW:
            context.wait = float(self._reactions.slow)
        elif worst.level is Level.HARDEN:
            context.harden = self._reactions.harden
        elif worst.level is Level.APPROVE:
            return _WAITING
        elif worst.level is Level.BLOCK:
            return _BLOCKED
        return None


def stricter(settings: Settings, first: str, second: str) -> str:
    """Of two hardenings the one that says less; the label alone, where neither does in every respect."""
    one, other = settings.hardenings[first], settings.hardenings[second]
    if one.covers(other):
        return first
    return second if other.covers(one) else LABEL_ONLY


def retry(seconds: float) -> int:
    """``Retry-After`` for a wait: whole seconds, at least one; a wait without end is a day."""
    return max(1, math.ceil(seconds)) if seconds < 86400 else 86400


def needs(settings: Settings, index: int) -> int:
    """`BODY` where bodies of a route have to be read before they go on, else 0."""
    route = settings.routes[index]
    if route.protocol in LATER or route.schema is not None:
        return BODY
    counted = any(
        plan.rows or plan.tokens or plan.cost or plan.information or plan.token_rate or plan.row_rate
        for plan in settings.plans.values()
    )
    planned = any(plan.harden is not None for plan in settings.plans.values())
    hardened = route.harden is not None or planned or settings.detect.mode == "enforce"
    priced = route.price.row or route.price.token_in or route.price.token_out
    return BODY if counted or hardened or priced else 0


def _ids() -> Iterator[str]:
    """Our own request ids: unique over processes and restarts, made without asking the kernel each time."""
    prefix = os.urandom(10).hex()
    endings = [f"{number:03x}" for number in range(4096)]
    for number in count(int.from_bytes(os.urandom(4))):
        begin = f"{prefix}{number:09x}"
        for ending in endings:
            yield begin + ending


def _uuid(value: bytes) -> str:
    """A caller's request id where it is a UUID in its usual form, else nothing: it ends up in logs."""
    if len(value) != 36:
        return ""
    try:
        return str(UUID(value.decode("ascii")))
    except ValueError:
        return ""


class Gate:
    """What a face holds on to: a reload replaces the core, and each request keeps the one that it began with."""

    __slots__ = ("core",)

    def __init__(self, core: Core) -> None:
        self.core = core
