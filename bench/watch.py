"""Profiling and drift: assay beside the decoding of the same columns, evidently and whylogs; and how right they are.

    python bench/watch.py [--rows 10000 100000 1000000 5000000] [--pairs 5] [--peers DIR] [--scratch DIR] [--only WHAT]

Every measurement is a process of its own, in turn; CPU is user and system of all its threads, without the imports
(which are told apart), and memory the process's peak. Ours reads Parquet, profiles both windows and compares; the peers
have both windows in pandas before their clock starts. ``DIR`` holds one virtual environment per peer, ``evidently``
(evidently 0.7.23, pandas < 3, pyarrow) and ``whylogs`` (whylogs 1.6.4, pandas < 3, pyarrow, scipy, ipython, pybars3).
A peer that needs more than a minute is measured once. Results replace those of the same rows in
``bench/results/watch.json``; a peer that is not in ``DIR`` keeps its earlier figures, beside ours of this run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results/watch.json"

CLAIMS = {"evidently": 100.0, "whylogs": 40.0, "decode": 4.0, "peak_mib": 1000.0, "window": 0.030, "import": 0.6}
"""Of 5 million rows and 17 columns: CPU of the peers over ours, ours over decoding them, peak memory. Of 10,000 rows:
CPU seconds of profile and comparison. CPU seconds of importing what a check needs."""

SLOW = 60.0
"""A peer that needs more CPU seconds than this is measured once."""

PEERS = ("evidently", "whylogs")

IMPORT = """
import assay.collect.profile.build, assay.collect.profile.sources.opening, assay.collect.profile.sources.parquet
import assay.collect.profile.partial, assay.watch.drift.verdict, assay.watch.drift.look
"""
"""What a check of a Parquet file imports before it looks at any row."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Two files and the columns that are looked at."""

    baseline: Path
    current: Path
    rows: int
    columns: tuple[str, ...]


def spent() -> float:
    """CPU seconds of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak() -> float:
    """MiB that this process had at most; `ru_maxrss` would count its parent before the exec."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it gives."""
    start = spent()
    found = work()
    return spent() - start, found


def ours(baseline: str, current: str) -> dict[str, Any]:
    """Profile both windows and compare; then the second again and again, as a service that has read its baseline."""
    begin = spent()
    exec(IMPORT, {})
    imported = spent() - begin
    from assay.collect.profile.build import profile
    from assay.collect.profile.partial import decode
    from assay.collect.profile.sources.opening import open_source
    from assay.watch.drift.verdict import compare
    from assay.watch.interface import Outcome

    def look() -> list[str]:
        after = profile(open_source(current), built.spec)
        found = compare(before, decode(after.state))
        return [column.column for column in found if column.outcome is Outcome.VIOLATED]

    wall = time.perf_counter()
    first, built = timed(lambda: profile(open_source(baseline)))
    second, after = timed(lambda: profile(open_source(current), built.spec))
    compared, drifted = timed(
        lambda: [c.column for c in compare(decode(built.state), decode(after.state)) if c.outcome is Outcome.VIOLATED]
    )
    wall = time.perf_counter() - wall
    most = peak()
    before = decode(built.state)
    again = [timed(look)[0] for _ in range(15)] if after.notes.rows <= 100_000 else []
    return {
        "cpu": first + second + compared,
        "profile": second,
        "compare": compared,
        "window": second + compared,
        "again": statistics.median(again) if again else None,
        "wall": wall,
        "import": imported,
        "peak_mib": most,
        "state": len(after.state),
        "drifted": drifted,
    }


def decoding(current: str, columns: list[str]) -> dict[str, Any]:
    """Decode the columns of one window, some rows at a time, by polars."""
    import polars as pl

    def work() -> int:
        scan, start, cells = pl.scan_parquet(current).select(columns), 0, 0
        while (frame := scan.slice(start, 262_144).collect()).height:
            start, cells = start + frame.height, cells + frame.height * frame.width
        return cells

    cpu, _ = timed(work)
    return {"cpu": cpu, "peak_mib": peak()}


def decoding_ahead(current: str, columns: list[str]) -> dict[str, Any]:
    """The same by polars' streaming reader, which reads ahead."""
    import polars as pl

    scan = pl.scan_parquet(current).select(columns)
    cpu, _ = timed(lambda: sum(frame.height for frame in scan.collect_batches(chunk_size=262_144)))
    return {"cpu": cpu, "peak_mib": peak()}


