"""What no linter checks: no path of a developer's machine and no package index's address in the repository."""

from __future__ import annotations

import re
import subprocess
import sys

FORBIDDEN = {
    "a package index's address": re.compile(
        rb"--(extra-)?index-url|\"resolved\": *\"https?:|registry *= *\"https?:|https?://[^ \"]+/simple/"
    ),
    "a path of a developer's machine": re.compile(rb"/(home|Users)/(?!me/|alice/|somebody/)[a-z][a-z0-9_-]+/"),
}
EXEMPT = {"tools/check_repository.py"}
"""Itself. People in examples are called me, alice and somebody."""


def main() -> int:
    """Look at every tracked text file."""
    names = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout.decode().split("\0")
    found = 0
    for name in filter(None, names):
        if name in EXEMPT:
            continue
        try:
            with open(name, "rb") as file:
                data = file.read()
        except (FileNotFoundError, IsADirectoryError):
            continue
        if b"\0" in data[:4096]:
            continue
        for what, pattern in FORBIDDEN.items():
            for match in pattern.finditer(data):
                line = data.count(b"\n", 0, match.start()) + 1
                print(f"{name}:{line}: {what}: {match[0].decode(errors='replace')}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
