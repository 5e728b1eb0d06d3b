"""A run as statements that other tools read: in-toto link v0.3, SLSA provenance v1, runtime trace v0.1.

The three say the same run to three audiences. A run that did not succeed gets no provenance, and its link and trace
are about the run itself and not about what it left behind: whatever asks for evidence about a product never finds a
failed run among it.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field

from assay.collect.step.interface import Aggregate, Files, Folder, Material, Product
from assay.collect.trace.interface import Contact, Decision, Gap, Trace
from assay.evidence import strict_json
from assay.evidence.predicates import builtins
from assay.evidence.predicates import link as links
from assay.evidence.predicates import provenance as slsa
from assay.evidence.predicates import runtime_trace as traces
from assay.evidence.predicates.common import ResourceDescriptor
from assay.evidence.statement import Subject

BUILD_TYPE = "https://assay.dev/run/v0.1"
"""What `externalParameters` mean: ``step``, ``command``, ``inputs``, ``outputs``, ``network``, ``isolation``."""

MONITOR = "https://assay.dev/monitor/{}/v0.1"
"""Kind of monitor, with the mechanism's name. All of ours but ``audit-hook`` are synchronous."""

MOST_PRODUCTS = 10_000
"""Products that become subjects of their own; beyond that their folder stands for them."""

_OWN = ("net:loopback", "proxy")
"""Rules by which the monitor joined the step's own ends on this machine: nothing outside was reached."""

MOST_MODULES = 20_000
MOST_CONTACTS = 10_000

SUCCESS, FAILED, KILLED, INTERRUPTED = "success", "failed", "killed", "interrupted"


class Run(Struct, frozen=True):
    """What the trace does not know about a run."""

    step: str
    """Name of the step in its pipeline."""
    command: Sequence[str]
    invocation: str
    """Id of the run, a UUID."""
    builder: str
    """URI of who vouches for the run: from its signer."""
    host: str
    """Name of the machine, or a word that hides it."""
    variables: Sequence[str] = ()
    """Names of the environment variables that passed."""
    secrets: Sequence[str] = ()
    """Names of those among them that were asked for as secrets."""
    network: Sequence[str] | None = ()
    """Declared destinations; None: open."""
    isolation: str = "auto"
    enforced: Mapping[str, str] = field(default_factory=dict)
    """What held what: ``files``, ``network``, ``products``, ``tier``."""
    gaps: Sequence[Gap] = ()
    """Of the walls; those of the trace come with it."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Name to SHA-256 (hex) of what ran, where that is no file as it is: the cells of a notebook."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further external parameters."""


class Made(Struct, frozen=True):
    """One statement to be signed."""

    predicate_type: str
    predicate: Mapping[str, Any]
    subjects: tuple[Subject, ...]


def outcome(trace: Trace) -> str:
    """How the run ended, in one word."""
    if trace.interrupted:
        return INTERRUPTED
    if trace.exit_code is None:
        return KILLED
    return SUCCESS if trace.exit_code == 0 else FAILED


def statements(trace: Trace, files: Files, run: Run, *, annotations: Sequence[Mapping[str, Any]] = ()) -> list[Made]:
    """Link, runtime trace and, for a run that succeeded, provenance. ``annotations``: for each of ``files.outputs``,
    what its subject is described by.
    """
    observed = _runtime_trace(trace, files, run)
    about = subjects(files, annotations) if outcome(trace) == SUCCESS else ()
    if not about:
        digest = hashlib.sha256(strict_json.dumps(observed)).hexdigest()
        about = (Subject(f"run:{run.invocation}", {"sha256": digest}),)
    made = [
        Made(links.PREDICATE_TYPE, _link(trace, files, run), about),
        Made(traces.PREDICATE_TYPE, observed, about),
    ]
    if outcome(trace) == SUCCESS:
        made.append(Made(slsa.PREDICATE_TYPE, _provenance(trace, files, run), about))
    return made


def subjects(files: Files, annotations: Sequence[Mapping[str, Any]] = ()) -> tuple[Subject, ...]:
    """The output folders, then the products one by one. Names are unique."""
    made: dict[str, Subject] = {}
    for i, folder in enumerate(files.outputs):
        if folder.used:  # what the step left as it was is not of its making
            said = annotations[i] if i < len(annotations) else {}
            name = _unused(folder.name, made)
            made[name] = Subject(name, {"sha256": folder.contents}, said)
    if len(files.products) <= MOST_PRODUCTS:
        for item in files.products:
            if item.sha256 is not None:
                name = _unused(item.name, made)
                made[name] = Subject(name, {"sha256": item.sha256})
    return tuple(made.values())


def _unused(name: str, taken: Mapping[str, object]) -> str:
    """``name``, or with a number where another subject has it."""
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name} ({number})"
    return unique


