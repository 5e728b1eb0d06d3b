"""For every rule of the catalogue: evidence that satisfies it, and evidence that does not, with what is then said."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from assay.policy.case import Item
from assay.policy.verdict import Verdict
from policy.builtin import catalogue_samples as make
from policy.builtin.catalogue_samples import BASE, COMMIT, DATA, GENERATOR, GITHUB

Bills = dict[str, Any]
DAY = timedelta(days=1)
FAIL, STALE, MISSING, UNTRUSTED = Verdict.FAIL, Verdict.STALE, Verdict.MISSING, Verdict.UNTRUSTED
OTHER = (FAIL, MISSING)
"""A report of another kind may count as a wrong one or as none."""


Make = Callable[[Bills], "Item | Sequence[Item]"]


@dataclass
class Sample:
    """A rule with evidence that satisfies it, and evidence that does not."""

    rule: str
    good: Make
    bad: Sequence[tuple[Make, Verdict | tuple[Verdict, ...]]]
    given: dict[str, Any] = field(default_factory=dict)
    linked: Make = lambda bills: ()


def bom(of: str, **changes: Any) -> Make:
    return lambda bills: make.evidence("cyclonedx", bills[of], **changes)


def edited(name: str, edit: Callable[[dict[str, Any]], object]) -> Make:
    def made(bills: Bills) -> Item:
        bill = copy.deepcopy(bills[name])
        edit(bill)
        return make.evidence("cyclonedx", bill)

    return made


def packages(*entries: dict[str, Any]) -> Make:
    """A bill that lists these packages."""

    def made(bills: Bills) -> Item:
        bill = copy.deepcopy(bills["code"])
        bill["components"] = [{"type": "library", **entry} for entry in entries]
        return make.evidence("cyclonedx", bill)

    return made


def just(item: Item) -> Make:
    return lambda bills: item


def said(**fields: Any) -> Make:
    return lambda bills: make.evidence("cyclonedx", bills["code"], said=fields)


def by_contents(name: str, digest: str, **changes: Any) -> Make:
    """A bill about something else than the model."""
    return bom(name, subject=digest, name=name, matched=True, age=2 * DAY, **changes)


NUMPY = {"name": "numpy", "version": "1.26.4", "purl": "pkg:pypi/numpy@1.26.4"}
TORCH = {"name": "torch", "version": "2.5.1", "purl": "pkg:pypi/torch@2.5.1"}

SAMPLES = [
    Sample("sbom/present", bom("code"), [(bom("code", by=()), UNTRUSTED), (bom("code", matched=False), MISSING)]),
    Sample(
        "sbom/fresh",
        bom("code", age=29 * DAY),
        [(bom("code", age=31 * DAY), STALE)],
    ),
    Sample(
        "sbom/licences",
        packages(NUMPY | {"licenses": [{"license": {"id": "BSD-3-Clause"}}]}),
        [
            (packages(NUMPY | {"licenses": [{"license": {"id": "GPL-3.0-only"}}]}), FAIL),
            (packages(NUMPY), FAIL),
        ],
        {"allow": ["BSD-*"], "of": "components"},
    ),
    Sample("sbom/allowed-packages", packages(NUMPY), [(packages(NUMPY, TORCH), FAIL)], {"packages": ["numpy"]}),
    Sample(
        "sbom/blocked-packages",
        packages(NUMPY),
        [(packages(NUMPY, TORCH), FAIL), (packages({"name": "torch"}), FAIL), (packages(), FAIL)],
        {"packages": ["torch<2.6"]},
    ),
    Sample("sbom/required-packages", packages(TORCH), [(packages(NUMPY), FAIL)], {"packages": ["torch>=2.5"]}),
    Sample("sbom/complete", packages(NUMPY), [(packages({"name": "numpy"}), FAIL), (packages(), FAIL)]),
    Sample(
        "sbom/ntia",
        packages(NUMPY),
        [(packages({"name": "numpy"}), FAIL), (edited("code", lambda bill: bill.pop("dependencies")), FAIL)],
        {"exclude": ["supplier", "version"]},
    ),
    Sample(
        "images/signed",
        just(make.provenance()),
        [(just(make.provenance(by=())), UNTRUSTED), (just(make.trace([])), MISSING)],
    ),
    Sample("images/fresh", bom("code", age=80 * DAY), [(bom("code", age=100 * DAY), STALE)], {"max-age": "90d"}),
    Sample(
        "images/allowed-base",
        just(make.provenance(GITHUB, DATA)),
        [(just(make.provenance(GITHUB, DATA, BASE)), FAIL)],
        {"sources": ["git+https://github.com/acme/0"]},
    ),
    Sample("git/attested", said(gitCommit=COMMIT), [(said(), FAIL), (said(context={"gitCommit": COMMIT}), FAIL)]),
    Sample(
        "git/origin",
        said(origin="https://github.com/acme/model"),
        [(said(origin="https://github.com/acme-evil/model"), FAIL), (said(), FAIL)],
        {"origin": "https://github.com/acme/*"},
    ),
    Sample(
        "git/branch",
        said(context={"git_branch": "main"}),
        [(said(context={"git_branch": "mine"}), FAIL), (said(context={"target_git_branch": "main"}), FAIL)],
    ),
    Sample(
        "git/same-commit",
        lambda bills: [
            make.evidence("cyclonedx", bills["model"], said={"context": {"git_commit": COMMIT}}),
            make.evaluation({"accuracy": 0.9}, said={"context": {"git_commit": COMMIT}}),
        ],
        [
            (
                lambda bills: [
                    make.evidence("cyclonedx", bills["model"], said={"context": {"git_commit": COMMIT}}),
                    make.evaluation({"accuracy": 0.9}, said={"context": {"git_commit": "d0" * 20}}),
                ],
                FAIL,
            )
        ],
    ),
    Sample(
        "slsa/level-1",
        just(make.provenance("https://laptop.example")),
        [(just(make.provenance(by=())), UNTRUSTED)],
    ),
    Sample(
        "slsa/level-2",
        just(make.provenance(GITHUB)),
        [(just(make.provenance("https://laptop.example")), UNTRUSTED), (just(make.provenance(by=())), UNTRUSTED)],
    ),
    Sample(
        "slsa/level-3",
        just(make.provenance(GENERATOR)),
        [(just(make.provenance(GITHUB)), UNTRUSTED), (just(make.provenance(GENERATOR, by=())), UNTRUSTED)],
    ),
    Sample(
        "slsa/builder",
        just(make.provenance("https://ci.acme.example/7")),
        [(just(make.provenance("https://ci.evil.example/7")), UNTRUSTED)],
        {"builders": ["https://ci.acme.example/*"]},
    ),
    Sample(
        "slsa/build-type",
        just(make.provenance()),
        [
            (
                just(
                    make.evidence(
                        "slsaprovenance",
                        {
                            "buildDefinition": {"buildType": "https://evil.example/t", "externalParameters": {}},
                            "runDetails": {"builder": {"id": GITHUB}},
                        },
                    )
                ),
                FAIL,
            )
        ],
        {"build-types": ["https://actions.github.io/buildtypes/*"]},
    ),
    Sample(
        "slsa/external-parameters",
        just(make.provenance()),
        [
            (just(make.provenance(parameters={"workflow": {"ref": "refs/heads/mine"}})), FAIL),
            (just(make.provenance(parameters={"workflow": {"ref": "refs/heads/main"}, "debug": True})), FAIL),
            (just(make.provenance(parameters={})), FAIL),
        ],
        {"parameters": {"workflow.ref": "refs/heads/main"}},
    ),
    Sample(
        "slsa/dependencies",
        just(make.provenance(GITHUB, DATA)),
        [(just(make.provenance(GITHUB, DATA, BASE)), FAIL)],
        {"deny": ["git+https://github.com/acme/1"]},
    ),
    Sample(
        "slsa/verified",
        just(make.summary()),
        [
            (just(make.summary("FAILED")), FAIL),
            (just(make.summary(level="SLSA_BUILD_LEVEL_1")), FAIL),
            (just(make.summary(age=400 * DAY)), STALE),
        ],
    ),
    Sample(
        "sarif/findings",
        just(make.sarif("warning")),
        [
            (just(make.sarif("error")), FAIL),
            (lambda bills: [make.sarif("error", seq=2), make.sarif(seq=1)], FAIL),
            (just(make.sarif(tool="other")), FAIL),
        ],
        {"tools": ["semgrep"]},
    ),
    Sample(
        "vulnerabilities/scanned",
        just(make.vulnerabilities("9.8")),
        [(just(make.vulnerabilities(age=31 * DAY)), STALE)],
    ),
    Sample(
        "vulnerabilities/none-above",
        just(make.vulnerabilities("5.0")),
        [
            (just(make.vulnerabilities("7.5")), FAIL),
            (just(make.vulnerabilities("unheard of")), FAIL),
            (just(make.vulnerabilities(age=31 * DAY)), STALE),
            (lambda bills: [make.vulnerabilities("9.8", seq=2), make.vulnerabilities(seq=1)], FAIL),
        ],
    ),
    Sample("vulnerabilities/assessed", just(make.vex("not_affected")), [(just(make.vex("under_investigation")), FAIL)]),
    Sample(
        "model/signed",
        just(make.item("model-signature", by=("alice", "bob"))),
        [
            (just(make.item("model-signature", by=("alice",))), UNTRUSTED),
            (just(make.item("model-signature", by=())), UNTRUSTED),
            (just(make.item("model-signature", by=("alice", "bob"), matched=False)), MISSING),
        ],
        {"threshold": 2},
    ),
    Sample("model/attested", bom("model"), [(bom("data"), FAIL), (bom("code"), FAIL)]),
    Sample("model/formats", bom("model"), [(bom("pickled"), FAIL), (bom("data"), FAIL)]),
    Sample(
        "model/no-unsafe-code",
        just(make.scan("models")),
        [
            (just(make.scan("models", "malicious")), FAIL),
            (just(make.scan("models", "code")), FAIL),
            (just(make.scan("models", "unknown")), FAIL),
            (just(make.scan("models", "unreadable")), FAIL),
            (just(make.scan("models", severity="high")), FAIL),
            (just(make.scan("models", skipped=True)), FAIL),
            (just(make.scan("secrets")), OTHER),
            (just(make.scan("models", age=100 * DAY)), STALE),
            (lambda bills: [make.scan("models", "malicious", seq=2), make.scan("models", seq=1)], FAIL),
        ],
    ),
    Sample("model/base-model", bom("model"), [(bom("data"), FAIL)], {"allow": ["google/*"]}),
    Sample("model/card", bom("model"), [(bom("data"), FAIL)]),
    Sample(
        "scan/no-secrets",
        just(make.scan("secrets", "none")),
        [(just(make.scan("secrets", "none", severity="critical")), FAIL), (just(make.scan("models")), OTHER)],
    ),
    Sample("dataset/attested", bom("data"), [(bom("model"), FAIL)]),
    Sample(
        "dataset/source",
        lambda bills: make.evidence("cyclonedx", bills["data"], said={"origin": "https://hub.example/acme/d"}),
        [
            (bom("data"), FAIL),
            (lambda b: make.evidence("cyclonedx", b["data"], said={"origin": "https://hub.example/evil/d"}), FAIL),
        ],
        {"sources": ["https://hub.example/acme/*"]},
    ),
    Sample(
        "dataset/schema",
        bom("data"),
        [(edited("data", lambda bill: bill.update(components=bill["components"][2:])), FAIL), (bom("model"), FAIL)],
        {"require": {"text": "string", "label": "int*"}, "forbid": ["*email*"], "formats": ["csv"], "rows": 3},
    ),
    Sample(
        "dataset/no-personal-data",
        just(make.scan("pii", "none")),
        [
            (just(make.scan("pii", "none", severity="low")), FAIL),
            (just(make.scan("pii", "none", skipped=True)), FAIL),
            (just(make.scan("poisoning", "none")), OTHER),
        ],
    ),
    Sample(
        "dataset/not-poisoned",
        just(make.scan("poisoning", "none")),
        [(just(make.scan("poisoning", "none", severity="low")), FAIL), (just(make.scan("pii", "none")), OTHER)],
    ),
    Sample(
        "dataset/as-attested",
        just(make.provenance(GITHUB, DATA)),
        [
            (just(make.provenance(GITHUB, BASE)), MISSING),
            (just(make.provenance(GITHUB)), MISSING),
            (just(make.provenance(GITHUB, DATA, by=())), MISSING),
            (just(make.provenance(GITHUB, DATA, age=3 * DAY)), FAIL),  # the data were looked at after the training
        ],
        linked=by_contents("data", DATA),
    ),
    Sample("evaluation/present", just(make.evaluation({"accuracy": 0.1})), [(just(make.tests()), MISSING)]),
    Sample(
        "evaluation/threshold",
        just(make.evaluation({"accuracy": 0.93})),
        [
            (just(make.evaluation({"accuracy": 0.89})), FAIL),
            (just(make.evaluation({"f1": 0.99})), FAIL),
            (just(make.evaluation({"accuracy": 0.93}, "other")), FAIL),
        ],
        {"metrics": {"accuracy": {"minimum": 0.9}}, "datasets": ["imdb"]},
    ),
    Sample(
        "evaluation/known-data",
        just(make.evaluation({"accuracy": 0.9}, {"name": "imdb", "digest": {"sha256": DATA}})),
        [(just(make.evaluation({"accuracy": 0.9})), FAIL)],
    ),
    Sample(
        "evaluation/bias",
        just(make.evaluation({"accuracy/sex=f": 0.88, "accuracy/sex=m": 0.9})),
        [
            (just(make.evaluation({"accuracy/sex=f": 0.6, "accuracy/sex=m": 0.9})), FAIL),
            (just(make.evaluation({"accuracy/sex=f": 0.9})), FAIL),
            (just(make.evaluation({"accuracy": 0.9})), FAIL),
        ],
        {"metric": "accuracy/sex=*"},
    ),
    Sample(
        "evaluation/tests",
        just(make.tests()),
        [(just(make.tests("FAILED")), FAIL), (just(make.tests(passed=("test_other",))), FAIL)],
        {"require": ["*robustness*"]},
    ),
    Sample("training/provenance", just(make.provenance(GITHUB, DATA)), [(just(make.provenance()), FAIL)]),
    Sample(
        "training/inputs-declared",
        just(make.provenance(GITHUB, DATA)),
        [(just(make.provenance(GITHUB, DATA, BASE)), FAIL), (just(make.provenance()), FAIL)],
        {"declared": ["git+https://github.com/acme/0"]},
    ),
    Sample(
        "training/isolated",
        just(make.trace(["pypi.org:443"])),
        [
            (just(make.trace(["pypi.org:443", "evil.example:443"])), FAIL),
            (just(make.trace([], ["io_uring is not seen"])), FAIL),
            (just(make.provenance()), FAIL),  # says nothing of the network
        ],
        {"hosts": ["pypi.org"]},
    ),
    Sample(
        "training/base-model-attested",
        just(make.provenance(GITHUB, BASE)),
        [
            (just(make.provenance(GITHUB, DATA)), MISSING),
            (just(make.provenance(GITHUB, BASE, age=3 * DAY)), FAIL),
        ],
        linked=by_contents("model", BASE),
    ),
    Sample(
        "training/data-scanned",
        just(make.provenance(GITHUB, DATA)),
        [(just(make.provenance(GITHUB, BASE)), MISSING), (just(make.provenance(GITHUB, DATA, age=3 * DAY)), FAIL)],
        linked=just(make.scan("poisoning", "none", subject=DATA, name="data", matched=True, age=2 * DAY)),
    ),
    Sample(
        "monitoring/fresh",
        just(make.monitoring(status="alarm")),
        [
            (just(make.monitoring(end="2026-05-29T00:00:00Z", age=3 * DAY)), STALE),
            (just(make.monitoring("endpoint")), OTHER),
            (just(make.monitoring(status="undecided")), FAIL),
            (just(make.monitoring(status="alarm", samples=0)), FAIL),
        ],
    ),
    Sample(
        "monitoring/no-alarm",
        just(make.monitoring(status="violations", severity="warning")),
        [
            (just(make.monitoring(status="alarm")), FAIL),
            (just(make.monitoring(status="violations")), FAIL),
            (just(make.monitoring("model-quality")), OTHER),
            (just(make.monitoring(end="2026-05-29T00:00:00Z")), FAIL),
            (lambda bills: [make.monitoring(status="alarm", seq=2), make.monitoring(seq=1)], FAIL),
        ],
    ),
    Sample(
        "verdict/accepted",
        just(make.verdict_of("ml-baseline", "warn")),
        [
            (just(make.verdict_of("ml-baseline", "fail")), FAIL),
            (just(make.verdict_of("slsa")), FAIL),
            (just(make.verdict_of("ml-baseline", age=8 * DAY)), STALE),
        ],
        {"policy": "ml-baseline"},
    ),
]
BY_NAME = {sample.rule: sample for sample in SAMPLES}
