"""Reads what ``torch.save`` and TorchScript write: tensors by name, from a symbolic run of the pickle.

Nothing is unpickled and no storage is read. Source: torch/serialization.py and torch/_utils.py of PyTorch.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from typing import BinaryIO

from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.pickles import Budget, Machine
from assay.collect.headers.reading import (
    MAX_TENSORS,
    ZIP_ERRORS,
    clean,
    failed,
    open_zip,
    read_member,
    short,
)
from assay.collect.headers.streams import Stream
from assay.collect.headers.symbols import Call, entries, leaves
from assay.collect.headers.tensors import TorchTensor, parameters, tensor_of
from assay.errors import DocumentError

_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickle of 0x1950a86a20f9469cfc6c that a file of the legacy format begins with, whatever its
protocol is.
"""

_FIRST = re.compile(rb"[^/]*/(data\.pkl|\.?data/.*|version|byteorder|\.format_version|code/.*|constants\.pkl)")
"""Members that an archive of either kind begins with."""

_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".ptl", ".pt2", ".mar", ".torchscript")

_INSIDE = ("state_dict", "model_state_dict", "model", "module", "net")
"""Where checkpoints keep the model's own tensors, beside those of the optimiser."""

_PLUMBING = frozenset(("_parameters", "_buffers", "_modules"))
"""Attributes of ``torch.nn.Module`` that are not part of a tensor's name in a state dictionary."""


