"""The published JSON Schemas of policies and catalogue rules, for completion and first checks in editors.

Made from the very tables that the reader uses and from each check's own schema, so that neither can know a key that
the other does not. The reader stays the judge: what a schema cannot say (a cycle, an unknown name) only it finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assay.policy.checks import CHECKS
from assay.policy.model import FRAMEWORKS
from assay.policy.reading import inputs, kinds, native, requirements
from assay.policy.verdict import Level

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_HOME = "https://assay.dev/schema"

_REFERENCE = {"type": "string", "pattern": r"\$\{\{.*\}\}"}
"""A value that an input gives."""


def policy_schema() -> dict[str, Any]:
    """Of ``assay-policy: 1``."""
    properties = {name: _POLICY[name] for name in native.POLICY_KEYS if name not in FRAMEWORKS}
    return _document(
        "policy", "A policy of assay: controls of rules over signed evidence", native.POLICY, properties, ["controls"]
    )


def rule_schema() -> dict[str, Any]:
    """Of ``assay-rule: 1``, a rule of a catalogue."""
    made = {native.RULE: _version("What the file is, and the version of its format."), "inputs": _POLICY["inputs"]}
    properties = {
        name: {**_RULE, **made, "version": _VERSION}[name] for name in native.CATALOGUE_KEYS if name not in FRAMEWORKS
    }
    return _document("rule", "A rule of a catalogue, for policies to use", native.RULE, properties, [])


def _document(
    name: str, title: str, key: str, properties: Mapping[str, Any], required: Iterable[str]
) -> dict[str, Any]:
    return {
        "$schema": _DIALECT,
        "$id": f"{_HOME}/{name}.schema.json",
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "required": [key, *required],
        "properties": {**properties, **_frameworks()},
        "$defs": {
            "texts": _TEXTS,
            "group": _GROUP,
            "signedBy": _SIGNED_BY,
            "when": _WHEN,
            "level": _LEVEL,
            "flag": _FLAG,
            "duration": _DURATION,
            "rego": _REGO,
            "require": _require(),
            "selector": _selector(),
            **({"control": _control(), "rule": _rule()} if key == native.POLICY else {}),
            **{f"check-{check}": _loosened(dict(CHECKS[check].schema)) for check in CHECKS},
        },
    }


def _object(description: str, properties: Mapping[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": dict(properties),
    }
    return {**made, "required": list(required)} if required else made


def _to(name: str, description: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}", "description": description}


def _text(description: str) -> dict[str, Any]:
    return {"type": ["string", "number", "null"], "description": description}


def _version(description: str) -> dict[str, Any]:
    return {"const": 1, "description": description}


def _frameworks() -> dict[str, Any]:
    return {name: _to("texts", f"Ids of {name} that this speaks for.") for name in FRAMEWORKS}


def _loosened(schema: dict[str, Any]) -> dict[str, Any]:
    """A check's schema in which any single value may come from an input."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {name: _loosened(item) for name, item in made["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _loosened(made[key])
    if "anyOf" in made:
        made["anyOf"] = [_loosened(item) for item in made["anyOf"]]
    if made.get("type") == "string" and set(made) <= {"type", "description", "default"}:
        return made
    description: dict[str, Any] = {key: made.pop(key) for key in [*made] if key in ("description", "default", "title")}
    return {**description, "anyOf": [made, _REFERENCE]}


_TEXTS = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "integer"]}}, {"type": "null"}],
    "description": "One text, or a list of them.",
}
_FLAG = {"anyOf": [{"type": ["boolean", "null"]}, _REFERENCE]}
_LEVEL = {
    "anyOf": [{"enum": [level.value for level in Level]}, _REFERENCE],
    "description": "error rejects, warning warns, note is only reported. Default: error.",
}
_DURATION = {
    "anyOf": [
        {"type": "string", "pattern": r"^\s*([0-9]{1,9}[wdhms] ?)+\s*$|^\s*P[0-9WDTHMS]+\s*$"},
        {"type": "null"},
        _REFERENCE,
    ],
    "description": "30m, 12h, 7d, 2w, 1d 6h, or ISO 8601 such as P7D.",
}
_VERSION = _text("Version of the policy or rule, as its author counts.")
_IDENTITY = _object(
    "Somebody who signs with Sigstore.",
    {
        "identity": {"type": "string", "description": "E-mail or URI in the signing certificate."},
        "issuer": {"type": "string", "description": "URL of the OIDC issuer that vouches for it."},
    },
    ["identity", "issuer"],
)
_CERTIFICATE = _object(
    "Somebody whom a certificate authority vouches for.",
    {
        "ca": {"type": "string", "description": "PEM file beside the policy with the authority's certificates."},
        "identity": {"type": "string", "description": "Name in the signing certificate."},
    },
    ["ca", "identity"],
)


