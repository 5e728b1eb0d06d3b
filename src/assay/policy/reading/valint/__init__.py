"""The published policy files of the closest product, valint, in all three generations of their form.

They become the same values as assay's own files. Nothing that a file says is dropped in silence: what means nothing
here is told in `Policy.notes`, what would make the verdict weaker if it were ignored is a `DocumentError`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assay import strict_yaml
from assay.policy.model import TRUSTED, Control, Policy, Rule, SignerGroup, When
from assay.policy.reading.problems import near
from assay.policy.reading.valint import generations
from assay.policy.reading.valint.files import File, Path
from assay.policy.reading.valint.rules import Notes, Resolve, RuleReader, slug
from assay.policy.reading.valint.templates import Scope
from assay.policy.sources import Sources
from assay.policy.verdict import PolicyReference

__all__ = ["is_valint", "read"]

MAX_RULES = 2000
"""Rules of one policy."""


def is_valint(document: Any) -> int | None:
    """The generation (0, 1, 2) of a document that is a policy of valint's, else None."""
    return generations.generation_of(document)


def read(
    document: Any,
    lines: strict_yaml.Lines,
    sources: Sources,
    entry: str,
    *,
    resolve: Resolve,
    given: Mapping[str, Any],
    context: Mapping[str, str] | None = None,
) -> Policy:
    """The policy in the file ``entry``, which was parsed to ``document``.

    ``resolve`` finds rules that the policy's own bundle does not have; ``given`` are the values of ``.Args``;
    ``context`` is that of this run (`assay.collect.provenance.context.Context.document`), for ``.Context`` and
    ``filter-by: [pipeline]``. Raises `DocumentError` with file, line and a suggestion.
    """
    file = File(sources, entry, document, lines)
    found = generations.initiative(file)
    fields = found.fields
    _check_version(fields.get("required-valint-version"), file)
    env = file.mapping(fields.get("env"), ("env",), "env")
    named = {name: file.text(value, ("env", name), f"env {name}") for name, value in env.items()}
    scope = Scope(given, named, context or {})
    notes = Notes()
    # valint looks for this file when a rule of its settings names none.
    beside = ".valint.rego" if found.generation < 2 and "attest" in document else None
    reader = RuleReader(file, resolve, scope, notes, beside=beside)
    outer = _defaults(fields.get("defaults"), ("defaults",), file)
    signers: dict[str, SignerGroup] = {TRUSTED: SignerGroup(TRUSTED, ())}
    controls: list[Control] = []
    count = 0
    for number, group in enumerate(found.groups):
        count += len(group.rules)
        if count > MAX_RULES:
            raise file.wrong(group.path, f"the policy has more than {MAX_RULES:,} rules")
        control = _control(group, number, reader, outer, signers, notes, file)
        if control is None:
            continue
        if any(control.id == other.id for other in controls):
            raise file.wrong(group.path, f"the id {control.id!r} is used twice", "give each its id")
        controls.append(control)
    if not any(control.rules for control in controls):
        raise file.wrong((), "no rule is left: the policy would accept nothing", _why(notes))
    for name in given:
        if name not in scope.used:
            hint = near(str(name), scope.used) if scope.used else "it refers to no arguments"
            raise file.wrong((), f"there is no argument {str(name)[:60]!r} in this policy", hint)
    name = file.text(fields.get("name"), ("name",), "name")
    stem = os.path.splitext(os.path.basename(entry))[0].strip(".") or "policy"
    policy = file.identifier(fields.get("id"), ("id",), "id") or slug(name) or stem
    version = file.text(fields.get("version"), ("version",), "version") or "0"
    return Policy(
        PolicyReference(policy, name or policy, version, sources.uri, sources.sha256(), sources.signer),
        _unique(controls),
        signers,
        file.text(fields.get("description"), ("description",), "description"),
        file.text(fields.get("help", fields.get("url")), ("help",), "help"),
        notes=(*found.notes, *notes.sentences()),
    )


def _control(
    group: generations.Group,
    number: int,
    reader: RuleReader,
    outer: Mapping[str, Any],
    signers: dict[str, SignerGroup],
    notes: Notes,
    file: File,
) -> Control | None:
    fields, path = group.fields, group.path
    name = file.text(fields.get("name"), (*path, "name"), "name")
    control = file.identifier(fields.get("id"), (*path, "id"), "id") or slug(name) or f"control-{number + 1}"
    disabled = file.flag(fields.get("disable"), (*path, "disable"), "disable")
    if disabled or not file.flag(fields.get("enable"), (*path, "enable"), "enable", True):
        notes.add(control, "is switched off in the file and was left out")
        return None
    if not group.rules:
        notes.add(control, "has no rules and was left out")
        return None
    when = file.mapping(fields.get("when"), (*path, "when"), "when", ("gate",))
    gates = file.texts(when.get("gate"), (*path, "when", "gate"), "gate")
    defaults = (_defaults(fields.get("defaults"), (*path, "defaults"), file), outer)
    rules: list[Rule] = []
    for i, written in enumerate(group.rules):
        made = reader.read(written, defaults, control, i)
        if made is None:
            continue
        if any(made.rule.id == other.id for other in rules):
            raise file.wrong(written.path, f"the id {made.rule.id!r} is used twice", "give each rule its id")
        rules.append(made.rule)
        signers |= {group.name: group for group in made.groups}
    return Control(
        control,
        name or control,
        tuple(rules),
        file.text(fields.get("description"), (*path, "description"), "description"),
        file.text(fields.get("mitigation"), (*path, "mitigation"), "mitigation"),
        When(gates=gates),
    )


def _unique(controls: list[Control]) -> tuple[Control, ...]:
    """Rules of one id in several controls, as published files have them, are told apart by their control's."""
    seen: dict[str, int] = {}
    for control in controls:
        for rule in control.rules:
            seen[rule.id] = seen.get(rule.id, 0) + 1
    return tuple(
        replace(
            control,
            rules=tuple(
                replace(rule, id=f"{control.id}.{rule.id}") if seen[rule.id] > 1 else rule for rule in control.rules
            ),
        )
        for control in controls
    )


def _defaults(value: Any, path: Path, file: File) -> Mapping[str, Any]:
    return file.mapping(value, path, "defaults", ("level", "evidence"))


def _check_version(value: Any, file: File) -> None:
    text = file.text(value, ("required-valint-version",), "required-valint-version")
    major = text.lstrip("v").split(".")[0]
    if text and (not major.isdecimal() or int(major) > 2):
        raise file.wrong(
            ("required-valint-version",), f"the file is for valint {text[:40]}, and files up to valint 2 are known here"
        )


def _why(notes: Notes) -> str | None:
    return next(iter(notes.sentences()), None)
