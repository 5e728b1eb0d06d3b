"""What lineage costs in a large store: time and memory from a store of N statements to an answer, and to a picture.

The statements are pipelines of five steps that share one data set in every hundred, each signed and each with eight
materials. Reading a store takes time for each statement; what is walked, proved and drawn grows with the answer alone.
So a small and a large answer are measured over the same store, beside `assay report`, which reads and proves all of it.

    python bench/lineage.py [--statements 100000] [--pairs 3] [--scratch DIR]

Making the store is not measured. Writes ``bench/results/lineage.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.evidence.keys import generate
from assay.evidence.signers.key import KeySigner
from assay.evidence.statement import Statement, Subject
from assay.evidence.stores import open_directory

RESULTS = Path(__file__).parent / "results" / "lineage.json"
STEPS = ("prepare", "train", "fine-tune", "quantise", "package")
SLSA = "https://slsa.dev/provenance/v1"


def digest(name: str) -> dict[str, str]:
    """The digest of a made-up artifact."""
    return {"sha256": hashlib.sha256(name.encode()).hexdigest()}


def fill(folder: Path, count: int) -> None:
    """A store of ``count`` statements, with the public key beside it."""
    signer = KeySigner(generate("ed25519"))
    (folder / "key.pub").write_bytes(signer.key.public.pem)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with open_directory(str(folder / "store"), create=True) as store:
        for number in range(count):
            pipeline, at = divmod(number, len(STEPS))
            source = "common data" if at == 0 and pipeline % 100 == 0 else f"{pipeline}.{at - 1}"
            inputs = [source, *(f"{pipeline}.{at} input {i}" for i in range(7))]
            predicate: dict[str, Any] = {
                "buildDefinition": {
                    "buildType": "https://example.org/bench/v1",
                    "externalParameters": {"step": STEPS[at]},
                    "resolvedDependencies": [{"name": name, "digest": digest(name)} for name in inputs],
                },
                "runDetails": {"builder": {"id": "https://example.org/builder"}},
            }
            made = f"{pipeline}.{at}"
            statement = Statement((Subject(made, digest(made)),), SLSA, predicate)
            store.add(signer.sign(statement.dump()).raw, now=now)


def measure(folder: Path, *arguments: str) -> tuple[float, float]:
    """CPU seconds and peak megabytes of one command."""
    command = [sys.executable, "-m", "assay", *arguments, "-d", str(folder / "store"), "--key", str(folder / "key.pub")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {error.decode()}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--statements", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--scratch")
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=parsed.scratch) as scratch:
        folder = Path(scratch)
        fill(folder, parsed.statements)
        small = f"sha256:{digest('1.4')['sha256']}"
        large = f"sha256:{digest('common data')['sha256']}"
        ways = {
            "where one artifact comes from": ("lineage", small, "--up", "--json"),
            "what a shared data set went into": ("lineage", large, "--down", "--json"),
            "the same, drawn": ("lineage", large, "--down", "-q", "--graph", str(folder / "graph.html")),
            "assay report": ("report", "--framework", "slsa", "-q"),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(parsed.pairs):
            for name, way in ways.items():
                found[name].append(measure(folder, *way))
    rows = {
        name: {
            "cpuSeconds": round(statistics.median(seconds for seconds, _ in runs), 2),
            "peakMegabytes": round(statistics.median(memory for _, memory in runs)),
        }
        for name, runs in found.items()
    }
    for name, row in rows.items():
        print(f"{name:36} {row['cpuSeconds']:8.2f} s CPU {row['peakMegabytes']:8,.0f} MB")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"statements": parsed.statements, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
