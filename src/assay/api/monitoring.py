"""`check`: one window of data held against its baseline, now, with evidence of what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api.looking import Question, Seen, see
from assay.api.signers import SignWith, signer
from assay.api.stating import state
from assay.config import Config, load
from assay.errors import UsageError
from assay.targets.interface import Options
from assay.targets.registry import resolve
from assay.watch.interface import Look, Outcome, Topic

if TYPE_CHECKING:
    from assay.collect.profile.build import Progress
    from assay.evidence.signers.interface import Signer


@dataclass(frozen=True, slots=True)
class Attested:
    """A look that became evidence."""

    topic: str
    document: bytes
    """The signed bundle; the bare statement where nobody signed."""
    entry: str | None
    """Digest under which the store keeps it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What `check` found and made."""

    seen: Seen
    exit_code: int
    """0 everything holds, 1 something does not, 3 too little data to say."""
    evidence: tuple[Attested, ...] = ()
    by: str | None = None
    """Who signed, in words; None when nothing was."""


def check(
    question: Question,
    *,
    target: str | None = None,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> Checked:
    """Look once. With ``target``, what is monitored, the looks become signed evidence about it. Raises `AssayError`."""
    config = config if config is not None else load(None)
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    secret, by = signer(signer_choice, config) if target is not None else (None, None)
    seen = see(question, progress=progress)
    made = (
        attested(seen.looks, target, secret, directory, options, labels or {}, config, identify, moment)
        if target is not None
        else ()
    )
    return Checked(seen, exit_code(seen.looks), made, by)


def exit_code(looks: Sequence[Look]) -> int:
    """1 if a check of severity ``error`` does not hold, else 3 if a look could not be decided by one, else 0."""
    if any(check.severity == "error" for look in looks for check in look.violations):
        return 1
    return 0 if looks and all(_decided(look) for look in looks) else 3


def _decided(look: Look) -> bool:
    """A warning that holds, an estimate, decides nothing."""
    return look.outcome is not Outcome.UNDECIDED and any(
        check.outcome is not Outcome.UNDECIDED for check in look.checks if check.severity == "error"
    )


def attested(
    looks: Sequence[Look],
    target: str,
    secret: Signer | None,
    directory: str | None,
    options: Options,
    labels: Mapping[str, str],
    config: Config,
    identify: bool,
    now: datetime,
    alarm: bool = False,
) -> tuple[Attested, ...]:
    """Each look as a statement about ``target``, signed and kept."""
    from assay.watch.evidence import predicate

    made = []
    with resolve(target, options) as thing:
        manifest = thing.manifest(blake3=False)
        for look in looks:
            said = state(
                thing,
                manifest,
                predicate(_bounded(look, now), alarm=alarm),
                secret=secret,
                directory=directory,
                options=options,
                labels=labels,
                config=config,
                identify=identify,
                now=now,
            )
            made.append(Attested(look.topic.value, said.document, said.entry))
    return tuple(made)


def _bounded(look: Look, now: datetime) -> Look:
    """Data that were looked at whole: evidence says when, and nobody looks into the future."""
    from dataclasses import replace

    from assay.api.rows import ALWAYS
    from assay.watch.interface import Window

    return replace(look, window=Window(now, now)) if look.window == ALWAYS else look


def as_json(checked: Checked) -> dict[str, Any]:
    """The result for machines."""
    return {
        "rows": checked.seen.current.rows,
        "baseline": checked.seen.baseline.digest,
        "profile": checked.seen.current.digest,
        "notes": list(checked.seen.notes),
        "looks": [look_json(look) for look in checked.seen.looks],
        "evidence": {one.topic: one.entry for one in checked.evidence},
        "exitCode": checked.exit_code,
    }


def look_json(look: Look) -> dict[str, Any]:
    """One look."""
    return {
        "topic": look.topic.value,
        "outcome": look.outcome.value,
        "samples": look.samples,
        "start": f"{look.window.start:%Y-%m-%dT%H:%M:%SZ}",
        "end": f"{look.window.end:%Y-%m-%dT%H:%M:%SZ}",
        "checks": [
            {
                "check": check.check,
                "feature": check.feature,
                "outcome": check.outcome.value,
                "severity": check.severity,
                "expected": _plain(check.expected),
                "observed": _plain(check.observed),
                "message": check.message,
                "measures": dict(check.measures),
            }
            for check in look.checks
        ],
        "metrics": [
            {"name": metric.name, "value": metric.value, "dimensions": dict(metric.dimensions)}
            for metric in look.metrics
            if metric.value is not None
        ],
        "details": json.loads(json.dumps(dict(look.details), default=str)),
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def write_sagemaker(checked: Checked, folder: str) -> tuple[str, ...]:
    """``statistics.json``, ``constraints.json`` and ``constraint_violations.json`` of a check; the files' paths."""
    import os

    from assay.files import write_atomic
    from assay.watch.sagemaker import constraints, statistics, violations

    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder!r} cannot be made: {error.strerror}") from None
    # The other topics have files of their own in SageMaker, with other types of violation.
    topics = (Topic.DATA_QUALITY, Topic.DRIFT)
    checks = [check for look in checked.seen.looks if look.topic in topics for check in look.checks]
    documents = {
        "statistics.json": statistics.dumps(checked.seen.current),
        "constraints.json": constraints.dumps(checked.seen.constraints),
        "constraint_violations.json": violations.dumps(checks),
    }
    paths = []
    for name, document in documents.items():
        paths.append(os.path.join(folder, name))
        write_atomic(paths[-1], document)
    return tuple(paths)
