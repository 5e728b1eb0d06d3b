"""What evidence says of a target that an enforcement point holds: the policy's verdict, or whose signature it bears.

The target is read through its own methods only, since it may hold its bytes in a place of its own. This is the same
decision as `verify` and `decide` make about a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from assay import __version__
from assay.api.anchors import TrustIn, anchors
from assay.api.gathering import Gathered
from assay.api.verifying import held_against
from assay.config import Config
from assay.errors import DocumentError
from assay.evidence.trust.interface import Anchor
from assay.evidence.verification import Findings, OpenTarget, examine
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
            found = held_against(evidence, expected, target, again, paths, sha256=config.require_sha256, now=now)
            scanned = self._scanned(found, expected, evidence, now, rules)
        return Judgement(found.verdict, found.reason, scanned)

    def _decided(self, target: Target, again: OpenTarget, now: datetime) -> Judgement:
        from assay.api.deciding import Deciding, expected, prepared, refuse_own_words
        from assay.api.policies import read_policy
        from assay.policy import evaluation

        config = self._config
        refuse_own_words(target.reference, config)
        policy = read_policy(self._policy, config, None, directory=self._directory, now=now)
        how = Deciding(self._trust, self._signature, self._directory, gate="load", kind="model")
        with prepared(target, again, how, config, now) as place:
            case = place.case(policy, expected(policy, self._trust, config, target))
            decision = evaluation.evaluate(policy, case, place.engine_for)
        worst = next((result.reason for result in decision.results if not result.effective.accepts), "")
        reason = worst or f"the policy {decision.policy.name} accepts it"
        return Judgement(_VERDICT[decision.exit_code], reason)

    def _scanned(
        self, found: Findings, expected: Sequence[Anchor], evidence: Gathered, now: datetime, rules: str
    ) -> frozenset[str]:
        """Names of the files, as they were just accepted, that an expected signer's scan by the same rules found safe.

        The bytes were held against a signed list, which has their SHA-256: the scan must be about the same.
        """
        if found.verdict != "accepted":
            return frozenset()
        from assay.evidence.predicates import scan

        first = found.attestations[0]
        manifest = first.claims.manifest if first.claims else None
        if manifest is None or not manifest.sha256:
            return frozenset()
        contents = manifest.contents().hex()
        safe: dict[str, bytes] = {}
        for candidate in evidence.about(contents, lambda kind: kind == scan.PREDICATE_TYPE):
            examined = examine(candidate, expected, now)
            if not examined.proof or candidate.discarded or examined.statement is None:
                continue
            if contents not in (subject.strong.get("sha256") for subject in examined.statement.subjects):
                continue
            safe.update(_safe_files(examined.statement.predicate, rules))
        return frozenset(item.name for item in manifest if item.sha256 and safe.get(item.name) == item.sha256)


def _safe_files(predicate: Mapping[str, object], rules: str) -> Mapping[str, bytes]:
    from assay.evidence.predicates import read, scan

    try:
        document: scan.Scan = read(scan.PREDICATE_TYPE, predicate)
    except DocumentError:
        return {}
    scanner = document.scanner
    if document.kind != "models" or (scanner.version, (scanner.rules or {}).get("sha256")) != (__version__, rules):
        return {}
    return {
        item.path: bytes.fromhex(item.digest["sha256"])
        for item in document.files
        if item.tier in ("safe", "none") and item.digest and "sha256" in item.digest
    }
