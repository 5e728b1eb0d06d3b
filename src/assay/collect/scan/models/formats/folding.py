"""Works out what constant expressions of Python source come to, as far as no attacker-chosen code runs for it.

``"sys" + "tem"``, ``base64.b64decode("…")``, ``"".join(map(chr, […]))`` and their like hide names from whoever searches
the text. Everything is bounded, and nothing but strings, bytes, numbers and lists of them is ever computed.
"""

from __future__ import annotations

import ast
import base64
import binascii
import codecs
import zlib
from collections.abc import Callable, Mapping
from typing import Any

LIMIT = 256 << 10
"""Bytes or characters of any value."""

MAX_STEPS = 1_000_000
"""Expressions that are looked at for one source."""

MAX_KEPT = 8 << 20
"""Bytes or characters of all constants that are remembered for one source."""

Value = str | bytes | int | list["Value"]

DECODERS = frozenset(
    {
        "base64.b64decode", "base64.b32decode", "base64.b16decode", "base64.a85decode", "base64.b85decode",
        "base64.urlsafe_b64decode", "base64.standard_b64decode", "base64.decodebytes", "binascii.unhexlify",
        "binascii.a2b_base64", "binascii.a2b_hex", "bytes.fromhex", "bytearray.fromhex", "codecs.decode",
        "zlib.decompress", "gzip.decompress", "bz2.decompress", "lzma.decompress", "marshal.loads",
    }
)  # fmt: skip
"""Calls that turn unreadable text into something else; code that executes their result hides what it does."""


def _inflate(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, LIMIT)


def _bytes(value: Value) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise ValueError


def _decode(data: Value, encoding: Value = "utf-8") -> Value:
    if encoding in ("rot13", "rot_13") and isinstance(data, str):
        return codecs.decode(data, "rot13")
    if encoding in ("hex", "hex_codec"):
        return bytes.fromhex(_bytes(data).decode())
    if encoding in ("base64", "base64_codec"):
        return base64.b64decode(_bytes(data))
    if encoding in ("utf-8", "utf8", "ascii", "latin1", "latin-1"):
        return _bytes(data).decode(str(encoding))
    raise ValueError


def _join(between: str | bytes, parts: list[Any]) -> str | bytes:
    if len(between) * len(parts) + sum(map(len, parts)) > LIMIT:
        raise ValueError
    return between.join(parts)


def _replace(text: Any, old: Any, new: Any) -> str | bytes:
    if text.count(old) * len(new) > LIMIT:
        raise ValueError
    replaced: str | bytes = text.replace(old, new)
    return replaced


def _format(text: str, *parts: Value) -> str:
    pieces = text.split("{}")
    if len(pieces) != len(parts) + 1 or len(parts) > 16:
        raise ValueError
    return "".join(piece + str(part) for piece, part in zip(pieces, (*parts, ""), strict=True))


_FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "base64.b64decode": lambda data: base64.b64decode(_bytes(data)),
    "base64.standard_b64decode": lambda data: base64.b64decode(_bytes(data)),
    "base64.decodebytes": lambda data: base64.decodebytes(_bytes(data)),
    "base64.urlsafe_b64decode": lambda data: base64.urlsafe_b64decode(_bytes(data)),
    "base64.b32decode": lambda data: base64.b32decode(_bytes(data)),
    "base64.b16decode": lambda data: base64.b16decode(_bytes(data)),
    "base64.b85decode": lambda data: base64.b85decode(_bytes(data)),
    "base64.a85decode": lambda data: base64.a85decode(_bytes(data)),
    "binascii.unhexlify": lambda data: binascii.unhexlify(_bytes(data)),
    "binascii.a2b_hex": lambda data: binascii.unhexlify(_bytes(data)),
    "binascii.a2b_base64": lambda data: binascii.a2b_base64(_bytes(data)),
    "bytes.fromhex": lambda data: bytes.fromhex(str(data)),
    "bytearray.fromhex": lambda data: bytes.fromhex(str(data)),
    "codecs.decode": _decode,
    "zlib.decompress": lambda data: _inflate(_bytes(data)),
    "chr": lambda code: chr(code),
    "bytes": lambda data: bytes(data) if isinstance(data, list) else _bytes(data),
    "bytearray": lambda data: bytes(data) if isinstance(data, list) else _bytes(data),
    "str": lambda data, encoding="utf-8": data if isinstance(data, str) else _decode(data, encoding),
}

