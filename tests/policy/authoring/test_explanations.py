"""The smallest set of changes: each of them works, no smaller set does; and what a passing target rests on."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.evidence.compare import Difference
from assay.policy import evaluation
from assay.policy.authoring import covering, explaining, telling
from assay.policy.authoring.explaining import Explanation
from assay.policy.case import Item
from assay.policy.model import Policy
from assay.policy.verdict import Kind, Verdict
from policy_making import MODEL, NOW, case, item, no_engine, policy

SIGNERS = """\
signers:
  ci: {identities: [{identity: ci, issuer: "https://i.example"}]}
  qa: {identities: [{identity: qa, issuer: "https://i.example"}]}
"""


def whole(rules: str, top: str = "") -> Policy:
    return policy(f"assay-policy: 1\nid: t\n{top}{SIGNERS}controls:\n- id: c\n  rules:\n{rules}")


def explained(rules: Policy | str, *items: Item, **changes: object) -> Explanation:
    made = whole(rules) if isinstance(rules, str) else rules
    found = explaining.explain(made, case(*items, **changes), no_engine)
    text = "\n".join(telling.as_text(found, "the model", " -d att"))
    assert text.isprintable() or "\n" in text
    json.dumps(telling.as_document(found), allow_nan=False)
    return found


def test_two_rules_that_one_attestation_satisfies_are_one_change() -> None:
    found = explained(
        "  - {id: a, require: {evidence: evaluation, signed-by: ci, where: ['f1 >= 0.8']}}\n"
        "  - {id: b, require: {evidence: evaluation, signed-by: ci, max-age: 7d, where: ['accuracy > 0.9']}}\n"
        "  - {id: c, require: {evidence: model-signature, signed-by: ci}}\n"
    )
    assert [change.rules for change in found.changes] == [("a", "b"), ("c",)]
    assert found.changes[0].alone == ("a", "b") and found.changes[0].conditions == ("f1 >= 0.8", "accuracy > 0.9")
    assert (found.exact, found.after, found.remaining) == (True, Verdict.PASS, ())
    assert telling.command(found.changes[1], "dir:my model", " -d att") == (
        "assay sign 'dir:my model' -d att --key KEY-OF-ci.pem"
    )


def test_alternatives_are_chosen_so_that_there_are_fewest() -> None:
    found = explained(
        "  - {id: any, require: {evidence: sbom, signed-by: ci}}\n"
        "  - {id: one, require: {evidence: spdx, signed-by: ci}}\n"
        "  - {id: two, require: {evidence: {x: {type: [scan, spdx]}}, signed-by: [qa, ci]}}\n"
    )
    assert len(found.changes) == 1
    assert set(found.changes[0].rules) == {"any", "one", "two"} == set(found.changes[0].alone)
    assert "spdx" in found.changes[0].need.what and found.after is Verdict.PASS


def test_what_cannot_hold_together_is_not_one_change() -> None:
    found = explained(
        "  - {id: a, require: {evidence: evaluation, where: ['split == test']}}\n"
        "  - {id: b, require: {evidence: evaluation, where: ['split == train']}}\n"
    )
    assert sorted(change.rules for change in found.changes) == [("a",), ("b",)] and found.after is Verdict.PASS
    found = explained(
        "  - {id: pii, require: {evidence: scan, scan: {kind: pii}}}\n"
        "  - {id: code, require: {evidence: scan, scan: {kind: models}}}\n"
    )
    assert len(found.changes) == 2
    assert sum("assumed, not tried" in line for line in telling.as_text(found, "m")) == 2
    assert found.changes[0].assumes == (f"the check scan of '{found.changes[0].rules[0]}' holds",)


def test_a_missing_signature_is_added_to_what_is_there() -> None:
    good = item("evaluation", {"metrics": {"f1": 0.9}}, groups=("ci",), age=timedelta(days=1))
    rules = "  - {id: a, require: {evidence: evaluation, signed-by: qa, where: ['f1 >= 0.8']}}\n"
    (change,) = explained(rules, good).changes
    assert (change.need.kind, change.existing, change.need.signers) == (Kind.SIGN, good.source, ("qa",))
    # What it says is really tried: a signature under a bad result helps nobody.
    bad = item("evaluation", {"metrics": {"f1": 0.5}}, groups=("ci",))
    (change,) = explained(rules, bad).changes
    assert change.existing == "" and "f1 >= 0.8" in change.need.what


def test_two_of_several_people() -> None:
    rules = "  - {id: a, require: {evidence: evaluation, signed-by: [ci, qa], threshold: 2}}\n"
    found = explained(rules)
    assert found.after is Verdict.PASS and "signed by 2 of" in found.changes[0].need.what
    assert "   2 different signers are needed" in "\n".join(telling.as_text(found, "m"))
    once = explained(rules, item("evaluation", {}, groups=("ci",)))
    assert once.changes[0].need.kind is Kind.SIGN and once.after is Verdict.PASS


def test_what_is_too_old_is_made_again() -> None:
    rules = "  - {id: a, require: {evidence: evaluation, signed-by: ci, max-age: 7d, where: ['f1 >= 0.8']}}\n"
    said = {"metrics": {"f1": 0.9}, "evaluatedOn": "2026-05-01T00:00:00Z"}
    found = explained(rules, item("evaluation", said, groups=("ci",), age=timedelta(days=31)))
    assert (found.changes[0].need.kind, found.after) == (Kind.REFRESH, Verdict.PASS)
    assert "made again" in found.changes[0].need.what


def test_lineage_needs_both_ends() -> None:
    rules = """\
  - id: a
    require:
      evidence: {training: slsaprovenance, data: {type: cyclonedx, linked: true}}
      signed-by: ci
      same: [run_id]
      edges: [data -> training]
      order: [data, training]
