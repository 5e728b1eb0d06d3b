"""Text made visible for formats that have no escapes of their own: printable ASCII stays, all else is written out."""

from __future__ import annotations

from collections.abc import Callable


def visible(keep: str) -> Callable[[str], str]:
    r"""A function that leaves the characters of ``keep`` and writes others as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``.

    The backslash must not be in ``keep``: so what was written can be read back in one way only.
    """
    kept = frozenset(keep) - {"\\"}

    def one(character: str) -> str:
        code = ord(character)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    def escape(text: str) -> str:
        if kept.issuperset(text):
            return text
        return "".join(character if character in kept else one(character) for character in text)

    return escape


PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
