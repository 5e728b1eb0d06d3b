"""The container contract: a job is run as the platform runs it, from its variables to its files."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jsonschema
import polars as pl
import pytest

from assay.watch.interface import Outcome
from assay.watch.sagemaker import byoc
from watch.constraints.profiles import table
from watch.sagemaker.schemas import CONSTRAINTS, METRIC, STATISTICS, VIOLATIONS

NOW = datetime(2026, 3, 4, 6, 20, tzinfo=UTC)
CSV = '{"csv": {"header": ["true"]}}'
COLUMNS = ("age", "amount", "temperature", "share", "country", "flag")


class Container:
    """A folder laid out as the platform's, and the files of a job."""

    def __init__(self, folder):
        self.folder = folder
        self.output = folder / "results"
        self.data = folder / "data"
        self.data.mkdir()

    def run(self, dataset_format, **more):
        environ = {
            "dataset_format": dataset_format,
            "dataset_source": str(self.data),
            "output_path": str(self.output),
            "publish_cloudwatch_metrics": "Enabled",
            "sagemaker_endpoint_name": "churn",
            "sagemaker_monitoring_schedule_name": "hourly",
            "start_time": "2026-03-04T05:00:00Z",
            "end_time": "2026-03-04T06:00:00Z",
            **more,
        }
        return byoc.run(environ, root=str(self.folder / "ml"), now=NOW)

    def read(self, name):
        return json.loads((self.output / name).read_bytes())

    @property
    def message(self):
        return (self.folder / "ml/output/message").read_text()

    @property
    def metrics(self):
        path = self.folder / "ml/output/metrics/cloudwatch/cloudwatch_metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


def _frame(rows, seed):
    return table(rows, seed).select(COLUMNS)


