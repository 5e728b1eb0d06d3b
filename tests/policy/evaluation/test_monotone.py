"""Taking evidence, or a signature, away never improves a verdict: neither a rule's nor the policy's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from assay.evidence.compare import Difference
from assay.policy.case import Item
from policy_making import MODEL, NOW, case, decided, item, policy

POLICY = policy("""\
assay-policy: 1
id: monotone
signers:
  ci: {identities: [{identity: ci, issuer: "https://i.example"}]}
  qa: {identities: [{identity: qa, issuer: "https://i.example"}]}
controls:
- id: c
  rules:
  - {id: signed, require: {evidence: model-signature, signed-by: ci}}
  - {id: two, require: {evidence: evaluation, signed-by: [ci, qa], threshold: 2}}
  - {id: fresh, level: warning, require: {evidence: [cyclonedx], signed-by: [ci, qa], max-age: 7d}}
  - {id: good, require: {evidence: evaluation, signed-by: qa, max-age: 30d, where: ["accuracy >= 0.5"]}}
  - {id: newest, require: {evidence: evaluation, signed-by: qa, newest: true, where: ["accuracy >= 0.5"]}}
  - {id: proved, require: {evidence: cyclonedx, signed-by: ci, max-age: 7d, proved-time: true}}
  - {id: note, level: note, require: {evidence: cyclonedx, signed-by: ci}}
  - id: together
    require:
      evidence: {bom: cyclonedx, eval: evaluation, training: slsaprovenance}
      signed-by: [ci, qa]
      same: [run_id]
      order: [training, eval]
      where: ["eval.accuracy >= 0.5"]
  - id: lineage
    require:
      evidence: {training: slsaprovenance, data: {type: cyclonedx, linked: true}}
      signed-by: [ci, qa]
      edges: [data -> training]
""")

DATA = "ab" * 32
people = st.lists(st.sampled_from([("ci", "ci"), ("qa", "qa"), ("ci2", "ci"), ("eve", "nobody")]), max_size=3)


@st.composite
def evidence(draw: st.DrawFn, linked: bool = False) -> Item:
    kind = draw(st.sampled_from(["model-signature", "evaluation", "cyclonedx", "slsaprovenance"]))
    predicate = {
        "evaluation": {"metrics": {"accuracy": draw(st.sampled_from([0.2, 0.5, 0.9, "0.9", None]))}},
        "slsaprovenance": {
            "buildDefinition": {
                "resolvedDependencies": [{"uri": "d", "digest": {"sha256": draw(st.sampled_from([DATA, MODEL]))}}]
            }
        },
    }.get(kind, {})
    mismatch = draw(st.booleans()) and not linked
    made = item(
        kind,
        predicate,
        by=(),
        age=draw(st.sampled_from([None, timedelta(hours=1), timedelta(days=10), timedelta(days=-1)])),
        subject=DATA if linked else MODEL,
        seq=draw(st.integers(1, 50)),
        matched=not mismatch,
        difference=Difference(modified=("w",)) if mismatch and draw(st.booleans()) else None,
        discarded=draw(st.integers(0, 5)) == 0,
        said={"context": {"run_id": draw(st.sampled_from(["1", "2"]))}} if draw(st.booleans()) else {},
    )
    signed = [
        item(kind, by=(who,), groups=(group,), proved_at=draw(st.sampled_from([None, NOW - timedelta(days=2)]))).proofs[
            0
        ]
        for who, group in draw(people)
    ]
    return replace(made, proofs=tuple(signed))


@settings(max_examples=300, deadline=None)
@given(st.lists(evidence(), max_size=8), st.lists(evidence(linked=True), max_size=3), st.data())
def test_removal_never_improves(items: list[Item], linked: list[Item], data: st.DataObject) -> None:
    before = decided(POLICY, case(*items, linked=linked))
    everything = [("item", i) for i in range(len(items))] + [("linked", i) for i in range(len(linked))]
    if not everything:
        return
    where, i = data.draw(st.sampled_from(everything))
    fewer = {"item": list(items), "linked": list(linked)}
    victim = fewer[where][i]
    if victim.proofs and data.draw(st.booleans()):
        drop = data.draw(st.integers(0, len(victim.proofs) - 1))
        fewer[where][i] = replace(victim, proofs=victim.proofs[:drop] + victim.proofs[drop + 1 :])
    else:
        del fewer[where][i]
    # A store from which something was taken is not whole any more: its entries are linked to each other.
    after = decided(POLICY, case(*fewer["item"], linked=fewer["linked"], incomplete="an entry is missing"))
    for one, other in zip(before.results, after.results, strict=True):
        assert other.verdict.rank <= one.verdict.rank, (one.rule, one.verdict, one.reason, other.verdict, other.reason)
    assert after.verdict.rank <= before.verdict.rank
    assert not (after.accepted and not before.accepted)
    assert not (after.exit_code == 0 and before.exit_code != 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(evidence(), max_size=8), st.lists(evidence(linked=True), max_size=3))
def test_what_nobody_expected_signed_changes_nothing_for_the_better(items: list[Item], linked: list[Item]) -> None:
    """A stranger's evidence can make no rule pass that does not pass without it."""
    strangers = [replace(one, proofs=()) for one in items]
    without = decided(POLICY, case())
    decision = decided(POLICY, case(*strangers, linked=[replace(one, proofs=()) for one in linked]))
    for one, other in zip(without.results, decision.results, strict=True):
        assert not other.verdict.accepts or one.verdict.accepts
