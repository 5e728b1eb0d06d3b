"""Which operations or layers a library has itself: whatever a graph names beside them comes from somewhere else.

Reads the lists that ship with the package (`tools/operations.py` writes them); imports no library. A list says what
exists, and which arguments lead outside of the model; it never says that an operation is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Operations:
    """One list."""

    library: str
    """The libraries and their versions, as they are told of."""
    domains: Mapping[str, frozenset[str]]
    """Names of operations by their domain. Keras and TensorFlow have the empty one; of TensorFlow, ``calling`` has
    those that call functions.
    """
    outside: Mapping[str, tuple[str, ...]]
    """For operations that are told a file, a folder or a machine: which arguments say so. ``2`` is the third input,
    ``.path`` an attribute.
    """


@cache
def listed(name: str) -> Operations:
    """The list called ``name``: ``keras``, ``onnx`` or ``tensorflow``."""
    library, domain = "", ""
    domains: dict[str, set[str]] = {}
    outside: dict[str, tuple[str, ...]] = {}
    for line in _text(name).splitlines():
        words = line.split()
        if line.startswith(" "):
            domains[domain].update(words)
        elif words[0] == "domain":
            domain = words[1].strip("-")
            domains[domain] = set()
        elif words[0] == "outside":
            outside[words[1]] = tuple(words[2:])
        elif words[0] == "library:":
            library = " ".join(words[1:])
    return Operations(library, {key: frozenset(names) for key, names in domains.items()}, outside)


def texts() -> Iterator[tuple[str, bytes]]:
    """Every list as it is stored, for the digest of all rules."""
    for name in ("keras", "onnx", "tensorflow"):
        yield f"operations/{name}.txt", _text(name).encode()


def _text(name: str) -> str:
    return resources.files(__package__).joinpath("data", "operations", f"{name}.txt").read_text("ascii")
