"""The walls of one step, put up in an order that leaves no moment without them.

Namespaces first, since only whoever is in one may change it; then what is seen and what may be spent; root's powers
after the last use of them; Landlock at the end, because it can refuse all of that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from assay.collect.trace.interface import Arbiter, FileUse
from assay.guard.sandbox import capabilities, landlock, limits, mounts, paths, refusals
from assay.guard.sandbox.arbiter import Calls, Joined
from assay.guard.sandbox.interface import Isolation, Place, Plan, Walls, Wanted
from assay.guard.sandbox.overlay import Overlays

SPACES = "namespace"
"""`Plan.network` where the step has a network namespace of its own."""

MOUNTS = "mounts+landlock"
"""`Plan.files` where it has a view of the file system of its own."""

OVERLAY = "overlay"
"""`Plan.products` where what it writes is caught beside its outputs."""

_TELLS_ONLY = "audit-hook"
"""The tracer that can decide nothing: there the kernel's rules stand alone."""

_QUIET: Mapping[str, str] = {"PYTHONDONTWRITEBYTECODE": "1"}
"""Python would try to write its caches beside the code, be refused each time, and go on: noise in the evidence."""


def put_up(wanted: Wanted, place: Place, plan: Plan) -> Walls:
    """Everything that ``plan`` says, ready for the tracer. Raises `assay.errors.AssayError`."""
    from assay.guard.sandbox.network import NETWORKS

    if wanted.isolation is Isolation.OFF:
        return Walls((partial(limits.apply, wanted),), None)
    overlays = Overlays(list(dict.fromkeys(wanted.write))) if plan.products == OVERLAY else None
    try:
        network = NETWORKS[plan.network]().walls(wanted, place)
    except BaseException:
        if overlays is not None:
            overlays.settle(False)
        raise
    confine: list[Callable[[], None]] = []
    confine += network.confine
    if plan.files == MOUNTS:
        writable = [path for path in (*wanted.write, wanted.temporary) if path]
        programs = wanted.isolation is not Isolation.STRICT
        layers = overlays.layers if overlays is not None else ()
        confine.append(
            partial(mounts.read_only, writable, memory=paths.SHARED_MEMORY, programs=programs, overlaid=tuple(layers))
        )
    confine += [partial(limits.apply, wanted), capabilities.drop]
    rules: list[paths.Rule] = []
    hidden: list[str] = []
    if plan.files != "nothing":
        hidden = paths.sensitive(wanted)
        rules = paths.rules(wanted, hidden)
        # Nothing connects or binds but the monitor: also in a network of its own the step can hold sockets of ours.
        ports = None if plan.network in ("open", "nothing") else ()
        confine.append(partial(landlock.restrict, landlock.Rules(rules, ports, ports), place.landlock))
    return Walls(
        tuple(confine),
        _arbiter(wanted, network.arbiter) if plan.trace != _TELLS_ONLY else None,
        {**_QUIET, **network.environment},
        products=overlays.products if overlays is not None else lambda: None,
        settle=overlays.settle if overlays is not None else lambda keep: (),
        refused=_refused(rules, hidden),
        close=partial(_close, network, overlays),
    )


def _close(network: Walls, overlays: Overlays | None) -> None:
    try:
        network.close()
    finally:
        if overlays is not None:
            overlays.settle(True)


def _arbiter(wanted: Wanted, network: Arbiter | None) -> Arbiter:
    calls = Calls(strict=wanted.isolation is Isolation.STRICT)
    return calls if network is None else Joined((network, calls))


def _refused(rules: list[paths.Rule], secrets: list[str]) -> Callable[[FileUse], str | None]:
    if not rules:
        return lambda use: None
    index = paths.Index(rules)
    given = set(_given())
    return lambda use: None if use.path in given else refusals.refused(use, index, secrets)


def _given() -> Iterator[bytes]:
    """Files that the step gets already open: no rule was asked for them."""
    for number in range(3):
        try:
            yield os.readlink(b"/proc/self/fd/%d" % number)
        except OSError:
            continue
