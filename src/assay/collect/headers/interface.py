"""What a model file's own header says, for those who list it and for those who scan it.

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


class ModelReader(Protocol):
    """Reads one family of model formats."""

    def recognises(self, path: str, head: bytes) -> bool:
        """Whether this reader wants the file, judged by its first 4 KiB, with the path only as a tie-breaker."""
        ...

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile:
        """Facts from the headers. Raises nothing for bad content: what is wrong becomes a warning."""
        ...
