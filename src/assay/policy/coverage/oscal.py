"""The report as OSCAL 1.1.3 assessment-results, for tools of governance and compliance.

Each row that a tool can assess is a finding; only verified evidence makes it ``satisfied``. Rows that no tool can
assess are observations without a finding, so that nobody counts them as passed. Identifiers are derived from names
(UUIDv5): the same report is the same document. Source: pages.nist.gov/OSCAL, assessment-results model 1.1.3.
"""

from __future__ import annotations

import base64
import re
import uuid
from typing import Any

from assay.policy.coverage.interface import Link, Report, Row, State
from assay.policy.coverage.wording import WORDS, plain, stamp, summary

VERSION = "1.1.3"
"""Of OSCAL."""

NAMESPACE = "https://assay.dev/ns/oscal"
"""Of properties that OSCAL does not define."""

_ROOT = uuid.uuid5(uuid.NAMESPACE_URL, NAMESPACE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Names:
    """Identifiers that are derived from what they name; a second thing of one name gets a number."""

    def __init__(self, *scope: str) -> None:
        self._scope = scope
        self._used: dict[str, int] = {}

    def _number(self, name: str) -> int:
        self._used[name] = self._used.get(name, 0) + 1
        return self._used[name]

    def uuid(self, *parts: str) -> str:
        name = "\0".join(plain(part) for part in (*self._scope, *parts))
        number = self._number(name)
        return str(uuid.uuid5(_ROOT, name if number == 1 else f"{name}\0{number}"))

    def token(self, text: str) -> str:
        """An OSCAL token: letters, digits, ``.``, ``-`` and ``_``, with a letter or ``_`` in front."""
        token = re.sub(r"[^A-Za-z0-9._-]", "-", text)
        token = token if re.match(r"[A-Za-z_]", token) else f"_{token}"
        while (number := self._number(f"token {token}")) > 1:
            token = f"{token}-{number}"
        return token


def render(report: Report) -> dict[str, Any]:
    """The document as a JSON value."""
    ids = _Names(report.framework, report.version, report.store)
    rows = [(row, ids.token(row.id)) for row in report.rows]
    plan, tool = ids.uuid("plan"), ids.uuid("tool")
    subjects = {name: ids.uuid("subject", name) for name in dict.fromkeys(link.subject for link in _links(report))}
    evidence = {link.digest: link for link in reversed(_links(report))}
    resources = {digest: ids.uuid("attestation", digest) for digest in evidence}
    observations: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []
    for row, token in rows:
        about = [_of_row(row, ids, report)]
        about += [
            _of_link(row, link, ids, report, subjects[link.subject], resources[link.digest]) for link in row.links
        ]
        for observation in about:
            observation["origins"] = [{"actors": [{"type": "tool", "actor-uuid": tool}]}]
        observations += about
        if row.state is not State.NOT_ASSESSABLE:
            findings.append(_finding(row, token, ids, [observation["uuid"] for observation in about]))
    moment = stamp(report.time)
    result = {
        "uuid": ids.uuid("result", report.head, moment),
        "title": _line(f"Coverage of {report.name} {report.version}"),
        "description": summary(report),
        "start": moment,
        "end": moment,
        "props": _props(
            ("evidence-store", report.store),
            ("evidence-store-head", report.head),
            ("attestations", str(report.statements)),
            ("attestations-by-expected-signers", str(report.trusted)),
        ),
        "local-definitions": _filled(
            {
                "components": [_tool(tool)],
                "inventory-items": [
                    {"uuid": identifier, "description": _line(name)} for name, identifier in subjects.items()
                ],
            }
        ),
        "reviewed-controls": {"control-selections": [_selection(rows)]},
        "observations": observations,
        "findings": findings,
        "remarks": " ".join(plain(warning) for warning in report.warnings),
    }
    document = {
        "uuid": ids.uuid("document", report.head, moment),
        "metadata": {
            "title": _line(f"assay: coverage of {report.name} {report.version}"),
            "last-modified": moment,
            "version": moment,
            "oscal-version": VERSION,
        },
        "import-ap": {"href": f"#{plan}"},
        "results": [_filled(result)],
        "back-matter": {
            "resources": [
                _plan(plan, report),
                *(_resource(resources[digest], evidence[digest]) for digest in resources),
            ]
        },
    }
    return {"assessment-results": document}


def _links(report: Report) -> list[Link]:
    return [link for row in report.rows for link in row.links]


def _line(text: str) -> str:
    """One line that is not empty, as titles and values must be."""
    return plain(text) or "unnamed"


def _props(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    named = [(name, plain(value)) for name, value in pairs]
    return [{"name": name, "ns": NAMESPACE, "value": value} for name, value in named if value]


def _filled(document: dict[str, Any]) -> dict[str, Any]:
    """Without its empty members: OSCAL has no empty lists or texts."""
    return {key: value for key, value in document.items() if value}


def _selection(rows: list[tuple[Row, str]]) -> dict[str, Any]:
    included = [{"control-id": token} for row, token in rows if row.state is not State.NOT_ASSESSABLE]
    excluded = [{"control-id": token} for row, token in rows if row.state is State.NOT_ASSESSABLE]
    if excluded:
        rest = {
            "exclude-controls": excluded,
            "remarks": "What is excluded is a matter of people and organisation, which no tool can assess.",
        }
    else:
        rest = {}
    # OSCAL has no selection of nothing: all but those that are excluded is the same where there is no other.
    return {"include-controls": included, **rest} if included else {"include-all": {}, **rest}


def _of_row(row: Row, ids: _Names, report: Report) -> dict[str, Any]:
    configuration = row.state is State.CONFIGURATION
    return _filled(
        {
            "uuid": ids.uuid("observation", row.id),
            "title": _line(f"{row.id}: {WORDS[row.state].short}"),
            "description": _line(row.why),
            "props": _props(
                ("row", row.id),
                ("state", row.state.value),
                *(("former-name", alias) for alias in row.aliases),
                ("further-attestations", str(row.more_links) if row.more_links else ""),
            ),
            "methods": ["EXAMINE" if configuration or row.state is State.NOT_ASSESSABLE else "TEST"],
            "collected": stamp(report.time),
            "remarks": "A setting is not proof that it worked." if configuration else "",
        }
    )


def _of_link(row: Row, link: Link, ids: _Names, report: Report, subject: str, resource: str) -> dict[str, Any]:
    evidence = {
        "href": f"#{resource}",
        "description": _line(f"Attestation sha256:{link.digest}, signed by {_signers(link)}"),
        "props": _props(("sha256", link.digest)),
    }
    return _filled(
        {
            "uuid": ids.uuid("observation", row.id, link.digest),
            "title": _line(f"{row.id}: {link.claim}"),
            "description": _line(link.claim),
            "props": _props(("row", row.id), ("predicate-type", link.predicate_type)),
            "methods": ["TEST"],
            "subjects": [{"subject-uuid": subject, "type": "inventory-item", "title": _line(link.subject)}],
            "relevant-evidence": [_filled(evidence)],
            "collected": stamp(report.time),
        }
    )


def _finding(row: Row, token: str, ids: _Names, observations: list[str]) -> dict[str, Any]:
    satisfied = row.state is State.EVIDENCE
    status = {"state": "satisfied" if satisfied else "not-satisfied", "reason": "pass" if satisfied else "fail"}
    if row.state is State.CONFIGURATION:
        status |= {"reason": "other", "remarks": "Backed only by a setting; no signed evidence shows that it worked."}
    open_ = [f"{plain(measure.title)}: {plain(measure.how)}" for measure in row.measures if not measure.met]
    return _filled(
        {
            "uuid": ids.uuid("finding", row.id),
            "title": _line(f"{row.id} {row.name}"),
            "description": _line(row.why),
            "props": _props(("row", row.id), ("state", row.state.value)),
            "target": {"type": "objective-id", "target-id": token, "title": _line(row.name), "status": status},
            "related-observations": [{"observation-uuid": observation} for observation in observations],
            "remarks": "" if satisfied or not open_ else "What would back it: " + "; ".join(open_),
        }
    )


def _tool(identifier: str) -> dict[str, Any]:
    return {
        "uuid": identifier,
        "type": "software",
        "title": "assay",
        "description": "Verified the attestations in the evidence store and matched them with the framework's rows.",
        "status": {"state": "operational"},
    }


def _plan(identifier: str, report: Report) -> dict[str, Any]:
    """Assessment-results must name a plan. There is no document of one: it is the mapping that ships with assay."""
    return _filled(
        {
            "uuid": identifier,
            "title": _line(f"assay's mapping of {report.name} {report.version} to evidence"),
            "description": _line(
                f"For each row of {report.name}, the evidence and settings that back it. "
                f"Text of the framework: {report.source} ({report.licence})."
            ),
            "props": _props(("framework", report.framework), ("framework-version", report.version)),
        }
    )


def _resource(identifier: str, link: Link) -> dict[str, Any]:
    """One attestation. Its address is its digest (RFC 6920): whoever has the store can find it, wherever that is."""
    hashes = [{"algorithm": "SHA-256", "value": link.digest}]
    sha256 = _SHA256.fullmatch(link.digest)
    name = base64.urlsafe_b64encode(bytes.fromhex(link.digest)).decode().rstrip("=") if sha256 else ""
    return _filled(
        {
            "uuid": identifier,
            "title": _line(f"Attestation {link.digest[:12]} of {link.subject}"),
            "description": _line(f"Show it with: assay evidence show {link.digest}"),
            "props": _props(
                ("predicate-type", link.predicate_type),
                *(("signer", signer) for signer in link.signers),
                ("stated-time", stamp(link.time) if link.time else ""),
                ("store-entry", str(link.entry) if link.entry else ""),
            ),
            "rlinks": [{"href": f"ni:///sha-256;{name}", "hashes": hashes}] if name else [],
        }
    )


def _signers(link: Link) -> str:
    return ", ".join(link.signers) or "nobody named"
