"""The job on Dask: a cluster of two processes on this machine, and the threads of this one."""

from __future__ import annotations

import sys
from pathlib import Path

import dask
import dask.dataframe as dd
from dask.distributed import Client, LocalCluster
from jobs.common import work

from assay.collect.profile.engines.running import profile
from assay.collect.profile.partial import decode


def main(data: str, out: Path) -> None:
    """Run it."""
    rows = dd.read_parquet(data, dtype_backend="pyarrow", split_row_groups=True)
    spec = decode((out / "spec.state").read_bytes()).spec
    (out / "threads.out").write_bytes(profile(rows, spec))
    dask.config.set({"distributed.admin.log-format": "%(message)s", "logging.distributed": "error"})
    with (
        LocalCluster(2, threads_per_worker=1, dashboard_address=None, local_directory=str(out)) as cluster,
        Client(cluster),
    ):
        empty = rows[rows["whole"] < -5]
        nested = rows.assign(moment=1).rename(columns={"moment": "nest.a"})
        variants = {"as-read": rows, "one": rows.repartition(npartitions=1), "many": rows.repartition(npartitions=40)}
        work(out, variants, empty, nested)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
