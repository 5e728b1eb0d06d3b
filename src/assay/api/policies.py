"""Which policy decides: what a flag names, else what `assay.yaml` names; verified before use where that is demanded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from assay.api.anchors import anchors_of_keys, named
from assay.api.gathering import Gathered
from assay.config import Config
from assay.errors import UndecidedError
from assay.evidence.verification import Candidate
from assay.policy import bundles, reading
from assay.policy.bundles.signatures import Demand
from assay.policy.model import Policy
from assay.targets.interface import Target


def read_policy(
    name: str | None,
    config: Config,
    given: Mapping[str, Any] | None = None,
    *,
    keys: Sequence[str] = (),
    directory: str | None = None,
    now: datetime,
) -> Policy:
    """The policy ``name`` (None: that of the configuration), with ``given`` values for its inputs.

    ``keys`` are public key files of which one must have signed the bundle; without them those count whom the
    configuration demands.
    Raises `UsageError` or `DocumentError` for one that cannot be used, `UndecidedError` for one that is not signed as
    demanded.
    """
    bundle = open_bundle(name, config, keys=keys, directory=directory, now=now)
    inputs = {**(config.policy.inputs if name is None and config.policy is not None else {}), **(given or {})}
    resolve = bundles.resolver(bundle.sources, bundles.catalogue())
    policy = reading.load(bundle.sources, bundle.entry, resolve, inputs, _context)
    return replace(policy, reference=replace(policy.reference, uri=bundle.uri))


def _context() -> Mapping[str, str]:
    """Where the decision is made: what a foreign policy's templates and filters may refer to."""
    import os

    from assay.collect.provenance.context import context

    return context(os.getcwd(), os.environ).document()


def open_bundle(
    name: str | None, config: Config, *, keys: Sequence[str] = (), directory: str | None = None, now: datetime
) -> bundles.Bundle:
    """The files of a policy, verified where that is demanded."""
    if name is None:
        name = config.policy_reference()
    if name is None:
        raise UndecidedError("no policy is named", hint="name one with -p, or under policy: in assay.yaml")
    return bundles.read(bundles.parse(name), demand=_demand(config, keys, directory, now))


def _demand(config: Config, keys: Sequence[str], directory: str | None, now: datetime) -> Demand | None:
    expected = anchors_of_keys(keys)
    # Whoever names keys means these and nobody else.
    if not expected and config.policy is not None and config.policy.signed_by is not None:
        expected = named(config.policy.signed_by, config)
        if not expected:
            raise UndecidedError("policy.signed_by in assay.yaml names nobody")
    if not expected:
        return None

    def find(thing: Target) -> Sequence[Candidate]:
        with Gathered(thing, None, directory, config) as gathered:
            contents = thing.manifest(sha256=True, blake3=False).contents().hex()
            return [*gathered.about(contents, lambda kind: True), *gathered.candidates]

    return Demand(expected, find, now)
