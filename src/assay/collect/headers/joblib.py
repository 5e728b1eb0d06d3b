"""Reads scikit-learn models and other objects that joblib or plain pickle wrote, compressed or not.

The pickle is run symbolically: nothing is imported, called or unpickled, and arrays (which joblib puts raw
between the opcodes) are passed over by their computed length. Source: joblib/numpy_pickle.py, and
``__reduce__`` of numpy.ndarray and numpy.dtype.
"""

from __future__ import annotations

import io
import math
from collections import deque
from typing import BinaryIO

from assay.collect.headers.arrays import array_of, wrapped
from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.pickles import Budget, Machine
from assay.collect.headers.reading import MAX_TENSORS, clean, failed, short
from assay.collect.headers.streams import Stream, Unpacked, compression
from assay.collect.headers.symbols import Call, Table, entries, leaves
from assay.collect.headers.values import names
from assay.errors import DocumentError

_SUFFIXES = (".pkl", ".pickle", ".joblib", ".sav", ".p", ".jl", ".dill", ".cloudpickle")

_OPENINGS = frozenset(b"\x95}]()cX\x8c\x8dUTKJMGN\x88\x89CB\x8e\x96\x8f\x80")
"""Opcodes that an honest pickle has right behind its protocol."""

_MAX_NESTED = 8


class JoblibReader:
    """``.joblib``, ``.pkl``, ``.pickle``."""

    def recognises(self, path: str, head: bytes) -> bool:
        """A pickle of protocol 2 or later, plain or compressed; of an older protocol only by name."""
        kind = compression(head)
        if kind == "lz4":
            return path.endswith(_SUFFIXES) or path.removesuffix(".lz4").endswith(_SUFFIXES)
        if kind:
            try:
                head = Unpacked(io.BytesIO(head), kind).read(16)
            except DocumentError:
                return False
        if head[:1] == b"\x80" and len(head) > 2:
            return 2 <= head[1] <= 5 and head[2] in _OPENINGS
        return path.endswith(_SUFFIXES) and bool(head)

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Class, public parameters and fitted arrays of the object.

        The number of parameters is that of all elements of arrays of floats (an array that is referred to
        twice counts once): coefficients, intercepts, tree values.
        """
        kind = compression(file.read(16))
        file.seek(0)
        try:
            stream = Stream(Unpacked(file, kind)) if kind else Stream(file, seekable=file, size=size)
        except DocumentError as error:
            return failed(path, "joblib", error.message)
        arrays = _Arrays()
        machine = Machine(stream, budget=arrays.budget, built=arrays.built)
        warnings = []
        try:
            value = machine.run()
            if stream.more():
                warnings.append("there are bytes behind the pickle that were not read")
        except DocumentError as error:
            value = machine.bottom()
            warnings.append(f"not read to its end: {error.message}")
        format = "joblib" if kind or arrays.seen or path.endswith((".joblib", ".jl")) else "pickle"
        return _describe(path, format, value, kind, warnings)


class _Arrays:
    """Passes over the arrays that joblib writes behind the BUILD of each of its wrappers."""

    def __init__(self) -> None:
        self.budget = Budget()
        self.seen = False
        self._depth = 0

    def built(self, made: Call, stream: Stream) -> None:
        """Called by the machine; ``stream`` stands behind the opcode."""
        array = wrapped(made)
        if array is None:
            return
        self.seen = True
        if array.dtype == "object":
            # An array of objects is a pickle of its own in the same stream.
            self._depth += 1
            if self._depth > _MAX_NESTED:
                raise DocumentError("pickles within pickles are nested too deeply")
            made.elements = [Machine(stream, budget=self.budget, built=self.built).run()]
            self._depth -= 1
            return
        if array.width is None:
            raise DocumentError(f"the length of an array of {array.dtype} is not known")
        if array.aligned:
            stream.skip(stream.read(1)[0])
        stream.skip(math.prod(array.shape) * array.width)


def _describe(path: str, format: str, value: object, kind: str | None, warnings: list[str]) -> ModelFile:
    tensors: list[Tensor] = []
    floats: dict[int, int] = {}
    try:
        for name, array in leaves(value, array_of, frozenset()):
            if len(tensors) >= MAX_TENSORS:
                raise DocumentError(f"there are more than {MAX_TENSORS} arrays")
            tensors.append(Tensor(clean(name), array.dtype, array.shape))
            if array.dtype.startswith("f"):
                floats[array.identity] = math.prod(array.shape)
    except DocumentError as error:
        warnings.append(error.message)
    model = _model_in(value)
    facts: list[tuple[str, object]] = [("compression", kind)] if kind else []
    if model is not None:
        facts += _facts(model)
    return ModelFile(
        path,
        format,
        architecture=model.made.name if model and model.made else None,
        tensors=tensors,
        parameters=sum(floats.values()) if floats else None,
        metadata=short(facts),
        warnings=tuple(f"{path}: {warning}" for warning in warnings),
    )


def _model_in(value: object) -> Call | None:
    """The nearest object that scikit-learn's version is written in, else the object itself where it has a
    class.
    """
    waiting = deque([(value, 0)])
    looked = 0
    while waiting and looked < 1000:
        part, depth = waiting.popleft()
        looked += 1
        if isinstance(part, Call) and part.made and any(name == "_sklearn_version" for name, _ in entries(part)):
            return part
        if depth < 4:
            children = part if isinstance(part, list | tuple) else [child for _, child in entries(part)]
            waiting += [(child, depth + 1) for child in children[:200] if isinstance(child, _CONTAINERS)]
    if isinstance(value, Call) and value.made and value.made.module.split(".")[0] not in _PLAIN:
        return value
    return None


_CONTAINERS = (Call, Table, list, tuple)
_PLAIN = ("builtins", "__builtin__", "collections", "numpy", "joblib", "_codecs", "")


def _facts(model: Call) -> list[tuple[str, object]]:
    """Class, version, parameters, and the steps of a pipeline."""
    made = model.made
    facts: list[tuple[str, object]] = [("class", made.path)] if made else []
    found = entries(model)
    facts += [("sklearn_version", v) for k, v in found if k == "_sklearn_version" and isinstance(v, str)]
    steps = [part for name, part in found if name in ("steps", "estimators", "transformers") and isinstance(part, list)]
    shown = []
    for step in steps[0][:100] if steps else ():
        if isinstance(step, tuple) and len(step) >= 2 and isinstance(step[0], str):
            inner = step[1]
            name = inner.made.name if isinstance(inner, Call) and inner.made else str(inner)[:40]
            shown.append(f"{step[0]}: {name}")
            if isinstance(inner, Call):
                facts += [(f"param.{step[0]}__{k}", v) for k, v in _parameters(inner)]
    if shown:
        facts.append(("steps", names(shown)))
    return facts + [(f"param.{k}", v) for k, v in _parameters(model)]


def _parameters(model: Call) -> list[tuple[str, object]]:
    """Scalars among what the constructor was given: neither private nor fitted, which ends in an
    underscore.
    """
    return [
        (name, value)
        for name, value in entries(model)
        if not name.startswith("_") and not name.endswith("_") and isinstance(value, str | int | float)
    ]
