"""The proxy runs on uvloop; where its flow depends on the loop, it is tested on asyncio's own too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

ON_BOTH = ("test_flow", "test_connections", "test_hostile", "test_entrance")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH
    metafunc.parametrize("policy", ["uvloop", "asyncio"] if both else ["uvloop"], indirect=True)


@pytest.fixture(autouse=True)
def policy(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "uvloop":
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(None)
