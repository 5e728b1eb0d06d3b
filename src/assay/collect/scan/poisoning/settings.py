"""The ``scan.poisoning`` section of `assay.yaml`: how a project's data are read, and what a scan of them fails on.

A slip of the pen is an error, never a default. Paths in it are relative to the file; resolving them is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from assay.collect.scan.models.interface import TargetResult
from assay.collect.scan.models.settings import Gate
from assay.collect.scan.poisoning.interface import Settings
from assay.errors import DocumentError

DEFAULT = ("findings:medium",)
"""What a scan for poisoning fails on when nobody says otherwise: honest data has findings of ``low``."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section."""

    label: str | None = None
    """Column with the class of each row; empty where there is none."""
    text: list[str] = []
    """Columns with text."""
    source: str | None = None
    """Column that says who contributed a row."""
    ignore: list[str] = []
    """Columns that are no content."""
    embeddings: str | None = None
    """File with a vector for each row."""
    since: list[str] = []
    """Earlier versions that the data set is compared with; each must be attested."""
    since_keys: list[str] = []
    """Public keys (PEM) of those who may have attested them; without any, whoever is trusted for the target."""
    sample: int | None = None
    """Rows of a larger data set that are analysed. Naming a number says that a sample of it is enough."""
    seed: int = 0
    """Of every random step."""
    fail_on: list[str] = []
    """What a scan fails on when no flag says so: see `Gate.of`."""

    def over(self, other: Section) -> Section:
        """What this one says, and where it says nothing what ``other`` says."""
        said = {
            name: value for name in self.__struct_fields__ if (value := getattr(self, name)) != getattr(_NOTHING, name)
        }
        return msgspec.structs.replace(other, **said)

    def settings(self) -> Settings:
        """What the scan itself needs of it."""
        made = Settings(self.label, tuple(self.text), self.source, tuple(self.ignore), seed=self.seed)
        return made if self.sample is None else replace(made, sample=self.sample)

    def gate(self) -> Gate:
        """What makes it fail. Raises `UsageError` for a word that is nothing to fail on."""
        return Gate.of(self.fail_on or DEFAULT)


_NOTHING = Section()


def parse(section: Mapping[str, Any]) -> Section:
    """The section of a configuration. Raises `DocumentError` naming the field."""
    try:
        made = msgspec.convert(dict(section), Section)
    except msgspec.ValidationError as error:
        raise DocumentError(f"assay.yaml: scan.poisoning: {error}") from None
    made.gate()
    return made


def undecided(result: TargetResult, *, sample_is_enough: bool) -> Sequence[str]:
    """Why the answer is not known to be good although nothing reached the gate, one sentence each; empty: it is.

    A sample is enough only for whoever said so: rows that nobody looked at are not clean.
    """
    from assay.collect.scan.poisoning.findings import SAMPLED, UNLABELLED

    rules = {finding.rule: finding.message for item in result.files for finding in item.findings}
    made = [f"{path} was not scanned: {why}" for path, why in result.skipped.items()]
    if SAMPLED in rules and not sample_is_enough:
        made.append(f"{rules[SAMPLED]} (--sample N says that N rows are enough)")
    if UNLABELLED in rules:
        made.append(f"{rules[UNLABELLED]} (--label COLUMN names it, --no-label says that there is none)")
    return made
