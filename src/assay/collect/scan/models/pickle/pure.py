"""Built-in functions that only make values, run for real, so that names and arguments put together by them are seen.

Only literals of exact built-in types go in, in bounded sizes; whatever else is asked for stays unknown. Nothing here
may look up a codec, import, or call back into what the pickle holds.
"""

from __future__ import annotations

from collections.abc import Callable

from assay.collect.scan.models.pickle.show import LARGE

LONGEST = 1 << 20
"""Elements or characters that are put in."""

UNKNOWN = object()
"""No result: not evaluated."""

HUGE = object()
"""No result: it would take more memory than any model needs for such a thing."""

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
