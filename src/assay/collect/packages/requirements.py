"""What is asked for, as a requirements file or `pyproject.toml` says it. Runs nothing.

A file that names an index, an address or a path could make the resolver look elsewhere than the user's own settings
do: it is refused, not obeyed.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement

from assay.collect.packages.files import name_of
from assay.collect.packages.findings import clean
from assay.errors import DocumentError, UsageError
from assay.files import read_file

MAX_FILE = 16 << 20
"""Bytes of the largest file that is read here."""
_MAX_DEPTH = 20

_HASH = re.compile(r"\s--hash[=\s]\s*\S+")
_NESTED = re.compile(r"(?:-(r|c)\s*|--(requirement|constraint)[=\s]\s*)(\S.*)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be locked."""

    requirements: tuple[str, ...]
    """PEP 508, without addresses."""
    constraints: tuple[str, ...] = ()


def read(path: str, extras: Sequence[str] = ()) -> Wanted:
    """What the file ``path`` asks for; ``extras`` are those of a ``pyproject.toml``. Raises `AssayError`."""
    if os.path.basename(path) == "pyproject.toml":
        return Wanted(tuple(_project(path, extras)))
    if extras:
        raise UsageError("--extra is for a pyproject.toml")
    found: tuple[list[str], list[str]] = ([], [])
    _collect(path, found, constraint=False, depth=0)
    if not found[0]:
        raise UsageError(f"{path} asks for no package")
    return Wanted(tuple(found[0]), tuple(found[1]))


def _collect(path: str, found: tuple[list[str], list[str]], *, constraint: bool, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise UsageError(f"{path} is included too deeply")
    for number, line in lines(read_file(path, MAX_FILE)):
        where = f"{path} line {number}"
        if nested := _NESTED.fullmatch(line):
            inner = os.path.join(os.path.dirname(path), nested[3].strip())
            wanted = constraint or "c" in (nested[1], (nested[2] or "")[:1])
            _collect(inner, found, constraint=wanted, depth=depth + 1)
        else:
            found[constraint].append(_plain(_HASH.sub("", line).strip(), where))


def _project(path: str, extras: Sequence[str]) -> Iterator[str]:
    try:
        document = tomllib.loads(read_file(path, MAX_FILE).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{path} cannot be read: {clean(error)}") from None
    project = document.get("project")
    if not isinstance(project, dict):
        raise DocumentError(f"{path} has no [project] table")
    dynamic = project.get("dynamic")
    if isinstance(dynamic, list) and "dependencies" in dynamic:
        raise DocumentError(f"{path} leaves its dependencies to a program", hint="list them in a requirements file")
    groups = project.get("optional-dependencies")
    lists = [("dependencies", project.get("dependencies", []))]
    for extra in extras:
        if not isinstance(groups, dict) or extra not in groups:
            raise UsageError(f"{path} has no extra {extra[:80]!r}")
        lists.append((f"extra {extra}", groups[extra]))
    some = False
    for what, entries in lists:
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise DocumentError(f"{path}: {what} is not a list of requirements")
        for entry in entries:
            some = True
            yield _plain(entry, f"{path}: {what}")
    if not some:
        raise UsageError(f"{path} asks for no package")


def lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Logical lines with their first number; comments and blank ones are left out (pip, "Requirements File Format")."""
    pending, start = "", 0
    for number, raw in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        start = start or number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            pending += raw[:-1] + " "
            continue
        line = re.sub(r"(^|\s)#.*$", "", pending + raw).strip()
        if line:
            yield start, line
        pending, start = "", 0
    if pending.strip():
        yield start, pending.strip()


def option_of(line: str) -> str:
    """The option that a line begins with, without its value: ``-i``, ``--hash``."""
    match = re.match(r"--[A-Za-z-]{1,40}|-[A-Za-z]", line)
    return match[0] if match else "-"


def _plain(text: str, where: str) -> str:
    """A requirement by name; the text of what is refused is not repeated, for it may hold a password."""
    if text.startswith("-"):
        raise UsageError(
            f"{where} holds the option {option_of(text)}, which is not followed",
            hint="set indexes in pip's own settings (pip config set global.index-url …)",
        )
    try:
        parsed = Requirement(text)
        name_of(parsed.name)
    except (InvalidRequirement, DocumentError):
        raise UsageError(f"{where} is not a requirement by name", hint="write NAME, or NAME==VERSION") from None
    if parsed.url:
        raise UsageError(f"{where} asks for {parsed.name} from an address, of which no index says anything")
    return str(parsed)
