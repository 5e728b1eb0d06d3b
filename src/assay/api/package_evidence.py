"""What vetting found, as evidence: a bill of materials of the packages, and the known vulnerabilities in them.

The subject is the lock file or the wheelhouse. Nothing is stated that was not looked at: without a source of
vulnerabilities there is no statement about them, so that a policy which wants one stays undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import assay
from assay.api.stating import Stated, state
from assay.collect.packages.locks import Locked
from assay.collect.packages.osv import Answer, Known
from assay.collect.packages.wheels import Wheel
from assay.config import Config
from assay.evidence.signers.interface import Signer
from assay.targets.interface import Manifest, Options, Target


@dataclass(frozen=True, slots=True)
class How:
    """How evidence is signed and kept."""

    secret: Signer
    directory: str | None
    labels: Mapping[str, str] | None
    config: Config
    identify: bool
    now: datetime


def attest(
    thing: Target, packages: Sequence[Locked], wheels: Sequence[Wheel], known: Answer | None, how: How
) -> list[Stated]:
    """Sign and keep the statements about ``thing``."""
    manifest = thing.manifest()
    predicates = [_bill(thing, manifest, packages, wheels, how.now)]
    if known is not None:
        predicates.append(_vulnerabilities(known, how.now))
    return [
        state(
            thing,
            manifest,
            predicate,
            secret=how.secret,
            directory=how.directory,
            options=Options(),
            labels=how.labels,
            config=how.config,
            identify=how.identify,
            now=how.now,
        )
        for predicate in predicates
    ]


def _bill(
    thing: Target, manifest: Manifest, packages: Sequence[Locked], wheels: Sequence[Wheel], now: datetime
) -> tuple[str, dict[str, Any]]:
    """CycloneDX: the wheels where they are at hand, with their licences; else what the lock says."""
    from assay.collect.bom.build import Bom
    from assay.collect.bom.documents import cyclonedx
    from assay.collect.bom.interface import Package
    from assay.collect.bom.packages.installed import stated_licences
    from assay.collect.bom.purl import purl
    from assay.evidence.predicates.cyclonedx import PREDICATE_TYPE

    of = {(wheel.name, wheel.version): wheel for wheel in wheels}
    listed = []
    for package in packages:
        wheel = of.get((package.name, package.version))
        stated = {} if wheel is None else _licence_fields(wheel)
        listed.append(
            Package(
                package.name,
                package.version,
                purl("pypi", package.name, package.version),
                "locked",
                wheel.filename if wheel else thing.name,
                package.pin,
                tuple(("SHA-256", digest) for digest in ((wheel.sha256,) if wheel else package.hashes)),
                stated_licences(stated, wheel.filename if wheel else thing.name),
            )
        )
    bill = Bom(thing.name, thing.reference, thing.facts, manifest, "code", (), (), (), listed, now)
    return PREDICATE_TYPE, cyclonedx.document(bill)


def _licence_fields(wheel: Wheel) -> dict[str, Any]:
    return {
        "license_expression": wheel.licence_expression,
        "license": wheel.licence,
        "classifiers": list(wheel.classifiers),
    }


def _vulnerabilities(answer: Answer, now: datetime) -> tuple[str, dict[str, Any]]:
    """in-toto's vulnerability predicate, v0.2."""
    from assay.evidence import predicates
    from assay.evidence.predicates import vulns

    made = vulns.Vulnerabilities(
        scanner=vulns.Scanner(
            uri="https://assay.dev/packages",
            version=assay.__version__,
            db=vulns.Database(uri=answer.where, last_update=answer.updated) if answer.updated else None,
            result=[_result(item) for item in answer.known],
        ),
        metadata=vulns.Metadata(scan_started_on=now, scan_finished_on=now),
    )
    return vulns.PREDICATE_TYPE, predicates.builtins(made)


def _result(known: Known) -> Any:
    from assay.evidence.predicates import vulns

    note = {"package": known.package, "aliases": list(known.aliases), "fixed": list(known.fixed)}
    return vulns.Result(
        id=known.id,
        severity=[vulns.Severity(method=scale.lower() or "osv", score=score) for scale, score in known.severities],
        annotations=[{name: value for name, value in note.items() if value}],
    )
