from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.cli.main import main
from assay.collect.profile.sources.opening import open_source
from assay.errors import DocumentError, UsageError
from assay.guard.gateway.capture import Capturer, Draw, check, open_capture
from assay.guard.gateway.capture.places import part
from assay.guard.gateway.capture.tables import ABOUT, LARGEST
from assay.guard.gateway.capture.writer import AGAIN, OPEN
from assay.guard.gateway.interface import Answers, Context, Route, Table, Verb
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.keeping import Capture, Masking
from assay.guard.gateway.settings.serving import RouteSettings
from assay.guard.gateway.settings.words import Bytes, Seconds
from collect.profile.reading import read
from guard.gateway.capture.samples import AT, asked, capturer, events, files, sample

STAMP = r"[0-9]{2}-[0-9]{2}-[0-9]{3}-[0-9a-f-]{36}"


def traffic(count: int, shift: float, seed: int) -> list[np.ndarray]:
    chance = np.random.default_rng(seed)
    return [
        np.column_stack([chance.integers(18, 80, 4), chance.normal(shift, 1, 4).round(3)]).astype(float)
        for _ in range(count)
    ]


def fill(one: Capturer, rows: Sequence[np.ndarray]) -> None:
    for number, block in enumerate(rows):
        one.see(*asked(number, block))


def test_an_event_has_sagemakers_form_and_place(tmp_path: Path) -> None:
    one, said = capturer(tmp_path, format=("jsonl",))
    one.see(sample(), None, None)
    one.close()
    found = files(tmp_path)
    where = found[0].relative_to(tmp_path).as_posix()
    assert re.fullmatch(rf"jsonl/assay/credit/2026/09/21/14/{STAMP}\.jsonl", where)
    event = events(tmp_path)[0]
    caller = event["eventMetadata"].pop("customAttributes")[0]
    assert event == {
        "captureData": {
            "endpointInput": {
                "observedContentType": "application/json",
                "mode": "INPUT",
                "data": '{"instances": [{"age": 30, "x": 0.5}]}',
                "encoding": "JSON",
            },
            "endpointOutput": {
                "observedContentType": "application/json",
                "mode": "OUTPUT",
                "data": '{"predictions": [1]}',
                "encoding": "JSON",
            },
        },
        "eventMetadata": {
            "eventId": "00000000-0000-0000-0000-000000000001",
            "inferenceId": "request-0",
            "inferenceTime": "2026-09-21T14:13:20Z",
        },
        "eventVersion": "0",
    }
    assert re.fullmatch(r"caller=[0-9a-f]{32}", caller)
    assert (one.figures.captured, said) == (1, [])


def test_every_encoding_is_read_back(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("jsonl",))
    one.see(sample(1, request_type=b"text/csv; charset=utf-8", request=b"30,0.5\n", response=b"[1]"), None, None)
    one.see(sample(2, request_type=b"image/png", request=b"\x89PNG\xff", answer_type=b"", response=b"1"), None, None)
    one.see(sample(3, request=b'{"a": "\xff"}'), None, None)
    one.close()
    sides = [event["captureData"]["endpointInput"] for event in events(tmp_path)]
    assert [side["encoding"] for side in sides] == ["CSV", "BASE64", "BASE64"]
    assert base64.b64decode(sides[1]["data"]) == b"\x89PNG\xff"
    found = read(open_source(str(files(tmp_path)[0])))
    assert found.select("_c0", "_c1", "output_0").rows() == [(30, 0.5, 1)]


def test_tensors_of_the_open_inference_protocol_are_rows(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("jsonl",))
    table = b'{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2.5,3,4.5]}]}'
    nested = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[[5,6.5]]}]}'
    answer = b'{"outputs":[{"name":"p","shape":[%d],"datatype":"FP32","data":%s}]}'
    one.see(sample(1, request=table, response=answer % (2, b"[0.1,0.9]")), None, None)
    one.see(sample(2, request=nested, response=answer % (1, b"[0.5]")), None, None)
    wrong = b'{"inputs":[{"name":"x","shape":[9,9],"datatype":"FP32","data":[1]}]}'
    one.see(sample(3, request=wrong, response=answer % (1, b"[0.5]")), None, None)
    one.close()
    source = open_source(str(tmp_path / "jsonl"))
    assert read(source).select("_c0", "_c1", "output_0").rows() == [(1, 2.5, 0.1), (3, 4.5, 0.9), (5, 6.5, 0.5)]
    assert source.notes.dropped == 1
    several = b'{"inputs":[{"name":"age","shape":[2,1],"data":[30,40]},{"name":"v","shape":[2,2],"data":[1,2,3,4]}]}'
    one.see(sample(4, request=several, response=answer % (2, b"[0.1,0.9]"), model="other"), None, None)
    one.close()
    found = read(open_source(str(tmp_path / "jsonl" / "assay" / "other")))
    assert found.select("age", "v_0", "v_1").rows() == [(30, 1, 2), (40, 3, 4)]


