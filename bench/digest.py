"""Signing and verifying a model, beside ``model_signing`` 1.1.1, the reference implementation of the same format.

Both command lines run as whole processes, in pairs, one after the other, over the same files in the page cache, each
verifying its own signature; the order alternates. Reported are medians of wall time, CPU time, and the ratio of each
pair's wall times (peer / assay). Peak memory is that of the process and its workers together, sampled from /proc.

    python bench/digest.py [--sets llm,one,small,tiny] [--pairs 5] [--scratch DIR] [--scale 1.0]

Writes ``bench/results/digest.json``. The claims are ratios: a shared machine's seconds mean little.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BIN = Path(sys.executable).parent
SETS = {
    "llm": "4 files of 2 GiB",
    "one": "one file of 3 GiB",
    "small": "50,000 files of 34 kB",
    "tiny": "a model of 5 small files",
}
CLAIMS = {
    ("llm", "verify"): 3.5,
    ("one", "verify"): 4.5,
    ("small", "verify"): 7.0,
    ("llm", "verify sha256"): 1.25,
    ("one", "verify sha256"): 1.25,
    ("small", "verify sha256"): 6.0,
    ("llm", "sign"): 1.0,
    ("one", "sign"): 1.0,
    ("small", "sign"): 1.0,
    ("llm", "verify cached"): 20.0,
    ("one", "verify cached"): 20.0,
    ("small", "verify cached"): 20.0,
    ("llm", "verify from disk"): 1.0,
    ("one", "verify from disk"): 1.0,
}


def make(name: str, folder: Path, scale: float) -> None:
    """Random files: nothing to gain from compression or sparse blocks."""
    source = random.Random(7)
    block = source.randbytes(8 << 20)
    folder.mkdir(parents=True)

    def write(path: Path, size: int) -> None:
        with open(path, "wb") as file:
            while size > 0:
                cut = source.randrange(1 << 16)
                size -= file.write(block[cut : cut + min(size, len(block) - cut)])

    if name == "llm":
        for i in range(4):
            write(folder / f"model-{i:05d}-of-00004.safetensors", int((2 << 30) * scale))
    elif name == "one":
        write(folder / "model.gguf", int((3 << 30) * scale))
    elif name == "small":
        for i in range(int(50_000 * scale)):
            path = folder / f"class-{i // 500:03d}"
            path.mkdir(exist_ok=True)
            write(path / f"image-{i:05d}.png", source.randrange(4_000, 64_000))
    else:
        for i, size in enumerate((600, 2_000, 90_000, 400, 5_000)):
            write(folder / f"file-{i}.bin", size)


class Peak:
    """Peak resident memory of a process and its descendants, shared pages counted once (PSS)."""

    def __init__(self, pid: int) -> None:
        self.kib = 0
        self._pid, self._stop = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.kib = max(self.kib, sum(self._pss(pid) for pid in self._family(self._pid)))

    def _family(self, pid: int) -> list[int]:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return [pid]
        return [pid, *(other for child in children for other in self._family(int(child)))]

    @staticmethod
    def _pss(pid: int) -> int:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)

    def end(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.kib / 1024


def run(command: list[str], env: dict[str, str], memory: bool = False) -> dict[str, float]:
    """One whole process; it must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    peak = Peak(process.pid) if memory else None
    output = process.communicate()[0]
    wall = time.perf_counter() - started
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{output.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu, "peak_mib": peak.end() if peak else 0.0}


def evict(folder: Path) -> None:
    """Drop the files from the page cache, as far as this machine lets us."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def pairs(ours: list[str], peer: list[str], env: dict[str, str], count: int, before: object = None) -> dict[str, float]:
    """Alternate the two commands and report medians and the median of the pairs' ratios."""
    a_runs, b_runs = [], []
    for i in range(count + 1):  # the first pair warms up and does not count
        order = [(ours, a_runs), (peer, b_runs)]
        for command, runs in order if i % 2 else reversed(order):
            if callable(before):
                before()
            made = run(command, env)
            if i:
                runs.append(made)
    ratios = [b["wall"] / a["wall"] for a, b in zip(a_runs, b_runs, strict=True)]
    median = statistics.median
    return {
        "ours_wall": median(r["wall"] for r in a_runs),
        "peer_wall": median(r["wall"] for r in b_runs),
        "ours_cpu": median(r["cpu"] for r in a_runs),
        "peer_cpu": median(r["cpu"] for r in b_runs),
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "cpu_ratio": median(b["cpu"] / a["cpu"] for a, b in zip(a_runs, b_runs, strict=True)),
    }