@pytest.fixture
def container(tmp_path):
    return Container(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with the files of a baseline, made by the container itself."""
    container = Container(tmp_path_factory.mktemp("training"))
    _frame(5000, 1).write_csv(container.data / "train.csv")
    finished = container.run(CSV)
    assert (finished.code, finished.message) == (0, container.message)
    assert container.message.startswith("Completed: ")
    return container.output


def _baseline(trained, *, own=True, folder=None):
    if own:
        return {
            "baseline_constraints": str(trained / "constraints.json"),
            "baseline_statistics": str(trained / "statistics.json"),
        }
    for name in ("constraints.json", "statistics.json"):  # as they come from the service, without our file beside them
        (folder / name).write_bytes((trained / name).read_bytes())
    return {"baseline_constraints": str(folder), "baseline_statistics": str(folder)}


def test_without_a_baseline_one_is_made(trained):
    jsonschema.validate(json.loads((trained / "statistics.json").read_bytes()), STATISTICS)
    jsonschema.validate(json.loads((trained / "constraints.json").read_bytes()), CONSTRAINTS)
    assert (trained / "assay-baseline.json").exists()
    assert not (trained / "constraint_violations.json").exists()


@pytest.mark.parametrize("own", [True, False])
def test_a_clean_window_completes(container, trained, tmp_path, own):
    _frame(3000, 2).write_parquet(container.data / "part.parquet")
    (tmp_path / "theirs").mkdir()
    finished = container.run('{"parquet": {}}', **_baseline(trained, own=own, folder=tmp_path / "theirs"))
    assert finished.code == 0
    assert container.message == "Completed: Job completed successfully with no violations."
    for name in ("constraint_violations.json", "constraints_violations.json"):
        assert container.read(name) == {"violations": []}
    jsonschema.validate(container.read("statistics.json"), STATISTICS)
    jsonschema.validate(container.read("constraints.json"), CONSTRAINTS)
    assert finished.look.samples == 3000


@pytest.mark.parametrize("own", [True, False])
def test_every_kind_of_violation_is_reported(container, trained, tmp_path, own):
    frame = _frame(3000, 2).with_columns(
        age=pl.Series([f"{i % 90}" if i % 3 else "unknown" for i in range(3000)]),
        amount=pl.when(pl.int_range(3000) % 4 > 0).then("amount"),
        temperature=pl.col("temperature") + 6,
        country=pl.when(pl.int_range(3000) % 5 == 0).then(pl.lit("Atlantis")).otherwise("country"),
        surprise=pl.lit(1),
    )
    frame.drop("share").write_ndjson(container.data / "part.jsonl")
    (tmp_path / "theirs").mkdir()
    finished = container.run('{"json": {"line": true}}', **_baseline(trained, own=own, folder=tmp_path / "theirs"))
    assert finished.code == 0
    document = container.read("constraint_violations.json")
    jsonschema.validate(document, VIOLATIONS)
    found = {(item["feature_name"], item["constraint_check_type"]) for item in document["violations"]}
    assert found >= {
        ("age", "data_type_check"),
        ("amount", "completeness_check"),
        ("temperature", "baseline_drift_check"),
        ("country", "categorical_values_check"),
        ("share", "missing_column_check"),
        ("surprise", "extra_column_check"),
    }
    assert (
        container.message
        == f"CompletedWithViolations: Job completed successfully with {len(document['violations'])} violations."
    )


def test_metrics_are_files_of_the_platforms_form(container, trained):
    _frame(3000, 2).write_csv(container.data / "part.csv")
    container.run(CSV, **_baseline(trained))
    for line in container.metrics:
        jsonschema.validate(line, METRIC)
        assert line["Timestamp"] == "2026-03-04T06:00:00Z"
        assert line["Dimensions"] == [
            {"Name": "Endpoint", "Value": "churn"}, {"Name": "MonitoringSchedule", "Value": "hourly"},
        ]  # fmt: skip
    names = {line["MetricName"] for line in container.metrics}
    for column in COLUMNS:
        assert {f"feature_non_null_{column}", f"feature_baseline_drift_{column}"} <= names
    age = next(line for line in container.metrics if line["MetricName"] == "feature_data_age")
    ages = _frame(3000, 2)["age"]
    assert age["StatisticValues"] == {
        "SampleCount": 3000.0, "Sum": pytest.approx(ages.sum()), "Minimum": ages.min(), "Maximum": ages.max(),
    }  # fmt: skip


def test_no_metrics_where_they_are_not_asked_for(container, trained):
    _frame(3000, 2).write_csv(container.data / "part.csv")
    container.run(CSV, **_baseline(trained), publish_cloudwatch_metrics="Disabled")
    assert not (container.folder / "ml/output/metrics").exists()


def _capture(folder, frame, hour, *, outputs=0):
    path = folder / f"churn/main/2026/03/04/{hour:02}"
    path.mkdir(parents=True)
    lines = []
    for number, row in enumerate(frame.rows()):
        cells = ["" if cell is None else str(cell).lower() for cell in row]
        event = {
            "captureData": {
                "endpointInput": {
                    "observedContentType": "text/csv", "mode": "INPUT",
                    "data": ",".join(cells[outputs:]), "encoding": "CSV",
                },
                "endpointOutput": {
                    "observedContentType": "text/csv", "mode": "OUTPUT",
                    "data": ",".join(cells[:outputs]) or "0.1", "encoding": "CSV",
                },
            },
            "eventMetadata": {"eventId": f"{hour}-{number}", "inferenceTime": f"2026-03-04T{hour:02}:10:00Z"},
            "eventVersion": "0",
        }  # fmt: skip
        lines.append(json.dumps(event))
    (path / "a.jsonl").write_text("\n".join(lines) + "\n")


CAPTURE = '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}'
INPUT = '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput"]}}'


def test_captures_get_the_baselines_names_output_first_and_only_the_window_is_read(container, trained):
    _capture(container.data, _frame(1000, 2), 5, outputs=1)
    _capture(container.data, _frame(50, 3).with_columns(age=pl.lit(-1000)), 6, outputs=1)
    finished = container.run(CAPTURE, **_baseline(trained))
    assert finished.look.samples == 1000
    assert container.message == "Completed: Job completed successfully with no violations."
    assert [item["name"] for item in container.read("statistics.json")["features"]] == list(COLUMNS)


def test_captured_inputs_alone(container, trained):
    _capture(container.data, _frame(1000, 2), 5)
    finished = container.run(INPUT, **_baseline(trained))
    assert container.message == "Completed: Job completed successfully with no violations.", finished.look.violations


def test_a_window_that_cannot_be_judged_is_no_success(container, trained):
    _frame(5, 2).write_csv(container.data / "part.csv")
    finished = container.run(CSV, baseline_statistics=str(trained / "assay-baseline.json"))
    assert finished.code == 3
    assert container.message.startswith("Error: ")
    assert "5 rows" in container.message


def test_an_empty_window_is_no_success(container, trained):
    (container.data / "churn/main/2026/03/04/07").mkdir(parents=True)
    finished = container.run(CAPTURE, **_baseline(trained))
    assert finished.code != 0
    assert container.message.startswith("Error: ")


def test_variables_come_from_the_configuration_file_too(container, trained):
    _frame(3000, 2).write_csv(container.data / "part.csv")
    config = container.folder / "ml/config"
    config.mkdir(parents=True)
    variables = {"dataset_format": CSV, "dataset_source": str(container.data), "output_path": str(container.output)}
    (config / "processingjobconfig.json").write_text(json.dumps({"Environment": {**variables, **_baseline(trained)}}))
    finished = byoc.run({}, root=str(container.folder / "ml"), now=NOW)
    assert finished.message == "Completed: Job completed successfully with no violations."
    assert finished.look.window.end == NOW


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset_format": ""}, "dataset_format is not set"),
        ({"dataset_format": "csv"}, "dataset_format"),
        ({"dataset_format": '{"orc": {}}'}, "orc"),
        ({"dataset_format": '{"csv": {"header": "perhaps"}}'}, "header"),
        ({"dataset_format": '{"json": {"line": "false"}}'}, "one object a line"),
        ({"dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["x"]}}'}, "captureIndexNames"),
        ({"dataset_source": "/nonexistent/data"}, "/nonexistent/data"),
        ({"start_time": "2026-03-04"}, "start_time"),
        ({"start_time": "2026-03-05T00:00:00Z"}, "after end_time"),
        ({"end_time": "2026-03-04T06:00:00+05:00"}, "UTC"),
        ({"publish_cloudwatch_metrics": "maybe"}, "publish_cloudwatch_metrics"),
        ({"baseline_constraints": "/nonexistent/constraints.json"}, "cannot be read"),
        ({"baseline_statistics": "/nonexistent"}, "cannot be read"),
    ],
)
def test_what_cannot_be_understood_ends_the_job_with_a_sentence(container, change, words):
    _frame(100, 2).write_csv(container.data / "part.csv")
    finished = container.run(**{"dataset_format": CSV, **change})
    assert finished.code != 0
    assert container.message.startswith("Error: ")
    assert words in container.message
    assert not (container.output / "constraint_violations.json").exists()


def test_the_guides_own_times_are_understood(container, trained):
    _frame(3000, 2).write_csv(container.data / "part.csv")
    times = {"start_time": "2019-12-01T15: 20: 00Z", "end_time": "2019-12-01T16: 20: 00Z"}
    finished = container.run(CSV, **_baseline(trained), **times)
    assert finished.look.window.start == datetime(2019, 12, 1, 15, 20, tzinfo=UTC)


def test_a_baseline_that_was_tampered_with_ends_the_job(container, trained, tmp_path):
    _frame(3000, 2).write_csv(container.data / "part.csv")
    for name in ("constraints.json", "statistics.json", "assay-baseline.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    own = tmp_path / "assay-baseline.json"
    own.write_bytes(own.read_bytes().replace(b'"rows": 5000', b'"rows": 5001'))
    finished = container.run(CSV, **_baseline(tmp_path))
    assert finished.code == 2
    assert "assay-baseline.json" in container.message


def test_constraints_that_are_switched_off_are_not_evaluated(container, trained, tmp_path):
    document = json.loads((trained / "constraints.json").read_bytes())
    document["monitoring_config"]["evaluate_constraints"] = "Disabled"
    path = tmp_path / "constraints.json"
    path.write_text(json.dumps(document))
    _frame(3000, 2).with_columns(temperature=pl.lit(11.3)).write_csv(container.data / "part.csv")
    finished = container.run(CSV, **{**_baseline(trained), "baseline_constraints": str(path)})
    assert "not evaluated" in container.message
    assert finished.code == 0


def test_units_and_frozen_columns_are_reported_with_our_own_baseline(container, trained):
    frame = _frame(3000, 2).with_columns(pl.col("amount") * 1000, temperature=pl.lit(11.3))
    frame.write_csv(container.data / "part.csv")
    finished = container.run(CSV, **_baseline(trained))
    found = {(item.feature, item.check) for item in finished.look.checks if item.outcome is Outcome.VIOLATED}
    assert {("amount", "unit"), ("temperature", "frozen")} <= found
    descriptions = [item["description"] for item in container.read("constraint_violations.json")["violations"]]
    assert any(text.startswith("unit: ") for text in descriptions)


def test_reports_that_cannot_be_written_are_no_success(container, trained):
    """Stops: a full or missing disk that ends a job without a sentence, or with one that says all is well."""
    _frame(3000, 2).write_csv(container.data / "part.csv")
    taken = container.output.parent / "taken"
    taken.write_bytes(b"a file, where a folder is wanted")
    finished = container.run(CSV, **_baseline(trained), output_path=str(taken / "reports"))
    assert finished.code == 2
    assert "cannot be written" in container.message and str(taken) in container.message
