"""The job on Spark: two cores, little memory, and partitions so small that there are many."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jobs.common import work
from pyspark.sql import SparkSession, functions


def main(data: str, out: Path) -> None:
    """Run it."""
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "512m")
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.local.dir", str(out))
        .config("spark.sql.warehouse.dir", str(out / "warehouse"))
        .config("spark.sql.session.timeZone", "Asia/Kathmandu")
        .config("spark.sql.files.maxPartitionBytes", "400k")
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "500")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    rows = spark.read.parquet(data)
    empty = rows.filter("whole < -5")
    nested = rows.withColumn("nest.a", functions.lit(1))
    work(out, {"as-read": rows, "one": rows.coalesce(1), "many": rows.repartition(7, "word")}, empty, nested)
    spark.stop()


if __name__ == "__main__":
    os.environ["PYSPARK_PYTHON"] = sys.executable
    main(sys.argv[1], Path(sys.argv[2]))
