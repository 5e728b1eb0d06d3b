"""What is known about a pickle's program after it was run without resolving anything: facts, no judgement.

All texts are bounded and printable, since a stranger wrote them. Nothing here reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    """One way in which the program uses one global."""

    module: str
    """As written in the pickle; ``__builtin__`` and other names of Python 2 stay."""
    name: str
    """With dots where the pickle or a ``getattr`` reaches into it."""
    use: str
    """``reference``, ``call``, ``new`` (made by NEWOBJ), ``build`` (an instance filled by BUILD) or ``fill`` (with
    a state that is not known to be only data)."""
    count: int
    """How often; calls beyond `stubs.HOT` are not counted."""
    offset: int | None
    """Of the opcode, in bytes; None where it was not found."""
    text: str
    """The first such call, ``os.system('id')``; the name alone for a reference."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Something about the program's structure."""

    rule: str
    """Key of `judging.STRUCTURE`."""
    text: str
    """What it concerns: a name, a call, a number."""
    offset: int | None
    """In bytes; None where it was not found."""
    by: tuple[str, str] | None = None
    """Module and name of the global whose result it concerns."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A byte string that the program holds and that was not read: passed over, its content unknown to the machine."""

    offset: int
    """In bytes."""
    length: int
    """In bytes."""


@dataclass(frozen=True, slots=True)
class Nested:
    """A program inside a byte string of the program."""

    offset: int | None
    """Where the byte string begins; None for one that the program puts together."""
    program: Program
    """What it does."""


@dataclass(frozen=True, slots=True)
class Program:
    """The facts."""

    uses: tuple[Use, ...]
    """By module, name and use; each once."""
    flags: tuple[Flag, ...]
    """Structure, in the order in which it was met."""
    persistent: tuple[str, ...]
    """Persistent ids, the first `stubs.PERSISTENT` of them."""
    blobs: tuple[Blob, ...]
    """Byte strings that were passed over."""
    arrays: tuple[Blob, ...]
    """What joblib put between the opcodes."""
    nested: tuple[Nested, ...]
    """Programs inside byte strings."""
    start: int
    """Offset of the first opcode."""
    end: int
    """Offset behind the program, where the loader's next read would be; the file's size for an incomplete one."""
    complete: bool
    """It was read to its STOP."""
    abort: str | None
    """Why it was not."""
    protocol: int
    """That it begins with; 0 where it says nothing."""
    loaded: bool
    """What `inside_torch.CALL` is given was read to its end, and its programs stand in `nested`."""
    resolved: bool
    """``getattr`` is only called, and what each call returns stands in `uses` or `flags` by its own name."""
