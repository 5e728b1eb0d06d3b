"""The words of the room: a fact, all facts of a run, and where a run's files lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a fact is about. The values are the headings of a profile's file, in this order."""

    PROGRAM = "programs"
    """A program that ran: path, and digests of its bytes."""
    DESTINATION = "destinations"
    """What was reached for over a socket: ``tcp pypi.org:443``, ``dns pypi.org``, ``unix /run/x``."""
    LISTEN = "listens"
    """An address that was listened on."""
    SENSITIVE = "sensitive"
    """A place where keys, tokens or other processes' secrets lie."""
    PERSISTENCE = "persistence"
    """Something written that runs later by itself: ``.pth``, shell start-up files, cron, git hooks, systemd."""
    DELETION = "deletions"
    """A file that was there before, and was removed or renamed away."""
    CALL = "calls"
    """A rare system call."""
    PICKLE = "pickles"
    """A package that was asked for while unpickling; dangerous functions by name."""
    LIBRARY = "libraries"
    """A shared library outside the installation and the system: path, and digests."""
    CODE = "code"
    """A source file in the folder that the step runs in: path, and digests."""
    MODULE = "modules"
    """A package of the installation; of the standard library only what reaches outside (`facts.NOTABLE`)."""
    READ = "reads"
    """A data file, as a pattern; anything that lies outside the declared places."""
    LIST = "lists"
    """A folder that was listed, outside the declared places."""
    CONFIGURATION = "configuration"
    """A file or folder in ``/etc``."""
    WRITE = "writes"
    """A path that was written outside the declared outputs."""
    OUTPUT = "outputs"
    """A folder and file extension in the declared outputs."""
    CACHE = "caches"
    """A cache that was read or filled: cold and warm are the same fact."""


DIGESTED = frozenset({Kind.PROGRAM, Kind.LIBRARY, Kind.CODE})
"""Kinds whose facts carry digests: the same name with other bytes is something new."""


class Fact(NamedTuple):
    """One thing that a run did; a run does it or doesn't. A plain tuple, since there may be a hundred thousand."""

    kind: Kind
    text: str
    """Printable; places are symbols (`Places`)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that one run did, in words that two runs share."""

    facts: frozenset[Fact]
    numbers: Mapping[str, float]
    """What it cost: see `facts.NUMBERS`."""
    digests: Mapping[Fact, str] = field(default_factory=dict)
    """SHA-256 (hex) for kinds in `DIGESTED`; absent where nobody could compute it."""
    tried: frozenset[Fact] = frozenset()
    """Those among the facts that came to nothing: refused by the sandbox, or nothing was there."""
    examples: Mapping[Fact, str] = field(default_factory=dict)
    """A real path for facts whose text is a pattern."""
    hooked: bool = True
    """Whether the audit hook spoke; without it a missing module says nothing."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run's files lie: absolute paths, links resolved. The first of several is ``$IN``, the second ``$IN2``."""

    directory: str
    """Where it ran: ``$CODE``."""
    inputs: Sequence[str] = ()
    """``$IN``."""
    outputs: Sequence[str] = ()
    """``$OUT``."""
    installation: Sequence[str] = ()
    """``$ENV``: the interpreter's and its packages' folders."""
    temporary: str = ""
    """``$TMPDIR``: private and gone after the run."""
    home: str = ""
    """``~``; empty for none."""
    sensitive: Sequence[str] = ()
    """Folders and files where secrets lie."""
    own: frozenset[str] = frozenset()
    """Files that are the run's own streams (a log that standard error goes to): said by who started it."""
    digest: Callable[[str], str | None] = lambda path: None
    """SHA-256 (hex) of a file that the run used; None where there is none."""
