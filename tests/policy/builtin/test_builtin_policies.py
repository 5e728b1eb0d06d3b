"""The policies that ship with assay: they load, speak for rows that exist, and decide as they say; and once in full,
with real keys, files and a store.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import assay
from assay import strict_yaml
from assay.api.anchors import TrustIn
from assay.api.deciding import Deciding, decide
from assay.api.signers import SignWith
from assay.api.verdicts import attest_verdict
from assay.cli.main import COMMANDS
from assay.config import Config
from assay.evidence import keys
from assay.evidence.predicates import SHORT
from assay.policy import bundles
from assay.policy.bundles.builtin import catalogue, names
from assay.policy.case import Item
from assay.policy.coverage.mapping import framework, row_key
from assay.policy.model import FRAMEWORKS, Policy
from assay.policy.reading import Problem, examine, load
from assay.policy.reading.native import KINDS
from assay.policy.verdict import Decision, Level, Verdict
from policy.builtin import catalogue_samples as make
from policy.builtin.catalogue_samples import BASE, DATA, GENERATOR, GITHUB
from policy_making import case, decided, item

DAY = timedelta(days=1)


def examined(name: str, given: Mapping[str, Any] | None = None) -> tuple[Policy | None, list[Problem]]:
    sources, entry = bundles.builtin(name)
    return examine(sources, entry, bundles.resolver(sources, catalogue()), given)


def builtin_policy(name: str, **given: Any) -> Policy:
    sources, entry = bundles.builtin(name)
    fields = {key.replace("_", "-"): value for key, value in given.items()}
    return load(sources, entry, bundles.resolver(sources, catalogue()), fields)


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every YAML file that ships, as it is written."""
    for name in names():
        sources, entry = bundles.builtin(name)
        yield entry, strict_yaml.loads(sources.read(entry), entry)
    shared = catalogue()
    for name in shared.names():
        yield name, strict_yaml.loads(shared.read(name), name)


def test_the_policies_that_the_documentation_names() -> None:
    assert names() == ("dataset-baseline", "ml-baseline", "owasp-ml", "slsa", "ssdf-ai")


@pytest.mark.parametrize("name", names())
def test_loads_without_any_problem(name: str) -> None:
    policy, problems = examined(name)
    assert problems == [] and policy is not None
    assert policy.reference.id == name and policy.description and policy.notes == ()
    assert all(rule.name and rule.description and rule.risk and rule.mitigation for rule in policy.rules)
    assert all(rule.uses is not None and "/" not in rule.id for rule in policy.rules)


@pytest.mark.parametrize("rule", make.rules())
def test_a_rule_is_written_in_full(rule: str) -> None:
    sources = catalogue()
    text = sources.read(f"rules/{rule}.yaml").decode()
    document = strict_yaml.loads(text.encode(), rule)
    assert document["id"] == rule and document["labels"]
    assert not document["name"].endswith(".") and document["description"].endswith(".")
    # One sentence, which says what may happen.
    assert document["risk"].endswith(".") and ". " not in document["risk"]
    assert "assay " in document["mitigation"]
    declared = {entry["name"] for entry in document["inputs"]}
    assert {*re.findall(r"inputs\.([a-z0-9-]+)", text)} == declared


def test_every_input_is_described_and_typed() -> None:
    for name, document in documents():
        for entry in document["inputs"]:
            assert entry["description"].endswith("."), (name, entry["name"])
            assert entry["type"] in ("string", "list", "mapping", "integer", "number", "boolean", "duration")
            assert (
                entry.get("required")
                or "default" in entry
                or "left out" in entry["description"]
                or (entry["type"] in ("list", "mapping"))
            ), (name, entry["name"])


def test_commands_that_are_recommended_exist() -> None:
    found = 0
    for name, document in documents():
        text = " ".join(json.dumps(document, ensure_ascii=False).split())
        for command in re.findall(r"\bassay ([a-z]+)(?= [A-Za-z-])", text):
            assert command in COMMANDS, (name, command)
            found += 1
        for kind in re.findall(r"--type ([a-z-]+)", text):
            assert kind in SHORT, (name, kind)
    assert found > 40


