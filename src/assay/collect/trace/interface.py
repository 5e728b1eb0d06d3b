"""What watching a step means to everything else: what is started, who decides, and the trace that is left.

Paths are bytes as the step wrote them, made absolute and free of ``.``, ``..`` and doubled slashes, links not followed;
`os.fsdecode` is for those who print. Times are nanoseconds since 1970 (UTC). A trace lists what was *asked for*: only
what a monitor decided itself (`Decision.DENIED`, `Decision.MEDIATED`) has an outcome that is known for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field


class Decision(StrEnum):
    """What became of a call."""

    SEEN = "seen"
    """Recorded; the kernel went on by itself."""
    MEDIATED = "mediated"
    """The monitor did it for the step, with its own copy of the arguments: no other thread can have changed them."""
    DENIED = "denied"
    """Refused, and the kernel would have refused it too had the monitor been tricked."""


class Gap(Struct, frozen=True):
    """A way in which the step may have done something that the trace does not show, or the sandbox does not stop."""

    name: str
    """Stable word: ``io_uring``, ``racing-threads``, ``no-landlock``, …"""
    message: str
    """One sentence for people."""
    about: Sequence[str] = ("files", "network", "programs")
    """What it leaves open; ``network`` is what the policy's ``isolated`` asks for."""


class Stat(Struct, frozen=True):
    """Which bytes a path meant at one moment: two equal ones are the same unchanged file."""

    device: int
    inode: int
    size: int
    """Bytes."""
    mtime: int
    ctime: int
    mode: int
    """``st_mode``: kind and permissions."""


class FileUse(Struct):
    """What a step did with one path, all its processes together."""

    path: bytes
    read: int = 0
    """Times that it was opened for reading."""
    written: int = 0
    """Times that it was opened for writing, truncated or created."""
    executed: int = 0
    """Times that it was executed."""
    removed: int = 0
    """Times that it was unlinked or renamed away."""
    appeared: int = 0
    """Times that a rename, a link or a symbolic link put something there."""
    listed: int = 0
    """Times that it was opened as a directory."""
    exclusive: bool = False
    """It was created with ``O_EXCL`` by the step: nothing of that name was there before."""
    changed: int = 0
    """Times that its permissions, owner or extended attributes were changed."""
    denied: int = 0
    """Times that the sandbox refused it."""
    rule: str = ""
    """Rule by which the sandbox refused it: ``undeclared-read``, ``undeclared-write``, ``secret``, … The monitor knows
    none of them; whoever put up the walls says it after the step.
    """
    mediated: bool = False
    """Each read open of it was done by the monitor, so `first` is the very file that the step got."""
    first: Stat | None = None
    """The file as it was when it was first asked for; None when there was none."""
    at: int = 0
    """When it was first asked for."""
    by: set[int] = field(default_factory=set)
    """Indices into `Trace.processes`: who asked for it."""


class Process(Struct):
    """One program that ran: a new one for each ``execve`` that succeeded, and for each fork that asked for something
    before it (or never came to one).
    """

    pid: int
    parent: int | None
    """Index into `Trace.processes`."""
    program: bytes
    """Absolute path."""
    arguments: tuple[bytes, ...]
    """``argv``, each bounded to 4 KiB, at most 256; empty when it could not be read."""
    started: int
    first: Stat | None = None
    """The program's file when it was started."""


class Contact(Struct, frozen=True):
    """An attempt to reach something over a socket."""

    time: int
    process: int
    """Index into `Trace.processes`."""
    call: str
    """``connect``, ``sendto``, ``bind``, ``socket``, or ``dns`` for a name that a resolver of ours was asked for."""
    family: str
    """``inet``, ``inet6``, ``unix``, ``netlink``, ``packet``, ``vsock``, …"""
    transport: str
    """``tcp``, ``udp``, ``raw``, ``unix``, …"""
    address: str
    """IP address, path of a Unix socket (abstract ones begin with ``@``), or empty."""
    port: int | None
    host: str | None
    """Name behind the address, where the monitor resolved it."""
    decision: Decision
    rule: str
    """Rule that decided: ``net:none``, ``net:pypi.org:443``, ``metadata``, … Empty when it was only seen."""
    error: int | None = None
    """``errno`` where the monitor knows how it ended; 0 for success."""
    received: int | None = None
    """Bytes, where they went through the monitor."""
    sent: int | None = None
    finished: int | None = None
    source: str = ""
    """Own address, where it is known."""
    source_port: int | None = None


class RareCall(Struct, frozen=True):
    """A system call that ordinary steps do not make: ``ptrace``, ``io_uring_setup``, ``mount``, ``bpf``, …"""

    time: int
    process: int
    call: str
    detail: str
    """Its arguments as far as they matter, printable and bounded."""
    decision: Decision
    rule: str = ""


class Usage(Struct, frozen=True):
    """What a step cost, all its processes together."""

    wall: float
    """Seconds."""
    user: float
    """CPU seconds."""
    system: float
    memory: int
    """Bytes: peak resident set size of its largest process."""
    read_bytes: int | None = None
    """From storage, where the kernel tells."""
    written_bytes: int | None = None
    gpu_seconds: float | None = None
    """Busy time of its GPUs; None without NVML."""
    gpu_memory: int | None = None
    """Peak bytes."""


