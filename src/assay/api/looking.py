"""One look at a window of data: profile it with the baseline's rules, and ask every topic that was wanted.

It stores nothing, signs nothing and tells nobody: `monitoring` does that with what it finds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from assay.api.baselines import Data, notes_of
from assay.api.rows import ALWAYS, SAMPLE, opened, sampled
from assay.config import Config
from assay.errors import RejectedError, UndecidedError, UsageError
from assay.files import read_file
from assay.watch.interface import Check, Look, Outcome, Topic, Window

if TYPE_CHECKING:
    import polars

    from assay.collect.profile.build import Built, Progress
    from assay.collect.profile.interface import Custom, Profile
    from assay.watch.constraints.baseline import Baseline
    from assay.watch.constraints.model import Constraints
    from assay.watch.drift.model import ColumnDrift
    from assay.watch.settings import Bias, Quality


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose baselines count, and where the evidence about them is."""

    keys: tuple[str, ...]
    """Public key files (PEM)."""
    directory: str | None
    config: Config


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be looked at, and held against what."""

    baseline: str
    """The baseline file."""
    data: Data
    window: Window = ALWAYS
    time: str | None = None
    """Column that says when a row happened; only rows of the window count."""
    constraints: str | None = None
    """A constraints file instead of the baseline's own."""
    topics: tuple[Topic, ...] = (Topic.DATA_QUALITY, Topic.DRIFT)
    least: int | None = None
    """Rows below which the window says nothing; None: as the constraints say."""
    drift: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the drift verdict, over those of the constraints."""
    reference: Data | None = None
    """The data that the baseline was made from: for the joint distribution and for the question of poisoning."""
    label: str | None = None
    source: str | None = None
    """Columns with labels and contributors, for the question of poisoning."""
    ignore: tuple[str, ...] = ()
    """Columns that are no content, for the same."""
    quality: Quality | None = None
    """How predictions are read, for the topics of `predictions`."""
    truth: Data | None = None
    """Ground truth that came later."""
    before: Data | None = None
    """Predictions with labels from when the model was right."""
    bias: Bias | None = None
    customs: Sequence[Custom] = ()
    """Statistics of the user's own that the baseline has; functions run only where they are named here again."""
    workers: int | None = None
    signers: Signers | None = None
    """Who must have signed the baseline file; None believes whoever could write it."""
    state: bytes | None = None
    """A profile of the whole window that was made elsewhere (`api.scaling.profile`); `data` is not read then."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen."""

    looks: tuple[Look, ...]
    baseline: Baseline
    constraints: Constraints
    current: Profile
    state: bytes
    """Of the window."""
    notes: tuple[str, ...]
    drifts: tuple[ColumnDrift, ...] = ()
    """What the topic drift rests on."""


def see(
    question: Question,
    *,
    earlier: Sequence[Profile] = (),
    history: Sequence[float] = (),
    progress: Progress | None = None,
) -> Seen:
    """Look. ``earlier`` are profiles of windows before, to find batches that come twice; ``history`` their rates of
    contradicted labels. Raises `AssayError`.
    """
    from assay.collect.profile.partial import decode
    from assay.watch.constraints import baseline as baselines
    from assay.watch.constraints import reading

    document = read_file(question.baseline, baselines.MAX_BYTES)
    known = baselines.loads(document, question.baseline)
    if question.signers is not None:
        from assay.api.baseline_proof import prove

        signers = question.signers
        prove(question.baseline, document, known, signers.keys, signers.directory, signers.config)
    rested = {"baseline": hashlib.sha256(document).hexdigest()}
    constraints = known.constraints
    if question.constraints is not None:
        constraints = reading.load(question.constraints)
        rested["constraints"] = hashlib.sha256(reading.dumps(constraints)).hexdigest()
    if question.least is not None:
        constraints = _with_least(constraints, question.least)
    built = _built(question, known, progress)
    current = decode(built.state, labels=None)
    notes = list(notes_of(built))
    looks = list(_profiled(question, known, constraints, current, earlier))
    drifts: tuple[ColumnDrift, ...] = ()
    if Topic.DRIFT in question.topics:
        found, drifts = _drifted(question, known, constraints, current)
        looks.append(found)
    if Topic.POISONING in question.topics:
        looks.append(_poisoning(question, known, history))
    if question.quality is not None:
        from assay.api import predictions

        looks += predictions.looks(
            question.data,
            question.window,
            question.time,
            question.quality,
            question.truth,
            question.before,
            question.bias,
            question.topics,
        )
    looks = [replace(look, documents=rested) for look in looks]
    return Seen(tuple(looks), known, constraints, current, built.state, tuple(notes), drifts)


