"""Finished requests as they reach capture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from assay.guard.gateway.capture import Capturer
from assay.guard.gateway.interface import Answers, Sample, Table
from assay.guard.gateway.settings.keeping import Capture

AT = 1_790_000_000.25
JSON = b"application/json"


def sample(number: int = 0, **changed: Any) -> Sample:
    given: dict[str, Any] = {
        "id": f"{number + 1:032x}",
        "at": AT + number,
        "caller": "key:ada",
        "owner": "team",
        "address": "192.0.2.7",
        "protocol": "kserve-v1",
        "verb": "infer",
        "model": "credit",
        "version": "",
        "model_version": "sha256:ab",
        "status": 200,
        "rule": "",
        "rows": 1,
        "tokens": 0,
        "request_type": JSON,
        "answer_type": JSON,
        "request": b'{"instances": [{"age": 30, "x": 0.5}]}',
        "response": b'{"predictions": [1]}',
        "capture": True,
        "route": 0,
        "request_id": f"request-{number}",
    }
    return Sample(**(given | changed))


def asked(number: int, rows: np.ndarray, **changed: Any) -> tuple[Sample, Table, Answers]:
    """A request of two columns with its rows and answers."""
    labels = (rows[:, 0] > 50).astype(int)
    request = {"instances": [{"age": int(age), "x": float(x)} for age, x in rows]}
    response = {"predictions": labels.tolist()}
    one = sample(
        number, request=json.dumps(request).encode(), response=json.dumps(response).encode(), rows=len(rows), **changed
    )
    return one, Table(rows, ("age", "x")), Answers(labels, np.column_stack([1 - labels, labels]).astype(float))


def capturer(folder: Path, **settings: Any) -> tuple[Capturer, list[str]]:
    """With what it warned of."""
    said: list[str] = []
    return Capturer(Capture(folder="unused", **settings), str(folder), b"k" * 32, said.append), said


def files(folder: Path, ending: str = "") -> list[Path]:
    """Those that readers see."""
    return sorted(
        path
        for path in folder.rglob(f"*{ending}")
        if path.is_file() and not any(part.startswith(".") for part in os.path.relpath(path, folder).split(os.sep))
    )


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in files(folder, ".jsonl") for line in path.read_bytes().splitlines()]
