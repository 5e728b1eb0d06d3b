"""A rule and the rules that it uses, put over each other: what stands nearest wins.

Two things only grow stricter on the way: the labels that evidence must carry add up, and a used rule that demands a
signature keeps demanding it unless the rule itself says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.errors import DocumentError
from assay.policy.reading.valint.files import File, Path
from assay.policy.reading.valint.templates import Scope, render

_FORMATS = ("content_body_type", "format-type", "format_type", "format")


@dataclass(frozen=True, slots=True)
class Layer:
    """A rule as one file states it."""

    file: File
    path: Path
    fields: Mapping[str, Any]

    def wrong(self, key: str, message: str, hint: str | None = None) -> DocumentError:
        """The error for a field."""
        return self.file.wrong((*self.path, key), message, hint)


def evidence(layers: list[Layer], defaults: tuple[Mapping[str, Any], ...], scope: Scope) -> dict[str, Any]:
    """The ``evidence:`` sections put over each other, the farthest first."""
    own, *used = layers
    file, place = own.file, own.file.place(own.path)
    sections = [layer.file.mapping(layer.fields.get("evidence"), layer.path, "evidence") for layer in used]
    sections = [render(section, scope, place) for section in reversed(sections)]
    signed = any(section.get("signed") is True for section in sections)
    for item in reversed(defaults):
        at = file.mapping(item.get("evidence"), own.path, "defaults.evidence")
        sections.append(render(at, scope, place))
    merged: dict[str, Any] = {}
    wanted: list[Any] = []
    inline = render(file.mapping(own.fields.get("evidence"), own.path, "evidence"), scope, place)
    for section in (*sections, inline):
        one_name = [key for key in section if key in _FORMATS]
        if one_name:  # several names of one field: the nearest one replaces the others
            merged = {key: value for key, value in merged.items() if key not in _FORMATS}
        merged |= {key: value for key, value in section.items() if value is not None}
        wanted += file.texts(section.get("labels"), own.path, "labels")
    if wanted:
        merged["labels"] = list(dict.fromkeys(wanted))
    if signed and "signed" not in inline:
        merged["signed"] = True
    return merged


def arguments(layers: list[Layer], scope: Scope) -> dict[str, Any]:
    """The ``with:`` sections put over each other; an input that a used rule requires must be there."""
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        given = layer.file.mapping(layer.fields.get("with"), (*layer.path, "with"), "with")
        if isinstance(given.get("defaults"), dict) and "evidence" in given["defaults"]:
            raise layer.wrong("with", "evidence is chosen under evidence:, not under with:")
        place = layer.file.place((*layer.path, "with"))
        merged = _over(merged, render(given, scope, place))
    for layer in layers:
        for item in layer.file.list(layer.fields.get("inputs"), (*layer.path, "inputs"), "inputs"):
            name = item.get("name") if isinstance(item, dict) else None
            if isinstance(name, str) and item.get("required") is True and merged.get(name) is None:
                raise layers[0].wrong("with", f"the input {name[:60]!r} of {layer.file.name} is not given")
    return merged


def identifier(layers: list[Layer]) -> str:
    """The nearest id, or nothing."""
    return next(
        (
            layer.file.identifier(layer.fields["id"], (*layer.path, "id"), "id")
            for layer in layers
            if layer.fields.get("id") is not None
        ),
        "",
    )


def text(layers: list[Layer], key: str) -> str:
    """The nearest text of a field, or nothing."""
    found = (layer.file.text(layer.fields.get(key), (*layer.path, key), key) for layer in layers)
    return next(filter(None, found), "")


def flag(layers: list[Layer], key: str, default: bool = False) -> bool:
    """The nearest true or false of a field."""
    stated = (layer for layer in layers if layer.fields.get(key) is not None)
    layer = next(stated, None)
    return default if layer is None else layer.file.flag(layer.fields[key], (*layer.path, key), key)


def labels(layers: list[Layer]) -> tuple[str, ...]:
    """The nearest labels of the rule itself."""
    found = (layer.file.texts(layer.fields.get("labels"), (*layer.path, "labels"), "labels") for layer in layers)
    return next(filter(None, found), ())


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` put over ``below``: objects key by key, everything else whole."""
    made = dict(below)
    for key, value in above.items():
        under = made.get(key)
        made[key] = _over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return made
