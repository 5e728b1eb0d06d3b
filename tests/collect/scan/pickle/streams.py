"""Random programs that mostly run, and what pickle's own pure-Python machine does with them.

The second opinion of the fuzz tests: its stubs share no code with the engine's.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import random
import struct
from typing import Any

from collect.scan.pickle.assembling import text

NAMES = (("os", "system"), ("good", "X"), ("builtins", "eval"), ("a.b", "c.d"), ("evil", "f"), ("collections", "deque"))


class Said:
    """What the machine asked for and did."""

    def __init__(self) -> None:
        self.uses: set[tuple[str, str, str]] = set()
        self.complete = False


def second_opinion(data: bytes) -> Said:
    """Run ``data`` in `pickle._Unpickler`."""
    said = Said()

    class Kind(type):
        key = ("", "")

        def __call__(cls, *args: Any) -> Any:
            said.uses.add((*cls.key, "call"))
            return object.__new__(cls)

        def __setitem__(cls, key: object, value: object) -> None:
            said.uses.add((*cls.key, "changed"))

        @property
        def append(cls) -> Any:
            return lambda _: said.uses.add((*cls.key, "changed"))

        add = append
        __setstate__ = append

        @property
        def extend(cls) -> Any:
            return lambda items: said.uses.add((*cls.key, "changed")) if items else None

    class Base(metaclass=Kind):
        __getinitargs__ = None

        def __new__(cls, *args: Any, **keywords: Any) -> Any:
            said.uses.add((*cls.key, "new"))
            return object.__new__(cls)

        def __setstate__(self, state: object) -> None:
            said.uses.add((*type(self).key, "build"))

        def append(self, item: object) -> None:
            """Like a list."""

        def extend(self, items: object) -> None:
            """Like a list."""

        add = append

        def __setitem__(self, key: object, value: object) -> None:
            """Like a dictionary."""

        def __call__(self, *args: Any) -> Any:
            said.uses.add((*type(self).key, "result"))
            return object.__new__(type(self))

    class Machine(pickle._Unpickler):  # type: ignore[name-defined,misc]
        def find_class(self, module: str, name: str) -> Any:
            said.uses.add((module, name, "reference"))
            return Kind(name, (Base,), {"key": (module, name)})

        def persistent_load(self, pid: object) -> Any:
            return object()

        def get_extension(self, code: int) -> None:
            self.append(object())

    with contextlib.suppress(Exception):
        Machine(io.BytesIO(data), encoding="latin1").load()
        said.complete = True
    return said


def program(seed: int) -> bytes:
    """A random program; most of them run to their end, some break."""
    chance = random.Random(seed)
    out = bytearray(chance.choice((b"", b"\x80\x02", b"\x80\x04")))
    stack: list[str] = []
    memo: list[str] = []
    for _ in range(chance.randrange(3, 60)):
        if chance.random() < 0.35 or not stack:
            code, kind = chance.choice(_VALUES) if chance.random() < 0.6 else (_global(chance), "g")
            out += code
            stack.append(kind)
        else:
            out += _step(chance, stack, memo)
    while "(" in stack:
        out += _close(chance, stack)
    if chance.random() < 0.1:
        out[chance.randrange(len(out))] = chance.randrange(256)
    return bytes(out) + (b"." if stack else b"N.")


def framed(data: bytes, seed: int) -> bytes:
    """``data`` with FRAME opcodes at random places, some of which lie."""
    chance = random.Random(seed)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) + 1)
        length = chance.randrange(len(data) - at + 1)
        data = data[:at] + b"\x95" + struct.pack("<Q", length) + data[at:]
    return data


_VALUES = (
    *((b"N", "n"), (b"\x88", "n"), (b"K\x07", "n"), (b"I0x1f\n", "n"), (text("os"), "n"), (b"C\x02ab", "n")),
    *((b"Vx\n", "n"), (b"S'y'\n", "n"), (text("id") + b"Q", "p"), (b"\x82\x07", "p"), (b"\x8f", "s"), (b"]", "l")),
    *((b"}", "d"), (b"}" + text("extend") + b"Ns", "d"), (b")", "t"), (b")", "t"), (text("a") + b"\x85", "t")),
    *((b"(", "("), (b"(", "(")),
)
"""Opcodes that push, and what: a global, an instance, a tuple, a list, a set, a dictionary, a mark, anything else."""


def _global(chance: random.Random) -> bytes:
    module, attribute = chance.choice(NAMES)
    if chance.random() < 0.5:
        return f"c{module}\n{attribute}\n".encode()
    return text(module) + text(attribute) + b"\x93"


def _step(chance: random.Random, stack: list[str], memo: list[str]) -> bytes:
    """An opcode that fits what is on the stack, most of the time."""
    top = stack[-1]
    below = stack[-2] if len(stack) > 1 else "("
    third = stack[-3] if len(stack) > 2 else "("
    fitting: list[tuple[bytes, int, str]] = []  # opcode, how many it takes, what it leaves
    if top != "(":
        fitting += [(b"0", 1, ""), (b"\x85", 1, "t"), (b"2", 0, top)]
        if below != "(":
            fitting.append((b"\x86", 2, "t"))
    if top == "t" and below in "gi":
        fitting += [(b"R", 2, "i")] * 4
    if top == "t" and below == "g":
        fitting += [(b"\x81", 2, "i")] * 4
    if top == "d" and below == "t" and third == "g":
        fitting += [(b"\x92", 3, "i")] * 4
    if top not in "(" and below in "gi":
        fitting += [(b"b", 1, "")] * 3
    if top not in "(" and below in "lgi":
        fitting += [(b"a", 1, "")] * 2
    if top not in "(ldis" and below not in "(ldis" and third in "dgi":
        fitting.append((b"s", 2, ""))
    if top != "(" and chance.random() < 0.2:
        memo.append(top)
        return b"\x94"
    if memo and chance.random() < 0.2:
        at = chance.randrange(len(memo))
        stack.append(memo[at])
        return b"h" + bytes([at])
    if "(" in stack and chance.random() < 0.3:
        return _close(chance, stack)
    if not fitting:
        return b""
    opcode, takes, leaves = chance.choice(fitting)
    del stack[len(stack) - takes :]
    if leaves:
        stack.append(leaves)
    return opcode


def _close(chance: random.Random, stack: list[str]) -> bytes:
    """An opcode that takes everything to the last mark."""
    at = len(stack) - 1 - stack[::-1].index("(")
    above = stack[at + 1 :]
    before = stack[at - 1] if at else "("
    fitting = [(b"t", "t"), (b"l", "l"), (b"ios\nsystem\n", "i"), (b"1", "")]
    if above and above[0] in "gi":
        fitting += [(b"o", "i")] * 3
    if before in "lgi":
        fitting += [(b"e", "")] * 2
    if before in "sgi":
        fitting += [(b"\x90", "")] * 2
    if before in "dgi" and len(above) % 2 == 0:
        fitting.append((b"u", ""))
    opcode, leaves = chance.choice(fitting)
    del stack[at:]
    if leaves:
        stack.append(leaves)
    return opcode
