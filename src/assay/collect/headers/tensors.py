"""Recognises PyTorch tensors in a symbolic pickle: the calls that would rebuild them, and the storages they
view.

It only reads the arguments of those calls; anything unexpected in them is a problem of that tensor, not an
error. Source: torch/_utils.py (``_rebuild_*``) and ``persistent_id`` in torch/serialization.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.collect.headers.reading import checked_shape, clean
from assay.collect.headers.symbols import Call, Global, Persistent
from assay.errors import DocumentError

_DTYPES = {
    "float64": ("f64", 8), "float32": ("f32", 4), "float16": ("f16", 2), "bfloat16": ("bf16", 2),
    "int64": ("i64", 8), "int32": ("i32", 4), "int16": ("i16", 2), "int8": ("i8", 1),
    "uint64": ("u64", 8), "uint32": ("u32", 4), "uint16": ("u16", 2), "uint8": ("u8", 1), "bool": ("bool", 1),
    "complex128": ("c128", 16), "complex64": ("c64", 8), "complex32": ("c32", 4),
    "float8_e4m3fn": ("f8_e4m3fn", 1), "float8_e5m2": ("f8_e5m2", 1), "float8_e4m3fnuz": ("f8_e4m3fnuz", 1),
    "float8_e5m2fnuz": ("f8_e5m2fnuz", 1), "float8_e8m0fnu": ("f8_e8m0", 1), "float4_e2m1fn_x2": ("f4_e2m1", 1),
}  # fmt: skip
"""``torch.dtype`` by name: the field's name and bytes per element."""

_STORAGES = {
    "DoubleStorage": ("f64", 8), "FloatStorage": ("f32", 4), "HalfStorage": ("f16", 2),
    "BFloat16Storage": ("bf16", 2), "LongStorage": ("i64", 8), "IntStorage": ("i32", 4),
    "ShortStorage": ("i16", 2), "CharStorage": ("i8", 1), "ByteStorage": ("u8", 1), "BoolStorage": ("bool", 1),
    "ComplexDoubleStorage": ("c128", 16), "ComplexFloatStorage": ("c64", 8), "QInt8Storage": ("qint8", 1),
    "QUInt8Storage": ("quint8", 1), "QInt32Storage": ("qint32", 4), "UntypedStorage": ("u8", 1),
}  # fmt: skip
"""Storage classes: dtype and bytes per element."""

_MODULES = ("torch._utils._rebuild_", "torch._tensor._rebuild_")

_WRAPPERS = ("_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_device_tensor_from_cpu_tensor")
"""Functions of ``torch._utils`` whose first argument is the tensor."""


@dataclass(frozen=True, slots=True)
class Storage:
    """One block of memory that tensors view."""

    key: str
    """Its name in the file."""
    dtype: str
    """Of its elements, in the field's words."""
    bytes: int
    """Its size."""


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """One tensor."""

    dtype: str
    shape: tuple[int, ...]
    storage: Storage | None = None
    """None for tensors without data (``meta``) and composed ones."""
    begin: int = 0
    """First element of the storage that it views."""
    end: int = 0
    """One behind the last element."""
    problem: str = ""
    """What is wrong with it."""


def tensor_of(value: object) -> TorchTensor | None:
    """The tensor that ``value`` would be rebuilt into, or None when it is something else."""
    if not isinstance(value, Call) or not value.path.startswith(_MODULES):
        return None
    call = value
    try:
        for _ in range(8):
            inner = _wrapped(call)
            if inner is None:
                return _rebuilt(call)
            call = inner
    except DocumentError as error:
        return TorchTensor("", (), problem=error.message)
    return TorchTensor("", (), problem="it is wrapped too deeply")


def parameters(tensors: Sequence[TorchTensor]) -> int:
    """Elements of all tensors, each element of a storage once.

    For each storage it is the length of the union of what its tensors cover, but no more than their own
    elements together (a strided view covers gaps), so tied and overlapping tensors do not count twice.
    """
    count = 0
    views: dict[tuple[str, str], list[TorchTensor]] = {}
    for tensor in tensors:
        if tensor.storage is None:
            count += math.prod(tensor.shape)
        else:
            views.setdefault((tensor.storage.key, tensor.dtype), []).append(tensor)
    for shared in views.values():
        covered = reached = 0
        for tensor in sorted(shared, key=lambda tensor: tensor.begin):
            covered += max(0, tensor.end - max(reached, tensor.begin))
            reached = max(reached, tensor.end)
        count += min(covered, sum(math.prod(tensor.shape) for tensor in shared))
    return count


