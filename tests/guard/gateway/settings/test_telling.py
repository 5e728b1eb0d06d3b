"""A mistake in the gateway file is told with its line, its place and what may stand there."""

from __future__ import annotations

from typing import Any

import pytest

from assay.errors import DocumentError
from assay.guard.gateway.settings import convert, read

GOOD = """assay-gateway: 1
upstream: http://127.0.0.1:1
plans:
  default: {rate: 10/s, rows: {day: 5000}}
  partner: {rate: 50/s}
routes:
  - {protocol: kserve-v1, models: [loans]}
rules:
  - {id: one, priority: 1, action: block}
  - {id: two, priority: 2, action: count}
capture: {folder: kept}
workers: 2
"""


@pytest.mark.parametrize(
    ("good", "bad", "sentence", "hint"),
    [
        ("plans:", "plan:", "g.yaml:3: plan: this key is not known", "did you mean 'plans'?"),
        (
            "rate: 50/s",
            "rate: 50",
            "g.yaml:5: plans.partner.rate: 50 is no rate: write 100/60s, 10/s or 5000/d".replace("50 ", "'50' "),
            None,
        ),
        ("{rate: 50/s}", "{rat: 50/s}", "g.yaml:5: plans.partner.rat: this key is not known", "did you mean 'rate'?"),
        ("day: 5000", "dy: 5000", "g.yaml:4: plans.default.rows.dy: this key is not known", "did you mean 'day'?"),
        (
            "day: 5000",
            "day: many",
            "g.yaml:4: plans.default.rows.day: a whole number is expected here, not text",
            None,
        ),
        ("action: count", "action: cuont", "g.yaml:10: rules[1].action: 'cuont' is not known", "did you mean 'count'?"),
        ("id: two, ", "", "g.yaml:10: rules[1]: the key 'id' is missing", None),
        ("protocol: kserve-v1", "protocol: kserve", "g.yaml:7: routes[0].protocol: 'kserve' is not known", "kserve-v1"),
        ("[loans]", "loans", "g.yaml:7: routes[0].models: a list is expected here, not text", None),
        ("folder: kept", "folder: [kept]", "g.yaml:11: capture.folder: text is expected here, not a list", None),
        ("workers: 2", "workers: 0", "g.yaml:12: workers: a whole number of at least 1 is expected here", None),
        ("workers: 2", 'directory: "/"', "g.yaml: 'directory' is not a key of this file", None),
        ("workers: 2", '"wor\\nkers": 2', "g.yaml:12: wor?kers: this key is not known", "did you mean 'workers'?"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_what_may_stand_there(
    good: str, bad: str, sentence: str, hint: str | None
) -> None:
    assert good in GOOD
    with pytest.raises(DocumentError) as told:
        read(GOOD.replace(good, bad).encode(), "g.yaml", "/")
    assert told.value.message == sentence
    assert told.value.hint is None if hint is None else hint in (told.value.hint or "")


def test_the_right_one_of_several_plans_is_named_though_all_are_wrong_in_some_way() -> None:
    text = GOOD.replace("rate: 10/s", "rate: 10/s, burst: 0").replace("rate: 50/s", "rate: 50/s, burst: no")
    with pytest.raises(DocumentError, match=r"g\.yaml:4: plans\.default\.burst: a whole number of at least 1"):
        read(text.encode(), "g.yaml", "/")


def test_flags_have_no_line() -> None:
    with pytest.raises(DocumentError) as told:
        convert({"plans": {"default": {"rate": "100"}}}, "the command line", "/")
    assert told.value.message.startswith("the command line: plans.default.rate: '100' is no rate")


@pytest.mark.parametrize(
    "key",
    [
        "x - at `$.plans",
        "x - at `$.plans[...].rate",
        "x - at `$.nope[...]",
        "x - at `key` in `$.workers[...][3]",
        "` - at `$",
        "[...]",
        "a.b[0]`",
        "\u202egnp",
    ],
)
@pytest.mark.parametrize("place", [(), ("plans", "default"), ("routes", 0)])
def test_a_key_that_looks_like_a_place_is_a_mistake_like_any_other(key: str, place: tuple[str | int, ...]) -> None:
    raw: dict[str, Any] = {"workers": 1, "plans": {"default": {}}, "routes": [{"protocol": "openai"}]}
    there: Any = raw
    for step in place:
        there = there[step]
    there[key] = 1
    with pytest.raises(DocumentError) as told:
        convert(raw, "g.yaml", "/")
    assert told.value.message.startswith("g.yaml: ") and told.value.message.isprintable()
