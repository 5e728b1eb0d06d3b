"""What walls are asked for, what this place offers, and what is put up.

`probe` tries each mechanism in a child; `plan` chooses among what works, and lists what was asked for and cannot be
had; `Walls` are put up from a plan. Nothing here starts the step: the tracer does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field

from assay.collect.trace.interface import Arbiter, FileUse, Gap


class Isolation(StrEnum):
    """How much is asked for (``--isolate``)."""

    AUTO = "auto"
    """Network and writes as declared; reads are recorded, not refused, but for secrets (`plan.SENSITIVE`)."""
    STRICT = "strict"
    """Also reads: declared inputs, the program's own installation, the system's libraries; nothing else. Programs:
    those of the installation; no shell unless the profile or the command names it.
    """
    OFF = "off"
    """Watch only."""


class Destination(Struct, frozen=True):
    """Somewhere that may be reached: ``HOST:PORT``; ``*.example.com:443``; ``10.0.0.0/8:5432``; ``localhost:*``."""

    host: str
    """Name in lower case without a final dot, a name with ``*.`` before it, an address, or a network in CIDR form."""
    port: int | None
    """None for any."""

    def __str__(self) -> str:
        """As it is written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{'*' if self.port is None else self.port}"


class Wanted(Struct, frozen=True):
    """What a step was declared to need."""

    isolation: Isolation = Isolation.AUTO
    network: Sequence[Destination] | None = ()
    """Where it may connect to; empty: nowhere. None: everywhere (``--net open``)."""
    read: Sequence[str] = ()
    """Declared inputs: absolute paths of files and folders."""
    write: Sequence[str] = ()
    """Declared outputs: absolute paths of folders."""
    execute: Sequence[str] = ()
    """Programs, as absolute paths, links resolved: command's own with what the kernel needs to start it
    (`assay.guard.sandbox.software.programs`), and those of a profile. Only strict mode refuses others.
    """
    code: Sequence[str] = ()
    """The step's own code: files and folders that strict mode lets it read (`assay.guard.sandbox.software.code`)."""
    hidden: Sequence[str] = ()
    """Secrets of ours beside the well-known ones, such as the signing key: refused like these."""
    installation: Sequence[str] = ()
    """Folders of the command's own software: the virtual environment, the standard library, system libraries."""
    directory: str = "/"
    """Where the command starts."""
    temporary: str = ""
    """The step's private temporary folder; exists, is empty, is removed by who made it."""
    processes: int | None = None
    """Largest number of processes; None for no limit."""
    memory: int | None = None
    """Bytes of address space of one process."""
    cpu: int | None = None
    """CPU seconds of one process."""
    file_size: int | None = None
    """Bytes of one written file."""
    allow_io_uring: bool = False
    exact_reads: bool = False
    """A profile's rules: `read` is exact; strict mode's defaults (the system's libraries) stay the only addition."""


class Place(Struct, frozen=True):
    """What this machine, user and container offer, each tried out."""

    works: Mapping[str, str | None]
    """Mechanism (``seccomp-unotify``, ``ptrace``, ``landlock``, ``user-namespace``, ``network-namespace``,
    ``mount-namespace``, ``overlay``, ``pidfd-getfd``, …) to None when it works, else why it does not.
    """
    landlock: int = 0
    """ABI version; 0 without."""
    kernel: str = ""
    machine: str = ""
    """``x86_64``, ``aarch64``, …"""


class Plan(Struct, frozen=True):
    """What will be put up."""

    tier: int
    """1 namespaces; 2 Landlock and mediation; 3 seccomp only; 4 ptrace, observed; 5 audit hook, observed."""
    trace: str
    """The tracer's name."""
    files: str
    """What holds reads and writes: ``mounts+landlock``, ``landlock``, ``nothing``."""
    network: str
    """What holds the network: ``namespace``, ``landlock+mediation``, ``no-sockets``, ``open``, ``nothing``."""
    products: str
    """How products are known: ``overlay``, ``opens``, or ``compared`` (outputs were looked at before and after)."""
    gaps: Sequence[Gap] = ()
    """What was asked for and is not enforced here, and what the trace cannot see."""
    missing: Sequence[str] = ()
    """The gaps, as sentences, that stop the step unless ``--allow-degraded``."""


class Walls(Struct, frozen=True):
    """What is handed to the tracer and to the step."""

    confine: Sequence[Callable[[], None]]
    """For `assay.collect.trace.interface.Launch`, in this order."""
    arbiter: Arbiter | None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for the step: proxies, ``TMPDIR``, …"""
    products: Callable[[], Sequence[str] | None] = lambda: None
    """After the step: paths (absolute, as the step saw them) that it wrote, where an overlay knows exactly; else None.
    """
    settle: Callable[[bool], Sequence[str]] = lambda keep: ()
    """After the step: takes the walls down. True moves what an overlay caught to its place, False throws it away; what
    the user should know of that. Raises `assay.errors.AssayError` that names where the rest lies when it cannot.
    """
    refused: Callable[[FileUse], str | None] = lambda use: None
    """Which rule kept the step from using a file as it tried: ``undeclared-read``, ``undeclared-write``, ``secret``,
    ``persistence``, ``program``; None when nothing did. What Landlock refuses, the monitor only sees tried.
    """
    close: Callable[[], None] = lambda: None
    """Ends proxies, and settles what nobody has settled (what was written is kept); always called, also after an error.
    """


class Network(Protocol):
    """Holds the network for one plan (`Plan.network`)."""

    name: str

    def walls(self, wanted: Wanted, place: Place) -> Walls:
        """Its part of the walls: what the child does, who decides, which variables."""
        ...
