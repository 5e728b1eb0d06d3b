from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.collect.profile.interface import Kind
from assay.collect.profile.sources.interface import Reading
from assay.collect.profile.sources.opening import open_source
from assay.collect.profile.sources.within import Within
from assay.errors import DocumentError, UsageError
from collect.profile.reading import read


def side(data: Any, encoding: str = "CSV", kind: str = "text/csv") -> dict[str, Any]:
    return {"observedContentType": kind, "mode": "INPUT", "data": data, "encoding": encoding}


def event(number: int, given: Any = None, got: Any = None, **metadata: Any) -> dict[str, Any]:
    about = {"eventId": f"e{number}", "inferenceTime": f"2022-02-14T17:25:{number % 60:02}Z"} | metadata
    data = {"endpointInput": given, "endpointOutput": got}
    return {
        "captureData": {name: value for name, value in data.items() if value is not None},
        "eventMetadata": about,
        "eventVersion": "0",
    }


def events(path: Path, *entries: Any, end: str = "\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(e if isinstance(e, str) else json.dumps(e) for e in entries) + end)
    return str(path)


def test_input_and_output_are_one_row(tmp_path: Path) -> None:
    entries = [event(i, side(f"{i},2.5,red\n"), side("0.02"), inferenceId=f"i{i}") for i in range(100)]
    source = open_source(events(tmp_path / "a.jsonl", *entries))
    assert source.origin.kind == "captured"
    found = read(source)
    assert found.columns == ["eventId", "inferenceId", "inferenceTime", "_c0", "_c1", "_c2", "output_0"]
    assert found.row(7) == ("e7", "i7", datetime(2022, 2, 14, 17, 25, 7, tzinfo=UTC), 7, 2.5, "red", 0.02)
    assert source.keys == {"eventId", "inferenceId", "inferenceTime"}


def test_columns_have_the_names_that_are_given_and_the_baselines_types(tmp_path: Path) -> None:
    path = events(tmp_path / "a.jsonl", event(1, side("1,2"), side("0.5")))
    source = open_source(path, reading=Reading(columns=("age", "zip"), outputs=("score",)))
    source.expect({"zip": Kind.STRING, "score": Kind.FRACTIONAL})
    found = read(source)
    assert found.select("age", "zip", "score").rows() == [(1, "2", 0.5)]


def test_records_of_one_call_are_rows_of_their_own(tmp_path: Path) -> None:
    source = open_source(events(tmp_path / "a.jsonl", event(1, side("1,2\n3,4\n"), side("0.1\n0.2\n"))))
    assert read(source).select("_c0", "output_0").rows() == [(1, 0.1), (3, 0.2)]


def test_every_encoding(tmp_path: Path) -> None:
    def packed(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    text = "application/json"
    entries = [
        event(1, side('{"a": 1, "b": {"c": "x"}}', "JSON", text), side("[0.5]", "JSON", text)),
        event(
            2,
            side({"instances": [{"a": 2}, {"a": 3}]}, "JSON", text),
            side('{"predictions": [0.1, 0.2]}', "JSON", text),
        ),
        event(3, side(packed('{"a": 4}'), "BASE64", "application/json; charset=utf-8"), side(packed("0.4"), "BASE64")),
        event(4, side('{"a": 5}\n{"a": 6}', "JSON", "application/jsonlines"), side("1\n2")),
        event(
            5, side('{"dataframe_split": {"columns": ["a"], "data": [[7], [8]]}}', "JSON", text), side("[1, 2]", "JSON")
        ),
    ]
    source = open_source(events(tmp_path / "a.jsonl", *entries))
    found = read(source).sort("a")
    assert source.notes.examples == []
    assert found["a"].to_list() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert found["b.c"].to_list() == ["x"] + [None] * 7
    assert found["output_0"].to_list() == [0.5, 0.1, 0.2, 0.4, 1, 2, 1, 2]


BROKEN = [
    ("not json", "is not JSON"),
    ("[]", "is no JSON object"),
    ("{}", "has no eventMetadata"),
    ({"captureData": {}, "eventMetadata": {}}, "neither endpointInput nor endpointOutput"),
    ({"captureData": {"endpointInput": []}, "eventMetadata": {}}, "endpointInput is no object"),
    ({"captureData": 1, "eventMetadata": {}}, "has no captureData"),
    (event(1, side("1,2"), side("0.1\n0.2")), "has 1 inputs and 2 outputs"),
    (event(1, side("AAAA", "BASE64", "image/png")), "BASE64 data of type image/png"),
    (event(1, side("?", "BASE64", "text/csv")), "is no text"),
    (event(1, side("{", "JSON")), "its data is not JSON"),
    (event(1, side("1", "XML")), "the encoding 'XML'"),
    (event(1, side(5, "CSV")), "the encoding 'CSV'"),
    (event(1, side("1"), inferenceTime="yesterday"), "no RFC 3339 time"),
]


@pytest.mark.parametrize(("entry", "reason"), BROKEN)
def test_an_event_that_does_not_fit_is_left_out_and_told(tmp_path: Path, entry: Any, reason: str) -> None:
    good = event(1, side("1"), side("1"))
    source = open_source(events(tmp_path / "a.jsonl", good, entry, good))
    assert read(source).height == 2
    assert source.notes.dropped == 1
    (said,) = source.notes.examples
    assert said.startswith(f"{source.name}, line 2: ")
    assert reason in said
    with pytest.raises(DocumentError, match="no captured event that can be read"):
        read(open_source(events(tmp_path / "b.jsonl", entry), kind="captured"))


def test_the_wrong_number_of_values_is_told(tmp_path: Path) -> None:
    entries = [event(1, side("1,2")), event(2, side("1"))]
    source = open_source(events(tmp_path / "a.jsonl", *entries), reading=Reading(columns=("a", "b")))
    assert read(source)["a"].to_list() == [1]
    assert source.notes.examples == [f"{source.name}, line 2: has 1 values for 2 columns"]


def test_an_output_cannot_replace_an_input_of_its_name(tmp_path: Path) -> None:
    entry = event(1, side('{"age": 30, "eventId": "x"}', "JSON"), side('{"age": 99}', "JSON"))
    found = read(open_source(events(tmp_path / "a.jsonl", entry)))
    assert found["age"].to_list() == [30]
    assert found["output.age"].to_list() == [99]
    assert found["eventId"].to_list() == ["e1"]


def test_the_beginning_of_a_last_event_is_left_out_and_told(tmp_path: Path) -> None:
    whole = json.dumps(event(1, side("1")))
    source = open_source(events(tmp_path / "a.jsonl", whole, whole[:-30], end=""))
    assert read(source).height == 1
    assert source.notes.examples == [f"{source.name}, line 2: the last line is not complete"]


def test_ground_truth_is_rows_of_id_and_label(tmp_path: Path) -> None:
    lines = [
        {
            "groundTruthData": {"data": str(i), "encoding": "CSV"},
            "eventMetadata": {"eventId": f"e{i}"},
            "eventVersion": "0",
        }
        for i in range(3)
    ]
    source = open_source(events(tmp_path / "a.jsonl", *lines), reading=Reading(outputs=("label",)))
    assert read(source).rows() == [("e0", 0), ("e1", 1), ("e2", 2)]


def hourly(folder: Path) -> Path:
    for number, hour in enumerate(("2024/01/31/22", "2024/01/31/23", "2024/02/01/00", "2024/02/01/01")):
        events(folder / hour / f"{number}.jsonl", event(number, side(str(number))))
    return folder


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        (None, None, [0, 1, 2, 3]),
        (datetime(2024, 1, 31, 23, tzinfo=UTC), None, [1, 2, 3]),
        (None, datetime(2024, 2, 1, 0, tzinfo=UTC), [0, 1]),
        (datetime(2024, 1, 31, 23, 30, tzinfo=UTC), datetime(2024, 2, 1, 0, 30, tzinfo=UTC), [1, 2]),
        (datetime(2025, 1, 1, tzinfo=UTC), None, []),
    ],
)
def test_only_the_hours_that_are_asked_for(tmp_path: Path, start: datetime, end: datetime, hours: list[int]) -> None:
    source = open_source(str(hourly(tmp_path / "variant")), reading=Reading(start=start, end=end))
    found = read(source)
    assert (found["_c0"].to_list() if found.width else []) == hours
    assert source.notes.files == len(hours)


