"""Built-in functions that only make values, run for real, so that names and arguments put together by them are seen.

Only literals of exact built-in types go in, in bounded sizes; whatever else is asked for stays unknown. Nothing here
may look up a codec, import, or call back into what the pickle holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from assay.collect.scan.models.pickle.show import LARGE

LONGEST = 1 << 20
"""Elements or characters that are put in."""

UNKNOWN = object()
"""No result: not evaluated."""

HUGE = object()
"""No result: it would take more memory than any model needs for such a thing."""

ENDLESS = 1 << 25
"""Elements that no call in a model goes through."""

_BUILT_IN = ("builtins", "__builtin__")
_SIZED = ("bytes", "bytearray")
_ENDLESS = frozenset(("itertools", name) for name in ("chain", "count", "cycle", "repeat"))
_LAZY = _ENDLESS | {(module, name) for module in _BUILT_IN for name in ("enumerate", "filter", "iter", "map", "zip")}
_SHAPED = ("_reconstruct", "_mareconstruct")
_EXACT = frozenset((("decimal", "Decimal"), ("_decimal", "Decimal"), ("fractions", "Fraction")))
_EXPONENT = re.compile(r"[eE][+-]?0*(\d[\d_]*)\s*\Z")

_CODECS = frozenset(("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"))
_LITERAL = frozenset((str, bytes, bytearray, int, float, bool, type(None)))


def evaluate(module: str, name: str, args: tuple[object, ...]) -> object:
    """The result of a call, `UNKNOWN` or `HUGE`."""
    made = _MAKERS.get((_MODULES.get(module, module), name))
    if made is None:
        return UNKNOWN
    try:
        return made(args)
    except Exception:  # the loader would raise as well, in its own words: left to the caller
        return UNKNOWN


def exhausting(key: tuple[str, str], args: tuple[object, ...]) -> bool:
    """Whether what is given to a call makes it take memory or time without end: a range or an iterator without an end
    that it would go through, a number of bytes, a number with an exponent that is written out, an array's shape.
    """
    for arg in args:
        kind = type(arg)
        if kind is range:
            if (arg.stop - arg.start) // arg.step > ENDLESS:  # type: ignore[attr-defined]  # `len` ends at 2 ** 63
                return True
        elif kind is str:
            # No literal has an exponent beyond a double's by more than a little, and `int` of it has as many digits.
            if key in _EXACT and (found := _EXPONENT.search(arg[-40:])) is not None and len(found[1]) > 4:  # type: ignore[index]
                return True
        elif getattr(kind, "assay_key", None) in _ENDLESS and key not in _LAZY:
            return True
        elif kind is tuple and key[1] in _SHAPED and all(type(side) is int for side in arg):  # type: ignore[attr-defined]
            if math.prod(arg) > ENDLESS:  # type: ignore[call-overload]  # those that NumPy writes are empty
                return True
        elif kind is int and key[1] in _SIZED and key[0] in _BUILT_IN and arg > ENDLESS:  # type: ignore[operator]
            return True
    return False


def knows(module: str, name: str) -> bool:
    """Whether calls of the global may be evaluated."""
    return (_MODULES.get(module, module), name) in _MAKERS


def _collection(kind: Callable[..., object]) -> Callable[[tuple[object, ...]], object]:
    def make(args: tuple[object, ...]) -> object:
        if not args:
            return kind()
        if len(args) == 1 and type(args[0]) is range:
            return kind(args[0]) if len(args[0]) <= LONGEST else HUGE
        if len(args) != 1 or type(args[0]) not in (list, tuple, set, frozenset, dict, str, bytes, bytearray):
            return UNKNOWN
        if len(args[0]) > LONGEST and type(args[0]) not in (list, tuple):  # type: ignore[arg-type]
            return UNKNOWN
        if type(args[0]) in (bytes, bytearray) and len(args[0]) >= LARGE:  # type: ignore[arg-type]
            return UNKNOWN
        return kind(args[0])

    return make


def _scalars(kind: Callable[..., object]) -> Callable[[tuple[object, ...]], object]:
    def make(args: tuple[object, ...]) -> object:
        if any(type(arg) not in _LITERAL or (isinstance(arg, str | bytes) and len(arg) > 4096) for arg in args):
            return UNKNOWN
        return kind(*args)

    return make


def _bytes(kind: Callable[..., object]) -> Callable[[tuple[object, ...]], object]:
    def make(args: tuple[object, ...]) -> object:
        if not args:
            return kind()
        first = args[0]
        if len(args) == 1 and type(first) is int:
            return kind(first) if first <= LONGEST else HUGE
        if len(args) == 1 and type(first) in (list, tuple, bytes, bytearray):
            small = len(first) < (LARGE if type(first) in (bytes, bytearray) else LONGEST)  # type: ignore[arg-type]
            return kind(first) if small else UNKNOWN
        if len(args) == 2 and type(first) is str and args[1] in _CODECS and len(first) <= 64 * LONGEST:
            return kind(first, args[1])
        return UNKNOWN

    return make


def _encode(args: tuple[object, ...]) -> object:
    if len(args) not in (1, 2) or type(args[0]) is not str:
        return UNKNOWN
    codec = args[1] if len(args) == 2 else "utf-8"
    if type(codec) is not str or codec.lower().replace("_", "-") not in _CODECS or len(args[0]) > 64 * LONGEST:
        return UNKNOWN
    return args[0].encode(codec)


_MODULES = {"__builtin__": "builtins"}

_MAKERS: dict[tuple[str, str], Callable[[tuple[object, ...]], object]] = {
    ("builtins", "tuple"): _collection(tuple),
    ("builtins", "list"): _collection(list),
    ("builtins", "set"): _collection(set),
    ("builtins", "frozenset"): _collection(frozenset),
    ("builtins", "dict"): _collection(dict),
    ("builtins", "bytearray"): _bytes(bytearray),
    ("builtins", "bytes"): _bytes(bytes),
    ("builtins", "complex"): _scalars(complex),
    ("builtins", "int"): _scalars(int),
    ("builtins", "float"): _scalars(float),
    ("builtins", "bool"): _scalars(bool),
    ("builtins", "slice"): _scalars(slice),
    ("builtins", "range"): _scalars(range),
    ("_codecs", "encode"): _encode,
}
