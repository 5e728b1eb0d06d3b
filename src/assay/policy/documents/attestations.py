"""A decision as predicates to sign: the full result, SLSA's verification summary and in-toto's simple result.

The full result is signed first; the other two name it by the digest of its signed document, for whoever wants to know
why. They say only what was shown: a decision that rejects yields no property of the policy as a whole, and a level
that some rule speaks against is never claimed.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any
from urllib.parse import quote, urlencode

import assay
from assay.evidence import predicates
from assay.evidence.predicates import svr as svr_type
from assay.evidence.predicates import verdict as verdict_type
from assay.evidence.predicates import vsa as vsa_type
from assay.evidence.predicates.common import ResourceDescriptor
from assay.policy.documents.values import plain
from assay.policy.documents.words import clean
from assay.policy.verdict import Decision, RuleResult, Used, Verdict

VERIFIER = "https://assay.dev/verifier/v0.1"
"""Our verifier's id. It says which program's rules were applied, not who ran it: who did is the signer, and a consumer
accepts only pairs of the two (SLSA 1.1, verifier). The number changes when the meaning of a verdict does.
"""

SLSA_VERSION = "1.1"
"""Version of the specification that the summary follows."""

MAX_VIOLATIONS = 100
"""Violations of one rule that are signed; their number is, too."""

MAX_DETAILS = 2000
"""Characters of JSON of one violation's details; larger ones are left out."""

_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\":,;]+/)+")
"""The folders of an absolute path."""

_BUILD = re.compile(r"SLSA_BUILD_LEVEL_([0-3])")


def all_of(decision: Decision, keep: Callable[[str, dict[str, Any]], str]) -> tuple[str, ...]:
    """Sign and keep all three. ``keep`` does so with a predicate type and predicate, and gives the hex SHA-256 of the
    signed document; the full result comes first, because the others name its digest.
    """
    first = keep(*result(decision))
    return first, keep(*vsa(decision, first)), keep(*svr(decision, first))


def result(decision: Decision) -> tuple[str, dict[str, Any]]:
    """The full result: predicate type and predicate. The target's digest also belongs into the statement's subject."""
    policy = decision.policy
    made = verdict_type.Verdict(
        policy=verdict_type.Policy(
            id=policy.id,
            name=policy.name,
            version=policy.version,
            uri=_uri(policy.uri),
            digest={"sha256": policy.sha256},
            signer=policy.signer,
        ),
        target=ResourceDescriptor(name=decision.name, uri=resource_uri(decision), digest={"sha256": decision.sha256}),
        verdict=decision.verdict.value,
        accepted=decision.accepted,
        time=decision.time.astimezone(UTC),
        rules=[_rule(item) for item in decision.results],
        gate=decision.gate,
        kind=decision.kind,
        labels=dict(decision.labels),
        warnings=[_FOLDERS.sub("", clean(warning)) for warning in decision.warnings],
    )
    return verdict_type.PREDICATE_TYPE, plain(predicates.builtins(made))


def vsa(decision: Decision, result_sha256: str | None = None) -> tuple[str, dict[str, Any]]:
    """SLSA's verification summary v1. ``result_sha256``: hex digest of the signed full result, if it was signed.

    It is named in an extension field, whose name is the type's URI, and not among the inputs: it is an output.
    """
    made = vsa_type.VerificationSummary(
        verifier=vsa_type.Verifier(id=VERIFIER, version={"assay": assay.__version__}),
        time_verified=decision.time.astimezone(UTC),
        resource_uri=resource_uri(decision),
        policy=vsa_type.Policy(uri=_uri(decision.policy.uri), digest={"sha256": decision.policy.sha256}),
        verification_result="PASSED" if decision.accepted else "FAILED",
        verified_levels=[*_slsa(decision), *_whole(decision)] if decision.accepted else ["FAILED"],
        input_attestations=[vsa_type.InputAttestation(digest={"sha256": digest}) for digest in _inputs(decision)]
        or None,
        slsa_version=SLSA_VERSION,
    )
    return vsa_type.PREDICATE_TYPE, _referring(predicates.builtins(made), result_sha256)


def svr(decision: Decision, result_sha256: str | None = None) -> tuple[str, dict[str, Any]]:
    """In-toto's simple verification result v0.2: every rule that passed, and the policy when it accepts."""
    policy = decision.policy
    made = svr_type.SimpleVerificationResult(
        verifier=svr_type.Verifier(
            id=VERIFIER,
            policies=[ResourceDescriptor(name=policy.id, uri=_uri(policy.uri), digest={"sha256": policy.sha256})],
        ),
        time_created=decision.time.astimezone(UTC),
        properties=[*_slsa(decision), *_whole(decision), *_passed(decision)],
    )
    return svr_type.PREDICATE_TYPE, _referring(predicates.builtins(made), result_sha256)


