"""What the platform tells a monitoring container, read strictly.

Source: SageMaker developer guide, "Container Contract Inputs". A variable that cannot be understood is an error: a
container that guesses its window or format reports on other data than it was asked about.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assay.errors import DocumentError, UsageError
from assay.evidence import strict_json
from assay.files import read_file

CONFIG = "config/processingjobconfig.json"
"""Below ``/opt/ml``: holds the same variables under ``Environment``."""
CAPTURE = "sagemakerCaptureJson"
INDEXES = ("endpointInput", "endpointOutput")


@dataclass(frozen=True, slots=True)
class Job:
    """One monitoring job."""

    kind: str
    """What the data is: ``captured``, ``csv``, ``jsonl`` or ``parquet``, as sources call it."""
    header: bool
    """CSV: whether the first line has the columns' names."""
    sides: tuple[str, ...]
    """Captures: which of `INDEXES` are looked at."""
    source: str
    """Folder or file of the data."""
    output: str
    """Folder for the reports."""
    publish: bool
    """Whether metric files are asked for."""
    start: datetime
    """UTC, inclusive."""
    end: datetime
    """UTC, exclusive."""
    constraints: str | None
    """File or folder of the baseline's constraints."""
    statistics: str | None
    """File or folder of its statistics."""
    dimensions: Mapping[str, str]
    """``Endpoint`` and ``MonitoringSchedule``, as far as they were named."""


def read(environ: Mapping[str, str], root: str, now: datetime) -> Job:
    """The job, from variables and the configuration file below ``root``; variables go first. Raises `AssayError`."""
    found = {**_configured(root), **{name: value for name, value in environ.items() if value}}
    kind, header, sides = _format(_need(found, "dataset_format"))
    end = _time(found, "end_time") or now
    start = _time(found, "start_time") or end
    if start > end:
        raise UsageError("start_time is after end_time")
    publish = found.get("publish_cloudwatch_metrics", "Enabled")
    if publish not in ("Enabled", "Disabled"):
        raise UsageError(f"publish_cloudwatch_metrics is {publish[:40]!r}", hint="Enabled or Disabled")
    names = {"Endpoint": "sagemaker_endpoint_name", "MonitoringSchedule": "sagemaker_monitoring_schedule_name"}
    return Job(
        kind,
        header,
        sides,
        _need(found, "dataset_source"),
        _need(found, "output_path"),
        publish == "Enabled",
        start,
        end,
        found.get("baseline_constraints"),
        found.get("baseline_statistics"),
        {name: found[variable] for name, variable in names.items() if variable in found},
    )


def _configured(root: str) -> dict[str, str]:
    path = os.path.join(root, CONFIG)
    if not os.path.exists(path):
        return {}
    value = strict_json.loads(read_file(path, 1 << 24), path)
    found = value.get("Environment") if isinstance(value, dict) else None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(item, str) for item in found.values()):
        raise DocumentError(f"{path}: Environment is not a mapping of names to texts")
    return {name: item for name, item in found.items() if item}


def _need(found: Mapping[str, str], name: str) -> str:
    if name not in found:
        raise UsageError(f"the environment variable {name} is not set")
    return found[name]


def _time(found: Mapping[str, str], name: str) -> datetime | None:
    text = found.get(name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text.replace(": ", ":"))  # the guide's own example is "2019-12-01T16: 20: 00Z"
    except ValueError:
        time = None
    if time is None or time.utcoffset() is None or time.utcoffset():
        raise UsageError(f"{name} is {text[:40]!r}, not a time in UTC", hint="such as 2026-01-31T12:00:00Z")
    return time


def _format(text: str) -> tuple[str, bool, tuple[str, ...]]:
    """Kind of source, header, captured sides."""
    value = strict_json.loads(text.encode(), "dataset_format")
    if not isinstance(value, dict) or len(value) != 1:
        raise UsageError("dataset_format does not name one format", hint='such as {"csv": {"header": true}}')
    (name, details), *_ = value.items()
    details = details if isinstance(details, dict) else {}
    if name.lower() == CAPTURE.lower():
        sides = details.get("captureIndexNames", list(INDEXES))
        if not isinstance(sides, list) or not sides or any(side not in INDEXES for side in sides):
            raise UsageError("dataset_format: captureIndexNames names something else", hint=" and ".join(INDEXES))
        return "captured", True, tuple(sides)
    if name == "csv":
        return "csv", _flag(details.get("header", True), "header"), ()
    if name == "json":
        if not _flag(details.get("line", True), "line"):
            raise UsageError("JSON that is not one object a line is not read", hint='{"json": {"line": true}}')
        return "jsonl", True, ()
    if name == "parquet":
        return "parquet", True, ()
    raise UsageError(f"dataset_format {name[:40]!r} is not known", hint=f"{CAPTURE}, csv, json or parquet")


def _flag(value: Any, name: str) -> bool:
    """Booleans come as such, as text, and as a list of one text."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise UsageError(f"dataset_format: {name} is neither true nor false")
