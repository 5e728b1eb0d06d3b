"""Scanning models, beside picklescan, modelscan, fickling and modelaudit: CPU seconds and peak memory.

Each set is scanned by every tool in turn, several rounds, one whole process at a time, files in the page cache. CPU
counts a process and its children, start of Python included; "beyond start" leaves out what the same command needs for
a pickle of five bytes, which is what the claims are about. A peer that is not installed is left out, and named.

    python bench/scan.py --peers VENV [--sets nested,numpy,torch,small,cached] [--rounds 5] [--scale 1] [--scratch DIR]

assay prints a table, for which it computes no digest of a large file. Writes ``bench/results/scan.json``, at full
scale only. Peers run as they come, offline, with their telemetry switched off; one that takes more than a minute is
measured once, and ended where it takes more than `TIMEOUT` or `MEMORY`. What is not measured again keeps its figures.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

BIN = Path(sys.executable).parent
TESTS = Path(__file__).parents[1] / "tests"
SETS = {
    "nested": "185 MB pickle of nested dictionaries",
    "numpy": "1 GB NumPy pickle",
    "torch": "2 GB torch checkpoint",
    "small": "300 small files",
    "cached": "5,000 small files, scanned before",
}
CLAIMS = {
    "nested": ("CPU seconds beyond start", 2.0),
    "numpy": ("CPU seconds beyond start", 0.05),
    "torch": ("CPU seconds beyond start", 0.05),
    "small": ("CPU milliseconds a file beyond start", 5.0),
    "cached": ("CPU milliseconds a file beyond start", 1.0),
}
PEAK = {"numpy": 100.0}
"""MiB that assay may take."""

PEERS = {
    "picklescan": ["picklescan", "-p"],
    "modelscan": ["modelscan", "scan", "-p"],
    "fickling": ["fickling", "--check-safety"],
    "modelaudit": ["modelaudit", "scan", "--format", "json"],
}
FILES_ONLY = ("fickling",)
"""Takes one plain pickle at a time: no folder and no torch archive."""

QUIET = {
    "NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "NO_COLOR": "1",
}
TIMEOUT = 600.0
"""Seconds after which a tool is ended."""

SLOW = 60.0
"""Seconds from which on a tool is measured once."""

MEMORY = 12 << 30
"""Bytes of address space that a tool may have: enough for all of them but those that would take the whole machine."""


def made(name: str, folder: Path, scale: float) -> Path:
    """The files of a set, made by a process of its own: Linux counts the memory of the process that starts a command
    into the command's peak, so that this one must stay small.
    """
    subprocess.run([sys.executable, __file__, "--make", name, str(folder), str(scale)], check=True)
    return Path((folder / "target").read_text())


def make(name: str, folder: Path, scale: float) -> Path:
    """The files of a set; returns what is scanned."""
    folder.mkdir(parents=True)
    if name == "nested":
        path = folder / "model.pkl"
        with open(path, "wb") as file:
            pickle.dump(nested(int(185e6 * scale)), file, 4)
        return path
    if name == "numpy":
        import numpy

        path = folder / "weights.pkl"
        with open(path, "wb") as file:
            pickle.dump(numpy.zeros(int(1e9 * scale / 8)), file, 4)
        return path
    if name == "torch":
        import torch

        path = folder / "pytorch_model.bin"
        count = int(2e9 * scale / 4 / 16)
        torch.save({f"layer.{i}.weight": torch.zeros(count) for i in range(16)}, path)
        return path
    subprocess.run(
        [sys.executable, "-m", "corpus", str(folder / "corpus"), *HONEST],
        cwd=TESTS,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    sources = sorted(path for path in (folder / "corpus/samples").rglob("*") if path.is_file())[:300]
    target = folder / "files"
    for i in range(int((300 if name == "small" else 5000) * scale)):
        source = sources[i % len(sources)]
        path = target / f"{i // len(sources):03d}-{source.parent.name}" / source.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    shutil.rmtree(folder / "corpus")
    return target


HONEST = ("honest_sklearn", "honest_arrays", "honest_torch", "honest_boosters", "honest_others")


def nested(size: int) -> dict[str, object]:
    """Dictionaries of lists of small numbers, two or three bytes of pickle each, and nine bytes of memory for each."""

    def entry(i: int) -> dict[str, object]:
        return {f"k{j}": [j * 22 + k for k in range(60)] for j in range(20)}

    leaf = (len(pickle.dumps([entry(i) for i in range(1000)], 4)) - 1000) // 1000 + 16
    return {f"layer{i}": entry(i) for i in range(max(1, size // leaf))}


def run(command: list[str], env: dict[str, str]) -> dict[str, float] | str:
    """One whole process with its children; what went wrong where it did not end by itself."""
    started = time.perf_counter()
    with open(os.devnull, "wb") as null:
        process = subprocess.Popen(
            command,
            env=env,
            stdout=null,
            stderr=null,
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        )
        try:
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                if time.perf_counter() - started > TIMEOUT:
                    os.killpg(process.pid, signal.SIGKILL)
                    os.wait4(process.pid, 0)
                    process.returncode = -9
                    return f"not done after {TIMEOUT:.0f} s"
                time.sleep(0.001)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0:
        return f"ended by signal {-process.returncode}"
    return {
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.perf_counter() - started,
        "peak_mib": usage.ru_maxrss / 1024,
        "code": process.returncode,
    }


def tools(peers: Path | None) -> Iterator[tuple[str, list[str]]]:
    """assay, and the peers that are there."""
    yield "assay", [str(BIN / "assay"), "scan", "-o", "table", "-q", "--no-cache"]
    for name, command in PEERS.items():
        path = peers / "bin" / command[0] if peers else None
        if path is None or not path.exists():
            print(f"{name}: not installed, left out")
            continue
        yield name, [str(path), *command[1:]]


def versions(peers: Path | None) -> dict[str, str]:
    """Of the peers, as their own environment says."""
    if peers is None:
        return {}
    paths = [str(path) for path in (peers / "lib").glob("python*/site-packages")]
    found = {item.name: item.version for item in metadata.distributions(path=paths)}
    return {name: found[name] for name in PEERS if name in found}


def measure(name: str, target: Path, peers: Path | None, rounds: int, env: dict[str, str]) -> list[dict[str, object]]:
    """Medians of every tool on one set."""
    tiny = target.parent / "start.pkl"
    tiny.write_bytes(pickle.dumps({}))
    commands = dict(tools(peers))
    if name == "cached":
        commands = {"assay": [part for part in commands["assay"] if part != "--no-cache"]}
    files = sum(path.is_file() for path in target.rglob("*")) if target.is_dir() else 1
    kept: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {tool: [] for tool in commands}
    failed: dict[str, str] = {}
    for i in range(rounds + 1):  # the first round warms up, fills the cache, and does not count
        for tool, command in commands.items():
            if tool in FILES_ONLY and (target.is_dir() or name == "torch"):
                failed[tool] = "takes plain pickles one at a time"
            if tool in failed:
                continue
            base, full = run([*command, str(tiny)], env), run([*command, str(target)], env)
            if isinstance(base, str) or isinstance(full, str):
                failed[tool] = str(full)
            elif i or full["wall"] > SLOW:
                kept[tool].append((base, full))
                if full["wall"] > SLOW:
                    failed[tool] = ""
    unit, claim = CLAIMS[name]
    rows = []
    for tool in commands:
        row: dict[str, object] = {"set": name, "what": SETS[name], "tool": tool, "files": files, "unit": unit}
        if kept[tool]:
            beyond = statistics.median(max(0.0, full["cpu"] - base["cpu"]) for base, full in kept[tool])
            row |= {key: statistics.median(full[key] for _, full in kept[tool]) for key in ("cpu", "wall", "peak_mib")}
            row |= {"beyond": beyond, "rounds": len(kept[tool]), "code": kept[tool][-1][1]["code"]}
            row["value"] = beyond * 1000 / files if "a file" in unit else beyond
        else:
            row["failed"] = failed.get(tool, "no result")
        if tool == "assay":
            row |= {"claim": claim, "claim_peak_mib": PEAK.get(name)}
        rows.append(row)
        print(line(row), flush=True)
    return rows


def line(row: dict[str, object]) -> str:
    """For the terminal."""
    if "failed" in row:
        return f"{row['set']:7} {row['tool']:11} {row['failed']}"
    claim = f"  claim {row['claim']:g}" if "claim" in row else ""
    return (
        f"{row['set']:7} {row['tool']:11} {row['value']:10.4f} {row['unit']}  whole {row['cpu']:8.3f} s CPU"
        f"  {row['wall']:8.3f} s  {row['peak_mib']:6.0f} MiB  exit {row['code']:.0f}{claim}"
    )


def main() -> None:
    """Measure and write the results."""
    if sys.argv[1:2] == ["--make"]:
        folder = Path(sys.argv[3])
        (folder / "target").write_text(str(make(sys.argv[2], folder, float(sys.argv[4]))))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=Path, help="virtual environment that has the other scanners")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full sizes, for trying")
    parser.add_argument("--scratch", type=Path, help="folder for up to 2 GB of files, which are removed at the end")
    parsed = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="assay-bench-", dir=parsed.scratch))
    homes = {f"XDG_{kind}_HOME": str(scratch / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    env = {**os.environ, **homes, "HOME": str(scratch), **QUIET}
    rows: list[dict[str, object]] = []
    try:
        for name in parsed.sets.split(","):
            folder = scratch / name
            rows += measure(name, made(name, folder, parsed.scale), parsed.peers, parsed.rounds, env)
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if parsed.scale != 1.0:
        print("not at full scale: nothing is written")
        return
    path = Path(__file__).parent / "results" / "scan.json"
    path.parent.mkdir(exist_ok=True)
    old = json.loads(path.read_text()) if path.exists() else {"rows": [], "peers": {}}
    new = {(row["set"], row["tool"]) for row in rows}
    rows += [row for row in old["rows"] if (row["set"], row["tool"]) not in new]
    rows.sort(key=lambda row: (list(SETS).index(str(row["set"])), ["assay", *PEERS].index(str(row["tool"]))))
    document = {
        "peers": old["peers"] | versions(parsed.peers),
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "rounds": parsed.rounds,
        "timeout": TIMEOUT,
        "slow": SLOW,
        "memory_gib": MEMORY >> 30,
        "rows": rows,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