def test_a_folder_says_what_its_files_say(tmp_path: Path) -> None:
    hourly(tmp_path / "v")
    events(tmp_path / "v/2024/02/01/02/x.jsonl", event(1, side("1")), "broken")
    events(tmp_path / "v/2024/02/01/02/_SUCCESS", "")
    source = open_source(str(tmp_path / "v"))
    assert read(source).height == 5
    assert source.notes.dropped == 1
    assert source.keys >= {"eventId"}
    assert len(source.origin.files) == 5


def test_a_range_of_time_needs_folders_of_hours(tmp_path: Path) -> None:
    events(tmp_path / "v/a.jsonl", event(1, side("1")))
    with pytest.raises(UsageError, match="not in a folder of an hour"):
        open_source(str(tmp_path / "v"), reading=Reading(start=datetime(2024, 1, 1, tzinfo=UTC)))


def test_folders_lists_and_patterns(tmp_path: Path) -> None:
    for i in range(3):
        pl.DataFrame({"a": [i]}).write_parquet(tmp_path / f"{i}.parquet")
    pl.DataFrame({"b": [9]}).write_csv(tmp_path / "3.csv")
    whole = read(open_source(str(tmp_path)))
    assert whole["a"].to_list() == [0, 1, 2, None]
    some = [str(tmp_path / "2.parquet"), tmp_path / "0.parquet"]
    assert read(open_source(some))["a"].to_list() == [2, 0]
    pattern = open_source(str(tmp_path / "*.parquet"))
    assert pattern.rows == 3
    assert read(pattern)["a"].to_list() == [0, 1, 2]
    with pytest.raises(UsageError, match="no file is named like"):
        open_source(str(tmp_path / "*.orc"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no files"):
        open_source(str(tmp_path / "empty"))


def test_what_a_file_is_must_be_known(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_bytes(b"\x00\x01")
    with pytest.raises(UsageError, match="not known what"):
        open_source(str(tmp_path / "a.xyz"))
    with pytest.raises(UsageError, match="no kind of data 'xml'"):
        open_source(str(tmp_path / "a.xyz"), kind="xml")
    (tmp_path / "b").write_text("a,b\n1,2\n")
    assert read(open_source(str(tmp_path / "b"), kind="csv")).rows() == [(1, 2)]


def test_a_time_that_no_calendar_has_in_utc_is_odd_and_no_crash(tmp_path: Path) -> None:
    path = events(
        tmp_path / "a.jsonl",
        event(1, side("1,2"), inferenceTime="0001-01-01T00:00:00+14:00"),
        event(2, side("3,4"), inferenceTime="2026-01-01T00:00:00Z"),
    )
    assert read(open_source(path))["inferenceTime"].len() == 2


def test_a_row_at_a_time_that_no_calendar_has_in_utc_is_left_out_and_told() -> None:
    times = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:30:00+00:00"]
    rows = open_source(pl.DataFrame({"at": times, "x": [1, 2, 3]}))
    within = Within(rows, "at", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert [x for frame in within.frames() for x in frame["x"]] == [3]
    assert any("2 row(s)" in remark for remark in within.notes.remarks)
    assert within.notes.rows == 1
