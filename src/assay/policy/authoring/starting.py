"""`assay policy init`: three answers to a first policy, with tests that show what each of its rules rejects.

Pure: it asks nothing and writes nothing. What it makes passes `assay policy check` and its own tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.errors import UsageError
from assay.policy.authoring import starting_rules, yaml_text
from assay.policy.reading.problems import near


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its answers."""

    name: str
    text: str
    choices: Mapping[str, str]
    """Word to its meaning."""


QUESTIONS = (
    Question(
        "protect",
        "What do you protect?",
        {"model": "models", "dataset": "data sets", "both": "models and the data sets beside them"},
    ),
    Question(
        "signer",
        "Who signs the evidence?",
        {
            "key": "one key of yours",
            "github": "a GitHub Actions workflow (Sigstore)",
            "gitlab": "a GitLab CI pipeline (Sigstore)",
            "several": "several people with a key each, two of whom must agree",
        },
    ),
    Question(
        "strict",
        "How strict shall it be?",
        {
            "warn": "warn only, to see what is missing",
            "basics": "block what is unsigned, undescribed or unsafe to load; warn of the rest",
            "all": "block on everything",
        },
    ),
)

IDENTITY = {
    "github": "The workflow that signs, as https://github.com/ORG/REPO/.github/workflows/FILE.yml@refs/heads/main",
    "gitlab": "The pipeline that signs, as https://gitlab.com/GROUP/PROJECT//.gitlab-ci.yml@refs/heads/main",
}
ISSUERS = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}


@dataclass(frozen=True, slots=True)
class Answers:
    """One word for each question."""

    protect: str
    signer: str
    strict: str


@dataclass(frozen=True, slots=True)
class Signers:
    """Who signs, as the caller names them."""

    keys: Sequence[tuple[str, bytes]] = ()
    """Names and bytes of public key files."""
    identity: str | None = None
    issuer: str | None = None


def parse(text: str) -> Answers:
    """Answers from ``model,key,basics``. Raises `UsageError` that lists the choices."""
    words = [word.strip() for word in text.split(",")]
    if len(words) != len(QUESTIONS):
        raise UsageError(f"{text[:100]!r} is not three answers", hint="write them as model,key,basics")
    for word, question in zip(words, QUESTIONS, strict=True):
        if word not in question.choices:
            raise UsageError(f"{word[:40]!r} is no answer to: {question.text}", hint=near(word, question.choices))
    return Answers(*words)


_CONTROLS = {"model": starting_rules.model, "dataset": starting_rules.dataset}


def files(answers: Answers, signers: Signers) -> dict[str, bytes]:
    """What to write, by file name. Raises `UsageError` when it is not clear who signs."""
    declared, keys = _signers(answers, signers)
    threshold = 2 if answers.signer == "several" else 1
    controls = [make() for name, make in _CONTROLS.items() if answers.protect in (name, "both")]
    text = [
        "# A starting policy. 'assay policy check policy.yml' looks through it, 'assay policy test policy.yml' runs",
        "# the tests beside it, 'assay verify TARGET -p policy.yml' decides by it.",
        "assay-policy: 1",
        "id: start",
        f"name: What we demand of {QUESTIONS[0].choices[answers.protect]}",
        'version: "1"',
        "signers:",
        *yaml_text.block({"signer": declared}, 1),
        "defaults:",
        "  signed-by: signer",
        "controls:",
    ]
    for control in controls:
        text += [f"- id: {control['id']}", f"  name: {control['name']}"]
        if answers.protect == "both":
            text.append(f"  when: {{target: {control['for']}}}")
        text.append("  rules:")
        for rule in control["rules"]:
            text += _rule(rule, answers, threshold)
    tests = _tests(controls, answers, threshold)
    return {"policy.yml": _joined(text), "policy.test.yaml": _joined(tests), **keys}


