"""Recognises NumPy arrays in a symbolic pickle, as NumPy and joblib write them.

It only reads the arguments of the calls that would rebuild them; what is malformed there is no array.
Source: numpy's ``ndarray.__reduce_ex__`` and ``dtype.__reduce__``; joblib/numpy_pickle.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from assay.collect.headers.numpy import element
from assay.collect.headers.reading import checked_shape
from assay.collect.headers.symbols import Call, Global, Table
from assay.errors import DocumentError

_CORE = ("numpy.core.", "numpy._core.")

_WRAPPERS = (
    "joblib.numpy_pickle.NumpyArrayWrapper",
    "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper",
)

_NATIVE = {
    "bool": "b1", "bool_": "b1", "object_": "O", "str_": "U", "bytes_": "S", "void": "V", "float16": "f2",
    "float32": "f4", "float64": "f8", "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8", "uint8": "u1",
    "uint16": "u2", "uint32": "u4", "uint64": "u8", "complex64": "c8", "complex128": "c16",
}  # fmt: skip

_HAS_OBJECT = 0x01
"""NPY_ITEM_REFCOUNT: elements hold references to Python objects."""


@dataclass(frozen=True, slots=True)
class Array:
    """One array."""

    dtype: str
    """The field's name, ``object`` where elements are Python objects."""
    width: int | None
    """Bytes of an element; None when the dtype does not say."""
    shape: tuple[int, ...]
    identity: int
    """The same for the same array reached twice."""
    aligned: bool = False
    """joblib 1.1 and later: a count of padding bytes precedes the data."""


def array_of(value: object) -> Array | None:
    """The array of numbers that ``value`` would become; None when it is something else or malformed.

    An array of objects is no leaf: what it holds is looked at like the elements of a list.
    """
    if not isinstance(value, Call):
        return None
    try:
        array = _recognised(value)
    except DocumentError:
        return None
    return None if array is None or array.dtype == "object" else array


def _recognised(value: Call) -> Array | None:
    if value.path in _WRAPPERS:
        return wrapped(value)
    if not value.path.startswith(_CORE):
        return None
    function = value.path.rpartition(".")[2]
    if function == "_reconstruct" and isinstance(value.state, tuple) and len(value.state) == 5:
        return _array(value, value.state[2], value.state[1])
    if function == "_frombuffer":
        return _array(value, value.argument(1), value.argument(2))
    return None


def wrapped(value: Call) -> Array | None:
    """The array that joblib's wrapper speaks of; None for other objects. `DocumentError` when it is
    malformed.
    """
    if value.path not in _WRAPPERS or not isinstance(value.state, Table):
        return None
    state = {key: part for key, part in value.state.items if isinstance(key, str)}
    alignment = state.get("numpy_array_alignment_bytes")
    return _array(value, state.get("dtype"), state.get("shape"), aligned=alignment is not None)


def _array(value: Call, dtype: object, shape: object, *, aligned: bool = False) -> Array:
    if not isinstance(shape, tuple):
        raise DocumentError("an array's shape is malformed")
    name, width = _dtype(dtype)
    return Array(name, width, checked_shape(shape), id(value), aligned)


def _dtype(value: object) -> tuple[str, int | None]:
    """dtype(code, align, copy) with the state (version, order, subdtype, names, fields, size, alignment,
    flags).
    """
    if not isinstance(value, Call) or value.path != "numpy.dtype":
        raise DocumentError("an array's dtype is malformed")
    code = value.argument(0)
    if isinstance(code, Global):
        code = _NATIVE.get(code.name)
    if not isinstance(code, str):
        raise DocumentError("an array's dtype is malformed")
    name, width = element(code)
    state = value.state
    if isinstance(state, tuple) and len(state) >= 8:
        size, flags = state[5], state[7]
        if isinstance(size, int) and 0 <= size < 1 << 31:
            width = size
        if isinstance(flags, int) and flags & _HAS_OBJECT:
            return "object", None
    return ("object", None) if name == "object" else (name, width)
