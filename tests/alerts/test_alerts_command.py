"""`assay alerts`: what it prints, and its exit codes."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerts.alert_making import finding
from assay.alerts import report
from assay.alerts.settings import Settings, parse
from assay.cli import alerts
from assay.config import load
from assay.errors import AssayError, DocumentError, UsageError

CONFIG = """
alerts:
  outbox: state/alerts.db
  sinks:
    - {name: log, type: file, path: alerts.jsonl}
    - {name: gone, type: syslog, address: /nonexistent/log, severity: high}
"""


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    alerts.configure(parser)
    parsed = parser.parse_args(arguments)
    return int(parsed.run(parsed))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assay.yaml").write_text(CONFIG)
    return parse(load(None).alerts, "assay.yaml")


def record(settings: Settings, *found: Any) -> None:
    report("verify my-model", found, settings, datetime.now(UTC), background=False)


def test_list_flush_and_list(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert "no open findings" in capsys.readouterr().err
    record(settings, finding("a", "low"), finding("b", "high", title="evil\x1b[31m\nname"))
    assert run("list") == 0
    out = capsys.readouterr().out
    assert out.count("open ") == 2 and out.count("pending") == 3
    assert "\x1b" not in out and "verify my-model" in out
    assert run("flush") == 3
    out, err = capsys.readouterr()
    assert out == "sent 2, 1 left\n"
    assert "/nonexistent/log" in err
    assert run("list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(item["key"] for item in found["open"]) == ["a", "b"]
    assert [(item["sink"], item["state"], item["attempts"]) for item in found["alerts"]] == [("gone", "pending", 1)]
    assert run("list", "--all", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["alerts"]) == 3


def test_flush_with_nothing_left_is_success(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    record(settings, finding("a", "low"))
    assert run("flush", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"sent": 1, "left": [], "problems": []}


def test_dismiss(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dismiss") == 0
    assert "dismissed 0" in capsys.readouterr().out


def test_test(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", "log") == 0
    assert capsys.readouterr().out == "log: sent\n"
    assert (tmp_path / "alerts.jsonl").read_bytes().count(b"\n") == 1
    assert run("test", "--json") == 3
    said = json.loads(capsys.readouterr().out)
    assert said["log"] == "sent" and "/nonexistent/log" in said["gone"]
    with pytest.raises(UsageError, match="pigeon"):
        run("test", "pigeon")


def test_without_sinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("list") == run("flush") == 0
    with pytest.raises(UsageError, match="no sinks"):
        run("test")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "4000"])
def test_a_deadline_is_a_number_of_seconds(settings: Settings, seconds: str) -> None:
    with pytest.raises(UsageError, match="--deadline"):
        run("flush", "--deadline", seconds)


def test_a_mistake_in_the_file_is_said(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "assay.yaml").write_text("alerts:\n  sinks:\n    - {name: log, type: file, pth: x}\n")
    with pytest.raises(DocumentError, match="assay.yaml"):
        run("list")


def test_a_damaged_outbox_is_a_sentence(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "alerts.db").write_bytes(b"x" * 5000)
    for command in ("list", "flush", "dismiss"):
        with pytest.raises(AssayError, match=r"alerts\.db"):
            run(command)
