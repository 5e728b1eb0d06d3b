"""What each protocol's requests are in both formats: the same rows under the same names."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.collect.profile.sources.opening import open_source
from assay.guard.gateway.protocols import routes
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.serving import RouteSettings
from collect.profile.reading import read
from guard.gateway.capture.samples import capturer, sample

JSON, CSV = b"application/json", b"text/csv"

REQUESTS = {
    "kserve lists": ("kserve-v1", JSON, b'{"instances":[[1,2.5],[3,4.5]]}', b'{"predictions":[0,1]}'),
    "kserve objects": (
        "kserve-v1",
        JSON,
        b'{"instances":[{"age":30,"city":"Ulm"},{"age":40,"city":"Rom"}]}',
        b'{"predictions":[0,1]}',
    ),
    "one tensor": (
        "open-inference",
        JSON,
        b'{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP64","data":[1,2.5,3,4.5]}]}',
        b'{"model_name":"m","outputs":[{"name":"y","shape":[2],"datatype":"INT64","data":[0,1]}]}',
    ),
    "several tensors": (
        "open-inference",
        JSON,
        b'{"inputs":[{"name":"age","shape":[2,1],"datatype":"INT64","data":[30,40]},'
        b'{"name":"v","shape":[2,2],"datatype":"FP64","data":[1,2.5,3,4.5]}]}',
        b'{"model_name":"m","outputs":[{"name":"y","shape":[2],"datatype":"INT64","data":[0,1]}]}',
    ),
    "csv": ("sagemaker", CSV, b"1,2.5\n3,4.5\n", b"0\n1\n"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_both_formats_say_the_same(name: str, tmp_path: Path) -> None:
    protocol, kind, request, response = REQUESTS[name]
    serving = routes.build(Settings(routes=(RouteSettings(protocol=protocol),)))  # type: ignore[arg-type]
    given = sample(protocol=protocol, request_type=kind, answer_type=kind, request=request, response=response, rows=2)
    one, _ = capturer(tmp_path)
    one.see(given, serving.table(given), serving.answers(given))
    one.close()
    assert (one.figures.captured, one.figures.unreadable) == (1, 0)
    lines, table = (read(open_source(str(tmp_path / folder))) for folder in ("jsonl", "parquet"))
    features = [column for column in table.columns[6:] if column not in ("prediction", "probabilities")]
    assert features and lines.height == table.height == 2
    for column in features:
        assert table[column].to_list() == lines[column].to_list(), column
    assert table["prediction"].to_list() == [0, 1] == lines["output_0"].to_list()
    for column in ("eventId", "inferenceId"):
        assert table[column].to_list() == lines[column].to_list()
