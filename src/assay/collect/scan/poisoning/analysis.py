"""Runs every analysis over one table and gathers what each says: reasons for rows, and groups of rows.

The order is the argument: near-duplicates first, since every later model must not be taught by copies of what it
judges; then single rows; then what acts together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from assay.collect.scan.models.interface import Severity
from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning import contributions, neighbours
from assay.collect.scan.poisoning.columns import Matrix, Numbers
from assay.collect.scan.poisoning.features import Features, Masked
from assay.collect.scan.poisoning.interface import Group, Marks, Row
from assay.collect.scan.poisoning.learning import Judge, confident_errors
from assay.collect.scan.poisoning.neighbours import Near
from assay.collect.scan.poisoning.triggers import error_rates, triggers

LISTED = 1_000
"""Rows of a group that are listed."""

SURE = 0.25
"""Part of a model's contradictions that are sure ones and that neighbours confirm, below which classes overlap."""

FAR = 6.0
"""Spreads from its class at which a row is an outlier."""


@dataclass(slots=True)
class Found:
    """What the analyses say."""

    marks: Marks = field(default_factory=Marks)
    groups: list[Group] = field(default_factory=list)
    suggested: dict[int, int] = field(default_factory=dict)
    """Position to the class that the row more likely has."""


class Analysis:
    """One table under all analyses."""

    def __init__(self, features: Features, rows: list[Row], keys: list[bytes], seed: int, masked: Masked) -> None:
        self.features = features
        self.masked = masked
        self.rows = rows
        self.y = features.y
        self.near: Near = neighbours.near(features, keys)
        self.judge = Judge(features.matrix, self.y, len(features.labels), seed)
        self.found = Found()
        self.usual = 0.0
        self._rates: Matrix = np.zeros(0)
        self._votes: Matrix = np.zeros((0, 0))

    def run(self, new: Numbers | None, relabelled: Numbers | None) -> Found:
        """Everything. ``new`` and ``relabelled`` are positions, from a comparison with an earlier version."""
        self._outliers()
        self._duplicates()
        labelled = self.y >= 0
        if len(np.unique(self.y[labelled])) < 2 or labelled.sum() < 20:
            if new is not None:
                self._news_without_labels(new)
            return self.found
        probabilities = self.judge.crossed(self.near.cluster)
        wrong = (probabilities.argmax(axis=1) != self.y) & labelled
        self.usual = float(wrong.sum() / labelled.sum())
        self._rates = error_rates(probabilities, self.y)
        contradicted = self._labels(probabilities)
        self._conflicts()
        self._triggers()
        self._sources()
        self._block(contradicted)
        if relabelled is not None:
            self._relabelled(relabelled)
        if new is not None:
            self._news(new)
        return self.found

    def _name(self, label: int) -> str:
        return repr(one_line(self.features.labels[label], 60))

    def _group(self, kind: str, severity: Severity, text: str, rows: Numbers, label: int | None = None) -> None:
        listed = tuple(self.rows[int(i)] for i in rows[:LISTED])
        name = None if label is None else self.features.labels[label]
        self.found.groups.append(Group(kind, severity, text, len(rows), listed, name))

    def _outliers(self) -> None:
        distance = neighbours.far(self.near, self.features.matrix, self.y)
        along = neighbours.spectral(self.features.matrix, self.y)
        for i in np.flatnonzero(distance > FAR).tolist():
            text = f"its nearest rows of its class are unusually far away ({distance[i]:.1f} spreads)"
            self.found.marks.add(i, "outlier", distance[i] / (2 * FAR), text)
        for i in np.flatnonzero(along > FAR).tolist():
            text = f"it lies {along[i]:.1f} spreads out along its class's strongest direction"
            self.found.marks.add(i, "spectral", along[i] / (2 * FAR), text)

    def _labels(self, probabilities: Matrix) -> Numbers:
        """Label errors and neighbours; returns 1 for each row whose label one of them contradicts."""
        y = self.y
        errors, suggested = confident_errors(probabilities, y)
        for i, other in zip(errors, suggested, strict=True):
            margin = probabilities[i, other] - probabilities[i, y[i]]
            text = (
                f"a model that did not see it gives {self._name(other)} {probabilities[i, other]:.0%} "
                f"and its label {self._name(y[i])} {probabilities[i, y[i]]:.0%}"
            )
            self.found.marks.add(i, "label-error", max(margin, 0.05), text)
            self.found.suggested[int(i)] = int(other)
        vote = self._votes = neighbours.votes(self.near, y, self.judge.classes)
        best = vote.argmax(axis=1)
        against = np.flatnonzero((y >= 0) & (best != y) & (vote.max(axis=1) >= 0.6))
        for i in against.tolist():
            text = f"{vote[i, best[i]]:.0%} of its nearest rows have the label {self._name(best[i])}"
            self.found.marks.add(i, "neighbours", vote[i, best[i]] - vote[i, y[i]], text)
        both = np.intersect1d(errors, against)
        marks = np.zeros(len(y), dtype=np.int64)
        marks[np.union1d(errors, against)] = 1
        if len(both):
            rate = len(both) / int((y >= 0).sum())
            # Where classes overlap, an honest model is often wrong, and seldom sure of it.
            sure = np.sum((vote[both, y[both]] <= 0.3) & (probabilities[both, y[both]] <= 0.2))
            overlap = sure < SURE * self.usual * (y >= 0).sum()
            severity = Severity.INFO if rate <= 0.03 else Severity.LOW if rate <= 0.06 or overlap else Severity.MEDIUM
            few = "" if severity != Severity.INFO else "; so many are usual in honest data"
            text = (
                f"{len(both):,} rows ({rate:.1%}) have a label that both a model and their neighbours contradict{few}"
            )
            self._group("label-errors", severity, text, both)
        return marks

    def _duplicates(self) -> None:
        clusters, counts = np.unique(self.near.cluster, return_counts=True)
        rows = np.flatnonzero(np.isin(self.near.cluster, clusters[counts > 1]))
        if len(rows):
            text = f"{len(rows):,} rows ({len(rows) / len(self.rows):.1%}) have near-duplicates"
            many = f"{text}: {int((counts > 1).sum()):,} clusters, the largest of {int(counts.max()):,} rows"
            self._group("near-duplicates", Severity.INFO, many, rows)

    def _conflicts(self) -> None:
        rows: list[int] = []
        for members, majority in neighbours.conflicts(self.near, self.y):
            for i in members:
                if majority is None or self.y[i] != majority:
                    rows.append(int(i))
                    other = f"; most of them have {self._name(majority)}" if majority is not None else ""
                    text = f"it is nearly the same as {len(members) - 1:,} other rows, of which some have another label"
                    self.found.marks.add(i, "duplicate-conflict", 0.9 if majority is not None else 0.6, text + other)
                    if majority is not None:
                        self.found.suggested.setdefault(int(i), majority)
        if rows:
            # Where classes overlap, equal rows have several labels, and so have the rows around them.
            sure = int((self._votes[rows, self.y[rows]] <= 0.3).sum())
            many = sure >= 5 and sure > 0.005 * len(self.y) and sure >= 0.4 * len(rows)
            severity = Severity.MEDIUM if many else Severity.LOW
            text = f"{len(rows):,} rows are near-duplicates of rows with another label"
            self._group("duplicate-conflict", severity, text, np.array(sorted(rows)))

    def _triggers(self) -> None:
        for trigger in triggers(self.features, self.judge, self._rates, self.near.cluster, self.masked):
            rows = trigger.rows
            text = (
                f"{len(rows):,} rows share {trigger.name} and the label {self._name(trigger.label)}, though a model "
                f"without them gives {trigger.wrong:.0%} of them another label: what they share works like a trigger"
            )
            severity = Severity.HIGH if trigger.wrong >= 0.6 else Severity.MEDIUM
            self._group("trigger", severity, text, rows, trigger.label)
            for i in rows:
                self.found.marks.add(i, "trigger", 0.5 + trigger.wrong / 2, f"it has {trigger.name}, like a trigger")

    def _sources(self) -> None:
        listed = contributions.by_source(self.features.sources)[: contributions.TESTED]
        for name, rows in listed:
            verdict = contributions.judge_rows(rows, self.judge, self.near.cluster, self.usual, len(listed))
            if verdict is None or not verdict.odd:
                continue
            shown = repr(one_line(name, 60))
            text = (
                f"{verdict.rate:.0%} of {len(verdict.rows):,} rows from {shown} contradict what all other rows teach "
                f"(usual: {self.usual:.0%}){_voice(verdict, self._name(verdict.label))}"
            )
            severity = Severity.HIGH if verdict.rate >= 0.5 or verdict.agrees_too_well else Severity.MEDIUM
            self._group("source", severity, text, verdict.contradicted, verdict.label)
            for i in verdict.contradicted:
                why = f"it came from {shown}, whose rows contradict the rest"
                self.found.marks.add(i, "source", verdict.rate, why)

    def _block(self, contradicted: Numbers) -> None:
        files = [row.file for row in self.rows]
        stretch = contributions.densest(files, contradicted, float(contradicted.mean()))
        if stretch is None:
            return
        first, last = self.rows[int(stretch[0])], self.rows[int(stretch[-1])]
        inside = stretch[contradicted[stretch] == 1]
        text = (
            f"{len(inside):,} of {len(stretch):,} rows that stand together ({first} to {last.number:,}) have labels "
            "that the rest contradicts"
        )
        self._group("block", Severity.MEDIUM, text, inside)
        for i in inside:
            self.found.marks.add(
                i, "block", len(inside) / len(stretch), "it stands among rows with contradicted labels"
            )

    def _relabelled(self, rows: Numbers) -> None:
        if not len(rows):
            return
        text = f"{len(rows):,} rows are in the earlier version too, with another label"
        self._group("relabelled", Severity.HIGH if len(rows) >= 5 else Severity.MEDIUM, text, rows)
        for i in rows:
            self.found.marks.add(i, "relabelled", 1.0, "the earlier version has the same row with another label")

    def _news(self, rows: Numbers) -> None:
        if not len(rows):
            return
        verdict = contributions.judge_rows(rows, self.judge, self.near.cluster, self.usual, 1)
        text = f"{len(rows):,} rows are new"
        if verdict is None:
            self._group("new", Severity.INFO, text, rows)
            return
        voice = _voice(verdict, self._name(verdict.label))
        if verdict.odd:
            text += f", and {verdict.rate:.0%} of them contradict what the earlier rows teach (usual: {self.usual:.0%})"
            severity = Severity.HIGH
            rows = verdict.contradicted
        else:
            severity = Severity.MEDIUM if verdict.agrees_too_well else Severity.INFO
            rows = verdict.rows
        self._group("new", severity, text + voice, rows, verdict.label if verdict.agrees_too_well else None)
        if severity != Severity.INFO:
            for i in rows:
                self.found.marks.add(i, "new", verdict.rate if verdict.odd else 0.5, f"it is new{voice}")

    def _news_without_labels(self, rows: Numbers) -> None:
        if not len(rows):
            return
        clusters = self.near.cluster[rows]
        again = float(
            (np.unique(clusters, return_counts=True)[1][np.unique(clusters, return_inverse=True)[1]] > 1).mean()
        )
        severity = Severity.MEDIUM if len(rows) >= contributions.LEAST and again >= 0.5 else Severity.INFO
        text = f"{len(rows):,} rows are new" + (
            f", and {again:.0%} of them are nearly copies of each other" if severity != Severity.INFO else ""
        )
        self._group("new", severity, text, rows)


def _voice(verdict: contributions.Verdict, name: str) -> str:
    """`, and they agree too well: …`, or nothing."""
    said = []
    if verdict.share >= 0.9 and verdict.elsewhere <= 0.6:
        said.append(f"{verdict.share:.0%} have the label {name} (elsewhere {verdict.elsewhere:.0%})")
    if verdict.repeats >= 0.5:
        said.append(f"{verdict.repeats:.0%} are nearly copies of each other")
    return f", and they agree too well: {', '.join(said)}" if said else ""
