"""`decide`: what a policy says about a target, given everything that expected signers said of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from assay.api.anchors import TrustIn, anchors, folder
from assay.api.cases import Circumstances, Member, build
from assay.api.gathering import Gathered
from assay.config import Config, load
from assay.errors import UndecidedError, UsageError
from assay.evidence.trust.interface import Anchor
from assay.evidence.trust.key import KeyAnchor
from assay.evidence.verification import OpenTarget, Reader
from assay.policy import evaluation, gates
from assay.policy.case import Case
from assay.policy.evaluation.evaluate import EngineFor
from assay.policy.model import TRUSTED, CertificateSigner, IdentitySigner, KeySigner, Policy, Signer
from assay.policy.rego.interface import Engine
from assay.policy.verdict import Decision
from assay.targets.interface import Options, Reference, Target
from assay.targets.names import parse
from assay.targets.registry import resolve


@dataclass(frozen=True, slots=True)
class Deciding:
    """What the caller brings to a decision beside target and policy; all of it is optional."""

    trust: TrustIn = field(default_factory=TrustIn)
    """Who is meant by ``trusted``; empty: whoever the configuration or the default names."""
    signature: str | None = None
    """A file of evidence, instead of the store."""
    directory: str | None = None
    """Evidence directory."""
    options: Options = field(default_factory=Options)
    gate: str | None = None
    kind: str | None = None
    """What the target is: ``model``, ``dataset``, ``code``, …"""
    labels: Mapping[str, str] | None = None
    inputs: Mapping[str, Any] | None = None
    """Values for the policy's inputs."""
    engine: str = "auto"
    """For rules in Rego that do not choose: ``auto``, ``regorus``, ``opa``."""
    policy_keys: tuple[str, ...] = ()
    """Public key files, one of which must have signed the policy's bundle."""


def decide(
    target: str,
    policy: str | Policy | None = None,
    how: Deciding | None = None,
    *,
    config: Config | None = None,
    config_path: str | None = None,
    now: datetime | None = None,
) -> Decision:
    """Hold ``target`` against ``policy`` (what `-p` takes, or one that was read; else the one that `assay.yaml` names).

    The answer is a `Decision` whatever the evidence says. Raises `AssayError`: a policy or target that cannot be read,
    or a gate that is almost one of the policy's (exit code 2), nobody to trust where a rule needs somebody, or a bundle
    that is not signed as demanded (3).
    """
    how = how or Deciding()
    config = config if config is not None else load(config_path)
    now = now or datetime.now(UTC)
    refuse_own_words(parse(target), config)  # before the policy is read: it might be the target's own
    if isinstance(policy, Policy):
        rules = policy
    else:
        from assay.api.policies import read_policy

        rules = read_policy(policy, config, how.inputs, keys=how.policy_keys, directory=how.directory, now=now)
    gates.refuse_slip(rules, how.gate)
    with opened(target, how, config, now) as place:
        case = place.case(rules, expected(rules, how.trust, config, place.thing))
        return evaluation.evaluate(rules, case, place.engine_for)


@dataclass(frozen=True, slots=True)
class Opened:
    """A target with its evidence, and the engines for rules in Rego."""

    thing: Target
    reader: Reader
    gathered: Gathered
    engine_for: EngineFor
    now: datetime
    circumstances: Circumstances

    def case(self, policy: Policy, members: Sequence[Member]) -> Case:
        """What ``policy`` decides about; only while the target is open can it look up linked evidence."""
        return build(policy, self.reader, self.gathered, members, self.now, self.circumstances)


@contextlib.contextmanager
def opened(target: str, how: Deciding, config: Config, now: datetime) -> Iterator[Opened]:
    """A target, read as `decide` reads it. Raises `AssayError`."""
    if how.options.paths:
        raise UsageError("a policy is about the whole target: --path cannot be combined with it")
    refuse_own_words(parse(target), config)

    def open_target(paths: tuple[str, ...], default_ignores: bool) -> Target:
        return resolve(target, replace(how.options, paths=paths, default_ignores=default_ignores))

    with resolve(target, how.options) as thing, prepared(thing, open_target, how, config, now) as place:
        yield place


