"""A profile as a YAML file that people read, comment and review, and the strict way back.

The order is always the same, so that a change of the profile is a change of its lines. A name means itself: there are
no globs but those that a profile makes (``folder/*.ending``), and a file that holds wider ones is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from assay import strict_yaml
from assay.collect.behaviour.interface import DIGESTED, Fact, Kind
from assay.collect.behaviour.model import MAX_DIGESTS, MAX_FACTS, MAX_VALUES, Known, Profile
from assay.errors import DocumentError

MAX_BYTES = 8 << 20
"""Largest profile that is read."""

_HEAD = """\
# What a step usually does, learned by 'assay run --learn'. Reviewed like code: each line is something that a later run
# may do without anybody being told. Counts say how many of the runs did it. Comments above a line are kept.
# $CODE, $IN, $OUT, $TMPDIR and $ENV are the run's folders; <n>, <date>, <hex>, <uuid> are what varies in a name.
"""
_HEXES = re.compile("[0-9a-f]{64}")
_CROWDED = re.compile(r"(?:\$(?:IN|OUT|CODE)\d*(?:/[^*]+)?|\$TMPDIR|/dev/shm)/\*(?:\.[^*/]+)?")
_CROWDS = (Kind.READ, Kind.OUTPUT, Kind.WRITE, Kind.DELETION, Kind.PROGRAM, Kind.LIBRARY, Kind.DESTINATION, Kind.LISTEN)
_ANY_PORT = re.compile(r"(?:tcp|udp) [^* ]+:\*")

_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Short = Annotated[str, msgspec.Meta(max_length=300)]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fact with more to it than how many runs had it."""

    runs: _Count
    sha256: Annotated[list[str], msgspec.Meta(max_length=MAX_DIGESTS)] = []
    refused: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: int
    step: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    runs: _Count
    pipeline: _Short = ""
    image: _Short = ""
    facts: dict[Kind, dict[str, _Count | _Entry]] = {}
    numbers: dict[str, Annotated[list[float], msgspec.Meta(max_length=MAX_VALUES)]] = {}


def dump(profile: Profile) -> bytes:
    """The file."""
    lines = list(_lines(profile))
    return (_HEAD + "\n".join(lines) + "\n").encode()


def _lines(profile: Profile) -> Iterator[str]:
    said = profile.comments
    yield from said.get(("version",), ())
    yield "version: 1"
    for name in ("step", "pipeline", "image"):
        value = getattr(profile, name)
        if value:
            yield from said.get((name,), ())
            yield f"{name}: {_quoted(value)}"
    yield from said.get(("runs",), ())
    yield f"runs: {profile.runs}"
    if profile.facts:
        yield from said.get(("facts",), ())
        yield "facts:"
    for kind in Kind:
        entries = sorted((fact.text, known) for fact, known in profile.facts.items() if fact.kind is kind)
        if not entries:
            continue
        yield from _indented(said.get(("facts", kind.value), ()), 2)
        yield f"  {kind.value}:"
        for text, known in entries:
            yield from _indented(said.get(("facts", kind.value, text), ()), 4)
            yield f"    {_quoted(text)}: {_entry(known)}"
    if profile.numbers:
        yield from said.get(("numbers",), ())
        yield "numbers:"
    for name, values in sorted(profile.numbers.items()):
        yield from _indented(said.get(("numbers", name), ()), 2)
        yield f"  {name}: [{', '.join(format(value, '.12g') for value in values)}]"


def _indented(comments: tuple[str, ...], columns: int) -> Iterator[str]:
    for comment in comments:
        yield " " * columns + comment


def _entry(known: Known) -> str:
    if not known.sha256 and not known.refused:
        return str(known.runs)
    more = [f"sha256: [{', '.join(_quoted(item) for item in known.sha256)}]"] if known.sha256 else []
    more += ["refused: true"] if known.refused else []
    return f"{{runs: {known.runs}, {', '.join(more)}}}"


def _quoted(text: str) -> str:
    """A string as JSON writes it, which is YAML too."""
    return json.dumps(text, ensure_ascii=False)


def load(data: bytes, name: str) -> Profile:
    """A profile from its file. Raises `DocumentError` with file and line for whatever is not exactly one."""
    value, lines = strict_yaml.loads_with_lines(data, name, max_bytes=MAX_BYTES)
    try:
        file = msgspec.convert(value, _File)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{name} is no profile: {_printable(str(error))[:300]}") from None
    if file.version != 1:
        raise DocumentError(f"{name}: profiles of version {file.version} are not known")
    if sum(map(len, file.facts.values())) > MAX_FACTS:
        raise DocumentError(f"{name} holds more than {MAX_FACTS:,} facts")
    facts = {}
    for kind, entries in file.facts.items():
        for text, entry in entries.items():
            known = Known(entry) if isinstance(entry, int) else Known(entry.runs, tuple(entry.sha256), entry.refused)
            if why := _wrong(kind, text, known, file.runs):
                line = lines.at("facts", kind.value, text)
                raise DocumentError(f"{name}:{line}: {_printable(text)[:200]!r}: {why}")
            facts[Fact(kind, text)] = known
    numbers = {key: tuple(values) for key, values in file.numbers.items()}
    comments = _comments(data, lines)
    return Profile(file.step, file.pipeline, file.image, file.runs, facts, numbers, comments)


def _wrong(kind: Kind, text: str, known: Known, runs: int) -> str | None:
    """Why an entry is not one that learning could have made."""
    if not text or len(text) > 5000 or not text.isprintable():
        return "not a name"
    if known.runs > runs:
        return f"it was in {known.runs} of {runs} runs"
    if known.sha256 and kind not in DIGESTED:
        return f"{kind.value} have no digests"
    if any(not _HEXES.fullmatch(digest) for digest in known.sha256):
        return "a digest that is not 64 lower-case hex digits"
    if set(text.partition(" ")[2].split("/") if " " in text else text.split("/")) & {"..", "."}:
        return "a name with . or .. in it"
    if "*" in text and not _allowed_crowd(kind, text):
        return "wider than a profile may be: only folder/*.ending in a declared place, and HOST:* for ports"
    if kind in (Kind.READ, Kind.WRITE) and text in ("/", "~", "$ENV", "$CODE", "/etc", "/root", "/home"):
        return "a whole place is no file"
    return None


def _allowed_crowd(kind: Kind, text: str) -> bool:
    if kind in (Kind.DESTINATION, Kind.LISTEN):
        return bool(_ANY_PORT.fullmatch(text)) or text == "unix $TMPDIR/*"
    return kind in _CROWDS and bool(_CROWDED.fullmatch(text))


def _comments(data: bytes, lines: Mapping[tuple[str | int, ...], int]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The comments above (and behind) entries. Those at the top that every profile has are not anybody's."""
    rows = data.decode("utf-8-sig").split("\n")
    head = set(_HEAD.splitlines())
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path, line in lines.items():
        if not path or not all(isinstance(part, str) for part in path) or len(path) > 3:
            continue
        above = []
        at = line - 2
        while 0 <= at < len(rows) and rows[at].strip().startswith("#") and rows[at].rstrip("\r") not in head:
            above.append(rows[at].strip())
            at -= 1
        said = tuple(reversed(above)) + _behind(rows[line - 1] if 0 < line <= len(rows) else "")
        if said:
            found[tuple(str(part) for part in path)] = said
    return found


def _behind(row: str) -> tuple[str, ...]:
    match = re.search(r"[\d\]}]\s+(#.*)$", row.rstrip())
    return (match[1],) if match else ()


def _printable(text: Any) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))