class PyTorchReader:
    """``.pt``, ``.pth``, ``.bin``, ``.ckpt``."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By the first member or the name of a zip archive, or by the older formats' magic."""
        if head.startswith(b"PK\x03\x04"):
            length = int.from_bytes(head[26:28], "little")
            return _FIRST.fullmatch(head[30 : 30 + length]) is not None or path.endswith(_SUFFIXES)
        return head.startswith(_LEGACY_MAGIC) or _ancient(head)

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Tensors of the model; of a checkpoint those under ``state_dict`` or ``model``, not the optimiser's.

        The number of parameters counts each element of a storage once: tied tensors and overlapping views
        of one storage are the union of what they cover, so an output layer tied to the embedding adds
        nothing.
        """
        head = file.read(len(_LEGACY_MAGIC))
        file.seek(0)
        if head.startswith(b"PK"):
            return _read_zip(path, file)
        if head == _LEGACY_MAGIC:
            return _read_legacy(path, file, size)
        return failed(path, "pytorch-tar", "written before PyTorch 0.2, which is too old to be read")


def _ancient(head: bytes) -> bool:
    """A tar archive of PyTorch 0.1: its first member is one of these."""
    return head[257:262] == b"ustar" and head[:100].rstrip(b"\0").removeprefix(b"./") in (
        b"sys_info", b"pickle", b"storages", b"tensors",
    )  # fmt: skip


def _read_zip(path: str, file: BinaryIO) -> ModelFile:
    try:
        with open_zip(file) as archive:
            names = archive.namelist()
            pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise DocumentError(f"the archive has {len(pickles)} members named data.pkl, not one")
            root = pickles[0].removesuffix("data.pkl")
            script = any(name.startswith(f"{root}code/") for name in names)
            facts: list[tuple[str, object]] = [
                (label, read_member(archive, root + name, 64).decode("utf-8", "replace").strip())
                for name, label in (("version", "archive_version"), ("byteorder", "byteorder"))
                if root + name in archive.NameToInfo
            ]
            value, warnings = _unpickle(archive, pickles[0])
            model = _describe(path, "torchscript" if script else "pytorch-zip", value, facts, warnings)
            twice = len(set(names)) != len(names)
            return _checked(model, archive, root, value, twice)
    except DocumentError as error:
        return failed(path, "pytorch-zip", error.message)


def _unpickle(archive: zipfile.ZipFile, name: str) -> tuple[object, list[str]]:
    """The symbolic value of a member, as far as it could be read, and why no further."""
    try:
        with archive.open(name) as member:
            machine = Machine(Stream(member))
            try:
                return machine.run(), []
            except DocumentError as error:
                return machine.bottom(), [error.message]
    except ZIP_ERRORS as error:
        raise DocumentError(f"{clean(name)} cannot be unpacked: {clean(str(error))[:200]}") from None


def _checked(model: ModelFile, archive: zipfile.ZipFile, root: str, value: object, twice: bool) -> ModelFile:
    """``model`` with warnings where the archive does not have the storages that the pickle speaks of."""
    problems = ["some member is there twice"] if twice else []
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    absent, wrong = [], []
    try:
        for _, tensor in leaves(value, tensor_of, _PLUMBING):
            if tensor.storage:
                name = f"{root}data/{tensor.storage.key}"
                if name not in sizes:
                    absent.append(name)
                elif sizes[name] != tensor.storage.bytes:
                    wrong.append(name)
    except DocumentError:
        pass  # described already
    if absent:
        problems.append(f"the archive has no member {clean(absent[0])[:200]!r}, and {len(absent) - 1} more")
    if wrong:
        problems.append(f"{clean(wrong[0])[:200]!r} and {len(wrong) - 1} more have another size than the tensors")
    return replace(model, warnings=(*model.warnings, *(f"{model.path}: {problem}" for problem in problems)))


def _read_legacy(path: str, file: BinaryIO, size: int) -> ModelFile:
    """Pickles one after the other: magic number, protocol version, system, the object; then raw storages."""
    budget = Budget()
    stream = Stream(file, seekable=file, size=size)
    machine = Machine(stream, budget=budget)
    facts: list[tuple[str, object]] = []
    warnings = []
    try:
        for part in ("magic number", "protocol", "system"):
            value = Machine(stream, budget=budget).run()
            if part == "protocol" and isinstance(value, int):
                facts.append(("protocol", value))
            elif part == "system":
                facts += [("byteorder", "little" if v else "big") for k, v in entries(value) if k == "little_endian"]
        value = machine.run()
    except DocumentError as error:
        value = machine.bottom()
        warnings.append(error.message)
    return _describe(path, "pytorch-legacy", value, facts, warnings)


def _describe(path: str, format: str, value: object, facts: list[tuple[str, object]], warnings: list[str]) -> ModelFile:
    tensors: list[Tensor] = []
    held: list[TorchTensor] = []
    where, chosen = _model_in(value)
    if where:
        facts = [*facts, ("checkpoint.part", where)]
    facts = [*facts, *_scalars(value)]
    try:
        for name, tensor in leaves(chosen, tensor_of, _PLUMBING):
            if len(tensors) >= MAX_TENSORS:
                raise DocumentError(f"there are more than {MAX_TENSORS} tensors")
            if tensor.problem:
                warnings.append(f"tensor {clean(name)!r}: {tensor.problem}")
                if len(warnings) > 20:
                    raise DocumentError("too many invalid tensors")
                continue
            tensors.append(Tensor(clean(name), tensor.dtype, tensor.shape))
            held.append(tensor)
    except DocumentError as error:
        warnings.append(error.message)
    if tensors and all(tensor.name.startswith("module.") for tensor in tensors):
        # DataParallel wraps a model as its one attribute: the same tensors, the same names without it.
        tensors = [Tensor(t.name.removeprefix("module."), t.dtype, t.shape) for t in tensors]
        facts.append(("prefix", "module."))
    quantised = sorted({tensor.dtype for tensor in tensors if tensor.dtype.startswith(("qi", "qu"))})
    return ModelFile(
        path,
        format,
        architecture=_class_name(chosen),
        tensors=tensors,
        parameters=parameters(held) if held else None,
        quantisation=quantised[0] if quantised else None,
        metadata=short(facts),
        warnings=tuple(f"{path}: {warning}" for warning in warnings),
    )


def _model_in(value: object) -> tuple[str, object]:
    """The part of a checkpoint that is the model, and under which key; the whole where there is no such
    part.
    """
    if _class_name(value):
        return "", value
    found = dict(entries(value))
    for key in _INSIDE:
        part = found.get(key)
        if part is not None and _has_tensor(part):
            return key, part
    return "", value


def _has_tensor(value: object) -> bool:
    try:
        return next(leaves(value, tensor_of, _PLUMBING), None) is not None
    except DocumentError:
        return False


def _class_name(value: object) -> str | None:
    """The class of a pickled module; None for dictionaries and tensors."""
    if not isinstance(value, Call) or value.made is None or tensor_of(value) is not None:
        return None
    if value.made.module.split(".")[0] in ("collections", "builtins", "__builtin__"):
        return None
    return value.made.name


def _scalars(value: object) -> list[tuple[str, object]]:
    """Numbers and strings at the top of a checkpoint: epoch, step, framework version."""
    if _class_name(value):
        return []
    scalars: list[tuple[str, object]] = [
        (f"checkpoint.{k}", v) for k, v in entries(value) if isinstance(v, str | int | float)
    ]
    return scalars[:20]
