"""From what was asked for and what this place offers to what will hold what. Pure but for a look at declared outputs.

Where something cannot be had, nothing weaker takes its name: it is a gap, and the step does not start unless somebody
accepts that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from assay.collect.trace.interface import Gap
from assay.errors import UndecidedError, UsageError
from assay.guard.sandbox.interface import Isolation, Place, Plan, Wanted
from assay.guard.sandbox.overlay import unfit
from assay.guard.sandbox.paths import beneath
from assay.guard.sandbox.sensitive import run_later_beneath, secrets

TRACERS = ("seccomp-unotify", "ptrace", "audit-hook")
"""Best first."""


_CONNECTS = "seccomp-unotify"
"""The tracer that can connect on a step's behalf."""


def plan(wanted: Wanted, place: Place, trace: str | None = None) -> Plan:
    """What will be put up. ``trace`` names a tracer instead of the best one. Raises `UsageError` for a name that is no
    tracer, `UndecidedError` when the named one, or all of them, do not work here.
    """
    tracer = _tracer(place, trace)
    if wanted.isolation is Isolation.OFF:
        return Plan(_tier(tracer, files="nothing", spaces=False), tracer, "nothing", "open", "opens", (_off(),))
    mounts = _works(place, "mount-namespace")
    # Without pidfd_getfd nobody can look at a socket that lies in a network of the step's own.
    apart = _works(place, "network-namespace") and (tracer != _CONNECTS or _works(place, "pidfd-getfd"))
    files = "nothing" if not place.landlock else "mounts+landlock" if mounts else "landlock"
    network = _network(wanted, place, tracer, apart=apart)
    gaps = tuple(_gaps(wanted, place, tracer, files, network))
    missing = tuple(gap.message for gap in gaps if gap.name in _STOPPING)
    tier = _tier(tracer, files, spaces=mounts and apart)
    return Plan(tier, tracer, files, network, _products(wanted, place, tracer, files), gaps, missing)


_STOPPING = ("no-file-rules", "no-network-rules", "no-allow-list", "secrets-in-outputs", "process-limit")
"""Gaps that stop the step unless they are accepted: what was asked for is not there."""


def _tracer(place: Place, named: str | None) -> str:
    if named is not None:
        if named not in TRACERS:
            raise UsageError(f"unknown tracer {named!r}", hint=f"one of {', '.join(TRACERS)}")
        if why := place.works.get(named, "it was not tried"):
            raise UndecidedError(f"{named} does not work here: {why}", hint="'assay doctor' says what does")
        return named
    for name in TRACERS:
        if _works(place, name):
            return name
    raise UndecidedError("nothing here can watch a step", hint="'assay doctor' says why")


def _network(wanted: Wanted, place: Place, tracer: str, *, apart: bool) -> str:
    if wanted.network is None:
        return "open"
    if apart:
        return "namespace"
    if tracer != _CONNECTS:
        return "nothing"
    return "landlock+mediation" if place.landlock >= 4 else "no-sockets"


def _products(wanted: Wanted, place: Place, tracer: str, files: str) -> str:
    """Overlaid outputs cannot be seen at their place before the step has ended, so only strict mode has them: whoever
    follows a training by its logs does not expect that. One of them for all outputs: evidence that is exact for some
    would look exact for all. The audit hook does not see a step's last process end, before which nothing can be moved.
    """
    if wanted.isolation is not Isolation.STRICT or tracer == "audit-hook":
        return "opens"
    if files != "mounts+landlock" or not _works(place, "overlay"):
        return "opens"
    apart = not any(one != other and beneath(one, other) for one in wanted.write for other in wanted.write)
    return "overlay" if wanted.write and apart and not any(map(unfit, wanted.write)) else "opens"


def _gaps(wanted: Wanted, place: Place, tracer: str, files: str, network: str) -> Iterator[Gap]:
    if files == "nothing":
        yield Gap("no-file-rules", "nothing here holds what the step reads and writes (no Landlock)", ("files",))
    elif place.landlock < 3:
        yield Gap("truncate", "this kernel's Landlock does not stop truncating a file that may be read", ("files",))
    if files == "landlock":
        yield Gap(
            "metadata",
            "permissions, owners and times of files that it may not write to can be changed: only a read-only mount "
            "would stop that",
            ("files",),
        )
        yield Gap("shared-memory", "memory that other programs of this user share can be read and changed", ("files",))
    if files == "landlock" or wanted.isolation is Isolation.AUTO:
        yield Gap(
            "writable-code",
            "what the step writes it may also map as code: only strict mode, in mounts of its own, stops that",
            ("programs",),
        )
    yield from _overlaps(wanted)
    if 0 < place.landlock < 6:
        yield Gap("signals", "this kernel's Landlock does not stop signals to other processes", ("programs",))
    if network == "nothing":
        yield Gap("no-network-rules", "nothing here holds the network: the step could reach anything", ("network",))
    elif wanted.network and (network == "no-sockets" or tracer != _CONNECTS):
        yield Gap("no-allow-list", "here the network can be held as a whole, or not, but no list of it", ("network",))
    elif network == "open":
        yield Gap("open-network", "the network was left open as asked for", ("network",))
    if wanted.processes is not None and os.geteuid() == 0:
        yield Gap("process-limit", "the kernel holds no limit on the number of root's processes", ("programs",))
    if wanted.allow_io_uring:
        yield Gap("io_uring", "io_uring was allowed: what goes through it is not seen")
    if wanted.isolation is Isolation.AUTO:
        yield Gap("reads", "reads are recorded and not held, but for places where secrets lie", ("files",))
    if tracer == "audit-hook":
        yield Gap(
            "audit-hook",
            "only Python's own events are seen, and a program can hide from them; what a monitor would have to refuse "
            "(the keyring, io_uring, programs in memory) is not refused",
        )


def _overlaps(wanted: Wanted) -> Iterator[Gap]:
    """Rules cannot take back for a part of a folder what they allow for the whole."""
    hidden = secrets(wanted.hidden) if wanted.write else []
    for folder in wanted.write:
        inside = [path for path in hidden if path.startswith(folder.rstrip("/") + "/") and os.path.lexists(path)]
        if inside:
            message = f"the declared output {folder} holds secrets ({', '.join(inside[:3])}): the step could read them"
            yield Gap("secrets-in-outputs", message, ("files",))
        if found := list(run_later_beneath(folder)):
            message = f"the declared output {folder} holds what runs later by itself ({', '.join(found[:3])})"
            yield Gap("persistent-outputs", f"{message}: the step could change it", ("files", "programs"))
        for path in wanted.read:
            if path == folder or path.startswith(folder.rstrip("/") + "/"):
                message = f"the declared input {path} lies in the output {folder}: the step could change it"
                yield Gap("inputs-in-outputs", message, ("files",))


def _off() -> Gap:
    return Gap("isolation-off", "isolation was turned off as asked for: the step was watched, and nothing was held")


def _tier(tracer: str, files: str, *, spaces: bool) -> int:
    if tracer == "audit-hook":
        return 5
    if tracer == "ptrace":
        return 4
    if files == "nothing":
        return 3
    return 1 if spaces else 2


def _works(place: Place, *names: str) -> bool:
    return all(place.works.get(name, "untried") is None for name in names)