@contextlib.contextmanager
def prepared(thing: Target, open_target: OpenTarget, how: Deciding, config: Config, now: datetime) -> Iterator[Opened]:
    """A resolved target with its evidence, all of which is read through ``thing`` and ``open_target``."""
    with Gathered(thing, how.signature, how.directory, config) as gathered:
        reader = Reader(open_target, thing, (), sha256=True, signatures=gathered.signatures)
        with contextlib.closing(reader), contextlib.ExitStack() as stack:
            circumstances = Circumstances(how.gate, how.kind, how.labels)
            yield Opened(thing, reader, gathered, engines(stack, how.engine), now, circumstances)


def refuse_own_words(reference: Reference, config: Config) -> None:
    """Stops: a target whose own assay.yaml, merely found, chooses the policy, whom to trust, or which evidence is seen.

    That holds with a policy named, too: its identities would be checked with the file's trust root, and the newest
    evidence looked for in the file's store.
    """
    place = folder(reference)
    if place is not None and config.grants_itself(place):
        raise UsageError(
            f"the assay.yaml in {config.directory!r} lies inside the target and could decide about it",
            hint="run from another folder, or name the file with --config if it is yours",
        )


def engines(stack: contextlib.ExitStack, chosen: str) -> EngineFor:
    """Engines by name, each made when first asked for and closed with ``stack``."""
    made: dict[str, Engine] = {}

    def engine_for(name: str) -> Engine:
        name = chosen if name == "auto" else name
        if name not in made:
            from assay.policy.rego import engine

            made[name] = stack.enter_context(engine(name))
        return made[name]

    return engine_for


def expected(policy: Policy, trust: TrustIn, config: Config, thing: Target) -> list[Member]:
    """Everybody whose signature some rule counts, each once, with the groups that they belong to."""
    used = _groups_in_use(policy)
    found: dict[tuple[str, ...], tuple[Anchor, set[str]]] = {}

    def add(anchor: Anchor, name: tuple[str, ...], group: str) -> None:
        found.setdefault(name, (anchor, set()))[1].add(group)

    rule = config.trust_for(f"{thing.reference.scheme}:{thing.reference.name}")
    trust_root = trust.trust_root or (config.path(rule.trust_root) if rule and rule.trust_root else None)
    for name in used:
        for signer in policy.signers[name].members if name in policy.signers else ():
            if isinstance(signer, IdentitySigner) and not signer.issuer:
                for anchor in anchors(trust, config, thing.reference):
                    if getattr(anchor, "identity", None) == signer.identity:
                        add(anchor, _name(anchor), name)
                continue
            anchor, key = _anchor(signer, trust_root)
            add(anchor, key, name)
    if TRUSTED in used:
        for anchor in anchors(trust, config, thing.reference):
            add(anchor, _name(anchor), TRUSTED)
    return [Member(anchor, frozenset(groups)) for anchor, groups in found.values()]


def _groups_in_use(policy: Policy) -> Sequence[str]:
    names: dict[str, None] = {}
    for rule in policy.rules:
        for selector in rule.require.selectors if rule.require is not None else ():
            names |= dict.fromkeys(selector.signed_by.groups)
            for builder in selector.builders:
                names |= dict.fromkeys(builder.groups)
    return list(names)


def _anchor(signer: Signer, trust_root: str | None) -> tuple[Anchor, tuple[str, ...]]:
    if isinstance(signer, KeySigner):
        from assay.evidence.keys import load_public

        made: Anchor = KeyAnchor(load_public(signer.pem, signer.name))
    elif isinstance(signer, CertificateSigner):
        from assay.evidence.trust.certificate import CertificateAnchor, load_authorities

        made = CertificateAnchor(load_authorities(signer.pem, signer.name), signer.identity)
    elif isinstance(signer, IdentitySigner):
        from assay.evidence.trust.sigstore import SigstoreAnchor

        made = SigstoreAnchor(signer.identity, signer.issuer, trust_root)
    else:
        raise UndecidedError(f"a signer of the kind {type(signer).__name__} cannot be checked")
    return made, _name(made)


def _name(anchor: Anchor) -> tuple[str, ...]:
    """What makes two anchors the same: the key, or the identity together with who vouches for it."""
    if isinstance(anchor, KeyAnchor):
        return ("key", anchor.key.key_id)
    parts = [str(getattr(anchor, name, "")) for name in ("identity", "issuer", "trust_root")]
    # Certificates compare by their bytes; their order in the file does not matter.
    authorities = sorted(repr(hash(item)) for item in getattr(anchor, "authorities", ()))
    return (type(anchor).__name__, *parts, *authorities)
