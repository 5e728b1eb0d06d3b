"""Entries that no statement can hold do not keep anybody from looking at the rest of a folder."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from assay.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "models"
    made.mkdir()
    (made / "bad.pkl").write_bytes(b"cos\nsystem\n(S'id'\ntR.")
    (made / "README.md").write_text("# A model")
    return made


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


def bound(folder: Path) -> str:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.bind(str(folder / "sock"))
    return "sock"


def loop(folder: Path) -> str:
    (folder / "loop").symlink_to("loop")
    return "loop"


def link_out(folder: Path) -> str:
    (folder / "passwd").symlink_to("/etc/passwd")
    return "passwd"


def escape(folder: Path) -> str:
    (folder / "a\x1b[2Jb").write_text("x")
    return "a\\u001b[2Jb"


def newline(folder: Path) -> str:
    (folder / "a\nb").mkdir()
    (folder / "a\nb" / "c").write_text("x")
    return "a\\u000ab/"


def no_utf8(folder: Path) -> str:
    with open(os.fsencode(folder) + b"/\xff", "w") as file:
        file.write("x")
    return "\\xff"


def other_case(folder: Path) -> str:
    (folder / "BAD.pkl").write_bytes(b"K\x01.")
    (folder / "readme.md").write_text("x")
    return "bad.pkl"


def deep(folder: Path) -> str:
    path = folder
    for _ in range(101):
        path /= "d"
        path.mkdir()
    (path / "x.pkl").write_text("x")
    return "d/" * 100


@pytest.mark.parametrize("odd", [pipe, bound, loop, link_out, escape, newline, no_utf8, deep])
def test_an_odd_entry_is_told_and_the_rest_is_scanned(
    folder: Path, capsys: pytest.CaptureFixture[str], odd: object
) -> None:
    name = odd(folder)  # type: ignore[operator]
    assert main(["scan", str(folder), "-o", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    tiers = {item["path"]: item["tier"] for item in document["files"]}
    assert tiers == {"README.md": "none", "bad.pkl": "malicious", name: "unknown"}


@pytest.mark.parametrize("odd", [pipe, escape])
def test_no_folder_with_an_odd_entry_is_clean(folder: Path, capsys: pytest.CaptureFixture[str], odd: object) -> None:
    (folder / "bad.pkl").unlink()
    name = odd(folder)  # type: ignore[operator]
    assert main(["scan", str(folder)]) == 3
    assert f"not scanned  {name}" in capsys.readouterr().out


def test_of_two_names_that_differ_in_case_one_is_scanned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other_case(folder)
    assert main(["scan", str(folder), "-o", "json"]) == 3
    document = json.loads(capsys.readouterr().out)
    tiers = {item["path"]: item["tier"] for item in document["files"]}
    assert tiers == {"BAD.pkl": "safe", "README.md": "none", "bad.pkl": "unknown", "readme.md": "unknown"}


def test_evidence_about_a_folder_with_an_odd_entry_is_not_made(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(folder)
    assert main(["scan", str(folder), "-o", "statement"]) == 2
    assert "'pipe' is a FIFO" in capsys.readouterr().err


def test_a_folder_of_nothing_else_is_not_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").mkdir()
    pipe(tmp_path / "models")
    assert main(["scan", str(tmp_path / "models")]) == 3
    assert "unknown" in capsys.readouterr().out