_METHODS: Mapping[str, Callable[..., Value]] = {
    "decode": _decode,
    "encode": lambda text, _="utf-8": _bytes(text),
    "join": _join,
    "replace": _replace,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "strip": lambda text: text.strip(),
    "format": _format,
}


class Folder:
    """Folds the expressions of one source, with one budget for all of them."""

    def __init__(self, name_of: Callable[[ast.expr], str | None]) -> None:
        """``name_of`` gives the dotted name of an expression."""
        self.known: dict[str, Value] = {}
        """Constants that were assigned to names."""
        self._name_of = name_of
        self._steps = MAX_STEPS
        self._kept = 0

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent, so that nothing is folded any more."""
        return self._steps <= 0

    def remember(self, name: str, value: Value) -> None:
        """Note a constant that a name has from here on, as long as there is room for it."""
        size = 8 if isinstance(value, int) else len(value)
        if self._kept + size <= MAX_KEPT:
            self._kept += size
            self.known[name] = value

    def fold(self, node: ast.expr) -> Value | None:
        """What ``node`` comes to, or None when it is no constant or too large a one."""
        try:
            return self._fold(node, {}, 200)
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError, zlib.error):
            return None

    def _inner(self, node: ast.expr, local: Mapping[str, Value], depth: int) -> Value:
        value = self._fold(node, local, depth - 1)
        if value is None or (not isinstance(value, int) and len(value) > LIMIT):
            raise ValueError
        return value

    def _fold(self, node: ast.expr, local: Mapping[str, Value], depth: int) -> Value | None:
        self._steps -= 1
        if depth <= 0 or self._steps <= 0:
            raise ValueError

        def inner(part: ast.expr) -> Value:
            return self._inner(part, local, depth)

        match node:
            case ast.Constant(value=value):
                small = type(value) is int and abs(value) < 1 << 64
                return value if isinstance(value, (str, bytes)) or small else None  # type: ignore[return-value]
            case ast.Name(id=name):
                return local.get(name, self.known.get(name))
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [inner(part) for part in parts]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return inner(left) + inner(right)  # type: ignore[operator]  # a TypeError means: no constant
            case ast.BinOp(left=left, op=ast.BitXor(), right=right):
                return inner(left) ^ inner(right)  # type: ignore[operator]
            case ast.JoinedStr(values=parts):
                return "".join(str(inner(part)) for part in parts)
            case ast.FormattedValue(value=part):
                return str(inner(part))
            case ast.Subscript(value=whole, slice=ast.Slice(lower=None, upper=None, step=ast.UnaryOp())):
                reversed_ = inner(whole)
                return None if isinstance(reversed_, int) else reversed_[::-1]
            case ast.ListComp(elt=each, generators=[loop]) | ast.GeneratorExp(elt=each, generators=[loop]):
                return self._loop(each, loop, local, depth)
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self._call(function, arguments, inner)
        return None

    def _loop(self, each: ast.expr, loop: ast.comprehension, local: Mapping[str, Value], depth: int) -> Value | None:
        if loop.ifs or not isinstance(loop.target, ast.Name):
            return None
        values = self._inner(loop.iter, local, depth)
        if isinstance(values, int) or len(values) > 20_000:
            return None
        name = loop.target.id
        return [self._inner(each, {**local, name: value}, depth) for value in values]

    def _call(self, function: ast.expr, arguments: list[ast.expr], inner: Callable[[ast.expr], Value]) -> Value | None:
        name = self._name_of(function) or ""
        if name == "map" and len(arguments) == 2:
            applied = _FUNCTIONS.get(self._name_of(arguments[0]) or "")
            values = inner(arguments[1])
            return [applied(value) for value in values] if applied and not isinstance(values, int) else None
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](*map(inner, arguments))
        if isinstance(function, ast.Attribute) and function.attr in _METHODS:
            return _METHODS[function.attr](inner(function.value), *map(inner, arguments))
        return None
