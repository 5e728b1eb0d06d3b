"""Reads Keras models: ``.keras`` archives, legacy ``.h5`` files and weights alone, and HDF5 files of other origin.

The configuration is read as JSON and never turned into layers: a configuration can name any Python function. Tensors
come from the HDF5 listing, without their data. Never imports Keras.
Source: Keras 3, ``keras/src/saving/saving_lib.py`` and ``keras/src/legacy/saving/legacy_h5_format.py``.
"""

from __future__ import annotations

import struct
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from assay.collect.headers.hdf5 import Listing, copy_bounded, is_hdf5, list_hdf5
from assay.collect.headers.interface import ModelFile, Tensor
from assay.collect.headers.reading import (
    MAX_TENSORS,
    ZIP_ERRORS,
    checked_shape,
    clean,
    failed,
    open_zip,
    read_at,
    read_member,
    strict_json,
    total,
)
from assay.collect.headers.values import counts, known, names
from assay.errors import DocumentError, MissingExtraError

_CONFIG_LIMIT = 16 << 20
"""Bytes of ``config.json``."""

_WEIGHTS_LIMIT = 2 << 30
"""Bytes of compressed weights that are unpacked to be listed. Keras stores them uncompressed."""

_TRAINING = frozenset({"optimizer", "optimizer_weights", "seed_generator", "metrics", "compile_metrics"})
"""Groups that hold the training's state, not the model's."""


class KerasReader:
    """Keras archives and HDF5 files."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By HDF5's magic number, or as a zip archive that starts with Keras's metadata or is called ``.keras``."""
        if is_hdf5(head):
            return True
        if not head.startswith(b"PK\x03\x04"):
            return False
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return path.endswith(".keras") or (first in (b"metadata.json", b"config.json") and b"keras_version" in head)

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Class, layers, tensors and Keras's version."""
        try:
            if read_at(file, 0, 4, "its magic number") == b"PK\x03\x04":
                return _read_archive(path, file, size)
            return _read_hdf5(path, file, size)
        except (DocumentError, MissingExtraError) as error:
            return failed(path, "keras" if path.endswith(".keras") else "hdf5", error.message)


def _read_archive(path: str, file: BinaryIO, size: int) -> ModelFile:
    warnings: list[str] = []
    documents: dict[str, Any] = {}
    listing = Listing()
    with open_zip(file) as archive:
        present = [info.filename for info in archive.infolist()]
        twice = [name for name, count in Counter(present).items() if count > 1]
        warnings += [f"{clean(name)[:100]} is in the archive more than once" for name in twice[:5]]
        for name in ("config.json", "metadata.json"):
            try:
                documents[name], doubled = strict_json(read_member(archive, name, _CONFIG_LIMIT), name)
                warnings += [f"{name} has the key {key!r} twice" for key in doubled]
            except DocumentError as error:
                warnings.append(error.message)
        weights = [name for name in present if name.endswith(".weights.h5")]
        if not weights:
            warnings.append("the archive has no weights")
        for name in weights[:64]:
            try:
                part = _list_member(archive, archive.getinfo(name), file, size)
            except (DocumentError, MissingExtraError) as error:
                warnings.append(f"{clean(name)[:100]}: {error.message}")
                continue
            listing.tensors += part.tensors
            warnings += part.told()
    meta = documents.get("metadata.json")
    version = meta.get("keras_version") if isinstance(meta, dict) else None
    return _model(path, "keras", documents.get("config.json"), listing, warnings, keras_version=version)


def _list_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: BinaryIO, size: int) -> Listing:
    """List an HDF5 member where it lies when it is stored as it is, else unpacked to a temporary file."""
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
        header = read_at(file, info.header_offset, 30, "a member's header")
        name, extra = struct.unpack_from("<HH", header, 26)
        start = info.header_offset + 30 + name + extra
        if not header.startswith(b"PK\x03\x04") or start + info.file_size > size:
            raise DocumentError("reaches beyond the archive")
        return list_hdf5(file, start, info.file_size)
    with tempfile.TemporaryFile() as copy:
        try:
            with archive.open(info) as member:
                copied = copy_bounded(member, copy, _WEIGHTS_LIMIT + 1)  # type: ignore[arg-type]
        except ZIP_ERRORS as error:
            raise DocumentError(f"cannot be unpacked: {clean(str(error))[:200]}") from None
        if copied > _WEIGHTS_LIMIT:
            raise DocumentError(f"unpacks to more than {_WEIGHTS_LIMIT} bytes")
        return list_hdf5(copy, 0, copied)