def _one_or_more(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [dict(item), {"type": "array", "items": dict(item)}]}


_GROUP = _object(
    "People, any of whom counts.",
    {
        "keys": {"$ref": "#/$defs/texts", "description": "Public key files (PEM) beside the policy."},
        "identities": _one_or_more(_IDENTITY),
        "certificates": _one_or_more(_CERTIFICATE),
    },
)
_SIGNED_BY = {
    "anyOf": [{"$ref": "#/$defs/texts"}, {"$ref": "#/$defs/group"}],
    "description": "Groups of signers, any of which counts, or people right here. Left out: whom the caller trusts.",
}
_WHEN = _object(
    "For what it is meant: a caller who says otherwise skips it, one who says nothing does not.",
    {
        "gate": _to("texts", "Names of gates: train, deploy, …"),
        "target": {
            "anyOf": [
                {"enum": [*native.KINDS, *native.SCHEMES]},
                {"type": "array", "items": {"enum": [*native.KINDS, *native.SCHEMES]}},
                _REFERENCE,
            ],
            "description": "Kinds of targets, or schemes.",
        },
        "labels": {
            "anyOf": [{"type": "object", "additionalProperties": {"type": ["string", "integer"]}}, _REFERENCE],
            "description": "Label to glob over the caller's value.",
        },
    },
)
_REGO = {
    "description": "A rule in Rego: package verify, rule verify with allow, violation and summary.",
    "anyOf": [
        {"type": "string", "description": "File beside the policy."},
        _object(
            "A rule in Rego.",
            {
                "path": {"type": "string", "description": "File beside the policy."},
                "script": {"type": "string", "description": "The text itself."},
                "version": {"enum": ["auto", "v0", "v1"], "description": "Version of the language."},
                "network": _to("texts", "Hosts that http.send may ask; none unless named."),
                "engine": {"enum": ["auto", "regorus", "opa"], "description": "Which engine evaluates it."},
                "shape": {
                    "enum": ["", "valint"],
                    "description": "valint: with the wrapper that valint's files expect.",
                },
            },
        ),
    ],
}
_DESCRIPTIVE = {
    "id": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$", "description": "Unique in the policy."},
    "name": _text("One line for people."),
    "description": _text("What it is for."),
    "help": _text("URL of more to read."),
}
_POLICY: dict[str, Any] = {
    native.POLICY: _version("What the file is, and the version of its format."),
    **_DESCRIPTIVE,
    "version": _VERSION,
    "expires": {"type": "string", "description": "Day (2027-01-31) from which on the policy accepts nothing."},
    "inputs": {
        "type": ["array", "null"],
        "description": "Values that the caller may give; written as ${{ inputs.NAME }} where they belong.",
        "items": _object(
            "An input.",
            {
                "name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,59}$", "description": "Its name."},
                "type": {"enum": [*inputs.TYPES, *inputs.ALSO], "description": "Default: string."},
                "description": {"description": "What it is for."},
                "default": {"description": "Its value where none is given."},
                "required": {"type": "boolean", "description": "Whether one must be given."},
                "choices": {"type": "array", "description": "The only values that it may have."},
            },
            ["name"],
        ),
    },
    "signers": {
        "type": ["object", "null"],
        "description": "Groups of people whose signatures rules ask for. 'trusted' is the caller's own.",
        "additionalProperties": {"$ref": "#/$defs/group"},
        "propertyNames": {"not": {"const": "trusted"}},
    },
    "defaults": {
        **_object(
            "What rules that do not say so mean.",
            {
                "level": _to("level", "Level of rules."),
                "signed-by": _to("signedBy", "Who must sign."),
                "max-age": _to("duration", "How old evidence may be."),
            },
        ),
        "type": ["object", "null"],
    },
    "controls": {
        "type": "array",
        "minItems": 1,
        "items": {"$ref": "#/$defs/control"},
        "description": "Rules by purpose.",
    },
}
_CONTROL: dict[str, Any] = {
    **_DESCRIPTIVE,
    "mitigation": _text("What to do when a rule of it does not hold."),
    "when": _to("when", "For what its rules are meant."),
    "disable": _to("flag", "Leave it out."),
    "rules": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/rule"}, "description": "What it demands."},
}
_RULE: dict[str, Any] = {
    **_DESCRIPTIVE,
    "level": _to("level", "How much it weighs."),
    "labels": _to("texts", "Labels of the rule, for reports."),
    "risk": _text("What may happen if it does not hold."),
    "mitigation": _text("What to do about it."),
    "when": _to("when", "For what it is meant."),
    "disable": _to("flag", "Leave it out."),
    "require": _to("require", "The evidence that must exist."),
    "rego": _to("rego", "A program that must allow it."),
    "uses": {"type": "string", "description": "A rule of the catalogue: family/name@v1."},
    "with": {
        "anyOf": [{"type": ["object", "null"]}, _REFERENCE],
        "description": "Inputs of the rule that it uses, or arguments of its program.",
    },
    "missing": _text("What to say when its evidence is missing."),
}


