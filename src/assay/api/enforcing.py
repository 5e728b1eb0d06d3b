"""From a profile to the sandbox's rules: the least privilege that a step was seen to need.

Rounding: a file that was read by name is allowed by name. A folder is allowed where a pattern stands for its files, or
where at least `MANY` of them were read, and only inside the places that the step was given. Never `/`, never the home
folder or a folder above it, never what holds secrets. What was refused so far is no need; what runs later by itself is
none either.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.collect.behaviour.interface import Fact
    from assay.collect.behaviour.model import Profile
    from assay.guard.sandbox.interface import Destination, Wanted

MANY = 5
"""Files of one folder that were read by name, from which on the folder is meant."""

_WHOLE = ("/", "/etc", "/home", "/root", "/tmp", "/usr", "/var", "/srv", "/opt", "/mnt", "/media", "/data", "/dev",  # noqa: S108
          "/proc", "/sys", "/run", "/boot")  # fmt: skip
"""Too much to be meant by anybody."""


@dataclass(slots=True)
class Needs:
    """What a profile says that a step needs; absolute paths."""

    read: set[str] = field(default_factory=set)
    write: set[str] = field(default_factory=set)
    execute: set[str] = field(default_factory=set)
    network: set[Destination] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    """What is in the profile and is not turned into a rule, with the reason."""


def enforced(profile: Profile, wanted: Wanted) -> Wanted:
    """What a run is allowed that may do no more than its profile: strict, and with the declared limits as they were.

    Raises `UsageError` for a profile that has learned nothing.
    """
    from assay.guard.sandbox.interface import Isolation
    from assay.guard.sandbox.paths import beneath

    found = needs(profile, wanted)
    network = found.network
    if wanted.network is not None:  # what was declared for this run is a limit too
        network = {item for item in network if item in wanted.network} if wanted.network else set()
    return replace(
        wanted,
        isolation=Isolation.STRICT,
        network=tuple(sorted(network, key=str)),
        read=tuple(sorted(found.read)),
        write=tuple(sorted(found.write)),
        # What the kernel needs to start the command is allowed in any case, and the packages that it is linked to.
        execute=tuple(sorted({*wanted.execute, *found.execute})),
        code=tuple(path for path in wanted.code if not beneath(path, wanted.directory)),
        exact_reads=True,
    )


def needs(profile: Profile, wanted: Wanted) -> Needs:
    """The rules, for one run's folders."""
    from assay.collect.behaviour.interface import Kind

    if not profile.runs:
        raise UsageError(f"the profile of {profile.step!r} has learned no run yet", hint="assay run --learn, first")
    made = Needs()
    reads = (Kind.READ, Kind.CODE, Kind.LIBRARY, Kind.CONFIGURATION)
    lying = Counter(fact.text.rpartition("/")[0] for fact in profile.facts if fact.kind in reads)
    for fact, known in sorted(profile.facts.items()):
        if known.refused or not known.runs:
            if known.refused:
                made.left_out.append(f"{fact.kind.value} {fact.text}: it was only ever refused")
            continue
        if fact.kind in reads:
            _reading(made, fact, lying, wanted)
        elif fact.kind is Kind.CACHE:
            for kept in (made.read, made.write):
                _allow(made, kept, _path(fact.text, wanted), fact)
        elif fact.kind is Kind.OUTPUT:
            _allow(made, made.write, _path(fact.text.partition("/")[0], wanted), fact)
        elif fact.kind is Kind.WRITE:
            _writing(made, fact, wanted)
        elif fact.kind is Kind.PROGRAM and "*" not in fact.text:
            _allow(made, made.execute, _path(fact.text, wanted), fact)
            folder, mark, base = fact.text.rpartition("/bin/")
            if mark and base.startswith("python") and folder and not folder.startswith(("/usr", "$")):
                _allow(made, made.read, _path(f"{folder}/lib", wanted), fact)  # its packages are no facts of their own
        elif fact.kind is Kind.DESTINATION:
            _destination(made, fact)
        elif fact.kind in (Kind.SENSITIVE, Kind.PERSISTENCE, Kind.DELETION):
            made.left_out.append(f"{fact.kind.value} {fact.text}: never allowed by a profile")
    return made


