"""One file of a valint policy while it is read: its values with their lines, and the files that it names.

Every reader of a value raises `DocumentError` with file and line; none guesses what was meant.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from assay import strict_yaml
from assay.errors import AssayError, DocumentError, TargetError
from assay.policy.reading.problems import kind, near
from assay.policy.sources import Sources

Path = tuple[str | int, ...]

MAX_TEXT = 10_000
"""Characters of a name or description."""


def words(text: str) -> tuple[str, ...]:
    """The words of a long list of names, which would take a line each."""
    return tuple(text.split())


@dataclass(frozen=True, slots=True)
class File:
    """One file."""

    sources: Sources
    name: str
    """In `sources`."""
    document: Any
    lines: strict_yaml.Lines

    @classmethod
    def load(cls, sources: Sources, name: str) -> File:
        """A file by name. Raises `AssayError` when it is not there or no YAML."""
        return cls(sources, name, *strict_yaml.loads_with_lines(sources.read(name), name))

    @staticmethod
    def absent(error: AssayError | OSError) -> bool:
        """Whether reading failed because there is no such file, and not because it must not or cannot be read."""
        message = error.message if isinstance(error, AssayError) else str(error.strerror)
        return isinstance(error, TargetError) or os.strerror(errno.ENOENT) in message

    def place(self, path: Path) -> str:
        """``file:line`` of a value."""
        return f"{self.name}:{self.lines.at(*path)}"

    def wrong(self, path: Path, message: str, hint: str | None = None) -> DocumentError:
        """The error for a value."""
        return DocumentError(f"{self.place(path)}: {message}", hint=hint)

    def mapping(self, value: Any, path: Path, what: str, allowed: Iterable[str] | None = None) -> dict[str, Any]:
        """``value`` as an object, with no other keys than ``allowed``; an empty one for null."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(path, f"{what} is {kind(value)}, not a mapping")
        if allowed is not None:
            known = tuple(allowed)
            for key in value:
                if key not in known:
                    raise self.wrong((*path, key), f"unknown key {key[:100]!r} in {what}", near(key, known))
        return value

    def list(self, value: Any, path: Path, what: str) -> list[Any]:
        """``value`` as a list; an empty one for null."""
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(path, f"{what} is {kind(value)}, not a list")
        return value

    def text(self, value: Any, path: Path, what: str) -> str:
        """``value`` as text; empty for null. Numbers are text too: versions are often written without quotes."""
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.wrong(path, f"{what} is {kind(value)}, not text")
        text = str(value).strip()
        if len(text) > MAX_TEXT:
            raise self.wrong(path, f"{what} is longer than {MAX_TEXT:,} characters")
        return text

    def texts(self, value: Any, path: Path, what: str) -> tuple[str, ...]:
        """``value`` as a list of texts; one text is a list of one."""
        if isinstance(value, list):
            return tuple(self.text(item, (*path, i), f"{what}[{i}]") for i, item in enumerate(value) if item != "")
        text = self.text(value, path, what)
        return (text,) if text else ()

    def flag(self, value: Any, path: Path, what: str, default: bool = False) -> bool:
        """``value`` as true or false."""
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(path, f"{what} is {kind(value)}, not true or false")
        return value

    def identifier(self, value: Any, path: Path, what: str) -> str:
        """An id; empty for none. ``::`` is what results join ids with, so that no id may hold it."""
        text = self.text(value, path, what)
        if "::" in text or len(text) > 100 or not text.isprintable():
            raise self.wrong(path, f"the {what} {text[:60]!r} is none: at most 100 printable characters without '::'")
        return text

    def beside(self, name: str, path: Path) -> tuple[str, str]:
        """Name and text of a file that this one names: relative to it, else to the root of its bundle.

        Raises `DocumentError` for one that leads out, is not there, or is not text.
        """
        folder = posixpath.dirname(self.name)
        first: AssayError | None = None
        for start in dict.fromkeys((folder, "")):
            inside = posixpath.normpath(posixpath.join(start, name))
            if name.startswith("/") or inside.split("/")[0] == ".." or "\0" in name:
                first = first or DocumentError(f"{name[:200]!r} leads out of the policy's folder")
                continue
            try:
                return inside, self.sources.read(inside).decode()
            except UnicodeDecodeError:
                raise self.wrong(path, f"{inside} is not UTF-8 text") from None
            except OSError as error:
                first = first or DocumentError(f"{inside} cannot be read: {error.strerror}")
                if not self.absent(error):
                    break
            except AssayError as error:
                first = first or error
                if not self.absent(error):
                    break
        message = first.message if first is not None else f"{name[:200]!r} is not there"
        raise self.wrong(path, message, "files that a policy names lie beside it or in its bundle") from None
