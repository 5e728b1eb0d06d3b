"""`assay packages`, called as a user calls it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def lock(capsys: pytest.CaptureFixture[str], text: str, *more: str, tool: str = "pip") -> tuple[int, str, str]:
    Path("requirements.in").write_text(text)
    return run(capsys, "packages", "lock", "requirements.in", "-O", "x.lock", "--with", tool, *more)


def days(count: float) -> str:
    return (datetime.now(UTC) - timedelta(days=count)).strftime("%Y-%m-%dT%H:%M:%SZ")
