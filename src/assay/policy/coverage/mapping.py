"""The mapping of frameworks' rows to measures, as data: read strictly from the YAML beside, checked, never guessed.

No row and no measure is named in code. A mapping that names something which does not exist is an error, so that a
renamed row or a typing error cannot quietly drop a claim, or make one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec
from msgspec import Struct

from assay.config import load_yaml
from assay.errors import DocumentError, UsageError
from assay.policy.coverage.conditions import Condition

FRAMEWORKS = ("atlas", "airmf", "slsa", "ssdf", "owasp-ml", "owasp-llm", "eu-ai-act")
"""Ids of the frameworks that ship, in the order in which they are listed."""


class Proof(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to prove a measure: an attestation of one of these types for which all conditions hold."""

    types: list[str]
    """Predicate types; ``*`` at the end matches any ending."""
    claim: str
    """What such an attestation shows, in words."""
    when: list[Condition] = []


class MeasureSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A measure, as `measures.yaml` defines it."""

    id: str
    title: str
    kind: Literal["evidence", "configuration"]
    how: str
    """What to run or set to get it."""
    days: int | None = None
    """Evidence older than this many days does not count; None where age does not matter."""
    proofs: list[Proof] = []
    """Of which one is enough; for evidence."""
    settings: list[Condition] = []
    """Of which one is enough; for configuration. Paths are those of `assay.yaml`."""

    def __post_init__(self) -> None:
        if bool(self.proofs) == bool(self.settings) or bool(self.proofs) != (self.kind == "evidence"):
            raise ValueError("evidence has proofs and configuration has settings")


class Mapped(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """What the mapping says of a row."""

    measures: list[str] = []
    """Ids of measures, each of which backs the row on its own."""
    only: list[str] | None = None
    """Of the measures that come from a technique's mitigations, those that speak for this technique."""
    gap: str = ""
    """What the evidence does not show, even when it is there."""
    assessable: bool = True
    reason: str = ""
    """Why no tool can assess it."""
    aliases: list[str] = []
    """Earlier names."""
    highlighted: bool = False
    named_by: list[str] = []
    """Further words by which a policy rule may name the row: other spellings, or what implies it."""