"""
    found = explained(rules)
    assert (len(found.changes), found.after, found.exact) == (2, Verdict.PASS, True)
    assert [change.linked for change in found.changes].count(True) == 1
    data = "ab" * 32
    built = {"buildDefinition": {"resolvedDependencies": [{"uri": "d", "digest": {"sha256": data}}]}}
    training = item("slsaprovenance", built, groups=("ci",), said={"context": {"run_id": "7"}})
    found = explained(rules, training)
    assert [change.linked for change in found.changes] == [True] and found.after is Verdict.PASS
    # Both are there and do not fit: one of them made anew is enough.
    other = item("cyclonedx", {}, groups=("ci",), subject=data, said={"context": {"run_id": "8"}}, matched=True)
    found = explained(rules, training, linked=[other])
    assert (len(found.changes), found.after) == (1, Verdict.PASS)


def test_builders_labels_and_proved_times_are_part_of_the_change() -> None:
    found = explained(
        '  - {id: a, require: {evidence: slsaprovenance, signed-by: ci, builder: "https://b.example/*"}}\n'
        "  - {id: b, require: {evidence: scan, signed-by: qa, labels: {stage: prod-*},"
        " proved-time: true, max-age: 1d}}\n"
    )
    assert found.after is Verdict.PASS
    text = "\n".join(telling.as_text(found, "m"))
    assert "built by https://b.example/*" in text and "labelled stage=prod-*" in text and "not older than 1d" in text


def test_what_no_evidence_mends() -> None:
    found = explained(whole("  - {id: a, require: {evidence: scan}}\n", "expires: 2026-01-01\n"))
    assert [change.need.kind for change in found.changes] == [Kind.REPAIR]
    assert found.after is None and not found.changes[0].tried
    assert "has not expired" in "\n".join(telling.as_text(found, "m"))
    found = explained("  - {id: a, require: {evidence: evaluation, newest: true}}\n", incomplete="an entry is gone")
    assert found.after is None and found.changes[0].need.kind is Kind.REPAIR and found.remaining


def test_a_program_in_rego_is_asked_and_its_consent_only_assumed() -> None:
    from assay.policy.rego import engine

    def rules(body: str) -> Policy:
        script = f"package verify\\nimport rego.v1\\n{body}"
        return whole(f'  - {{id: a, require: {{evidence: custom, signed-by: ci}}, rego: {{script: "{script}"}}}}\n')

    says = 'verify := {\\"allow\\": input.evidence.predicate.ok, \\"violation\\": {}, \\"summary\\": []}'
    bad = item("custom", {"ok": False}, groups=("ci",))
    with engine() as running:
        found = explaining.explain(rules(says), case(bad), lambda name: running)
        assert found.decision.verdict is Verdict.FAIL and found.after is Verdict.PASS
        assert found.changes[0].assumes == ("the program of 'a' allows it",)
        # Evidence that lacks a signature only, and that the program really allows, is not assumed to be good.
        signed = explaining.explain(
            rules(says), case(item("custom", {"ok": True}, groups=("x",))), lambda name: running
        )
        assert signed.changes[0].need.kind is Kind.SIGN and signed.changes[0].assumes == ()
        # No evidence mends a program that is wrong.
        broken = explaining.explain(rules("verify := 1"), case(bad), lambda name: running)
        assert broken.after is None and [change.need.kind for change in broken.changes] == [Kind.REPAIR]


def test_altered_files_are_never_simply_signed_again() -> None:
    changed = item("model-signature", matched=False, difference=Difference(modified=("w.bin",)))
    found = explained("  - {id: a, require: {evidence: model-signature}}\n", changed)
    assert found.decision.verdict is Verdict.FAIL
    text = "\n".join(telling.as_text(found, "m"))
    assert "w.bin" in text and "$ assay sign" not in text


def test_a_policy_for_other_targets() -> None:
    found = explained("  - {id: a, when: {target: dataset}, require: {evidence: scan}}\n", kind="model")
    assert found.changes == () and "no rule" in "\n".join(telling.as_text(found, "m"))


def test_only_what_rejects_has_to_change() -> None:
    found = explained(
        "  - {id: a, require: {evidence: scan}}\n  - {id: b, level: warning, require: {evidence: evaluation}}\n"
        "  - {id: c, level: note, require: {evidence: vuln}}\n"
    )
    assert [change.rules for change in found.changes] == [("a",)] and found.after is Verdict.WARN


def test_what_a_passing_target_rests_on_and_until_when() -> None:
    rules = (
        "  - {id: a, require: {evidence: evaluation, max-age: 7d}}\n  - {id: b, require: {evidence: evaluation}}\n"
        "  - {id: c, require: {evidence: model-signature}}\n"
    )
    old, new = (item("evaluation", {"n": n}, age=timedelta(days=days), seq=n) for n, days in ((1, 6), (2, 2)))
    signature = item("model-signature")
    found = explained(rules, new, old, signature)
    assert found.changes == () and found.decision.accepted
    assert {rest.source: rest.without for rest in found.rests} == {
        new.source: Verdict.PASS,
        signature.source: Verdict.MISSING,
    }
    assert found.stale == NOW - timedelta(days=2) + timedelta(days=7, seconds=1) and found.stale_rules == ("a",)
    assert explained("  - {id: c, require: {evidence: model-signature}}\n", signature).stale is None
    expiring = whole("  - {id: c, require: {evidence: model-signature}}\n", "expires: 2026-07-01\n")
    until = explained(expiring, signature).stale
    assert until is not None and (until.month, until.day) == (7, 1)


RULES = [
    "{id: r0, require: {evidence: sbom, signed-by: ci}}",
    "{id: r1, require: {evidence: spdx, signed-by: ci}}",
    "{id: r2, require: {evidence: {x: {type: [scan, evaluation]}}, signed-by: ci}}",
    "{id: r3, require: {evidence: evaluation, signed-by: qa, where: ['f1 >= 0.8']}}",
    "{id: r4, require: {evidence: [scan, cyclonedx], signed-by: ci, max-age: 7d}}",
    "{id: r5, require: {evidence: {x: {type: [vuln, scan, spdx]}}, signed-by: [qa, ci]}}",
]


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.sampled_from(RULES), min_size=1),
    st.lists(
        st.builds(
            lambda kind, group, age, f1: item(
                kind, {"metrics": {"f1": f1}}, groups=(group,), age=timedelta(days=age), seq=age
            ),
            st.sampled_from(["cyclonedx", "spdx", "scan", "evaluation", "vuln"]),
            st.sampled_from(["ci", "qa", "x"]),
            st.integers(1, 20),
            st.sampled_from([0.5, 0.9]),
        ),
        max_size=4,
    ),
)
def test_with_the_changes_it_passes_and_without_any_one_of_them_it_does_not(
    chosen: set[str], items: list[Item]
) -> None:
    rules = whole("".join(f"  - {rule}\n" for rule in sorted(chosen)))
    what = case(*items)
    found = explaining.explain(rules, what, no_engine)
    if found.decision.accepted:
        assert found.changes == ()
        return
    assert found.after is Verdict.PASS and found.remaining == ()
    needed = [set(change.rules) for change in found.changes]
    assert set().union(*needed) == {
        result.rule for result in found.decision.results if result.verdict is not Verdict.PASS
    }
    # Necessary: with all but one of them it does not pass.
    search = explaining._Changes(rules, what, no_engine, found.decision)
    groups = search.plan()
    assert len(groups) == len(found.changes)
    for left_out in range(len(groups)):
        assert not search.decide_with(groups[:left_out] + groups[left_out + 1 :]).accepted


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1, max_size=3), min_size=1, max_size=6))
def test_a_cover_is_smallest(wanted: list[set[str]]) -> None:
    """Against all subsets, tried one by one."""
    uris = {letter: f"https://{letter}.example/v1" for letter in "abcdef"}
    types = [json.dumps([uris[name] for name in sorted(kinds)]) for kinds in wanted]
    text = "".join(
        f"  - {{id: r{i}, require: {{evidence: {{x: {{type: {kinds}}}}}}}}}\n" for i, kinds in enumerate(types)
    )
    found = explained(text)
    least = next(
        size
        for size in range(1, 7)
        if any(all(kinds & set(some) for kinds in wanted) for some in combinations("abcdef", size))
    )
    assert (len(found.changes), found.exact, found.after) == (least, True, Verdict.PASS)


def test_many_kinds_are_covered_greedily_and_that_is_said() -> None:
    rules = "".join(
        f"  - {{id: r{i}, require: {{evidence: 'https://k{i}.example/v1'}}}}\n" for i in range(covering.MAX_CHOICES + 2)
    )
    found = explained(rules)
    assert (len(found.changes), found.exact, found.after) == (covering.MAX_CHOICES + 2, False, Verdict.PASS)
    assert "may be a smaller set" in "\n".join(telling.as_text(found, "m"))


@pytest.mark.parametrize("condition", [
    "f1 >= 0.5", "f1 > 0.5", "f1 < 0.5", "f1 != 0.5", "name == 'x'", "name != 'x'", "name in [a, b]",
    "name not in [a, b]", "name matches 'prod-*'", "tags contains x", "a.b[2].c exists", "all parts[*].ok == true",
    "any parts[*].name == 'w'", "labels.stage == prod", "context.git_branch matches 'rel/[0-9]*'",
])  # fmt: skip
def test_conditions_can_be_made_true(condition: str) -> None:
    found = explained(f"  - {{id: a, require: {{evidence: custom, where: [{json.dumps(condition)}]}}}}\n")
    assert found.after is Verdict.PASS
    assert found.changes[0].conditions == (condition,)


def test_what_was_supposed_is_never_taken_for_evidence() -> None:
    """Nothing of an explanation is left in the case: deciding again gives the same answer."""
    rules = whole("  - {id: a, require: {evidence: evaluation, signed-by: qa}}\n")
    what = case(item("evaluation", {}, groups=("ci",)))
    before = evaluation.evaluate(rules, what, no_engine)
    explaining.explain(rules, what, no_engine)
    assert evaluation.evaluate(rules, what, no_engine) == before and what.sha256 == MODEL


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.just("2026-01-01T00:00:00Z"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["metrics", "runDetails", "builder", "id", "buildDefinition", "resolvedDependencies", "digest", "sha256",
             "metadata", "component", "pedigree", "ancestors", "dataset", "context", "labels", "time", "run_id"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda kind, predicate, said, group, age, subject: item(
                kind,
                predicate if isinstance(predicate, dict) else {"v": predicate},
                groups=(group,),
                age=timedelta(days=age),
                said=said if isinstance(said, dict) else {},
                subject=subject,
            ),
            st.sampled_from(["evaluation", "slsaprovenance", "cyclonedx"]),
            hostile,
            hostile,
            st.sampled_from(["ci", "x"]),
            st.integers(0, 5),
            st.sampled_from([MODEL, "ab" * 32]),
        ),
        max_size=4,
    )
)
def test_whatever_documents_hold_there_is_an_explanation(items: list[Item]) -> None:
    found = explained(
        """\
  - {id: a, require: {evidence: evaluation, signed-by: ci, max-age: 1d, where: ["metrics.f1 >= 0.5"]}}
  - id: l
    require:
      evidence: {training: slsaprovenance, data: {type: cyclonedx, linked: true}}
      signed-by: [ci]
      same: [run_id, builder]
      max-age: 2d
      edges: [data -> training]
      order: [data, training]
""",
        *items,
        linked=items,
    )
    assert found.decision.accepted or found.changes
