"""A symbolic pickle machine: it runs a pickle's opcodes over inert values and never resolves a name.

What unpickling would import and call becomes a `Global` and a `Call`, to be looked at and nothing else. It
must never import, call, compare or hash what comes from the stream (hashing nested tuples alone can hang
Python or overflow its stack), nor allocate by a length that only the stream claims. Source: CPython's
Lib/pickletools.py and Lib/pickle.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from assay.collect.headers.reading import MAX_NAME, clean
from assay.collect.headers.streams import Stream
from assay.collect.headers.symbols import Call, Global, Persistent, Skipped, Table
from assay.errors import DocumentError

MAX_OPCODES = 2_000_000
"""Opcodes run for one file: some seconds, some hundred megabytes at the very worst."""

MAX_STRING = 64 * 1024
"""Bytes of one string or byte string that are kept; longer ones are skipped and stand as `Skipped`."""

MAX_STRINGS = 64 * 1024 * 1024
"""Bytes of all kept strings together."""


@dataclass(slots=True)
class Budget:
    """What the pickles of one file may still cost together (mutable: it counts down)."""

    opcodes: int = MAX_OPCODES
    strings: int = MAX_STRINGS


class Machine:
    """One run over one pickle. ``built`` is told of every BUILD: what was built, and the stream behind
    the opcode.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        budget: Budget | None = None,
        built: Callable[[Call, Stream], object] | None = None,
    ) -> None:
        self.stream = stream
        self.budget = budget or Budget()
        self._built = built
        self._stack: list[object] = []
        self._below: list[list[object]] = []
        self._memo: dict[int, object] = {}

    def run(self) -> object:
        """The value that the pickle stands for. Raises `DocumentError` when it is broken or costs too
        much.
        """
        budget, stream = self.budget, self.stream
        try:
            while True:
                budget.opcodes -= 1
                if budget.opcodes < 0:
                    raise DocumentError("the pickle has too many opcodes")
                opcode = stream.read(1)
                if opcode == b".":
                    return self.pop()
                action = _ACTIONS.get(opcode)
                if action is None:
                    raise DocumentError(f"unknown pickle opcode 0x{opcode.hex()}")
                action(self)
        except (IndexError, KeyError, ValueError, OverflowError):
            raise DocumentError("the pickle is malformed") from None

    def bottom(self) -> object:
        """The first value that was put down: the object being made, when a run had to be given up."""
        stack = self._below[0] if self._below else self._stack
        return stack[0] if stack else None

    def number(self, size: int, *, negative: bool = False) -> int:
        """A little-endian integer argument of ``size`` bytes."""
        return int.from_bytes(self.stream.read(size), "little", signed=negative)

    def integer(self, size: int) -> object:
        """A LONG1 or LONG4 argument; kept when it is short enough to be printed."""
        if size > _MAX_INTEGER:
            self.stream.skip(size)
            return Skipped(size)
        return self.number(size, negative=True)

    def data(self, length: int) -> bytes | Skipped:
        """A byte string argument: kept, or the mark of a skipped one."""
        if length > MAX_STRING or length > self.budget.strings:
            self.stream.skip(length)
            return Skipped(length)
        self.budget.strings -= length
        return self.stream.read(length)

    def text(self, length: int) -> str | Skipped:
        """A UTF-8 argument; what is not UTF-8 is replaced."""
        data = self.data(length)
        return data if isinstance(data, Skipped) else data.decode("utf-8", "replace")

    def raw_line(self) -> bytes:
        """A text argument up to the end of its line, as it is."""
        line = self.stream.line()
        self.budget.strings -= len(line)
        if self.budget.strings < 0:
            raise DocumentError("the pickle has too much text")
        return line

    def line(self) -> str:
        """A text argument up to the end of its line."""
        return self.raw_line().decode("utf-8", "replace")

    def push(self, value: object) -> None:
        """Put ``value`` on the stack."""
        self._stack.append(value)

    def pop(self) -> object:
        """Take the top of the stack, never from beneath a mark."""
        return self._stack.pop()

    def top(self) -> object:
        """Look at the top of the stack."""
        return self._stack[-1]

    def mark(self) -> None:
        """MARK."""
        self._below.append(self._stack)
        self._stack = []

    def since_mark(self) -> list[object]:
        """Take everything above the last mark, and the mark."""
        values = self._stack
        self._stack = self._below.pop()
        return values

    def discard(self) -> None:
        """POP, which also takes a mark."""
        if self._stack:
            self._stack.pop()
        else:
            self._stack = self._below.pop()

    def remember(self, key: int | None = None) -> None:
        """PUT and MEMOIZE."""
        self._memo[len(self._memo) if key is None else key] = self._stack[-1]

    def recall(self, key: int) -> None:
        """GET."""
        self._stack.append(self._memo[key])

    def build(self) -> None:
        """BUILD."""
        state = self.pop()
        made = self.top()
        if isinstance(made, Call):
            made.state = state
            if self._built:
                self._built(made, self.stream)

    def put_items(self, values: list[object]) -> None:
        """SETITEM(S)."""
        made = self.top()
        pairs = _pairs(values)
        if isinstance(made, Table):
            made.items.extend(pairs)
        elif isinstance(made, Call):
            made.items = _extended(made.items, pairs)

    def add(self, values: list[object]) -> None:
        """APPEND(S) and ADDITEMS."""
        made = self.top()
        if isinstance(made, list):
            made.extend(values)
        elif isinstance(made, Call):
            made.elements = _extended(made.elements, values)


T = TypeVar("T")


