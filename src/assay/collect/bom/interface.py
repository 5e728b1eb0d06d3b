"""What the readers of model, data and package formats state, independent of the document it ends up in.

A reader looks at headers. It never loads a tensor, never unpickles, never executes or imports what it reads, and it
bounds what it reads by explicit limits: every byte it sees may be written by an attacker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence as stated somewhere, never guessed."""

    expression: str
    """SPDX id or expression where it is one, else the text as written."""
    spdx: bool
    """Whether ``expression`` is a valid SPDX expression."""
    source: str
    """The file that states it, with ``#field`` where it stands in a field; its revision is the target's."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a data set."""

    name: str
    type: str
    """The format's logical type, or an inferred one: ``int64``, ``double``, ``string``, …"""


@dataclass(frozen=True, slots=True)
class DataFile:
    """What one data file's own bytes say."""

    path: str
    format: str
    """``parquet``, ``csv``, ``jsonl``, ``arrow``, ``image-folder``, …"""
    rows: int | None = None
    columns: Sequence[Column] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """What a model or data set card's YAML header and the ``config.json`` beside the weights say."""

    path: str
    kind: str
    """``model`` or ``dataset``."""
    title: str | None = None
    architecture: str | None = None
    """From ``config.json``: ``architectures[0]``, else ``model_type``."""
    task: str | None = None
    """``pipeline_tag`` or the card's task category."""
    base_models: Sequence[str] = ()
    datasets: Sequence[str] = ()
    languages: Sequence[str] = ()
    tags: Sequence[str] = ()
    licences: Sequence[Licence] = ()
    metrics: Sequence[Mapping[str, str]] = ()
    """``{"type": "accuracy", "value": "0.91", "dataset": "…", "task": "…"}``; values as written."""
    library: str | None = None
    quantisation: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Package:
    """A Python distribution, declared, locked or installed."""

    name: str
    """Normalised (PEP 503)."""
    version: str | None
    purl: str
    scope: str
    """``declared``, ``locked`` or ``installed``."""
    source: str
    """The file that says so."""
    requirement: str | None = None
    """As declared: ``numpy>=1.26; python_version < "3.13"``."""
    hashes: Sequence[tuple[str, str]] = ()
    """(algorithm as CycloneDX spells it, ``SHA-256``; hex)."""
    licences: Sequence[Licence] = ()
    direct: bool | None = None


class DataReader(Protocol):
    """Reads one family of data formats."""

    def recognises(self, path: str, head: bytes) -> bool:
        """Whether this reader wants the file."""
        ...

    def read(self, path: str, file: BinaryIO, size: int) -> DataFile:
        """Schema and row count. Raises nothing for bad content: what is wrong becomes a warning."""
        ...
