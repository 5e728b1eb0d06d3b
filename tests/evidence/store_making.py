"""Bundles for the tests of stores, and what a second process runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import assay
from assay.evidence.keys import generate
from assay.evidence.signers.key import KeySigner
from assay.evidence.statement import Statement, Subject

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SIGNER = KeySigner(generate("ed25519"))
TYPE = "https://example.org/test/v1"


def digest_of(i: int) -> str:
    return f"{i:064x}"


def bundle(
    i: int,
    *,
    name: str | None = None,
    predicate_type: str = TYPE,
    annotations: Mapping[str, Any] | None = None,
    predicate: Mapping[str, Any] | None = None,
    subjects: Sequence[Subject] = (),
) -> bytes:
    """A bundle about subject number ``i``; the same arguments give the same bytes (Ed25519 is deterministic)."""
    subject = Subject(name or f"model-{i}", {"sha256": digest_of(i)}, annotations or {})
    return SIGNER.sign(Statement((subject, *subjects), predicate_type, predicate or {"number": i}).dump()).raw


def python_path() -> str:
    """For another process that imports assay and this module."""
    return os.pathsep.join([str(Path(assay.__file__).parent.parent), str(Path(__file__).parent)])


def run_python(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Another process."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": python_path()}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