class ListedRow(Mapped, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """A row whose text stands in the YAML itself."""

    id: str
    name: str
    text: str = ""
    url: str = ""


class ListedSection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows of one kind."""

    id: str
    name: str
    rows: list[ListedRow]
    text: str = ""


class CharacteristicSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another way to look at the rows."""

    id: str
    name: str
    rows: list[str]


class FrameworkFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One framework's YAML."""

    id: str
    name: str
    version: str
    source: str
    licence: str
    catalogue: str | None = None
    """JSON file beside it with the framework's own rows; then ``rows`` maps them and ``sections`` is empty."""
    default: Mapped = Mapped()
    """For rows of the catalogue that ``rows`` does not name."""
    outside: list[str] = []
    """Ids of rows that happen where nothing can be attested; see ``outside-reason``."""
    outside_reason: str = msgspec.field(default="", name="outside-reason")
    rows: dict[str, Mapped] = {}
    sections: list[ListedSection] = []
    characteristics: list[CharacteristicSpec] = []


@dataclass(frozen=True, slots=True)
class RowPlan:
    """A row with all that is known of it before any evidence."""

    id: str
    name: str
    mapped: Mapped
    text: str = ""
    url: str = ""
    mitigations: tuple[str, ...] = ()
    """Rows that back this one when they are backed (a technique's mitigations)."""
    related: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class SectionPlan:
    """Rows of one kind."""

    id: str
    name: str
    rows: tuple[RowPlan, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework with its mapping, checked."""

    id: str
    name: str
    version: str
    source: str
    licence: str
    sections: tuple[SectionPlan, ...]
    columns: tuple[tuple[str, str], ...]
    characteristics: tuple[CharacteristicSpec, ...]
    names: Mapping[str, tuple[str, ...]]
    """What a policy rule may write (`row_key`) to the ids of the rows that it then speaks for."""

    @property
    def rows(self) -> Sequence[RowPlan]:
        """All rows of all sections."""
        return [row for section in self.sections for row in section.rows]


def row_key(text: str) -> str:
    """An id as people write it, without case and with one kind of separator: ``map-4.1`` is ``MAP 4.1``."""
    return " ".join(text.upper().replace("-", " ").replace("_", " ").split())


@cache
def measures() -> Mapping[str, MeasureSpec]:
    """All measures by id, in the file's order. Raises `DocumentError` for a file that is not as it must be."""
    listed = _convert(_yaml("measures.yaml"), dict[Literal["measures"], list[MeasureSpec]], "measures.yaml")["measures"]
    return _unique("measures.yaml", listed)


@cache
def framework(id: str) -> Framework:
    """A framework by id. Raises `UsageError` for one that is not known, `DocumentError` for a bad mapping."""
    if id not in FRAMEWORKS:
        raise UsageError(f"there is no framework {id[:50]!r}", hint=f"one of: {', '.join(FRAMEWORKS)}")
    name = f"{id}.yaml"
    file = _convert(_yaml(name), FrameworkFile, name)
    if file.catalogue is None:
        plans = tuple(_listed(section) for section in file.sections)
        columns: tuple[tuple[str, str], ...] = ()
    else:
        catalogue = json.loads(_data(file.catalogue))
        if str(catalogue.get("version", file.version)) != file.version:
            raise DocumentError(f"{name}: version {file.version} is not that of {file.catalogue}")
        mapping = _Rows(file)
        build = _atlas if "tactics" in catalogue else _functions
        plans, columns = build(catalogue, mapping)
        mapping.check(name)
    rows: Mapping[str, RowPlan] = _unique(name, [row for section in plans for row in section.rows])
    _check(name, rows, file.characteristics)
    names: dict[str, tuple[str, ...]] = {}
    for row in rows.values():
        for word in {row_key(word) for word in (*row.mapped.named_by, row.id)}:
            names[word] = (*names.get(word, ()), row.id)
    return Framework(
        file.id, file.name, file.version, file.source, file.licence, plans, columns, tuple(file.characteristics), names
    )


class _Rows:
    """The mapping of a catalogue's rows, remembering which were asked for."""

    def __init__(self, file: FrameworkFile) -> None:
        self._file, self._unused = file, {*file.rows, *file.outside}

    def __getitem__(self, id: str) -> Mapped:
        self._unused.discard(id)
        if id in self._file.outside:
            aliases = self._file.rows[id].aliases if id in self._file.rows else []
            return Mapped(assessable=False, reason=self._file.outside_reason, aliases=aliases)
        return self._file.rows.get(id, self._file.default)

    def check(self, name: str) -> None:
        """Raise `DocumentError` for rows that the catalogue does not have."""
        if self._unused:
            raise DocumentError(f"{name} maps rows that do not exist: {', '.join(sorted(self._unused))}")


def _atlas(catalogue: Mapping[str, Any], mapping: _Rows) -> tuple[tuple[SectionPlan, ...], tuple[tuple[str, str], ...]]:
    """Techniques with their tactics as columns, and mitigations."""
    site = "https://atlas.mitre.org"
    by_technique: dict[str, list[str]] = {}
    for item in catalogue["mitigations"]:
        for technique in item["techniques"]:
            by_technique.setdefault(technique, []).append(item["id"])
    techniques = tuple(
        RowPlan(
            item["id"],
            item["name"],
            mapping[item["id"]],
            item["desc"],
            f"{site}/techniques/{item['id']}",
            mitigations=tuple(by_technique.get(item["id"], ())),
            related=tuple(by_technique.get(item["id"], ())),
            columns=tuple(item["tactics"]),
            parent=item["parent"],
        )
        for item in catalogue["techniques"]
    )
    mitigations = tuple(
        RowPlan(
            item["id"],
            item["name"],
            mapping[item["id"]],
            item["desc"],
            f"{site}/mitigations/{item['id']}",
            related=tuple(item["techniques"]),
        )
        for item in catalogue["mitigations"]
    )
    text = "A technique is backed when one of its mitigations is. That makes it harder; it does not rule it out."
    sections = (
        SectionPlan("techniques", "Techniques", techniques, text),
        SectionPlan("mitigations", "Mitigations", mitigations),
    )
    return sections, tuple((item["id"], item["name"]) for item in catalogue["tactics"])


def _functions(
    catalogue: Mapping[str, Any], mapping: _Rows
) -> tuple[tuple[SectionPlan, ...], tuple[tuple[str, str], ...]]:
    """One section per function, its subcategories as rows that the function's column holds."""
    url = "https://airc.nist.gov/airmf-resources/airmf/5-sec-core/"
    sections = tuple(
        SectionPlan(
            function["id"],
            function["id"].capitalize(),
            tuple(
                RowPlan(item["id"], item["text"], mapping[item["id"]], url=url, columns=(function["id"],))
                for category in function["categories"]
                for item in category["subcategories"]
            ),
            function["text"],
        )
        for function in catalogue["functions"]
    )
    return sections, tuple((section.id, section.name) for section in sections)


def _listed(section: ListedSection) -> SectionPlan:
    rows = tuple(RowPlan(row.id, row.name, row, row.text, row.url) for row in section.rows)
    return SectionPlan(section.id, section.name, rows, section.text)


def _check(name: str, rows: Mapping[str, RowPlan], characteristics: Sequence[CharacteristicSpec]) -> None:
    """Raise `DocumentError` for a mapping that contradicts itself or names what does not exist."""
    for row in rows.values():
        mapped = row.mapped
        unknown = {*mapped.measures, *(mapped.only or ())} - measures().keys()
        if unknown:
            raise DocumentError(f"{name}: {row.id} names measures that do not exist: {', '.join(sorted(unknown))}")
        if mapped.assessable == bool(mapped.reason) or not (mapped.assessable or not mapped.measures):
            raise DocumentError(f"{name}: {row.id} is either assessable, or has a reason and no measures")
    missing = {id for item in characteristics for id in item.rows} - rows.keys()
    if missing:
        raise DocumentError(f"{name}: characteristics name rows that do not exist: {', '.join(sorted(missing))}")


def _unique(name: str, items: Sequence[Any]) -> Mapping[str, Any]:
    made = {item.id: item for item in items}
    if len(made) != len(items):
        raise DocumentError(f"{name} has two entries with one id")
    return made


def _data(name: str) -> bytes:
    return files("assay.policy").joinpath("frameworks", name).read_bytes()


def _yaml(name: str) -> Any:
    return load_yaml(_data(name), name)


def _convert(document: Any, type: Any, name: str) -> Any:
    try:
        return msgspec.convert(document, type)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{name}: {error}") from None