def resource_uri(decision: Decision) -> str:
    """The target as a URI: a package URL, without a path of this machine, and with gate and labels as its fragment.

    A summary for one environment must not be usable in another (SLSA 1.1, resourceUri), and the gate and the labels
    decide which rules were looked at.
    """
    from assay.collect.bom.purl import target_purl
    from assay.targets.names import without_userinfo

    scheme, _, rest = plain(decision.target).partition(":")
    at = rest.rfind("@")
    # An "@" before the last "/" or ":" belongs to a user name: git@host:path.
    pinned = at > max(rest.rfind("/"), rest.rfind(":"))
    name, revision = (rest[:at], rest[at + 1 :]) if pinned else (rest, None)
    origin = without_userinfo(name) if scheme == "git" else None
    made = target_purl(scheme, name, plain(decision.name) or "target", revision, origin)
    said = [("gate", decision.gate)] if decision.gate else []
    said += [(f"label.{key}", value) for key, value in sorted(decision.labels.items())]
    return f"{made}#{urlencode(said, quote_via=quote, errors='replace')}" if said else made


def name_of(prefix: str, *ids: str) -> str:
    """The name of a property: ``ASSAY_RULE_ML_BASELINE.MODEL_SIGNED``. A dot divides, for no id holds one then."""
    return prefix + ".".join(re.sub(r"[^A-Z0-9]", "_", item.upper()) for item in ids)


def _whole(decision: Decision) -> list[str]:
    """That the policy accepts; of all its rules or only of those that were for this target, gate and labels."""
    if not decision.accepted:
        return []
    partly = any(item.verdict is Verdict.NOT_APPLICABLE for item in decision.results)
    return [name_of("ASSAY_POLICY_", decision.policy.id) + (".APPLICABLE_RULES" if partly else "")]


def _passed(decision: Decision) -> list[str]:
    """Rules that pass without reservation. Of two whose names come out the same, both must."""
    names: dict[str, bool] = {}
    for item in decision.results:
        name = name_of("ASSAY_RULE_", decision.policy.id, item.rule)
        names[name] = names.get(name, True) and item.verdict is Verdict.PASS
    return [name for name, passed in names.items() if passed]


def _slsa(decision: Decision) -> list[str]:
    """The highest build level that a rule shows and no rule for it or for a lower one denies; one at most."""
    shown: set[int] = set()
    denied: set[int] = set()
    for item in decision.results:
        for id in item.frameworks.get("slsa", ()):
            match = _BUILD.fullmatch(id)
            if match and item.verdict is not Verdict.NOT_APPLICABLE:
                (shown if item.verdict is Verdict.PASS else denied).add(int(match[1]))
    held = [level for level in shown if level < min(denied, default=4)]
    return [f"SLSA_BUILD_LEVEL_{max(held)}"] if held else []


def _inputs(decision: Decision) -> list[str]:
    """Digests of all evidence that some result rests on: the field is all of them or nothing."""
    return sorted({used.digest for item in decision.results for used in item.used})


def _referring(predicate: dict[str, Any], result_sha256: str | None) -> dict[str, Any]:
    if result_sha256 is not None:
        predicate[verdict_type.PREDICATE_TYPE] = {"digest": {"sha256": result_sha256}}
    made: dict[str, Any] = plain(predicate)
    return made


def _uri(text: str) -> str:
    """A policy's URI, with what may not stand in one written as the specification demands (RFC 3986, 2.1)."""
    return quote(text, safe=":/?#[]@!$&'()*+,;=-._~%", errors="replace") or "urn:unknown"


def _rule(item: RuleResult) -> verdict_type.Rule:
    return verdict_type.Rule(
        id=item.rule,
        level=item.level.value,
        verdict=item.verdict.value,
        effective=item.effective.value,
        control=item.control,
        name=item.name,
        reason=_without_paths(item.reason, item.used),
        violations=[
            verdict_type.Violation(message=clean(one.message), path=clean(one.path), details=_details(one.details))
            for one in item.violations[:MAX_VIOLATIONS]
        ],
        violation_count=len(item.violations),
        used=[_used(one) for one in item.used],
        needs=[
            verdict_type.Need(
                kind=one.kind.value,
                what=_without_paths(one.what, item.used),
                types=list(one.types),
                signers=list(one.signers),
                command=one.command,
                alias=one.alias,
            )
            for one in item.needs
        ],
        risk=item.risk,
        mitigation=item.mitigation,
        frameworks={name: list(ids) for name, ids in item.frameworks.items() if ids},
        labels=list(item.labels),
        uses=item.uses,
        notes=[_without_paths(note, item.used) for note in item.notes],
    )


def _used(item: Used) -> verdict_type.Used:
    return verdict_type.Used(
        digest={"sha256": item.digest},
        predicate_type=item.predicate_type,
        subject=item.subject,
        subject_digest={"sha256": item.subject_sha256} if item.subject_sha256 else None,
        signers=list(item.signers),
    )


def _details(details: Any) -> dict[str, Any] | None:
    made: dict[str, Any] = plain(details)
    return made if made and len(json.dumps(made)) <= MAX_DETAILS else None


def _without_paths(text: str, used: Sequence[Used]) -> str:
    """A sentence, with the files that evidence lay in by their base names: no folder of this machine is signed."""
    for item in used:
        if "/" in item.source:
            text = text.replace(item.source, posixpath.basename(item.source))
    return clean(text)
