"""Telling how far the digests are: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import atexit
import sys
import time

from assay.targets.interface import Progress

WORTH_SHOWING = 1 << 30
"""Bytes from which on a wait is long enough to explain."""

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


def progress(label: str) -> Progress | None:
    """A progress callback that shows nothing for small targets."""
    return _Bar(label) if sys.stderr.isatty() else _Lines(label)


class _Lines:
    def __init__(self, label: str) -> None:
        self._label = label
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if total >= WORTH_SHOWING and now - self._said >= PLAIN_EVERY:
            self._said = now
            print(f"{self._label}: {done / 1e9:.1f} of {total / 1e9:.1f} GB", file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: object | None = None

    def __call__(self, done: int, total: int) -> None:
        if total < WORTH_SHOWING:
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Rich

        if self._bar is None:
            bar = Rich(
                "{task.description}",
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                auto_refresh=False,  # a refreshing thread would forbid forking workers
            )
            bar.start()
            atexit.register(bar.stop)  # an interrupted command gives the terminal its cursor back, too
            bar.add_task(self._label, total=total)
            self._bar = bar
        assert isinstance(self._bar, Rich)
        self._bar.update(self._bar.task_ids[0], completed=done)
        self._bar.refresh()
        if done >= total:
            self._bar.stop()
            self._bar = None