def _extended(values: list[T] | None, more: list[T]) -> list[T]:
    if values is None:
        return more
    values.extend(more)
    return values


def _named(module: object, name: object) -> Global:
    if isinstance(module, str) and isinstance(name, str):
        return Global(clean(module)[:MAX_NAME], clean(name)[:MAX_NAME])
    return Global("", "(computed)")


def _integer(m: Machine) -> object:
    text = m.line()
    # Base 0, as the C and Python unpicklers do (pickletools does not): 0x10 is a number here.
    return text == "01" if text in ("00", "01") else int(text, 0)


def _quoted(m: Machine) -> str:
    text = m.line()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _escaped(m: Machine) -> str:
    return clean(m.raw_line().decode("raw-unicode-escape", "replace"))


def _call(m: Machine) -> None:
    arguments, made = m.pop(), m.pop()
    m.push(Call(made, arguments))


def _new_with_keywords(m: Machine) -> None:
    keywords, arguments, made = m.pop(), m.pop(), m.pop()
    m.push(Call(made, arguments, state=keywords))


def _instance(m: Machine) -> None:
    module, name = m.line(), m.line()
    m.push(Call(_named(module, name), tuple(m.since_mark())))


def _object(m: Machine) -> None:
    values = m.since_mark()
    m.push(Call(values[0], tuple(values[1:])))


def _pairs(values: list[object]) -> list[tuple[object, object]]:
    return list(zip(values[::2], values[1::2], strict=True))


def _last(m: Machine, count: int) -> tuple[object, ...]:
    return tuple(m.pop() for _ in range(count))[::-1]


_DOUBLE = struct.Struct(">d")

_MAX_INTEGER = 1024
"""Bytes of an integer that is kept; larger ones could not even be printed."""

_ACTIONS: dict[bytes, Callable[[Machine], object]] = {
    b"\x80": lambda m: m.stream.read(1),  # PROTO
    b"\x95": lambda m: m.stream.read(8),  # FRAME: only a hint for buffering
    b"0": lambda m: m.discard(),
    b"1": lambda m: m.since_mark(),
    b"2": lambda m: m.push(m.top()),
    b"(": lambda m: m.mark(),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_integer(m)),
    b"J": lambda m: m.push(m.number(4, negative=True)),
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"L": lambda m: m.push(int(m.line().rstrip("L"), 0)),
    b"\x8a": lambda m: m.push(m.integer(m.number(1))),
    b"\x8b": lambda m: m.push(m.integer(m.number(4))),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(_DOUBLE.unpack(m.stream.read(8))[0]),
    b"S": lambda m: m.push(_quoted(m)),
    b"T": lambda m: m.push(m.text(m.number(4))),
    b"U": lambda m: m.push(m.text(m.number(1))),
    b"B": lambda m: m.push(m.data(m.number(4))),
    b"C": lambda m: m.push(m.data(m.number(1))),
    b"\x8e": lambda m: m.push(m.data(m.number(8))),
    b"\x96": lambda m: m.push(m.data(m.number(8))),
    b"V": lambda m: m.push(_escaped(m)),
    b"X": lambda m: m.push(m.text(m.number(4))),
    b"\x8c": lambda m: m.push(m.text(m.number(1))),
    b"\x8d": lambda m: m.push(m.text(m.number(8))),
    b"\x97": lambda m: m.push(Skipped(0)),  # NEXT_BUFFER: lies outside of the stream
    b"\x98": lambda m: None,  # READONLY_BUFFER
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"\x85": lambda m: m.push(_last(m, 1)),
    b"\x86": lambda m: m.push(_last(m, 2)),
    b"\x87": lambda m: m.push(_last(m, 3)),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.since_mark()),
    b"a": lambda m: m.add([m.pop()]),
    b"e": lambda m: m.add(m.since_mark()),
    b"}": lambda m: m.push(Table()),
    b"d": lambda m: m.push(Table(_pairs(m.since_mark()))),
    b"s": lambda m: m.put_items(list(_last(m, 2))),
    b"u": lambda m: m.put_items(m.since_mark()),
    b"\x8f": lambda m: m.push([]),  # a set: as a list, its elements are never hashed
    b"\x90": lambda m: m.add(m.since_mark()),
    b"\x91": lambda m: m.push(tuple(m.since_mark())),
    b"g": lambda m: m.recall(int(m.line())),
    b"h": lambda m: m.recall(m.number(1)),
    b"j": lambda m: m.recall(m.number(4)),
    b"p": lambda m: m.remember(int(m.line())),
    b"q": lambda m: m.remember(m.number(1)),
    b"r": lambda m: m.remember(m.number(4)),
    b"\x94": lambda m: m.remember(),
    b"c": lambda m: m.push(_named(m.line(), m.line())),
    b"\x93": lambda m: m.push(_named(*_last(m, 2))),
    b"i": _instance,
    b"o": _object,
    b"R": lambda m: _call(m),
    b"\x81": lambda m: _call(m),
    b"\x92": _new_with_keywords,
    b"b": lambda m: m.build(),
    b"P": lambda m: m.push(Persistent(m.line())),
    b"Q": lambda m: m.push(Persistent(m.pop())),
    b"\x82": lambda m: m.push(Global("copyreg", f"extension {m.number(1)}")),
    b"\x83": lambda m: m.push(Global("copyreg", f"extension {m.number(2)}")),
    b"\x84": lambda m: m.push(Global("copyreg", f"extension {m.number(4)}")),
}
"""By opcode byte; STOP is handled by the loop."""
