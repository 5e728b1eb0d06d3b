"""The digest of a notebook's code, and notebooks that are executed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay.collect.step import notebook_runner, notebooks
from assay.errors import DocumentError


def notebook(*cells: dict[str, Any], nbformat: int = 4) -> bytes:
    return json.dumps({"nbformat": nbformat, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}).encode()


def code(source: str | list[str], **more: Any) -> dict[str, Any]:
    made = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": source, "id": "a1"}
    return made | more


def text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source, "id": "b2"}


def test_the_digest_is_of_the_code_alone() -> None:
    plain = notebooks.code_digest(notebook(code("x = 1\nprint(x)")), "n")
    assert plain == hashlib.sha256(b'["x = 1\\nprint(x)"]').hexdigest()
    executed = code(["x = 1\n", "print(x)"], execution_count=7, outputs=[{"output_type": "stream", "text": "1"}])
    assert notebooks.code_digest(notebook(text("# Title"), executed), "n") == plain


@pytest.mark.parametrize("cells", [[code("x = 2\nprint(x)")], [code("x = 1"), code("print(x)")], []])
def test_other_code_has_another_digest(cells: list[dict[str, Any]]) -> None:
    plain = notebooks.code_digest(notebook(code("x = 1\nprint(x)")), "n")
    assert notebooks.code_digest(notebook(*cells), "n") != plain


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"\xff", b'{"nbformat": 4}', notebook(nbformat=3), notebook({"source": "x"}), b"[" * 100_000],
)
def test_what_is_no_notebook_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentError, match="n.ipynb"):
        notebooks.code_digest(data, "n.ipynb")


def execute(tmp_path: Path, *cells: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("nbclient", reason="the extra 'notebook' is not installed")
    (tmp_path / "in.ipynb").write_bytes(notebook(*cells))
    command = [sys.executable, notebook_runner.__file__, str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_notebook_is_executed_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("40")
    done = execute(tmp_path, code("n = int(open('data.txt').read())"), code("print(n + 2)"))
    assert done.returncode == 0, done.stderr
    outputs = json.loads((tmp_path / "out.ipynb").read_text())["cells"][1]["outputs"]
    assert outputs[0]["text"] in ("42\n", ["42\n"])


def test_a_cell_that_fails_ends_it_and_keeps_what_came_before(tmp_path: Path) -> None:
    done = execute(tmp_path, code("print('first')"), code("1 / 0"), code("print('never')"))
    assert done.returncode == 1
    assert "in.ipynb: ZeroDivisionError: division by zero" in done.stderr
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    assert cells[0]["outputs"] and not cells[2]["outputs"]
