"""Usage plans: what each caller may use, decided before a request goes on and settled when it has ended.

A refusal takes nothing but rates: what earlier checks took is given back. What was used beyond what was reserved
(tokens of a stream) is owed: quotas and rates may then be below zero, and the next requests wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.guard.gateway.core import retry
from assay.guard.gateway.interface import Caller, Context, Counters, Decision, Usage, Verb
from assay.guard.gateway.limits.information import information
from assay.guard.gateway.limits.periods import UNITS, end_of, period_of
from assay.guard.gateway.refusing import UNHARDENED
from assay.guard.gateway.settings.callers import Plan
from assay.guard.gateway.settings.model import Settings
from assay.guard.gateway.settings.serving import Price
from assay.guard.gateway.settings.words import Rate

REMEMBERED = 65536
"""Callers whose keys are remembered; all are forgotten when there are more."""

_ANY = 1 << 62
"""A burst or limit that everything fits."""
_FREE = frozenset({Verb.HEALTH})
"""What no quota of requests counts."""
_UNKNOWN = Decision(False, 403, "plan:unknown", "this caller's plan is not one of the gateway's")
_GONE = Decision(False, 503, "limits", "limits cannot be checked at the moment", 1)
_BUSY = Decision(False, 429, "plan:concurrent", "too many requests of this caller at the same time", 1)


@dataclass(frozen=True, slots=True)
class Quota:
    """One calendar quota."""

    unit: str
    """Of `periods.UNITS`."""
    limit: float
    rule: str
    """What a refusal is called."""
    key: bytes
    """Before the caller's id."""
    reason: str
    """What the caller is told."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One rate with its burst."""

    interval: float
    """Seconds for one."""
    burst: int
    rule: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan, ready to be asked."""

    rate: Bucket | None
    concurrent: int | None
    requests: tuple[Quota, ...]
    amounts: tuple[tuple[int, tuple[Quota, ...]], ...]
    """Quotas of rows, tokens, cost and information, by place in what `_amounts` returns."""
    rates: tuple[tuple[int, Bucket], ...]
    """Rates of rows and tokens, likewise."""
    held: bool
    """Whether a request has something to give back."""


class Held:
    """What a request has reserved."""

    __slots__ = ("amounts", "charged", "entered", "plan", "rates", "requests")

    def __init__(self, plan: Compiled) -> None:
        self.plan = plan
        self.entered = False
        self.requests: list[tuple[bytes, int]] = []
        """Keys and periods in which this request was counted."""
        self.charged: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
        self.amounts: list[tuple[int, bytes, int]] = []
        """Which amount was reserved, under which key, in which period."""
        self.rates: list[tuple[int, bytes, Bucket]] = []


class Plans:
    """`parts.Plans`."""

    def __init__(self, settings: Settings, counters: Counters, *, classes: Mapping[int, int] | None = None) -> None:
        """``classes``: how many classes a route's model knows, by `Route.index`; it may change while this works."""
        self._settings = settings
        self._counters = counters
        self._classes: Mapping[int, int] = {} if classes is None else classes
        self._plans = {name: compiled(plan) for name, plan in settings.plans.items()}
        self._closing = settings.redis is not None and settings.redis.gone == "closed"
        self._names: dict[str, bytes] = {}
        self._rate_keys: dict[str, bytes] = {}

    def enter(self, context: Context) -> Decision | None:
        """Rate, then requests at the same time, then quotas of requests (none for health). Sets `Context.held`. Where
        the other machines are out of reach and ``gone: closed`` says so, nothing goes on.
        """
        caller: Caller = context.caller  # type: ignore[assignment]  # whoever asks knows it
        plan = self._plans.get(caller.plan)
        if plan is None:
            return _UNKNOWN
        counters = self._counters
        if self._closing and counters.refusing:
            return _GONE
        rate = plan.rate
        if rate is not None:
            key = self._rate_keys.get(caller.id) or self._remember(caller.id)
            wait = counters.rate(key, context.steady, rate.interval, rate.burst)
            if wait:
                return Decision(False, 429, rate.rule, "too many requests of this caller", retry(wait))
        if not plan.held:
            return None
        held = Held(plan)
        name = self._name(caller.id)
        if plan.concurrent is not None:
            if not counters.concurrent(b"c" + name, 1, plan.concurrent):
                return _BUSY
            held.entered = True
        if plan.requests and (context.route is None or context.route.verb not in _FREE):
            for quota in plan.requests:
                period = period_of(context.at, quota.unit)
                key = quota.key + name
                if counters.spend(key, period, 1, quota.limit) < 0:
                    self._give_back(held, name)
                    return _spent(quota, period, context.at)
                held.requests.append((key, period))
        context.held = held
        return None

    def charge(self, context: Context) -> Decision | None:
        """Reserve rows, tokens, cost and information by `Context.usage`: quotas first, then rates."""
        held, usage, caller = context.held, context.usage, context.caller
        if type(held) is not Held or usage is None:
            return None
        assert caller is not None
        plan, counters = held.plan, self._counters
        if not plan.amounts and not plan.rates:
            return None
        name = self._name(caller.id)
        held.charged = charged = self._amounts(context, usage)
        for which, quotas in plan.amounts:
            for quota in quotas:
                period = period_of(context.at, quota.unit)
                key = quota.key + name
                if counters.spend(key, period, charged[which], quota.limit) < 0:
                    self._uncharge(held)
                    return _spent(quota, period, context.at)
                held.amounts.append((which, key, period))
        for which, bucket in plan.rates:
            cost = int(charged[which])
            key = bucket.key + name
            wait = counters.rate(key, context.steady, bucket.interval, bucket.burst, cost)
            if wait:
                for taken, other, its in held.rates:
                    counters.rate(other, context.steady, its.interval, _ANY, -int(charged[taken]))
                held.rates.clear()
                self._uncharge(held)
                if cost > bucket.burst:
                    return Decision(False, 413, bucket.rule, "this request alone is more than the plan ever allows")
                return Decision(False, 429, bucket.rule, "this caller asks for too much at once", retry(wait))
            held.rates.append((which, key, bucket))
        return None

    def leave(self, context: Context) -> None:
        """Settle what was used against what was reserved. A request that was refused used nothing but rates; one that
        the model failed (500 and above) used no rows, cost or information. One that the model has answered, and whose
        answer is held back, is no refusal: else callers would have the model compute for nothing.
        """
        held = context.held
        if type(held) is not Held:
            return
        context.held = None
        caller = context.caller
        assert caller is not None
        if context.decision is UNHARDENED:
            if held.entered:
                self._counters.concurrent(b"c" + self._name(caller.id), -1, 0)
            return
        if not context.decision.allowed:
            self._uncharge(held)
            self._give_back(held, self._name(caller.id))
            return
        if held.entered:
            self._counters.concurrent(b"c" + self._name(caller.id), -1, 0)
        if (held.amounts or held.rates) and context.usage is not None:
            self._settle(context, held, context.usage)

    def forget(self, caller: str, now: float, steady: float) -> None:
        """Let a caller begin anew, in every plan: somebody has decided so. ``steady`` as `Context.steady`."""
        name, counters = self._name(caller), self._counters
        for plan in self._plans.values():
            buckets = [bucket for _, bucket in plan.rates] + ([plan.rate] if plan.rate is not None else [])
            for bucket in buckets:
                counters.rate(bucket.key + name, steady, bucket.interval, bucket.burst, -bucket.burst)
            for quota in [*plan.requests, *(quota for _, quotas in plan.amounts for quota in quotas)]:
                counters.spend(quota.key + name, period_of(now, quota.unit), float("-inf"), float("inf"))

    def _settle(self, context: Context, held: Held, usage: Usage) -> None:
        used = self._amounts(context, usage)
        if context.status >= 500:
            used = (0.0, used[1], 0.0, 0.0)
        reserved, counters = held.charged, self._counters
        for which, key, period in held.amounts:
            if used[which] != reserved[which]:
                counters.spend(key, period, used[which] - reserved[which], float("inf"))
        for which, key, bucket in held.rates:
            if int(used[which]) != int(reserved[which]):
                more = int(used[which]) - int(reserved[which])
                counters.rate(key, context.steady + context.ended, bucket.interval, _ANY, more)

    def _amounts(self, context: Context, usage: Usage) -> tuple[float, float, float, float]:
        """Rows, tokens, cost and bits of a request; never below zero, whatever a model server reports."""
        rows = max(0, usage.rows)
        tokens_in, tokens_out = max(0, usage.tokens_in), max(0, usage.tokens_out)
        route = context.route
        assert route is not None
        price: Price = self._settings.routes[route.index].price
        cost = price.request + price.row * rows + price.token_in * tokens_in + price.token_out * tokens_out
        hardening = self._settings.hardenings.get(context.harden) if context.harden else None
        bits = rows * information(self._classes.get(route.index), hardening) if rows else 0.0
        return float(rows), float(tokens_in + tokens_out), max(0.0, cost), bits

    def _uncharge(self, held: Held) -> None:
        """Give back all amounts that were reserved in quotas."""
        for which, key, period in held.amounts:
            self._counters.spend(key, period, -held.charged[which], float("inf"))
        held.amounts.clear()
        held.rates.clear()

    def _give_back(self, held: Held, name: bytes) -> None:
        """For a request that was refused: it was not there."""
        for key, period in held.requests:
            self._counters.spend(key, period, -1, float("inf"))
        held.requests.clear()
        if held.entered:
            self._counters.concurrent(b"c" + name, -1, 0)
            held.entered = False

    def _name(self, caller: str) -> bytes:
        name = self._names.get(caller)
        if name is None:
            if len(self._names) >= REMEMBERED:
                self._names.clear()
            name = self._names[caller] = caller.encode("utf-8", "surrogatepass")
        return name

    def _remember(self, caller: str) -> bytes:
        if len(self._rate_keys) >= REMEMBERED:
            self._rate_keys.clear()
        key = self._rate_keys[caller] = b"r" + self._name(caller)
        return key


