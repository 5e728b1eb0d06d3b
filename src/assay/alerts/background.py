"""Delivery by a process of its own, so that no verdict waits for a sink and the end of a command stops no delivery.

Starting it takes milliseconds and never fails the caller. The settings go through a pipe, the secrets are in the
environment that it inherits: neither is on a command line. It tries again for a while, then leaves the rest to the next
command.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from assay.alerts.settings import Settings

LINGER = 15 * 60.0
"""Seconds for which one process stays to try again."""

PAUSE = 30.0
"""Least seconds between two rounds."""

ROUND = 120.0
"""Seconds for one round."""

# The shell makes the process nobody's child: a long-running caller is left with no zombie to collect. A shell gives a
# background command /dev/null for input, hence the detour by descriptor 3.
_DETACH = 'exec 3<&0; "$@" <&3 3<&- & :'


def start(settings: Settings, outbox_path: str) -> str | None:
    """Start a process that delivers what is due; returns at once. None, or a sentence about why it did not start."""
    import subprocess

    import msgspec

    if not sys.executable:  # Python inside of another program
        return "alerts are not being sent: there is no Python to start; run 'assay alerts flush'"
    # -P: the current folder may be a stranger's repository with an assay/ of its own.
    command = [sys.executable, "-P", "-m", "assay.alerts.background", outbox_path]
    try:
        subprocess.run(
            ["/bin/sh", "-c", _DETACH, "sh", *command],
            input=msgspec.json.encode(settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            timeout=10,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"alerts are not being sent: no process could be started for it ({type(error).__name__})"
    return None


def run(settings: Settings, outbox_path: str) -> None:
    """Deliver; stay and try again while something is pending, unless another process does so already."""
    from assay.alerts.deliver import deliver
    from assay.alerts.outbox import Outbox

    names = [sink.name for sink in settings.sinks]
    end = time.monotonic() + LINGER
    with Outbox(outbox_path, settings.owner) as outbox, contextlib.ExitStack() as held:
        deliver(outbox, settings.sinks, datetime.now(UTC), ROUND)
        if outbox.next_due(names) is None or not held.enter_context(_alone(outbox_path, settings.owner)):
            return
        while (due := outbox.next_due(names)) is not None:
            wait = max(PAUSE, (due - datetime.now(UTC)).total_seconds())
            if time.monotonic() + wait > end:
                return
            time.sleep(wait)
            deliver(outbox, settings.sinks, datetime.now(UTC), ROUND)


@contextlib.contextmanager
def _alone(outbox_path: str, owner: str) -> Iterator[bool]:
    """Whether this is the only process that stays for this owner. The system takes the lock back from a killed one."""
    name = f"{outbox_path}.{hashlib.sha256(owner.encode()).hexdigest()[:16]}.lock"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def main() -> None:
    """The process: settings on standard input, the outbox as its argument."""
    import msgspec

    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)
    os.chdir("/")  # keep no file system busy; every path in the settings is absolute
    run(settings, sys.argv[1])


if __name__ == "__main__":
    main()
