"""The audit hook's end in the monitor: what Python programs of the step tell about themselves.

They tell it by opening a path that begins with `MARK`, which the monitor answers without the kernel: that passes every
sandbox and needs no descriptor. Anybody can write such a path, so what arrives is a hint, never evidence on its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

MARK = b"/proc/self/assay-audit-hook/"
"""No such file exists: where nobody listens the open simply fails."""

LONGEST = 65536
"""Bytes of one message."""

_MOST = 50_000

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hook")
"""What is put first on ``PYTHONPATH``: it holds the ``sitecustomize`` that installs the hook."""


class Heard:
    """What was told, each thing once, in the order of its first mention."""

    def __init__(self) -> None:
        self._said: dict[str, dict[str, None]] = {}
        self._count = 0

    def add(self, message: bytes) -> None:
        """A message: a JSON object of event → list of strings. Anything else is ignored."""
        try:
            told = json.loads(message)
        except (ValueError, RecursionError):
            return
        if not isinstance(told, dict):
            return
        for event, words in told.items():
            for word in words if isinstance(words, list) else ():
                if isinstance(word, str) and self._count < _MOST and word not in self._said.setdefault(event[:100], {}):
                    self._said[event[:100]][word[:1000]] = None
                    self._count += 1

    @property
    def modules(self) -> tuple[str, ...]:
        """Imported modules."""
        return tuple(self._said.get("import", ()))

    @property
    def others(self) -> Mapping[str, tuple[str, ...]]:
        """All other events."""
        return {event: tuple(words) for event, words in self._said.items() if event != "import"}


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The step's variables, with the hook's folder first on ``PYTHONPATH``."""
    path = given.get("PYTHONPATH")
    return {**given, "PYTHONPATH": FOLDER if not path else f"{FOLDER}{os.pathsep}{path}"}