def measure(
    name: str, scratch: Path, count: int, scale: float, env: dict[str, str], only: str
) -> list[dict[str, object]]:
    """All claims about one set of files."""
    model, ours_sig, peer_sig = scratch / name, str(scratch / f"{name}.ours.sig"), str(scratch / f"{name}.peer.sig")
    key, pub = str(scratch / "key.pem"), str(scratch / "key.pub")
    if not model.exists():
        make(name, model, scale)
    assay, peer = str(BIN / "assay"), str(BIN / "model_signing")
    sign = [assay, "sign", str(model), "--key", key, "--no-store", "--signature", ours_sig, "-q"]
    peer_sign = [peer, "sign", "key", str(model), "--private_key", key, "--signature", peer_sig]
    verify = [assay, "verify", str(model), "--key", pub, "--signature", ours_sig, "-q"]
    peer_verify = [peer, "verify", "key", str(model), "--public_key", pub, "--signature", peer_sig]
    run(sign, env)
    run(peer_sign, env)
    # They agree: the peer accepts our signature, and we accept the peer's.
    run([*peer_verify[:-1], ours_sig], env)
    run([*verify[:6], peer_sig, "-q"], env)
    jobs: list[tuple[str, list[str], list[str], object]] = [("verify", verify, peer_verify, None)]
    if name != "tiny":
        jobs += [
            ("verify sha256", [*verify, "--require-sha256"], peer_verify, None),
            ("sign", sign, peer_sign, None),
            ("verify cached", [*verify, "--trust-cache"], peer_verify, None),
        ]
        if name != "small":
            jobs.append(("verify from disk", verify, peer_verify, lambda: evict(model)))
    rows = []
    for job, ours, theirs, before in jobs:
        if only and job not in only.split(","):
            continue
        row: dict[str, object] = {"set": name, "what": SETS[name], "job": job, "claim": CLAIMS.get((name, job))}
        row.update(pairs(ours, theirs, env, count if before is None else min(count, 3), before))
        row["peak_mib"] = run(ours, env, memory=True)["peak_mib"]
        row["peer_peak_mib"] = run(theirs, env, memory=True)["peak_mib"]
        rows.append(row)
        print(
            f"{name:6} {job:17} ours {row['ours_wall']:7.3f} s  peer {row['peer_wall']:7.3f} s  "
            f"ratio {row['ratio']:5.2f} [{row['ratio_min']:.2f}-{row['ratio_max']:.2f}]  claim {row['claim']}  "
            f"cpu {row['ours_cpu']:.3f}/{row['peer_cpu']:.3f}  "
            f"peak {row['peak_mib']:.0f}/{row['peer_peak_mib']:.0f} MiB",
            flush=True,
        )
    return rows


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--jobs", default="", help="only these, comma-separated, for a quick look")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full sizes, for a quick look")
    parsed = parser.parse_args()
    scratch = parsed.scratch or Path(tempfile.mkdtemp(prefix="assay-bench-"))
    scratch.mkdir(exist_ok=True)
    env = {**os.environ, **{f"XDG_{kind}_HOME": str(scratch / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}}
    (scratch / "key.pem").unlink(missing_ok=True)
    (scratch / "key.pub").unlink(missing_ok=True)
    run([str(BIN / "assay"), "keys", "generate", "-O", str(scratch / "key.pem")], env)
    rows: list[dict[str, object]] = []
    try:
        for name in parsed.sets.split(","):
            rows += measure(name, scratch, parsed.pairs, parsed.scale, env, parsed.jobs)
            if not parsed.scratch:
                shutil.rmtree(scratch / name)
    finally:
        if not parsed.scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    if parsed.scale == 1.0 and not parsed.jobs:
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        path = results / "digest.json"
        old = json.loads(path.read_text())["rows"] if path.exists() else []
        rows += [row for row in old if row["set"] not in parsed.sets.split(",")]  # sets that were not run keep theirs
        rows.sort(key=lambda row: list(SETS).index(str(row["set"])))
        document = {
            "peer": "model_signing 1.1.1",
            "cores": len(os.sched_getaffinity(0)),
            "pairs": parsed.pairs,
            "rows": rows,
        }
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
