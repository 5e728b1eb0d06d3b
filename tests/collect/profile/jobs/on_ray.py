"""The job on Ray Data, on two cores of this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ray
import ray.data
from jobs.common import work


def main(data: str, out: Path) -> None:
    """Run it."""
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.read_parquet(data)
    empty = rows.filter(expr="whole < -5")
    nested = rows.rename_columns({"moment": "nest.a"})
    work(out, {"as-read": rows, "one": rows.repartition(1), "many": rows.repartition(40)}, empty, nested)
    ray.shutdown()


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main(sys.argv[1], Path(sys.argv[2]))
