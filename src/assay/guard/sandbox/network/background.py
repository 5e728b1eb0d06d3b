"""Does what would block in threads of its own, and hands the results to the monitor's loop, which never waits.

What runs in a thread may touch nothing but what it was given: the memory of the step is read by the loop alone.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from assay.collect.trace.interface import Answer

Answers = Sequence[tuple[int, Answer]]

_MOST = 256


class Background:
    """Work in threads; `handle` is readable when some of it is done."""

    def __init__(self) -> None:
        self.handle = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._done: deque[Callable[[], Answers]] = deque()
        self._running = 0
        self._open = True
        self._lock = threading.Lock()

    def start(self, work: Callable[[], Callable[[], Answers]]) -> bool:
        """Run ``work`` in a thread; what it returns is called in the loop. False when too much is running already."""
        with self._lock:
            if self._running >= _MOST:
                return False
            self._running += 1
        threading.Thread(target=self._run, args=(work,), daemon=True).start()
        return True

    def _run(self, work: Callable[[], Callable[[], Answers]]) -> None:
        result: Callable[[], Answers] | None = None
        try:
            result = work()
        finally:
            with self._lock:
                self._running -= 1
                if self._open and result is not None:
                    self._done.append(result)
                    os.eventfd_write(self.handle, 1)

    def collect(self) -> Answers:
        """The answers of all that is done."""
        try:
            os.eventfd_read(self.handle)
        except BlockingIOError:
            return ()
        found: list[tuple[int, Answer]] = []
        while self._done:
            found += self._done.popleft()()
        return found

    def close(self) -> None:
        """What is still running ends by itself, and nobody hears of it."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self.handle)
