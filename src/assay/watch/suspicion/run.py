"""`suspect`: new data beside the attested training data, every signal, and the pattern that they add up to.

The scan for poisoning is run on the new rows where a signal stands out: it names rows, triggers and contributions. The
caller proves that the reference is what was attested; a poisoned reference teaches whatever its poisoner wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from assay.watch.suspicion.interface import Pattern, Settings, Signal, SourceShare, Suspicion

if TYPE_CHECKING:
    import polars

    from assay.collect.scan.poisoning.columns import Numbers
    from assay.collect.scan.poisoning.features import Features
    from assay.collect.scan.poisoning.interface import Settings as ScanSettings
    from assay.collect.scan.poisoning.table import Table
    from assay.watch.suspicion.opinion import Opinion
    from assay.watch.suspicion.signals import PointedAt

SHOWN = 1_000
"""Rows that are listed."""

CLOSER = 1.5
"""Standard deviations of contradictions beyond the usual from which the scan for poisoning is run as well."""


def suspect(
    reference: polars.DataFrame,
    new: polars.DataFrame,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    *,
    history: Sequence[float] = (),
) -> Suspicion:
    """Poisoning or drift? ``history`` holds the rates of contradictions of earlier windows, oldest first.

    Labels are classes; without them only inputs and copies are looked at, and the answer says so. Raises `UsageError`
    for a column that is not there, `UndecidedError` where the two have nothing in common, `MissingExtraError`.
    """
    from assay.collect.scan.poisoning import features as making
    from assay.collect.scan.poisoning import table as reading
    from assay.collect.scan.poisoning.interface import Settings as ScanSettings
    from assay.collect.scan.poisoning.libraries import library
    from assay.watch.suspicion.judge import judge, onset
    from assay.watch.suspicion.rows import joined

    if min(reference.height, new.height) < settings.least:
        text = (
            f"{reference.height:,} rows of reference and {new.height:,} new ones are too few: {settings.least:,} needed"
        )
        return Suspicion(Pattern.UNDECIDED, text, (), (), (), reference.height, new.height)
    table, before, positions = joined(reference, new, settings)
    scan = ScanSettings(
        label=settings.label, source=settings.source, ignore=settings.ignore, text=settings.text, seed=settings.seed
    )
    features = making.build(table, scan, settings.seed)
    keys = [reading.content_key(cells, features.left_out) for cells in table.cells]
    seen = _Seen(table, features, keys, before, scan)
    # More threads than cores that are free make scikit-learn's loops many times slower, and these are short.
    with library("threadpoolctl").threadpool_limits(limits=1):
        seen.look()
        if seen.odd():
            seen.scan_closely()
    pattern, text = judge(seen.signals)
    listed = seen.worst() if pattern.suspect else []
    return Suspicion(
        pattern,
        text,
        tuple(seen.signals.values()),
        tuple(seen.shares),
        tuple(int(positions[i]) for i in listed[:SHOWN]),
        before,
        len(positions),
        onset(history, seen.rate) if pattern.suspect else None,
        tuple(seen.groups),
        seen.label_rates,
        (*features.notes, *seen.notes),
    )


class _Seen:
    """What is known of the new rows so far."""

    def __init__(self, table: Table, features: Features, keys: list[bytes], before: int, scan: ScanSettings) -> None:
        self._table, self._features, self._keys, self._before, self._scan = table, features, keys, before, scan
        self._marks: list[Numbers] = []
        self._opinion: Opinion | None = None
        self.signals: dict[str, Signal] = {}
        self.shares: list[SourceShare] = []
        self.label_rates: dict[str, tuple[float, float]] = {}
        self.rate = 0.0
        """Of contradictions."""
        self.groups: list[str] = []
        self.notes: list[str] = []

    def look(self) -> None:
        """The signals that are cheap."""
        import numpy as np

        from assay.collect.scan.poisoning.neighbours import near
        from assay.watch.suspicion import signals
        from assay.watch.suspicion.opinion import opinions

        before, matrix, y = self._before, self._features.matrix, self._features.y
        self.signals["drift"] = signals.drift(matrix[:before], matrix[before:])
        copied = signals.copies(near(self._features, self._keys).cluster, before)
        self._add("copies", copied)
        taught = np.flatnonzero(y[:before] >= 0)
        if len(np.unique(y[taught])) < 2 or not (y[before:] >= 0).any():
            self.notes.append("labels were not looked at: poison in labels could not be seen")
            return
        classes = len(self._features.labels)
        model, around = opinions(matrix[taught], y[taught], matrix[before:], y[before:], classes, self._scan.seed)
        self._opinion = model
        self.rate = model.excess()[0]
        self.signals["labels"] = signals.labels(model, "labels", "a model of the reference")
        self.signals["neighbours"] = signals.labels(around, "neighbours", "the nearest rows of the reference")
        self._add("place", signals.place(matrix[before:], model))
        self._add("sign", signals.sign(self._features.exact, self._features.exact_names, y, before))
        repeated = np.zeros(len(matrix) - before)
        repeated[copied.rows] = 1.0
        names = self._features.sources[before:] if self._with_sources() else []
        self.signals["sources"], self.shares = signals.sources(names, model, repeated)
        self.signals["label-rate"], self.label_rates = signals.label_rate(
            y[:before], y[before:], model.probabilities, self._features.labels
        )

    def odd(self) -> bool:
        """Whether a closer look is worth its time: a small backdoor lifts the contradictions only a little."""
        if any(signal.fires for name, signal in self.signals.items() if name != "drift"):
            return True
        return self._opinion is not None and self._opinion.excess()[2] > CLOSER

    def scan_closely(self) -> None:
        """The scan for poisoning over all rows, of which the new ones are suspect: triggers, contributions, blocks."""
        import numpy as np

        from assay.collect.scan.models.interface import Severity
        from assay.collect.scan.models.judging import one_line
        from assay.collect.scan.poisoning import features as making
        from assay.collect.scan.poisoning.analysis import Analysis

        seed = self._scan.seed
        masked = making.Masked(self._table, self._scan, self._features, seed)
        analysis = Analysis(self._features, self._table.rows, self._keys, seed, masked)
        found = analysis.run(np.arange(self._before, len(self._table.rows)), None)
        place = {row: i for i, row in enumerate(self._table.rows)}
        triggers = 0
        for group in found.groups:
            rows = np.array([place[row] for row in group.rows], dtype=np.int64)
            fresh = rows[rows >= self._before] - self._before
            if group.severity in (Severity.INFO, Severity.LOW) or len(fresh) < len(rows) / 2:
                continue
            self.groups.append(one_line(group.text, 400))
            if group.kind == "trigger":
                triggers += 1
                self._marks.insert(0, fresh)
        text = next(
            (group.text for group in found.groups if group.kind == "trigger"), "no rows have a trigger in common"
        )
        self.signals["trigger"] = Signal("trigger", float(triggers), 0.0, triggers > 0, one_line(text, 400))

    def worst(self) -> list[int]:
        """Positions of suspect rows: those that a signal points at first, then the strongest contradictions."""
        import numpy as np

        listed = [int(i) for rows in self._marks for i in rows]
        if self._opinion is not None:
            opinion = self._opinion
            order = np.argsort(-opinion.residual, kind="stable")
            listed += [int(i) for i in order if opinion.against[i] and opinion.judged[i]]
        return list(dict.fromkeys(listed))

    def _add(self, name: str, seen: PointedAt) -> None:
        self.signals[name] = seen.signal
        if seen.signal.fires:
            self._marks.append(seen.rows)

    def _with_sources(self) -> bool:
        return "source" in self._features.roles.values()
