"""Whether bytes could be a pickle's program, of any protocol, whatever the file is called.

A walk over the opcodes with as much of the machine as tells where a loader would stop with an error. It is permissive:
where a loader would go on, the walk goes on; random bytes and text nearly always end it after a few opcodes.
It never decides that a program is harmless.
"""

from __future__ import annotations

import re
from typing import BinaryIO

MAX_OPCODES = 2000
"""A program that goes on for so long without an error is one."""

_WINDOW = 4096

# Opcodes by what follows them: n bytes, a length of n bytes and so much data, or lines of text.
_FIXED = {
    b"(": 0, b".": 0, b"0": 0, b"1": 0, b"2": 0, b"N": 0, b"Q": 0, b"R": 0, b"a": 0, b"b": 0, b"d": 0, b"}": 0,
    b"e": 0, b"l": 0, b"]": 0, b"o": 0, b"s": 0, b"t": 0, b")": 0, b"u": 0, b"\x81": 0, b"\x85": 0, b"\x86": 0,
    b"\x87": 0, b"\x88": 0, b"\x89": 0, b"\x8f": 0, b"\x90": 0, b"\x91": 0, b"\x92": 0, b"\x93": 0, b"\x94": 0,
    b"\x97": 0, b"\x98": 0, b"K": 1, b"M": 2, b"J": 4, b"G": 8, b"h": 1, b"j": 4, b"q": 1, b"r": 4, b"\x80": 1,
    b"\x82": 1, b"\x83": 2, b"\x84": 4, b"\x95": 8,
}  # fmt: skip
_COUNTED = {
    b"T": 4, b"U": 1, b"X": 4, b"B": 4, b"C": 1, b"\x8a": 1, b"\x8b": 4, b"\x8c": 1, b"\x8d": 8, b"\x8e": 8, b"\x96": 8,
}  # fmt: skip
_LINES = {b"F": 1, b"I": 1, b"L": 1, b"P": 1, b"S": 1, b"V": 1, b"g": 1, b"p": 1, b"c": 2, b"i": 2}

# How many objects an opcode needs on the stack, and how many more there are behind it; "M" takes all to the mark.
_STACK: dict[bytes, tuple[int, int]] = {
    b"0": (1, -1), b"2": (1, 1), b"R": (2, -1), b"a": (2, -1), b"b": (2, -1), b"s": (3, -2), b"Q": (1, 0),
    b"\x81": (2, -1), b"\x85": (1, 0), b"\x86": (2, -1), b"\x87": (3, -2), b"\x92": (3, -2), b"\x93": (2, -1),
    b"p": (1, 0), b"q": (1, 0), b"r": (1, 0), b"\x94": (1, 0), b"\x98": (1, 0), b"\x80": (0, 0), b"\x95": (0, 0),
}  # fmt: skip
_TO_MARK = {b"1": 0, b"d": 1, b"e": 0, b"l": 1, b"o": 1, b"t": 1, b"u": 0, b"\x90": 0, b"\x91": 1, b"i": 1}
_GLOBALS = frozenset((b"c", b"i", b"\x93", b"\x82", b"\x83", b"\x84"))
_RUNS = frozenset((b"R", b"i", b"o", b"b", b"\x81", b"\x92", b"a", b"e", b"\x90", b"s", b"u"))
_NAME = re.compile(rb"[\w.\x80-\xff]+\r?$")


def plausible(file: BinaryIO, size: int, start: int = 0) -> bool:
    """Whether the bytes from ``start`` are a program that does something before a loader would stop with an error.

    It does something when it uses a global, when it goes on for `MAX_OPCODES`, or when programs follow each other to
    the very end of the file.
    """
    return _Walk(file, size, start).runs()


class _Walk:
    def __init__(self, file: BinaryIO, size: int, start: int) -> None:
        self._file = file
        self._size = size
        self._at = start
        self._window = b""
        self._begins = start

    def runs(self) -> bool:
        budget = MAX_OPCODES
        while self._at < self._size:
            outcome, used = self._program(budget)
            if outcome is not None:
                return outcome
            budget -= used
        return True

    def _program(self, budget: int) -> tuple[bool | None, int]:
        """Whether this is a program; None for one that ends without having done anything, and the opcodes it has."""
        depth, used, named = 0, 0, False
        marks: list[int] = []
        while used < budget:
            code = self._take(1)
            used += 1
            if code == b"." and depth > 0:
                return (True if named else None), used
            if code == b"\x95" and self._frame():
                return True, used  # loaders differ in where a frame ends: the engine knows
            if not self._argument(code):
                return False, used
            if code == b"(":
                marks.append(depth)
            elif code in _TO_MARK:
                if not marks:
                    return False, used
                depth = marks.pop() + _TO_MARK[code]
            else:
                needed, change = _STACK.get(code, (0, 1))
                if depth < needed:
                    return False, used
                depth += change
            if named and code in _RUNS:
                return True, used
            named = named or code in _GLOBALS
        return True, used

    def _argument(self, code: bytes) -> bool:
        """Pass over an opcode's argument; False where a loader would stop."""
        if code in _FIXED:
            return len(self._take(_FIXED[code])) == _FIXED[code]
        if code in _COUNTED:
            width = _COUNTED[code]
            counted = self._take(width)
            length = int.from_bytes(counted, "little")
            if len(counted) < width or length > self._size - self._at:
                return False
            self._skip(length)
            return True
        if code not in _LINES:
            return False
        for _ in range(_LINES[code]):
            line = self._line()
            if line is None or (code in (b"c", b"i") and not _NAME.match(line)):
                return False
        return True

    def _frame(self) -> bool:
        """Whether a frame begins that could be there; the position stays."""
        have = self._take(8)
        self._skip(-len(have))
        return len(have) == 8 and int.from_bytes(have, "little") <= self._size

    def _take(self, length: int) -> bytes:
        offset = self._at - self._begins
        if offset < 0 or offset + length > len(self._window):
            self._file.seek(self._at)
            self._window, self._begins, offset = self._file.read(_WINDOW), self._at, 0
        data = self._window[offset : offset + length]
        self._at += len(data)
        return data

    def _skip(self, length: int) -> None:
        self._at += length

    def _line(self) -> bytes | None:
        """Up to the next newline; an empty one for a line that is longer than what is looked at."""
        self._file.seek(self._at)
        line = self._file.read(_WINDOW)
        found = line.find(b"\n")
        if found < 0:
            if len(line) < _WINDOW:
                return None
            return self._long_line()
        self._at += found + 1
        return line[:found]

    def _long_line(self) -> bytes | None:
        limit = self._at + (16 << 20)
        while self._at < limit and (data := self._file.read(1 << 20)):
            found = data.find(b"\n")
            if found >= 0:
                self._at = self._file.tell() - len(data) + found + 1
                return b"_"
        return None