def frameworks_named() -> list[tuple[str, str, str]]:
    found = []
    for name, document in documents():
        controls = document.get("controls", [])
        for part in (document, *controls, *(rule for control in controls for rule in control["rules"])):
            found += [(name, key, id) for key in FRAMEWORKS for id in part.get(key, [])]
    return found


@pytest.mark.parametrize(("file", "key", "id"), frameworks_named())
def test_speaks_for_rows_that_exist_and_that_evidence_can_back(file: str, key: str, id: str) -> None:
    """A rule that passes backs the row in the report, so it must not name one that no evidence can speak for."""
    chosen = framework(key)
    rows = {row.id: row for row in chosen.rows}
    assert row_key(id) in chosen.names and id in rows, f"{file} names {id}"
    backing = {measure for above in rows[id].mitigations for measure in rows[above].mapped.measures}
    assert rows[id].mapped.assessable and (rows[id].mapped.measures or backing), f"{file} names {id}"


def test_the_owasp_policy_has_all_risks_that_evidence_can_speak_for() -> None:
    policy = builtin_policy("owasp-ml")
    spoken = {id for control in policy.controls for id in control.frameworks.get("owasp-ml", ())}
    spoken |= {id for rule in policy.rules for id in rule.frameworks.get("owasp-ml", ())}
    assert spoken == {row.id for row in framework("owasp-ml").rows if row.mapped.measures}


def test_the_ssdf_policy_has_the_tasks_that_the_profile_for_ai_adds() -> None:
    spoken = {id for rule in builtin_policy("ssdf-ai").rules for id in rule.frameworks.get("ssdf", ())}
    assert {"PO.5.3", "PS.1.2", "PS.1.3", "PW.3.1", "PW.3.2", "PW.3.3"} <= spoken


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Item], list[Item]]:
    """All that one can say of a model, and of what it was made from."""
    root = tmp_path_factory.mktemp("files")
    model = make.bill(make.safe_model(root / "model"))
    data = make.bill(make.data_set(root / "data"))
    parts = {"robust_accuracy": 0.7, "inversion_success": 0.01, "membership_inference_auc": 0.52, "accuracy": 0.93}
    about_it = [
        item("model-signature"),
        make.evidence("cyclonedx", model),
        make.scan("models"),
        make.vulnerabilities("4.0"),
        make.vex("fixed"),
        make.sarif("note"),
        make.tests(),
        make.trace([]),
        make.provenance(GENERATOR, DATA, BASE),
        make.evaluation(parts, {"name": "imdb", "digest": {"sha256": DATA}}),
        make.monitoring(),
    ]
    about_others = [
        make.evidence("cyclonedx", data, subject=DATA, name="data", matched=True, age=2 * DAY),
        make.scan("poisoning", "none", subject=DATA, name="data", matched=True, age=2 * DAY),
    ]
    return about_it, about_others


@pytest.mark.parametrize(
    ("name", "warns"),
    [
        ("ml-baseline", []),
        ("slsa", []),
        ("ssdf-ai", []),
        # One statement of the kind is the newest, and it is about drift.
        ("owasp-ml", ["endpoint-watched"]),
    ],
)
def test_a_model_about_which_all_is_known(
    name: str, warns: list[str], everything: tuple[list[Item], list[Item]]
) -> None:
    decision = decided(builtin_policy(name), case(*everything[0], linked=everything[1]))
    assert [result.rule for result in decision.results if result.verdict is not Verdict.PASS] == warns
    assert decision.verdict is (Verdict.WARN if warns else Verdict.PASS)


@pytest.mark.parametrize("name", names())
def test_nothing_is_accepted_without_evidence(name: str) -> None:
    gates, kinds = (None, "train", "deploy", "serve"), (None, *KINDS)
    for changes in ({"gate": gate, "kind": kind} for gate in gates for kind in kinds):
        decision = decided(builtin_policy(name), case(**changes))
        assert not decision.accepted and decision.exit_code == 3, changes


