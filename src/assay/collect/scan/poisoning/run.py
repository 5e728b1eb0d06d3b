"""The scan of a data set for poison: read, compare, analyse, rank. Deterministic for the same bytes and settings."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assay.collect.scan.models.interface import FileResult, Finding, Severity, TargetResult, Tier
from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.interface import (
    Comparison,
    Group,
    Point,
    PoisoningResult,
    Reason,
    Row,
    Settings,
    Suspect,
)
from assay.collect.scan.poisoning.libraries import library
from assay.errors import UndecidedError, UsageError
from assay.targets.interface import Manifest, Target

if TYPE_CHECKING:
    from assay.collect.scan.poisoning.analysis import Found
    from assay.collect.scan.poisoning.features import Features
    from assay.collect.scan.poisoning.table import Table

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

_ADVICE = {
    "trigger": "Look at the rows and where they came from; leave them out and train again before deploying.",
    "source": "Look at what this source sent, and leave it out until its labels are confirmed.",
    "relabelled": "Ask who changed these labels and why; compare with the attested version.",
    "new": "Review the new rows before training on them.",
    "block": "Look at how these rows came into the file.",
    "duplicate-conflict": "Decide which label is right, and keep one copy.",
    "label-errors": "Let somebody confirm the labels of the listed rows.",
}


def scan_dataset(
    target: Target,
    *,
    label: str | None = None,
    text: str | tuple[str, ...] | None = None,
    source: str | None = None,
    ignore: tuple[str, ...] = (),
    baseline: Target | None = None,
    settings: Settings | None = None,
    manifest: Manifest | None = None,
    progress: Callable[[str], None] = lambda _step: None,
) -> PoisoningResult:
    """Look for poison in the tables of ``target``: CSV, TSV, JSON Lines, Parquet, ``.npy``, ``.npz``.

    ``label``, ``text``, ``source`` and ``ignore`` name columns and override ``settings``. ``baseline`` is an earlier
    version; the caller holds `Comparison.contents` against what was attested. ``manifest`` spares a second digest of
    the target. ``progress`` is told each step in words. Raises `UsageError` for a column that is not there,
    `UndecidedError` where there is too little to judge, `MissingExtraError` without scikit-learn.
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
    return _scan(target, manifest, baseline, chosen, progress)


def _scan(
    target: Target, manifest: Manifest, baseline: Target | None, settings: Settings, progress: Callable[[str], None]
) -> PoisoningResult:
    import numpy as np

    from assay.collect.scan.poisoning import features as making
    from assay.collect.scan.poisoning import table as reading
    from assay.collect.scan.poisoning.analysis import Analysis

    # The draw depends on the data itself: whoever plants rows cannot choose ones that no draw takes.
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
    features = making.build(table, settings, number)
    keys = [reading.content_key(cells, features.left_out) for cells in table.cells]
    new = relabelled = compared = None
    if baseline is not None:
        progress("reading the earlier version")
        compared, new, relabelled = _compare(baseline, table, keys, features, np)
    progress("comparing rows")
    analysis = Analysis(features, table.rows, keys, number)
    found = analysis.run(new, relabelled)
    suspects = _ranked(found, features, table.rows)
    groups = tuple(sorted(found.groups, key=lambda group: (list(Severity).index(group.severity), -group.count)))
    counts = Counter(reason.kind for reasons in found.marks.reasons.values() for reason in reasons)
    labels = Counter(features.labels[i] for i in features.y if i >= 0)
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
        _findings(target, manifest, table, groups, settings),
        tuple(features.notes),
        compared,
        _points(features, found, np),
    )


def _compare(baseline: Target, table: Table, keys: list[bytes], features: Features, np: Any) -> tuple[Any, Any, Any]:
    """The comparison, and the positions of new and of relabelled rows."""
    from assay.collect.scan.poisoning.table import Cells, content_key, read, shown

    label = next((name for name, role in features.roles.items() if role == "label"), None)
    known: dict[bytes, set[str]] = {}

    def remember(_row: Row, cells: Cells) -> None:
        value = cells.get(label) if label is not None else None
        known.setdefault(content_key(cells, features.left_out), set()).add("" if value is None else shown(value)[:200])

    contents = baseline.manifest(blake3=False).contents().hex()
    earlier = read(baseline, sample=1, seed=b"", every=remember)
    if earlier.broken or not earlier.total:
        why = next(iter(earlier.broken.values()), "it has no rows")
        raise UndecidedError(f"the earlier version {baseline.name} cannot be compared with: {one_line(why, 300)}")
    new = np.array([i for i, key in enumerate(keys) if key not in known], dtype=np.int64)
    named = [features.labels[i] if i >= 0 else "" for i in features.y]
    other = [i for i, key in enumerate(keys) if label is not None and key in known and named[i] not in known[key]]
    relabelled = np.array(other, dtype=np.int64)
    return Comparison(baseline.name, contents, earlier.total, len(new), len(relabelled)), new, relabelled


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


def _findings(
    target: Target, manifest: Manifest, table: Table, groups: tuple[Group, ...], settings: Settings
) -> TargetResult:
    """Groups as findings of the file that has most of their rows; a file that was not seen whole is not clean."""
    by_file: dict[str, list[Finding]] = {}
    for group in groups:
        files = Counter(row.file.partition("!/")[0] for row in group.rows)
        path = files.most_common(1)[0][0]
        few = ", ".join(str(row) if len(files) > 1 else f"{row.number:,}" for row in group.rows[:10])
        more = ", …" if group.count > 10 else ""
        message = one_line(f"{group.text}. Rows: {few}{more}")
        by_file.setdefault(path, []).append(
            Finding(
                f"poisoning/{group.kind}",
                Tier.SAFE,
                group.severity,
                message,
                atlas=("AML.T0020",) if group.severity != Severity.INFO else (),
                mitigation=_ADVICE.get(group.kind, ""),
            )
        )
    sampled = len(table.rows) < table.total
    made = []
    for resource in manifest:
        path = resource.name
        if path in table.skipped:
            continue
        findings = by_file.get(path, [])
        tier = Tier.NONE if path in table.beside else Tier.SAFE
        if path in table.broken:
            tier = Tier.UNREADABLE
            message = one_line(table.broken[path], 500)
            findings = [*findings, Finding("poisoning/unreadable", tier, Severity.HIGH, message)]
        elif sampled and tier == Tier.SAFE:
            tier = Tier.UNKNOWN
            message = f"{len(table.rows):,} of the data set's {table.total:,} rows were analysed: a sample"
            advice = "Analyse all rows with a larger sample."
            findings = [*findings, Finding("poisoning/sampled", tier, Severity.LOW, message, mitigation=advice)]
        sha256 = None if resource.sha256 is None else resource.sha256.hex()
        made.append(FileResult(path, tier, table.formats.get(path), sha256, tuple(findings)))
    return TargetResult(str(target.reference), tuple(made), settings.digest, dict(table.skipped))