def _link(trace: Trace, files: Files, run: Run) -> dict[str, Any]:
    names: dict[str, object] = {}
    materials = []
    for item in (*_inputs(files), *_materials(files)):
        if not item.digest:  # a link has no place for it; byproducts say it
            continue
        name = _unused(item.name or "", names)
        names[name] = None
        materials.append(ResourceDescriptor(name=name, digest=item.digest, annotations=item.annotations))
    return builtins(
        links.Link(
            name=run.step,
            command=list(run.command),
            materials=materials,
            byproducts={
                "return-value": trace.exit_code,
                "signal": trace.signal,
                "outcome": outcome(trace),
                "interrupted": trace.interrupted,
                "products": _counted(files.products),
                "uncertain": [item.name for item in files.materials if item.changed][:1000],
                "deleted": list(files.deleted[:1000]),
                "ephemeralFiles": files.ephemeral,
                "warnings": list(files.warnings[:1000]),
                "costs": costs(trace),
            },
            environment={
                "variables": sorted(run.variables),
                "secrets": sorted(run.secrets),
                "isolation": _isolation(trace, run),
            },
        )
    )


def _runtime_trace(trace: Trace, files: Files, run: Run) -> dict[str, Any]:
    programs = Counter((item.program, item.first is not None) for item in trace.processes)
    digests = {item.path: item.sha256 for item in files.materials if item.sha256}
    process: list[dict[str, Any]] = []
    for (program, _), count in programs.items():
        path = program.decode("utf-8", "backslashreplace")
        entry: dict[str, Any] = {"program": path, "times": count}
        if sha256 := digests.get(path):
            entry["digest"] = {"sha256": sha256}
        process.append(entry)
    if process:
        process[0] |= {"pythonModules": list(trace.modules[:MOST_MODULES])} if trace.modules else {}
        process[0] |= {name: list(values[:1000]) for name, values in trace.hooks.items()}
    calls = Counter((item.call, item.detail, item.decision.value, item.rule) for item in trace.calls)
    process += [
        {"call": call, "detail": detail, "decision": decision, "rule": rule, "times": times}
        for (call, detail, decision, rule), times in calls.most_common(1000)
    ]
    refused = [item for item in trace.files.values() if item.rule]
    process += [
        {
            "file": item.path.decode("utf-8", "backslashreplace"),
            "decision": Decision.DENIED.value,
            "rule": item.rule,
            "times": item.denied,
        }
        for item in refused[:1000]
    ]
    return builtins(
        traces.RuntimeTrace(
            monitor=traces.Monitor(
                type=MONITOR.format(trace.mechanism),
                trace_policy={
                    "gaps": _gaps(trace, run),
                    "enforced": dict(run.enforced),
                    "events": trace.events,
                },
            ),
            monitored_process=traces.MonitoredProcess(host_id=run.host, type=BUILD_TYPE, event=run.invocation),
            monitor_log=traces.MonitorLog(
                process=process,
                network=contacts(trace.contacts),
                file_access=[*_materials(files), *map(_product, files.products[:MOST_PRODUCTS])],
            ),
            metadata=traces.Metadata(build_started_on=_time(trace.started), build_finished_on=_time(trace.finished)),
        )
    )


def _provenance(trace: Trace, files: Files, run: Run) -> dict[str, Any]:
    code = [
        ResourceDescriptor(name=name, digest={"sha256": sha256}, annotations={"origin": "code", "form": "cells"})
        for name, sha256 in run.code.items()
    ]
    return builtins(
        slsa.Provenance(
            build_definition=slsa.BuildDefinition(
                build_type=BUILD_TYPE,
                external_parameters={
                    "step": run.step,
                    "command": list(run.command),
                    "inputs": [item.name for item in files.inputs],
                    "outputs": [item.name for item in files.outputs],
                    "network": None if run.network is None else list(run.network),
                    "isolation": run.isolation,
                    **run.parameters,
                },
                internal_parameters={
                    "isolation": _isolation(trace, run),
                    "variables": sorted(run.variables),
                    "secrets": sorted(run.secrets),
                },
                resolved_dependencies=[*_inputs(files), *code, *_materials(files)],
            ),
            run_details=slsa.RunDetails(
                builder=slsa.Builder(id=run.builder),
                metadata=slsa.Metadata(
                    invocation_id=run.invocation, started_on=_time(trace.started), finished_on=_time(trace.finished)
                ),
            ),
        )
    )


def costs(trace: Trace) -> dict[str, float | int]:
    """What the run cost: seconds and bytes; what could not be measured is left out."""
    usage = trace.usage
    made = {
        "wallSeconds": round(usage.wall, 3),
        "userSeconds": round(usage.user, 3),
        "systemSeconds": round(usage.system, 3),
        "peakMemoryBytes": usage.memory,
        "readBytes": usage.read_bytes,
        "writtenBytes": usage.written_bytes,
        "gpuSeconds": usage.gpu_seconds,
        "gpuPeakMemoryBytes": usage.gpu_memory,
    }
    return {name: value for name, value in made.items() if value is not None}


