"""Inputs of a policy or a catalogue rule: declared with a type, bound to values, and put in place of their references.

``${{ inputs.NAME }}`` stands for a value in any string of the file. What a value holds is never read as YAML, as a
reference or as program text: it is put into a tree that was parsed before, and never into Rego.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assay.errors import DocumentError
from assay.policy.reading.problems import kind as in_words
from assay.policy.reading.problems import near

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}")
_REFERENCE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_INPUT = re.compile(r"\s*inputs\.([A-Za-z][A-Za-z0-9_-]*)\s*")

_NOTHING = object()

MAX_INPUTS = 100
"""Inputs of one file."""
MAX_GROWTH = 1 << 20
"""Characters that references may put into one file's strings."""

_FIELDS = ("name", "type", "description", "default", "required", "choices")


@dataclass(frozen=True, slots=True)
class Input:
    """One declared input."""

    name: str
    type: str
    """One of `TYPES`."""
    description: str = ""
    default: Any = None
    """None: there is none, and the input is left out where it is not given."""
    required: bool = False
    choices: tuple[Any, ...] = ()
    """The only values that it may have; empty: any of its type."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_duration(value: object) -> bool:
    from assay.policy import durations

    try:
        durations.parse(value)
    except DocumentError:
        return False
    return True


TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("text", lambda value: isinstance(value, str)),
    "number": ("a number", _is_number),
    "integer": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "mapping": ("a mapping", lambda value: isinstance(value, dict)),
    "duration": ("a duration such as 7d", _is_duration),
    "any": ("any value", lambda value: value is not None),
}
"""Type to what it is called and whether a value is one."""

ALSO = {"array": "list", "object": "mapping", "bool": "boolean", "int": "integer", "float": "number", "str": "string"}
"""What other tools' files call them."""


def declare(declared: Any, place: str) -> tuple[Input, ...]:
    """The inputs of a file. Raises `DocumentError` naming ``place`` and the input that is wrong."""
    if not isinstance(declared, list):
        raise DocumentError(f"{place}: inputs is {in_words(declared)}, not a list of inputs")
    if len(declared) > MAX_INPUTS:
        raise DocumentError(f"{place}: there are more than {MAX_INPUTS} inputs")
    made: dict[str, Input] = {}
    for i, item in enumerate(declared):
        found = _input(item, f"{place}: inputs[{i}]")
        if found.name in made:
            raise DocumentError(f"{place}: the input {found.name!r} is declared twice")
        made[found.name] = found
    return tuple(made.values())


def _input(item: Any, place: str) -> Input:
    if not isinstance(item, dict):
        raise DocumentError(f"{place} is {in_words(item)}, not a mapping with a name and a type")
    for key in item:
        if key not in _FIELDS:
            raise DocumentError(f"{place}: unknown key {key[:100]!r}", hint=near(key, _FIELDS))
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DocumentError(f"{place}: name is not a word of letters, digits, '_' and '-'")
    stated = item.get("type", "string")
    kind = ALSO.get(stated, stated) if isinstance(stated, str) else ""
    if kind not in TYPES:
        raise DocumentError(f"{place}: {str(stated)[:40]!r} is no type of an input", hint=near(str(stated), TYPES))
    required, default = item.get("required", False), item.get("default")
    if not isinstance(required, bool):
        raise DocumentError(f"{place}: required is {in_words(required)}, not true or false")
    if required and default is not None:
        raise DocumentError(f"{place}: {name} is required and has a default, which would never be used")
    choices = item.get("choices", [])
    if not isinstance(choices, list):
        raise DocumentError(f"{place}: choices is {in_words(choices)}, not a list")
    made = Input(name, kind, str(item.get("description") or ""), default, required, tuple(choices))
    if default is not None:
        _check(made, default, f"{place}: the default of {name}")
    return made


class Bound(dict[str, Any]):
    """Values by name; `names` are also those that have none."""

    names: tuple[str, ...] = ()