def _control() -> dict[str, Any]:
    return _object(
        "Rules for one purpose.", {name: {**_CONTROL, **_frameworks()}[name] for name in native.CONTROL_KEYS}, ["rules"]
    )


def _rule() -> dict[str, Any]:
    made = _object("One demand.", {name: {**_RULE, **_frameworks()}[name] for name in native.RULE_KEYS})
    return {**made, "anyOf": [{"required": [name]} for name in ("require", "rego", "uses", "disable")]}


_CONDITIONS = _to("texts", "Conditions on its fields: evaluation.accuracy >= 0.9, labels.stage == prod.")
_KIND = {
    "anyOf": [
        {
            "type": "string",
            "examples": list(kinds.names()),
            "description": f"One of {', '.join(kinds.names())}; or a URI.",
        },
        {"type": "array", "items": {"type": "string"}},
    ]
}
_SELECTOR: dict[str, Any] = {
    "signed": _to("flag", "false accepts evidence that anybody could have written."),
    "signed-by": _to("signedBy", "Who must have signed."),
    "threshold": {
        "anyOf": [{"type": ["integer", "null"], "minimum": 1, "maximum": 100}, _REFERENCE],
        "description": "How many different signers.",
    },
    "max-age": _to("duration", "How old it may be."),
    "proved-time": _to("flag", "Its age counts from a time that a log or authority proves."),
    "newest": _to("flag", "Only the newest counts."),
    "labels": {
        "anyOf": [{"type": ["object", "null"]}, _REFERENCE],
        "description": "Signed labels that it must carry: name to glob.",
    },
    "linked": _to("flag", "It is about something else, which an edge leads to."),
    "builder": {
        "description": "Who must have built it: glob over the builder's id, and who must sign for that builder.",
        **_one_or_more(
            {
                "anyOf": [
                    {"type": "string"},
                    _object(
                        "A builder.",
                        {"id": {"type": "string", "description": "Glob over its id."}, "signed-by": _SIGNED_BY},
                        ["id"],
                    ),
                ]
            }
        ),
    },
    "where": _CONDITIONS,
}


def _checks() -> dict[str, Any]:
    return {name: {"anyOf": [{"$ref": f"#/$defs/check-{name}"}, {"type": "null"}]} for name in CHECKS}


def _selector() -> dict[str, Any]:
    fields = {name: _SELECTOR[name] for name in requirements.SELECTOR}
    return _object("One piece of evidence.", {"type": _KIND, **fields, **_checks()}, ["type"])


def _require() -> dict[str, Any]:
    joint = {
        "same": _to("texts", "Fields that all pieces must have in common: git_commit, run_id."),
        "edges": _to("texts", "What one piece is about is an input of another: data -> training."),
        "order": _to("texts", "Names of the pieces, in the order of time."),
    }
    evidence = {
        "description": "A kind of evidence, several kinds, or named pieces of evidence.",
        "anyOf": [
            *_KIND["anyOf"],
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"anyOf": [*_KIND["anyOf"], {"$ref": "#/$defs/selector"}]},
            },
        ],
    }
    fields = {name: _SELECTOR[name] for name in requirements.SELECTOR}
    return _object(
        "What must exist.",
        {"evidence": evidence, **fields, **{name: joint[name] for name in requirements.JOINT}, **_checks()},
        ["evidence"],
    )
