"""A walk over a program's opcodes in plain Python, for what the C machine does not tell: offsets, and what lies behind
the place where it stopped.

It is slow and permissive, and adds to the machine's findings, never takes from them. It must not hash or compare what
the program makes, nor follow it deeper than it prints.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from assay.collect.scan.models.pickle.show import call_text, clean, show
from assay.collect.scan.models.pickle.stubs import dotted

OPCODES = 300_000
"""Opcodes that are walked, about half a second of them."""

EVENTS = 20_000
"""Events that are kept."""

_KEPT = 1 << 16
_WINDOW = 1 << 18
_TAIL = 16 << 20
_TEXT_GLOBAL = re.compile(rb"[ci]([A-Za-z_][\w.]{0,200})\n([A-Za-z_][\w.]{0,200})\n")


@dataclass(frozen=True, slots=True)
class Event:
    """A use of a global, or something computed."""

    use: str
    """As `program.Use.use`, or a flag's rule."""
    module: str
    name: str
    offset: int
    text: str


class _Global:
    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def assay_text(self, depth: int) -> str:
        return dotted(self.module, self.name)


class _Made:
    __slots__ = ("args", "by", "use")

    def __init__(self, by: object, args: object, use: str) -> None:
        self.by = by
        self.args = args
        self.use = use

    def assay_text(self, depth: int) -> str:
        if depth > 3:
            return "…"
        return call_text(show(self.by, depth + 1), self.args if type(self.args) is tuple else (self.args,))


class _Unknown:
    __slots__ = ()

    def assay_text(self, depth: int) -> str:
        return "?"


_MARK = object()
_WHAT = _Unknown()


class _StopError(Exception):
    """The walk is at its end."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a walk has seen."""

    events: list[Event]
    """In order."""
    kept: bool
    """``getattr`` itself is passed on somewhere, or the walk did not get to the end, so that it may be."""
    whole: bool
    """The walk ended at the STOP that is the last byte: nothing is cut off."""


def trace(file: BinaryIO, start: int, end: int, *, stop: int, gaps: dict[int, int]) -> Trace:
    """A walk from ``start`` to ``end``. STOP before ``stop`` does not end it: other programs follow there; ``gaps`` are
    offsets and lengths of what is no program.
    """
    walk = _Walk(file, start, end, stop, gaps)
    position = file.tell()
    for part in (walk.run, walk.resync):
        with contextlib.suppress(_StopError, IndexError, KeyError, ValueError, OverflowError):
            part()
    file.seek(position)
    return Trace(walk.events, walk.at < stop or walk.getters != 0, walk.whole)


