"""Words for people on standard output, and nothing that could steer their terminal."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from assay.cli.main import printable


def line(text: str = "") -> None:
    """One line of the result."""
    print(printable(text))


def note(text: str, *, quiet: bool = False) -> None:
    """One line beside the result, on standard error."""
    if not quiet:
        print(printable(text), file=sys.stderr)


def as_json(document: Any) -> None:
    """The result for machines: one JSON object, keys in a stable order."""
    print(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True))


def coloured(text: str, colour: str) -> str:
    """``text`` in green, red or yellow when standard output is a terminal and `NO_COLOR` is not set."""
    codes = {"green": "32", "red": "31", "yellow": "33"}
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{codes[colour]}m{text}\x1b[0m"


def size(count: int) -> str:
    """Bytes for people: ``8.6 GB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def counted(count: int, noun: str) -> str:
    """``1 file``, ``2,585 files``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def place(path: str) -> str:
    """A path as a person would write it: relative below this folder, with ``~`` below the home folder."""
    relative = os.path.relpath(path)
    if not relative.startswith(".."):
        return relative
    home = os.path.expanduser("~")
    return "~" + path[len(home) :] if home != "/" and path.startswith(home + "/") else path


def document(data: bytes, path: str | None) -> None:
    """A document to a file, or to standard output."""
    if path is None or path == "-":
        sys.stdout.buffer.write(data if data.endswith(b"\n") else data + b"\n")
        sys.stdout.flush()
    else:
        from assay.files import require_folder, write_atomic

        require_folder(path)
        write_atomic(path, data)
