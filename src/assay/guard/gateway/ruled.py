"""What of a request a configuration's rules look at, for those who must neither lose it on the way nor let it come in
two ways. It does not say whether a rule makes sense: `rules` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assay.guard.gateway.settings import Settings


def headers(settings: Settings) -> Iterator[tuple[str, str]]:
    """Names of headers as they are written, and where: ``rules: header``, ``rules: by``."""
    for key, value in _keys(settings):
        if key == "header" and isinstance(value, dict) and isinstance(value.get("name"), str):
            yield value["name"], "rules: header"
        elif key == "by":
            for one in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ():
                kind, _, name = str(one).partition(":")
                if kind in ("header", "cookie"):
                    yield ("cookie" if kind == "cookie" else name), "rules: by"


def sizes(settings: Settings) -> bool:
    """Whether rules look at the size of bodies."""
    return any(key == "size" for key, _ in _keys(settings))


def _keys(settings: Settings) -> Iterator[tuple[Any, Any]]:
    """All keys of the rules' statements and rates, with what stands there."""
    todo: list[Any] = [one for rule in settings.rules for one in (rule.match, rule.rate)]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            yield from value.items()
            todo += value.values()
        elif isinstance(value, list | tuple):
            todo += value
