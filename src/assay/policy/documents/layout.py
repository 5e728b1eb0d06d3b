"""Lines of at most so many columns, with hanging indents. Text in, lines out; East Asian characters count twice."""

from __future__ import annotations

import shlex
import unicodedata


def columns(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def head(text: str, width: int) -> str:
    """The longest beginning that takes at most ``width`` columns, and one character at least."""
    taken = 0
    for i, char in enumerate(text):
        taken += _columns(char)
        if taken > width and i:
            return text[:i]
    return text


def cut(text: str, width: int) -> str:
    """``text``, with ``…`` for what does not fit into ``width`` columns."""
    return text if columns(text) <= width else head(text, max(1, width - 1)) + "…"


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """``text`` in lines of at most ``width`` columns; ``first`` and ``rest`` stand before the first and other lines."""
    lines: list[str] = []
    line, taken, empty = first, columns(first), True
    for word in text.split():
        size = columns(word)
        if not empty and taken + 1 + size <= width:
            line, taken = f"{line} {word}", taken + 1 + size
            continue
        if not empty:
            lines.append(line)
            line, taken = rest, columns(rest)
        while taken + size > width:
            part = head(word, width - taken)
            if part == word:
                break  # one character that is wider than the line
            lines.append(line + part)
            word = word[len(part) :]
            line, taken, size = rest, columns(rest), columns(word)
        line, taken, empty = line + word, taken + size, False
    return [*lines, line.rstrip() if empty else line]


def wrap_command(text: str, width: int, first: str, rest: str) -> list[str]:
    """A command line, broken between words with ``\\`` so that it can be pasted whole. Long words are not broken."""
    if columns(first + text) <= width:
        return [first + text]
    try:
        words = [shlex.quote(word) for word in shlex.split(text)]
    except ValueError:  # an open quote: left as it is
        return [first + text]
    lines, line = [], first + (words[0] if words else "")
    for word in words[1:]:
        if columns(line) + 1 + columns(word) + 2 > width:
            lines.append(line + " \\")
            line = rest + word
        else:
            line = f"{line} {word}"
    return [*lines, line]
