"""What a sample of the corpus is: the files of one attack or one honest artifact, and what is known about them.

Every payload is inert: it touches a file named ``canary`` in the working folder, or names the word where something
worse would stand. Nothing here destroys anything or reaches beyond the loopback interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CANARY = "canary"
"""The file that a payload makes, and the word by which the prover recognises what a payload did."""

SHELL = f"touch {CANARY}"
"""The payload as a shell command."""

CODE = f"open('{CANARY}', 'w').close()"
"""The payload as a Python expression."""

Label = Literal["malicious", "code", "honest"]
"""``code`` is code by value that does nothing bad; it must be shown and must not be called an attack."""

Family = Literal["pickle", "container", "other"]

Harm = Literal["code", "access", "denial", "corruption", "hidden", "opaque", "none"]
"""What loading does: runs code (or writes, or connects), only reads a file of the attacker's choice, exhausts, reads
other data than it seems to, nothing but carrying something hidden, or what cannot be seen from outside. For all but
``code``, saying that the file is not readable or not known is as good as naming an attack; for ``hidden`` any finding.
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A sample before it is written."""

    technique: str
    """Short, with hyphens; several drafts may share it."""
    files: Mapping[str, bytes]
    """Name to contents; the first one is what is loaded."""
    label: Label = "malicious"
    family: Family = "pickle"
    cve: str = ""
    """CVE or GHSA id, where there is one."""
    loader: str = ""
    """Name of the real loader that shows it (`corpus.loaders`); empty where none is installed."""
    harm: Harm = "code"


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample on disk; the rows of ``manifest.json``."""

    path: str
    """Its folder, relative to the corpus."""
    main: str
    """The file that is loaded, relative to the corpus."""
    label: Label
    family: Family
    technique: str
    cve: str
    loader: str
    harm: Harm
    verified: bool = False
    """The real loader was seen doing it."""
    proof: str = ""
    """How: ``file``, ``event NAME``, ``state``, ``limit``; for honest samples ``loaded``."""


def pickled(technique: str, data: bytes, name: str = "model.pkl", *, cve: str = "", loader: str = "pickle") -> Draft:
    """An attack that is one pickle."""
    return Draft(technique, {name: data}, cve=cve, loader=loader)


def container(technique: str, name: str, data: bytes, loader: str = "", *, cve: str = "") -> Draft:
    """An attack that is one container of pickles."""
    return Draft(technique, {name: data}, family="container", cve=cve, loader=loader)


def other(technique: str, files: Mapping[str, bytes], loader: str = "", *, cve: str = "", harm: Harm = "code") -> Draft:
    """An attack in another format."""
    return Draft(technique, files, family="other", cve=cve, loader=loader, harm=harm)


def honest(technique: str, name: str, data: bytes, loader: str, family: Family = "pickle") -> Draft:
    """An honest artifact that is one file."""
    return Draft(technique, {name: data}, label="honest", family=family, loader=loader, harm="none")


Drafts = Iterable[Draft]
