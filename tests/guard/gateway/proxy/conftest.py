"""The proxy runs on uvloop; where its flow depends on the loop, it is tested on asyncio's own too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from assay.guard.gateway.proxy import pool
from guard.gateway.proxy.running import PATIENCE

ON_BOTH = ("test_flow", "test_connections", "test_hostile", "test_entrance")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH
    metafunc.parametrize("policy", ["uvloop", "asyncio"] if both else ["uvloop"], indirect=True)


@pytest.fixture(autouse=True)
def policy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pool, "KEPT", PATIENCE)  # how often a connection was used again is no matter of the machine
    if request.param == "uvloop":
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(None)