class Trace(Struct, frozen=True):
    """All that was seen."""

    mechanism: str
    """``seccomp-unotify``, ``ptrace``, ``audit-hook``."""
    started: int
    finished: int
    exit_code: int | None
    """None when a signal ended it."""
    signal: int | None
    processes: Sequence[Process]
    """The command itself is the first."""
    files: Mapping[bytes, FileUse]
    contacts: Sequence[Contact]
    calls: Sequence[RareCall]
    events: int
    """Calls that were looked at."""
    gaps: Sequence[Gap]
    usage: Usage
    modules: Sequence[str] = ()
    """Python modules that the audit hook saw imported; a hint, never evidence on its own."""
    hooks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Other things that the audit hook saw: ``pickle.find_class`` → names, ``ctypes.dlopen`` → libraries, …"""
    interrupted: str | None = None
    """Why it was ended from outside (``interrupted``, ``time limit``, …)."""


class Launch(Struct, frozen=True):
    """What to start."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    """Absolute."""
    confine: Sequence[Callable[[], None]] = ()
    """Run in the child between ``fork`` and ``execve``, in this order, before the filter is installed. They may not
    return to the parent's code; an exception ends the child, and `launch` raises it as an `AssayError`.
    """
    mediate: Sequence[bytes] = ()
    """Folders and files whose read opens the monitor does itself (declared inputs in strict mode)."""
    allow_io_uring: bool = False
    """Without it ``io_uring_setup`` answers ENOSYS, because what goes through a ring is not seen."""
    seconds: float | None = None
    """Wall time after which all of it is killed."""
    linger: float | None = None
    """Seconds that what the command left running may go on after it; then it is killed. None: until it has ended."""
    hook: bool = True
    """Whether Python programs of the step are asked to tell their audit events."""


class Request(Struct, frozen=True):
    """A system call that waits for an answer."""

    id: int
    """The kernel's cookie: valid as long as the caller waits."""
    pid: int
    """The calling thread."""
    process: int
    """Index into `Trace.processes`."""
    call: str
    arguments: tuple[int, ...]
    """The six registers. What they point to is read with `memory` and may change at any moment: read it once."""
    memory: Callable[[int, int], bytes]
    """``memory(address, length)``: the caller's memory; short at an unmapped page."""
    alive: Callable[[], bool]
    """Whether the caller still waits: to be asked after reading its memory or ``/proc``, before acting on it."""


class Answer(Struct, frozen=True):
    """What to tell the kernel. One of the first three, or none of them to let the call go on."""

    error: int | None = None
    """Fail with this ``errno``; with ``replace`` after the descriptor was put there (EINPROGRESS of a connection)."""
    value: int | None = None
    """Succeed with this result, without the kernel doing anything."""
    descriptor: int | None = None
    """Give the caller this open descriptor of ours (closed here afterwards)."""
    replace: int | None = None
    """With ``descriptor``: the caller's number that it takes the place of; the call then returns 0. Else the new
    number is the call's result.
    """
    close_on_exec: bool = True
    records: Sequence[Contact | RareCall] = ()
    """What to remember of it."""
    later: bool = False
    """The arbiter answers by itself, later, through `Arbiter.pending`: for what would block."""


class Watch(Struct, frozen=True):
    """Calls that an arbiter wants to decide. All conditions must hold; several watches of one call are alternatives."""

    call: str
    conditions: Sequence[tuple[int, str, int]] = ()
    """(argument 0–5, operator, 64-bit value), tested by the kernel on registers. The operators are ``==``, ``!=``,
    ``<``, ``>=`` and ``&`` (any of the bits).
    """


class Arbiter(Protocol):
    """Who decides: handed in by the sandbox. Its methods run in the monitor's loop: all waiting calls wait for them."""

    @property
    def watches(self) -> Sequence[Watch]:
        """Calls that come to `decide`, beside those that the trace records."""
        ...

    @property
    def blocked(self) -> Mapping[str, int]:
        """Calls that the kernel's filter refuses without asking anybody: name → ``errno``."""
        ...

    def decide(self, request: Request) -> Answer:
        """The answer to one call. An exception is a defect and is answered with EPERM."""
        ...

    def pending(self) -> Mapping[int, Callable[[], Sequence[tuple[int, Answer]]]]:
        """File descriptors that the loop shall poll for it: when one is readable, the function is called and returns
        (request id, answer) of calls that were left for later.
        """
        ...

    def told(self) -> Sequence[Contact | RareCall]:
        """What happened beside the calls that it answered (names that were asked for, bytes that a proxy passed on).
        Asked for once, when the step has ended.
        """
        ...


class Tracer(Protocol):
    """One mechanism."""

    name: str
    """``seccomp-unotify``, ``ptrace``, ``audit-hook``."""

    def available(self) -> str | None:
        """None when it works here (tried in a child, never judged by names and versions), else why not."""
        ...

    def run(self, launch: Launch, arbiter: Arbiter | None) -> Trace:
        """Start the command, watch it and all its descendants to their end, and say what was seen. An interrupt
        (SIGINT, SIGTERM of ours) is passed on, and the trace is returned all the same, marked. Raises
        `assay.errors.AssayError` when the step could not be started.
        """
        ...
