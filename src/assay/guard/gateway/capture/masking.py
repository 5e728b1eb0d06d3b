"""What is dropped, hashed or masked before anything is kept: fields by name or by path, for each model.

It fails closed: where a rule applies and the data cannot be read well enough to apply it, nothing is kept.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from assay.errors import DocumentError
from assay.guard.gateway.settings.keeping import Masking

MASK = "***"

Do = Literal["drop", "hash", "mask"]
Step = str | int | None
"""A name's glob, a place in a list, or None: any place."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\*|[0-9]{1,6})\]")
_NUMBERED = re.compile(r"_[0-9]+$")
"""Of columns that are the places of one vector."""
_DEPTH = 64
_HOLDERS = ("data", "inputs", "instances", "rows", "dataframe_split", "dataframe_records")
"""Names of what holds all columns."""


class Unmasked(Exception):
    """Data that a rule applies to and that cannot be read; with the reason."""


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str | None
    """Glob over names at any depth; None: `path` says it."""
    path: tuple[Step, ...]
    do: Do
    model: str


def _rule(masking: Masking) -> _Rule:
    field = masking.field
    if not field.startswith("$"):
        return _Rule(field, (), masking.do, masking.model)
    steps: list[Step] = []
    at = 1
    while at < len(field):
        found = _STEP.match(field, at)
        if found is None:
            raise DocumentError(
                f"capture.masking: {field[:100]!r} is no path", hint="write $.instances[*].email, or a column's name"
            )
        steps.append(found[1] if found[1] is not None else None if found[2] == "*" else int(found[2]))
        at = found.end()
    return _Rule(None, tuple(steps), masking.do, masking.model)


