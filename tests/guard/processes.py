"""A Python under protection in which attempts are made one by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import assay

SOURCE = str(Path(assay.__file__).parent.parent)
LIBRARIES = sysconfig.get_paths()["purelib"]

TRY = """
import json, sys
results = {}
def attempt(name, work):
    try:
        results[name] = repr(work())
    except BaseException as error:
        results[name] = type(error).__name__ + ": " + str(error).splitlines()[0]
def done():
    print(json.dumps(results))
"""
"""Runs attempts one by one and prints what became of each."""


class Process:
    """A Python that is run under protection."""

    def __init__(self, place: Any, python: str = sys.executable) -> None:
        self.place = place
        self.python = python
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join([SOURCE, LIBRARIES])}

    def run(self, text: str, *options: str, script: str = "script.py") -> dict[str, str]:
        done = self.finish(text, *options, script=script)
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return found

    def finish(self, text: str, *options: str, script: str = "script.py") -> subprocess.CompletedProcess[str]:
        folder = self.place.root / "scripts"
        folder.mkdir(exist_ok=True)
        (folder / script).write_text(TRY + text)
        key = str(self.place.root / "key.pub")
        return subprocess.run(
            [self.python, "-m", "assay.protect", "--key", key, "-d", self.place.store, *options, folder / script],
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.place.root,
            timeout=600,
        )
