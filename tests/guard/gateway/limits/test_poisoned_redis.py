"""What somebody else wrote into the same Redis: it may cost a round, never the thread that brings machines together."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from gateway_making import until
from guard.gateway.limits.test_redis import Server, machine, rounds, server, spend, used

assert server  # the fixture

BIG = 1 << 63


@pytest.mark.parametrize(
    "news",
    [
        [[[BIG, 1, 60, 5]], [], [], False],
        [[[1, BIG, 60, 5]], [], [], False],
        [[[1, 1, 60, BIG]], [], [], False],
        [[], [[BIG, 1, 5]], [], False],
        [[], [[1, 1, BIG]], [], False],
        [[], [], [[BIG, 1, 1, 1.0]], False],
        [[], [], [[1, 1, BIG, 1.0]], False],
        [[], [], [[1, 1, -1, 1.0]], False],
    ],
)
def test_a_poisoned_message_costs_no_thread(server: Server, tmp_path: Path, news: object) -> None:
    with machine(tmp_path, "a", server.url) as (one, synced), machine(tmp_path, "b", server.url) as (other, its):
        rounds(synced, its)
        synced._client.xadd("assay:news", {"from": "stranger", "news": msgspec.msgpack.encode(news)})
        synced.start()
        spend(other, 7)
        until(lambda: its.sync() and used(one) >= 7, "the other's use is heard of")
        assert used(one) == 7
        assert synced._thread is not None and synced._thread.is_alive()
        synced.stop()


def test_a_message_about_a_window_of_another_length_stops_no_clock(server: Server, tmp_path: Path) -> None:
    with machine(tmp_path, "a", server.url) as (one, synced):
        rounds(synced)
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert one.window(b"w", now, 600) == 1
        news = [[[*one.windows.digest(b"w"), 1, 5]], [], [], False]
        synced._client.xadd("assay:news", {"from": "stranger", "news": msgspec.msgpack.encode(news)})
        rounds(synced)
        assert one.window(b"w", now + 1, 600) == 2
        assert one.window(b"w", now + 1300, 600) == 1, "what was long ago no longer counts"
