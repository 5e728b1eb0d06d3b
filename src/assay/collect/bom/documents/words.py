"""Strings that strangers wrote, made fit for a document or a terminal. Pure functions."""

from __future__ import annotations

import re

LIMIT = 4000
"""Characters of a value that are kept: nothing that belongs into a bill of materials is longer."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def clean(text: object, limit: int = LIMIT) -> str:
    """``text`` without unpaired surrogates (no UTF-8 can hold them) and control characters, at most ``limit``
    long.
    """
    made = str(text)[: limit + 1]
    if not made.isascii():
        made = made.encode("utf-8", "replace").decode()
    made = _CONTROL.sub("�", made)
    return made if len(made) <= limit else made[: limit - 1] + "…"


def number(count: float, units: tuple[str, ...] = ("", "K", "M", "B", "T"), step: int = 1000) -> str:
    """``66.4M``: one digit after the point, none for what is not scaled."""
    if count < step:
        return f"{count:.0f}{units[0]}"
    for unit in units[1:-1]:
        count /= step
        if count < step:
            return f"{count:.1f}{unit}"
    return f"{count / step:.1f}{units[-1]}"


def size(count: int) -> str:
    """Bytes in binary units: ``1.5 GiB``."""
    return number(count, (" B", " KiB", " MiB", " GiB", " TiB"), 1024)