@pytest.mark.parametrize("name", ["ml-baseline", "slsa", "ssdf-ai", "owasp-ml"])
def test_every_error_rule_can_reject_alone(name: str, everything: tuple[list[Item], list[Item]]) -> None:
    """Taking away what a rule of level error rests on is never accepted."""
    about_it, about_others = everything
    policy = builtin_policy(name)
    whole = decided(policy, case(*about_it, linked=about_others))
    for result in whole.results:
        if result.level is not Level.ERROR:
            continue
        gone = {used.digest for used in result.used}
        rest = [one for one in about_it if one.digest not in gone]
        others = [one for one in about_others if one.digest not in gone]
        assert not decided(policy, case(*rest, linked=others)).accepted, result.rule


def replaced(items: Sequence[Item], *new: Item) -> list[Item]:
    kinds = {one.statement.predicate_type for one in new}
    return [*(one for one in items if one.statement.predicate_type not in kinds), *new]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (make.scan("models", "malicious"), "no-unsafe-code"),
        (make.vulnerabilities("9.8"), "no-critical-vulnerability"),
    ],
)
def test_what_scans_find_rejects_once_scans_are_made(
    bad: Item, rule: str, everything: tuple[list[Item], list[Item]]
) -> None:
    about_it, about_others = everything
    what = case(*replaced(about_it, bad), linked=about_others)
    first = decided(builtin_policy("ml-baseline"), what)
    assert first.verdict is Verdict.WARN
    later = decided(builtin_policy("ml-baseline", scans="error"), what)
    assert (later.verdict, later.exit_code) == (Verdict.FAIL, 1)
    assert [result.rule for result in later.results if result.effective.rejects] == [rule]


def test_gates_and_kinds_leave_out_what_is_not_for_them(everything: tuple[list[Item], list[Item]]) -> None:
    policy = builtin_policy("ml-baseline")

    def left_out(**said: str) -> set[str]:
        decision = decided(policy, case(*everything[0], linked=everything[1], **said))
        return {result.rule for result in decision.results if result.verdict is Verdict.NOT_APPLICABLE}

    assert left_out() == left_out(gate="serve") == set()
    assert left_out(gate="deploy") == {"no-alarm"}
    assert "attested" not in left_out(kind="dataset") and "model-signed" in left_out(kind="dataset")


@pytest.mark.parametrize(
    ("builder", "levels", "property"),
    [
        ("https://laptop.example", ["pass", "untrusted", "untrusted"], "SLSA_BUILD_LEVEL_1"),
        (GITHUB, ["pass", "pass", "untrusted"], "SLSA_BUILD_LEVEL_2"),
        (GENERATOR, ["pass", "pass", "pass"], "SLSA_BUILD_LEVEL_3"),
    ],
)
def test_slsa_tells_the_level_that_was_shown(builder: str, levels: list[str], property: str) -> None:
    from assay.policy.documents.attestations import vsa

    decision = decided(builtin_policy("slsa"), case(make.provenance(builder)))
    assert decision.accepted and [result.verdict for result in decision.results] == levels
    shown = vsa(decision)[1]["verifiedLevels"]
    assert [level for level in shown if level.startswith("SLSA_")] == [property]
    demanded = decided(builtin_policy("slsa", level_2="error", level_3="error"), case(make.provenance(builder)))
    assert demanded.accepted == (builder == GENERATOR)


def test_slsa_believes_a_builder_with_its_own_signer_only() -> None:
    decision = decided(builtin_policy("slsa"), case(make.provenance(GENERATOR, groups=("others",))))
    assert {result.verdict for result in decision.results} == {Verdict.UNTRUSTED} and decision.exit_code == 1