def _reading(made: Needs, fact: Fact, lying: Counter[str], wanted: Wanted) -> None:
    from assay.collect.behaviour.naming import place

    folder = fact.text.rpartition("/")[0]
    declared = place(fact.text) in ("$IN", "$CODE", "$OUT")
    varies = "*" in fact.text or "<" in fact.text
    if declared and folder != "$CODE" and folder and (varies or lying[folder] >= MANY):
        # Of a folder whose own name varies, the one above it is meant.
        while "<" in folder or "*" in folder:
            folder = folder.rpartition("/")[0]
        _allow(made, made.read, _path(folder, wanted), fact)
    elif varies and declared:
        made.left_out.append(f"{fact.kind.value} {fact.text}: names vary beside the code; declare a folder as an input")
    elif "*" not in fact.text:
        _allow(made, made.read, _path(fact.text, wanted), fact)
        if fact.text.endswith(".py"):
            compiled = _path(f"{folder}/__pycache__", wanted)
            if compiled is not None and os.path.isdir(compiled):
                _allow(made, made.read, compiled, fact)


def _writing(made: Needs, fact: Fact, wanted: Wanted) -> None:
    folder = fact.text.rpartition("/")[0]
    while "<" in folder or "*" in folder:
        folder = folder.rpartition("/")[0]
    if folder in ("/dev/shm", ""):  # noqa: S108 - always allowed: processes share memory there
        return
    _allow(made, made.write, _path(folder, wanted), fact)


def _destination(made: Needs, fact: Fact) -> None:
    from assay.guard.sandbox.network.destinations import parse

    way, _, where = fact.text.partition(" ")
    if way == "dns" or way == "unix":
        return
    if way != "tcp":
        made.left_out.append(f"destinations {fact.text}: only TCP can be allowed")
        return
    try:
        made.network.add(parse(where))
    except UsageError as error:
        made.left_out.append(f"destinations {fact.text}: {error.message}")


def _allow(made: Needs, kept: set[str], path: str | None, fact: Fact) -> None:
    if path is None:
        made.left_out.append(f"{fact.kind.value} {fact.text}: this run has no such folder")
        return
    path = os.path.realpath(path)  # a rule is about what a link leads to, which may be anything by now
    if why := _too_much(path):
        made.left_out.append(f"{fact.kind.value} {fact.text}: {path} {why}")
    else:
        kept.add(path)


def _too_much(path: str) -> str | None:
    """Why a profile may not allow this path."""
    from assay.guard.sandbox.interface import Wanted
    from assay.guard.sandbox.paths import beneath, sensitive

    home = os.path.realpath(os.path.expanduser("~"))
    if path in _WHOLE or beneath(home, path):
        return "is more than a step needs"
    for secret in sensitive(Wanted()):
        if beneath(path, secret) or beneath(secret, path):
            return "is, or holds, a place of secrets"
    return None


def _path(text: str, wanted: Wanted) -> str | None:
    """The path that a symbolic name means in this run; None where the run has no such place."""
    head, slash, rest = text.partition("/")
    if not head:
        return text or None
    symbol = head.rstrip("0123456789")
    number = int(head[len(symbol) :] or 1) - 1
    many = {
        "$CODE": (wanted.directory,),
        "$IN": wanted.read,
        "$OUT": wanted.write,
        "$ENV": wanted.installation,
        "$TMPDIR": (wanted.temporary,) if wanted.temporary else (),
        "~": (os.path.realpath(os.path.expanduser("~")),),
    }.get(symbol, ())
    if not 0 <= number < len(many):
        return None
    return many[number].rstrip("/") + slash + rest if rest else many[number]
