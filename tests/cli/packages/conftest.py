"""A folder to work in, an index of its own for pip and uv, and a key."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.cli.main import COMMANDS, main
from package_index import Index, serving


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert "packages" in COMMANDS
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
    return tmp_path


@pytest.fixture
def index(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    with serving() as made:
        made.set_pip(monkeypatch)
        yield made


@pytest.fixture
def key(place: Path) -> str:
    assert main(["keys", "generate", "-O", "ci.pem"]) == 0
    return "ci.pem"
