"""The scan of a data set for poison: read, compare, analyse, rank. Deterministic for the same bytes and settings."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assay.collect.scan.models.interface import Severity
from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.interface import (
    Point,
    PoisoningResult,
    Reason,
    Row,
    Settings,
    Suspect,
)
from assay.collect.scan.poisoning.libraries import library
from assay.errors import ChangedError, UndecidedError, UsageError
from assay.targets.interface import Manifest, Target

if TYPE_CHECKING:
    from assay.collect.scan.poisoning.analysis import Found
    from assay.collect.scan.poisoning.features import Features

WEIGHTS = {
    "relabelled": 0.9,
    "trigger": 0.9,
    "duplicate-conflict": 0.6,
    "label-error": 0.6,
    "source": 0.5,
    "new": 0.5,
    "neighbours": 0.5,
    "block": 0.4,
    "spectral": 0.15,
    "outlier": 0.15,
}
"""How far a reason of full strength alone brings a row towards 1. Chosen by hand: what changes a label on purpose or
shows an attack's shape weighs more than what honest data has too. They order the list and decide nothing."""

POINTS = 3_000
"""Rows in the picture."""

LEAST = 10
"""Rows below which nothing can be said."""


def scan_dataset(
    target: Target,
    *,
    label: str | None = None,
    text: str | tuple[str, ...] | None = None,
    source: str | None = None,
    ignore: tuple[str, ...] = (),
    baseline: Target | Sequence[Target] = (),
    embeddings: Target | None = None,
    settings: Settings | None = None,
    manifest: Manifest | None = None,
    progress: Callable[[str], None] = lambda _step: None,
) -> PoisoningResult:
    """Look for poison in the tables of ``target``: CSV, TSV, JSON Lines, Parquet, ``.npy``, ``.npz``.

    ``label``, ``text``, ``source`` and ``ignore`` name columns and override ``settings``. ``baseline`` is an earlier
    version, or several; the caller holds each `Version.contents` against what was attested. ``embeddings`` has a vector
    for each row, in the same order. ``manifest`` spares a second digest of the target. ``progress`` is told each step
    in words. Raises `UsageError` for a column that is not there, `UndecidedError` where there is too little to judge,
    `MissingExtraError` without scikit-learn.
    """
    library("sklearn.linear_model")
    chosen = settings or Settings()
    chosen = replace(
        chosen,
        label=label if label is not None else chosen.label,
        text=((text,) if isinstance(text, str) else tuple(text)) if text is not None else chosen.text,
        source=source if source is not None else chosen.source,
        ignore=tuple(ignore) or chosen.ignore,
    )
    if chosen.sample < LEAST or chosen.shown < 1:
        raise UsageError(
            f"a sample of {chosen.sample:,} rows is too small", hint=f"at least {LEAST}, and show at least 1"
        )
    progress("digesting")
    manifest = manifest if manifest is not None else target.manifest(blake3=False)
    vectors = embeddings.manifest(blake3=False).contents() if embeddings is not None else None
    if vectors is not None:
        chosen = replace(chosen, embeddings=vectors.hex())
    earlier = (*baseline,) if isinstance(baseline, Sequence) else (baseline,)
    made = _scan(target, manifest, earlier, embeddings, chosen, progress)
    # What was read is what was digested: rows are read in a second pass over the files.
    for thing, contents in ((target, manifest.contents()), (embeddings, vectors)):
        if thing is not None and thing.manifest(blake3=False).contents() != contents:
            raise ChangedError(f"{thing.name!r} changed while it was read", hint="scan again when it is at rest")
    return made


