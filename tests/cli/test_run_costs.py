"""What a step costs is what all its processes cost, whoever waits for them, and however late."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay.evidence import keys

BURN = """
import resource, time
while time.process_time() < 1: sum(range(10_000))
block = bytearray(300 << 20)
used = resource.getrusage(resource.RUSAGE_SELF)
open("out/used", "w").write(repr(used.ru_utime + used.ru_stime))
"""
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}], start_new_session=True)"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "key.pem").write_bytes(keys.generate().pem(None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def run(*words: str) -> dict[str, Any]:
    flags = ["--json", "-d", "evidence", "--key", "key.pem", "--outputs", "out"]
    done = subprocess.run(
        [sys.executable, "-m", "assay", "run", *flags, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def must_include_the_burner(made: dict[str, Any]) -> None:
    used = float(Path("out/used").read_text())
    assert used >= 1
    assert made["costs"]["userSeconds"] + made["costs"]["systemSeconds"] >= used
    assert made["costs"]["peakMemoryBytes"] >= 300 << 20


def test_of_a_notebook_the_kernel_does_the_work() -> None:
    cell = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": BURN, "id": "c0"}
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    Path("burn.ipynb").write_text(json.dumps(document))
    must_include_the_burner(run("--", "burn.ipynb"))


@pytest.mark.parametrize("tracer", ["seccomp-unotify", "ptrace"])
def test_what_outlives_its_parent_counts(tracer: str) -> None:
    must_include_the_burner(run("--trace", tracer, "--", sys.executable, "-c", ORPHAN))
