"""Proving the model that a gateway serves: what `assay verify` would say of it, asked again and again.

It decides with the same policy and the same evidence as every other enforcement point, and tells the gateway a version
or a reason. It serves nothing itself.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from assay.api.anchors import TrustIn
from assay.api.deciding import Deciding, decide
from assay.config import Config
from assay.config import load as load_config
from assay.errors import AssayError
from assay.files import write_atomic
from assay.guard.gateway import settings as files
from assay.guard.gateway.core import Proof
from assay.guard.gateway.interface import Decision
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import Model
from assay.targets.interface import Options


def prover(settings: Settings, warn: Callable[[str], None]) -> Callable[[bool], Proof] | None:
    """Asks for the proof of the served model; None where the file names none. Each time all of it is judged, since
    evidence ages, and may have been withdrawn: only digests of unchanged files are remembered. Raises `AssayError`
    when asked. ``warn`` is told what is another answer than the last one.
    """
    model = settings.model
    if model is None:
        return None
    said = ""

    def prove(thorough: bool) -> Proof:
        nonlocal said
        judged = judge(settings, cached=not thorough)
        served = not judged.problem or model.unproved == "warn"
        if judged.problem not in ("", said):
            word = "is served although it is not proved" if served else "is not served"
            warn(f"{model.target} {word}: {judged.problem}")
        elif said and not judged.problem:
            warn(f"{model.target} is proved, and served")
        said = judged.problem
        if served:
            return Proof(None, judged.version, judged.problem)
        refusal = Decision(False, 503, "model", "the model is not proved", retry_after=60)
        return Proof(refusal, judged.version, judged.problem)

    return prove


def read(path: str, over: Mapping[str, Any] | None = None) -> Settings:
    """A gateway file, with schemas inferred where it names baselines: they are written into the gateway's state folder,
    where they can be read, each under a name of its own: what is read anew may never be used. Raises `AssayError`.
    """
    settings = files.load(path, over)
    if not any(route.schema is not None and route.schema.baseline is not None for route in settings.routes):
        return settings
    from assay.api.schemas import inferred
    from assay.guard.gateway.running.state import State
    from assay.guard.gateway.schemas.model import dumps

    state = State(settings).prepare()
    routes = []
    for route in settings.routes:
        wanted = route.schema
        if wanted is not None and wanted.baseline is not None:
            data = dumps(inferred(settings.path(wanted.baseline), slack=wanted.slack, leave_out=wanted.leave_out)[0])
            place = os.path.join(state.folder, f"schema-{hashlib.sha256(data).hexdigest()[:16]}.yaml")
            write_atomic(place, data)
            wanted = replace(wanted, file=place, baseline=None)
            route = replace(route, schema=wanted)
        routes.append(route)
    return replace(settings, routes=tuple(routes))


@dataclass(frozen=True, slots=True)
class Judged:
    """What evidence and policy say of the served model."""

    version: str
    """SHA-256 (hex) of its contents; empty where it could not be read."""
    problem: str
    """Why it is not proved; empty where it is."""
    exit_code: int
    """0 proved, 1 rejected, 2 unreadable, 3 could not be decided."""
    warnings: tuple[str, ...] = ()
    """What the policy's decision says beside its verdict: a gate that no rule is for."""


def judge(settings: Settings, *, cached: bool = False, now: datetime | None = None) -> Judged:
    """Hold the served model against its evidence, under the policy that the gateway's file names, else the one that
    `assay.yaml` names, else its signature alone. With ``cached``, digests of unchanged files may be remembered ones.
    """
    model = settings.model
    assert model is not None
    now = now or datetime.now(UTC)
    try:
        config = load_config(settings.path(model.config) if model.config is not None else None)
        trust = TrustIn(tuple(settings.path(key) for key in model.keys))
        directory = settings.path(model.evidence) if model.evidence is not None else None
        target, options = _located(settings, model.target), Options(trust_cache=cached)
        if model.policy is None and config.policy is None:
            return _by_signature(target, trust, directory, options, config, now)
        how = Deciding(trust, directory=directory, options=options, gate=model.gate, kind="model")
        decision = decide(target, _policy(settings, model), how, config=config, now=now)
    except AssayError as error:
        return Judged("", error.message, error.exit_code)
    if decision.accepted:
        return Judged(decision.sha256, "", 0, decision.warnings)
    # A rule that was broken says more than one without evidence; what is not for this gate is the best of all.
    worst = min(decision.results, key=lambda one: (not one.effective.rejects, one.effective.rank))
    said = f"the policy {decision.policy.id} says {worst.effective.value}: {worst.name}: {worst.reason}"
    return Judged(decision.sha256, said, decision.exit_code, decision.warnings)


def _by_signature(
    target: str, trust: TrustIn, directory: str | None, options: Options, config: Config, now: datetime
) -> Judged:
    from assay.api.verifying import verify

    answer = verify(target, trust=trust, directory=directory, options=options, config=config, now=now)
    claims = answer.findings.attestations[0].claims if answer.findings.attestations else None
    version = claims.manifest.contents().hex() if answer.accepted and claims and claims.manifest else ""
    return Judged(version, "" if answer.accepted else answer.findings.reason, answer.exit_code)


def _policy(settings: Settings, model: Model) -> str | None:
    """The gateway's own, as `-p` takes it, with a plain path starting at the gateway's file."""
    if model.policy is None:
        return None
    return model.policy if ":" in model.policy else settings.path(model.policy)


def _located(settings: Settings, target: str) -> str:
    """A plain path starts at the gateway's file; a reference with a scheme is as it is."""
    scheme, colon, name = target.partition(":")
    if not colon:
        return settings.path(target)
    return f"{scheme}:{settings.path(name)}" if scheme in ("dir", "file") else target
