"""Usage plans: what is refused, what is given back, what is owed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from assay.guard.gateway.interface import ALLOW, Caller, Context, Decision, Route, Usage, Verb
from assay.guard.gateway.limits.information import information
from assay.guard.gateway.limits.local import Local
from assay.guard.gateway.limits.periods import FOREVER, UNITS, end_of, period_of, start_of
from assay.guard.gateway.limits.plans import Plans
from assay.guard.gateway.refusing import UNHARDENED
from assay.guard.gateway.settings.reading import convert
from assay.guard.gateway.settings.serving import Hardening

T0 = 1_790_000_000.0
"""2026-09-21T14:13:20Z, a Monday."""


def plans(plan: dict[str, Any], **more: Any) -> Plans:
    raw = {
        "assay-gateway": 1,
        "plans": {"default": plan},
        "routes": [{"protocol": "sagemaker"} | more.pop("route", {})],
    }
    return Plans(convert(raw | more, "gateway.yaml", "/nowhere"), Local(), classes=more.get("classes") or {0: 10})


def asked(at: float = T0, caller: str = "key:1", plan: str = "default", verb: Verb = Verb.INFER) -> Context:
    context = Context("POST", b"/invocations", {}, "192.0.2.1", at, steady=at)
    context.caller = Caller(caller, plan=plan)
    context.route = Route("sagemaker", verb, "m", "", "/invocations")
    context.usage = Usage()
    return context


def through(guard: Plans, context: Context, rows: int = 0, tokens_in: int = 0, tokens_out: int = 0) -> Decision:
    """Enter and charge, as the core does."""
    refused = guard.enter(context)
    if refused is None:
        context.usage = Usage(rows, tokens_in, tokens_out)
        refused = guard.charge(context)
    context.decision = refused or ALLOW
    return context.decision


def test_rate_with_burst_and_when_to_come_back() -> None:
    guard = plans({"rate": "60/60s", "burst": 3})
    assert [guard.enter(asked()) for _ in range(3)] == [None] * 3
    refused = guard.enter(asked())
    assert refused is not None and (refused.status, refused.rule, refused.retry_after) == (429, "plan:rate", 1)
    assert guard.enter(asked(caller="key:2")) is None
    assert guard.enter(asked(T0 + 1)) is None
    slow = plans({"rate": "2/1h", "burst": 1})
    assert slow.enter(asked()) is None
    refused = slow.enter(asked(T0 + 100))
    assert refused is not None and refused.retry_after == 1700
    assert slow.enter(asked(T0 + 100 + refused.retry_after)) is None


def test_without_a_burst_as_many_as_the_span_has() -> None:
    guard = plans({"rate": "5/60s"})
    assert [guard.enter(asked()) is None for _ in range(6)] == [True] * 5 + [False]


def test_a_plan_that_is_not_there_lets_nothing_through() -> None:
    refused = plans({}).enter(asked(plan="gold"))
    assert refused is not None and refused.status == 403


def test_an_answer_that_is_held_back_was_computed_all_the_same() -> None:
    guard = plans({"requests": {"day": 2}, "rows": {"day": 20}, "concurrent": 1})
    for _ in range(2):
        context = asked()
        assert through(guard, context, rows=10).allowed
        context.status, context.decision = 502, UNHARDENED
        guard.leave(context)
    refused = through(guard, asked(), rows=1)
    assert (refused.status, refused.rule) == (429, "plan:requests-day")


def test_concurrency_is_let_go_however_a_request_ends() -> None:
    guard = plans({"concurrent": 2})
    inside = [asked() for _ in range(2)]
    assert [guard.enter(context) for context in inside] == [None, None]
    refused = guard.enter(asked())
    assert refused is not None and refused.rule == "plan:concurrent"
    inside[0].decision = Decision(False, 413)
    inside[1].status = 502
    for context in inside:
        guard.leave(context)
        guard.leave(context)  # again: nothing
    assert [guard.enter(asked()) is None for _ in range(3)] == [True, True, False]


def test_quotas_of_requests_and_the_periods_turn() -> None:
    guard = plans({"requests": {"day": 2, "month": 3}})
    assert [guard.enter(asked()) for _ in range(2)] == [None, None]
    refused = guard.enter(asked())
    midnight = T0 - T0 % 86400 + 86400
    assert refused is not None
    assert (refused.rule, refused.retry_after) == ("plan:requests-day", midnight - T0)
    assert guard.enter(asked(midnight)) is None
    refused = guard.enter(asked(midnight))
    assert refused is not None and refused.rule == "plan:requests-month"
    assert 0 < refused.retry_after <= 86400 * 10
    # What the month refused was not taken from the day.
    october = end_of(period_of(T0, "month"))
    assert [guard.enter(asked(october)) is None for _ in range(3)] == [True, True, False]


def test_health_is_no_request_of_the_quota() -> None:
    guard = plans({"requests": {"life": 1}})
    assert all(guard.enter(asked(verb=Verb.HEALTH)) is None for _ in range(5))
    assert guard.enter(asked()) is None
    refused = guard.enter(asked())
    assert refused is not None and (refused.rule, refused.retry_after) == ("plan:requests-life", 0)


def test_what_a_later_check_refuses_gives_back_all_but_rates() -> None:
    guard = plans({"rate": "10/1h", "concurrent": 1, "requests": {"day": 2}, "rows": {"day": 5}})
    for _ in range(8):
        context = asked()
        assert through(guard, context, rows=6).rule == "budget:rows-day"
        guard.leave(context)
    for _ in range(2):
        context = asked()
        assert through(guard, context, rows=2).allowed
        guard.leave(context)
    assert guard.enter(asked()).rule == "plan:rate"  # type: ignore[union-attr]


def test_what_is_refused_after_it_was_charged_gives_back_all() -> None:
    guard = plans({"rows": {"day": 5}, "requests": {"day": 1}, "concurrent": 1})
    context = asked()
    assert through(guard, context, rows=5).allowed
    context.decision = Decision(False, 413)
    guard.leave(context)
    assert through(guard, asked(), rows=5).allowed


def test_schema_refusals_give_back_too() -> None:
    guard = plans({"requests": {"day": 1}})
    context = asked()
    assert guard.enter(context) is None
    context.decision = Decision(False, 422, "schema")
    guard.leave(context)
    assert guard.enter(asked()) is None


def test_several_budgets_are_all_or_nothing() -> None:
    guard = plans({"rows": {"hour": 100, "life": 10}, "tokens": {"day": 50}})
    assert through(guard, asked(), rows=5, tokens_in=51).rule == "budget:tokens-day"
    assert through(guard, asked(), rows=10, tokens_in=50).allowed
    assert through(guard, asked(), rows=1).rule == "budget:rows-life"


def test_tokens_are_reserved_and_settled() -> None:
    guard = plans({"tokens": {"day": 1000}})
    first = asked()
    assert through(guard, first, tokens_in=100, tokens_out=900).allowed
    assert not through(guard, asked(), tokens_in=1).allowed
    first.usage = Usage(0, 100, 50)
    guard.leave(first)
    second = asked()
    assert through(guard, second, tokens_in=100, tokens_out=750).allowed
    second.usage = Usage(0, 100, 2000)  # more than was reserved: owed
    guard.leave(second)
    assert not through(guard, asked(), tokens_in=1).allowed


def test_a_token_rate_goes_into_debt_that_the_next_requests_pay() -> None:
    guard = plans({"token-rate": "100/100s"})
    first = asked()
    assert through(guard, first, tokens_out=100).allowed
    first.usage = Usage(0, 0, 150)
    guard.leave(first)
    refused = through(guard, asked(T0 + 100), tokens_out=100)
    assert (refused.rule, refused.retry_after) == ("plan:token-rate", 50)
    unused = asked(T0 + 150)
    assert through(guard, unused, tokens_out=100).allowed
    unused.usage = Usage()
    guard.leave(unused)
    assert through(guard, asked(T0 + 150), tokens_out=100).allowed


def test_what_is_larger_than_the_bucket_is_never_waited_for() -> None:
    guard = plans({"row-rate": "10/60s", "rows": {"day": 100}})
    refused = through(guard, asked(), rows=11)
    assert (refused.status, refused.retry_after) == (413, 0)
    assert through(guard, asked(), rows=10).allowed
    refused = through(guard, asked(), rows=10)
    assert (refused.status, refused.rule, refused.retry_after) == (429, "plan:row-rate", 60)


def test_of_two_rates_the_second_gives_back_the_first() -> None:
    guard = plans({"row-rate": "10/60s", "token-rate": "10/60s"})
    assert not through(guard, asked(), rows=10, tokens_in=11).allowed
    assert through(guard, asked(), rows=10, tokens_in=10).allowed


def test_cost_by_the_routes_price() -> None:
    price = {"request": 1.0, "row": 0.5, "token-out": 0.25}
    guard = plans({"cost": {"month": 10.0}}, route={"price": price})
    first = asked()
    assert through(guard, first, rows=2, tokens_out=32).allowed  # 1 + 1 + 8
    assert through(guard, asked()).rule == "budget:cost-month"
    first.usage = Usage(2, 0, 4)  # 1 + 1 + 1
    guard.leave(first)
    assert through(guard, asked(), rows=2, tokens_out=20).allowed  # 7


def test_what_the_model_failed_costs_no_rows() -> None:
    guard = plans({"rows": {"day": 5}, "requests": {"day": 2}})
    failed = asked()
    assert through(guard, failed, rows=5).allowed
    failed.status = 503
    guard.leave(failed)
    assert through(guard, asked(), rows=5).allowed
    assert through(guard, asked()).rule == "plan:requests-day"


def test_a_model_that_reports_negative_tokens_frees_nothing() -> None:
    guard = plans({"tokens": {"day": 100}})
    first, second = asked(), asked()
    assert through(guard, first, tokens_in=50).allowed
    assert through(guard, second, tokens_in=50).allowed
    first.usage = Usage(0, -10_000, -10_000)
    guard.leave(first)
    assert not through(guard, asked(), tokens_in=51).allowed
    assert through(guard, asked(), tokens_in=50).allowed


def test_a_reservation_of_yesterday_frees_nothing_today() -> None:
    guard = plans({"tokens": {"day": 1000}})
    midnight = T0 - T0 % 86400 + 86400
    late = asked(midnight - 1)
    assert through(guard, late, tokens_out=1000).allowed
    assert through(guard, asked(midnight), tokens_out=900).allowed
    late.usage = Usage()
    guard.leave(late)
    assert not through(guard, asked(midnight), tokens_out=200).allowed


def test_information_by_hardening() -> None:
    guard = plans({"information": {"day": 100.0}})
    for _ in range(30):
        context = asked()
        context.harden = "label-only"
        assert through(guard, context, rows=1).allowed
    assert through(guard, asked(), rows=1).rule == "budget:information-day"


@pytest.mark.parametrize(
    ("classes", "hardening", "bits"),
    [
        (10, None, 52 * 9),
        (None, None, 52),
        (2, Hardening(label_only=True), 1),
        (None, Hardening(label_only=True), 1),
        (1, Hardening(label_only=True), 1),
        (10, Hardening(label_only=True, digits=3), math.log2(10)),
        (2, Hardening(digits=2), math.log2(101)),
        (10, Hardening(buckets=4), 18),
        (10, Hardening(digits=17), 52 * 9),
        (10, Hardening(top=1, digits=1), math.log2(10) + math.log2(11)),
        (10, Hardening(top=2, buckets=2), math.log2(90) + 2),
        (1000, Hardening(digits=0), 999),
        (10, Hardening(buckets=1), math.log2(10)),
        (3, Hardening(top=99), 104),
    ],
)
def test_bits_of_an_answer(classes: int | None, hardening: Hardening | None, bits: float) -> None:
    assert information(classes, hardening) == pytest.approx(bits)


@pytest.mark.parametrize(
    ("unit", "start", "end"),
    [
        ("hour", "2026-09-21T14:00:00", "2026-09-21T15:00:00"),
        ("day", "2026-09-21T00:00:00", "2026-09-22T00:00:00"),
        ("week", "2026-09-21T00:00:00", "2026-09-28T00:00:00"),
        ("month", "2026-09-01T00:00:00", "2026-10-01T00:00:00"),
    ],
)
def test_calendar_periods(unit: str, start: str, end: str) -> None:
    from datetime import datetime

    first, after = (int(datetime.fromisoformat(text + "+00:00").timestamp()) for text in (start, end))
    period = period_of(T0, unit)
    assert (start_of(period), end_of(period)) == (first, after)
    assert period_of(first, unit) == period_of(after - 0.001, unit) == period
    assert period_of(after, unit) > period > period_of(first - 0.001, unit)


def test_a_week_over_the_turn_of_the_year_and_a_december() -> None:
    new_year = 1_798_761_600.0  # 2027-01-01, a Friday
    assert period_of(new_year - 1, "week") == period_of(new_year, "week")
    assert end_of(period_of(new_year - 1, "month")) == new_year
    assert end_of(period_of(new_year, "life")) == FOREVER
    assert len({period_of(0, unit) for unit in UNITS}) == len(UNITS)
    for number in (-1, 5, 7, FOREVER * 8):
        with pytest.raises(ValueError):
            end_of(number)
