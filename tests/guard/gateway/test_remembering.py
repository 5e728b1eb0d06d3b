"""Requests that have ended are remembered together, each once, whatever fails and whoever asks for it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from assay.guard.gateway.interface import Context
from assay.guard.gateway.remembering import LARGE, Remembering


class Rooms:
    """Log and observer, which write down what they are told."""

    def __init__(self) -> None:
        self.written: list[Context] = []
        self.seen: list[Context] = []
        self.failing: set[int] = set()

    def write(self, context: Context) -> None:
        if context.status in self.failing:
            raise OSError("the log broke")
        self.written.append(context)

    def see(self, context: Context, request: bytes | None, response: bytes | None) -> None:
        self.seen.append(context)

    def draw(self, context: Context) -> int:
        return 0


def ended(number: int) -> Context:
    context = Context("POST", b"/", {}, "192.0.2.1", 0.0)
    context.status = number
    return context


def numbers(contexts: list[Context]) -> list[int]:
    return [one.status for one in contexts]


def test_they_wait_until_there_are_enough() -> None:
    rooms = Rooms()
    remembering = Remembering(rooms, rooms, 4)
    for number in range(7):
        remembering.add(ended(number), None, None)
    assert numbers(rooms.written) == numbers(rooms.seen) == [0, 1, 2, 3]
    remembering.flush()
    assert numbers(rooms.written) == list(range(7))


def test_nobody_waits_after_the_end() -> None:
    rooms = Rooms()
    remembering = Remembering(rooms, rooms, 4)
    remembering.add(ended(0), None, None)
    remembering.end()
    assert numbers(rooms.written) == [0]
    remembering.add(ended(1), None, None)
    assert numbers(rooms.written) == [0, 1]


def test_large_bodies_do_not_wait() -> None:
    rooms = Rooms()
    remembering = Remembering(rooms, rooms, 64)
    remembering.add(ended(0), bytes(LARGE // 2), None)
    assert not rooms.seen
    remembering.add(ended(1), None, bytes(LARGE // 2 + 1))
    assert numbers(rooms.seen) == [0, 1]
    remembering.add(ended(2), b"small", b"small")
    assert numbers(rooms.seen) == [0, 1]  # what was remembered does not count again


def test_one_that_fails_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    rooms = Rooms()
    rooms.failing = {1}
    remembering = Remembering(rooms, rooms, 3)
    for number in range(3):
        remembering.add(ended(number), None, None)
    assert numbers(rooms.written) == [0, 2]
    assert "failed while it remembered" in caplog.text


def test_threads_lose_and_double_nothing() -> None:
    rooms = Rooms()
    remembering = Remembering(rooms, rooms, 5)
    over = threading.Event()

    def flushing() -> None:
        while not over.is_set():
            remembering.flush()

    def adding(first: int) -> None:
        for number in range(first, first + 5000):
            remembering.add(ended(number), None, None)

    flusher = threading.Thread(target=flushing)
    adders = [threading.Thread(target=adding, args=(first,)) for first in (0, 5000, 10_000)]
    threads: list[Any] = [flusher, *adders]
    for thread in threads:
        thread.start()
    for thread in adders:
        thread.join()
    over.set()
    flusher.join()
    remembering.end()
    assert sorted(numbers(rooms.written)) == sorted(numbers(rooms.seen)) == list(range(15_000))