def _built(question: Question, known: Baseline, progress: Progress | None) -> Built:
    """The window's profile, by the baseline's rules."""
    if question.state is None:
        from assay.collect.profile.build import profile

        source = opened(question.data, question.window, question.time)
        spec = known.profile.spec
        return profile(source, spec, customs=question.customs, workers=question.workers, progress=progress)
    from assay.api.scaling import built

    needs_rows = set(question.topics) - {Topic.DATA_QUALITY, Topic.DRIFT}
    if needs_rows or question.reference is not None or question.quality is not None or question.window is not ALWAYS:
        raise UsageError(
            "a profile without its data answers for data quality and drift, of all of its rows", hint="give the data"
        )
    return built(question.state, known.profile.spec)


def _profiled(
    question: Question, known: Baseline, constraints: Constraints, current: Profile, earlier: Sequence[Profile]
) -> Iterator[Look]:
    from assay.watch import integrity
    from assay.watch.constraints.look import look as quality

    if Topic.DATA_QUALITY in question.topics:
        more = integrity.check(known.profile, current, earlier=earlier)
        yield _enough(quality(constraints, current, question.window, baseline=known.profile, more=more), constraints)


def _drifted(
    question: Question, known: Baseline, constraints: Constraints, current: Profile
) -> tuple[Look, tuple[ColumnDrift, ...]]:
    from assay.api import drifting

    found, drifts = drifting.look(known, constraints, question.drift, current, question.window)
    found = _enough(found, constraints)
    if found.checks and found.checks[0].check == "rows":
        return found, ()
    if question.reference is not None:
        found = replace(found, checks=(*found.checks, drifting.joint(constraints, *_rows(question, known))))
    return found, drifts


def _enough(look: Look, constraints: Constraints) -> Look:
    """A window with too few rows says nothing, whatever its single checks say."""
    least = constraints.settings.least_rows
    if look.samples >= least:
        return look
    message = f"the window has {look.samples:,} rows, {least:,} are needed"
    return replace(
        look,
        checks=(Check("rows", Outcome.UNDECIDED, None, least, look.samples, "error", message),),
    )


def _with_least(constraints: Constraints, least: int) -> Constraints:
    import msgspec

    settings = msgspec.structs.replace(constraints.settings, least_rows=least)
    return msgspec.structs.replace(constraints, settings=settings)


def _poisoning(question: Question, known: Baseline, history: Sequence[float]) -> Look:
    from assay.watch.suspicion.interface import Settings
    from assay.watch.suspicion.look import look
    from assay.watch.suspicion.run import suspect

    reference, current = _rows(question, known)
    settings = Settings(
        question.label,
        question.source,
        question.ignore,
        sample=SAMPLE,
        least=question.least or known.constraints.settings.least_rows,
    )
    return look(suspect(reference, current, settings, history=history), question.window, baseline=known.digest)


def _rows(question: Question, known: Baseline) -> tuple[polars.DataFrame, polars.DataFrame]:
    """Samples of the reference and of the window. The reference must be what the baseline was made from."""
    if question.reference is None:
        raise UsageError(
            "poisoning is looked for beside the data that the baseline was made from",
            hint="name it: reference: in the monitors file, or --reference",
        )
    _attested(question.reference, known)
    current = opened(question.data, question.window, question.time)
    return sampled(opened(question.reference, ALWAYS, None)), sampled(current)


def _attested(reference: Data, known: Baseline) -> None:
    """Stops: a reference that the attacker has poisoned too. Its digest must be in the baseline."""
    from assay.targets.registry import resolve

    digests = {source.digests.get("sha256") for source in known.sources}
    if not digests:
        raise UndecidedError(
            "the baseline does not say which data it was made from, so that any could be put beside the window",
            hint="make it with: assay baseline DATA -o attest",
        )
    with resolve(str(reference.place)) as thing:
        if thing.manifest(blake3=False).contents().hex() not in digests:
            raise RejectedError(
                f"{reference.place} is not what the baseline was made from",
                hint="put the very data there, or make a new baseline",
            )
