"""Runs of common libraries that differ in nothing but seeds, caches and chance raise no alarm, whichever is learned."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from assay.collect.behaviour import document
from assay.collect.behaviour.compare import alarms, compare
from assay.collect.behaviour.facts import facts
from assay.collect.behaviour.interface import Facts, Kind, Places
from assay.collect.behaviour.model import Profile, learn
from assay.collect.step import notebooks
from assay.collect.trace.interface import Launch
from assay.collect.trace.tracers import TRACERS
from collect.behaviour.profile_steps import digest, installation

LOKY_AND_FONTS = """
import sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import joblib
from joblib import Parallel, delayed
seed = sys.argv[1]
assert Parallel(n_jobs=2)(delayed(divmod)(i, 3) for i in range(8))
plt.plot([1, int(seed)])
plt.savefig(f"out/plot-{seed}.png")
joblib.dump({"seed": seed}, f"out/model-{seed}.joblib")
"""
WORKERS = """
import sys, torch
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(int(sys.argv[1]))
model = torch.nn.Linear(4, 1)
for (rows,) in DataLoader(TensorDataset(torch.randn(16, 4)), batch_size=4, num_workers=2):
    model(rows).sum().backward()
torch.save(model.state_dict(), f"out/model-{sys.argv[1]}.pt")
"""


def watch(root: Path, command: list[str]) -> Facts:
    """One run, watched."""
    # Sockets lie in it, whose paths the kernel limits to 108 bytes: pytest's own folders are too deep.
    with TemporaryDirectory(prefix="assay-run-") as temporary:
        return _watch(root, command, temporary)


def _watch(root: Path, command: list[str], temporary: str) -> Facts:
    (root / "out").mkdir(exist_ok=True)
    home = root / "home"
    home.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": temporary}
    trace = TRACERS["seccomp-unotify"].run(Launch(command, environment, str(root), seconds=600), None)
    assert trace.exit_code == 0
    places = Places(
        str(root), (), (str(root / "out"),), installation(), temporary, str(home), (f"{home}/.ssh",), digest=digest
    )
    return facts(trace, places)


def quiet(first: Facts, second: Facts) -> None:
    """Neither is unusual to somebody who has seen only the other."""
    for learned, other in ((first, second), (second, first)):
        profile = document.load(document.dump(learn(Profile("step"), learned)), "step.yaml")
        found = alarms(compare(profile, other))
        assert not found, [item.message for item in found]


@pytest.mark.parametrize("script", [LOKY_AND_FONTS, WORKERS], ids=["loky-and-fonts", "torch-workers"])
def test_workers_and_caches(tmp_path: Path, script: str) -> None:
    (tmp_path / "step.py").write_text(script)
    first = watch(tmp_path, [sys.executable, "step.py", "1"])
    second = watch(tmp_path, [sys.executable, "step.py", "2002"])
    assert first.numbers["programs"] >= 3 and any(fact.kind is Kind.OUTPUT for fact in first.facts)
    quiet(first, second)


def test_notebook_kernels(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": "print(6 * 7)"}
    book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    (tmp_path / "book.ipynb").write_text(json.dumps(book))
    (tmp_path / "out").mkdir()
    command, _ = notebooks.command(str(tmp_path / "book.ipynb"), str(tmp_path / "out" / "book.ipynb"))
    first = watch(tmp_path, list(command))
    shutil.rmtree(tmp_path / "home")
    second = watch(tmp_path, list(command))
    assert any(fact.kind is Kind.LISTEN for fact in first.facts) or any("zmq" in fact.text for fact in first.facts)
    quiet(first, second)
