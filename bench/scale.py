"""What a cluster is sized by: rows per second and core, bytes of a state, memory of a task, and what an engine adds.

The table of `bench/watch_data.py` with 17 columns, and with 20 of which three have 5,000 to 600,000 categories. CPU
seconds, of a process and all that it started; each row is a process of its own. ``python bench/scale.py [ROWS]``
prints a table and writes ``bench/results/scale.json``. Engines that are not installed are left out.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARTS = 16
RUNS = 3
CASES = ("task", "one-machine", "dask", "spark", "ray")
LIBRARY = {"spark": "pyspark", "dask": "distributed", "ray": "ray"}


def cpu() -> float:
    """CPU seconds so far, of this process and all beneath it."""
    ticks, parents = {}, {}
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit():
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry)], ticks[int(entry)] = int(fields[1]), sum(map(int, fields[11:15]))
        except OSError:
            continue
    own = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(ticks.get(pid, 0) for pid in own) / os.sysconf("SC_CLK_TCK")


def data_set(case: str, folder: str) -> Any:
    """The files as an engine's data set."""
    if case == "spark":
        from pyspark.sql import SparkSession

        os.environ["PYSPARK_PYTHON"] = sys.executable
        builder = SparkSession.builder.master("local[2]").config("spark.ui.showConsoleProgress", "false")
        options = {"spark.ui.enabled": "false", "spark.driver.memory": "1g", "spark.driver.host": "127.0.0.1"}
        for name, value in (options | {"spark.driver.bindAddress": "127.0.0.1"}).items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        return session.read.parquet(folder)
    if case == "dask":
        import dask.dataframe
        from dask.distributed import Client, LocalCluster

        Client(LocalCluster(2, threads_per_worker=1, dashboard_address=None))
        return dask.dataframe.read_parquet(folder, dtype_backend="pyarrow", split_row_groups=True)
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data.read_parquet(folder)


def one(case: str, folder: str, blank: str) -> dict[str, Any]:
    """Measure one case in this process."""
    from assay.collect.profile.build import profile as local
    from assay.collect.profile.engines.running import Rows, profile
    from assay.collect.profile.partial import decode
    from assay.collect.profile.sources.opening import open_source

    spec = decode(Path(blank).read_bytes()).spec
    files = sorted(Path(folder).iterdir())
    if case == "task":
        import polars
        import pyarrow.parquet

        polars.DataFrame({"a": [1]})
        before, idle = cpu(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        state = Rows(Path(blank).read_bytes())(
            batch for file in files for batch in pyarrow.parquet.ParquetFile(file).iter_batches(10_000)
        )
        assert state is not None
        # The most that this process ever had, and what it had before the first row.
        memory = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, idle >> 10]
        return {"cpu": cpu() - before, "state": len(state), "memory": memory}
    if case == "one-machine":
        before, began = cpu(), time.perf_counter()
        local(open_source(folder), spec)
        return {"cpu": cpu() - before, "wall": time.perf_counter() - began}
    data = data_set(case, folder)
    profile(data, spec)  # starts the workers
    before, began = cpu(), time.perf_counter()
    state = profile(data, spec)
    return {"cpu": cpu() - before, "wall": time.perf_counter() - began, "state": len(state)}


def merging(folder: Path, blank: bytes) -> dict[str, float]:
    """Bytes of the states of single files, and milliseconds to merge one more of them."""
    import pyarrow.parquet

    from assay.collect.profile.engines.running import Rows
    from assay.collect.profile.partial import merge

    states = [Rows(blank)([pyarrow.parquet.read_table(file)]) for file in sorted(folder.iterdir())]
    before = time.process_time()
    merge(*(state for state in states if state))
    took = time.process_time() - before
    return {"bytes": statistics.median(len(state or b"") for state in states), "merge_ms": 1000 * took / len(states)}


def main(rows: int) -> None:
    """Measure everything."""
    sys.path.insert(0, str(HERE))
    import polars as pl

    from assay.collect.profile.accumulate import Accumulator
    from assay.collect.profile.spec import SAMPLE, specify
    from watch_data import WIDE, names, write

    results: dict[str, Any] = {"rows": rows, "cores": len(os.sched_getaffinity(0)), "cases": {}}
    with tempfile.TemporaryDirectory() as place:
        for label, columns in (("17", [n for n in names() if n not in WIDE]), ("20", names())):
            folder, blank = Path(place) / label, Path(place) / f"{label}.state"
            folder.mkdir()
            for part in range(PARTS):
                write(folder / f"{part:02}.parquet", rows // PARTS, part, columns, drifted=False)
            blank.write_bytes(Accumulator(specify(pl.read_parquet(folder / "00.parquet").head(SAMPLE))).state())
            results["cases"][label] = found = {"part": merging(folder, blank.read_bytes())}
            for case in CASES:
                if case in LIBRARY and importlib.util.find_spec(LIBRARY[case]) is None:
                    continue
                runs = []
                for _ in range(RUNS):
                    command = [sys.executable, __file__, "--one", case, str(folder), str(blank)]
                    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": place})
                    assert done.returncode == 0, done.stderr[-3000:]
                    runs.append(json.loads(done.stdout.splitlines()[-1]))
                found[case] = sorted(runs, key=lambda run: run["cpu"])[RUNS // 2]
                print(
                    f"{label} columns  {case:12} {rows / found[case]['cpu']:>12,.0f} rows/s/core  {found[case]}",
                    flush=True,
                )
            print(f"{label} columns  {found['part']}")
            (HERE / "results" / "scale.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(*sys.argv[2:5])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
