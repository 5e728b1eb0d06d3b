"""What `bench/watch.py` runs in an environment of the peer's own: one measurement, told as a line of JSON.

    python watch_peers.py evidently|whylogs BASELINE CURRENT COLUMNS

Both windows are in pandas before the clock starts, so that reading Parquet is not the peer's cost.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd


def evidently(reference: pd.DataFrame, current: pd.DataFrame) -> list[str]:
    """The names that `DataDriftPreset` calls drifted, with its defaults."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    found = Report([DataDriftPreset()]).run(current, reference).dict()
    drifted = []
    for metric in found["metrics"]:
        config = metric.get("config", {})
        if "column" in config and "threshold" in config:
            value, limit = float(metric["value"]), float(config["threshold"])
            below = "p_value" in str(config.get("method", ""))
            if value < limit if below else value >= limit:
                drifted.append(config["column"])
    return sorted(drifted)


def whylogs(reference: pd.DataFrame, current: pd.DataFrame) -> list[str]:
    """The names that `calculate_drift_scores` calls drifted, with its defaults."""
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    before, after = why.log(reference).view(), why.log(current).view()
    scores = calculate_drift_scores(target_view=after, reference_view=before, with_thresholds=True)
    return sorted(name for name, score in scores.items() if score and score["drift_category"] == "DRIFT")


TOOLS: dict[str, Any] = {"evidently": evidently, "whylogs": whylogs}


def main() -> None:
    """Import, load, measure."""
    warnings.simplefilter("ignore")
    tool, baseline, current, columns = sys.argv[1:5]
    start = time.process_time()
    if tool == "evidently":
        import evidently.presets  # noqa: F401
    else:
        import whylogs.viz.drift.column_drift_algorithms  # noqa: F401
    imported = time.process_time() - start
    frames = [pd.read_parquet(path, columns=columns.split(",")) for path in (baseline, current)]
    start, wall = time.process_time(), time.perf_counter()
    drifted = TOOLS[tool](*frames)
    part, wall = time.process_time() - start, time.perf_counter() - wall
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    peak = int(line.split()[1]) / 1024
    print(json.dumps({"cpu": part, "wall": wall, "import": imported, "peak_mib": peak, "drifted": drifted}))


if __name__ == "__main__":
    main()
