"""What a verified load is given: a judge of evidence, rules for names, an inspection of the bytes. Plain values.

The floor above wires them together (`assay.load`); nothing here trusts a file because of where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from assay.collect.scan.models.interface import FileResult, Rules
from assay.targets.interface import Options, Target


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the evidence says of a target."""

    verdict: str
    """``accepted``, ``rejected`` or ``undecided``; only the first lets a file be loaded."""
    reason: str
    """One sentence."""
    scanned: frozenset[str] = frozenset()
    """Names of files that signed scan evidence found safe, in these bytes, by the very rules in force here."""


OpenTarget = Callable[[tuple[str, ...], bool], Target]
"""Opens the same held target limited to some globs, with (True) or without the default ignores."""


class Judge(Protocol):
    """Verifies the evidence about a target under the policy in force."""

    def __call__(self, target: Target, again: OpenTarget, paths: tuple[str, ...]) -> Judgement:
        """Reads the target through its own methods only, so that what it reads is what is loaded. ``paths`` are the
        globs that the target is limited to; empty for all of it.
        """
        ...


Signed = Callable[[Target, str], Sequence[bytes]]
"""For a target and the name of a file in it: the BLAKE3 digests of its segments (32 bytes each, concatenated) in every
statement that an expected signer signed, the newest first. Empty when there is none. Reads no file."""


Inspect = Callable[[Target, Rules], Sequence[FileResult]]
"""Looks through all files of a target for what loading them would run; only `Tier.NONE` and `Tier.SAFE` are loaded."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Everything that a verified load needs beside the path."""

    judge: Judge
    rules: Rules
    inspect: Inspect
    signed: Signed
    options: Options = field(default_factory=Options)
    """How targets are read; ``trust_cache`` takes digests of unchanged files from the authenticated cache."""
    whole: bool = False
    """Targets are always judged as a whole, as a policy demands; otherwise the part that is loaded will do."""
    allow: frozenset[str] = frozenset()
    """Names, ``module.Class``, that may be resolved although no list has them."""
