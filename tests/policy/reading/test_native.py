"""Native policy files: what they become, and that everything wrong is told with its line and a suggestion."""

# ruff: noqa: E501 - a policy in a line is easier to read than one in pieces
from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import AssayError, DocumentError
from assay.policy.model import TRUSTED, When
from assay.policy.reading import examine, load
from assay.policy.sources import Packed, Sources
from assay.policy.verdict import Level
from helpers import one_sentence
from policy_making import nowhere, policy

WHOLE = """\
assay-policy: 1
id: credit
name: Credit model
version: 1.2
inputs:
- {name: age, type: duration, default: 7d, description: how old}
- {name: licences, type: list, default: [MIT]}
defaults: {level: warning, max-age: "${{ inputs.age }}"}
controls:
- id: origin
  name: Where it comes from
  mitigation: Ask the team
  atlas: [AML.M0014]
  when: {gate: [train, deploy]}
  rules:
  - id: bom
    name: A fresh bill of materials
    level: error
    risk: Nobody knows what is in it
    atlas: [AML.M0023]
    require:
      evidence: cyclonedx
      licences: {allow: "${{ inputs.licences }}"}
  - name: Signed by us
    require: {evidence: model-signature, max-age: 30d}
"""

RULE = b"""\
assay-rule: 1
id: fresh-bom
name: A bill of materials younger than ${{ inputs.max-age }}
risk: Old news
atlas: [AML.M0023]
inputs:
- {name: max-age, type: duration, required: true}
require: {evidence: cyclonedx, max-age: "${{ inputs.max-age }}"}
"""


def catalogue(name: str) -> tuple[Sources, str]:
    """One rule."""
    if name != "sbom/fresh@v1":
        return nowhere(name)
    return Packed("builtin:rules", {"rules/sbom/fresh.yaml": RULE}), "rules/sbom/fresh.yaml"


def problems(text: str, resolve=catalogue) -> list[str]:
    """What is wrong with a policy, ``line: message``."""
    _, found = examine(Packed("file:p.yml", {"p.yml": text.encode()}), "p.yml", resolve)
    return [f"{problem.line}: {problem.message} | {problem.suggestion or ''}" for problem in found]


def rules(text: str) -> str:
    """A whole policy around some rules."""
    return "assay-policy: 1\nid: t\ncontrols:\n- id: c\n  rules:\n" + text


def test_a_whole_policy() -> None:
    made = policy(WHOLE)
    assert (made.reference.id, made.reference.version) == ("credit", "1.2")
    control = made.controls[0]
    assert control.when == When(("train", "deploy"))
    bom, signed = control.rules
    assert (bom.level, signed.level) == (Level.ERROR, Level.WARNING)
    assert signed.id == "signed-by-us"
    assert bom.require is not None and signed.require is not None
    assert bom.require.selectors[0].max_age == timedelta(days=7)
    assert signed.require.selectors[0].max_age == timedelta(days=30)
    assert bom.require.selectors[0].signed_by.groups == (TRUSTED,)
    assert "licences" in bom.require.selectors[0].checks
    assert (bom.file, bom.line) == ("test.yml", 16)


def test_inputs_are_given_by_the_caller() -> None:
    made = policy(WHOLE, age="1d")
    assert made.rules[0].require is not None
    assert made.rules[0].require.selectors[0].max_age == timedelta(days=1)
    with pytest.raises(DocumentError, match="agee"):
        policy(WHOLE, agee="1d")


def test_a_rule_of_the_catalogue() -> None:
    text = rules("  - {uses: sbom/fresh@v1, level: warning, with: {max-age: 3d}}\n")
    made = load(Packed("file:p.yml", {"p.yml": text.encode()}), "p.yml", catalogue)
    rule = made.rules[0]
    assert (rule.id, rule.level, rule.uses) == ("fresh-bom", Level.WARNING, "sbom/fresh@v1")
    assert rule.name == "A bill of materials younger than 3d"
    assert rule.require is not None and rule.require.selectors[0].max_age == timedelta(days=3)
    assert rule.arguments == {"max-age": "3d"}


