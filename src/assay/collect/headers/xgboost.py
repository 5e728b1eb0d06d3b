"""Reads XGBoost models: JSON, UBJSON, and what can be known of the binary format that XGBoost gave up in 3.1.

Only the learner's own parameters are built; trees are counted. Never imports XGBoost.
Source: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html and its model schema.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec

from assay.collect.headers.interface import ModelFile
from assay.collect.headers.reading import clean, failed
from assay.collect.headers.ubjson import Value, Walker, Wanted
from assay.collect.headers.values import known, names, read_json
from assay.errors import DocumentError

_JSON_LIMIT = 512 << 20
"""Bytes of a JSON model that are read."""

_TEXT = re.compile(rb'\s*\{\s*"(?:learner"\s*:\s*\{|version"\s*:\s*\[[\d,\s]{1,64}\]\s*,\s*"learner"\s*:\s*\{)')
_MEMBERS = re.compile(rb"gradient_booster|learner_model_param|feature_names|attributes|objective")
_LEGACY_PARAMETERS = 136
"""Bytes of ``LearnerModelParamLegacy`` at the start of the deprecated binary format."""

_LEGACY = re.compile(
    rb"(?:binf)?.{136}[\x01-\x40]\0{7}(?P<objective>[a-z][a-z0-9:_]{0,63})"
    rb"[\x01-\x10]\0{7}(?P<booster>gbtree|gblinear|dart)",
    re.DOTALL,
)

_TREES: Wanted = {"gbtree_model_param": None, "trees": None, "weights": None}
_WANTED: Wanted = {
    "version": None,
    "learner": {
        "feature_names": None,
        "learner_model_param": None,
        "objective": {"name": None},
        "gradient_booster": {"name": None, "model": _TREES, "gbtree": {"model": _TREES}},
    },
}


class _Model(msgspec.Struct):
    gbtree_model_param: dict[str, Any] = {}
    trees: list[msgspec.Raw] = []
    weights: list[msgspec.Raw] = []


class _Trees(msgspec.Struct):
    model: _Model = msgspec.field(default_factory=_Model)


class _Booster(msgspec.Struct):
    name: str = ""
    model: _Model | None = None
    gbtree: _Trees | None = None


class _Objective(msgspec.Struct):
    name: str = ""


class _Learner(msgspec.Struct):
    feature_names: list[str] = []
    learner_model_param: dict[str, Any] = {}
    objective: _Objective = msgspec.field(default_factory=_Objective)
    gradient_booster: _Booster = msgspec.field(default_factory=_Booster)


class _Document(msgspec.Struct):
    learner: _Learner
    version: list[int] = []


class XGBoostReader:
    """XGBoost models in any of their three forms."""

    def recognises(self, path: str, head: bytes) -> bool:
        """By the ``learner`` object at the start, or the legacy parameters followed by objective and booster."""
        return bool(_is_ubjson(head) or (_TEXT.match(head) and _MEMBERS.search(head)) or _LEGACY.match(head))

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Objective, booster, features, trees and version."""
        file.seek(0)
        head = file.read(4096)
        if legacy := _LEGACY.match(head):
            return _legacy(path, head, legacy)
        ubjson = _is_ubjson(head)
        try:
            facts = _from_ubjson(file, size) if ubjson else _from_json(file)
        except DocumentError as error:
            return failed(path, "xgboost", error.message)
        return _model(path, "ubjson" if ubjson else "json", facts)


def _is_ubjson(head: bytes) -> bool:
    return head[:1] == b"{" and head[1:2] in b"iUIlL" and b"learner{" in head[:256] and bool(_MEMBERS.search(head))


def _from_json(file: BinaryIO) -> dict[str, Any]:
    document = read_json(file, _Document, limit=_JSON_LIMIT)
    learner = document.learner
    booster = learner.gradient_booster
    model = booster.model or (booster.gbtree.model if booster.gbtree else _Model())
    return {
        "version": document.version,
        "names": learner.feature_names,
        "parameters": learner.learner_model_param,
        "objective": learner.objective.name,
        "booster": booster.name,
        "trees": len(model.trees),
        "declared": model.gbtree_model_param.get("num_trees"),
        "weights": len(model.weights),
    }


def _from_ubjson(file: BinaryIO, size: int) -> dict[str, Any]:
    document = Walker(file, size).read(_WANTED)
    learner = _mapping(document.get("learner"))
    booster = _mapping(learner.get("gradient_booster"))
    model = _mapping(booster.get("model") or _mapping(booster.get("gbtree")).get("model"))
    version, feature_names = document.get("version"), learner.get("feature_names")
    return {
        "version": version if isinstance(version, list) else [],
        "names": feature_names if isinstance(feature_names, list) else [],
        "parameters": _mapping(learner.get("learner_model_param")),
        "objective": _mapping(learner.get("objective")).get("name"),
        "booster": booster.get("name"),
        "trees": _count(model.get("trees")),
        "declared": _mapping(model.get("gbtree_model_param")).get("num_trees"),
        "weights": _count(model.get("weights")),
    }


def _model(path: str, encoding: str, facts: Mapping[str, Any]) -> ModelFile:
    parameters = facts["parameters"]
    booster = facts["booster"]
    linear = booster == "gblinear"
    declared, trees = facts["declared"], facts["trees"]
    warnings = []
    if declared is not None and str(declared) != str(trees):
        warnings.append(f"{path}: declares {clean(str(declared))[:32]} trees and holds {trees}")
    if not booster:
        warnings.append(f"{path}: names no booster")
    return ModelFile(
        path,
        "xgboost",
        architecture=clean(str(booster))[:64] if booster else None,
        parameters=facts["weights"] if linear else None,
        metadata=known(
            encoding=encoding,
            objective=facts["objective"],
            features=parameters.get("num_feature"),
            feature_names=names(facts["names"]),
            classes=_positive(parameters.get("num_class")),
            targets=parameters.get("num_target"),
            base_score=parameters.get("base_score"),
            trees=None if linear else trees,
            version=".".join(str(part) for part in facts["version"][:4]),
        ),
        warnings=tuple(warnings),
    )


def _legacy(path: str, head: bytes, match: re.Match[bytes]) -> ModelFile:
    """The deprecated binary: ``struct LearnerModelParamLegacy``, then objective and booster as counted texts."""
    at = match.start("objective") - 8 - _LEGACY_PARAMETERS
    _score, features, classes, _attributes, _metrics, major, minor = struct.unpack_from("<fIiiiII", head, at)
    return ModelFile(
        path,
        "xgboost",
        architecture=match["booster"].decode(),
        metadata=known(
            encoding="binary",
            objective=match["objective"].decode(),
            features=features,
            classes=_positive(classes),
            version=f"{major}.{minor}" if major else None,
        ),
        warnings=(f"{path}: binary format that XGBoost 3.1 no longer reads; its trees were not looked at",),
    )


def _mapping(value: Value) -> dict[str, Value]:
    return value if isinstance(value, dict) else {}


def _count(value: Value) -> int:
    if isinstance(value, list):
        return len(value)
    return value if isinstance(value, int) else 0


def _positive(value: object) -> object:
    return value if str(value) not in ("0", "-1") else None
