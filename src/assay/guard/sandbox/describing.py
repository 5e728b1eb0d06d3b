"""What a place offers, for people: each mechanism, whether it works, what it is for, and what would make it work."""

from __future__ import annotations

from dataclasses import dataclass

from assay.guard.sandbox.interface import Place, Wanted
from assay.guard.sandbox.plan import plan

_PURPOSES = {
    "seccomp-unotify": "watching steps, and deciding their calls",
    "ptrace": "watching steps where nothing better works, at more cost",
    "landlock": "holding files, programs, TCP and signals",
    "user-namespace": "everything below, without root",
    "network-namespace": "a network of its own for a step",
    "mount-namespace": "read-only mounts, and no code from where a step writes",
    "pidfd-getfd": "connecting a step's own socket in its place (another one is made without it)",
}
"""In the order in which they are told. What is not here is no help and no harm."""

_HELP = {
    "seccomp-unotify": "Linux 5.9, and no other monitor around it; gVisor has none",
    "ptrace": "sysctl kernel.yama.ptrace_scope below 3; containers need Linux 4.8 or SYS_PTRACE",
    "landlock": "Linux 5.13 with 'landlock' in /sys/kernel/security/lsm (boot parameter lsm=landlock,…); old container "
    "profiles refuse it",
    "user-namespace": "Ubuntu: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; Debian: sysctl "
    "kernel.unprivileged_userns_clone=1; containers: seccomp=unconfined, in Kubernetes seccompProfile Unconfined "
    "or hostUsers: false",
    "network-namespace": "it needs a user namespace, or root",
    "mount-namespace": "it needs a user namespace and Linux 5.12; AppArmor may forbid mounts in containers",
    "pidfd-getfd": "Linux 5.6; Docker's default profile refuses it",
}

_ABI = {
    1: ("renaming between folders", "5.19"),
    2: ("truncating files", "6.2"),
    3: ("TCP", "6.7"),
    4: ("controls of devices", "6.10"),
    5: ("signals and abstract sockets", "6.12"),
}
"""Landlock's version to what the next one holds, and the Linux that has it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One mechanism."""

    name: str
    works: bool
    text: str
    """What it is for, or why it does not work and what to do: one sentence."""


def describe(place: Place) -> list[Fact]:
    """Everything that matters here, and first what a step gets out of it. ``place`` has to have tried everything
    (``probe(everything=True)``).
    """
    facts = [_tier(place)]
    for name, purpose in _PURPOSES.items():
        why = place.works.get(name, "it could not be tried")
        if why is None:
            facts.append(Fact(name, True, f"{purpose}{_version(name, place)}"))
        else:
            facts.append(Fact(name, False, f"{purpose}: {why}; it takes {_HELP[name]}"))
    return facts


def _version(name: str, place: Place) -> str:
    if name != "landlock":
        return ""
    missing = [f"{what} (Linux {linux})" for since, (what, linux) in _ABI.items() if since >= place.landlock]
    return f" (version {place.landlock}" + (f", without {', '.join(missing)})" if missing else ")")


def _tier(place: Place) -> Fact:
    from assay.errors import UndecidedError

    try:
        chosen = plan(Wanted(), place)
    except UndecidedError as error:
        return Fact("assay run", False, error.message)
    held = f"tier {chosen.tier}: watched by {chosen.trace}, files held by {chosen.files}, network by {chosen.network}"
    if chosen.missing:
        return Fact("assay run", False, f"{held}; {'; '.join(chosen.missing)} (--allow-degraded runs all the same)")
    return Fact("assay run", True, held)
