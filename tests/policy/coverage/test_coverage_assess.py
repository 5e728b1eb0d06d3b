"""What a report claims: no more than trusted attestations show, whatever else lies in the store."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.api.describing import bom
from assay.config import Config
from assay.evidence import predicates
from assay.policy.coverage import FRAMEWORKS, Record, assess, gather, report
from assay.policy.coverage.assess import characteristic
from assay.policy.coverage.facts import MAX_TARGETS
from assay.policy.coverage.interface import MAX_LINKS, Report, Row, State
from assay.policy.coverage.mapping import CharacteristicSpec, measures
from helpers import NOW
from policy.coverage import coverage_samples as made

RANK = {State.NOTHING: 0, State.CONFIGURATION: 1, State.EVIDENCE: 2}
CONFIGURED = {
    "trust": [{"targets": ["*"], "identities": [{"identity": "ci@example.com", "issuer": "https://issuer"}]}],
    "signing": {"keyless": True},
    "require_sha256": True,
    "policy": "policy.yml",
    "alerts": {"sinks": [{"name": "log", "type": "file"}]},
}


def row_of(result: Report, id: str) -> Row:
    return next(row for row in result.rows if row.id == id)


def states(result: Report) -> dict[str, State]:
    return {row.id: row.state for row in result.rows}


def proved(*records: Record) -> set[str]:
    return {id for id, backing in gather(records, now=NOW).measures.items() if backing.positions}


@pytest.mark.parametrize(("measure", "type", "predicate", "said"), made.PROVES)
def test_a_valid_document_proves_its_measure(measure: str, type: str, predicate: Any, said: Any) -> None:
    predicates.check(type, predicate)
    assert measure in proved(made.record(type, predicate, said))


def test_every_kind_of_evidence_has_a_sample() -> None:
    tested = {sample[0] for sample in made.PROVES} | {"platform-provenance"}
    assert tested == {item.id for item in measures().values() if item.kind == "evidence"}


@pytest.mark.parametrize(("measure", "type", "predicate", "said"), made.MISSES)
def test_a_document_that_shows_something_else_proves_nothing(
    measure: str, type: str, predicate: Any, said: Any
) -> None:
    predicates.check(type, predicate)
    assert measure not in proved(made.record(type, predicate, said))


@pytest.mark.parametrize("type", ["https://example.com/scan", "https://assay.dev/scan/v0.1x", made.VSA + "0"])
def test_the_type_counts_and_not_the_contents(type: str) -> None:
    records = [made.record(type, predicate, {}) for _, _, predicate, _ in made.PROVES]
    assert proved(*records) == set()


def test_a_build_platform_must_have_signed_its_provenance_itself() -> None:
    hosted = made.provenance(made.HOSTED)
    own = made.provenance("https://ci.example.com/1")
    workflow = (f"{made.GITHUB} (https://token.actions.githubusercontent.com)",)
    assert "platform-provenance" in proved(made.record(made.PROVENANCE, hosted, signers=workflow))
    for predicate, signers in ((hosted, (made.SIGNER,)), (own, workflow), (hosted, ("https://github.com/acme",))):
        assert "platform-provenance" not in proved(made.record(made.PROVENANCE, predicate, signers=signers))


def test_a_bill_of_materials_that_assay_wrote_counts(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"w": np.zeros(3, np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    card = "---\nlicense: mit\nbase_model: org/base\npipeline_tag: text-classification\n---\n# Model\n"
    (folder / "README.md").write_text(card)
    statement = json.loads(bom(str(folder), format="statement", config=Config(), now=NOW).document)
    said = statement["subject"][0]["annotations"]
    found = proved(made.record(statement["predicateType"], statement["predicate"], said))
    assert found >= {"model-bom", "model-licence", "base-model-recorded", "model-documented"}
    assert not found & {"data-bom", "software-bom", "limits-documented", "code-attested"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_with_all_evidence_all_rows_that_have_a_measure_are_backed(framework: str) -> None:
    result = assess(framework, made.all_records(), CONFIGURED, now=NOW)
    for row in result.rows:
        if row.state is State.NOT_ASSESSABLE:
            assert not row.links
            continue
        kinds = [item.kind for item in row.measures[:-1]]  # the last one is a rule of one's own
        wanted = next((state for state in (State.EVIDENCE, State.CONFIGURATION) if state in kinds), State.NOTHING)
        assert row.state is wanted, row.id
        assert bool(row.links) == (row.state is State.EVIDENCE)
        assert all(link.claim and link.signers in ((made.SIGNER,), (made.GITHUB,)) for link in row.links)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_settings_alone_are_configuration_and_never_more(framework: str) -> None:
    result = assess(framework, [], CONFIGURED, now=NOW)
    for row in result.rows:
        wanted = any(item.kind is State.CONFIGURATION for item in row.measures)
        assert row.state in (State.NOT_ASSESSABLE, State.CONFIGURATION if wanted else State.NOTHING), row.id


def test_a_row_says_what_backs_it_and_what_that_does_not_show() -> None:
    signed = made.record(*made.PROVES[0][1:], subject="bert")
    row = row_of(assess("atlas", [signed], {}, now=NOW), "AML.M0013")
    assert row.state is State.EVIDENCE
    assert row.why.startswith("Signed model (OpenSSF Model Signing).")
    assert "does not show that unsigned code is refused" in row.why
    (link,) = row.links
    assert (link.digest, link.subject, link.entry, link.time) == (signed.digest, "bert", 1, signed.time)
    assert link.claim == "every file of the model is named with its digest and signed"
    assert {item.title: item.met for item in row.measures}["Signed model (OpenSSF Model Signing)"]


def test_a_technique_is_backed_through_its_mitigation_and_says_so() -> None:
    signed = made.record(*made.PROVES[0][1:])
    result = assess("atlas", [signed], {}, now=NOW)
    row = row_of(result, "AML.T0018")
    assert row.state is State.EVIDENCE and row.why.startswith("Through AML.M0013 Code Signing: ")
    assert row.links[0].claim.startswith("AML.M0013 Code Signing: every file")
    # A signed model says nothing of packages, data, access or hardware.
    for id in ("AML.T0011.001", "AML.T0010.001", "AML.T0020", "AML.M0005", "AML.M0016", "AML.T0050"):
        assert row_of(result, id).state is State.NOTHING, id
    assert row_of(result, "AML.T0010.000").state is State.NOT_ASSESSABLE


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_nobody_expected_signed_is_counted_and_backs_nothing(framework: str) -> None:
    unsigned = [made.record(type, predicate, said, signers=()) for _, type, predicate, said in made.PROVES]
    result = assess(framework, unsigned, {}, now=NOW)
    assert states(result) == states(assess(framework, [], {}, now=NOW))
    assert (result.statements, result.trusted, result.targets) == (len(unsigned), 0, ())
    assert "name whom you trust" in result.warnings[0]


def rules(word: str, **frameworks: list[str]) -> Record:
    named = {name.replace("_", "-"): ids for name, ids in frameworks.items()}
    return made.record(made.VERDICT, made.verdict([made.rule("own", named, word)], word))


def test_a_passed_rule_of_a_trusted_verdict_backs_the_rows_that_it_names() -> None:
    record = rules("pass", atlas=["AML.M0005", "AML.T9999"], slsa=["SLSA_BUILD_LEVEL_2"], eu_ai_act=["Art. 12"])
    result = assess("atlas", [record], {}, now=NOW)
    row = row_of(result, "AML.M0005")
    assert row.state is State.EVIDENCE
    assert [link.claim for link in row.links] == ["rule own of policy baseline passed"]
    assert row.measures[-1].met
    # and through it the techniques that ATLAS says it mitigates
    through = row_of(result, "AML.T0025")
    assert through.state is State.EVIDENCE
    assert through.links[0].claim == (
        "AML.M0005 Control Access to AI Models and Data at Rest: rule own of policy baseline passed"
    )
    slsa = states(assess("slsa", [record], {}, now=NOW))
    assert slsa["SLSA_BUILD_LEVEL_1"] is slsa["SLSA_BUILD_LEVEL_2"] is State.EVIDENCE
    assert slsa["SLSA_BUILD_LEVEL_3"] is State.NOTHING
    assert row_of(assess("eu-ai-act", [record], {}, now=NOW), "Article 12").state is State.EVIDENCE


@pytest.mark.parametrize("word", ["warn", "fail", "stale", "untrusted", "missing", "error", "not-applicable"])
def test_a_rule_that_did_not_pass_backs_nothing(word: str) -> None:
    result = assess("atlas", [rules(word, atlas=["AML.M0005"])], {}, now=NOW)
    assert row_of(result, "AML.M0005").state is State.NOTHING


def test_a_rule_about_people_does_not_make_people_assessable() -> None:
    result = assess("airmf", [rules("pass", airmf=["GOVERN 2.2"])], {}, now=NOW)
    row = row_of(result, "GOVERN 2.2")
    assert row.state is State.NOT_ASSESSABLE and len(row.links) == 1


def test_old_and_undated_evidence_does_not_count_where_age_matters() -> None:
    scan = next(sample for sample in made.PROVES if sample[0] == "vulnerabilities-scanned")
    for days, met in ((29, True), (31, False), (None, False), (-1, False)):
        row = row_of(assess("atlas", [made.record(*scan[1:], days=days)], {}, now=NOW), "AML.M0016")
        assert row.state is (State.EVIDENCE if met else State.NOTHING), days
    assert any("older than 30 days" in item.note for item in row.measures)
    result = assess("atlas", [made.record(*scan[1:], days=31)], {}, now=NOW)
    assert any("too old" in warning for warning in result.warnings)


def test_links_are_the_newest_and_the_rest_is_counted() -> None:
    sample = made.PROVES[0]
    records = [made.record(*sample[1:], entry=i, days=100 - i) for i in range(1, 51)]
    row = row_of(assess("atlas", records, {}, now=NOW), "AML.M0013")
    assert [link.entry for link in row.links] == list(range(50, 50 - MAX_LINKS, -1))
    assert row.more_links == 50 - MAX_LINKS


def test_an_attestation_that_shows_two_things_is_one_link() -> None:
    sample = next(item for item in made.PROVES if item[0] == "inputs-recorded")
    row = row_of(assess("ssdf", [made.record(*sample[1:])], {}, now=NOW), "PS.3.2")
    assert len(row.links) == 1 and row.more_links == 0
    both = row_of(assess("eu-ai-act", [made.record(*sample[1:])], {}, now=NOW), "Annex IV.2")
    assert len(both.links) == 1 and both.more_links == 0
    assert "; " in both.links[0].claim


def test_one_document_twice_is_one_link() -> None:
    twice = [made.record(*made.PROVES[0][1:])] * 2
    assert len(row_of(assess("atlas", twice, {}, now=NOW), "AML.M0013").links) == 1


def test_targets_are_bounded_and_sorted() -> None:
    sample = made.PROVES[0]
    records = [made.record(*sample[1:], subject=f"model-{i:03}") for i in range(150)]
    result = assess("slsa", records, {}, now=NOW)
    assert result.targets == tuple(f"model-{i:03}" for i in range(MAX_TARGETS))


def test_the_caller_finds_what_it_gave() -> None:
    result = assess("slsa", [], {}, now=NOW, store="evidence", head="7:ab")
    assert (result.store, result.head, result.time) == ("evidence", "7:ab", NOW)


E_, C, N, X = State.EVIDENCE, State.CONFIGURATION, State.NOTHING, State.NOT_ASSESSABLE


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([E_, E_, N], E_),
        ([E_, N], N),  # half is not enough
        ([E_, C], C),
        ([E_, C, N], C),
        ([E_, N, N, C], N),
        ([C, C, N], C),
        ([E_, X, X, X], E_),  # rows that nobody can assess count neither way
        ([N], N),
        ([X, X], X),
        ([], X),
    ],
)
def test_a_characteristic_is_as_good_as_most_of_its_rows(rows: list[State], state: State) -> None:
    named = {f"R {i}": item for i, item in enumerate(rows)}
    result = characteristic(CharacteristicSpec(id="c", name="C", rows=list(named)), named)
    assert result.state is state
    assert result.why.endswith(".")


def test_the_seven_characteristics_are_in_the_report_of_the_ai_rmf() -> None:
    result = assess("airmf", made.all_records(), CONFIGURED, now=NOW)
    assert len(result.characteristics) == 7
    assert {item.state for item in result.characteristics} == {State.EVIDENCE}
    without = assess("airmf", [], {}, now=NOW)
    assert {item.state for item in without.characteristics} == {State.NOTHING}


# Properties. Records are drawn from the samples, signed or not, of any age, beside documents that make no sense.

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PIECES = sorted(
    {
        piece.removesuffix("[]").removesuffix("{}")
        for measure in measures().values()
        for proof in measure.proofs
        for condition in proof.when
        for piece in condition.path.split(".")
    }
    | {"rules", "policy", "frameworks", "verdict", "atlas"}
)
SHAPED = st.recursive(
    JUNK, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(PIECES), inner, max_size=4)
)
SIGNED = st.sampled_from([(made.SIGNER,), (made.GITHUB,), ()])


@st.composite
def records(draw: st.DrawFn) -> Record:
    _, type, predicate, said = draw(st.sampled_from(made.PROVES + made.MISSES))
    if draw(st.integers(0, 4)) == 0:
        predicate, said = draw(st.dictionaries(st.sampled_from(PIECES), SHAPED)), draw(st.dictionaries(st.text(), JUNK))
    entry, days = draw(st.integers(0, 10**6)), draw(st.none() | st.integers(-10, 400))
    return made.record(type, predicate, said, signers=draw(SIGNED), entry=entry, days=days, subject=draw(st.text()))


STORES = st.lists(records(), max_size=12)


@settings(max_examples=60, deadline=None)
@given(STORES, st.integers(0, 12), st.sampled_from([{}, CONFIGURED]))
def test_more_evidence_never_lowers_a_state(store: list[Record], cut: int, configured: dict[str, Any]) -> None:
    fewer, all_of_them = gather(store[:cut], now=NOW), gather(store, now=NOW)
    for framework in FRAMEWORKS:
        before, after = (report(framework, found, configured, now=NOW) for found in (fewer, all_of_them))
        for old, new in zip(before.rows, after.rows, strict=True):
            if State.NOT_ASSESSABLE in (old.state, new.state):
                assert old.state is new.state
            else:
                assert RANK[old.state] <= RANK[new.state], old.id
        for a, b in zip(before.characteristics, after.characteristics, strict=True):
            assert RANK[a.state] <= RANK[b.state]


@settings(max_examples=60, deadline=None)
@given(STORES)
def test_untrusted_statements_change_counts_only(store: list[Record]) -> None:
    trusted = [item for item in store if item.signers]
    with_all, without = gather(store, now=NOW), gather(trusted, now=NOW)
    assert with_all.statements == len(store) and with_all.trusted == without.trusted == len(trusted)
    for framework in FRAMEWORKS:
        full, small = (report(framework, found, {}, now=NOW) for found in (with_all, without))
        assert (full.sections, full.targets) == (small.sections, small.targets)


@settings(max_examples=40, deadline=None)
@given(STORES, st.randoms(use_true_random=False))
def test_the_order_of_the_store_changes_nothing(store: list[Record], random: Any) -> None:
    distinct = list({item.digest: item for item in store}.values())
    other = random.sample(distinct, len(distinct))
    for framework in ("atlas", "ssdf"):
        assert assess(framework, distinct, {}, now=NOW) == assess(framework, other, {}, now=NOW)


@settings(max_examples=60, deadline=None)
@given(STORES)
def test_every_claim_of_evidence_has_an_attestation(store: list[Record]) -> None:
    found = gather(store, now=NOW)
    known = {item.digest for item in store if item.signers}
    for framework in FRAMEWORKS:
        for row in report(framework, found, {}, now=NOW).rows:
            assert {link.digest for link in row.links} <= known
            if row.state is not State.NOT_ASSESSABLE:
                assert bool(row.links) == (row.state is State.EVIDENCE)
            for link in row.links:
                assert all(text.isprintable() for text in (link.subject, link.claim, link.predicate_type))


def test_times_without_a_zone_are_taken_for_utc() -> None:
    sample = next(item for item in made.PROVES if item[0] == "vulnerabilities-scanned")
    naive = datetime(2026, 5, 30)
    assert naive.tzinfo is None and NOW - naive.replace(tzinfo=NOW.tzinfo) < timedelta(days=30)
    record = Record("ab" * 32, 1, sample[1], sample[2], {}, "m", (made.SIGNER,), naive)
    row = row_of(assess("atlas", [record, made.record(*sample[1:])], {}, now=NOW), "AML.M0016")
    assert len(row.links) == 2


def test_a_time_that_is_none_in_utc_is_no_time() -> None:
    first = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    for sample in made.PROVES[0], next(item for item in made.PROVES if item[0] == "vulnerabilities-scanned"):
        record = Record("ab" * 32, 1, sample[1], sample[2], {}, "m", (made.SIGNER,), first)
        rows = assess("atlas", [record], {}, now=NOW).rows
        assert all(link.time is None for row in rows for link in row.links)
    assert next(row for row in rows if row.id == "AML.M0016").state is State.NOTHING
