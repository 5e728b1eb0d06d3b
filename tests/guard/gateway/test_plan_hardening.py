"""A plan's hardening counts beside the route's and the reaction's."""

from __future__ import annotations

from assay.guard.gateway.core import Core, Parts, Proof, needs
from assay.guard.gateway.interface import ANSWER, BODY, Caller, Context, Decision, Route, Standing
from assay.guard.gateway.limits.local import Local
from assay.guard.gateway.limits.plans import Plans
from assay.guard.gateway.protocols import routes
from assay.guard.gateway.rules import ruleset
from assay.guard.gateway.settings import convert


class Known:
    """Everybody is on one plan."""

    def __init__(self, plan: str) -> None:
        self._caller = Caller("key:1", plan=plan)

    def identify(self, context: Context) -> Caller | Decision:
        return self._caller


class Nothing:
    def write(self, context: Context) -> None: ...

    def draw(self, context: Context) -> int:
        return 0

    def see(self, context: Context, request: bytes | None, response: bytes | None) -> None: ...


def hardened(plan: str, **more: object) -> Context:
    settings = convert(
        {
            "hardenings": {"two": {"digits": 2}, "one": {"digits": 1}, "first": {"top": 1}},
            "plans": {"free": {"harden": "one"}, "paid": {}, "odd": {"harden": "first"}},
            "routes": [{"protocol": "kserve-v1", **more}],
        },
        "gateway.yaml",
        "/",
    )
    standings: dict[str, Standing] = {}
    parts = Parts(
        routes.build(settings, bytes(32)),
        Known(plan),
        ruleset.compile(settings, Local()),
        Plans(settings, Local()),
        Nothing(),
        Nothing(),
        standings,
    )
    context = Context("POST", b"/v1/models/m:predict", {b"content-type": b"application/json"}, "192.0.2.1", 1e9)
    assert Core(settings, parts, Proof()).decide(context).allowed
    assert isinstance(context.route, Route) and needs(settings, 0) == BODY
    return context


def test_the_plan_says_how_much_its_callers_hear() -> None:
    free, paid = hardened("free"), hardened("paid")
    assert free.harden == "one" and free.needs & ANSWER
    assert paid.harden == "" and not paid.needs & ANSWER


def test_of_plan_and_route_the_one_that_says_less() -> None:
    assert hardened("free", harden="two").harden == "one"
    assert hardened("paid", harden="two").harden == "two"
    assert hardened("odd", harden="two").harden == "label-only"  # neither says less in every respect
