"""One decision: a model against 50 rules over the evidence about it, in stores of growing size.

Whole processes, CPU time of user and system together (the machine is shared), medians of alternating runs. Two things
are to be seen: that a decision costs the same however much the store holds about other things, and that it grows in
step with the evidence that concerns the target. The peer is what a careful person would write by hand: read the same
documents from a folder, check each signature with ``cryptography``, and ask ``regorus`` 50 equal rules in Rego.

    python bench/policy.py [--runs 5] [--scratch DIR] [--largest 100000]

Writes ``bench/results/policy.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.evidence.keys import generate
from assay.evidence.signers.key import KeySigner
from assay.evidence.statement import Statement, Subject
from assay.evidence.stores import open_directory
from assay.targets.interface import Options
from assay.targets.registry import resolve

HERE = Path(__file__).parent
ASSAY = [str(Path(sys.executable).parent / "assay")]
RULES = 50
TYPES = {
    "evaluation": "https://assay.dev/evaluation/v0.1",
    "test-result": "https://in-toto.io/attestation/test-result/v0.1",
    "vuln": "https://in-toto.io/attestation/vulns/v0.2",
    "slsaprovenance": "https://slsa.dev/provenance/v1",
    "sarif": "http://docs.oasis-open.org/sarif/sarif/2.1.0",
}
NAMES = list(TYPES)

PEER = """
import base64, json, sys
from pathlib import Path
import regorus
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
folder, key, rules, contents = sys.argv[1:]
public = load_pem_public_key(Path(key).read_bytes())
evidence = []
for path in sorted(Path(folder).iterdir()):
    envelope = json.loads(path.read_bytes())["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(hashes.SHA256()))
    statement = json.loads(payload)
    if statement["subject"][0]["digest"]["sha256"] == contents:
        evidence.append(statement)
engine = regorus.Engine()
engine.add_policy("rules.rego", Path(rules).read_text())
engine.set_input_json(json.dumps({"evidence": evidence}))
answer = json.loads(engine.eval_rule_as_json("data.bench.allowed"))
assert len(answer) == 50, answer
"""


def predicate(name: str, i: int, now: str) -> dict[str, Any]:
    """A predicate of the kind."""
    return {
        "evaluation": {"dataset": f"set {i}", "metrics": {"accuracy": 0.5 + (i % 50) / 100, "f1": 0.8}},
        "test-result": {"result": "PASSED", "configuration": [], "passedTests": [f"test {j}" for j in range(30)]},
        "vuln": {
            "scanner": {
                "uri": "pkg:generic/scanner",
                "result": [
                    {"id": f"CVE-2026-{j}", "severity": [{"method": "cvss_v3", "score": "3.1"}]} for j in range(10)
                ],
            },
            "metadata": {"scanStartedOn": now, "scanFinishedOn": now},
        },
        "slsaprovenance": {
            "buildDefinition": {
                "buildType": "https://ci.example/build",
                "externalParameters": {"ref": "main"},
                "resolvedDependencies": [{"uri": "git+https://git.example/x", "digest": {"sha256": "ab" * 32}}],
            },
            "runDetails": {"builder": {"id": "https://ci.example/builder"}},
        },
        "sarif": {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "scanner"}}, "results": []}]},
    }[name]


def native(failing: bool) -> str:
    """50 rules; failing ones can be satisfied by nothing, so that each looks at all evidence of its kind."""
    rules = []
    for i in range(RULES):
        least = 2 if failing else f"0.{50 + i % 45}"
        demand = {
            "evaluation": f"where: ['accuracy >= {least}'], max-age: 7d",
            "test-result": f"where: ['result == {'NEVER' if failing else 'PASSED'}']",
            "vuln": f"vulnerabilities: {{max: {{critical: 0, low: {0 if failing else 100}}}}}",
            "slsaprovenance": f"where: ['buildDefinition.buildType == https://ci.example/{'no' * failing}build']",
            "sarif": f"findings: {{max: {{error: 0}}, tools: [{'other' if failing else 'scanner'}]}}",
        }[NAMES[i % 5]]
        rules.append(f"  - {{id: r{i}, name: Rule {i}, require: {{evidence: {NAMES[i % 5]}, {demand}}}}}\n")
    return "assay-policy: 1\nid: bench\ncontrols:\n- id: c\n  rules:\n" + "".join(rules)


def rego() -> str:
    """The same 50 rules."""
    text = ["package bench\nimport rego.v1\n"]
    for i in range(RULES):
        name = NAMES[i % 5]
        body = {
            "evaluation": f"some e in input.evidence\n\te.predicateType == {json.dumps(TYPES[name])}\n"
            f"\te.predicate.metrics.accuracy >= 0.{50 + i % 45}\n"
            "\ttime.parse_rfc3339_ns(e.subject[0].annotations.time) > time.now_ns() - 604800000000000",
            "test-result": f"some e in input.evidence\n\te.predicateType == {json.dumps(TYPES[name])}\n"
            '\te.predicate.result == "PASSED"',
            "vuln": f"some e in input.evidence\n\te.predicateType == {json.dumps(TYPES[name])}\n"
            "\tcount([r | some r in e.predicate.scanner.result; some s in r.severity; to_number(s.score) >= 9]) == 0",
            "slsaprovenance": f"some e in input.evidence\n\te.predicateType == {json.dumps(TYPES[name])}\n"
            '\te.predicate.buildDefinition.buildType == "https://ci.example/build"',
            "sarif": f"some e in input.evidence\n\te.predicateType == {json.dumps(TYPES[name])}\n"
            '\tcount([r | some run in e.predicate.runs; some r in run.results; r.level == "error"]) == 0',
        }[name]
        text.append(f"allowed contains {i} if {{\n\t{body}\n}}\n")
    return "\n".join(text)


class Scene:
    """A model, a key, and a store that grows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model = folder / "model"
        model.mkdir(parents=True)
        for i in range(5):
            (model / f"part-{i}.bin").write_bytes(bytes([i]) * 10_000)
        private = generate("ecdsa-p256")
        self.signer = KeySigner(private)
        (folder / "key.pub").write_bytes(private.public.pem)
        with resolve(str(model), Options()) as target:
            self.contents = target.manifest().contents().hex()
        self.count = self.about = 0
        (folder / "all").mkdir()
        (folder / "holds.yml").write_text(native(False))
        (folder / "fails.yml").write_text(native(True))
        (folder / "rules.rego").write_text(rego())

    def grow(self, total: int, about: int) -> None:
        """Add attestations until the store has ``total``, ``about`` of them about the model."""
        now = datetime.now(UTC)
        text = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        with open_directory(str(self.folder / "evidence"), create=True) as store:
            while self.count < total:
                i, mine = self.count, self.about < about
                digest = self.contents if mine else f"{i:064x}"
                name = NAMES[(self.about if mine else i) % 5]
                subject = Subject("model" if mine else f"other-{i}", {"sha256": digest}, {"time": text})
                bundle = self.signer.sign(Statement((subject,), TYPES[name], predicate(name, i, text)).dump())
                store.add(bundle.raw, now=now)
                if mine:
                    (self.folder / "all" / f"{i:06}.json").write_bytes(bundle.raw)
                self.about += mine
                self.count += 1

    def run(self, policy: str) -> float:
        """CPU seconds of one decision."""
        command = [*ASSAY, "verify", "model", "-p", policy, "--key", "key.pub", "-d", "evidence", "--quiet"]
        return cpu(command, self.folder, 0 if policy == "holds.yml" else 1)

    def peer(self) -> float:
        """CPU seconds of the peer."""
        return cpu([sys.executable, "-c", PEER, "all", "key.pub", "rules.rego", self.contents], self.folder, 0)


def cpu(command: list[str], folder: Path, code: int) -> float:
    """User and system time of a command that must end with ``code``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != code:
        sys.exit(f"{command}: exit code {done.returncode}, expected {code}\n{done.stdout.decode()[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(scene: Scene, runs: int, peer: bool) -> dict[str, Any]:
    """Medians for the store as it is now."""
    figures: dict[str, list[float]] = {"holds": [], "fails": [], "peer": []}
    for i in range(runs + 1):
        made = {"holds": scene.run("holds.yml"), "fails": scene.run("fails.yml")}
        if peer:
            made["peer"] = scene.peer()
        for name, value in made.items() if i else ():  # the first one warms up
            figures[name].append(value)
    row: dict[str, Any] = {"store": scene.count, "about": scene.about}
    for name, values in figures.items():
        row[name] = round(statistics.median(values), 4) if values else None
    if peer:
        pairs = [theirs / ours for theirs, ours in zip(figures["peer"], figures["holds"], strict=True)]
        row["ratio"], row["ratio_min"], row["ratio_max"] = (
            round(value, 2) for value in (statistics.median(pairs), min(pairs), max(pairs))
        )
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scratch", default=None, help="a folder on a fast file system: a store syncs each entry")
    parser.add_argument("--largest", type=int, default=100_000)
    options = parser.parse_args()
    subprocess.run([sys.executable, "-m", "compileall", "-q", "src/assay"], cwd=HERE.parent, check=True)
    root = Path(tempfile.mkdtemp(dir=options.scratch, prefix="policy-"))
    # The user's own record of stores must not grow with each run.
    os.environ["XDG_STATE_HOME"] = str(root / "state")
    try:
        rows = []
        scene = Scene(root / "store")
        for total in (500, 10_000, options.largest):
            scene.grow(total, 500)
            rows.append(measure(scene, options.runs, peer=True))
        for about in (1000, 2000, 4000):
            more = about - scene.about
            scene.grow(scene.count + more, about)
            rows.append(measure(scene, options.runs, peer=False))
        document = {"cores": os.cpu_count(), "runs": options.runs, "rules": RULES, "limit": 0.4, "rows": rows}
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results/policy.json").write_text(json.dumps(document, indent=1) + "\n")
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