class _Walk:
    def __init__(self, file: BinaryIO, start: int, end: int, stop: int, gaps: dict[int, int]) -> None:
        self.events: list[Event] = []
        self.at = start
        self._file = file
        self._end = end
        self._stop = stop
        self._gaps = gaps
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._window = b""
        self._from = 0
        self._op = start
        self.getters = 0
        """How often getattr was put on the stack, less how often it was called."""
        self.whole = False

    def run(self) -> None:
        """Until the end, an unknown opcode, or `OPCODES` of them."""
        for _ in range(OPCODES):
            self.at += self._gaps.pop(self.at, 0)
            self._op = self.at
            code = self._take(1)
            if code == b"." and self.at >= self._stop:
                self.whole = True
                return
            action = _ACTIONS.get(code)
            if action is not None:
                action(self)
            elif code in _FIXED:
                self._take(_FIXED[code])
            elif code != b".":
                return

    def resync(self) -> None:
        """The names that are written out in what could not be walked."""
        if self.at >= self._stop:
            return
        self._file.seek(self.at)
        data = self._file.read(max(0, min(_TAIL, self._end - self.at)))
        for match in _TEXT_GLOBAL.finditer(data):
            module, name = match[1].decode(), match[2].decode()
            self._tell("reference", _Global(module, name), dotted(module, name), self.at + match.start())

    def _take(self, count: int) -> bytes:
        if count > self._end - self.at:
            raise _StopError
        offset = self.at - self._from
        if offset < 0 or offset + count > len(self._window):
            self._file.seek(self.at)
            self._window = self._file.read(max(count, min(_WINDOW, self._end - self.at)))
            self._from, offset = self.at, 0
        self.at += count
        return self._window[offset : offset + count]

    def number(self, count: int) -> int:
        return int.from_bytes(self._take(count), "little")

    def data(self, width: int) -> bytes | None:
        length = self.number(width)
        if length > self._end - self.at:
            raise _StopError
        if length > _KEPT:
            self.at += length
            return None
        return self._take(length)

    def line(self) -> bytes:
        self._file.seek(self.at)
        line = self._file.readline(_KEPT)
        line = line[: self._end - self.at]
        if len(line) == _KEPT and not line.endswith(b"\n"):
            raise _StopError
        self.at += len(line)
        return line[:-1]  # also of a last line without a newline: so does Python's own machine, which joblib uses

    def push(self, value: object) -> None:
        self._stack.append(value)
        if type(value) is _Global and value.name == "getattr":
            self.getters += 1

    def pop(self) -> object:
        value = self._stack.pop() if self._stack else _WHAT
        return _WHAT if value is _MARK else value

    def top(self) -> object:
        return self._stack[-1] if self._stack else _WHAT

    def drop(self) -> None:
        if self._stack:
            self._stack.pop()

    def to_mark(self) -> list[object]:
        values: list[object] = []
        while self._stack and (value := self._stack.pop()) is not _MARK:
            values.append(value)
        values.reverse()
        return values

    def pops(self, count: int) -> tuple[object, ...]:
        return tuple(self.pop() for _ in range(count))[::-1]

    def put(self, key: int | None = None) -> None:
        self._memo[len(self._memo) if key is None else key] = self.top()

    def get(self, key: int) -> None:
        self.push(self._memo.get(key, _WHAT))

    def _tell(self, use: str, what: object, text: str, offset: int | None = None) -> None:
        if len(self.events) >= EVENTS:
            raise _StopError
        module, name = (clean(what.module), clean(what.name)) if isinstance(what, _Global) else ("", "")
        self.events.append(Event(use, module, name, self._op if offset is None else offset, text))

    def named(self, module: object, name: object) -> None:
        """GLOBAL and STACK_GLOBAL."""
        if type(module) is str and type(name) is str:
            made = _Global(module, name)
            self._tell("reference", made, dotted(module, name))
            self.push(made)
        else:
            if type(module) is _Made or type(name) is _Made:
                self._tell("computed-name", None, f"{show(module)}.{show(name)}")
            self.push(_WHAT)

    def called(self, what: object, args: object, use: str) -> None:
        """REDUCE, NEWOBJ, INST and OBJ."""
        result = _Made(what, args, use)
        if type(what) is _Global and what.name == "getattr":
            self.getters -= 1
        if isinstance(what, _Global):
            self._tell(use, what, show(result))
            if what.name == "getattr" and type(args) is tuple and len(args) > 1 and isinstance(args[0], _Global):
                inner = _Global(args[0].module, f"{args[0].name}.{args[1]}" if type(args[1]) is str else "?")
                self._tell("reference", inner, show(inner))
                self.push(inner)
                return
        else:
            self._tell("computed-class" if use == "new" else "result-called", None, show(result))
        if type(args) is _Made:
            self._tell("computed-arguments", None, show(result))
        self.push(result)

    def built(self) -> None:
        """BUILD."""
        state, what = self.pop(), self.top()
        if isinstance(what, _Global):
            self._tell("global-changed", None, f"{show(what)}.__dict__.update({show(state)})")
        elif isinstance(what, _Made) and isinstance(what.by, _Global):
            self._tell("build", what.by, show(what))

    def set_items(self, items: list[object]) -> None:
        """SETITEM(S)."""
        what = self.top()
        if isinstance(what, _Global) and len(items) > 1:
            self._tell("global-changed", None, f"{show(what)}[{show(items[0])}] = {show(items[1])}")

    def extended(self, method: str) -> None:
        """APPEND(S) and ADDITEMS on the global beneath."""
        what = self.top()
        if isinstance(what, _Global):
            self._tell("global-changed", None, f"{show(what)}.{method}")


def _text(data: bytes | None, codec: str = "utf-8") -> object:
    return _WHAT if data is None else data.decode(codec, "replace")


def _global(w: _Walk) -> None:
    w.named(_text(w.line()), _text(w.line()))


def _inst(w: _Walk) -> None:
    _global(w)
    what = w.pop()  # which `_global` has put there
    w.called(what, tuple(w.to_mark()), "call")


def _obj(w: _Walk) -> None:
    values = w.to_mark()
    if values:
        w.called(values[0], tuple(values[1:]), "call")


def _new_ex(w: _Walk) -> None:
    what, args, _ = w.pops(3)
    w.called(what, args, "new")


def _append(w: _Walk) -> None:
    w.pop()
    w.extended("append(…)")


def _appends(w: _Walk, method: str = "extend(…)") -> None:
    w.to_mark()
    w.extended(method)


def _quoted(w: _Walk) -> None:
    line = w.line().strip()
    w.push(_text(line[1:-1] if len(line) > 1 else line, "latin1"))


