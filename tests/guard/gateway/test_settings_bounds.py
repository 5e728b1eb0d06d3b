"""Values of the gateway file that would stop nothing, or never stop."""

import pytest

from assay.errors import DocumentError
from assay.guard.gateway.settings import convert


def read(**raw):
    return convert({"assay-gateway": 1, **raw}, "gateway.yaml", "/")


@pytest.mark.parametrize("name", ["request", "row", "token-in", "token-out"])
def test_nothing_has_a_price_below_zero(name):
    """A request would then pay for others."""
    route = {"protocol": "openai", "price": {name: -1.0}}
    with pytest.raises(DocumentError, match="price"):
        read(routes=[route])
    route["price"][name] = 0.5
    assert read(routes=[route]).routes[0].price


@pytest.mark.parametrize("span", ["0ms", "000ms", "0s", "-1s"])
def test_nothing_is_done_each_no_time(span):
    """What is done each so often would be done without end."""
    with pytest.raises(DocumentError, match="every"):
        read(model={"target": "m", "every": span})
    assert read(model={"target": "m", "every": "10ms"}).model.every == 0.01


NUMBERS = {
    "cost": lambda number: {"plans": {"default": {"cost": {"day": number}}}},
    "information": lambda number: {"plans": {"default": {"information": {"day": number}}}},
    "noise": lambda number: {"hardenings": {"a": {"noise": number}}},
    "slack": lambda number: {"routes": [{"protocol": "json", "path": "/p", "schema": {"slack": number}}]},
    "false-alarms": lambda number: {"detect": {"false-alarms": number}},
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("number", [float("nan"), -0.5])
def test_no_number_is_none_or_below_zero(name, number):
    """Nothing exceeds a budget that is no number: a file cannot say one, but a service in Python can."""
    with pytest.raises(DocumentError, match=name):
        read(**NUMBERS[name](number))
    assert read(**NUMBERS[name](0.5))
