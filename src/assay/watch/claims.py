"""Keeping a claim from running out while its work goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from assay.errors import AssayError


@contextmanager
def renewing(renew: Callable[[], bool], lease: timedelta) -> Iterator[Callable[[], bool]]:
    """Call ``renew`` three times a ``lease`` until the block ends; gives the question whether the claim still holds.

    The claim of a process that is killed runs out, and somebody else takes the work up.
    """
    over = threading.Event()

    def holds() -> bool:
        try:
            return renew()
        except AssayError:
            return False  # a database that does not answer may have given the work to somebody else

    def again() -> None:
        while not over.wait(lease.total_seconds() / 3):
            holds()

    thread = threading.Thread(target=again, name="assay-claim", daemon=True)
    thread.start()
    try:
        yield holds
    finally:
        over.set()
        thread.join()
