"""Putting a process under protection: patches first, then the importer, then the hook that nothing takes out again.

Protection is for the whole process and for good; a second call is refused, since which of two modes holds would depend
on the order.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from assay.errors import AssayError, UsageError
from assay.guard.load.interface import Guard
from assay.guard.load.names import Allowing
from assay.guard.protect import hook, imports
from assay.guard.protect.attested import Attested
from assay.guard.protect.interface import Event, Mode, Tell
from assay.guard.protect.patches import Patches
from assay.targets.names import shown

MAX_EVENTS = 10_000
"""Events that are kept; later ones are told and not kept."""


@dataclass(slots=True)
class Protection:
    """The protection of this process."""

    mode: Mode
    events: list[Event] = field(default_factory=list)
    """What was not vouched for, in order, each once."""


_running: list[Protection] = []


def start(
    guard: Guard,
    mode: Mode,
    *,
    allowed: Attested | None,
    targets: tuple[str, ...] = (),
    tell: Tell | None = None,
) -> Protection:
    """Protect this process. ``allowed`` None leaves imports alone; ``targets`` are folders that evidence is about."""
    if _running:
        raise UsageError(f"this process is protected already, in the mode {_running[0].mode.value}")
    made = Protection(mode)
    seen: set[tuple[str, str]] = set()

    def blocked(kind: str, what: str, error: AssayError) -> None:
        event = Event(kind, shown(what), error.message, mode is Mode.ENFORCE)
        if (kind, what) not in seen and len(seen) < MAX_EVENTS:
            seen.add((kind, what))
            made.events.append(event)
            if tell is not None:
                tell(event)
        if mode is Mode.ENFORCE:
            raise error

    patches = Patches(guard, blocked, targets)
    patches.apply()
    imports.install(imports.Finder(allowed, blocked, patches.after))
    hook.install(hook.Hook(Allowing(guard.rules, guard.allow), allowed, blocked))
    _running.append(made)
    return made


def running() -> bool:
    """Whether this process is protected."""
    return bool(_running)


def warn(event: Event) -> None:
    """One line on standard error."""
    print(f"assay: not vouched for: {event.reason}", file=sys.stderr)
