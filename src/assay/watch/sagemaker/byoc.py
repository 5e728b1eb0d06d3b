"""The bring-your-own-container contract: one monitoring job, from environment variables to reports and metric files.

With a baseline the window is checked against it; without one, statistics and constraints are made of the data. A
window that could not be judged makes the job fail: a monitor that saw nothing must not say that all is well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assay.errors import AssayError, UndecidedError, UsageError
from assay.files import read_file, write_atomic
from assay.watch.constraints import baseline as baselines
from assay.watch.constraints.look import look
from assay.watch.interface import Check, Look, Metric, Outcome, Window
from assay.watch.sagemaker import constraints as constraint_files
from assay.watch.sagemaker import environment, metrics, statistics, violations
from assay.watch.sagemaker.documents import MAX_BYTES

if TYPE_CHECKING:
    import polars

    from assay.collect.profile.build import Built
    from assay.collect.profile.interface import Kind, Profile, Spec
    from assay.watch.constraints.model import Constraints

ROOT = "/opt/ml"
"""Where the platform looks for messages and metrics."""
BASELINE = "assay-baseline.json"
"""Our own baseline, written beside ``statistics.json`` and read from there: it knows the distributions in full."""
STATISTICS, CONSTRAINTS = "statistics.json", "constraints.json"

_MESSAGE = "output/message"
_LONGEST = 1000
"""Characters of an exit message that the platform shows."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a job ended."""

    code: int
    """Exit code: 0 completed (with or without violations), else the job failed."""
    message: str
    """The exit message: ``Completed: ...``, ``CompletedWithViolations: ...`` or ``Error: ...``."""
    look: Look | None = None
    """What was found; None where no baseline was there, or the job failed before."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the baseline tells."""

    constraints: Constraints
    profile: Profile | None
    spec: Spec | None
    """Of a full baseline."""
    floors: bytes | None


def main() -> int:
    """Run the job that the environment names; the exit code."""
    finished = run(os.environ, now=datetime.now(UTC))
    print(finished.message)
    return finished.code


def run(environ: Mapping[str, str], *, root: str = ROOT, now: datetime) -> Finished:
    """Run one job; errors become an exit message and a code, as the platform expects.

    Where even the message cannot be written, the code and what is returned still say that the job failed.
    """
    try:
        finished = _run(environment.read(environ, root, now), root)
    except AssayError as error:
        finished = Finished(error.exit_code or 1, f"Error: {error.message}")
    except OSError as error:
        finished = _unwritten(error)
    try:
        os.makedirs(os.path.join(root, os.path.dirname(_MESSAGE)), exist_ok=True)
        write_atomic(os.path.join(root, _MESSAGE), finished.message[:_LONGEST].encode("utf-8", "replace"))
    except OSError as error:
        return _unwritten(error) if finished.code == 0 else finished
    return finished


def _unwritten(error: OSError) -> Finished:
    """A report that is not there must never pass for a report without violations."""
    return Finished(2, f"Error: {error.filename or 'a report'} cannot be written: {error.strerror or error}")


def _run(job: environment.Job, root: str) -> Finished:
    known = _baseline(job)
    built = _profile(job, known)
    from assay.collect.profile.partial import decode, publish

    current = decode(built.state, labels=None)
    os.makedirs(job.output, exist_ok=True)
    shown = decode(publish(built.state))
    _write(job, STATISTICS, statistics.dumps(shown))
    from assay.watch.constraints.suggest import suggest

    suggested = suggest(shown)
    _write(job, CONSTRAINTS, constraint_files.dumps(suggested))
    if known is None:
        made = baselines.Baseline(publish(built.state), shown, suggested, job.end)
        _write(job, BASELINE, baselines.dumps(made))
        return Finished(0, "Completed: Job completed successfully with a new baseline.")
    found = _judge(job, known, current)
    if job.publish and known.constraints.settings.emit_metrics:
        folder = os.path.join(root, metrics.FOLDER)
        os.makedirs(folder, exist_ok=True)
        write_atomic(os.path.join(folder, metrics.FILE), metrics.dumps(found.metrics))
    for name in violations.NAMES:  # the guide spells it both ways, and scripts look for either
        _write(job, name, violations.dumps(found.checks))
    return _finish(found, known, built)


def _finish(found: Look, known: _Known, built: Built) -> Finished:
    dropped = f" {built.notes.dropped:,} records could not be read." if built.notes.dropped else ""
    count = len(found.violations)
    if count:
        message = f"CompletedWithViolations: Job completed successfully with {count} violations.{dropped}"
        return Finished(0, message, found)
    if not known.constraints.settings.evaluate:
        return Finished(0, f"Completed: Job completed successfully, constraints are not evaluated.{dropped}", found)
    if found.outcome is Outcome.UNDECIDED:
        raise UndecidedError(f"the window of {found.samples:,} rows is too small to be judged.{dropped}")
    return Finished(0, f"Completed: Job completed successfully with no violations.{dropped}", found)


def _write(job: environment.Job, name: str, data: bytes) -> None:
    write_atomic(os.path.join(job.output, name), data)


