"""Values of a pickle as bounded, printable text: what `repr` would say of them, without running anything of theirs.

Only the built-in types are looked into, never a subclass, and no more of them than is printed.
"""

from __future__ import annotations

LONGEST = 400
"""Characters of one text."""

_STRING = 160
_ITEMS = 6
_DEPTH = 4

LARGE = 64 << 10
"""Byte strings from this length on were passed over, so that their content means nothing."""


def clean(text: str, limit: int = 200) -> str:
    """``text`` as one printable line that can be encoded."""
    text = text[:limit]
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def call_text(name: str, values: tuple[object, ...], keywords: object = None) -> str:
    """``name(values…)``, at most `LONGEST` characters."""
    inside = ", ".join(show(value) for value in values[:_ITEMS]) + (", …" if len(values) > _ITEMS else "")
    if type(keywords) is dict and keywords:
        inside += f", **{show(keywords)}"
    return _cut(f"{name}({inside})")


def show(value: object, depth: int = 0) -> str:
    """``value``, at most `LONGEST` characters."""
    kind = type(value)
    if kind is str:
        return _string(value)  # type: ignore[arg-type]
    if kind is bytes or kind is bytearray:
        return _bytes(value)  # type: ignore[arg-type]
    if kind is int:
        bits = value.bit_length()  # type: ignore[attr-defined]
        return repr(value) if bits <= 128 else f"<integer of {bits:,} bits>"
    if value is None or kind in (bool, float, complex):
        return repr(value)
    told = getattr(kind, "assay_text", None)
    if told is not None:
        return _cut(told(value, depth))
    if depth >= _DEPTH:
        return "…"
    if kind is tuple or kind is list or kind is set or kind is frozenset:
        return _cut(_sequence(value, depth))  # type: ignore[arg-type]
    if kind is dict:
        pairs: list[str] = []
        for key, item in value.items():  # type: ignore[attr-defined]
            if len(pairs) == _ITEMS:
                pairs.append("…")
                break
            pairs.append(f"{show(key, depth + 1)}: {show(item, depth + 1)}")
        return _cut("{" + ", ".join(pairs) + "}")
    return f"<{clean(kind.__name__)}>"


def _sequence(value: tuple[object, ...] | list[object] | set[object], depth: int) -> str:
    parts: list[str] = []
    for item in value:
        if len(parts) == _ITEMS:
            parts.append("…")
            break
        parts.append(show(item, depth + 1))
    text = ", ".join(parts)
    if isinstance(value, tuple):
        return f"({text},)" if len(value) == 1 else f"({text})"
    return f"[{text}]" if isinstance(value, list) else f"{{{text}}}"


def _string(value: str) -> str:
    text = repr(value[:_STRING])
    return text if len(value) <= _STRING else f"{text}… ({len(value):,} characters)"


def _bytes(value: bytes | bytearray) -> str:
    if len(value) >= LARGE:
        return f"<{len(value):,} bytes>"
    text = repr(bytes(value[:_STRING]))
    return text if len(value) <= _STRING else f"{text}… ({len(value):,} bytes)"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