def _joined(lines: Sequence[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def _signers(answers: Answers, signers: Signers) -> tuple[dict[str, Any], dict[str, bytes]]:
    if answers.signer in ISSUERS:
        if signers.keys or not signers.identity:
            raise UsageError("it is not clear which workflow signs", hint=f"--identity: {IDENTITY[answers.signer]}")
        issuer = signers.issuer or ISSUERS[answers.signer]
        return {"identities": [{"identity": signers.identity, "issuer": issuer}]}, {}
    wanted = 2 if answers.signer == "several" else 1
    if len(signers.keys) < wanted or signers.identity or signers.issuer:
        raise UsageError(f"{wanted} public key(s) of who signs are needed", hint="name them with --key FILE.pub")
    return _keys(signers.keys, wanted)


def _keys(given: Sequence[tuple[str, bytes]], wanted: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Public keys to lie beside the policy. A private one is never copied."""
    import os

    from assay.evidence.keys import load_public

    made: dict[str, bytes] = {}
    ids: set[str] = set()
    for path, data in given:
        key = load_public(data, path)
        if key.key_id in ids:
            raise UsageError(f"{path} is a key that was named before", hint="each person signs with a key of their own")
        ids.add(key.key_id)
        stem = os.path.splitext(os.path.basename(path))[0]
        name = f"{stem}.pub" if f"{stem}.pub" not in made else f"{stem}-{len(made) + 1}.pub"
        made[name] = key.pem
    return {"keys": sorted(made)}, made


def _level(rule: Mapping[str, Any], answers: Answers) -> str:
    if answers.strict == "warn":
        return "warning"
    return "error" if answers.strict == "all" or rule["basic"] else "warning"


def _rule(rule: Mapping[str, Any], answers: Answers, threshold: int) -> list[str]:
    require = {**rule["require"], **({"threshold": threshold} if threshold > 1 else {})}
    shown = {
        "name": rule["name"],
        "level": _level(rule, answers),
        "risk": rule["risk"],
        "mitigation": rule["mitigation"],
        **({"atlas": rule["atlas"]} if "atlas" in rule else {}),
        "require": require,
    }
    return [f"  - id: {rule['id']}", *yaml_text.block(shown, 2)]


def _tests(controls: Sequence[Mapping[str, Any]], answers: Answers, threshold: int) -> list[str]:
    """Everything there passes; each rule fails without its evidence, and for evidence that somebody else signed."""
    people = [f"signer/person-{i + 1}" for i in range(threshold)]
    lines = ["assay-policy-test: 1", "policy: policy.yml", "cases:"]
    for control in controls:
        pieces = {rule["good"][0] + json.dumps(rule["good"][1]): rule["good"] for rule in control["rules"]}
        kind = {"target": {"name": control["for"], "kind": control["for"]}}
        good = [{"type": kind, "signed-by": people, "predicate": said} for kind, said in pieces.values()]
        none = "warn" if answers.strict == "warn" else "missing"
        lines += _case(f"{control['name']}: everything is there", kind, good, {"verdict": "pass"})
        missing = {rule["id"]: "missing" for rule in control["rules"]}
        lines += _case(f"{control['name']}: nothing is there", kind, [], {"verdict": none, "rules": missing})
        strange = [{**piece, "signed-by": []} for piece in good]
        verdict = "warn" if answers.strict == "warn" else "untrusted"
        untrusted = {rule["id"]: "untrusted" for rule in control["rules"]}
        lines += _case(
            f"{control['name']}: nobody expected signed", kind, strange, {"verdict": verdict, "rules": untrusted}
        )
    return lines


def _case(name: str, kind: Mapping[str, Any], evidence: Sequence[Any], expect: Mapping[str, Any]) -> list[str]:
    lines = [f"- name: {yaml_text.flow(name)}", *yaml_text.block(kind, 1)]
    if evidence:
        lines.append("  evidence:")
        lines += [f"  - {yaml_text.flow(piece)}" for piece in evidence]
    return [*lines, f"  expect: {yaml_text.flow(expect)}"]