@pytest.mark.parametrize(
    "tensor",
    [
        '{"name":"x","shape":[1000000000000,0],"data":[]}',
        '{"name":"x","shape":[],"data":[1]}',
        '{"name":"x","shape":[true],"data":[1]}',
        '{"name":"x","shape":[-1,-1],"data":[1]}',
        '{"name":"x","shape":["2"],"data":[1,2]}',
        '{"name":"x","shape":[2],"data":[[1],2]}',
        '{"name":"x","shape":[1],"data":[1]},{"name":"y","shape":[2],"data":[1,2]}',
    ],
)
def test_a_tensor_that_lies_about_itself_is_left_out(tensor: str, tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("jsonl",), output=False)
    one.see(sample(0, request=f'{{"inputs":[{tensor}]}}'.encode()), None, None)
    one.see(sample(1, request=b'{"inputs":[{"name":"x","shape":[1],"data":[7]}]}'), None, None)
    one.close()
    source = open_source(str(tmp_path / "jsonl"))
    assert read(source)["_c0"].to_list() == [7]
    assert source.notes.dropped == 1


@pytest.mark.parametrize("named", ["{", "5", '{"a": 1}', "[1, null]"])
def test_metadata_of_strangers_name_no_keys(named: str, tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    pl.DataFrame({"x": [1.5]}).write_parquet(path, metadata={"assay.keys": named})
    source = open_source(path)
    assert source.keys == frozenset() and read(source).rows() == [(1.5,)]


def test_parquet_has_named_columns_and_says_which_of_them_are_no_data(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",))
    rows = np.array([[30.0, 0.5], [60.0, np.nan]])
    given, _, answers = asked(1, rows)
    one.see(
        given, Table(np.column_stack([rows, [np.nan] * 2]), ("age", "x", "city"), {"city": ["Ulm", "Rom"]}), answers
    )
    one.close()
    (path,) = files(tmp_path)
    where = path.relative_to(tmp_path).as_posix()
    assert re.fullmatch(rf"parquet/assay/credit/2026/09/21/14/{STAMP}\.parquet", where)
    found = pl.read_parquet(path, glob=False)
    assert found.columns == [*ABOUT, "age", "x", "city", "prediction", "probabilities"]
    assert found.select("age", "x", "city", "prediction").rows() == [(30, 0.5, "Ulm", 0), (60, None, "Rom", 1)]
    assert found["probabilities"].to_list() == [[1.0, 0.0], [0.0, 1.0]]
    assert found["inferenceTime"][0] == datetime(2026, 9, 21, 14, 13, 21, 250_000, UTC)
    assert found["inferenceId"].to_list() == ["request-1"] * 2
    assert found["eventId"][0] == "00000000-0000-0000-0000-000000000002"
    assert "ada" not in found["caller"][0]
    assert open_source(str(path)).keys == set(ABOUT)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_the_monitor_reads_captures_as_they_are(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, shift, seed in (("first", 0.0, 1), ("same", 0.0, 2), ("moved", 1.5, 3)):
        one, _ = capturer(tmp_path / name, format=(kind,))
        fill(one, traffic(300, shift, seed))
        one.close()
        assert one.figures.captured == 300
    assert main(["baseline", f"first/{kind}", "-O", "baseline.json", "-q"]) == 0
    check = ["monitor", "check", "--baseline", "baseline.json", "-q", "--topic", "drift", "--data"]
    assert main([*check, f"same/{kind}"]) == 0
    assert main([*check, f"moved/{kind}"]) == 1
    hour = ["--start", "2026-09-21T14:00:00Z", "--end", "2026-09-21T15:00:00Z"]
    assert main([*check, f"same/{kind}", "--time", "inferenceTime", *hour]) == 0
    assert main([*check, f"moved/{kind}", "--time", "inferenceTime", *hour]) == 1


def test_features_alone_are_held_against_training_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    training = np.concatenate(traffic(300, 0.0, 1))
    pl.DataFrame({"age": training[:, 0].astype(int), "x": training[:, 1]}).write_parquet("training.parquet")
    assert main(["baseline", "training.parquet", "-O", "baseline.json", "-q"]) == 0
    one, _ = capturer(tmp_path / "c", format=("parquet",), output=False)
    fill(one, traffic(300, 0.0, 2))
    one.close()
    assert main(["monitor", "check", "--baseline", "baseline.json", "-q", "--data", "c/parquet"]) == 0


def test_a_file_has_one_schema(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",))
    for number in range(6):
        rows = np.ones((1, 2 + number % 2))
        names = ("age", "x", "y")[: 2 + number % 2]
        one.see(sample(number), Table(rows, names), Answers(np.array([1])))
    one.see(sample(7), Table(np.ones((1, 2))), Answers(np.array([1]), np.ones((1, 2))))
    one.close()
    found = sorted((frame.columns[6:], frame.height) for frame in map(pl.read_parquet, map(str, files(tmp_path))))
    assert found == [
        (["_c0", "_c1", "prediction", "probabilities"], 1),
        (["age", "x", "prediction"], 3),
        (["age", "x", "y", "prediction"], 3),
    ]


def test_a_column_that_held_a_fraction_never_is_an_integer_again(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",), roll=Seconds(60))
    for number, value in enumerate((1.0, 1.5, 2.0)):
        at = AT + number * 100
        one.see(sample(number, at=at), Table(np.array([[value]]), ("x",)), None)
        one.tick(at + 99)
    types = [pl.read_parquet_schema(path)["x"] for path in sorted(files(tmp_path), key=lambda p: p.stat().st_mtime_ns)]
    assert types == [pl.Int64, pl.Float64, pl.Float64]


def test_wide_rows_are_one_column_of_vectors(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",))
    one.see(sample(), Table(np.ones((2, 3072))), Answers(np.array([1, 2])))
    one.close()
    found = pl.read_parquet(files(tmp_path)[0])
    assert found.columns[6:] == ["features", "prediction"] and len(found["features"][0]) == 3072


def test_names_that_are_ours_do_not_collide(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",))
    one.see(sample(), Table(np.ones((1, 2)), ("eventId", "prediction")), Answers(np.array([5])))
    one.close()
    found = pl.read_parquet(files(tmp_path)[0])
    assert found.select("input.eventId", "prediction", "output.prediction").rows() == [(1, 1, 5)]


def test_files_end_by_time_and_by_hour_and_are_not_seen_before(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, roll=Seconds(300))
    fill(one, traffic(1, 0, 1))
    one.tick(AT + 1)
    assert files(tmp_path) == []
    one.tick(AT + 299)
    assert files(tmp_path) == []
    one.tick(AT + 301)
    assert [path.suffix for path in files(tmp_path)] == [".jsonl", ".parquet"]
    one.see(*asked(3600 - 14 * 60, traffic(1, 0, 1)[0]))  # 15:00
    one.see(*asked(3600, traffic(1, 0, 1)[0]))
    one.close()
    assert {path.parent.name for path in files(tmp_path)} == {"14", "15"}


def test_a_large_file_ends_before_its_time(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("parquet",))
    one.see(sample(), Table(np.ones((LARGEST // 8 // 1000 + 1, 1000)), tuple(f"c{i}" for i in range(1000))), None)
    one.tick(AT + 1)
    assert len(files(tmp_path)) == 1


def test_open_files_are_bounded_whatever_names_come(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, format=("jsonl",))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(OPEN * 3):
        one.see(sample(number, model=f"model-{number}"), None, None)
    assert len(os.listdir("/proc/self/fd")) - before <= OPEN
    one.close()
    assert len(events(tmp_path)) == OPEN * 3


@pytest.mark.parametrize("name", ["../../../etc", "a/b", ".hidden", "_x", "", "-rf", "\x00", "é" * 300, "a\nb", "~x"])
def test_no_name_of_a_model_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    one, _ = capturer(inside, format=("jsonl",))
    one.see(sample(model=name), None, None)
    one.close()
    assert list(tmp_path.iterdir()) == [inside]
    (path,) = files(inside)
    assert len(path.relative_to(inside).parts) == 8
    assert part(name) != part(name + "x") and (name == "" or part(name) != part("model"))


def test_what_is_not_captured_is_counted(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path, limit=Bytes(50))
    one.see(sample(capture=False), None, None)
    one.see(sample(request=b"x" * 51), None, None)
    one.see(sample(response=b"x" * 51), None, None)
    one.see(sample(request=None), None, None)
    one.see(sample(rule="schema", status=422), None, None)
    one.see(sample(status=500), None, None)
    one.see(sample(), None, None)  # no table: only JSON Lines
    one.see(sample(), Table(np.ones((2, 1)), ("x",)), Answers(np.array([1, 2, 3])))
    one.close()
    got = one.figures
    assert (got.too_large, got.unanswered, got.unreadable, got.captured, got.dropped) == (3, 2, 2, 2, 0)
    assert len(events(tmp_path)) == 2 and files(tmp_path, ".parquet") == []


def test_one_side_alone(tmp_path: Path) -> None:
    one, _ = capturer(tmp_path / "in", output=False)
    one.see(sample(response=None), Table(np.ones((1, 1)), ("x",)), None)
    one.close()
    assert list(events(tmp_path / "in")[0]["captureData"]) == ["endpointInput"]
    two, _ = capturer(tmp_path / "out", input=False)
    two.see(sample(request=None), Table(np.ones((1, 1)), ("x",)), None)
    two.close()
    assert list(events(tmp_path / "out")[0]["captureData"]) == ["endpointOutput"]
    assert (two.figures.captured, two.figures.unreadable) == (1, 0)
    with pytest.raises(UsageError, match="Parquet"):
        capturer(tmp_path / "none", input=False, format=("parquet",))


CRASHING = """
import os, sys
from pathlib import Path
from guard.gateway.capture.samples import AT, asked, capturer
import numpy as np
one, _ = capturer(Path(sys.argv[1]))
for number in range(20):
    one.see(*asked(number, np.ones((2, 2))))
    if number == 9:
        one.tick(AT + 1)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_crash_loses_at_most_a_second_of_json_lines_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
    running = subprocess.Popen(
        [sys.executable, "-c", CRASHING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert running.stdin is not None and running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    unfinished = next(path for path in tmp_path.rglob(".*.jsonl.tmp"))
    capturer(tmp_path)  # another one starts while it is alive, and leaves its files alone
    assert unfinished.exists() and files(tmp_path) == []
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdin.close()
    running.stdout.close()
    with unfinished.open("ab") as file:
        file.write(b'{"captureData":{"torn')
    (unfinished.parent / unfinished.name.replace("jsonl", "parquet")).write_bytes(b"PAR1")
    capturer(tmp_path)
    assert len(events(tmp_path)) == 10
    assert list(tmp_path.rglob(".*")) == []


FULL = """
import resource, sys
from pathlib import Path
from guard.gateway.capture.samples import AT, asked, capturer, events, sample
from guard.gateway.capture.samples import files
from assay.guard.gateway.capture.writer import AGAIN
import numpy as np
folder = Path(sys.argv[1])
one, said = capturer(folder)
chance = np.random.default_rng(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
for number in range(200):
    one.see(*asked(number, chance.normal(size=(50, 2)).round(6)))
    one.tick(AT + 1 + number / 100)
print(len(said), one.figures.dropped > 150, "has stopped: File too large" in said[0] or "No space" in said[0])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
one.tick(AT + 3 + AGAIN)
before = one.figures.captured
one.see(*asked(300, np.ones((2, 2))))
one.close()
print(one.figures.captured - before, all(e["eventVersion"] == "0" for e in events(folder)))
print(len(files(folder, ".parquet")), len(list(folder.rglob(".*"))))
"""


def test_a_full_disk_stops_capture_with_a_word_and_nothing_else(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1 True True", "1 True", "1 0"]
    assert AGAIN == 60


def test_only_old_files_of_our_own_are_deleted(tmp_path: Path) -> None:
    folder, outside = tmp_path / "c", tmp_path / "outside"
    one, _ = capturer(folder, keep=Seconds(3600))
    fill(one, traffic(1, 0, 1))
    one.close()
    outside.mkdir()
    ours = files(folder)
    assert len(ours) == 2
    names = [ours[0].name, "notes.txt", "x.jsonl"]
    for place in (outside, ours[0].parent, folder / "jsonl" / "elsewhere"):
        place.mkdir(exist_ok=True)
        for name in names[0 if place != ours[0].parent else 1 :]:
            (place / name).write_text("not yours")
    (folder / "jsonl" / "assay" / "link").symlink_to(outside)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            os.utime(path, (AT, AT))
    one.tick(AT + 3599)
    assert all(path.exists() for path in ours)
    one.tick(AT + 3700)
    assert not any(path.exists() for path in ours)
    assert len(list(outside.iterdir())) == len(list((folder / "jsonl" / "elsewhere").iterdir())) == 3
    assert sorted(path.name for path in ours[0].parent.iterdir()) == ["notes.txt", "x.jsonl"]
    assert not ours[1].parent.exists() and (folder / "parquet" / "assay").exists()


def test_settings_say_whether_there_is_capture(tmp_path: Path) -> None:
    assert open_capture(Settings(), b"k", print) is None
    one = open_capture(Settings(capture=Capture(folder="c"), directory=str(tmp_path)), b"k", print)
    assert one is not None and (tmp_path / "c").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be kept"):
        open_capture(Settings(capture=Capture(folder="file"), directory=str(tmp_path)), b"k", print)


def test_settings_are_checked_without_a_trace(tmp_path: Path) -> None:
    check(Settings())
    check(Settings(capture=Capture(folder="c"), directory=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DocumentError, match="is no path"):
        check(Settings(capture=Capture(folder="c", masking=(Masking(field="$x", do="drop"),))))
    with pytest.raises(UsageError, match="Parquet"):
        check(Settings(capture=Capture(folder="c", input=False, format=("parquet",))))


def drawn(share: float, count: int, seed: int | None = 1, capture: bool = True, **sides: bool) -> int:
    route = RouteSettings(protocol="sagemaker", capture=capture)
    draw = Draw(Settings(capture=Capture(folder="c", sample=share, **sides), routes=(route,)), seed)
    context = Context("POST", b"/invocations", {b"x-request-id": b"always-me"}, "192.0.2.7", AT)
    context.route = Route("sagemaker", Verb.INFER, "", "", "/invocations", 0)
    return sum(draw.draw(context) for _ in range(count))


def test_the_draw_is_fair_and_nobodys_but_ours() -> None:
    assert drawn(100, 20_000) == 20_000
    assert drawn(0, 20_000) == 0
    for share in (1, 20, 50):
        got, expected = drawn(share, 40_000), 400 * share
        assert abs(got - expected) < 5 * (40_000 * share / 100 * (1 - share / 100)) ** 0.5
    assert drawn(100, 10, capture=False) == 0
    assert drawn(100, 10, input=False, output=False) == 0
    # nothing that a caller sends repeats a draw: the same request, drawn differently with another seed
    assert len({drawn(50, 64, seed) for seed in range(20)}) > 5
    assert len({drawn(50, 1000, None) for _ in range(10)}) > 1


def test_a_worker_that_draws_and_counts_loads_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "import assay.guard.gateway.capture, assay.guard.gateway.logs, assay.guard.gateway.metrics\n"
        "print([n for n in ('polars', 'numpy', 'pyarrow', 'opentelemetry', 'prometheus_client') if n in sys.modules])\n"
    )
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.stdout == "[]\n", done.stderr


def test_a_text_that_no_file_holds_takes_no_other_row_along(tmp_path: Path) -> None:
    one, said = capturer(tmp_path, format=("parquet",))
    for number, city in enumerate(("Ulm", "\ud800", "Rom")):
        one.see(sample(number), Table(np.array([[30.0, np.nan]]), ("age", "city"), {"city": [city]}), None)
    one.close()
    assert [pl.read_parquet(path, glob=False)["city"].to_list() for path in files(tmp_path)] == [["Ulm", "Rom"]]
    assert (one.figures.captured, one.figures.unreadable, said) == (2, 1, [])


def test_a_file_that_cannot_be_made_takes_no_other_file_along(tmp_path: Path) -> None:
    one, said = capturer(tmp_path, format=("parquet",))
    one.see(sample(0), Table(np.array([[30.0, 1.0]]), ("age", "\ud800")), None)
    for number in range(1, 4):
        one.see(sample(number), Table(np.array([[30.0, float(number)]]), ("age", "x")), None)
    one.close()
    (kept,) = files(tmp_path)
    assert pl.read_parquet(kept, glob=False)["x"].to_list() == [1, 2, 3]
    assert one.figures.dropped == 1 and said == ["1 captured requests could not be written: UnicodeEncodeError"]


def test_a_disk_that_is_gone_and_a_file_that_cannot_be_made_are_both_said(tmp_path: Path) -> None:
    one, said = capturer(tmp_path, format=("parquet",))
    one.see(sample(0), Table(np.array([[30.0, 1.0]]), ("age", "x")), None)
    one.see(sample(1), Table(np.array([[30.0, 1.0]]), ("age", "\ud800")), None)
    (tmp_path / "parquet").write_bytes(b"no folder")
    one.close()
    assert one.figures.dropped == 2 and len(said) == 2
    assert "could not be written: UnicodeEncodeError" in said[0] and "has stopped: " in said[1]
