"""Policies in valint's three forms: what they become, what is told about them, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay import strict_yaml
from assay.errors import AssayError, DocumentError
from assay.policy.model import TRUSTED, IdentitySigner, Policy, Rule, SignedBy, When
from assay.policy.reading import valint
from assay.policy.sources import Loose, Packed, Sources
from assay.policy.verdict import Level
from helpers import one_sentence

DATA = Path(__file__).parents[2] / "data" / "valint"
BUNDLE = DATA / "bundle"
CYCLONEDX = ("https://cyclonedx.org/bom*",)


def nowhere(uses: str) -> tuple[Sources, str]:
    raise DocumentError(f"there is no rule {uses}", hint="did you mean 'sbom/licences@v1'?")


def from_sources(sources: Sources, entry: str, resolve: Any = nowhere, context: Any = None, **given: Any) -> Policy:
    document, lines = strict_yaml.loads_with_lines(sources.read(entry), entry)
    assert valint.is_valint(document) is not None
    return valint.read(document, lines, sources, entry, resolve=resolve, given=given, context=context)


def read(text: str, files: Mapping[str, str] | None = None, **options: Any) -> Policy:
    packed = {"p.yml": text.encode(), **{name: data.encode() for name, data in (files or {}).items()}}
    return from_sources(Packed("file:p.yml", packed), "p.yml", **options)


def bundle(entry: str, **options: Any) -> Policy:
    files = {path.relative_to(BUNDLE).as_posix(): path.read_bytes() for path in BUNDLE.rglob("*") if path.is_file()}
    return from_sources(Packed("git:bundle", files), entry, **options)


def only(policy: Policy) -> Rule:
    (rule,) = policy.rules
    return rule


def problem(text: str, files: Mapping[str, str] | None = None, **options: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        read(text, files, **options)
    return one_sentence(caught.value) + f" | {caught.value.hint or ''}"


def rule(fields: str, **options: Any) -> Rule:
    """One rule of the second generation."""
    return only(read(f"rules:\n- name: r\n{_indented(fields)}", **options))


def _indented(fields: str) -> str:
    return "".join(f"  {line}\n" for line in fields.splitlines())


# -- the three generations ---------------------------------------------------------------------------------------------


def test_first_generation() -> None:
    policy = from_sources(Loose(str(DATA), "file:verify-license.yml"), "verify-license.yml")
    assert (policy.reference.id, policy.reference.name) == ("model-policy", "model-policy")
    made = only(policy)
    assert (made.id, made.level, made.line) == ("model-licence", Level.ERROR, 8)
    assert made.require is not None and made.rego is not None
    (selector,) = made.require.selectors
    assert (selector.types, selector.signed_by) == (CYCLONEDX, SignedBy((TRUSTED,)))
    assert made.arguments == {"licenses": ["mit"]}
    assert set(made.rego.modules) == {"hub-licence.rego"}
    assert made.rego.wrapped and made.rego.version == "auto" and made.rego.network == ()
    assert policy.notes == ("'switched-off': is switched off in the file and was left out",)


def test_second_generation() -> None:
    policy = from_sources(Loose(str(DATA), "file:rules.valint.yaml"), "rules.valint.yaml")
    first, second = policy.rules
    assert first.arguments == {"licenses": ["mit"]}
    assert first.require is not None and first.require.selectors[0].types == CYCLONEDX
    assert second.level is Level.WARNING
    assert second.rego is not None and "pickles" in next(iter(second.rego.modules.values()))
    assert len(policy.notes) == 1 and "filters by product" in policy.notes[0]


def test_third_generation() -> None:
    policy = bundle("v2/initiatives/models.yaml", licence="mit")
    assert (policy.reference.id, policy.reference.version) == ("models", "1.0.0")
    assert policy.description.startswith("What must be true")
    licences, inventory = policy.controls
    assert (licences.id, licences.mitigation, licences.when) == (
        "licences",
        "Ask the legal team.",
        When(gates=("Build",)),
    )
    (first,) = licences.rules
    assert (first.id, first.name, first.uses) == ("model-licence", "Licence of a Model", "licence/model@v2")
    assert first.arguments == {"licenses": ["mit"]}
    assert first.rego is not None and set(first.rego.modules) == {"v2/rules/licence/hub-licence.rego"}
    assert first.missing and first.mitigation.startswith("Use a model")
    (second,) = inventory.rules
    assert second.level is Level.NOTE and second.rego is None and second.require is not None
    selector = second.require.selectors[0]
    assert selector.labels == {"team": "vision"}
    assert selector.signed_by == SignedBy((TRUSTED,))  # the initiative's default is stricter than the bundle's rule


def test_a_single_rule() -> None:
    policy = bundle("v2/rules/bom/exists.yaml")
    assert only(policy).id == policy.reference.id == "bom-exists"
    assert "accepts evidence that anybody could have written" in policy.notes[0]


@pytest.mark.parametrize(
    ("text", "generation"),
    [
        ("attest: {cocosign: {policies: [{modules: []}]}}", 0),
        ("attest: {cocosign: {policies: [{rules: []}]}}", 1),
        ("attest: {cocosign: {policies: []}}", 1),
        ("rules: [{uses: a/b@v1}]", 1),
        ("{name: r, path: r.rego}", 1),
        ("config-type: initiative", 2),
        ("config-type: rule", 2),
        ("controls: []", 2),
        ("assay-policy: 1", None),
        ("assay-rule: 1\nrules: []", None),
        ("config-type: bundle", None),
        ("version: 1\nevidence: att\ntrust: []", None),
        ("attest: {cocosign: {}}\nrules: []", None),
        ("attest: x", None),
        ("rules: [x]", None),
        ("[]", None),
        ("", None),
    ],
)
def test_which_generation(text: str, generation: int | None) -> None:
    assert valint.is_valint(strict_yaml.loads(text.encode(), "p.yml")) == generation


# -- what fields become ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evidence", "types"),
    [
        ("format-type: cyclonedx-json", CYCLONEDX),
        ("content_body_type: cyclonedx-json", CYCLONEDX),
        ("format: attest-cyclonedx-json", CYCLONEDX),
        ("format: statement-cyclonedx-json", CYCLONEDX),
        ("format: attest", CYCLONEDX),
        ("format: attest-slsa", ("https://slsa.dev/provenance/*",)),
        (
            "{format-type: generic, predicate_type: 'http://docs.oasis-open.org/sarif/sarif/2.1.0'}",
            ("http://docs.oasis-open.org/sarif/sarif/2.1.0",),
        ),
        (
            "predicate_type: http://scribesecurity.com/evidence/generic/v0.1",
            ("https://assay.dev/generic/v0.1", "http://scribesecurity.com/evidence/generic/v0.1"),
        ),
        ("{}", ("*",)),
    ],
)
def test_kinds_of_evidence(evidence: str, types: tuple[str, ...]) -> None:
    made = rule(f"evidence:\n  {evidence}")
    assert made.require is not None and made.require.selectors[0].types == types


def test_people_are_those_whom_the_caller_trusts_by_that_name() -> None:
    policy = read(
        "rules:\n- name: r\n  with: {identity: {emails: [a@x.org, b@x.org], uris: ['https://ci'], common-names: []}}\n"
    )
    made = only(policy)
    assert made.require is not None
    (name,) = made.require.selectors[0].signed_by.groups
    assert policy.signers[name].members == tuple(
        IdentitySigner(who, "") for who in ("a@x.org", "b@x.org", "https://ci")
    )


def test_named_people_must_sign_even_where_the_file_says_unsigned() -> None:
    policy = read("rules:\n- name: r\n  evidence: {signed: false}\n  with: {identity: {emails: [a@x.org]}}\n")
    made = only(policy)
    assert made.require is not None and made.require.selectors[0].signed_by.groups == ("trusted as a@x.org",)
    assert "demanded all the same" in policy.notes[0]


def test_a_used_rule_that_demands_a_signature_keeps_demanding_it() -> None:
    base = "config-type: rule\nname: b\nevidence: {signed: true, labels: [a=1]}\n"
    text = (
        "defaults: {evidence: {signed: false, labels: [b=2]}}\nrules:\n- uses: x/base@v2\n  evidence: {labels: [c=3]}\n"
    )
    made = rule_of(text, base)
    assert made.require is not None
    assert made.require.selectors[0].signed_by.groups == (TRUSTED,)
    assert made.require.selectors[0].labels == {"a": "1", "b": "2", "c": "3"}
    loose = rule_of("rules:\n- uses: x/base@v2\n  evidence: {signed: false}\n", base)
    assert loose.require is not None and loose.require.selectors[0].signed_by.groups == ()


def rule_of(text: str, base: str) -> Rule:
    return only(read(text, {"v2/rules/x/base.yaml": base}))


def test_filters_become_conditions_and_are_never_dropped() -> None:
    made = rule(
        "evidence: {git_url: 'https://github.com/o/r', git_branch: main, sbomname: x, product_version: 1.5,"
        " target_type: container, labels: ['a=*', plain, '']}"
    )
    assert made.require is not None
    selector = made.require.selectors[0]
    assert [(condition.path, condition.operator, condition.value, condition.root) for condition in selector.where] == [
        (("context", "git_url"), "==", "https://github.com/o/r", "said"),
        (("context", "git_branch"), "==", "main", "said"),
        (("context", "product_version"), "==", "1.5", "said"),
        (("context", "sbomname"), "==", "x", "said"),
    ]
    assert selector.labels == {"a": "[*]", "plain": "*"}
    assert made.when == When(targets=("image", "oci"))


def test_the_tool_of_a_sarif_log() -> None:
    made = rule("evidence: {format-type: sarif, tool: 'A Scanner'}")
    assert made.require is not None
    (condition,) = made.require.selectors[0].where
    assert (condition.path, condition.root) == (("runs", "*", "tool", "driver", "fullName"), "predicate")


def test_the_same_pipeline() -> None:
    context = {"context_type": "github", "git_commit": "c0ffee", "run_id": "7", "actor": "alice"}
    made = rule("evidence: {filter-by: [pipeline]}", context=context)
    assert made.require is not None
    assert {condition.path[1]: condition.value for condition in made.require.selectors[0].where} == {
        "context_type": "github",
        "git_commit": "c0ffee",
        "run_id": "7",
    }
    assert "needs the run or the commit" in problem("rules: [{name: r, evidence: {filter-by: [pipeline]}}]")


def test_templates() -> None:
    text = """\
