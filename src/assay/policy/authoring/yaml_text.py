"""YAML for people, from plain values: blocks of short lines, and quotes wherever a reader could take a text for more.

It writes only what `assay.strict_yaml` reads back as the same value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./ '-]*[A-Za-z0-9_./-]|[A-Za-z]")
_WORDS = {"y", "n", "yes", "no", "true", "false", "on", "off", "null"}
WIDTH = 110
"""Characters up to which a list or mapping stays on one line."""


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return _scalar(value)


def block(value: Mapping[str, Any], depth: int) -> list[str]:
    """A mapping on lines of its own, two spaces a level; what is short stays on one line."""
    indent = "  " * depth
    lines = []
    for key, item in value.items():
        head = f"{indent}{_scalar(str(key))}:"
        text = flow(item)
        if isinstance(item, Mapping) and item and len(head) + len(text) > WIDTH:
            lines += [head, *block(item, depth + 1)]
        elif isinstance(item, list | tuple) and item and len(head) + len(text) > WIDTH:
            lines += [head, *(f"{indent}- {flow(one)}" for one in item)]
        else:
            lines.append(f"{head} {text}")
    return lines


def _escaped(char: str) -> str:
    """One character between double quotes. JSON's pairs of surrogates are none of YAML's escapes."""
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        return '"' + "".join(map(_escaped, value)) + '"'
    if isinstance(value, float):
        text = repr(value)
        # YAML 1.1 takes 1e-05 for a text: a number needs its point.
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    return json.dumps(value)