def _file(path: str, name: str) -> str:
    """The platform names a file, or the folder that it was downloaded to."""
    return os.path.join(path, name) if os.path.isdir(path) else path


def _baseline(job: environment.Job) -> _Known | None:
    if job.constraints is None and job.statistics is None:
        return None
    full = None
    profile = None
    if job.statistics is not None:
        path = _file(job.statistics, STATISTICS)
        own = os.path.join(os.path.dirname(path), BASELINE)
        data = read_file(path, MAX_BYTES)
        if baselines.is_baseline(data):
            full = baselines.loads(data, path)
        elif os.path.exists(own):
            full = baselines.load(own)
        profile = full.profile if full is not None else statistics.loads(data, path)
    if job.constraints is not None:
        path = _file(job.constraints, CONSTRAINTS)
        made = constraint_files.loads(read_file(path, MAX_BYTES), path)
    elif full is not None:
        made = full.constraints
    else:
        raise UsageError("baseline_statistics is given and baseline_constraints is not")
    if full is None:
        return _Known(made, profile, None, None)
    from assay.evidence import strict_json

    floors = strict_json.dumps(full.floors) if full.floors is not None else None
    return _Known(made, full.profile, full.profile.spec, floors)


def _profile(job: environment.Job, known: _Known | None) -> Built:
    from dataclasses import replace

    from assay.collect.profile.build import profile
    from assay.collect.profile.sources.interface import Reading
    from assay.collect.profile.sources.opening import open_source

    ranged = job.kind == "captured" and os.path.isdir(job.source) and job.start < job.end
    start, end = (job.start, job.end) if ranged else (None, None)
    reading = Reading(header=job.header, start=start, end=end)
    if job.sides:
        reading = replace(reading, sides=job.sides)
    names = tuple(known.constraints.columns) if known is not None else ()
    if job.kind == "captured" or not job.header:
        first = open_source(job.source, kind=job.kind, reading=reading)
        inputs, outputs = _named(tuple(name for name in first.schema() if name not in first.keys), names)
        reading = replace(reading, columns=inputs, outputs=outputs)
    source = open_source(job.source, kind=job.kind, reading=reading)
    if known is not None and known.spec is not None:
        return profile(source, known.spec)
    return profile(source, kinds=_kinds(known, source.schema()) if known is not None else None)


def _kinds(known: _Known, schema: Mapping[str, polars.DataType]) -> dict[str, Kind]:
    """What the constraints say of the columns that are there; booleans are strings to the service."""
    import polars as pl

    from assay.collect.profile.interface import Kind

    return {
        name: column.type
        for name, column in known.constraints.columns.items()
        if name in schema and column.type not in (None, Kind.UNKNOWN) and not isinstance(schema[name], pl.Boolean)
    }


def _named(found: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of inputs and outputs of records that carry none: the baseline's in its order, the outputs' first.

    The service joins a capture's output before its input, as the training data has its label in the first column.
    """
    inputs = [name for name in found if name.startswith("_c") and name[2:].isdecimal()]
    outputs = [name for name in found if name.startswith("output_") and name[7:].isdecimal()]
    if len(inputs) + len(outputs) != len(found) or any(name in names for name in found):
        return (), ()
    if len(names) == len(found):
        return names[len(outputs) :], names[: len(outputs)]
    return (names, ()) if len(names) == len(inputs) else ((), ())


def _judge(job: environment.Job, known: _Known, current: Profile) -> Look:
    from assay.watch import integrity

    window = Window(job.start, job.end)
    checks: tuple[Check, ...] = ()
    numbers: tuple[Metric, ...] = ()
    more: tuple[Check, ...] = ()
    if known.profile is not None and known.constraints.settings.evaluate:
        checks, numbers = _drift(known, current, window)
        if known.spec is not None:
            more = integrity.check(known.profile, current)
    found = look(
        known.constraints,
        current,
        window,
        baseline=known.profile if known.spec is not None else None,
        drift=checks,
        more=more,
        dimensions=job.dimensions,
    )
    from dataclasses import replace

    named = tuple(replace(metric, dimensions=job.dimensions) for metric in numbers)
    return replace(found, metrics=(*found.metrics, *named))


def _drift(known: _Known, current: Profile, window: Window) -> tuple[tuple[Check, ...], tuple[Metric, ...]]:
    """The distances that the constraints ask for, on the full baseline, or on what statistics.json tells of it."""
    from dataclasses import replace

    from assay.watch.constraints.drifting import drift_settings
    from assay.watch.drift import floors as calibrated
    from assay.watch.drift.look import look as compared

    assert known.profile is not None
    before, after = known.profile, current
    if known.spec is None:
        from assay.watch.sagemaker.approximate import comparable

        before, after = comparable(before, current)
    settings = drift_settings(known.constraints)
    there = before.columns.keys()
    settings = replace(
        settings,
        columns={name: item for name, item in settings.columns.items() if name in there},
        ignore=frozenset(name for name in settings.ignore if name in there) | frozenset(current.absent & there),
    )
    floors = calibrated.decode(known.floors) if known.floors is not None else None
    found = compared(before, after, window, settings, floors)
    return found.checks, found.metrics
