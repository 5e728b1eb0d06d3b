"""A predicate that satisfies conditions, made up so that an explanation can be tried; never shown as evidence.

What it cannot make up (the arguments of checks, programs in Rego) it leaves to the caller, who says so.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from assay.policy import conditions
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import moment
from assay.policy.model import Condition

_MAX_DEPTH = 60


def satisfying(kind: str, wanted: Sequence[Condition]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A predicate and what the statement says of its subject, such that as many conditions hold as can be."""
    predicate: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for condition in wanted:
        path = condition.path
        if condition.root != "said" and kind == conditions.EVALUATION and path[0] not in _EVALUATION:
            path = ("metrics", *path)
        _put(said if condition.root == "said" else predicate, path, _value(condition))
    return predicate, said


def unsatisfied(
    kind: str, predicate: Mapping[str, Any], said: Mapping[str, Any], wanted: Sequence[Condition], now: datetime
) -> list[Condition]:
    """The conditions that do not hold."""
    document = Document(kind, predicate, said, (), now)
    return [condition for condition in wanted if conditions.violation(condition, document) is not None]


def sample(glob: str) -> str:
    """A text that a glob matches."""
    return re.sub(r"\[(!?)([^\]])[^\]]*\]", lambda match: "x" if match[1] else match[2], glob).translate(
        {ord("*"): "x", ord("?"): "x"}
    )


def renewed(value: Any, now: datetime, depth: int = 0) -> Any:
    """``value`` with every time in it set to ``now``: the same report, made again."""
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, str):
        return now.strftime("%Y-%m-%dT%H:%M:%SZ") if len(value) >= 19 and moment(value) is not None else value
    if isinstance(value, Mapping):
        return {key: renewed(item, now, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [renewed(item, now, depth + 1) for item in value]
    return value


_EVALUATION = ("metrics", "dataset", "evaluatedOn", "task", "split", "samples", "tool")


def _value(condition: Condition) -> Any:
    value, operator = condition.value, condition.operator
    if operator in ("==", ">=", "<="):
        return copy.deepcopy(value)
    if operator in (">", "<") and isinstance(value, int | float):
        return value + (1 if operator == ">" else -1)
    if operator == "in" and isinstance(value, list) and value:
        return value[0]
    if operator == "matches":
        return sample(str(value))
    if operator == "contains":
        return [value]
    if operator == "exists":
        return "x"
    if operator == "!=" and isinstance(value, bool):
        return not value
    if operator == "!=" and isinstance(value, int | float):
        return value + 1
    return "something else"


def _put(root: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    """Set what lies under ``path``; what is in the way stays."""
    here: Any = root
    for i, key in enumerate(path):
        last = i == len(path) - 1
        following = value if last else [] if _position(path[i + 1]) is not None else {}
        position = _position(key)
        if position is not None:
            if not isinstance(here, list) or position > 100:
                return
            while len(here) <= position:
                here.append(copy.deepcopy(following))
            if last:
                here[position] = value
            here = here[position]
        else:
            if not isinstance(here, dict):
                return
            if last:
                here[str(key)] = value
            else:
                here = here.setdefault(str(key), following)


def _position(key: str | int) -> int | None:
    return key if isinstance(key, int) else 0 if key in (conditions.EVERY, conditions.SOME) else None