def test_the_digest_is_over_everything_that_was_read() -> None:
    key = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
    text = "assay-policy: 1\nid: t\nsigners: {ci: {keys: [ci.pub]}}\ncontrols:\n- id: c\n  rules:\n  - {id: r, require: {evidence: cyclonedx, signed-by: ci}}\n"
    one = policy(text, {"ci.pub": key}).reference.sha256
    assert one != policy(text, {"ci.pub": key + b"\n"}).reference.sha256
    assert one != policy(text.replace("id: t", "id: u"), {"ci.pub": key}).reference.sha256


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("assay-policy: 2\nid: t\ncontrols: []\n", 1, "version"),
        ("assay-policy: 1\nid: t\n", 0, "controls"),
        (rules("  - {id: r, requires: {evidence: cyclonedx}}\n"), 6, "did you mean 'require'"),
        (rules("  - {id: r, require: {evidence: cyclonedxx}}\n"), 6, "did you mean 'cyclonedx'"),
        (rules("  - {id: r, require: {evidence: cyclonedx, max-age: soon}}\n"), 6, "max-age"),
        (rules("  - {id: r, require: {evidence: cyclonedx, max_age: 7d}}\n"), 6, "did you mean 'max-age'"),
        (rules("  - {id: r, level: fatal, require: {evidence: cyclonedx}}\n"), 6, "level"),
        (rules("  - {id: r, require: {}}\n"), 6, "names no evidence"),
        (rules("  - {id: r}\n"), 6, "demands nothing"),
        (rules("  - {id: r, require: {evidence: {}}}\n"), 6, "always pass"),
        (rules("  - {id: r, require: {evidence: cyclonedx, signed-by: ci}}\n"), 6, "nobody is called 'ci'"),
        (rules("  - {id: r, require: {evidence: cyclonedx, signed-by: []}}\n"), 6, "names nobody"),
        (rules("  - {id: r, require: {evidence: cyclonedx, signed-by: {}}}\n"), 6, "nobody is named"),
        (rules("  - {id: r, require: {evidence: cyclonedx, signed: true, signed-by: {keys: []}}}\n"), 6, "nobody is named"),
        (rules("  - {id: r, require: {evidence: cyclonedx, signed: false}}\n"), 6, "anybody could have written"),
        (rules("  - {id: r, require: {evidence: cyclonedx, signed-by: {identities: [{identity: me}]}}}\n"), 6, "issuer"),
        (rules("  - {id: a, require: {evidence: cyclonedx}}\n  - {id: a, require: {evidence: cyclonedx}}\n"), 7, "used twice"),
        (rules("  - {id: 'a::b', require: {evidence: cyclonedx}}\n"), 6, "is no id"),
        (rules("  - {uses: sbom/fresher@v1}\n"), 6, "no rule"),
        (rules("  - {uses: sbom/fresh@v1}\n"), 6, "max-age"),
        (rules("  - {uses: sbom/fresh@v1, with: {max-agee: 7d}}\n"), 6, "max-agee"),
        (rules("  - {uses: sbom/fresh@v1, with: {max-age: seven}}\n"), 6, "max-age"),
        (rules("  - {uses: sbom/fresh@v1, with: {max-age: 7d}, require: {evidence: cyclonedx}}\n"), 6, "its own require"),
        (rules("  - {id: r, when: {target: modle}, require: {evidence: cyclonedx}}\n"), 6, "did you mean 'model'"),
        (rules("  - {id: r, require: {evidence: {a: cyclonedx}, edges: [a => b]}}\n"), 6, "not of the form"),
        (rules("  - {id: r, require: {evidence: {a: cyclonedx}, edges: [a -> b]}}\n"), 6, "called 'b'"),
        (rules("  - {id: r, require: {evidence: {a: {type: cyclonedx, linked: true}}}}\n"), 6, "nothing leads to 'a'"),
        (
            rules("  - {id: r, require: {evidence: {a: cyclonedx, b: evaluation}, edges: [a -> b, b -> a]}}\n"),
            6,
            "in a circle",
        ),
        (rules("  - {id: r, require: {evidence: cyclonedx, licences: {allw: [MIT]}}}\n"), 6, "licences"),
        (rules("  - {id: r, require: {evidence: evaluation, licences: {allow: [MIT]}}}\n"), 6, "cannot read this kind"),
        (rules("  - {id: r, require: {evidence: cyclonedx, threshold: 0}}\n"), 6, "threshold"),
        (rules("  - {id: r, require: {evidence: cyclonedx, where: ['a >> 3']}}\n"), 6, "where"),
        (rules("  - {id: r, rego: {path: ../../etc/passwd}}\n"), 6, "not a file beside"),
        (rules("  - {id: r, rego: {path: nowhere.rego}}\n"), 6, "nowhere.rego"),
        ("assay-policy: 1\nid: t\nexpires: soon\ncontrols:\n- {id: c, rules: [{id: r, require: {evidence: cyclonedx}}]}\n", 3, "date"),
        ("assay-policy: 1\nid: t\nsigners: {trusted: {keys: [k]}}\ncontrols:\n- {id: c, rules: [{id: r, require: {evidence: cyclonedx}}]}\n", 3, "caller's"),
        (
            "assay-policy: 1\nid: t\ncontrols:\n- id: c\n  when: {gate: train}\n  rules:\n  - {id: r, when: {gate: deploy}, require: {evidence: cyclonedx}}\n",
            7,
            "never be reached",
        ),
        ("assay-policy: 1\nassay-policy: 1\n", 2, "twice"),
        ("a: &a [1]\nb: *a\n", 0, "aliases"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, words: str) -> None:
    found = problems(text)
    assert any(
        words in entry and (not line or entry.startswith(f"{line}:") or f":{line}:" in entry) for entry in found
    ), found


