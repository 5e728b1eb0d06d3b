"""What is wrong with a package, and what is only unknown. Unknown is never the same as fine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason not to use a package."""

    code: str
    """A stable word for machines: ``sdist-only``, ``too-young``, ``two-indexes``, …"""
    package: str
    """Normalised name, with ``==version`` where one is meant; the file's name for a lock as a whole."""
    text: str
    """One sentence for people; holds no address of an index but its host and path."""
    undecided: bool = False
    """Whether it could not be found out, rather than being wrong."""

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {"code": self.code, "package": self.package, "text": self.text, "undecided": self.undecided}


def exit_code(findings: Iterable[Finding]) -> int:
    """0 nothing found, 1 something is wrong, 3 something could not be found out."""
    codes = {3 if finding.undecided else 1 for finding in findings}
    return min(codes, default=0)


def clean(text: object, limit: int = 200) -> str:
    """A stranger's words for a message: one line, printable, not long."""
    shown = "".join(char if char.isprintable() else " " for char in str(text))
    return " ".join(shown.split())[:limit]
