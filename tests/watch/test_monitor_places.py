"""Where a monitors file may say that rows come from."""

from __future__ import annotations

import pytest

from assay.errors import DocumentError
from assay.watch import settings

_FILE = """\
assay-monitors: 1
monitors:
  - name: credit
    baseline: b.json
    data: {from: rows.parquet}
    reference: {from: train.parquet}
    quality:
      problem: binary
      truth: {from: truth.csv}
      reference: {from: before.parquet}
"""


@pytest.mark.parametrize(
    ("place", "file"),
    [
        ("data", "rows.parquet"),
        ("reference", "train.parquet"),
        ("quality.truth", "truth.csv"),
        ("quality.reference", "before.parquet"),
    ],
)
def test_a_query_belongs_to_a_database_wherever_it_stands(tmp_path, place, file):
    path = tmp_path / "monitors.yml"
    path.write_text(_FILE)
    assert settings.load(str(path)).monitors[0].name == "credit"
    for wrong in (f"{file}, query: SELECT 1", "sqlite:///rows.db"):
        path.write_text(_FILE.replace(file, wrong))
        with pytest.raises(DocumentError, match=rf": {place}: a database needs"):
            settings.load(str(path))
