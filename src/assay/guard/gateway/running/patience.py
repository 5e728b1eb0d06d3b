"""When what was decided for a time is over: a clock that jumps ahead by hours must not let somebody in who is blocked.

It is for ends only, never for what is written down.
"""

from __future__ import annotations

import time

FASTER = 2.0
"""How fast it may run to reach a clock that was set ahead."""


class Patient:
    """UNIX time that never runs more than `FASTER` times as fast as a clock that nobody sets (CLOCK_BOOTTIME,
    clock_gettime(2)). A clock that was set ahead by an hour is believed an hour later; one that comes back, at once.
    """

    def __init__(self) -> None:
        self._last = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)

    def __call__(self) -> float:
        """Now. Safe from any thread."""
        (now, at), steady = self._last, time.clock_gettime(time.CLOCK_BOOTTIME)
        now = min(time.time(), now + FASTER * (steady - at))
        self._last = now, steady
        return now