def decoding_pyarrow(current: str, columns: list[str]) -> dict[str, Any]:
    """The same by pyarrow."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(current)
    cpu, _ = timed(lambda: [file.read_row_group(i, columns).num_rows for i in range(file.num_row_groups)])
    return {"cpu": cpu, "peak_mib": peak()}


READERS = {"polars": decoding, "polars ahead": decoding_ahead, "pyarrow": decoding_pyarrow}


def child(arguments: list[str]) -> dict[str, Any]:
    """Run one measurement in a process of its own. What it says is the last line that it prints."""
    quiet = os.environ | {"WHYLOGS_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(arguments, capture_output=True, text=True, env=quiet, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[:4])} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"whole": whole} | json.loads(done.stdout.strip().splitlines()[-1])


def part(name: str, windows: Windows) -> dict[str, Any]:
    """One of our own measurements."""
    paths = [str(windows.baseline), str(windows.current), ",".join(windows.columns)]
    return child([sys.executable, __file__, "--part", name, *paths])


def peer(name: str, folder: Path, windows: Windows) -> dict[str, Any]:
    """One measurement of a peer."""
    paths = [str(windows.baseline), str(windows.current), ",".join(windows.columns)]
    return child([str(folder / name / "bin/python"), str(HERE / "watch_peers.py"), name, *paths])


def middle(runs: list[dict[str, Any]], key: str) -> float:
    """Median of one figure."""
    return statistics.median(run[key] for run in runs)


def row(windows: Windows, pairs: int, peers: Path | None) -> dict[str, Any]:
    """Ours, the readers and the peers in turn, ``pairs`` times."""
    found: dict[str, list[dict[str, Any]]] = {}
    present = [name for name in PEERS if peers is not None and (peers / name).is_dir()]
    if len(windows.columns) > 17 and windows.rows > 10_000:
        present = [name for name in present if name != "evidently"]  # it does not finish: quadratic in the categories
    for i in range(pairs):
        found.setdefault("ours", []).append(part("ours", windows))
        for name in READERS:
            found.setdefault(name, []).append(part(name, windows))
        for name in present:
            if not i or found[name][0]["cpu"] <= SLOW:
                assert peers is not None
                found.setdefault(name, []).append(peer(name, peers, windows))
        print(f"  {windows.rows:,} x {len(windows.columns)}: round {i + 1} of {pairs}", file=sys.stderr)
    mine = found["ours"]
    fastest = min(READERS, key=lambda name: middle(found[name], "cpu"))
    again = [run["again"] for run in mine if run["again"] is not None]
    document: dict[str, Any] = {
        "rows": windows.rows,
        "columns": len(windows.columns),
        "pairs": pairs,
        "ours": {
            key: middle(mine, key) for key in ("cpu", "profile", "compare", "window", "import", "whole", "peak_mib")
        },
        "again": statistics.median(again) if again else None,
        "drifted": mine[0]["drifted"],
        "state": mine[0]["state"],
        "readers": {name: {k: middle(found[name], k) for k in ("cpu", "peak_mib")} for name in READERS},
        "fastest": fastest,
        "over_decoding": statistics.median(
            run["profile"] / other["cpu"] for run, other in zip(mine, found[fastest], strict=True)
        ),
        "peers": {},
    }
    for name in present:
        runs = found[name]
        ratios = [other["cpu"] / run["cpu"] for run, other in zip(mine, runs, strict=False)]
        document["peers"][name] = {
            "runs": len(runs),
            "cpu": middle(runs, "cpu"),
            "import": middle(runs, "import"),
            "peak_mib": middle(runs, "peak_mib"),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
            "stored": middle(runs, "cpu") / document["ours"]["window"],
            "drifted": runs[0]["drifted"],
        }
    return document


def carried(entry: dict[str, Any]) -> None:
    """Take over what was measured of peers that are not there today."""
    kept = json.loads(RESULTS.read_text()).get("rows", []) if RESULTS.exists() else []
    for old in kept:
        if (old["rows"], old["columns"]) == (entry["rows"], entry["columns"]):
            for name in old["peers"].keys() - entry["peers"].keys():
                ratio = old["peers"][name]["cpu"] / entry["ours"]["cpu"]
                entry["peers"][name] = old["peers"][name] | dict.fromkeys(("ratio", "ratio_min", "ratio_max"), ratio)
                entry["peers"][name]["stored"] = old["peers"][name]["cpu"] / entry["ours"]["window"]


def told(entry: dict[str, Any]) -> Iterator[str]:
    """A row as lines of text."""
    mine = entry["ours"]
    large = entry["rows"] == 5_000_000 and entry["columns"] == 17
    kept = "" if not large or entry["over_decoding"] <= CLAIMS["decode"] else " (missed)"
    again = f", begun {entry['again'] * 1e3:.1f} ms" if entry["again"] is not None else ""
    yield (
        f"{entry['rows']:>9,} x {entry['columns']}  ours {mine['cpu']:.3f} s (profile {mine['profile']:.3f}, compare "
        f"{mine['compare']:.3f}{again}), {mine['peak_mib']:.0f} MiB, {entry['over_decoding']:.1f} times decoding"
        f"{kept} by {entry['fastest']}; drifted: {', '.join(entry['drifted'])}"
    )
    for name, reader in entry["readers"].items():
        yield f"{'':14}decoding by {name} {reader['cpu']:.3f} s, {reader['peak_mib']:.0f} MiB"
    for name, other in entry["peers"].items():
        missed = " (missed)" if large and other["ratio"] < CLAIMS[name] else ""
        yield (
            f"{'':14}{name} {other['cpu']:.2f} s, {other['peak_mib']:.0f} MiB: {other['ratio']:.0f} times ours{missed} "
            f"[{other['ratio_min']:.0f}-{other['ratio_max']:.0f}], {other['stored']:.0f} with a stored baseline, "
            f"{other['runs']} runs; drifted: {', '.join(other['drifted'])}"
        )


def importing(times: int) -> dict[str, float]:
    """CPU seconds of Python with what a check imports, and of Python alone."""
    with_it = [child([sys.executable, "-c", IMPORT + "print('{}')"])["whole"] for _ in range(times)]
    alone = [child([sys.executable, "-c", "print('{}')"])["whole"] for _ in range(times)]
    return {"whole": statistics.median(with_it), "python": statistics.median(alone)}


def verdicts(log: Callable[[str], None]) -> list[dict[str, Any]]:
    """Decisions on windows without and with drift, of 1,000, 10,000 and 100,000 rows against a million."""
    import polars as pl

    import watch_data
    from assay.collect.profile.partial import decode, merge, partial
    from assay.collect.profile.spec import specify
    from assay.watch.drift.verdict import compare
    from assay.watch.interface import Outcome

    columns = [name for name in watch_data.names() if name not in watch_data.WIDE]
    frames = [pl.DataFrame(table).select(columns) for table in watch_data.groups(1_000_000, 900, drifted=False)]
    spec = specify(frames[0])
    baseline = decode(merge(*(partial(frame, spec) for frame in frames)))
    rows = []
    for size, windows in ((1_000, 32), (10_000, 32), (100_000, 9)):
        entry = {"rows": size, "windows": windows, "decisions": 0, "false": 0, "drifts": 0, "found": 0, "names": []}
        for number in range(windows):
            for drifted in (False, True):
                seed = (size // 1000) * 1_000_000 + number * 10 + drifted
                frame = pl.DataFrame(watch_data.group(size, seed, drifted)).select(columns)
                said = compare(baseline, decode(partial(frame, spec)))
                violated = {column.column for column in said if column.outcome is Outcome.VIOLATED}
                if drifted:
                    entry["drifts"] += len(watch_data.DRIFTED)
                    entry["found"] += len(violated & set(watch_data.DRIFTED))
                else:
                    entry["decisions"] += len(columns)
                    entry["false"] += len(violated)
                    entry["names"] += sorted(violated)
        rows.append(entry)
        log(
            f"windows of {size:,}: {entry['false']} false alarms in {entry['decisions']:,} decisions, "
            f"{entry['found']} of {entry['drifts']} drifts found"
        )
    return rows


def written(document: dict[str, Any]) -> None:
    """Replace what was measured again in the file of results."""
    RESULTS.parent.mkdir(exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if "rows" in document:
        new = {(entry["rows"], entry["columns"]) for entry in document["rows"]}
        old = [entry for entry in kept.get("rows", []) if (entry["rows"], entry["columns"]) not in new]
        document["rows"] = sorted([*old, *document["rows"]], key=lambda e: (e["columns"], e["rows"]))
    RESULTS.write_text(json.dumps(kept | document, indent=1) + "\n")


def main() -> None:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--part"]:
        name, baseline, current, columns = sys.argv[2:6]
        found = ours(baseline, current) if name == "ours" else None
        print(json.dumps(found or READERS[name](current, columns.split(","))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 5_000_000])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=None)
    parser.add_argument("--scratch", type=Path, default=None, help="keep the data here instead of a temporary folder")
    parser.add_argument("--only", choices=("speed", "verdicts", "import"), default=None)
    parser.add_argument("--columns", type=int, choices=(17, 20), nargs="+", default=[17, 20])
    parsed = parser.parse_args()
    import watch_data

    about = {"cores": os.cpu_count(), "python": platform.python_version(), "claims": CLAIMS}
    if parsed.only in (None, "import"):
        about["import"] = importing(parsed.pairs)
        print(f"import {about['import']['whole']:.2f} s CPU, of which Python {about['import']['python']:.2f} s")
    if parsed.only in (None, "verdicts"):
        about["verdicts"] = verdicts(print)
    written(about)
    if parsed.only not in (None, "speed"):
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = parsed.scratch or Path(temporary)
        for rows in parsed.rows:
            for count in parsed.columns:
                names = watch_data.names()
                columns = [name for name in names if count == len(names) or name not in watch_data.WIDE]
                paths = [folder / f"{name}-{rows}-{count}.parquet" for name in ("baseline", "current")]
                for path, seed, drifted in zip(paths, (1, 2), (False, True), strict=True):
                    if not path.exists():
                        watch_data.write(path, rows, seed, columns, drifted=drifted)
                entry = row(Windows(*paths, rows, tuple(columns)), parsed.pairs, parsed.peers)
                carried(entry)
                print("\n".join(told(entry)), flush=True)
                written({"rows": [entry]})


if __name__ == "__main__":
    main()
