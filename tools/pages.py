"""Writes pages of docs/ that are made from code, or says that one is not up to date."""

from __future__ import annotations

import os
import sys


def write(page: str, made: str, tool: str) -> int:
    """Write the page, or with ``--check`` on the command line compare it. Returns the exit code."""
    if sys.argv[1:] == ["--check"]:
        with open(page, encoding="utf-8") as file:
            same = file.read() == made
        if not same:
            print(f"docs/{os.path.basename(page)} is not up to date: run {tool}", file=sys.stderr)
        return 0 if same else 1
    with open(page, "w", encoding="utf-8") as file:
        file.write(made)
    return 0