def bind(declared: Iterable[Input], given: Mapping[str, Any], place: str) -> Bound:
    """A value for each declared input that has one: the given one, else its default.

    Raises `DocumentError` for an unknown, missing or wrongly typed one; ``place`` says who gave them.
    """
    known = {item.name: item for item in declared}
    for name in given:
        if name not in known:
            hint = near(name, known) if known else "it takes no inputs"
            raise DocumentError(f"{place}: there is no input {str(name)[:100]!r}", hint=hint)
    bound = Bound()
    bound.names = tuple(known)
    for name, item in known.items():
        value = given.get(name)
        if value is None:
            if item.required:
                raise DocumentError(f"{place}: the input {name!r} ({TYPES[item.type][0]}) is not given")
            value = item.default
        else:
            _check(item, value, f"{place}: the input {name}")
        if value is not None:
            bound[name] = value
    return bound


def _check(item: Input, value: Any, what: str) -> None:
    words, fits = TYPES[item.type]
    if not fits(value):
        shown = f" ({value[:40]!r})" if isinstance(value, str) else ""
        raise DocumentError(f"{what} is {in_words(value)}{shown}, not {words}")
    if item.choices and value not in item.choices:
        raise DocumentError(f"{what} is not one of {', '.join(map(str, item.choices))[:200]}")


def substitute(value: Any, bound: Mapping[str, Any], place: str) -> Any:
    """``value`` with every ``${{ inputs.NAME }}`` replaced; a string that is nothing else takes the input's own type.

    What would have the value of an input that has none is left out of its object or list. A value is put in once and
    not looked at again, whatever it holds. Raises `DocumentError` for an unknown name, a reference in a key or in Rego.
    """
    found = _Substitution(bound, place).value(value)
    return None if found is _NOTHING else found


class _Substitution:
    """One file's references, with a bound on how much they may add to it."""

    def __init__(self, bound: Mapping[str, Any], place: str) -> None:
        self._bound, self._place = bound, place
        self._names = bound.names if isinstance(bound, Bound) else tuple(bound)
        self._left = MAX_GROWTH

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, list):
            return [made for item in value if (made := self.value(item)) is not _NOTHING]
        if isinstance(value, dict):
            entries = ((key, self._entry(key, item)) for key, item in value.items())
            return {key: made for key, made in entries if made is not _NOTHING}
        return value

    def _entry(self, key: str, item: Any) -> Any:
        if "${{" in key:
            raise DocumentError(f"{self._place}: a key cannot hold a reference ({key[:100]!r})")
        if key == "script" and isinstance(item, str) and "${{" in item:
            raise DocumentError(
                f"{self._place}: an input cannot be put into the text of a rule in Rego",
                hint="read it there as input.config.args.NAME",
            )
        return self.value(item)

    def _string(self, text: str) -> Any:
        if "${{" not in text:
            return text
        whole = _REFERENCE.fullmatch(text.strip())
        if whole is not None and "${{" not in whole[1]:
            return self._named(whole[1])
        made = _REFERENCE.sub(lambda match: self._inside(match[1]), text)
        if text.count("${{") != len(_REFERENCE.findall(text)):
            raise DocumentError(f"{self._place}: '${{{{' in {text[:60]!r} is never closed")
        return made

    def _inside(self, reference: str) -> str:
        value = self._named(reference)
        if value is _NOTHING or isinstance(value, list | dict):
            what = "not given" if value is _NOTHING else in_words(value)
            raise DocumentError(f"{self._place}: {reference.strip()[:100]} is {what} and cannot stand inside of a text")
        made = str(value).lower() if isinstance(value, bool) else str(value)
        self._left -= len(made)
        if self._left < 0:
            raise DocumentError(f"{self._place}: its references make it too long")
        return made

    def _named(self, reference: str) -> Any:
        match = _INPUT.fullmatch(reference)
        if match is None:
            raise DocumentError(
                f"{self._place}: '${{{{{reference[:60]}}}}}' is no reference", hint="write ${{ inputs.NAME }}"
            )
        if match[1] in self._bound:
            return self._bound[match[1]]
        if match[1] in self._names:
            return _NOTHING
        raise DocumentError(f"{self._place}: there is no input {match[1][:100]!r}", hint=near(match[1], self._names))
