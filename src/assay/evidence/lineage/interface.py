"""What the parts of lineage speak in: what a statement says, what was proved of it, and the graph that follows.

All of it are values. Nothing here reads a document or decides whom to believe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from assay.evidence.statement import STRONG

SUBJECT, INPUT, OUTPUT, MEMBER, FOLDER, SAME = range(6)
"""How an entry speaks of a digest: it is about it, its step read it, its step made it, its list of files holds it, it
lists the files of it, it knows another digest of the same bytes."""

RUN, STATED = "run", "stated"
"""Of an act: something that ran, or a relation that a document states (a bill of materials, a release)."""

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The empty file: it is in everything, and connects nothing."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An artifact as one statement names it."""

    key: str
    """``ALGORITHM:HEX``, by its best digest; ``uri:…`` or ``name:…`` where there is none."""
    name: str
    """For people; anybody may have written it."""
    role: str = ""
    """Why it was there, as the statement says: ``input``, ``code``, ``installation``, ``system``, …"""
    folder: bool = False
    """It stands for a folder, whose files may be listed beside it."""
    place: bool = False
    """No artifact, but where one went: a release, a service. Its name is its identity."""

    @property
    def strong(self) -> bool:
        """Whether its key proves identity."""
        return self.key.partition(":")[0] in STRONG

    @property
    def joins(self) -> bool:
        """Whether other statements about the same key are about the same thing."""
        return self.strong and self.key != EMPTY


@dataclass(frozen=True, slots=True)
class Act:
    """A step, as one statement tells it."""

    name: str
    inputs: tuple[Thing, ...]
    outputs: tuple[Thing, ...]
    relation: str = RUN
    """`RUN` or `STATED`."""
    build_type: str = ""
    command: str = ""
    builder: str = ""
    invocation: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    outcome: str = ""
    """How it ended, where that was not well."""


@dataclass(frozen=True, slots=True)
class Said:
    """What lineage takes from one statement."""

    predicate_type: str
    subjects: tuple[Thing, ...]
    acts: tuple[Act, ...] = ()
    word: str = ""
    """What it says of its subjects, in a few words."""
    kind: str = ""
    """What its subjects are, where it tells: ``model``, ``dataset``, …"""
    same: tuple[tuple[str, ...], ...] = ()
    """Keys of one subject: different digests of the same bytes."""
    members: tuple[str, ...] = ()
    """Keys of the files in its one subject."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One statement of the store, and what was proved of it."""

    seq: int
    """Number of the entry."""
    digest: str
    """Hex SHA-256 of the signed document."""
    said: Said
    signers: tuple[str, ...] = ()
    """Expected signers who were proved, in words; empty when nobody was."""
    problem: str = ""
    """Why nobody was."""
    time: datetime | None = None
    """When it was added to the store."""

    @property
    def proved(self) -> bool:
        """Whether somebody expected signed it."""
        return bool(self.signers)


class Pieces(Protocol):
    """Where the walk finds statements. Finding proves nothing; a `Piece` says what was proved."""

    def entries(self, key: str, role: int) -> Sequence[int]:
        """Numbers of the entries that speak so of this key, newest first."""
        ...

    def sharing(self, seq: int, role: int) -> Sequence[int]:
        """Numbers of the entries that speak as ``role`` of a file that this entry lists, newest first."""
        ...

    def piece(self, seq: int) -> Piece | None:
        """The statement; None when it can't be read (any more)."""
        ...


@dataclass(slots=True)
class Artifact:
    """A node: bytes that have a digest, or a name that has none."""

    key: str
    names: dict[str, bool] = field(default_factory=dict)
    """Name to whether a proved statement calls it so."""
    kind: str = ""
    evidence: list[Piece] = field(default_factory=list)
    """Statements about it that are no steps; newest first."""
    more: int = 0
    """Further statements about it that were not looked at."""
    place: bool = False

    @property
    def name(self) -> str:
        """The best of its names."""
        return max(self.names, key=lambda name: (self.names[name], -len(name)), default=self.key)


@dataclass(slots=True)
class Step:
    """A node: a step, told by one statement or by several that agree."""

    id: str
    """Unique in its graph and the same in every run: ``step:SEQ`` of the first statement, or ``step:SEQ.N``."""
    act: Act
    """As the fullest statement tells it."""
    kind: str = ""
    pieces: list[Piece] = field(default_factory=list)
    proved: bool = False
    others: dict[str, int] = field(default_factory=dict)
    """Inputs that are not drawn one by one, by role: the installation's files, for example."""

    @property
    def signers(self) -> tuple[str, ...]:
        """Whoever signed it."""
        return tuple(dict.fromkeys(name for piece in self.pieces for name in piece.signers))

    @property
    def problem(self) -> str:
        """Why nobody was proved to have signed it."""
        return "" if self.proved else next((piece.problem for piece in self.pieces if piece.problem), "not signed")


@dataclass(slots=True)
class Edge:
    """From what was there before to what came out of it."""

    start: str
    end: str
    kind: str
    """``used`` (artifact to step), ``made`` (step to artifact), ``part`` (a file and the folder that holds it)."""
    proved: bool
    reason: str = ""
    """Why it is not proved."""


@dataclass(slots=True)
class Lineage:
    """The answer."""

    target: str
    """Key of the artifact that was asked for."""
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    edges: dict[tuple[str, str, str], Edge] = field(default_factory=dict)
    """By start, end and kind."""
    sources: set[str] = field(default_factory=set)
    """Artifacts that the target was proved to come from."""
    uses: set[str] = field(default_factory=set)
    """Artifacts, releases and services that were proved to be made from the target."""
    notes: list[str] = field(default_factory=list)
    """Contradictions, cycles, and what was left out."""
    incomplete: list[str] = field(default_factory=list)
    """Why there may be evidence that was not seen: then an absent edge means nothing."""

    @property
    def known(self) -> bool:
        """Whether anything at all was proved about the target."""
        return any(item.proved for item in self.artifacts[self.target].evidence) or any(
            edge.proved for edge in self.edges.values() if self.target in (edge.start, edge.end)
        )

    def counted(self) -> Mapping[str, int]:
        """Proved uses by kind."""
        made: dict[str, int] = {}
        for key in sorted(self.uses):
            kind = self.artifacts[key].kind or "artifact"
            made[kind] = made.get(kind, 0) + 1
        return made
