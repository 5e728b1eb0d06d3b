"""The text form of allow-lists: what may be named, made or called while a pickle is loaded.

A list says of each global what it may be used for, and nothing else; it cannot express a pattern, so that every name in
it was looked at. Parsing is strict: a line that is not understood is an error, never skipped.

    assay-allow-list 1
    library: scikit-learn
    versions: 1.9.1
    # a comment
    new sklearn.svm._classes
      LinearSVC LinearSVR SVC
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag

from assay.errors import DocumentError

MAGIC = "assay-allow-list 1"
"""First line of every list."""

MAX_BYTES = 8 << 20
"""Largest list that is read."""

_WIDTH = 118
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*", re.ASCII)
_HEADER = re.compile(r"(library|versions|derived): (\S.*)")


class Use(IntFlag):
    """What a listed global may be used for."""

    REFERENCE = 1
    """Be mentioned: put into a list or an attribute."""
    NEW = 2
    """A class: be made without calling its ``__init__`` (NEWOBJ), with any arguments, and be filled (BUILD) with a
    plain dictionary, of which the engine looks at what some class runs (`pickle.states.proved`)."""
    CALL = 4
    """Be called with any arguments, and what it returns be filled."""
    MEMBER = 8
    """Have a member mentioned, ``Class.NAME``, as enumerations are pickled from Python 3.12 on."""
    FILL = 16
    """A class: be filled with any state."""


KINDS: Mapping[str, Use] = {
    "ref": Use.REFERENCE,
    "new": Use.REFERENCE | Use.NEW | Use.FILL,
    "proved": Use.REFERENCE | Use.NEW,
    "call": Use.REFERENCE | Use.CALL,
    "enum": Use.REFERENCE | Use.CALL | Use.MEMBER,
}
"""First word of a block: what its names may be used for. A name may stand in several blocks."""

Entries = dict[str, dict[str, Use]]
"""Module to name to uses."""


@dataclass(frozen=True, slots=True)
class AllowList:
    """One list."""

    library: str
    """Whose names these are; a distribution's name where there is one."""
    versions: str = ""
    """What it was derived from, free text."""
    derived: str = ""
    """How it was made."""
    entries: Entries = field(default_factory=dict)
    """What is allowed."""


def parse(data: bytes, name: str) -> AllowList:
    """A list from its text. Raises `DocumentError` naming ``name`` and the line."""
    if len(data) > MAX_BYTES:
        raise DocumentError(f"{name} is larger than the {MAX_BYTES:,} bytes that an allow-list may have")
    try:
        lines = data.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise DocumentError(f"{name} is not an allow-list: it is not ASCII text") from None
    if not lines or lines[0] != MAGIC:
        raise DocumentError(
            f"{name} is not an allow-list: its first line is not '{MAGIC}'", hint="write one with: assay scan allow"
        )
    header: dict[str, str] = {}
    entries: Entries = {}
    block: tuple[Use, dict[str, Use]] | None = None
    for number, line in enumerate(lines[1:], 2):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(" ") and block is not None:
            _add(block, line.split(), name, number)
        elif (match := _HEADER.fullmatch(line)) and block is None and match[1] not in header:
            header[match[1]] = match[2]
        else:
            block = _block(line, entries, name, number)
    if "library" not in header:
        raise DocumentError(f"{name} does not say whose names it lists (library: NAME)")
    empty = [module for module, names in entries.items() if not names]
    if empty:
        raise DocumentError(f"{name} lists no name of the module {empty[0]}")
    return AllowList(header["library"], header.get("versions", ""), header.get("derived", ""), entries)


def _block(line: str, entries: Entries, name: str, number: int) -> tuple[Use, dict[str, Use]]:
    words = line.split(" ")
    if len(words) != 2 or words[0] not in KINDS or not _NAME.fullmatch(words[1]):
        raise DocumentError(
            f"{name}, line {number}: not understood: {line[:80]!r}",
            hint=f"a block starts with {', '.join(KINDS)} and a module; its names follow, indented",
        )
    return KINDS[words[0]], entries.setdefault(words[1], {})


def _add(block: tuple[Use, dict[str, Use]], words: Iterable[str], name: str, number: int) -> None:
    use, names = block
    for word in words:
        if not _NAME.fullmatch(word):
            raise DocumentError(f"{name}, line {number}: {word[:80]!r} is not a name")
        held = names.get(word)
        names[word] = use if held is None else held | use  # flags are slow to join: 15,000 names are read at each start


def render(listed: AllowList) -> bytes:
    """The text of a list: the same list always gives the same bytes."""
    lines = [MAGIC, f"library: {listed.library}"]
    lines += [f"{key}: {value}" for key in ("versions", "derived") if (value := getattr(listed, key))]
    for kind, use in KINDS.items():
        for module in sorted(listed.entries):
            names = sorted(name for name, uses in listed.entries[module].items() if _as_kind(uses, kind, use))
            if names:
                lines.append(f"{kind} {module}")
                lines += _wrap(names)
    return ("\n".join(lines) + "\n").encode("ascii")


def _as_kind(uses: Use, kind: str, use: Use) -> bool:
    if kind == "ref":
        return uses == Use.REFERENCE
    return (
        uses & use == use and not (kind == "call" and uses & Use.MEMBER) and not (kind == "proved" and uses & Use.FILL)
    )


def _wrap(names: Iterable[str]) -> list[str]:
    lines = [" "]
    for name in names:
        if len(lines[-1]) + 1 + len(name) > _WIDTH and lines[-1] != " ":
            lines.append(" ")
        lines[-1] += " " + name
    return lines
