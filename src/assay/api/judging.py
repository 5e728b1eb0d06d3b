"""What evidence says of a target that an enforcement point holds: the policy's verdict, or whose signature it bears.

The target is read through its own methods only, since it may hold its bytes in a place of its own. This is the same
decision as `verify` and `decide` make about a name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from assay.api.anchors import TrustIn, anchors, folder
from assay.api.gathering import Gathered
from assay.api.verifying import selected
from assay.config import Config
from assay.errors import DocumentError, UsageError
from assay.evidence.decision import decide
from assay.evidence.trust.interface import Anchor
from assay.evidence.verification import Findings, OpenTarget, Reader, examine
from assay.guard.load.interface import Judge, Judgement
from assay.targets.interface import DIGEST, Target

_VERDICT = {0: "accepted", 1: "rejected", 3: "undecided"}


class Evidence:
    """The evidence and trust that are in force."""

    def __init__(
        self, trust: TrustIn, policy: str | None, signature: str | None, directory: str | None, config: Config
    ) -> None:
        self._trust = trust
        self._policy = policy
        self._signature = signature
        self._directory = directory
        self._config = config

    def judge(self, rules: str) -> Judge:
        """The judge of targets; ``rules`` is the digest (hex) of those by which signed scans count as made here."""

        def judge(target: Target, again: OpenTarget, paths: tuple[str, ...]) -> Judgement:
            now = datetime.now(UTC)
            if self.whole:
                return self._decided(target, again, now)
            return self._verified(target, again, paths, now, rules)

        return judge

    def signed(self, target: Target, name: str) -> Sequence[bytes]:
        """See `assay.guard.load.interface.Signed`."""
        now = datetime.now(UTC)
        expected = anchors(self._trust, self._config, target.reference)
        size = target.sizes[list(target.names).index(name)]
        found = []
        with Gathered(target, self._signature, self._directory, self._config, part=True) as evidence:
            for candidate in sorted(evidence.candidates, key=lambda item: -item.sequence):
                examined = examine(candidate, expected, now)
                claimed = examined.claims.manifest if examined.proof and examined.claims else None
                if claimed is None or not claimed.blake3 or candidate.discarded:
                    continue
                alone = target.single and len(claimed) == 1
                if not alone and name not in claimed.names:
                    continue
                at = 0 if alone else list(claimed.names).index(name)
                if claimed.sizes[at] == size:
                    found.append(claimed.segments.get(at) or claimed.blake3[at * DIGEST : (at + 1) * DIGEST])
        return found

    @property
    def whole(self) -> bool:
        """Whether targets are judged as a whole: a policy decides."""
        return self._policy is not None or self._config.policy is not None

    def _verified(
        self, target: Target, again: OpenTarget, paths: tuple[str, ...], now: datetime, rules: str
    ) -> Judgement:
        config = self._config
        expected = anchors(self._trust, config, target.reference)
        with Gathered(target, self._signature, self._directory, config, part=bool(paths)) as evidence:
            reader = Reader(again, target, paths, sha256=config.require_sha256, signatures=evidence.signatures)
            with contextlib.closing(reader):
                keep = selected(paths)
                found = decide(reader, evidence.candidates, expected, now, keep=keep, lookup=evidence.lookup)
                scanned = self._scanned(found, expected, evidence, now, rules)
        return Judgement(found.verdict, found.reason, scanned)

    def _decided(self, target: Target, again: OpenTarget, now: datetime) -> Judgement:
        from assay.api.cases import Circumstances, build
        from assay.api.deciding import engines, expected
        from assay.api.policies import read_policy
        from assay.policy import evaluation

        config = self._config
        place = folder(target.reference)
        if place is not None and config.grants_itself(place):
            raise UsageError(
                f"the assay.yaml in {config.directory!r} lies inside the target and could decide about it",
                hint="run from another folder, or name the file if it is yours",
            )
        policy = read_policy(self._policy, config, None, directory=self._directory, now=now)
        members = expected(policy, self._trust, config, target)
        with Gathered(target, self._signature, self._directory, config) as gathered:
            reader = Reader(again, target, (), sha256=True, signatures=gathered.signatures)
            with contextlib.closing(reader), contextlib.ExitStack() as stack:
                case = build(policy, reader, gathered, members, now, Circumstances("load", "model"))
                decision = evaluation.evaluate(policy, case, engines(stack, "auto"))
        worst = next((result.reason for result in decision.results if not result.effective.accepts), "")
        reason = worst or f"the policy {decision.policy.name} accepts it"
        return Judgement(_VERDICT[decision.exit_code], reason)

    def _scanned(
        self, found: Findings, expected: Sequence[Anchor], evidence: Gathered, now: datetime, rules: str
    ) -> Mapping[str, bytes]:
        """Files that an expected signer's scan, by the same rules, found safe; by name with their SHA-256."""
        if found.verdict != "accepted":
            return {}
        from assay.evidence.predicates import scan

        first = found.attestations[0]
        manifest = first.claims.manifest if first.claims else None
        if manifest is None or not manifest.sha256:
            return {}
        contents = manifest.contents().hex()
        safe: dict[str, bytes] = {}
        for candidate in evidence.about(contents, lambda kind: kind == scan.PREDICATE_TYPE):
            examined = examine(candidate, expected, now)
            if not examined.proof or candidate.discarded or examined.statement is None:
                continue
            if contents not in (subject.strong.get("sha256") for subject in examined.statement.subjects):
                continue
            safe.update(_safe_files(examined.statement.predicate, rules))
        return safe


def _safe_files(predicate: Mapping[str, object], rules: str) -> Mapping[str, bytes]:
    from assay.evidence.predicates import read, scan

    try:
        document: scan.Scan = read(scan.PREDICATE_TYPE, predicate)
    except DocumentError:
        return {}
    if document.kind != "models" or (document.scanner.rules or {}).get("sha256") != rules:
        return {}
    return {
        item.path: bytes.fromhex(item.digest["sha256"])
        for item in document.files
        if item.tier in ("safe", "none") and item.digest and "sha256" in item.digest
    }
