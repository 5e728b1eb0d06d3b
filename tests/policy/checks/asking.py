"""Putting a check's question to a predicate, and real bills of materials to put it to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.api import bom
from assay.policy.checks import CHECKS
from assay.policy.checks.interface import Document
from assay.policy.verdict import Violation

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)

CYCLONEDX = "https://cyclonedx.org/bom"
SPDX3 = "https://spdx.dev/Document/v3"
SPDX2 = "https://spdx.dev/Document/v2.3"

SHA = "ab" * 32


def document(predicate: Any, kind: str, said: Mapping[str, Any] | None = None) -> Document:
    return Document(kind, predicate, said or {}, (("m", {"sha256": SHA}),), NOW)


def violations(
    name: str, arguments: Any, predicate: Any, kind: str = "", said: Mapping[str, Any] | None = None
) -> list[Violation]:
    check = CHECKS[name]
    kind = kind or check.types[0]
    return list(check.violations(document(predicate, kind, said), check.prepare(arguments, "p")))


def ask(name: str, arguments: Any, predicate: Any, kind: str = "", said: Mapping[str, Any] | None = None) -> list[str]:
    """The messages of all that is wrong."""
    found = violations(name, arguments, predicate, kind, said)
    for violation in found:
        assert violation.message and violation.message.isprintable() and len(violation.message) < 1000
        json.dumps([violation.path, dict(violation.details)], allow_nan=False)
    return [violation.message for violation in found]


def bill(folder: Path, files: Mapping[str, bytes], format: str = "json") -> Any:
    """What `assay bom` writes about these files."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return json.loads(bom(str(folder), format=format, now=NOW).document)
