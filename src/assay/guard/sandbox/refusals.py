"""What the kernel's file rules refused, told from what a step tried: Landlock says nothing to the monitor.

Pure but for following links. It must never call refused what the rules allow; what failed for another reason as well
(permissions) may be called refused, because it would have been.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from assay.collect.trace.interface import FileUse
from assay.guard.sandbox import paths, sensitive
from assay.guard.sandbox.landlock import Access

UNDECLARED_READ, UNDECLARED_WRITE = "undeclared-read", "undeclared-write"
SECRET, PERSISTENCE, PROGRAM = "secret", "persistence", "program"

EXPLAINED = {
    UNDECLARED_READ: "it is no declared input (--inputs)",
    UNDECLARED_WRITE: "it is in no declared output (--outputs)",
    SECRET: "secrets lie there; only --inputs with this very path opens it",
    PERSISTENCE: "what is written there runs later by itself",
    PROGRAM: "it is no program of this step",
}
"""Rule to the reason, as the end of a sentence."""

_CHANGE = Access.WRITE_FILE | Access.MAKE_REG


def refused(use: FileUse, rules: paths.Index, secrets: Sequence[str]) -> str | None:
    """The rule that kept the step from one of the things that it tried with this path; None when none did."""
    path = os.fsdecode(use.path)
    # The last component of a name that is made or removed is itself meant, and not what it may link to.
    parent = os.path.realpath(os.path.dirname(path))
    real = os.path.realpath(path)
    changes = (use.written and real) or ((use.appeared or use.removed) and os.path.join(parent, os.path.basename(path)))
    if changes and not rules.allows(changes, Access.WRITE_FILE if _exists(use) else _CHANGE):
        return PERSISTENCE if sensitive.runs_later(changes) or sensitive.runs_later(path) else UNDECLARED_WRITE
    if use.first is None:
        return None  # the kernel looks for the file before it looks at the rules
    if use.executed and not rules.allows(real, Access.EXECUTE):
        return PROGRAM
    if (use.read and not rules.allows(real, Access.READ_FILE)) or (
        use.listed and not rules.allows(real, Access.READ_DIR)
    ):
        return SECRET if any(paths.beneath(real, hidden) for hidden in secrets) else UNDECLARED_READ
    return None


def _exists(use: FileUse) -> bool:
    return use.first is not None and not stat.S_ISDIR(use.first.mode)
