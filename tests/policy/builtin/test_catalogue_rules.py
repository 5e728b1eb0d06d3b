"""Every rule of the catalogue: it passes on evidence that satisfies it, and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import AssayError
from assay.policy.case import Item
from assay.policy.verdict import Verdict
from policy.builtin import catalogue_samples as make
from policy.builtin.catalogue_table import BY_NAME, FAIL, MISSING, SAMPLES, UNTRUSTED, Bills
from policy_making import case, decided


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> Bills:
    """Bills of materials of real files."""
    root = tmp_path_factory.mktemp("files")
    return {
        "model": make.bill(make.safe_model(root / "model")),
        "pickled": make.bill(make.pickled_model(root / "pickled")),
        "data": make.bill(make.data_set(root / "data")),
        "code": make.bill(make.code(root / "code")),
    }


def several(made: Item | Sequence[Item]) -> Sequence[Item]:
    return [made] if isinstance(made, Item) else made


def test_every_rule_has_a_sample() -> None:
    assert sorted(BY_NAME) == sorted(make.rules())
    assert len(BY_NAME) == len(SAMPLES)


@pytest.mark.parametrize("rule", sorted(BY_NAME))
def test_passes_on_evidence_that_satisfies_it(rule: str, bills: Bills) -> None:
    sample = BY_NAME[rule]
    items, linked = several(sample.good(bills)), several(sample.linked(bills))
    result = decided(make.using(rule, sample.given), case(*items, linked=linked)).results[0]
    assert (result.verdict, result.violations, result.needs) == (Verdict.PASS, (), ()), result.reason
    assert result.used and result.rule == rule and result.uses == f"{rule}@v1"


@pytest.mark.parametrize(
    ("rule", "number"), [(name, i) for name in sorted(BY_NAME) for i in range(len(BY_NAME[name].bad))]
)
def test_does_not_pass_on_evidence_that_does_not(rule: str, number: int, bills: Bills) -> None:
    sample = BY_NAME[rule]
    bad, expected = sample.bad[number]
    items, linked = several(bad(bills)), several(sample.linked(bills))
    result = decided(make.using(rule, sample.given), case(*items, linked=linked)).results[0]
    assert result.verdict in (expected if isinstance(expected, tuple) else (expected,)), result.reason
    assert result.reason and result.needs and result.risk and result.mitigation


@pytest.mark.parametrize("rule", sorted(BY_NAME))
def test_nothing_and_what_strangers_signed_never_pass(rule: str, bills: Bills) -> None:
    sample = BY_NAME[rule]
    policy = make.using(rule, sample.given)
    assert decided(policy, case()).verdict is MISSING
    items, linked = several(sample.good(bills)), several(sample.linked(bills))
    strangers = [_unproved(item) for item in items]
    assert decided(policy, case(*strangers, linked=linked)).verdict in (UNTRUSTED, MISSING)
    if linked:
        assert decided(policy, case(*items)).verdict is MISSING
        assert decided(policy, case(*items, linked=[_unproved(item) for item in linked])).verdict is UNTRUSTED


def _unproved(item: Item) -> Item:
    return replace(item, proofs=(), problem="nobody expected signed it")


def asks_for_the_newest(rule: str) -> bool:
    require = make.using(rule, BY_NAME[rule].given).rules[0].require
    return require is not None and any(selector.newest for selector in require.selectors)


NEWEST = [rule for rule in sorted(BY_NAME) if asks_for_the_newest(rule)]


@pytest.mark.parametrize("rule", NEWEST)
def test_rules_about_the_newest_need_a_log_that_is_whole(rule: str, bills: Bills) -> None:
    sample = BY_NAME[rule]
    items = several(sample.good(bills))
    decision = decided(make.using(rule, sample.given), case(*items, incomplete="an entry is missing"))
    assert (decision.verdict, decision.exit_code) == (Verdict.ERROR, 3)


def test_reports_that_change_are_looked_at_by_the_newest() -> None:
    families = {name.partition("/")[0] for name in NEWEST}
    assert families == {"sarif", "vulnerabilities", "model", "scan", "dataset", "evaluation", "monitoring"}
    assert {"model/no-unsafe-code", "vulnerabilities/none-above", "monitoring/no-alarm"} <= {*NEWEST}


@pytest.mark.parametrize("rule", sorted(BY_NAME))
def test_signers_can_be_named_where_the_rule_is_used(rule: str, bills: Bills) -> None:
    """A rule that a policy binds to other people does not fall back to those whom the caller trusts."""
    sample = BY_NAME[rule]
    with pytest.raises(AssayError, match="nobody is called 'ci'"):
        make.using(rule, {**sample.given, "signed-by": ["ci"]})


@pytest.mark.parametrize("rule", NEWEST)
def test_labels_keep_reports_of_one_kind_apart(rule: str, bills: Bills) -> None:
    sample = BY_NAME[rule]
    good = several(sample.good(bills))[0]
    bad = next(several(made(bills))[0] for made, verdict in sample.bad if verdict is FAIL)

    def labelled(item: Item, value: str, sequence: int) -> Item:
        subject = item.statement.subjects[0]
        annotations = {**subject.annotations, "labels": {"stage": value}}
        statement = replace(item.statement, subjects=(replace(subject, annotations=annotations),))
        return replace(item, statement=statement, sequence=sequence)

    both = (labelled(good, "release", 1), labelled(bad, "try", 2))
    assert decided(make.using(rule, sample.given), case(*both)).verdict is not Verdict.PASS
    asked = {**sample.given, "labels": {"stage": "release"}}
    assert decided(make.using(rule, asked), case(*both)).verdict is Verdict.PASS


HOSTILE = st.text([*"\"'\\ \n[]*?,}{$:a0.=\x00\u202eé"], max_size=12) | st.sampled_from(
    ['" exists', "x' or true", '"] or said.origin exists', "${{ inputs.signed-by }}", "in [a]"]
)


@settings(max_examples=150, deadline=None)
@given(HOSTILE)
def test_a_text_given_to_a_rule_stays_a_text(value: str) -> None:
    """Whatever an input holds, it is compared as it stands or refused: it never becomes a condition of its own."""
    evil = {"origin": "https://evil.example/x", "context": {"git_branch": "evil"}}
    for rule, name, root in (("git/origin", "origin", "evil.example"), ("git/branch", "branch", "evil")):
        try:
            policy = make.using(rule, {name: f"https://acme.example/{value}"})
        except AssayError:
            continue
        require = policy.rules[0].require
        assert require is not None
        (condition,) = require.selectors[0].where
        assert condition.operator == "matches" and root not in condition.value
        assert decided(policy, case(make.item("cyclonedx", said=evil))).verdict is FAIL


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(BY_NAME)),
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | HOSTILE | st.just("${{ inputs.signed-by }}"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "id", "minimum"]), inner),
        max_leaves=6,
    ),
)
def test_whatever_is_given_is_used_or_refused(rule: str, value: Any) -> None:
    sample = BY_NAME[rule]
    names = [*sample.given, "max-age", "labels", "ignore", "signed-by"]
    for name in names:
        try:
            policy = make.using(rule, {**sample.given, name: value})
        except AssayError as error:
            assert error.message and "\n" not in error.message and len(error.message) < 1000
            continue
        assert decided(policy, case()).verdict is MISSING


@pytest.mark.parametrize("given", [{"packages": "numpy"}, {}, {"packages": ["numpy"], "extra": 1}])
def test_a_rule_that_is_used_wrongly_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(AssayError):
        make.using("sbom/allowed-packages", given)


def test_bills_are_of_real_files(bills: Bills) -> None:
    assert {name: bill["metadata"]["component"]["type"] for name, bill in bills.items()} == {
        "model": "machine-learning-model",
        "pickled": "machine-learning-model",
        "data": "data",
        "code": "library",
    }