def contacts(seen: Sequence[Contact]) -> list[dict[str, Any]]:
    """Attempts to reach something over a network, equal ones counted. Unix sockets stand among them only where they
    were refused: they reach nobody outside of this machine.
    """
    counted: dict[tuple[Any, ...], dict[str, Any]] = {}
    others: Counter[str] = Counter()
    # What was refused comes last: a flood of refused attempts must not push out the one that came through.
    for item in sorted(seen, key=lambda item: item.decision is Decision.DENIED):
        if item.family == "unix" and item.decision is not Decision.DENIED:
            continue
        key = (item.call, item.transport, item.host, item.address, item.port, item.decision, item.rule)
        if key in counted:
            counted[key]["times"] += 1
            for name, value in (("sent", item.sent), ("received", item.received)):
                if value is not None:
                    counted[key][name] = counted[key].get(name, 0) + value
            continue
        if len(counted) >= MOST_CONTACTS:
            others[item.decision.value] += 1
            continue
        entry: dict[str, Any] = {
            "call": item.call,
            "family": item.family,
            "transport": item.transport,
            "host": item.host,
            "address": item.address or None,
            "port": item.port,
            "decision": item.decision.value,
            "rule": item.rule or None,
            "scope": "step" if item.decision is Decision.MEDIATED and item.rule in _OWN else None,
            "error": item.error,
            "sent": item.sent,
            "received": item.received,
        }
        counted[key] = {name: value for name, value in entry.items() if value is not None} | {"times": 1}
    return [
        *counted.values(),
        # Without a host: whoever reads this cannot tell where they went, and must not think that he can.
        *({"call": "others", "family": "others", "decision": name, "times": times} for name, times in others.items()),
    ]


def _isolation(trace: Trace, run: Run) -> dict[str, Any]:
    """What `assay.policy.checks.isolated` reads in link and provenance."""
    return {
        "monitor": MONITOR.format(trace.mechanism),
        "gaps": _gaps(trace, run),
        "enforced": dict(run.enforced),
        "network": contacts(trace.contacts),
    }


def _gaps(trace: Trace, run: Run) -> list[dict[str, Any]]:
    found = {gap.name: gap for gap in (*run.gaps, *trace.gaps)}
    return [{"name": gap.name, "message": gap.message, "about": list(gap.about)} for gap in found.values()]


def _materials(files: Files) -> Iterator[ResourceDescriptor]:
    """Those without a sure digest too: a step that removes or changes what it has read must not seem to have done
    without it, nor to have read what lies there now.
    """
    for item in files.materials:
        sure = item.sha256 if item.changed is None else None
        yield _descriptor(item.name, sure, _said(item))
    for many in files.aggregates:
        yield _descriptor(many.name, many.contents, _said(many))


def _descriptor(name: str, sha256: str | None, said: Mapping[str, Any]) -> ResourceDescriptor:
    digest = {"sha256": sha256} if sha256 else None
    return ResourceDescriptor(name=name, uri=None if digest else "about:blank", digest=digest, annotations=dict(said))


def _said(item: Material | Aggregate) -> dict[str, Any]:
    made: dict[str, Any] = {"origin": item.origin.value, "size": item.size}
    if isinstance(item, Aggregate):
        return made | {"files": item.files, "form": "manifest"}
    for name, value in (
        ("changed", item.changed),
        ("sha256Afterwards", item.sha256 if item.changed else None),
        ("executed", item.executed),
        ("mediated", item.mediated),
        ("cached", item.cached),
    ):
        if value:
            made[name] = value
    return made


def _inputs(files: Files) -> Iterator[ResourceDescriptor]:
    """The declared inputs; one of which a part was changed has the digest of nothing that the step has read."""
    changed = [item.path for item in files.materials if item.changed]
    for folder in files.inputs:
        path = os.fsencode(folder.path).decode("utf-8", "backslashreplace")  # as materials have it
        if any(other == path or other.startswith(path.rstrip("/") + "/") for other in changed):
            said = {"origin": "input", "changed": "a part of it", "sha256Afterwards": folder.contents}
            yield _descriptor(folder.name, None, said)
        else:
            yield _input(folder)


def _input(folder: Folder) -> ResourceDescriptor:
    said: dict[str, Any] = {"origin": "input", "files": folder.files, "size": folder.size, "filesRead": folder.used}
    said["attestations"] = [dict(item) for item in folder.attestations]
    return _descriptor(folder.name, folder.contents, said)


def _product(item: Product) -> ResourceDescriptor:
    said: dict[str, Any] = {"product": True, "declared": item.output is not None, "size": item.size}
    return _descriptor(item.name, item.sha256, said)


def _counted(products: Sequence[Product]) -> dict[str, Any]:
    undeclared = [item.name for item in products if item.output is None]
    return {"files": len(products), "bytes": sum(item.size for item in products), "undeclared": undeclared[:1000]}


def _time(nanoseconds: int) -> datetime:
    """Rounded down to seconds, as RFC 3339 with ``Z`` is read everywhere."""
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
