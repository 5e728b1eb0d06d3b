"""Notebooks as steps: which code they are, whatever their outputs say.

A notebook's file changes with every execution; its code does not. What is digested is the code alone, in a form that
another program can make again.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence

import msgspec

from assay.errors import DocumentError, MissingExtraError
from assay.files import read_file

MAX_BYTES = 256 << 20
"""Largest notebook that is read."""


class _Cell(msgspec.Struct):
    cell_type: str
    source: str | list[str] = ""


class _Notebook(msgspec.Struct):
    nbformat: int
    cells: list[_Cell] | None = None


def is_notebook(command: Sequence[str]) -> bool:
    """Whether a command is nothing but the name of a notebook."""
    return len(command) == 1 and command[0].endswith(".ipynb") and os.path.isfile(command[0])


def code_digest(data: bytes, name: str) -> str:
    """SHA-256 (hex) of a notebook's code: the JSON list of its code cells' sources, each one string, without spaces,
    as UTF-8 (nbformat 4). Outputs, counters, metadata and text cells are left out. Raises `DocumentError`.
    """
    try:
        document = msgspec.json.decode(data, type=_Notebook)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DocumentError(f"{name} is no notebook: {error}") from None
    if document.nbformat != 4 or document.cells is None:
        raise DocumentError(
            f"{name} has notebook format {document.nbformat}, not 4", hint="jupyter nbconvert --to notebook"
        )
    sources = [
        cell.source if isinstance(cell.source, str) else "".join(cell.source)
        for cell in document.cells
        if cell.cell_type == "code"
    ]
    return hashlib.sha256(msgspec.json.encode(sources)).hexdigest()


def command(notebook: str, executed: str) -> tuple[list[str], dict[str, str]]:
    """The command that executes ``notebook`` and writes it, with its outputs, to ``executed``; and by name the digest
    of its code. Raises `DocumentError`, or `MissingExtraError` without the libraries for it.
    """
    from importlib.util import find_spec

    if find_spec("nbclient") is None or find_spec("ipykernel") is None:
        raise MissingExtraError("executing a notebook", "notebook")
    digest = code_digest(read_file(notebook, MAX_BYTES), notebook)
    runner = os.path.join(os.path.dirname(__file__), "notebook_runner.py")
    return [sys.executable, runner, os.path.abspath(notebook), os.path.abspath(executed)], {
        os.path.basename(notebook): digest
    }
