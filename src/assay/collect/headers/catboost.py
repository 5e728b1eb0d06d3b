"""Reads CatBoost models: the FlatBuffers core of a ``.cbm`` file, and the JSON export.

Only the model's own description and the counts of its parts are read, never the trees. Never imports CatBoost.
Source: ``catboost/libs/model/flatbuffers/{model,features}.fbs`` and ``model.cpp`` in CatBoost's repository.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec

from assay.collect.headers.flatbuffer import FlatBuffer, Table
from assay.collect.headers.interface import ModelFile
from assay.collect.headers.reading import clean, failed, read_at
from assay.collect.headers.values import decode_json, known, names, read_json
from assay.errors import DocumentError

_MAGIC = b"CBM1"
_JSON_LIMIT = 512 << 20
"""Bytes of a JSON model that are read."""

_MAX_NAMES = 64
"""Features of a kind whose names are read; all are counted."""

_INFO = ("params", "catboost_version_info", "train_finish_time", "model_guid")

_JSON = re.compile(
    rb'\s*\{\s*(?:"ctr_data"\s*:\s*\{\s*"\{\\"identifier\\"'
    rb'|"features_info"\s*:\s*\{\s*"(?:cat_features_hash|categorical_features|ctrs|float_features|text_features'
    rb'|embedding_features)")'
)
_VERSION = re.compile(r"release (\d+\.\d+[\w.]*?)\.?(?=\s)|tags/v(\d+\.\d+[\w.]*)")


class _Info(msgspec.Struct):
    params: str | dict[str, Any] = ""
    catboost_version_info: str = ""
    train_finish_time: str = ""
    model_guid: str = ""


class _Feature(msgspec.Struct):
    feature_id: str = ""


class _Features(msgspec.Struct):
    float_features: list[_Feature] = []
    categorical_features: list[_Feature] = []
    text_features: list[_Feature] = []
    embedding_features: list[_Feature] = []


class _Document(msgspec.Struct):
    features_info: _Features
    model_info: _Info = msgspec.field(default_factory=_Info)
    oblivious_trees: list[msgspec.Raw] = []
    trees: list[msgspec.Raw] = []


class _Function(msgspec.Struct):
    type: str = ""


class _TreeOptions(msgspec.Struct):
    grow_policy: str = ""
    depth: int | None = None


class _BoostingOptions(msgspec.Struct):
    boosting_type: str = ""
    learning_rate: float | None = None


class _Parameters(msgspec.Struct):
    loss_function: _Function = msgspec.field(default_factory=_Function)
    tree_learner_options: _TreeOptions = msgspec.field(default_factory=_TreeOptions)
    boosting_options: _BoostingOptions = msgspec.field(default_factory=_BoostingOptions)


class CatBoostReader:
    """CatBoost models, binary or JSON."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By the magic number, or by the JSON export's first members."""
        return head.startswith(_MAGIC) or _JSON.match(head) is not None

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Loss function, tree shape, trees, features by kind, and CatBoost's version."""
        try:
            if read_at(file, 0, 4, "its magic number") == _MAGIC:
                return _from_binary(path, file, size)
            return _from_json(path, file)
        except DocumentError as error:
            return failed(path, "catboost", error.message)


def _from_binary(path: str, file: BinaryIO, size: int) -> ModelFile:
    length = int.from_bytes(read_at(file, 4, 4, "the length of its core"), "little")
    if length > size - 8:
        raise DocumentError(f"its core claims {length} bytes and the file has {size - 8} left")
    core = FlatBuffer(file, 8, length).root()
    info: dict[str, str] = {}
    for pair in core.tables(2, 4096):
        # Only the wanted values are read: many pairs may point to the same long text.
        key = pair.text(0, 4096)
        if key in _INFO:
            info[key] = pair.text(1, 4 << 20) or ""
    trees = core.table(1)
    if trees is None:
        raise DocumentError("its core holds no trees")
    by_kind = {
        "float": _features(trees, 5, 4),
        "categorical": _features(trees, 4, 2),
        "text": _features(trees, 12, 2),
        "embedding": _features(trees, 18, 2),
    }
    more = {
        "format": core.text(0, 256),
        "outputs": trees.number(0, "<i"),
        "parts": names(core.texts(3, 64, 256)),
        "leaves": trees.length(8, 8),
    }
    return _model(path, "cbm", _Info(**info), by_kind, trees.length(2, 4), more)


def _features(trees: Table, field: int, name: int) -> tuple[int, list[str]]:
    found = [feature.text(name, 4096) or "" for feature in trees.tables(field, _MAX_NAMES)]
    return trees.length(field, 4), found


def _from_json(path: str, file: BinaryIO) -> ModelFile:
    document = read_json(file, _Document, limit=_JSON_LIMIT)
    features = document.features_info
    by_kind = {
        kind: (len(found), [feature.feature_id for feature in found[:_MAX_NAMES]])
        for kind, found in (
            ("float", features.float_features),
            ("categorical", features.categorical_features),
            ("text", features.text_features),
            ("embedding", features.embedding_features),
        )
    }
    trees = len(document.oblivious_trees) + len(document.trees)
    return _model(path, "json", document.model_info, by_kind, trees, {})


def _model(
    path: str,
    encoding: str,
    info: _Info,
    by_kind: Mapping[str, tuple[int, list[str]]],
    trees: int,
    more: Mapping[str, Any],
) -> ModelFile:
    parameters, warnings = _Parameters(), []
    if info.params:
        try:
            if isinstance(info.params, str):
                parameters = decode_json(info.params, _Parameters)
            else:
                parameters = msgspec.convert(info.params, _Parameters)
        except (DocumentError, msgspec.ValidationError) as error:
            warnings.append(f"{path}: its training parameters cannot be read: {clean(str(error))[:200]}")
    version = _VERSION.search(info.catboost_version_info[:4096])
    return ModelFile(
        path,
        "catboost",
        architecture=clean(parameters.tree_learner_options.grow_policy)[:64] or None,
        metadata=known(
            encoding=encoding,
            objective=parameters.loss_function.type,
            boosting=parameters.boosting_options.boosting_type,
            learning_rate=parameters.boosting_options.learning_rate,
            depth=parameters.tree_learner_options.depth,
            trees=trees,
            features=sum(count for count, _ in by_kind.values()),
            **{f"{kind}_features": count or None for kind, (count, _) in by_kind.items()},
            feature_names=names(name for _, found in by_kind.values() for name in found if name),
            version=(version[1] or version[2]) if version else None,
            trained=info.train_finish_time,
            guid=info.model_guid,
            **more,
        ),
        warnings=tuple(warnings),
    )
