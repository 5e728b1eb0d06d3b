"""safetensors files: all tensors from the held bytes, or one after the other, each verified while it is read.

The lazy reader trusts signed segment digests and nothing else: a byte that no verified segment holds never leaves it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from assay.errors import DocumentError, MissingLibraryError, RejectedError, UndecidedError
from assay.evidence import strict_json
from assay.guard.load.gate import admitted, located
from assay.guard.load.held import Held
from assay.guard.load.interface import Guard
from assay.guard.load.pickles import guarded
from assay.guard.load.target import HeldTarget, hold
from assay.targets.interface import DIGEST, SEGMENT
from assay.targets.names import shown

MAX_HEADER = 100_000_000
"""Bytes; the safetensors library refuses longer ones too."""

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""Type names of the format by those of PyTorch (the same in NumPy, where it has them)."""


def safetensors(
    guard: Guard, path: str | os.PathLike[str], *, target: str | None = None, framework: str = "torch"
) -> dict[str, Any]:
    """All tensors of a file by name. ``framework`` is ``torch`` or ``numpy``."""
    load = _library(framework)
    with admitted(guard, path, target=target, inspect=False) as found:
        return dict(guarded(lambda: load(found.file.path), found.where))


@contextmanager
def held(guard: Guard, path: str | os.PathLike[str], *, target: str | None = None) -> Iterator[str]:
    """A path that leads to a file's verified bytes, for a library that opens it within the block."""
    with admitted(guard, path, target=target, inspect=False) as found:
        yield found.file.path


def _library(framework: str) -> Any:
    try:
        return import_module(f"safetensors.{framework}").load_file
    except ImportError:
        raise MissingLibraryError(f"loading safetensors files for {framework}", "safetensors") from None


