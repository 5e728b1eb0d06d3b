"""`report`: what the evidence in a store means in a framework's terms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api.anchors import TrustIn, anchors_of, named
from assay.api.keeping import open_store, store_path
from assay.config import Config, Trust, load
from assay.errors import AssayError, UndecidedError
from assay.evidence import documents
from assay.evidence.witnesses import weak, witnesses
from assay.policy import coverage, fields

if TYPE_CHECKING:
    from assay.evidence.statement import Statement
    from assay.evidence.stores.interface import Entry, Store
    from assay.evidence.trust.interface import Anchor
    from assay.policy.coverage.interface import Report

Progress = Callable[[int, int], None]
"""Told how many statements were looked at, and of how many."""


def report(
    framework: str,
    *,
    trust: TrustIn | None = None,
    directory: str | None = None,
    config: Config | None = None,
    since: datetime | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> Report:
    """The coverage of one framework (`assay.policy.coverage.FRAMEWORKS`) by the evidence in a store.

    A statement counts when somebody signed it whom ``trust`` names, else whom the configuration's rule for the target
    that the statement itself says it is about names, else the user's own key. ``since`` leaves out older entries.
    Raises `AssayError`.
    """
    config = config if config is not None else load(None)
    now = now or datetime.now(UTC)
    with open_store(directory, config=config) as store:
        entries = store.find(since=since)
        expected = Expected(trust or TrustIn(), config)
        records = _records(store, entries, expected, now, progress)
        place = os.path.basename(store_path(directory, config).rstrip("/")) or "store"
        made = coverage.assess(framework, records, _settings(config), now=now, store=place, head=str(store.head()))
        notes = (*store.notes, *expected.problems)
    if notes:
        from dataclasses import replace

        made = replace(made, warnings=(*made.warnings, *notes))
    return made


class Expected:
    """Who may have signed a statement, by the target that it says it is about."""

    def __init__(self, choice: TrustIn, config: Config) -> None:
        self._config = config
        self._chosen: list[Anchor] | None = None
        self._rules: dict[int, list[Anchor]] = {}
        self.problems: list[str] = []
        if choice != TrustIn() or not config.trust:
            try:
                self._chosen = anchors_of(choice)
            except UndecidedError as error:
                if choice != TrustIn():
                    raise
                self._chosen = []
                self.problems.append(f"{error.message}, so that no evidence counts as verified ({error.hint})")

    def of(self, statement: Statement) -> Sequence[Anchor]:
        """The expected signers of one statement."""
        if self._chosen is not None:
            return self._chosen
        said = statement.subjects[0].annotations.get("target")
        target = said.partition("@")[0] if isinstance(said, str) else f"unknown:{statement.subjects[0].name}"
        rule = self._config.trust_for(target)
        return self._named(rule) if rule is not None else ()

    def everybody(self) -> Sequence[Anchor]:
        """Whoever may sign a statement about anything at all."""
        if self._chosen is not None:
            return self._chosen
        return [anchor for rule in self._config.trust for anchor in self._named(rule)]

    def _named(self, rule: Trust) -> Sequence[Anchor]:
        if id(rule) not in self._rules:
            self._rules[id(rule)] = named(rule, self._config)
        return self._rules[id(rule)]


def _records(
    store: Store, entries: Sequence[Entry], expected: Expected, now: datetime, progress: Progress | None
) -> Iterator[coverage.Record]:
    for number, entry in enumerate(entries, 1):
        if progress is not None and number % 100 == 0:
            progress(number, len(entries))
        name = f"evidence {entry.blob[:12]}"
        try:
            bundle = documents.read_documents(store.read(entry), name)[0]
            statement = documents.unwrap_predicate(documents.statement_of(bundle, name))
        except AssayError as error:
            expected.problems.append(f"{name} cannot be read: {error.message}")
            continue
        proofs = witnesses(bundle, expected.of(statement), now)[0] if weak(statement) is None else []
        subject = statement.subjects[0]
        yield coverage.Record(
            entry.blob,
            entry.seq,
            statement.predicate_type,
            statement.predicate,
            subject.annotations,
            subject.name,
            tuple(dict.fromkeys(str(proof) for _, proof in proofs)),
            fields.when_made(statement),
        )


def _settings(config: Config) -> dict[str, Any]:
    """What is configured, as the frameworks' mappings ask for it."""
    import msgspec

    made: dict[str, Any] = msgspec.to_builtins(config)
    return made
