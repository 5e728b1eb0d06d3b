"""Modules that the published rules import and nobody publishes: our own texts, in Rego.

`data.scribe` and `data.sarif` work on the rule's input alone. `data.superset` is a service behind a login, so that a
rule which imports it gets an error that says so, and never an undefined value that a `not` could turn into "allow".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_USED = re.compile(r"\bdata\s*\.\s*(scribe|sarif|superset)\b|\bdata\s*\[\s*[\"`](scribe|sarif|superset)[\"`]")
_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_OWN = re.compile(r"^\s*package\s+(scribe|sarif)\b", re.MULTILINE)


def needed(modules: Mapping[str, str]) -> dict[str, str]:
    """File name to text of what ``modules`` import and don't bring along."""
    used: set[str] = set()
    brought: set[str] = set()
    for text in modules.values():
        used |= {match[1] or match[2] for match in _USED.finditer(text)}
        brought |= {match[1] for match in _OWN.finditer(text)}
    return {f"library/{name}.rego": _read(name) for name in sorted(used - brought - {"superset"})}


def unavailable(modules: Mapping[str, str]) -> str | None:
    """Why ``modules`` can't be evaluated here, as a sentence; None when they can."""
    for name, text in modules.items():
        if any("superset" in match.groups() for match in _USED.finditer(_COMMENT.sub("", text))):
            return f"{name}: the rule asks data.superset, which only the service that the rule was written for answers"
    return None


def _read(name: str) -> str:
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.rego"), encoding="utf-8") as file:
        return file.read()