class Mask:
    """The rules of one file, applied. Raises `DocumentError` for a path that is none."""

    def __init__(self, rules: Sequence[Masking], secret: bytes) -> None:
        """``secret`` keys the digests of hashed values (BLAKE2b, 128 bits; at most 64 bytes of it are used)."""
        self._rules = tuple(map(_rule, rules))
        self._secret = secret[:64]
        self._hit: set[_Rule] = set()

    def applies(self, model: str) -> bool:
        """Whether there is any rule for this model."""
        return bool(self._of(model))

    def _of(self, model: str) -> list[_Rule]:
        return [rule for rule in self._rules if fnmatchcase(model, rule.model)]

    def digest(self, value: object) -> str:
        """A keyed digest, the same for the same value."""
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return blake2b(text.encode(errors="surrogatepass"), key=self._secret, digest_size=16).hexdigest()

    def column(self, model: str, names: Sequence[str]) -> Do | None:
        """What becomes of a column that has these names; ``a.b`` is in ``a`` and called ``b``, ``v_0`` is in
        ``v``. A path counts by its last name or place alone, so rather too often than too seldom.
        """
        return next((rule.do for rule in self._of(model) if _covers(rule, names)), None)

    def reaches(self, model: str, kind: str, body: bytes, width: int) -> bool:
        """Whether each rule that hits something in ``body`` also finds its column, where the ``width`` columns have no
        names. Raises `Unmasked`.
        """
        self.body(model, kind, body)
        return all(any(_covers(rule, (f"_c{i}",)) for i in range(width)) for rule in self._hit)

    def body(self, model: str, kind: str, body: bytes, names: Sequence[str] = ()) -> bytes:
        """A body of the content type ``kind`` with the rules applied; ``names`` are of its columns, where they have
        some. Raises `Unmasked`.
        """
        rules = self._of(model)
        self._hit.clear()
        if not rules:
            return body
        if kind == "csv":
            return self._csv(rules, body, names)
        if kind != "json":
            raise Unmasked("a rule masks fields of it, and it is neither JSON nor CSV")
        try:
            return msgspec.json.encode(self._walk(rules, msgspec.json.decode(body), (), names))
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            raise Unmasked("a rule masks fields of it, and it is not JSON") from None

    def _csv(self, rules: list[_Rule], body: bytes, names: Sequence[str]) -> bytes:
        try:
            rows = list(csv.reader(io.StringIO(body.decode(), newline=""), strict=True))
        except (csv.Error, UnicodeError):
            raise Unmasked("a rule masks fields of it, and it is not CSV") from None
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        for i, row in enumerate(rows):
            cells = [self._cell(rules, cell, i, j, _named(names, j, len(row))) for j, cell in enumerate(row)]
            writer.writerow(cells)
        return out.getvalue().encode()

    def _cell(self, rules: list[_Rule], cell: str, i: int, j: int, names: Sequence[str]) -> str:
        do = self._first(rules, (i, j), names)
        return cell if do is None else "" if do == "drop" else self.digest(cell) if do == "hash" else MASK

    def _first(
        self, rules: list[_Rule], path: tuple[str | int, ...], names: Sequence[str], value: object = None
    ) -> Do | None:
        """What the first rule that fits says; it is remembered as one that hit something that may be in a row."""
        for rule in rules:
            if rule.name is not None:
                fits = any(fnmatchcase(name, rule.name) for name in names)
            else:
                fits = len(rule.path) == len(path) and all(map(_fits, rule.path, path))
            if fits:
                if len(path) > 1 or isinstance(value, list | dict):
                    self._hit.add(rule)
                return rule.do
        return None

    def _walk(self, rules: list[_Rule], value: Any, path: tuple[str | int, ...], names: Sequence[str]) -> Any:
        if len(path) > _DEPTH:
            raise Unmasked("a rule masks fields of it, and it is nested too deep")
        if isinstance(value, dict):
            return self._object(rules, value, path, names)
        if isinstance(value, list):
            return [
                self._one(rules, child, (*path, i), _named(names, i, len(value)), names)
                for i, child in enumerate(value)
            ]
        return value

    def _object(self, rules: list[_Rule], value: dict[str, Any], path: tuple[str | int, ...], names: Any) -> Any:
        tensor = value.get("name") if isinstance(value.get("data"), list) else None
        out = {}
        for name, child in value.items():
            called = [name, tensor] if name == "data" and isinstance(tensor, str) else [name]
            where = (*path, name)
            do = self._first(rules, where, called, child)
            if do == "drop" and tensor is None:
                continue
            if do is not None:
                out[name] = self._all(do, child)
            elif name == "data" and tensor is not None and (width := _width(value)) > 0:
                out[name] = [
                    self._one(rules, cell, (*where, i), _named(names, i % width, width), names)
                    for i, cell in enumerate(child)
                ]
            else:
                out[name] = self._walk(rules, child, where, names)
        return out

    def _one(
        self, rules: list[_Rule], child: Any, path: tuple[str | int, ...], called: Sequence[str], names: Sequence[str]
    ) -> Any:
        """A member of a list: places stay where they are, so a dropped one is null."""
        do = self._first(rules, path, () if isinstance(child, dict | list) else called, child)
        return self._walk(rules, child, path, names) if do is None else self._all(do, child)

    def _all(self, do: Do, value: Any) -> Any:
        """Every leaf of ``value``."""
        if isinstance(value, list):
            return [self._all(do, one) for one in value]
        if value is None or do == "drop":
            return None
        if isinstance(value, dict):
            return {} if do == "mask" else self.digest(value)
        return self.digest(value) if do == "hash" else MASK if isinstance(value, str) else None


def _covers(rule: _Rule, names: Sequence[str]) -> bool:
    """Whether the rule is about a column that has these names."""
    called = {part for name in names for part in (name, _NUMBERED.sub("", name), *name.split("."))}
    globs = _ends(rule.path) if rule.name is None else [rule.name]
    return any(fnmatchcase(name, glob) for name in called for glob in globs)


def _ends(path: tuple[Step, ...]) -> list[str]:
    """What columns a path may lead to."""
    if not path:
        return ["*"]
    last = path[-1]
    if isinstance(last, int):
        return [f"_c{last}"]
    if isinstance(last, str):
        return [last]
    names = [step for step in path if isinstance(step, str)]  # all places of a list: of a column's, or of a row's
    return [names[-1]] if names and names[-1] not in _HOLDERS else ["*"]


def _named(names: Sequence[str], place: int, width: int) -> tuple[str, ...]:
    """What a value at this place of a row is called."""
    return (f"_c{place}", names[place]) if len(names) == width else (f"_c{place}",)


def _width(tensor: dict[str, Any]) -> int:
    """Columns of a tensor of two dimensions whose values stand in one flat list; 0: it is none."""
    shape, data = tensor.get("shape"), tensor["data"]
    if (
        isinstance(shape, list)
        and len(shape) == 2
        and isinstance(shape[1], int)
        and not (data and isinstance(data[0], list))
    ):
        return shape[1]
    return 0


def _fits(step: Step, at: str | int) -> bool:
    if isinstance(at, int):
        return step is None or step == at
    return isinstance(step, str) and fnmatchcase(at, step)