class LazyTensors:
    """An open safetensors file, each tensor of which is verified when it is read. Use it as a context manager."""

    def __init__(self, target: HeldTarget, file: Held, signed: Sequence[bytes], where: str, framework: str) -> None:
        self._target = target
        self._file = file
        self._where = where
        self._framework = framework
        self._last: tuple[int, bytes] = (-1, b"")
        self.verified = 0
        """Bytes that were read and held against signed digests."""
        self._digests = self._choose(signed)
        self._start, self._header = self._read_header()
        meta = self._header.pop("__metadata__", {})
        self.metadata: dict[str, str] = meta if isinstance(meta, dict) else {}
        """What the file says of itself."""

    def keys(self) -> list[str]:
        """Names of the tensors, sorted."""
        return sorted(self._header)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self._header

    def get_tensor(self, name: str) -> Any:
        """One tensor, whose bytes are as signed. Raises `RejectedError` where they are not, `KeyError` for no such."""
        kind, shape, begin, end = self._entry(name)
        data = bytearray(end - begin)
        self._read(self._start + begin, data)
        if self._framework == "numpy":
            import numpy

            if kind not in numpy.sctypeDict:
                raise DocumentError(f"{self._where}: NumPy has no type {kind}, which tensor {shown(name)} is of")
            return numpy.frombuffer(data, numpy.dtype(kind)).reshape(shape)
        import torch

        kind_of_torch = getattr(torch, kind)
        if not data:
            return torch.empty(shape, dtype=kind_of_torch)
        return torch.frombuffer(data, dtype=kind_of_torch).reshape(shape)

    def _entry(self, name: str) -> tuple[str, list[int], int, int]:
        entry = self._header[name]
        try:
            kind, shape, (begin, end) = _TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
            count = 1
            for length in shape:
                if not (type(length) is int and length >= 0):
                    raise ValueError
                count *= length
            if not (type(begin) is type(end) is int and 0 <= begin <= end <= self._file.size - self._start):
                raise ValueError
            if count * _width(entry["dtype"]) != end - begin:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise DocumentError(f"{self._where}: the header's entry of tensor {shown(name)} makes no sense") from None
        return kind, shape, begin, end

    def _read_header(self) -> tuple[int, dict[str, Any]]:
        if self._file.size < 8:
            raise DocumentError(f"{self._where} is too short for a safetensors file")
        length = bytearray(8)
        self._read(0, length)
        size = int.from_bytes(length, "little")
        if size > min(MAX_HEADER, self._file.size - 8):
            raise DocumentError(f"{self._where} states a header of {size} bytes, more than there are or may be")
        text = bytearray(size)
        self._read(8, text)
        header = strict_json.loads(bytes(text).rstrip(b" "), self._where)
        if not isinstance(header, dict) or not all(isinstance(entry, dict) for entry in header.values()):
            raise DocumentError(f"{self._where}: the header is no list of tensors")
        return 8 + size, header

    def _choose(self, signed: Sequence[bytes]) -> bytes:
        """The first statement that the file's first segment agrees with; from then on it alone counts."""
        count = max(1, -(-self._file.size // SEGMENT))
        fitting = [digests for digests in signed if len(digests) == count * DIGEST]
        if not fitting:
            raise UndecidedError(
                f"no expected signer's statement has segment digests for {self._where}",
                hint="sign it again with 'assay sign', or load it whole with lazy=False",
            )
        first = self._segment_bytes(0)
        for digests in fitting:
            if _blake3(first) == digests[:DIGEST]:
                self._last = (0, first)
                self.verified += len(first)
                return digests
        raise RejectedError(f"{self._where} is not loaded: its first {len(first):,} bytes are not as signed")

    def _read(self, start: int, into: bytearray) -> None:
        view = memoryview(into)
        done = 0
        while done < len(into):
            number, offset = divmod(start + done, SEGMENT)
            part = self._segment(number)[offset : offset + len(into) - done]
            view[done : done + len(part)] = part
            done += len(part)

    def _segment(self, number: int) -> bytes:
        """A verified segment; the last one is kept, since neighbours in a file are read one after the other."""
        if self._last[0] != number:
            data = self._segment_bytes(number)
            if _blake3(data) != self._digests[number * DIGEST : (number + 1) * DIGEST]:
                first = number * SEGMENT
                raise RejectedError(
                    f"{self._where} is not as signed between byte {first:,} and {first + len(data):,}",
                    hint="tensors that were read before are as signed; discard them all the same",
                )
            self._last = (number, data)
            self.verified += len(data)
        return self._last[1]

    def _segment_bytes(self, number: int) -> bytes:
        with self._file.open() as file:
            file.seek(number * SEGMENT)
            want = min(SEGMENT, self._file.size - number * SEGMENT)
            data = file.read(want)
        if len(data) != want:
            raise RejectedError(f"{self._where} is shorter than it was when it was opened")
        return data

    def close(self) -> None:
        """Close the file; tensors that were read stay."""
        self._target.close()

    def __enter__(self) -> LazyTensors:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def lazy_safetensors(
    guard: Guard, path: str | os.PathLike[str], *, target: str | None = None, framework: str = "torch"
) -> LazyTensors:
    """Open a file to read some of its tensors, each verified by signed segment digests; nothing else is read.

    What this proves is about the bytes that are read: a policy, which is about the whole, is not asked.
    """
    _library(framework)
    reference, name = located(os.fspath(path), target)
    thing = hold(reference, guard.options, lambda names: [name or names[0]])
    try:
        file = thing.held(name or thing.names[0])
        return LazyTensors(thing, file, guard.signed(thing, file.name), os.fspath(path), framework)
    except BaseException:
        thing.close()
        raise


def _width(kind: str) -> int:
    digits = "".join(char for char in kind.partition("_")[0] if char.isdigit())
    return int(digits) // 8 if digits else 1


def _blake3(data: bytes) -> bytes:
    from blake3 import blake3

    digest: bytes = blake3(data).digest()
    return digest
