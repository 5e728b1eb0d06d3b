"""What the readers of model, data and package formats state, independent of the document it ends up in.

A reader looks at headers. It never loads a tensor, never unpickles, never executes or imports what it reads, and it
bounds what it reads by explicit limits: every byte it sees may be written by an attacker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named tensor of a model file."""

    name: str
    dtype: str
    """Lower-case field name: ``f32``, ``bf16``, ``i8``, ``q4_k``, …"""
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Number of elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count


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
class ModelFile:
    """What one model file's own bytes say."""

    path: str
    format: str
    """``safetensors``, ``gguf``, ``onnx``, ``pytorch-zip``, ``pytorch-legacy``, ``keras``, ``hdf5``, ``saved-model``,
    ``joblib``, ``pickle``, ``xgboost``, ``lightgbm``, ``catboost``, ``numpy``, …"""
    architecture: str | None = None
    """Class or graph name: ``BertForTokenClassification``, ``llama``, ``RandomForestClassifier``."""
    tensors: Sequence[Tensor] = ()
    """All named tensors with dtype and shape; empty where the format has none."""
    parameters: int | None = None
    """Number of parameters; None when the bytes do not say."""
    quantisation: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The format's own metadata, short values only: producer, framework version, opset, objective, …"""
    warnings: Sequence[str] = ()
    """What could not be read and why; a reader that gives up says so here and does not raise."""


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


class ModelReader(Protocol):
    """Reads one family of model formats."""

    def recognises(self, path: str, head: bytes) -> bool:
        """Whether this reader wants the file, judged by its first 4 KiB, with the path only as a tie-breaker."""
        ...

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Facts from the headers. Raises nothing for bad content: what is wrong becomes a warning."""
        ...


class DataReader(Protocol):
    """Reads one family of data formats."""

    def recognises(self, path: str, head: bytes) -> bool:
        """Whether this reader wants the file."""
        ...

    def read(self, path: str, file: BinaryIO, size: int) -> DataFile:
        """Schema and row count. Raises nothing for bad content: what is wrong becomes a warning."""
        ...
