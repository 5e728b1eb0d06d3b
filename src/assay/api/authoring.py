"""`assay policy`: checking, testing, explaining, starting and generating policies, over the floors beneath.

Nothing here accepts or rejects a target for anybody; what it writes, it has tried first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api import deciding
from assay.api.anchors import TrustIn
from assay.api.cases import Member
from assay.api.deciding import Deciding
from assay.config import Config, load
from assay.errors import UsageError
from assay.policy import gates
from assay.policy.authoring.places import Place, places
from assay.policy.case import Case
from assay.policy.model import Policy
from assay.targets.registry import resolve

if TYPE_CHECKING:
    from assay.policy.authoring import fixtures
    from assay.policy.authoring.examining import Report
    from assay.policy.authoring.explaining import Explanation
    from assay.policy.authoring.generating import Generated, SignerText
    from assay.policy.authoring.running import Result


def check(names: Sequence[str], given: Mapping[str, Any] | None = None, *, now: datetime | None = None) -> list[Report]:
    """What is wrong with every policy, rule and test under ``names``. Raises `AssayError` for what is not there."""
    from assay.policy.authoring import examining

    time = now or datetime.now(UTC)
    return [examining.check(place, time, given) for name in names for place in places(name)]


def test(name: str, *, engine: str = "auto", now: datetime | None = None) -> list[Result]:
    """Run the tests in a file, or in all files of a folder. Raises `AssayError` for a file that is no test."""
    from assay.policy.authoring import fixtures, running

    time = now or datetime.now(UTC)
    found = [place for place in places(name) if place.what == "test"]
    if not found and os.path.isfile(name):
        # A policy's tests lie beside it: policy.yml has policy.test.yaml.
        stem = os.path.splitext(name)[0]
        beside = [stem + ending for ending in (".test.yaml", ".test.yml") if os.path.isfile(stem + ending)]
        found = [place for path in beside for place in places(path)]
    if not found:
        raise UsageError(f"{name} has no tests", hint="write them into POLICY.test.yaml ('assay-policy-test: 1')")
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        engine_for = deciding.engines(stack, engine)
        for place in found:
            tests = fixtures.read(place.sources.read(place.entry), place.name)
            tried = _Trial(place)
            results += running.run(tests, place.name, tried.beside, tried.load, tried.verify, engine_for, time)
    return results


class _Trial:
    """What one file of tests reads: the policy, and the real files and documents beside it."""

    def __init__(self, place: Place) -> None:
        from assay.policy.sources import Loose

        self._folder = os.path.dirname(os.path.abspath(place.name))
        self.beside = Loose(self._folder, "the test's folder")

    def load(self, name: str, given: Mapping[str, Any]) -> Policy:
        """See `running.Load`."""
        from assay.api.policies import read_policy

        local = ":" not in name
        return read_policy(
            os.path.join(self._folder, name) if local else name, Config(), dict(given), now=datetime.now(UTC)
        )

    def verify(self, policy: Policy, case: fixtures.Case, bundles: Sequence[str], now: datetime) -> Case:
        """See `running.Verify`."""
        target = self._path(case.target.files or ".")
        how = Deciding(TrustIn(tuple(self._path(name) for name in case.trusted)))
        with resolve(target) as thing:
            contents = thing.manifest(sha256=True, blake3=False).contents().hex()
            made = Case(f"{thing.reference.scheme}:{thing.name}", thing.name, contents, thing.reference.scheme, (), now)
        # Evidence is looked for in the named files alone: a test must not depend on anybody's store.
        for name in bundles:
            with deciding.opened(target, replace(how, signature=self._path(name)), Config(), now) as place:
                found = place.case(policy, deciding.expected(policy, how.trust, Config(), place.thing))
            made = replace(made, items=(*made.items, *found.items))
        return made

    def _path(self, name: str) -> str:
        from assay.policy.sources import check_name

        return os.path.join(self._folder, check_name(name))


def explain(
    target: str,
    policy: str | None,
    how: Deciding | None = None,
    *,
    config: Config | None = None,
    now: datetime | None = None,
) -> Explanation:
    """What would make ``target`` pass, or what its passing rests on. Raises `AssayError` as `decide` does."""
    from assay.api.policies import read_policy
    from assay.policy.authoring import explaining

    how, config, now = how or Deciding(), config if config is not None else load(None), now or datetime.now(UTC)
    rules = read_policy(policy, config, how.inputs, keys=how.policy_keys, directory=how.directory, now=now)
    gates.refuse_slip(rules, how.gate)
    with deciding.opened(target, how, config, now) as place:
        case = place.case(rules, deciding.expected(rules, how.trust, config, place.thing))
        return explaining.explain(rules, case, place.engine_for)


def generate(
    target: str,
    how: Deciding | None = None,
    *,
    name: str = "policy",
    config: Config | None = None,
    now: datetime | None = None,
) -> Generated:
    """The policy that the trusted evidence about ``target`` satisfies, tried on it. Raises `AssayError`.

    ``name`` is the policy's id. Nothing is written.
    """
    from assay.api.anchors import anchors
    from assay.policy.authoring import generating

    how, config, now = how or Deciding(), config if config is not None else load(None), now or datetime.now(UTC)
    with deciding.opened(target, how, config, now) as place:
        named = {
            f"signer-{i + 1}": anchor for i, anchor in enumerate(anchors(how.trust, config, place.thing.reference))
        }
        members = [Member(anchor, frozenset({group})) for group, anchor in named.items()]
        seen = place.case(generating.EVERYTHING, members)
        signers = {group: _written(anchor, group) for group, anchor in named.items()}
        made = generating.generate(seen, signers, name)
        # Tried as a gate would: read from its text, its own signers proved anew, decided.
        policy = made.policy()
        tried = place.case(policy, deciding.expected(policy, how.trust, config, place.thing))
        return generating.tried(made, policy, tried, place.engine_for)


def _written(anchor: Any, group: str) -> SignerText:
    """An expected signer as a policy names it, with the file that must lie beside it."""
    from assay.evidence.trust.certificate import CertificateAnchor
    from assay.evidence.trust.key import KeyAnchor
    from assay.policy.authoring.generating import SignerText

    if isinstance(anchor, KeyAnchor):
        return SignerText({"keys": [f"{group}.pub"]}, f"{group}.pub", anchor.key.pem)
    if isinstance(anchor, CertificateAnchor):
        from cryptography.hazmat.primitives.serialization import Encoding

        pem = b"".join(item.public_bytes(Encoding.PEM) for item in anchor.authorities)
        entry = {"ca": f"{group}-ca.pem", "identity": anchor.identity}
        return SignerText({"certificates": [entry]}, f"{group}-ca.pem", pem)
    return SignerText({"identities": [{"identity": anchor.identity, "issuer": anchor.issuer}]})


def write(folder: str, files: Mapping[str, bytes], *, force: bool = False) -> list[str]:
    """Write files into ``folder``, none of them over an existing one unless ``force``. Raises `UsageError`.

    A file that has these very bytes already is left alone.
    """
    from assay.files import read_file, write_atomic

    waiting = {}
    for name, data in files.items():
        path = os.path.join(folder, name)
        if os.path.lexists(path):
            same = os.path.isfile(path) and read_file(path, 4 << 20) == data
            if not same and not force:
                raise UsageError(f"{path} exists already", hint="--force replaces it")
            if same:
                continue
        waiting[path] = data
    os.makedirs(folder, exist_ok=True)
    for path, data in waiting.items():
        try:
            write_atomic(path, data, exclusive=not force)
        except FileExistsError:
            raise UsageError(f"{path} exists already", hint="--force replaces it") from None
    return list(waiting)
