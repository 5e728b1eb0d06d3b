"""Derives an allow-list from an installed library: what `assay scan allow LIBRARY` does.

The library is imported in a child process, never in this one. What comes back is a list of names and is checked like
any other list; it never holds a callable but enumerations and what Cython generates, nor a name that is denied.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

import assay
from assay.collect.scan.models.rules import lists, ruleset
from assay.errors import UndecidedError, UsageError

TIMEOUT = 1800.0
"""Seconds that importing and reading a library may take; transformers needs some minutes."""

_CHILD = (
    "import sys; sys.path.append(sys.argv.pop(1)); from assay.collect.scan.models.rules.inspecting import main; main()"
)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the child prints."""

    library: str
    version: str
    packages: list[str]
    listed: dict[str, dict[str, list[str]]]
    refused: dict[str, str]


@dataclass(frozen=True, slots=True)
class Derived:
    """What was found in a library."""

    listed: lists.AllowList
    """The classes that only hold data."""
    refused: Mapping[str, str]
    """The other classes, dotted, and why each was left out."""


def derive(library: str, *, without: Sequence[str] = (), python: str | None = None) -> Derived:
    """Derive the list of one library: a distribution's name (``scikit-learn``) or a package's (``sklearn``).

    ``without`` names modules that are left out with everything below them; ``python`` is the interpreter that has the
    library (default: this one). Deterministic for the same library. Raises `UsageError` when it is not installed and
    `UndecidedError` when it cannot be read.
    """
    if not library[:1].isalpha() or not all(part.isidentifier() for part in library.replace("-", "_").split(".")):
        raise UsageError(f"{library[:80]!r} is not the name of a Python library")
    root = os.path.dirname(os.path.dirname(os.path.abspath(assay.__file__)))
    command = [python or sys.executable, "-I", "-c", _CHILD, root, library, *without]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise UndecidedError(f"reading {library} took longer than {TIMEOUT:.0f} seconds") from None
    try:
        document = msgspec.json.decode(done.stdout, type=_Document)
    except msgspec.MsgspecError:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        raise UndecidedError(f"{library} could not be inspected (exit code {done.returncode}): {last[0]}") from None
    if not document.packages:
        raise UsageError(
            f"{library} is not installed beside assay", hint="install it into the environment that assay runs in"
        )
    return _derived(document, without)


def _derived(document: _Document, without: Sequence[str]) -> Derived:
    denied = ruleset.load().denied
    entries: lists.Entries = {}
    refused = dict(document.refused)
    for kind, found in document.listed.items():
        use = "call" if kind in ("call", "enum") else "reference" if kind == "ref" else "new"
        for module, names in found.items():
            for name in names:
                if category := denied.category(module, name, use):
                    refused[f"{module}.{name}"] = f"denied ({category})"
                else:
                    held = entries.setdefault(module, {})
                    held[name] = held.get(name, lists.Use(0)) | lists.KINDS[kind]
    derived = "assay scan allow" + "".join(f" --without {module}" for module in without)
    listed = lists.AllowList(document.library, document.version, derived, entries)
    return Derived(listed, dict(sorted(refused.items())))