def _wrapped(call: Call) -> Call | None:
    """The call that rebuilds the tensor inside of a parameter or a subclass; None when ``call`` does
    itself.
    """
    if call.path == "torch._tensor._rebuild_from_type_v2":
        return Call(call.argument(0), call.argument(2))
    if call.path.removeprefix("torch._utils.") not in _WRAPPERS:
        return None
    inner = call.argument(0)
    if not isinstance(inner, Call):
        raise DocumentError("its data is missing")
    return inner


def _rebuilt(call: Call) -> TorchTensor | None:
    function = call.path.removeprefix("torch._utils.")
    if function in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_qtensor"):
        return _view(call, None)
    if function == "_rebuild_tensor_v3":
        return _view(call, _dtype(call.argument(6)))
    if function == "_rebuild_meta_tensor_no_storage":
        return TorchTensor(_dtype(call.argument(0))[0], _shape(call.argument(1)))
    if function == "_rebuild_wrapper_subclass":
        return TorchTensor(_dtype(call.argument(1))[0], _shape(call.argument(2)))
    if function == "_rebuild_sparse_tensor":
        return _sparse(call.argument(1))
    if function.startswith(("_rebuild_device_tensor", "_rebuild_xla", "_rebuild_nested", "_rebuild_mkldnn")):
        raise DocumentError(f"what {clean(function)[:60]} makes is not known")
    return None


def _view(call: Call, dtype: tuple[str, int] | None) -> TorchTensor:
    """A tensor over a storage: (storage, offset, size, stride, …)."""
    storage, width = _storage(call.argument(0))
    name, width = dtype or (storage.dtype, width)
    shape, stride, begin = _shape(call.argument(2)), _shape(call.argument(3)), call.argument(1)
    if not isinstance(begin, int) or begin < 0 or len(stride) != len(shape):
        raise DocumentError("its offset or stride is malformed")
    # From the first to the last element that the view touches.
    reach = 1 + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
    end = begin + reach if math.prod(shape) else begin
    if end * width > storage.bytes:
        raise DocumentError("it reaches beyond its storage")
    return TorchTensor(name, shape, storage, begin, end)


def _sparse(data: object) -> TorchTensor:
    """(indices, values, size, …) in coordinates, (compressed, plain, values, size) otherwise."""
    if not isinstance(data, tuple) or len(data) not in (3, 4):
        raise DocumentError("its sparse data is malformed")
    position = 2 if isinstance(data[2], Call) and data[2].path.startswith(_MODULES) else 1
    values = tensor_of(data[position])
    if values is None or values.problem or position + 1 >= len(data):
        raise DocumentError("its sparse values are malformed")
    return replace(values, shape=_shape(data[position + 1]))


def _storage(value: object) -> tuple[Storage, int]:
    """The storage of a persistent id: ("storage", class, key, location, elements, …)."""
    key = value.key if isinstance(value, Persistent) else None
    if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
        raise DocumentError("it has no storage in this file")
    _, kind, name, _, elements = key[:5]
    if not isinstance(kind, Global) or not isinstance(name, str) or not isinstance(elements, int) or elements < 0:
        raise DocumentError("its storage is malformed")
    if kind.name not in _STORAGES:
        raise DocumentError(f"its storage class {clean(kind.name)[:60]!r} is not known")
    dtype, width = _STORAGES[kind.name]
    return Storage(clean(name)[:200], dtype, elements * width), width


def _dtype(value: object) -> tuple[str, int]:
    if not isinstance(value, Global) or value.name not in _DTYPES:
        raise DocumentError("its dtype is not known")
    return _DTYPES[value.name]


def _shape(value: object) -> tuple[int, ...]:
    if isinstance(value, Call) and value.path == "torch.Size":
        value = value.argument(0)
    if not isinstance(value, tuple | list):
        raise DocumentError("its shape is missing")
    return checked_shape(value)