def test_all_problems_are_told_at_once() -> None:
    text = rules("  - {id: a, requires: {}}\n  - {id: b, level: x, require: {evidence: y}}\n")
    assert len(problems(text)) >= 4


def test_a_policy_whose_signers_key_is_elsewhere_says_so() -> None:
    text = rules("  - {id: r, require: {evidence: cyclonedx, signed-by: {keys: [/etc/ci.pub]}}}\n")
    assert any("not a file beside the policy" in entry for entry in problems(text))


def test_bombs_end_quickly_with_a_sentence() -> None:
    bombs = [
        b"assay-policy: 1\n" + b"a: " + b"[" * 100_000,
        b"assay-policy: 1\nx: &x [1,1]\ny: &y [*x,*x]\nz: [*y,*y]\n",
        b"assay-policy: 1\n" + b"- " * 50_000,
        b"assay-policy: 1\nid: " + b"a" * (2 << 20),
        ("assay-policy: 1\ncontrols:\n" + "".join(f"- {{id: c{i}, rules: [1]}}\n" for i in range(5000))).encode(),
    ]
    for data in bombs:
        with pytest.raises(AssayError) as caught:
            load(Packed("file:p.yml", {"p.yml": data}), "p.yml", nowhere)
        one_sentence(caught.value)


words = st.sampled_from(
    ["assay-policy", "id", "controls", "rules", "require", "evidence", "cyclonedx", "evaluation", "where", "edges",
     "signed-by", "a -> b", "level", "error", "uses", "sbom/fresh@v1", "with", "max-age", "7d", "type", "linked", "when",
     "gate", "labels", "rego", "script", "inputs", "${{ inputs.x }}", "licences", "order", "same", "x"]
)  # fmt: skip
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | words | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(words, trees, max_size=5))
def test_no_document_makes_the_reader_fall_over(document: dict) -> None:
    import json

    text = json.dumps({"assay-policy": 1, "controls": [{"rules": [document]}], **document})
    policy_made, found = examine(Packed("file:p.yml", {"p.yml": text.encode()}), "p.yml", catalogue)
    assert found or policy_made is not None
    for problem in found:
        assert problem.message and "\n" not in problem.message