def _two(w: _Walk, use: str) -> None:
    what, args = w.pops(2)
    w.called(what, args, use)


def _int(w: _Walk) -> None:
    line = w.line().strip().rstrip(b"L")
    w.push(int(line, 0) if len(line) < 20 else _WHAT)


def _long(w: _Walk, width: int) -> None:
    data = w.data(width)
    w.push(_WHAT if data is None or len(data) > 32 else int.from_bytes(data, "little", signed=True))


def _extension(w: _Walk, width: int) -> None:
    code = w.number(width)
    w._tell("extension", None, f"code {code}")
    w.push(_WHAT)


def _pushing(value: Callable[[_Walk], object]) -> Callable[[_Walk], object]:
    return lambda w: w.push(value(w))


_FIXED = {b"\x80": 1, b"\x95": 8, b"\x98": 0}

_ACTIONS: dict[bytes, Callable[[_Walk], object]] = {
    b"(": lambda w: w.push(_MARK),
    b"0": lambda w: w.drop(),
    b"1": lambda w: w.to_mark(),
    b"2": lambda w: w.push(w.top()),
    b"N": lambda w: w.push(None),
    b"\x88": lambda w: w.push(True),
    b"\x89": lambda w: w.push(False),
    b"I": _int,
    b"L": _int,
    b"J": _pushing(lambda w: int.from_bytes(w._take(4), "little", signed=True)),
    b"K": _pushing(lambda w: w.number(1)),
    b"M": _pushing(lambda w: w.number(2)),
    b"\x8a": lambda w: _long(w, 1),
    b"\x8b": lambda w: _long(w, 4),
    b"F": _pushing(lambda w: w.line() and _WHAT),
    b"G": _pushing(lambda w: w._take(8) and _WHAT),
    b"S": _quoted,
    b"T": _pushing(lambda w: _text(w.data(4), "latin1")),
    b"U": _pushing(lambda w: _text(w.data(1), "latin1")),
    b"V": _pushing(lambda w: codecs.raw_unicode_escape_decode(w.line(), "replace")[0]),
    b"X": _pushing(lambda w: _text(w.data(4))),
    b"\x8c": _pushing(lambda w: _text(w.data(1))),
    b"\x8d": _pushing(lambda w: _text(w.data(8))),
    b"B": _pushing(lambda w: w.data(4)),
    b"C": _pushing(lambda w: w.data(1)),
    b"\x8e": _pushing(lambda w: w.data(8)),
    b"\x96": _pushing(lambda w: w.data(8)),
    b"\x97": lambda w: w.push(_WHAT),
    b")": lambda w: w.push(()),
    b"t": _pushing(lambda w: tuple(w.to_mark())),
    b"\x85": _pushing(lambda w: w.pops(1)),
    b"\x86": _pushing(lambda w: w.pops(2)),
    b"\x87": _pushing(lambda w: w.pops(3)),
    b"]": lambda w: w.push([]),
    b"l": _pushing(lambda w: w.to_mark()),
    b"}": _pushing(lambda w: _WHAT),
    b"d": _pushing(lambda w: w.to_mark() and _WHAT),
    b"\x8f": _pushing(lambda w: _WHAT),
    b"\x91": _pushing(lambda w: w.to_mark() and _WHAT),
    b"a": _append,
    b"e": _appends,
    b"\x90": lambda w: _appends(w, "add(…)"),
    b"s": lambda w: w.set_items(list(w.pops(2))),
    b"u": lambda w: w.set_items(w.to_mark()),
    b"g": lambda w: w.get(int(w.line())),
    b"h": lambda w: w.get(w.number(1)),
    b"j": lambda w: w.get(w.number(4)),
    b"p": lambda w: w.put(int(w.line())),
    b"q": lambda w: w.put(w.number(1)),
    b"r": lambda w: w.put(w.number(4)),
    b"\x94": lambda w: w.put(),
    b"c": _global,
    b"\x93": lambda w: w.named(*w.pops(2)),
    b"i": _inst,
    b"o": _obj,
    b"R": lambda w: _two(w, "call"),
    b"\x81": lambda w: _two(w, "new"),
    b"\x92": _new_ex,
    b"b": lambda w: w.built(),
    b"P": _pushing(lambda w: w.line() and _WHAT),
    b"Q": _pushing(lambda w: w.pop() and _WHAT),
    b"\x82": lambda w: _extension(w, 1),
    b"\x83": lambda w: _extension(w, 2),
    b"\x84": lambda w: _extension(w, 4),
}
"""By opcode; those of `_FIXED` and STOP are handled by the loop."""
