"""What a coverage report is: each row of a framework, and what backs it. Writers of formats read this and no store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """How well a row is backed, best first."""

    EVIDENCE = "evidence"
    """By verified evidence: signed by expected signers, saying what the row needs."""
    CONFIGURATION = "configuration"
    """Only by a setting: it is switched on, and nothing signed shows that it worked."""
    NOTHING = "nothing"
    """By nothing, though it could be."""
    NOT_ASSESSABLE = "not-assessable"
    """No tool can say: a matter of people and organisation. Never counted as covered."""


@dataclass(frozen=True, slots=True)
class Link:
    """An attestation that proves a claim."""

    digest: str
    """SHA-256 (hex) of the signed document in the store."""
    predicate_type: str
    subject: str
    """Name of the thing it is about."""
    signers: tuple[str, ...]
    """Proved ones, in words."""
    claim: str
    """What it shows for this row, one sentence."""
    time: datetime | None = None
    """When it was made, as it says."""
    entry: int = 0
    """Number of the store's entry; 0 for none."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that can back a row."""

    title: str
    """``Signed model (OpenSSF Model Signing)``."""
    kind: State
    """`State.EVIDENCE` or `State.CONFIGURATION`: what it amounts to when it is there."""
    met: bool
    how: str
    """What to run or set to get it: a command line, or a field of `assay.yaml`."""
    note: str = ""
    """Why it is not met, or which setting it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One technique, mitigation, subcategory, requirement or article."""

    id: str
    """``AML.T0019``, ``MAP 4.1``."""
    name: str
    """Today's name, from the framework's own text."""
    state: State
    why: str
    """One sentence: what backs it, or what would."""
    text: str = ""
    """The framework's own words, where its licence allows them."""
    url: str = ""
    aliases: tuple[str, ...] = ()
    """Earlier names."""
    measures: tuple[Measure, ...] = ()
    links: tuple[Link, ...] = ()
    """At most `MAX_LINKS`, newest first."""
    more_links: int = 0
    """How many more there are."""
    related: tuple[str, ...] = ()
    """Ids of rows of this framework: a technique's mitigations, a mitigation's techniques."""
    columns: tuple[str, ...] = ()
    """Sections of a matrix that it stands in (a technique's tactics); empty for a row that stands in none."""
    parent: str | None = None
    """A sub-technique's technique."""
    highlighted: bool = False
    """One of the rows that the published tables name."""


MAX_LINKS = 20
"""Attestations that are listed for one row."""


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of one kind: tactics' techniques, mitigations, a function's subcategories, a level's requirements."""

    id: str
    """``techniques``, ``mitigations``, ``GOVERN``."""
    name: str
    rows: tuple[Row, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Characteristic:
    """Another way to look at the same rows: the seven characteristics of trustworthy AI (AI RMF 1.0, section 3)."""

    id: str
    name: str
    state: State
    """The best of its rows is not enough: the state that most of its assessable rows have at least."""
    why: str
    rows: tuple[str, ...]
    """Ids of the rows that speak for it."""


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to "how are we protecting our AI pipelines?", in one framework's terms."""

    framework: str
    """``atlas``, ``airmf``, ``slsa``, ``ssdf``, ``owasp-ml``, ``owasp-llm``, ``eu-ai-act``."""
    name: str
    version: str
    """Of the framework's text that ships here."""
    source: str
    licence: str
    time: datetime
    store: str
    """Which store, without a path of this machine."""
    head: str
    """Its head, ``SEQ:DIGEST``."""
    statements: int
    """How many attestations were looked at."""
    trusted: int
    """Of how many the signer is one of the expected."""
    targets: tuple[str, ...]
    """Names of the things that trusted attestations are about, at most 100."""
    sections: tuple[Section, ...]
    columns: tuple[tuple[str, str], ...] = ()
    """Id and name of a matrix's columns in order (tactics); empty for a framework without one."""
    characteristics: tuple[Characteristic, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> Sequence[Row]:
        """All rows of all sections."""
        return [row for section in self.sections for row in section.rows]

    def count(self, state: State) -> int:
        """How many rows have this state."""
        return sum(row.state is state for row in self.rows)
