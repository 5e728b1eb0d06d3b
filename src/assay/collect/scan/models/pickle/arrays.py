"""What joblib writes between a pickle's opcodes: raw arrays, and pickles of arrays of objects.

joblib's unpickler reads them from the same file after each BUILD of one of its wrappers, and so must the scan. Where
the length of an array cannot be told for certain, the program is given up rather than read at the wrong place.
Source: ``NumpyArrayWrapper.read_array`` in joblib/numpy_pickle.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from assay.collect.scan.models.pickle.reader import Reader

WRAPPERS = frozenset((("joblib.numpy_pickle", "NumpyArrayWrapper"),))
"""Classes whose BUILD is followed by an array."""

_DTYPE = ("numpy", "dtype")
_CODE = re.compile(r"[<>=|]?(?:(b1|\?)|([iufcmM])([1248]|16|32)|([SV])(\d{1,9})|U(\d{1,9}))(?:\[.*\])?")
_NAMES = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "l": 8, "L": 8, "q": 8, "Q": 8}
_FLOATS = {"e": 2, "f": 4, "d": 8, "g": 16, "F": 8, "D": 16, "G": 32}


class BadArrayError(Exception):
    """How long the array is cannot be told."""


class NeedExactError(Exception):
    """The run has to be repeated with a reader that takes no more than it needs."""


class Arrays:
    """Follows the reads of joblib's unpickler."""

    def __init__(self, reader: Reader, load: Callable[[], object]) -> None:
        """``load`` runs a program at the reader's position."""
        self._reader = reader
        self._load = load
        self._states: dict[int, tuple[object, object]] = {}
        self.gaps: dict[int, int] = {}
        """Offsets and lengths of the arrays."""

    def built(self, module: str, name: str, made: Any, state: object) -> None:
        """After every BUILD. Raises `BadArrayError`, and `NeedExactError` where the reader is ahead of the program."""
        if (module, name) == _DTYPE:
            if len(self._states) < 100_000:
                self._states[id(made)] = (made, state)  # held, so that the id stays its own
        elif (module, name) in WRAPPERS:
            if type(self._reader) is not Reader:
                raise NeedExactError
            self._array(state)

    def _array(self, state: object) -> None:
        if type(state) is not dict:
            raise BadArrayError("a joblib array without a description")
        width = self._width(state.get("dtype"))
        if width is None:
            self._load()
            return
        shape = state.get("shape")
        if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
            raise BadArrayError("a joblib array of unknown shape")
        reader = self._reader
        at = reader.at
        length = width
        for number in shape:
            length *= number
            if length > 1 << 62:
                raise BadArrayError("a joblib array of impossible size")
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = reader.look(1)
            if not padding:
                raise BadArrayError("a joblib array is cut off")
            length += 1 + padding[0]
        if length > reader.size - reader.at:
            raise BadArrayError("a joblib array is cut off")
        reader.at += length
        self.gaps[at] = length

    def _width(self, dtype: Any) -> int | None:
        """Bytes of one element; None for objects, which are pickled. Raises `BadArrayError`."""
        key = getattr(type(dtype), "assay_key", None)
        args = dtype.args if key == _DTYPE else ()
        code = args[0] if args else None
        if type(code) is bytes:
            code = code.decode("latin1")
        if type(code) is not str:
            raise BadArrayError("a joblib array of unknown type")
        _, state = self._states.get(id(dtype), (None, None))
        names, size, flags = _described(state)
        objects = code.strip("<>=|") in ("O", "O4", "O8")
        if flags & 1 if flags is not None else objects:
            if not objects and names is None:  # its flag alone makes NumPy unpickle what looks like numbers
                raise BadArrayError(f"a joblib array of type {code[:40]!r} that claims to hold objects")
            return None
        if objects:
            raise BadArrayError("a joblib array of objects that claims to hold none")
        if code in _NAMES or code in _FLOATS:
            return _NAMES.get(code) or _FLOATS[code]
        match = _CODE.fullmatch(code)
        if match is None:
            raise BadArrayError(f"a joblib array of type {code[:40]!r}")
        if match[1]:
            return 1
        if match[3]:
            return int(match[3])
        if size is not None and size >= 0:
            return size  # NumPy believes the state for strings and structures
        return int(match[5]) if match[4] else 4 * int(match[6])


def _described(state: object) -> tuple[object, int | None, int | None]:
    """Field names, size and flags out of a dtype's state (``arraydescr_setstate`` in NumPy's descriptor.c)."""
    if state is None:
        return None, None, None
    if type(state) is not tuple or len(state) < 8 or type(state[5]) is not int or type(state[7]) is not int:
        raise BadArrayError("a joblib array of unknown type")
    return state[3], state[5], state[7]
