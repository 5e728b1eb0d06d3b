"""Tests of a policy, as written beside it: which evidence is there, who signed it, and what the verdict must be.

Signers are stated, not proved: what is tested is the policy's logic. Only a ``bundle:`` is really verified, by whoever
runs the tests. Reading refuses every key that is not known, with its line.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from assay import strict_yaml
from assay.errors import DocumentError
from assay.evidence.predicates import printable
from assay.policy.reading.problems import near
from assay.policy.verdict import Verdict


class Fixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Base: keys with hyphens, unknown keys refused."""


class Target(Fixture, frozen=True):
    """What is decided about."""

    name: str = "target"
    kind: str | None = None
    """``model``, ``dataset``, …: what the caller says it is."""
    scheme: str = "dir"
    files: str | None = None
    """A folder or file beside the test: then its real contents are meant. Needed with ``bundle:``."""


class Evidence(Fixture, frozen=True):
    """One piece, in the order in which it was stored: later ones are newer."""

    type: str | None = None
    """Short name or URI, as in ``require:``."""
    predicate: dict[str, Any] = {}
    file: str | None = None
    """JSON file beside the test that holds the predicate, instead of ``predicate``."""
    bundle: str | None = None
    """Signed documents beside the test, which are really verified; then nothing else stands here."""
    signed_by: str | list[str] | None = None
    """GROUP or GROUP/PERSON; left out: one person who is in every group. An empty list: nobody."""
    age: str = "1h"
    time: str | None = None
    """RFC 3339, instead of ``age``."""
    proved_time: bool = False
    """A log or an authority proves the time."""
    labels: dict[str, str] = {}
    about: str = "target"
    """Something else by name, which other evidence can name as an input."""
    inputs: list[str] = []
    """Names of what it was made from."""
    context: dict[str, str] = {}
    """What the statement says of where it was made: ``{git_commit: …, run_id: …}``."""
    discarded: bool = False
    """A later entry of the store takes it back."""


class Expect(Fixture, frozen=True):
    """What must come out; at least one of the two."""

    verdict: Verdict | None = None
    rules: dict[str, Verdict] = {}
    """Rule id to its own verdict."""


class Case(Fixture, frozen=True):
    """One test."""

    name: str
    expect: Expect
    target: Target = Target()
    gate: str | None = None
    labels: dict[str, str] = {}
    inputs: dict[str, Any] = {}
    """Values for the policy's inputs."""
    now: str | None = None
    """Time of the decision, RFC 3339; left out: the time of the test."""
    evidence: list[Evidence] = []
    trusted: list[str] = []
    """Public key files beside the test: whom ``trusted`` means for a ``bundle:``."""


class Tests(Fixture, frozen=True):
    """A file of tests."""

    format: int = msgspec.field(name="assay-policy-test")
    policy: str = "policy.yml"
    """The policy's file beside this one, or ``builtin:NAME``."""
    cases: list[Case] = []
    lines: tuple[int, ...] = ()
    """Line of each case, filled in by the reader."""


def read(data: bytes, name: str) -> Tests:
    """The tests in a file. Raises `DocumentError` (``name:line: …``) for whatever is wrong."""
    document, lines = strict_yaml.loads_with_lines(data, name)
    if isinstance(document, dict) and "lines" in document:
        raise DocumentError(f"{name}:{lines.at('lines')}: unknown key 'lines' in the tests")
    try:
        tests = msgspec.convert(document, Tests)
    except msgspec.ValidationError as error:
        raise _wrong(error, document, lines, name) from None
    if tests.format != 1:
        raise DocumentError(f"{name}:{lines.at('assay-policy-test')}: version {tests.format} is not known here, only 1")
    if not tests.cases:
        raise DocumentError(f"{name}:{lines.at('cases')}: there is no case", hint="add one under cases")
    names: set[str] = set()
    for i, case in enumerate(tests.cases):
        at = f"{name}:{lines.at('cases', i)}: the case {case.name[:100]!r}"
        if case.name in names:
            raise DocumentError(f"{at} stands twice")
        names.add(case.name)
        if case.expect.verdict is None and not case.expect.rules:
            raise DocumentError(f"{at} expects nothing", hint="write expect: {verdict: pass}")
        for j, piece in enumerate(case.evidence):
            _check(piece, case, f"{name}:{lines.at('cases', i, 'evidence', j)}: evidence {j + 1}")
    return msgspec.structs.replace(tests, lines=tuple(lines.at("cases", i) for i in range(len(tests.cases))))


def _check(piece: Evidence, case: Case, place: str) -> None:
    if piece.bundle is not None:
        if piece != Evidence(bundle=piece.bundle):
            raise DocumentError(f"{place} has a bundle, which says everything itself", hint="leave the other keys out")
        if case.target.files is None:
            raise DocumentError(
                f"{place} has a bundle and the target has no files that it could be about",
                hint="write target: {files: FOLDER}, which lies beside the test",
            )
        return
    if piece.type is None:
        raise DocumentError(f"{place} has neither a type nor a bundle")
    if piece.file is not None and piece.predicate:
        raise DocumentError(f"{place} has both a predicate and a file")
    if piece.time is not None and piece.age != "1h":
        raise DocumentError(f"{place} has both an age and a time")


def _wrong(error: msgspec.ValidationError, document: Any, lines: strict_yaml.Lines, name: str) -> DocumentError:
    reason, _, where = printable(str(error)).partition(" - at `$")
    path: list[str | int] = []
    for word, position in re.findall(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]", where):
        path.append(int(position) if position else word)
    unknown = re.search(r"unknown field `([^`]*)`", reason)
    hint = None
    if unknown is not None:
        path.append(unknown[1])
        reason = f"unknown key {unknown[1][:100]!r}"
        hint = near(unknown[1], _known(path[:-1]))
    return DocumentError(f"{name}:{lines.at(*path)}: {reason[:300]}", hint=hint)


def _known(path: list[str | int]) -> list[str]:
    """The keys that may stand at a path."""
    words = [word for word in path if isinstance(word, str)]
    kinds: dict[str, type[msgspec.Struct]] = {"evidence": Evidence, "expect": Expect, "target": Target, "cases": Case}
    kind = kinds.get(words[-1], Tests) if words else Tests
    return [field.encode_name for field in msgspec.structs.fields(kind) if field.name != "lines"]
