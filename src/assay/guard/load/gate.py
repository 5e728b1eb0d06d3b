"""The sentence of a verified load: hold the bytes, judge the evidence, inspect what they would run, then load them.

Every loader goes through `admitted`. It must never hand out a file that was not judged, and never let the loader read
the file by its name again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from assay import __version__
from assay.collect.scan.models.interface import FileResult, Rules, Tier
from assay.errors import RejectedError, TargetError, UndecidedError
from assay.guard.kept import kept
from assay.guard.load.held import Held
from assay.guard.load.interface import Guard, Judgement
from assay.guard.load.names import Allowing
from assay.guard.load.target import HeldTarget, hold
from assay.targets.names import shown


@dataclass(frozen=True, slots=True)
class Admitted:
    """A file that may be loaded."""

    file: Held
    """Its bytes."""
    rules: Rules
    """Which names its pickles may resolve."""
    where: str
    """What it is called in messages."""
    target: HeldTarget
    """Where it belongs, with what else is held of it."""


@contextmanager
def admitted(
    guard: Guard,
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    allow: Iterable[str] = (),
    inspect: bool = True,
    whole: bool = False,
) -> Iterator[Admitted]:
    """A file to load. After the block it is checked that nothing changed beneath a load from the trusted cache.

    ``target`` is the folder that the evidence is about when it is not about the file alone; ``inspect`` is False for
    formats that hold numbers only and are read by a parser that runs nothing. With ``whole`` all of the target is
    judged and not the file alone.

    Raises `RejectedError` or `UndecidedError` with the reason, `TargetError` for what cannot be read.
    """
    given = os.fspath(path)
    reference, name = located(given, target)
    options = guard.options
    if name is not None and not (whole or guard.whole):
        options = replace(options, paths=(_literally(name),))
    with hold(reference, options, lambda names: [name or names[0]]) as thing:
        rules = Allowing(guard.rules, [*guard.allow, *allow])
        file = thing.held(name or thing.names[0])
        judgement = judged(guard, thing)
        if inspect:
            inspected(guard, rules, thing, [file.name], judgement)
        yield Admitted(file, rules, given, thing)
        file.check()


def judged(guard: Guard, thing: HeldTarget) -> Judgement:
    """The accepting judgement about a held target; its files are then copies, or watched and known to the cache."""
    judgement = guard.judge(thing, thing.again, thing.paths)
    refuse(judgement, str(thing.reference))
    if not thing.trusted:
        thing.copy_all()
    return judgement


def refuse(judgement: Judgement, what: str) -> None:
    """Raise what a judgement that does not accept means for the caller."""
    if judgement.verdict == "accepted":
        return
    kind = RejectedError if judgement.verdict == "rejected" else UndecidedError
    raise kind(
        f"{shown(what)} is not loaded: {judgement.reason}",
        hint=f"nothing of it ran; 'assay verify {what}' says what is missing",
    )


def _literally(name: str) -> str:
    """The glob that fits this name alone."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def located(path: str, target: str | None) -> tuple[str, str | None]:
    """The target's reference, and the file's name in it (None: it is the target)."""
    if target is None:
        return f"file:{path}", None
    root = os.path.realpath(target.removeprefix("dir:"))
    if not os.path.isdir(root):
        raise TargetError(
            f"target {target!r} is not a folder", hint="leave it out where the evidence is about the file"
        )
    # The folder's own part of the path may be reached through links; below it the listing follows none by itself.
    full = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(path))), os.path.basename(path))
    relative = os.path.relpath(full, root)
    if relative.startswith(".."):
        raise TargetError(f"{path!r} does not lie in {target!r}")
    return f"dir:{root}", relative


def inspected(guard: Guard, rules: Rules, thing: HeldTarget, names: Iterable[str], judgement: Judgement) -> None:
    """Raise `RejectedError` unless loading the held files ``names`` runs nothing but what ``rules`` allow.

    What signed evidence found safe by the same rules, in the same bytes, is not looked through again; nor is, where
    the caller trusts the cache, what an earlier load looked through.
    """
    memory = kept("inspected") if thing.trusts_cache else None
    known = {name: _seen(rules, digest) for name in names if (digest := thing.digest(name)) and memory is not None}
    done = {name for name, entry in known.items() if memory is not None and memory.read(entry) is not None}
    left = [name for name in names if name not in judgement.scanned and name not in done]
    results = guard.inspect(thing.only(left), rules) if left else ()
    if sorted(result.path for result in results) != sorted(left):
        raise UndecidedError(f"{thing.reference} was not looked through completely")
    bad = [result for result in results if result.tier.rank > Tier.SAFE.rank]
    if bad:
        worst = max(bad, key=lambda result: result.tier.rank)
        where = thing.name if thing.single else f"{thing.name}/{worst.path}"
        raise RejectedError(
            f"{shown(where)} is not loaded: {_told(worst)}",
            hint="nothing of it ran; allow=(...) takes the full names of classes that you know",
        )
    for name in left if memory is not None else ():
        if name in known and memory is not None:
            memory.write(known[name], b"")


def _seen(rules: Rules, digest: bytes) -> str:
    """What an inspection is remembered by: the bytes, the rules, and the scanner."""
    return f"{digest.hex()} {rules.digest} {__version__}"


def _told(result: FileResult) -> str:
    """The worst finding in words, and how many others there are."""
    if not result.findings:
        return f"{result.tier.value}"
    worst = max(result.findings, key=lambda found: found.tier.rank)
    more = f" (and {len(result.findings) - 1} more)" if len(result.findings) > 1 else ""
    call = f", {worst.call}" if worst.call else ""
    return f"{worst.tier.value}: {worst.message.rstrip('.')}{call}{more}"
