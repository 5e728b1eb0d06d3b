import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.errors import UsageError
from assay.watch.quality import ground_truth


def line(data, *, encoding="CSV", event="e1", inference=None):
    metadata = {"eventId": event} | ({"inferenceId": inference} if inference else {})
    document = {"groundTruthData": {"data": data, "encoding": encoding}, "eventMetadata": metadata, "eventVersion": "0"}
    return json.dumps(document)


def test_the_service_s_form_in_its_folders(tmp_path):
    folder = tmp_path / "2026" / "01" / "31" / "23"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text(
        "\n".join(
            [
                line("1"),
                line("0.5,x", event="e2"),
                line(base64.b64encode(b"0").decode(), encoding="BASE64", event="e3"),
                line('"spam"', encoding="JSON", event="e4", inference="mine"),
                line("true", encoding="JSON", event="e5"),
            ]
        )
    )
    (folder / "notes.txt").write_text("not read")
    found = ground_truth.read([str(tmp_path)])
    assert found.malformed == 0
    assert found.frame.select("id", "label").rows() == [
        ("e1", "1"), ("e2", "0.5"), ("e3", "0"), ("mine", "spam"), ("e5", "true"),
    ]  # fmt: skip
    assert set(found.frame.get_column("label_time").to_list()) == {datetime(2026, 1, 31, 23, tzinfo=UTC)}


def test_a_column_or_an_attribute_is_the_label(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text(line("id7,1") + "\n" + line('{"y": 3, "z": 4}', encoding="JSON", event="e2"))
    found = ground_truth.read([str(path)], column=1, attribute="y")
    assert found.frame.get_column("label").to_list() == ["1", "3"]
    assert found.frame.get_column("label_time").null_count() == 2


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        "null",
        '{"groundTruthData": {"data": 1, "encoding": "CSV"}, "eventMetadata": {"eventId": "e"}}',
        '{"eventMetadata": {"eventId": "e"}}',
        line("1", encoding="XML"),
        line("%%", encoding="BASE64"),
        line("[1]", encoding="JSON"),
        line("{", encoding="JSON"),
        line("1", event=""),
        line("1", event=None),
        '{"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "half',
        "[" * 100_000,
        line("[" * 100_000, encoding="JSON"),
    ],
)
def test_a_line_of_another_form_is_counted_and_stops_nothing(tmp_path, bad):
    path = tmp_path / "labels.jsonl"
    path.write_text(f"{line('1')}\n{bad}\n\n{line('0', event='e2')}\n")
    found = ground_truth.read([str(path)])
    assert found.malformed == 1
    assert found.frame.get_column("label").to_list() == ["1", "0"]


def test_an_empty_label_is_missing_not_malformed(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text(line("") + "\n" + line("null", encoding="JSON") + "\n")
    found = ground_truth.read([str(path)])
    assert found.malformed == 0 and found.frame.get_column("label").to_list() == [None, None]


def test_an_impossible_hour_is_no_time(tmp_path):
    folder = tmp_path / "2026" / "13" / "45" / "99"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text(line("1"))
    assert ground_truth.read([str(folder / "a.jsonl")]).frame.get_column("label_time").to_list() == [None]


def test_nothing_to_read(tmp_path):
    assert ground_truth.read([str(tmp_path)]).frame.height == 0
    with pytest.raises(UsageError, match="cannot be read"):
        ground_truth.read([str(tmp_path / "missing.jsonl")])


@settings(suppress_health_check=list(HealthCheck), max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path, data):
    path = tmp_path / "labels.jsonl"
    path.write_bytes(data)
    ground_truth.read([str(path)])


def test_the_rest_of_a_line_that_is_too_long_is_no_line(tmp_path):
    """Stops: a label that is smuggled in behind so much else that whoever looks at the line sees no label."""
    path = tmp_path / "a.jsonl"
    path.write_text("x" * ground_truth.LONGEST_LINE + line("1") + "\n" + line("0", event="e2") + "\n")
    found = ground_truth.read([str(path)])
    assert (found.frame.get_column("id").to_list(), found.malformed) == (["e2"], 1)
