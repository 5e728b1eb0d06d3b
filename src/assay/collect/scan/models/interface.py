"""What scanning a model file means to everything else: tiers, findings, and what a scanner of one format is given.

Default deny: a file is `Tier.SAFE` only when everything in it that could run is on the allow-list and it was read to
its end. Whatever stops a scanner (a crash, a limit, an unknown construct) is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, Protocol


class Tier(StrEnum):
    """What a file is, best first. The words are those of the evidence (`assay.evidence.predicates.scan`)."""

    NONE = "none"
    """No model, nothing that loading runs."""
    SAFE = "safe"
    """Only what is allowed, read to its end."""
    UNKNOWN = "unknown"
    """Not proved to be safe: a name that nobody listed, a format that cannot be seen through."""
    CODE = "code"
    """It carries code by value, and openly so: cloudpickle, dill, TorchScript, Lambda layers, ``auto_map``."""
    UNREADABLE = "unreadable"
    """It could not be read to its end."""
    MALICIOUS = "malicious"
    """Loading it does what no honest model does."""

    @property
    def rank(self) -> int:
        """0 for `NONE`."""
        return list(Tier).index(self)


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    rule: str
    """Id of the rule, ``pickle/denied-global``; stable between releases."""
    tier: Tier
    """What the file is at best because of it; `Tier.NONE` for what says nothing about running code."""
    severity: Severity
    message: str
    """What was found and why it matters, one sentence, printable."""
    member: str | None = None
    """Path inside an archive; nested ones divided by ``!/``."""
    offset: int | None = None
    """Byte offset in the file or member."""
    call: str | None = None
    """The call that loading would make, ``os.system('id')``; bounded."""
    atlas: tuple[str, ...] = ()
    """Ids of MITRE ATLAS techniques."""
    mitigation: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What scanning one file may cost."""

    depth: int = 8
    """Archives in archives."""
    members: int = 50_000
    """Members of all its archives together."""
    unpacked: int = 64 << 30
    """Bytes that are unpacked, all together."""
    ratio: int = 1000
    """How many times larger than the archive its contents may be, beyond the first 64 MiB."""
    seconds: float = 600.0
    """CPU time that even the largest file may take; smaller ones have as much as their size may cost."""
    memory: int = 2 << 30
    """Bytes of address space of a worker, beyond what a large file's own size allows."""


class Scan(Protocol):
    """The scan of one file, as a format's scanner sees it: a place to hand inner files to, with shared limits."""

    limits: Limits
    rules: Rules
    member: str | None
    """Where we are inside the file; None for the file itself."""
    siblings: Mapping[str, int]
    """Names and sizes of the target's files, for formats that refer to others; empty when unknown."""
    path: str
    """Name of the file in the target."""

    def inner(self, file: BinaryIO, name: str, size: int | None) -> Iterator[Finding]:
        """Scan what lies inside (an archive's member, a nested pickle), found by its content. Counts depth, number and
        size; `SEEK`able files of members that are stored uncompressed are handed on without a copy.
        """
        ...

    def charge(self, size: int, cost: int = 1) -> None:
        """Pay for ``size`` bytes that were unpacked, ``cost`` times as much where the method is slow. Raises
        `assay.errors.DocumentError` when the budget is spent.
        """
        ...

    def count(self) -> None:
        """Pay for a member that is not handed on to `inner`. Raises `assay.errors.DocumentError` at the limit."""
        ...

    def pickle(self, file: BinaryIO, size: int, *, exact: bool, encoding: str = "ASCII") -> Iterator[Finding]:
        """Run the pickle at the file's position through the engine; leaves the position at its end. ``exact`` is for
        readers that never read beyond what they need (BytesIO, zip members, joblib).
        """
        ...


ALLOWED_BY_CALLER = "allowed-by-caller"
"""The rule of names that whoever loads a file allows beside the lists."""


class Rules(Protocol):
    """Which names may be used, and what the others are."""

    @property
    def digest(self) -> str:
        """Hex SHA-256 over all lists."""
        ...

    def judge(self, module: str, name: str, use: str) -> tuple[Tier, str]:
        """The tier of a global and the rule that says so. ``use`` is ``reference``, ``call``, ``new`` (a class that is
        instantiated by NEWOBJ and filled by BUILD), ``build``, or ``fill`` (BUILD with a state that is not known to be
        only data).
        """
        ...


class FormatScanner(Protocol):
    """One format."""

    name: str
    """``pickle``, ``torch-zip``, ``keras-zip``, …"""

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """Whether the bytes are of this format. ``head`` and ``tail`` are up to 64 KiB; the path only breaks ties for
        formats without any mark of their own (JSON, text).
        """
        ...

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What is wrong with it, in any order. Raises nothing but `assay.errors.DocumentError`, which becomes an
        ``unreadable`` finding; reads by seeking and never more than it needs.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file."""

    path: str
    tier: Tier
    format: str | None
    sha256: str | None
    """Hex; None only for a file that could not be read."""
    findings: tuple[Finding, ...] = ()
    cached: bool = False
    """Taken from an earlier scan of the same bytes by the same rules."""


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What became of a target."""

    target: str
    files: tuple[FileResult, ...]
    """Every file, sorted by path."""
    rules: str
    """Digest of rules and allow-lists, hex."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Path to why it was not scanned."""

    @property
    def tier(self) -> Tier:
        """The worst of its files; `Tier.UNKNOWN` at best where some were skipped."""
        reached = [item.tier for item in self.files] + ([Tier.UNKNOWN] if self.skipped else [])
        return max(reached, key=lambda tier: tier.rank, default=Tier.NONE)
