"""A calibration takes the folder that `capture` names as it lies, with JSON Lines beside the Parquet files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from assay.api.calibrating import calibrate

NAMES = ("a", "b", "c")


def test_the_folder_of_the_gateway_file_is_the_one_to_name(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pl.DataFrame(random.normal(size=(300, 3)), list(NAMES)).write_csv(tmp_path / "data.csv")
    hour = "assay/m/2026/11/22/14"
    for form in ("parquet", "jsonl"):
        (tmp_path / "captured" / form / hour).mkdir(parents=True)
    (tmp_path / "captured" / "jsonl" / hour / "one.jsonl").write_text("{}\n")
    count = 20 * 30
    begin = datetime(2026, 11, 22, 14, tzinfo=UTC)
    about = {
        "caller": [f"key:{i % 20}" for i in range(count)],
        "inferenceTime": [begin + timedelta(seconds=i) for i in range(count)],
    }
    asked = pl.DataFrame(random.normal(size=(count, 3)), list(NAMES))
    pl.DataFrame(about).hstack(asked).write_parquet(tmp_path / "captured" / "parquet" / hour / "one.parquet")
    made = calibrate(str(tmp_path / "data.csv"), str(tmp_path / "made.json"), captured=str(tmp_path / "captured"))
    assert 0 < made.streams <= 20 and (tmp_path / "made.json").is_file()