env: {STAGE: prod}
rules:
- name: r
  evidence:
    git_commit: '{{ .Context.git_commit }}'
    tool: '{{- if (index .Stores "scribe") -}}{{- "x" -}}{{- else -}}{{- "<no value>" -}}{{- end -}}'
    labels: ['stage={{ .Env.STAGE }}', '{{ asset_if_found .Args.Asset }}']
  with: {limit: 3, owner: '{{ .Args.Owner }}'}
  script: "package verify # {{ untouched }}"
"""
    made = only(read(text, context={"git_commit": "c0ffee"}, Owner="me"))
    assert made.require is not None and made.rego is not None
    selector = made.require.selectors[0]
    assert [condition.value for condition in selector.where] == ["c0ffee"]
    assert selector.labels == {"stage": "prod"}
    assert made.arguments == {"limit": 3, "owner": "me"}
    assert list(made.rego.modules.values()) == ["package verify # {{ untouched }}"]
    assert "needs the argument 'Owner'" in problem(text, context={"git_commit": "c0ffee"})
    assert "did you mean 'Owner'" in problem(text, context={"git_commit": "c0ffee"}, Owner="me", Ownr="you")


@pytest.mark.parametrize("hostile", ["x\n  signed: false", "a]\nsigned: false", "{{ .Env.STAGE }}", "*", "[a-z]"])
def test_an_argument_cannot_become_yaml_or_a_pattern(hostile: str) -> None:
    text = "env: {STAGE: prod}\nrules: [{name: r, evidence: {labels: ['t={{ .Args.X }}'], signed: true}}]"
    made = only(read(text, X=hostile))
    assert made.require is not None
    selector = made.require.selectors[0]
    assert selector.signed_by == SignedBy((TRUSTED,))
    assert fnmatchcase(hostile, selector.labels["t"]) and not fnmatchcase("other", selector.labels["t"])


def test_a_rule_without_evidence() -> None:
    policy = read("rules: [{name: r, skip-evidence: true, script: package verify}]")
    assert only(policy).require is None and "nothing signed stands behind" in policy.notes[0]
    assert "demands nothing" in problem("rules: [{name: r, skip-evidence: true}]")


def test_the_file_that_lies_beside_the_settings() -> None:
    text = "attest: {cocosign: {policies: [{name: p, rules: [{name: r}]}]}}"
    assert only(read(text)).rego is None
    made = only(read(text, {".valint.rego": "package verify"}))
    assert made.rego is not None and made.rego.modules == {".valint.rego": "package verify"}


def test_rules_of_one_id_in_several_controls() -> None:
    text = "config-type: initiative\nname: i\ncontrols:\n" + "".join(
        f"- {{id: {name}, rules: [{{id: same, name: x}}, {{id: own-{name}, name: y}}]}}\n" for name in "ab"
    )
    assert [made.id for made in read(text).rules] == ["a.same", "own-a", "b.same", "own-b"]


def test_a_control_without_rules_is_told() -> None:
    policy = read("controls:\n- {name: a, rules: [{name: r}]}\n- name: b\n  rules:\n    # later\n")
    assert [control.id for control in policy.controls] == ["a"]
    assert "'b': has no rules and was left out" in policy.notes


def test_hosted_services_are_told() -> None:
    policy = read("rules: [{name: r, require-scribe-api: true, aggregate-results: true, script: package verify}]")
    assert any("will end as an error" in note for note in policy.notes)
    assert any("changes nothing here" in note for note in policy.notes)


def test_settings_of_valint_are_told() -> None:
    text = (
        "scribe: {enable: true}\nattest: {default: x, cocosign: {pki: {}, policies: [{name: p, rules: [{name: r}]}]}}"
    )
    assert "scribe, attest.default, attest.cocosign.pki" in read(text).notes[0]


# -- rules that are used -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uses", ["x/base@v2", "x/base@v2/rules", "rules/x/base@v2"])
def test_where_a_used_rule_lies(uses: str) -> None:
    base = "config-type: rule\nname: b\nlevel: note\nwith: {a: {b: 1, c: 2}, d: [1]}\n"
    made = rule_of(f"rules:\n- uses: {uses}\n  with: {{a: {{b: 5}}, d: []}}\n", base)
    assert (made.level, made.name, made.arguments) == (Level.NOTE, "b", {"a": {"b": 5, "c": 2}, "d": []})


def test_a_rule_from_the_callers_catalogue() -> None:
    elsewhere = Packed(
        "builtin:rules", {"x/y.yaml": b"config-type: rule\nname: y\npath: y.rego\n", "x/y.rego": b"package verify"}
    )
    made = only(read("rules: [{uses: x/y@v2}]", resolve=lambda uses: (elsewhere, "x/y.yaml")))
    assert made.rego is not None and made.rego.modules == {"x/y.rego": "package verify"}


def test_a_rule_of_assays_own() -> None:
    own = b"assay-rule: 1\nid: fresh\nname: fresh\ninputs: [{name: age, type: duration, required: true}]\n"
    own += b'require: {evidence: cyclonedx, max-age: "${{ inputs.age }}"}\n'

    def resolve(uses: str) -> tuple[Sources, str]:
        return Packed("builtin:rules", {"fresh.yaml": own}), "fresh.yaml"

    text = "rules:\n- uses: sbom/fresh@v2\n  level: warning\n  evidence: {labels: [a=b], git_branch: main}\n"
    policy = read(text + "  with: {age: 7d, identity: {emails: [a@x.org]}}\n", resolve=resolve)
    made = only(policy)
    assert made.level is Level.WARNING and made.require is not None and made.rego is None
    selector = made.require.selectors[0]
    assert selector.max_age is not None and selector.max_age.days == 7
    assert selector.labels == {"a": "b"} and len(selector.where) == 1
    assert selector.signed_by.groups == ("trusted as a@x.org",) and "trusted as a@x.org" in policy.signers
    assert "cannot be used like this" in problem(text + "  with: {max_days: 7}\n", resolve=resolve)
    assert "takes no path" in problem(text + "  with: {age: 7d}\n  path: x.rego\n", resolve=resolve)


def test_a_rule_that_is_nowhere() -> None:
    told = problem("name: n\nrules:\n- name: r\n- uses: sbom/licence@v2\n")
    assert told.startswith("p.yml:4: sbom/licence@v2 is not in the policy's bundle") and "sbom/licences@v1" in told


# -- attacks and mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: [{name: r, path: ../secret.rego}]", "leads out"),
        ("rules: [{name: r, path: /etc/passwd}]", "leads out"),
        ("rules: [{name: r, path: a/../../x.rego}]", "leads out"),
        ("rules: [{name: r, path: 'a\\b.rego'}]", "not a file beside"),
        ("rules: [{name: r, path: none.rego}]", "no file 'none.rego'"),
        ("rules: [{name: r, path: bytes.rego, script: x}]", "path and script"),
        ("rules: [{name: r, script: 7}]", "not the text of a rule"),
        ("rules: [{uses: ../../x/y@v2}]", "not of the form"),
        ("rules: [{uses: x/../../y@v2}]", "not of the form"),
        ("rules: [{uses: /etc/x@v2}]", "not of the form"),
        ("rules: [{uses: x/y@../..}]", "not of the form"),
        ("rules: [{uses: x/y}]", "not of the form"),
        ("rules: [{uses: x@v2}]", "not of the form"),
        ("rules: [{uses: 'https://evil.example/x@v2'}]", "not of the form"),
        ("rules: [{id: 'a::b', name: r}]", "without '::'"),
        ("id: 'a::b'\nname: p\nrules: [{name: r}]", "without '::'"),
        ("config-type: initiative\ncontrols: [{id: 'a::b', rules: [{name: r}]}]", "without '::'"),
        ("rules: [{id: a, name: r}, {id: a, name: s}]", "'a' is used twice"),
        ("rules: [{name: a}, {name: a}]", "'a' is used twice"),
        ("controls: [{id: a, rules: [{name: r}]}, {id: a, rules: [{name: s}]}]", "'a' is used twice"),
        ("rules: [{name: r, levl: error}]", "did you mean 'level'?"),
        ("rules: [{name: r, evidence: {sgined: true}}]", "did you mean 'signed'?"),
        ("rules: [{name: r, level: fatal}]", "is not known"),
        ("rules: [{name: r, evidence: {signed: 'yes'}}]", "not true or false"),
        ("rules: [{name: r, evidence: {format-type: cyclone}}]", "is not known"),
        ("rules: [{name: r, evidence: {format-type: slsa, format: attest-generic}}]", "differ"),
        ("rules: [{name: r, evidence: {target_type: imge}}]", "did you mean 'image'?"),
        ("rules: [{name: r, evidence: {filter-by: [produkt]}}]", "did you mean 'product'?"),
        ("rules: [{name: r, evidence: {predicate_type: 'http*'}}]", "is no predicate type"),
        ("rules: [{name: r, evidence: {labels: [a=1, a=2]}}]", "two values"),
        ("rules: [{name: r, evidence: {labels: ['=x']}}]", "no name"),
        ("rules: [{name: r, with: {identity: {email: [a]}}}]", "did you mean 'emails'?"),
        ("rules: [{name: r, with: {defaults: {evidence: {labels: [a]}}}}]", "under evidence:"),
        ("rules: [{name: r, evidence: [x]}]", "not a mapping"),
        ("rules: [{name: r, disable: true}]", "no rule is left"),
        ("rules: []", "no rule is left"),
        ("rules: [{name: r, all-evidence: true}]", "over all evidence at once"),
        ("controls: []", "no rule is left"),
        ("controls: [{name: c}]", "no rule is left"),
        ("controls: [{name: c, rules: {name: r}}]", "not a list"),
        ("controls: [{name: c, when: {gates: x}, rules: [{name: r}]}]", "did you mean 'gate'?"),
        (
            "config-type: initiative\nrequired-valint-version: 3.0.0\ncontrols: [{rules: [{name: r}]}]",
            "for valint 3.0.0",
        ),
        ("attest: {cocosign: {policies: []}}", "no rule is left"),
        ("attest: {cocosign: {policies: [x]}}", "not a mapping"),
        ("attest: {cocosign: {policies: [{name: p, rules: [{name: r, type: other}]}]}}", "the type 'other'"),
        ("attest: {cocosign: {policies: [{modules: [{name: m, input: {sgned: true}}]}]}}", "did you mean 'signed'?"),
        ("attest: {cocosign: {policies: [{modules: [{name: m, input: {rego: {args: {}}}}]}]}}", "'.valint.rego'"),
        ("attest: {cocosign: {policies: [{modules: [{name: m, match: {}, input: {match: {}}}]}]}}", "beside and in"),
        ("rules: [{name: r, type: git-owner}]", "demands nothing"),
        ("rules: [{name: r, type: git-owner, with: {specific: [{users: [a]}]}}]", "has no path"),
        ("rules: [{name: r, type: git-owner, with: {default: {user: a}}}]", "did you mean 'users'?"),
    ],
)
def test_refused(text: str, told: str) -> None:
    made = problem(text)
    assert told in made
    assert made.startswith("p.yml:")


def test_a_circle_of_rules() -> None:
    files = {
        "v2/rules/x/a.yaml": "config-type: rule\nuses: x/b@v2\n",
        "v2/rules/x/b.yaml": "config-type: rule\nuses: x/a@v2\n",
        "v2/rules/x/self.yaml": "config-type: rule\nuses: x/self@v2\n",
    }
    for uses in ("x/a@v2", "x/self@v2"):
        assert "in a circle" in problem(f"rules: [{{uses: {uses}}}]", files)
    chain = {f"v2/rules/x/c{i}.yaml": f"config-type: rule\nuses: x/c{i + 1}@v2\n" for i in range(50)}
    assert "in a circle" in problem("rules: [{uses: x/c0@v2}]", chain)


def test_links_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.rego").write_text("package verify")
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "r.rego").symlink_to(tmp_path / "secret.rego")
    (folder / "p.yml").write_text("rules: [{name: r, path: r.rego}]")
    with pytest.raises(DocumentError, match="link out"):
        from_sources(Loose(str(folder), "file:p.yml"), "p.yml")


def test_files_that_are_no_text() -> None:
    sources = Packed("file:p.yml", {"p.yml": b"rules: [{name: r, path: r.rego}]", "r.rego": b"\xff\xfe"})
    with pytest.raises(DocumentError, match="not UTF-8"):
        from_sources(sources, "p.yml")


def test_too_many_rules() -> None:
    assert "more than 2,000 rules" in problem("rules:\n" + "".join(f"- name: r{i}\n" for i in range(3000)))
    assert "more than" in problem("rules:\n" + "- name: x\n" * 100_000)


def test_inputs_that_a_used_rule_requires() -> None:
    base = "config-type: rule\nname: b\ninputs: [{name: max, type: integer, required: true}]\n"
    told = problem("rules: [{uses: x/base@v2}]", {"v2/rules/x/base.yaml": base})
    assert "the input 'max' of v2/rules/x/base.yaml is not given" in told


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_policies_are_read_or_refused(data: st.DataObject) -> None:
    """Some value of a whole policy replaced by another: a policy or one sentence, never anything else."""
    texts = [path.read_text() for path in sorted(DATA.glob("*.y*ml")) + sorted(BUNDLE.rglob("*.yaml"))]
    document, lines = strict_yaml.loads_with_lines(data.draw(st.sampled_from(texts)).encode(), "p.yml")
    paths = [path for path in lines if path]
    at = data.draw(st.sampled_from(paths))
    holder = document
    for key in at[:-1]:
        holder = holder[key]
    odd = st.sampled_from([None, True, 7, 1.5, "", "x", "{{", "a::b", [], ["x"], {}, {"x": 1}, [{}], [[]], [None]])
    holder[at[-1]] = data.draw(odd)
    if valint.is_valint(document) is None:
        return
    files = {path.relative_to(BUNDLE).as_posix(): path.read_bytes() for path in BUNDLE.rglob("*") if path.is_file()}
    sources = Packed("git:bundle", {**files, "hub-licence.rego": b"package verify"})
    try:
        made = valint.read(document, lines, sources, "p.yml", resolve=nowhere, given={})
    except AssayError as error:
        one_sentence(error)
    else:
        assert made.rules


def test_a_file_beside_the_settings_that_cannot_be_read_is_not_overlooked() -> None:
    text = b"attest: {cocosign: {policies: [{name: p, rules: [{name: r}]}]}}"
    with pytest.raises(DocumentError, match="not UTF-8"):
        from_sources(Packed("file:p.yml", {"p.yml": text, ".valint.rego": b"\xff"}), "p.yml")


def test_a_rule_of_the_bundle_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    """A link that leads out must not make way for a rule of the same name from elsewhere."""
    (tmp_path / "out.yaml").write_text("config-type: rule\nname: out\n")
    folder = tmp_path / "policy" / "v2" / "rules" / "x"
    folder.mkdir(parents=True)
    (folder / "base.yaml").symlink_to(tmp_path / "out.yaml")
    (tmp_path / "policy" / "p.yml").write_text("rules: [{uses: x/base@v2}]")
    elsewhere = Packed("builtin:rules", {"base.yaml": b"config-type: rule\nname: b\n"})
    with pytest.raises(DocumentError, match="cannot be read"):
        from_sources(Loose(str(tmp_path / "policy"), "file:p"), "p.yml", resolve=lambda _: (elsewhere, "base.yaml"))


def test_a_loose_policy_uses_rules_of_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("rules: [{uses: x/base@v2}]")
    elsewhere = Packed("builtin:rules", {"base.yaml": b"config-type: rule\nname: b\n"})
    made = from_sources(Loose(str(tmp_path), "file:p"), "p.yml", resolve=lambda _: (elsewhere, "base.yaml"))
    assert only(made).name == "b"