class Project:
    """A team's first day: a key, a store, a model and the data that it was trained on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = make.safe_model(root / "model")
        self.data = make.data_set(root / "data")
        self.store = str(root / "store")
        made = keys.generate()
        (root / "ci.pem").write_bytes(made.pem(None))
        (root / "ci.pub").write_bytes(made.public.pem)
        self.common: dict[str, Any] = {
            "signer_choice": SignWith(key=str(root / "ci.pem")),
            "directory": self.store,
            "config": Config(),
        }

    def first_day(self) -> None:
        assay.bom(str(self.model), format="attest", **self.common)
        assay.sign(str(self.model), signature=str(self.root / "model.sig"), **self.common)
        self.attest(self.model, {"dataset": "imdb", "metrics": {"accuracy": 0.93}})

    def attest(self, target: Path, report: Mapping[str, Any], type: str | None = None, **more: Any) -> None:
        path = self.root / "report.json"
        path.write_text(json.dumps(report))
        assay.attest(str(target), str(path), type=type, **{**self.common, **more})

    def decide(self, policy: str, target: Path | None = None, **inputs: Any) -> Decision:
        how = Deciding(TrustIn((str(self.root / "ci.pub"),)), directory=self.store, inputs=inputs)
        return decide(str(target or self.model), f"builtin:{policy}", how, config=Config())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def not_passing(decision: Decision) -> dict[str, str]:
    return {result.rule: result.verdict.value for result in decision.results if result.verdict is not Verdict.PASS}


def test_the_baseline_on_the_first_day_and_when_all_is_there(project: Project) -> None:
    project.first_day()
    first = project.decide("ml-baseline")
    assert (first.verdict, first.exit_code) == (Verdict.WARN, 0)
    assert not_passing(first) == {
        "no-unsafe-code": "missing",
        "no-critical-vulnerability": "missing",
        "training-provenance": "missing",
        "data-as-attested": "missing",
        "evaluated-on-known-data": "fail",
        "no-alarm": "missing",
    }
    assert all(result.needs and result.mitigation for result in first.results if result.rule in not_passing(first))

    # What it told to add is added, and nothing is left to warn of.
    data = assay.bom(str(project.data), format="attest", **project.common).contents
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    scan = {**make.scan("models").statement.predicate, "started": now, "finished": now}
    project.attest(project.model, scan, "scan")
    times = {"scanStartedOn": now, "scanFinishedOn": now}
    project.attest(project.model, {**make.vulnerabilities("3.1").statement.predicate, "metadata": times}, "vuln")
    project.attest(project.model, make.provenance(GITHUB, data).statement.predicate, "slsaprovenance")
    known = {"name": "imdb", "digest": {"sha256": data}}
    project.attest(project.model, {"dataset": known, "metrics": {"accuracy": 0.93}})
    report = make.monitoring(end=now).statement.predicate
    project.attest(project.model, report, "monitoring")
    last = project.decide("ml-baseline", scans="error", data="error", licences=["MIT"], **{"base-models": ["google/*"]})
    assert not_passing(last) == {} and last.verdict is Verdict.PASS
    assert project.decide("ml-baseline", licences=["Apache-2.0"]).verdict is Verdict.WARN


def test_the_baseline_rejects_what_was_altered(project: Project) -> None:
    project.first_day()
    (project.model / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    decision = project.decide("ml-baseline")
    assert (decision.verdict.accepts, decision.exit_code) == (False, 1)
    failed = {rule for rule, verdict in not_passing(decision).items() if verdict == "fail"}
    assert {"model-signed", "attested", "formats"} <= failed


def test_the_baseline_rejects_code_in_a_model_until_somebody_allows_it(project: Project) -> None:
    make.pickled_model(project.model)
    project.first_day()
    decision = project.decide("ml-baseline")
    assert decision.exit_code == 1 and not_passing(decision)["formats"] == "fail"
    assert project.decide("ml-baseline", formats=["safetensors", "pickle"]).accepted
    assert project.decide("ml-baseline", code="warning").accepted


def test_a_scan_by_somebody_else_changes_nothing(project: Project, tmp_path: Path) -> None:
    project.first_day()
    stranger = keys.generate()
    (tmp_path / "stranger.pem").write_bytes(stranger.pem(None))
    scan = make.scan("models").statement.predicate
    project.attest(project.model, scan, "scan", signer_choice=SignWith(key=str(tmp_path / "stranger.pem")))
    decision = project.decide("ml-baseline", scans="error")
    assert not_passing(decision)["no-unsafe-code"] == "untrusted" and decision.exit_code == 1


def test_a_data_set_on_its_own(project: Project) -> None:
    assay.bom(str(project.data), format="attest", **project.common)
    decision = project.decide("dataset-baseline", project.data)
    assert decision.verdict is Verdict.WARN
    assert not_passing(decision) == {"source": "fail", "licence": "fail", "no-personal-data": "missing"}
    assert not_passing(project.decide("dataset-baseline", project.data, columns={"text": "int*"}))["schema"] == "fail"
    (project.data / "train.csv").write_bytes(b"text,label\ngood,0\nbad,1\n")
    assert project.decide("dataset-baseline", project.data).exit_code == 1


def test_one_policy_builds_on_the_verdict_of_another(project: Project, tmp_path: Path) -> None:
    """Provenance, a verdict with its summary, and rules that ask for these."""
    project.attest(project.model, make.provenance(GITHUB, DATA).statement.predicate, "slsaprovenance")
    decision = project.decide("slsa", **{"level-2": "error"})
    assert decision.verdict is Verdict.WARN
    attest_verdict(decision, **project.common)
    later = tmp_path / "later.yml"
    rules = [
        {"uses": "verdict/accepted@v1", "with": {"policy": "slsa", "sha256": decision.policy.sha256}},
        {"uses": "slsa/verified@v1"},
    ]
    document = {"assay-policy": 1, "id": "later", "controls": [{"id": "c", "rules": rules}]}
    later.write_text(json.dumps(document))
    how = Deciding(TrustIn((str(project.root / "ci.pub"),)), directory=project.store)
    assert decide(str(project.model), str(later), how, config=Config()).verdict is Verdict.PASS
    document["controls"][0]["rules"][0]["with"]["sha256"] = hashlib.sha256(b"another").hexdigest()
    later.write_text(json.dumps(document))
    assert decide(str(project.model), str(later), how, config=Config()).exit_code == 1


def test_code_and_its_packages_at_one_commit(project: Project, tmp_path: Path) -> None:
    """Rules about git and packages on what `assay bom git:…` signs."""
    repository = make.code(tmp_path / "serve")
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    subprocess.run([*git, "remote", "add", "origin", "https://github.com/acme/serve.git"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    assay.bom(f"git:{repository}", format="attest", **project.common)
    rules = [
        {"uses": "git/attested@v1"},
        {"uses": "git/origin@v1", "with": {"origin": "https://github.com/acme/*"}},
        {"uses": "git/branch@v1"},
        {"uses": "sbom/complete@v1", "with": {"minimum": 2}},
        {"uses": "sbom/blocked-packages@v1", "with": {"packages": ["requests<2.32"]}},
        {"uses": "sbom/required-packages@v1", "with": {"packages": ["numpy==1.26.*"]}},
    ]
    document: dict[str, Any] = {"assay-policy": 1, "id": "code", "controls": [{"id": "c", "rules": rules}]}
    how = Deciding(TrustIn((str(project.root / "ci.pub"),)), directory=project.store)

    def failing() -> set[str]:
        (tmp_path / "code.yml").write_text(json.dumps(document))
        return {*not_passing(decide(f"git:{repository}", str(tmp_path / "code.yml"), how, config=Config()))}

    assert failing() == set()
    rules[1]["with"] = {"origin": "https://github.com/other/*"}
    rules[2]["with"] = {"branch": "release/*"}
    rules[4]["with"] = {"packages": ["requests<3"]}
    assert failing() == {"git/origin", "git/branch", "sbom/blocked-packages"}