_WHAT = ("rows", "tokens", "cost", "information")
"""Keys of a plan, in the order of `Plans._amounts`."""


def compiled(plan: Plan) -> Compiled:
    """A plan with its keys and its rules' names."""
    amounts = tuple(
        (which, _quotas(getattr(plan, what), what, "budget")) for which, what in enumerate(_WHAT) if getattr(plan, what)
    )
    rates = tuple(
        (which, _bucket(rate, None, f"plan:{what}", what.encode() + b"\0"))
        for which, what, rate in ((0, "row-rate", plan.row_rate), (1, "token-rate", plan.token_rate))
        if rate is not None
    )
    return Compiled(
        rate=None if plan.rate is None else _bucket(plan.rate, plan.burst, "plan:rate", b"r"),
        concurrent=plan.concurrent,
        requests=_quotas(plan.requests, "requests", "plan"),
        amounts=amounts,
        rates=rates,
        held=bool(plan.concurrent or plan.requests or amounts or rates),
    )


def _quotas(limits: Mapping[Any, float], what: str, family: str) -> tuple[Quota, ...]:
    return tuple(
        Quota(
            unit,
            limits[unit],
            f"{family}:{what}-{unit}",
            f"q{what}\0{unit}\0".encode(),
            f"the plan's {what} " + ("" if unit == "life" else f"of this {unit} ") + "are used up",
        )
        for unit in UNITS
        if unit in limits
    )


def _bucket(rate: Rate, burst: int | None, rule: str, key: bytes) -> Bucket:
    return Bucket(rate.seconds / rate.limit, rate.limit if burst is None else burst, rule, key)


def _spent(quota: Quota, period: int, now: float) -> Decision:
    """Refused until the period ends; a life has no end that a caller could wait for."""
    wait = 0 if quota.unit == "life" else retry(end_of(period) - now)
    return Decision(False, 429, quota.rule, quota.reason, wait)
