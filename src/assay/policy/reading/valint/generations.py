"""Three generations of valint's policy files brought into one form: an initiative of controls of rules.

A module of the first generation becomes the rule that the third would write. Only the form changes here; what a field
means is decided in `rules` and `selectors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.policy.reading.valint.files import File, Path, words

_RULE_MARKS = ("path", "script", "uses")

MODULE_KEYS = ("name", "type", "enable", "disable", "level", "description", "labels", "input", "match")
_INPUT_KEYS = ("signed", "format", "identity", "match", "rego", "script", "default", "specific")
_REGO_KEYS = ("args", "path", "script", "rego")
POLICY_KEYS = ("name", "enable", "disable", "description", "defaults", "modules", "rules")

INITIATIVE_KEYS = (
    "config-type",
    "required-valint-version",
    "id",
    "name",
    "version",
    "description",
    "full-description",
    "help",
    "url",
    "notes",
    "mitigation",
    "labels",
    "defaults",
    "env",
    "controls",
    "rules",
    "initiatives",
)


@dataclass(frozen=True, slots=True)
class Written:
    """A rule as written, with the place where it stands."""

    fields: Mapping[str, Any]
    path: Path


@dataclass(frozen=True, slots=True)
class Group:
    """A control: of the first two generations, a policy."""

    fields: Mapping[str, Any]
    """Name, id, when, defaults, …"""
    path: Path
    rules: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class Initiative:
    """A whole file."""

    fields: Mapping[str, Any]
    groups: tuple[Group, ...]
    generation: int
    notes: tuple[str, ...] = field(default=())


def generation_of(document: Any) -> int | None:
    """0, 1 or 2, or None for what is no policy of valint's. Never raises."""
    if not isinstance(document, dict) or "assay-policy" in document or "assay-rule" in document:
        return None
    if "config-type" in document:
        return 2 if document["config-type"] in ("initiative", "rule") else None
    attest = document.get("attest")
    cocosign = attest.get("cocosign") if isinstance(attest, dict) else None
    policies = cocosign.get("policies") if isinstance(cocosign, dict) else None
    if isinstance(policies, list):
        modules = any(isinstance(policy, dict) and "modules" in policy for policy in policies)
        return 0 if modules else 1
    if "attest" in document:
        return None
    if isinstance(document.get("controls"), list):
        return 2
    rules = document.get("rules")
    if isinstance(rules, list) and all(isinstance(rule, dict) for rule in rules):
        return 1
    if isinstance(document.get("name"), str) and any(isinstance(document.get(key), str) for key in _RULE_MARKS):
        return 1
    return None


def initiative(file: File) -> Initiative:
    """The file's policy. Raises `DocumentError` with file and line for what is not of its form."""
    document = file.mapping(file.document, (), "the policy")
    generation = generation_of(document)
    if generation is None:
        raise file.wrong((), "this is no policy of valint's")
    if "attest" in document:
        return _settings(document, file, generation)
    if document.get("config-type") == "rule" or not isinstance(document.get("controls", document.get("rules")), list):
        name = document.get("name")
        only = Group({"id": "rule", "name": name}, (), (Written(document, ()),))
        shared = ("id", "name", "description", "help", "env", "required-valint-version")
        head: dict[str, Any] = {key: document[key] for key in shared if key in document}
        return Initiative(head, (only,), generation)
    file.mapping(document, (), "the initiative", INITIATIVE_KEYS)
    groups = [
        _control(item, ("controls", i), file)
        for i, item in enumerate(file.list(document.get("controls"), ("controls",), "controls"))
    ]
    if "rules" in document:
        rules = _written(document["rules"], ("rules",), file)
        groups.append(Group({"id": "rules", "name": document.get("name")}, ("rules",), rules))
    return Initiative(document, tuple(groups), generation)


def _control(item: Any, path: Path, file: File) -> Group:
    keys = words("id name description full-description mitigation notes help url disable when defaults rules labels")
    fields = file.mapping(item, path, "a control", keys)
    return Group(fields, path, _written(fields.get("rules"), (*path, "rules"), file))


def _written(value: Any, path: Path, file: File) -> tuple[Written, ...]:
    items = file.list(value, path, "rules")
    return tuple(Written(file.mapping(item, (*path, i), "a rule"), (*path, i)) for i, item in enumerate(items))


def _settings(document: Mapping[str, Any], file: File, generation: int) -> Initiative:
    """``attest.cocosign.policies`` of valint's own settings file, whose other sections are about valint."""
    attest = document["attest"]
    at: Path = ("attest", "cocosign", "policies")
    others = [
        *(key for key in document if key != "attest"),
        *(f"attest.{key}" for key in attest if key != "cocosign"),
        *(f"attest.cocosign.{key}" for key in attest["cocosign"] if key != "policies"),
    ]
    groups = []
    for i, item in enumerate(attest["cocosign"]["policies"]):
        path = (*at, i)
        fields = file.mapping(item, path, "a policy", POLICY_KEYS)
        rules = _written(fields.get("rules"), (*path, "rules"), file)
        modules = file.list(fields.get("modules"), (*path, "modules"), "modules")
        made = [_module(module, (*path, "modules", n), file) for n, module in enumerate(modules)]
        groups.append(Group(fields, path, (*rules, *made)))
    first = groups[0].fields if len(groups) == 1 else {}
    notes = (
        (f"{file.name}: {', '.join(others[:20])} are valint's own settings and mean nothing here",) if others else ()
    )
    return Initiative({"name": first.get("name")}, tuple(groups), generation, notes)


def _module(item: Any, path: Path, file: File) -> Written:
    """A module of the first generation as a rule."""
    fields = file.mapping(item, path, "a module", MODULE_KEYS)
    at = (*path, "input")
    given = file.mapping(fields.get("input"), at, "input", _INPUT_KEYS)
    if given.get("match") is not None and fields.get("match") is not None:
        raise file.wrong((*path, "match"), "match stands both beside and in input")
    match = given.get("match", fields.get("match"))
    evidence = dict(file.mapping(match, (*at, "match"), "match"))
    if given.get("format") is not None:
        evidence["format"] = given["format"]
    if "signed" in given:
        evidence["signed"] = given["signed"]
    made: dict[str, Any] = {key: fields[key] for key in fields if key not in ("input", "match")}
    made["evidence"] = evidence
    if fields.get("type") == "git-owner":
        made["with"] = {key: given[key] for key in ("default", "specific") if key in given}
    else:
        made |= _rego(given, at, file)
    if given.get("identity") is not None:
        made["identity"] = given["identity"]
    return Written(made, path)


def _rego(given: Mapping[str, Any], path: Path, file: File) -> dict[str, Any]:
    """``rego:``, or ``script:`` with a ``rego:`` in it, as ``path``, ``script`` and ``with``."""
    if given.get("rego") is not None and given.get("script") is not None:
        raise file.wrong((*path, "script"), "rego and script are names of one field")
    name = "rego" if given.get("rego") is not None else "script"
    if given.get(name) is None:
        return {}
    at = (*path, name)
    found = file.mapping(given[name], at, name, _REGO_KEYS)
    inner = file.mapping(found.get("rego"), (*at, "rego"), "rego", ("script", "path"))
    made: dict[str, Any] = {"with": file.mapping(found.get("args"), (*at, "args"), "args")}
    for key in ("path", "script"):
        if found.get(key) is not None or inner.get(key) is not None:
            made[key] = found.get(key) if found.get(key) is not None else inner[key]
    if "path" not in made and "script" not in made:
        made["path"] = ".valint.rego"
    return made