def _read_hdf5(path: str, file: BinaryIO, size: int) -> ModelFile:
    listing = list_hdf5(file, 0, size)
    warnings, config = listing.told(), None
    attributes = listing.attributes
    if "model_config" in attributes:
        try:
            config, doubled = strict_json(attributes["model_config"].encode("utf-8", "replace"), "model_config")
            warnings += [f"model_config has the key {key!r} twice" for key in doubled]
        except DocumentError as error:
            warnings.append(error.message)
    version, backend = attributes.get("keras_version"), attributes.get("backend")
    return _model(path, "hdf5", config, listing, warnings, keras_version=version, backend=backend)


def _model(path: str, format: str, config: Any, listing: Listing, warnings: list[str], **facts: object) -> ModelFile:
    tensors = []
    for name, dtype, shape in listing.tensors[:MAX_TENSORS]:
        try:
            tensors.append(Tensor(clean(name), _dtype(dtype), checked_shape(shape)))
        except DocumentError as error:
            warnings.append(f"{clean(name)[:200]}: {error.message}")
    if len(listing.tensors) > MAX_TENSORS:
        warnings.append(f"has more than {MAX_TENSORS} tensors")
    of_model = [tensor for tensor in tensors if not _TRAINING.intersection(tensor.name.split("/"))]
    if config is not None and not isinstance(config, dict):
        warnings.append("its configuration is no JSON object")
    model = config if isinstance(config, dict) else {}
    inner = model.get("config")
    layers = list(_layers(model))
    compiled = model.get("compile_config")
    return ModelFile(
        path,
        format,
        architecture=_text(model.get("class_name")),
        tensors=tuple(tensors),
        parameters=total(of_model),
        quantisation=_text(names(sorted(set(filter(None, map(_quantised, layers)))))),
        metadata=known(
            **facts,
            name=_text(inner.get("name")) if isinstance(inner, dict) else None,
            layers=len(layers) or None,
            layer_types=counts(Counter(_kind(layer) for layer in layers)),
            input_shape=next(filter(None, map(_input_shape, layers)), None),
            registered=names(sorted(set(filter(None, map(_registered, (model, *layers)))))),
            optimizer=_named(compiled, "optimizer"),
            loss=_named(compiled, "loss"),
            training_state=(len(tensors) - len(of_model)) or None,
        ),
        warnings=tuple(f"{path}: {clean(warning)}" for warning in warnings),
    )


def _layers(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every layer beneath a model's configuration, models within models and wrapped layers included."""
    stack: list[Any] = [model]
    while stack:
        config = stack.pop().get("config")
        found = config if isinstance(config, list) else []  # Keras 1 wrote a Sequential as a bare list
        if isinstance(config, dict):
            inside = config.get("layers")
            found = [*(inside if isinstance(inside, list) else ()), config.get("layer")]
        inner = [layer for layer in found if isinstance(layer, dict) and "class_name" in layer]
        yield from inner
        stack.extend(inner)


def _kind(layer: Mapping[str, Any]) -> str:
    return _text(layer.get("class_name")) or "?"


def _quantised(layer: Mapping[str, Any]) -> str | None:
    """The mode of a layer's quantised type policy: ``int8``, ``float8``, …"""
    config = layer.get("config")
    policy = config.get("dtype") if isinstance(config, dict) else None
    if isinstance(policy, dict) and str(policy.get("class_name")).startswith("Quantized"):
        inner = policy.get("config")
        return _text(inner.get("mode")) if isinstance(inner, dict) else None
    return None


def _input_shape(layer: Mapping[str, Any]) -> str | None:
    config = layer.get("config")
    shape = config.get("batch_shape", config.get("batch_input_shape")) if isinstance(config, dict) else None
    return str(shape[:16]) if isinstance(shape, list) else None


def _registered(layer: Mapping[str, Any]) -> str | None:
    """The name under which a class that is not Keras's own must be registered before Keras can build it."""
    module = layer.get("module")
    if isinstance(module, str) and module.split(".")[0] == "keras":
        return None
    return _text(layer.get("registered_name"))


def _named(compiled: Any, key: str) -> str | None:
    value = compiled.get(key) if isinstance(compiled, dict) else None
    return _text(value.get("class_name") if isinstance(value, dict) else value)


def _text(value: object) -> str | None:
    return clean(value)[:256] if isinstance(value, str) and value else None


def _dtype(name: str) -> str:
    """NumPy's name of a type in the field's short form: ``float32`` becomes ``f32``."""
    for long, brief in (("bfloat", "bf"), ("float", "f"), ("uint", "u"), ("int", "i"), ("complex", "c")):
        if name.startswith(long):
            return brief + name.removeprefix(long)
    return clean(name)[:64]
