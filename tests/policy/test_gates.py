"""A gate that was mistyped must not leave rules out in silence; one that is merely another gate is no error."""

from __future__ import annotations

import pytest

from assay.errors import UsageError
from assay.policy import gates
from assay.policy.verdict import Verdict
from helpers import one_sentence
from policy_making import case, decided, item, policy

BOTH = """\
assay-policy: 1
id: test
controls:
- id: c
  when: {gate: [deploy, release]}
  rules:
  - {id: a, when: {gate: deploy}, require: {evidence: scan}}
- id: d
  rules:
  - {id: b, when: {gate: serve}, require: {evidence: scan}}
  - {id: signed, require: {evidence: model-signature}}
"""
UNGATED = "  - {id: signed, require: {evidence: model-signature}}\n"


def test_the_gates_of_a_policy_are_those_of_its_controls_and_rules() -> None:
    assert gates.named(policy(BOTH)) == ("deploy", "release", "serve")
    assert gates.named(policy(UNGATED)) == ()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("serv", "serve"),
        ("SERVE", "serve"),
        ("serve ", "serve"),
        ("sevre", "serve"),
        ("deplooy", "deploy"),
        ("Deploy", "deploy"),
        ("deployment", "deploy"),
        ("depoly", "deploy"),
        ("releas", "release"),
    ],
)
def test_what_is_almost_a_gate_is_refused_and_says_which(said: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        gates.refuse_slip(policy(BOTH), said)
    assert repr(said) in one_sentence(caught.value) and caught.value.hint == f"did you mean {meant!r}?"
    assert caught.value.exit_code == 2


def test_a_slip_in_the_policy_itself_is_refused_where_the_right_word_is_said() -> None:
    with pytest.raises(UsageError, match="'deplooy'"):
        gates.refuse_slip(policy(BOTH.replace("deploy", "deplooy")), "deploy")


@pytest.mark.parametrize("said", ["", " ", "\t"])
def test_a_gate_without_a_name_is_refused(said: str) -> None:
    """``--gate "$GATE"`` where nobody set it: every rule for some gate would be left out."""
    for text in (BOTH, UNGATED):
        with pytest.raises(UsageError, match="no name"):
            gates.refuse_slip(policy(text), said)


@pytest.mark.parametrize("said", [None, "deploy", "serve", "release", "train", "load", "staging", "serve" * 100])
def test_other_gates_are_no_error(said: str | None) -> None:
    gates.refuse_slip(policy(BOTH), said)


def test_a_gate_that_nobody_names_is_told() -> None:
    decision = decided(BOTH, case(item("model-signature"), gate="staging"))
    assert decision.verdict is Verdict.PASS
    assert decision.warnings == ("no rule of this policy is for the gate 'staging' (it names: deploy, release, serve)",)
    many = BOTH.replace("gate: serve", f"gate: [{', '.join(f'g{i}' for i in range(40))}]")
    assert decided(many, case(gate="staging")).warnings[0].endswith("release, g0, g1, g2, g3, g4, g5, g6, g7, …)")


@pytest.mark.parametrize("said", [None, "deploy", "release", "serve", "train", "load"])
def test_a_gate_that_is_named_or_that_assay_speaks_of_is_not_told(said: str | None) -> None:
    assert decided(BOTH, case(item("model-signature"), gate=said)).warnings == ()
    assert decided(UNGATED, case(item("model-signature"), gate="staging")).warnings == (), "nothing was left out"


def test_names_that_nobody_typed_take_no_time() -> None:
    """A stranger's policy: comparing two texts of a megabyte takes hours, so they are not compared."""
    long = policy(BOTH.replace("serve", "ab" * 100_000))
    gates.refuse_slip(long, "ba" * 90_000)
    gates.refuse_slip(long, "staging")
    assert len(gates.doubt(long, "ba" * 90_000) or "") < 400
