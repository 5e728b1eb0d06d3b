"""Provenance and isolation: every parameter, every dependency, every contact."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from assay.errors import DocumentError
from assay.evidence import predicates
from assay.policy.checks import CHECKS
from policy.checks.asking import SHA, ask

SLSA = "https://slsa.dev/provenance/v1"
TRACE = "https://in-toto.io/attestation/runtime-trace/v0.1"
LINK = "https://in-toto.io/attestation/link/v0.3"

# The form of what GitHub's own action writes for a workflow (SLSA v1, build type workflow/v1).
PROVENANCE: dict[str, Any] = {
    "buildDefinition": {
        "buildType": "https://actions.github.io/buildtypes/workflow/v1",
        "externalParameters": {
            "workflow": {"ref": "refs/heads/main", "repository": "https://github.com/o/r", "path": ".github/w.yml"}
        },
        "internalParameters": {"github": {"event_name": "push"}},
        "resolvedDependencies": [
            {"uri": "git+https://github.com/o/r@refs/heads/main", "digest": {"gitCommit": "ab" * 20}}
        ],
    },
    "runDetails": {
        "builder": {"id": "https://github.com/actions/runner/github-hosted"},
        "metadata": {"invocationId": "https://github.com/o/r/actions/runs/77/attempts/1"},
    },
}


def changed(place: str, value: Any) -> dict[str, Any]:
    predicate = copy.deepcopy(PROVENANCE)
    *parents, last = place.split(".")
    inner: Any = predicate
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return predicate


def test_the_sample_has_its_types_form() -> None:
    predicates.check(SLSA, PROVENANCE)


@pytest.mark.parametrize(
    "arguments",
    [
        {"builders": ["https://github.com/actions/*"]},
        {"build-types": ["https://actions.github.io/buildtypes/workflow/v1"]},
        {"external-parameters": {"workflow": "*"}},
        {"external-parameters": {"workflow.ref": "refs/heads/*", "workflow.repository": "*", "workflow.path": "*"}},
        {"external-parameters": {"workflow.ref": ["refs/tags/*", "refs/heads/main"], "workflow.repository": "*"}
         | {"workflow.path": ".github/w.yml", "workflow.absent": "*"}},
        {"deny-dependencies": ["git+https://evil.example/*"]},
        {"allow-dependencies": ["git+https://github.com/o/*"]},
        {"digested": True},
    ],
)  # fmt: skip
def test_provenance_that_suffices(arguments: Any) -> None:
    assert ask("provenance", arguments, PROVENANCE) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"builders": ["https://other/*"]},
            "the builder is 'https://github.com/actions/runner/github-hosted', which is not on the list",
        ),
        (
            {"build-types": ["x"]},
            "the build type is 'https://actions.github.io/buildtypes/workflow/v1', which is not on the list",
        ),
        ({"external-parameters": {}}, "the parameter 'workflow' is not one that the rule knows"),
        (
            {"external-parameters": {"workflow.ref": "*", "workflow.path": "*"}},
            "the parameter 'workflow.repository' is not one that the rule knows",
        ),
        (
            {"external-parameters": {"workflow": "*", "workflow.ref": "refs/tags/*"}},
            "the parameter 'workflow.ref' is 'refs/heads/main', needs 'refs/tags/*'",
        ),
        ({"external-parameters": {"workflow": "*", "epochs": 3}}, "the parameter 'epochs' is absent"),
        (
            {"deny-dependencies": ["*github.com/o/r*"]},
            "the dependency 'git+https://github.com/o/r@refs/heads/main' is denied",
        ),
        (
            {"allow-dependencies": ["pkg:*"]},
            "the dependency 'git+https://github.com/o/r@refs/heads/main' is not on the allow list",
        ),
    ],
)
def test_provenance_that_does_not_suffice(arguments: Any, message: str) -> None:
    assert message in ask("provenance", arguments, PROVENANCE)


def test_nothing_hides_beside_a_known_parameter() -> None:
    workflow = {**PROVENANCE["buildDefinition"]["externalParameters"]["workflow"], "inject": "x"}
    predicate = changed("buildDefinition.externalParameters", {"workflow": workflow})
    known = {"workflow.ref": "*", "workflow.repository": "*", "workflow.path": "*"}
    assert ask("provenance", {"external-parameters": known}, predicate) == [
        "the parameter 'workflow.inject' is not one that the rule knows"
    ]
    # A key with a dot in it is no nested parameter, and cannot stand in for one.
    flat = changed("buildDefinition.externalParameters", {"workflow.ref": "refs/heads/main", "x": 1})
    assert ask("provenance", {"external-parameters": {"workflow.ref": "refs/heads/*"}}, flat) != []


@pytest.mark.parametrize(
    ("stated", "wanted", "ok"),
    [(3, 3, True), (3, 3.0, True), (3, "3", False), ("3", 3, False), (True, 1, False), (1, True, False),
     (True, True, True), (["a"], "a", False), (None, "a", False), ("abc", "a*", True), (2, [1, 2], True)],
)  # fmt: skip
def test_values_of_parameters(stated: Any, wanted: Any, ok: bool) -> None:
    predicate = changed("buildDefinition.externalParameters", {"p": stated})
    assert (ask("provenance", {"external-parameters": {"p": wanted}}, predicate) == []) == ok


@pytest.mark.parametrize(
    "dependencies",
    [
        None,
        "x",
        ["x"],
        [{"uri": "a"}],
        [{"uri": "a", "digest": {"md5": "ab" * 16}}],
        [{"uri": "a", "digest": {"sha256": "x"}}],
    ],
)
def test_dependencies_without_proof(dependencies: Any) -> None:
    predicate = changed("buildDefinition.resolvedDependencies", dependencies)
    assert ask("provenance", {"digested": True}, predicate) != []


def test_a_dependency_without_a_name_may_be_the_denied_one() -> None:
    predicate = changed("buildDefinition.resolvedDependencies", [{"digest": {"sha256": SHA}}])
    assert ask("provenance", {"deny-dependencies": ["evil"]}, predicate) == ["the dependency null is denied"]


def test_provenance_demands_something() -> None:
    with pytest.raises(DocumentError):
        CHECKS["provenance"].prepare({}, "p")


def trace(network: Any, gaps: Any = (), **fields: Any) -> dict[str, Any]:
    policy = {} if gaps is None else {"gaps": list(gaps)}
    log: dict[str, Any] = {"process": [], **({} if network is None else {"network": network})}
    return {
        "monitor": {"type": "https://assay.dev/monitor/seccomp/v1", "tracePolicy": policy},
        "monitoredProcess": {"hostID": "h", "type": "train", "event": "1"},
        "monitorLog": log,
        **fields,
    }


CONTACTS = [
    "pypi.org:443",
    {"host": "pypi.org", "port": 443},
    {"hostname": "pypi.org", "address": "151.101.0.223", "port": 443},
    {"destination": "pypi.org"},
]


@pytest.mark.parametrize("contact", CONTACTS)
def test_contacts(contact: Any) -> None:
    predicate = trace([contact])
    predicates.check(TRACE, predicate)
    assert len(ask("isolated", {}, predicate)) == 1
    assert ask("isolated", {"hosts": ["pypi.org"]}, predicate) == []
    assert ask("isolated", {"hosts": ["*.org"]}, predicate) == []
    assert len(ask("isolated", {"hosts": ["pypi.org:80"]}, predicate)) == 1
    assert len(ask("isolated", {"hosts": ["pypi.or"]}, predicate)) == 1


def test_no_contact() -> None:
    assert ask("isolated", {}, trace([])) == []
    assert ask("isolated", {}, trace([{"host": "evil.example", "port": 443, "decision": "denied"}])) == []
    assert ask("isolated", {"monitors": ["https://assay.dev/*"]}, trace([])) == []


def test_a_port_belongs_to_its_host() -> None:
    assert ask("isolated", {"hosts": ["[2001:db8::1]:443"]}, trace(["[2001:db8::1]:443"])) == []
    assert ask("isolated", {"hosts": ["2001:db8::1"]}, trace(["[2001:db8::1]:443"])) == []
    assert len(ask("isolated", {"hosts": ["2001:db8:"]}, trace(["2001:db8::1"]))) == 1


@pytest.mark.parametrize(
    "predicate",
    [
        trace(None),
        trace({}),
        trace("none"),
        trace([], gaps=["io_uring"]),
        trace([], gaps=[{"name": "x"}]),
        trace([], gaps=[{"name": "x", "about": []}]),
        trace([], gaps=[{"name": "x", "about": ["files", "network"]}]),
        trace([], gaps=None),
        trace([3]),
        trace([{"port": 443}]),
        trace([{"host": "a.org", "destination": "evil.example"}]),
        trace(["a.org.evil.example:443"]),
        trace([{"host": "a.org" + "x" * 400, "port": 1}]),
        trace([{"host": "evil.example", "decision": "allowed"}]),
        {},
    ],
)
def test_isolation_that_is_not_shown(predicate: Any) -> None:
    assert ask("isolated", {"hosts": ["a.org", "*.a.org"]}, predicate) != []


def test_what_stays_within_the_step_is_no_contact() -> None:
    own = {"address": "127.0.0.1", "port": 41000, "decision": "mediated", "rule": "net:loopback", "scope": "step"}
    assert ask("isolated", {}, trace([own])) == []
    assert ask("isolated", {}, trace([own | {"scope": "host"}])) == ["'127.0.0.1:41000' was reached"]


def test_a_gap_that_says_it_is_not_about_the_network() -> None:
    assert ask("isolated", {}, trace([], gaps=[{"name": "racing-threads", "about": ["files"]}])) == []


def test_gaps_and_monitors_when_asked_for() -> None:
    assert ask("isolated", {"gaps": "allow"}, trace([], gaps=["io_uring"])) == []
    assert len(ask("isolated", {"monitors": ["https://other/*"]}, trace([]))) == 1


def test_isolation_in_link_and_provenance() -> None:
    held = {"isolation": {"network": [], "gaps": []}}
    assert ask("isolated", {}, {"name": "train", "environment": held}, LINK) == []
    assert ask("isolated", {}, changed("buildDefinition.internalParameters", held), SLSA) == []
    assert ask("isolated", {}, PROVENANCE, SLSA) != []
    assert ask("isolated", {}, {"name": "train"}, LINK) != []