def _scan(
    target: Target,
    manifest: Manifest,
    earlier: tuple[Target, ...],
    embeddings: Target | None,
    settings: Settings,
    progress: Callable[[str], None],
) -> PoisoningResult:
    import numpy as np

    from assay.collect.scan.poisoning import comparing, joining
    from assay.collect.scan.poisoning import features as making
    from assay.collect.scan.poisoning import findings as reporting
    from assay.collect.scan.poisoning import table as reading
    from assay.collect.scan.poisoning.analysis import Analysis

    # The draw depends on the data itself and is the same for everybody who looks at the same data.
    seed = hashlib.sha256(manifest.contents() + str(settings.seed).encode()).digest()
    number = int.from_bytes(seed[:4], "big")
    progress("reading rows")
    table = reading.read(target, sample=settings.sample, seed=seed)
    if len(table.rows) < LEAST:
        why = next(iter([*table.broken.values(), *table.skipped.values()]), f"it has {len(table.rows)} rows")
        raise UndecidedError(
            f"{target.name} cannot be judged: {one_line(why, 300)}",
            hint=f"a table of at least {LEAST} rows in CSV, TSV, JSON Lines, Parquet, .npy or .npz is needed",
        )
    joined = joining.join(table, embeddings) if embeddings is not None else frozenset[str]()
    features = making.build(table, settings, number)
    away = features.left_out | joined
    new = relabelled = compared = None
    if earlier:
        progress("reading the earlier version")
        label = next((name for name, role in features.roles.items() if role == "label"), None)
        known = comparing.known(earlier, away, label)
        settings = replace(settings, since=tuple(version.contents for version in known.versions))
        if len(table.rows) < table.total:
            progress("drawing new rows")
            table = comparing.draw(target, known, sample=settings.sample, seed=seed)
            if embeddings is not None:
                joining.join(table, embeddings)
            features = making.build(table, settings, number)
        compared, new, relabelled = comparing.compare(known, table)
    progress("comparing rows")
    keys = [reading.content_key(cells, features.left_out) for cells in table.cells]
    analysis = Analysis(features, table.rows, keys, number, making.Masked(table, settings, features, number))
    found = analysis.run(new, relabelled)
    suspects = _ranked(found, features, table.rows)
    groups = tuple(sorted(found.groups, key=lambda group: (list(Severity).index(group.severity), -group.count)))
    counts = Counter(reason.kind for reasons in found.marks.reasons.values() for reason in reasons)
    labels = Counter(features.labels[i] for i in features.y if i >= 0)
    unlabelled = settings.label is None and "label" not in features.roles.values()
    return PoisoningResult(
        str(target.reference),
        table.total,
        len(table.rows),
        features.roles,
        dict(labels.most_common()),
        tuple(suspects[: settings.shown]),
        len(suspects),
        dict(sorted(counts.items())),
        groups,
        reporting.findings(target, manifest, table, groups, settings, unlabelled=unlabelled),
        tuple(features.notes),
        compared,
        settings,
        _points(features, found, np),
    )


def _ranked(found: Found, features: Features, rows: list[Row]) -> list[Suspect]:
    made = []
    for i, reasons in found.marks.reasons.items():
        listed = sorted(reasons, key=lambda reason: (-WEIGHTS[reason.kind] * reason.strength, reason.kind))
        own = int(features.y[i])
        other = found.suggested.get(i)
        made.append(
            Suspect(
                rows[i],
                score(listed),
                features.labels[own] if own >= 0 else None,
                features.labels[other] if other is not None and other != own else None,
                tuple(listed),
            )
        )
    return sorted(made, key=lambda suspect: (-suspect.score, suspect.row.file, suspect.row.number))


def score(reasons: list[Reason]) -> float:
    """All reasons together: 1 minus the product of what each leaves, so that each one adds and none decides alone."""
    left = 1.0
    for reason in reasons:
        left *= 1 - WEIGHTS[reason.kind] * reason.strength
    return round(1 - left, 4)


def _points(features: Features, found: Found, np: Any) -> tuple[Point, ...]:
    marked = sorted(found.marks.reasons)
    scores = {i: score(found.marks.reasons[i]) for i in marked}
    worst = sorted(marked, key=lambda i: (-scores[i], i))[: POINTS // 2]
    step = max(1, len(features.y) // (POINTS // 2))
    chosen = sorted({*range(0, len(features.y), step), *worst})
    centred = features.matrix - features.matrix.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]
    flat = centred @ axes
    if flat.shape[1] == 1:
        flat = np.hstack([flat, np.zeros_like(flat)])
    low, high = np.percentile(flat, [0.5, 99.5], axis=0)
    flat = np.clip((flat - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    return tuple(
        Point(round(float(flat[i, 0]), 4), round(float(flat[i, 1]), 4), int(features.y[i]), scores.get(i, 0.0))
        for i in chosen
    )
