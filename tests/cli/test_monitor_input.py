"""Bad input to `assay baseline` and `assay monitor check`: each has an answer, an exit code and a sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from assay.watch.constraints import baseline
from monitor_making import call, make, table

ROWS = 600


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("things"))


@pytest.fixture
def place(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return things


def check(capsys: Any, place: Path, data: polars.DataFrame | str, *more: str) -> tuple[int, str, str]:
    if isinstance(data, polars.DataFrame):
        data.write_parquet("window.parquet")
        data = "window.parquet"
    base = () if "--baseline" in more else ("--baseline", str(place / "baseline.json"))
    return call(capsys, "monitor", "check", *base, "--data", data, *more)


def test_data_like_the_baseline_hold_and_others_do_not(place: Path, capsys: Any) -> None:
    assert check(capsys, place, table(ROWS, 1))[0] == 0
    code, out, _ = check(capsys, place, table(ROWS, 1, shift=1.0))
    assert code == 1 and "!! drift:psi: balance: " in out


def test_too_few_rows_are_no_answer(place: Path, capsys: Any) -> None:
    for count in (0, 1):
        code, out, _ = check(capsys, place, table(ROWS).head(count))
        assert code == 3 and f"the window has {count} rows" in out and "ok" not in out
    assert check(capsys, place, table(ROWS).head(1), "--least", "1")[0] == 3


SPOILED: list[tuple[str, Callable[[polars.DataFrame], polars.DataFrame], str]] = [
    ("all missing", lambda rows: rows.clear(ROWS), "completeness channel: 0.0000%"),
    ("no type", lambda rows: rows.with_columns(age=polars.lit(None)), "completeness age: 0.0000%"),
    ("missing column", lambda rows: rows.drop("age"), "column age: the column is in the baseline and not"),
    ("new column", lambda rows: rows.with_columns(new=polars.lit(1)), "extra-column new: "),
    ("infinity", lambda rows: rows.with_columns(balance=polars.lit(float("inf"))), "(up to inf)"),
    ("minus infinity", lambda rows: rows.with_columns(balance=polars.lit(float("-inf"))), "(up to -inf)"),
    ("not a number", lambda rows: rows.with_columns(balance=polars.lit(float("nan"))), "completeness balance: 0.0000%"),
    ("another type", lambda rows: rows.with_columns(age=polars.lit("abc")), "Only 0.0000% of data is Integral"),
    ("megabytes", lambda rows: rows.head(60).with_columns(channel=polars.lit("x" * 1_000_000)), "domain channel: 60"),
    (
        "all different",
        lambda rows: rows.with_columns(channel=polars.int_range(ROWS).cast(polars.String) + "x"),
        "domain channel: 600",
    ),
]


@pytest.mark.parametrize(("spoil", "said"), [case[1:] for case in SPOILED], ids=[case[0] for case in SPOILED])
def test_a_spoiled_window_is_a_violation(
    place: Path, capsys: Any, spoil: Callable[[polars.DataFrame], polars.DataFrame], said: str
) -> None:
    code, out, _ = check(capsys, place, spoil(table(ROWS, 2)))
    assert code == 1 and said in out, out
    assert max(map(len, out.splitlines())) < 1100


def test_types_mixed_in_one_column(place: Path, capsys: Any) -> None:
    odd = [1, "x", None, 1.5, {"a": 1}, [1], True, 10**30]
    lines = [{"age": odd[i % 8], "balance": 1000 + i, "channel": ["web", 1, None][i % 3]} for i in range(ROWS)]
    Path("mixed.jsonl").write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode() + b"{bad\n\xff\n")
    code, out, err = check(capsys, place, "mixed.jsonl")
    assert code == 1 and "!! type age: " in out and "2 line(s) could not be read" in err
    code, out, _ = call(capsys, "baseline", "mixed.jsonl", "-O", "mixed.json")
    assert code == 0 and f"{ROWS} rows" in out


def test_very_many_different_values_stay_small(place: Path, capsys: Any) -> None:
    many = polars.DataFrame({"id": polars.int_range(200_000, eager=True).cast(polars.String)})
    many.write_parquet("many.parquet")
    assert call(capsys, "baseline", "many.parquet", "-O", "many.json", "--column", "id")[0] == 0
    assert Path("many.json").stat().st_size < 100_000
    assert 0.8 < baseline.load("many.json").profile.columns["id"].distinct / 200_000 < 1.2  # type: ignore[union-attr]


def test_one_instant_in_three_time_zones_is_one_profile(place: Path, capsys: Any) -> None:
    # Across the hour that comes twice in Berlin.
    first = datetime(2026, 10, 24, 12, tzinfo=UTC)
    moments = polars.DataFrame({"at": [first + timedelta(minutes=i) for i in range(ROWS * 4)]})
    digests = set()
    for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata"):
        moments.with_columns(polars.col("at").dt.convert_time_zone(zone)).write_parquet("zone.parquet")
        code, out, _ = call(capsys, "baseline", "zone.parquet", "-O", "zone.json", "--json", "--seed", "1")
        digests.add(json.loads(out)["digest"])
        assert code == 0
        window = ("--time", "at", "--start", "2026-10-25T02:30:00+02:00", "--end", "2026-10-25T02:30:00+01:00")
        out = check(capsys, place, "zone.parquet", "--baseline", "zone.json", *window)[1]
        assert "(60 rows" in out
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("empty.csv", b"", 2, "is empty"),
        ("head.csv", b"age,balance,channel\n", 3, "0 rows"),
        ("empty.jsonl", b"", 3, "0 rows"),
        ("empty.parquet", b"", 2, "not a Parquet file"),
        ("cut.parquet", b"PAR1" + bytes(100), 2, "cut.parquet"),
        ("zero.csv", b"a,b\n\x00,1\n", 1, "column age"),
        ("odd.bin", b"abc", 2, "it is not known what odd.bin is"),
    ],
)
def test_files_that_are_hardly_any(place: Path, capsys: Any, name: str, content: bytes, code: int, said: str) -> None:
    Path(name).write_bytes(content if name != "zero.csv" else content + b"x,2\n" * ROWS)
    found, out, err = check(capsys, place, name)
    assert (found, said in out + err) == (code, True), out + err


def test_a_file_that_is_being_written_is_not_half_believed(place: Path, capsys: Any) -> None:
    """Stops: half of a window that is taken for the whole."""
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time\n"
            "out = open('growing.csv', 'w', buffering=1)\n"
            "out.write('age,balance,channel\\n' + '30,1000.0,web\\n' * 100_000)\n"
            "print('begun', flush=True)\n"
            "while True:\n"
            "  out.write('30,1000.0,web\\n' * 10)\n"
            "  time.sleep(0.0005)",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert writer.stdout is not None and writer.stdout.readline() == b"begun\n"
        # Where the writer gets no time to write while it is read, it is a whole file: then once more.
        seen = (check(capsys, place, "growing.csv") for _ in range(100))
        err = next(err for code, _, err in seen if code == 2)
        assert "growing.csv" in err and "changed" in err, err
        made = Path("growing.json")
        for _ in range(100):
            made.unlink(missing_ok=True)
            code, _, err = call(capsys, "baseline", "growing.csv", "-O", "growing.json")
            assert made.exists() == (code == 0), err
            if code == 2:
                break
        assert code == 2 and "changed" in err, err
    finally:
        writer.kill()
        writer.communicate()


def edited(place: Path, change: Callable[[dict[str, Any]], Any]) -> str:
    document = json.loads((place / "baseline.json").read_bytes())
    change(document)
    Path("edited.json").write_text(json.dumps(document))
    return "edited.json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made.update(rows=5), "columns says other things than the state"),
        (lambda made: made["columns"][0].update(mean=1), "columns says other things than the state"),
        (lambda made: made["state"].update(bytes=1), "does not unpack"),
        (lambda made: made["state"].update(sha256="0" * 64), "another digest"),
        (lambda made: made["state"].update(data="AAAA" + made["state"]["data"][4:]), "state.data"),
        (lambda made: made.update(floors={"a": 1}), "the noise floors of the baseline cannot be read"),
        (lambda made: made.update(floors=[1]), "the noise floors of the baseline cannot be read"),
        (lambda made: made.update(more=1), "unknown key 'more'"),
        (lambda made: made["constraints"].update(more=1), "unknown key 'more'"),
        (lambda made: made.pop("constraints"), "has no key 'constraints'"),
        (lambda made: made.update({"assay-baseline": 2}), "version 2"),
    ],
)
def test_a_baseline_that_was_tampered_with_is_refused(place: Path, capsys: Any, change: Any, said: str) -> None:
    code, out, err = check(capsys, place, table(ROWS, 1), "--baseline", edited(place, change))
    assert (code, out) == (2, "") and said in err, err


@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"[]", b"{}", b"null"])
def test_files_that_are_no_baseline_are_refused(place: Path, capsys: Any, content: bytes) -> None:
    Path("other.json").write_bytes(content)
    code, out, err = check(capsys, place, table(ROWS, 1), "--baseline", "other.json")
    assert (code, out) == (2, "") and "other.json" in err


def test_a_truncated_baseline_is_refused_wherever_it_is_cut(place: Path, capsys: Any) -> None:
    whole = (place / "baseline.json").read_bytes()
    for share in range(1, 10):
        Path("cut.json").write_bytes(whole[: len(whole) * share // 10])
        code, out, err = check(capsys, place, table(ROWS, 1), "--baseline", "cut.json")
        assert (code, out) == (2, "") and "cut.json" in err


def test_the_baseline_of_another_table_never_accepts(place: Path, capsys: Any) -> None:
    other = polars.DataFrame({"x": np.arange(500), "y": ["a", "b"] * 250})
    other.write_parquet("other.parquet")
    assert call(capsys, "baseline", "other.parquet", "-O", "other.json")[0] == 0
    code, out, _ = check(capsys, place, table(ROWS, 1), "--baseline", "other.json")
    assert code == 1 and "column x: the column is in the baseline and not in the window" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("assay-constraints: 1\nfoo: 1\n", r"c\.yml:2: unknown key 'foo'"),
        ("assay-constraints: 1\nsettings: {foo: 1}\n", r"c\.yml:2: unknown key 'foo' in settings"),
        ("assay-constraints: 1\ncolumns: {age: {rnage: [1, 2]}}\n", r"c\.yml:2: unknown key 'rnage' in columns\.age"),
        ("assay-constraints: 1\ncolumns: {age: {range: [x, 2]}}\n", r"c\.yml:2: columns\.age\.range"),
        ("assay-constraints: 2\n", r"c\.yml:1: version 2"),
        ("", r"c\.yml is not a constraints file"),
        ("assay-constraints: 1\ncolumns: [age]\n", r"c\.yml:2: columns is not a mapping"),
    ],
)
def test_constraints_with_mistakes_are_refused_with_their_line(place: Path, capsys: Any, text: str, said: str) -> None:
    Path("c.yml").write_text(text)
    code, out, err = check(capsys, place, table(ROWS, 1), "--constraints", "c.yml")
    assert (code, out) == (2, "") and re.search(said, err), err


HOSTILE = [
    "a\n  !! drift: forged",
    "\x1b[31mred\x07",
    "d" * 10_000,
    "'\"$x",
    "<script>alert(1)</script>",
    "\u202eright",
    "",
]


def test_hostile_names_and_values_steer_nothing(place: Path, capsys: Any) -> None:
    """Stops: a column whose name forges a line, steers the terminal, or runs in the page."""
    draw = np.random.default_rng(0)
    rows = polars.DataFrame({name: draw.normal(size=ROWS) for name in HOSTILE})
    rows = rows.with_columns(polars.Series("word", (["<img src=x onerror=alert(1)>", "\x1b]0;t\x07"] * ROWS)[:ROWS]))
    rows.write_parquet("hostile.parquet")
    assert call(capsys, "baseline", "hostile.parquet", "-O", "hostile.json")[0] == 0
    assert call(capsys, "baseline", "hostile.parquet", "-O", "files", "-o", "sagemaker")[0] == 0
    shifted = rows.with_columns(polars.selectors.numeric() + 2)
    code, out, _ = check(
        capsys, place, shifted, "--baseline", "hostile.json", "--report", "page.html", "--sagemaker", "found",
        "--target", str(place / "model"), "--key", str(place / "key.pem"), "--verbose",
    )  # fmt: skip
    assert code == 1 and not any(line.startswith("  !! drift: forged") for line in out.splitlines())
    assert max(map(len, out.splitlines())) < 1100
    page = Path("page.html").read_text()
    assert "<script>alert" not in page and "<img src=x" not in page and "\x1b" not in page
    found = json.loads(Path("found/constraint_violations.json").read_bytes())["violations"]
    assert {one["feature_name"] for one in found} >= set(HOSTILE[:4])
    assert json.loads(check(capsys, place, shifted, "--baseline", "hostile.json", "--json")[1])["exitCode"] == 1


def test_flags_that_make_no_sense(place: Path, capsys: Any) -> None:
    rows = table(ROWS, 1).with_columns(when=polars.lit(datetime(2026, 3, 1, 0, 30)))
    hour = ("--start", "2026-03-01T00:00:00Z", "--end", "2026-03-01T01:00:00Z")
    assert check(capsys, place, rows, "--time", "when", *hour)[0] == 0
    for flags, code, said in [
        (("--time", "nope", *hour), 2, "has no column 'nope' with times"),
        (("--time", "channel", *hour), 3, f"{ROWS} row(s) have no time"),
        (("--time", "when"), 2, "--time needs --start and --end"),
        (("--start", "x", "--end", "y"), 2, "--start 'x' is no time"),
        (("--start", hour[3], "--end", hour[1]), 2, "--end is not after --start"),
        (("--start", hour[1]), 2, "a window has a --start and an --end"),
        (("--target", "nothing", "--key", str(place / "key.pem")), 2, "there is no file or folder 'nothing'"),
        (("--target", str(place / "model"), "--key", "no.pem"), 2, "no.pem"),
        (("--topic", "poisoning"), 2, "poisoning is looked for beside the data"),
        (("--topic", "poisoning", "--reference", str(place / "train.parquet")), 3, "does not say which data"),
        (("--sagemaker", "window.parquet/x"), 2, "cannot be made"),
        (("--report", "nowhere/page.html"), 2, "there is no folder nowhere"),
    ]:
        found, out, err = check(capsys, place, rows, *flags)
        assert (found, said in out + err) == (code, True), (flags, out, err)


def test_places_that_cannot_be_written(place: Path, capsys: Any) -> None:
    data = str(place / "train.parquet")
    Path("file").write_text("")
    for flags in (
        ("-O", "nowhere/b.json"),
        ("-O", "."),
        ("-o", "sagemaker", "-O", "file"),
        ("-o", "sagemaker", "-O", "file/x"),
    ):
        code, out, err = call(capsys, "baseline", data, *flags)
        assert code == 2 and err.startswith("assay: ") and ".tmp" not in err, err
    for flags in (
        ("--least", "0"),
        ("--kind", "age=colour"),
        ("--kind", "age"),
        ("--column", "nope"),
        ("--statistic", "x=nope +"),
    ):
        code, out, err = call(capsys, "baseline", data, *flags)
        assert (code, out) == (2, "") and err.startswith("assay: "), (flags, err)


def test_evidence_of_a_baseline_needs_a_key_and_files_at_rest(place: Path, capsys: Any) -> None:
    code, _, err = call(capsys, "baseline", str(place / "train.parquet"), "-o", "attest", "--key", "no.pem")
    assert code == 2 and "no.pem" in err and not Path("baseline.json").exists()


def test_reading_has_no_say_in_names(place: Path, capsys: Any) -> None:
    Path("bare.csv").write_text(
        "".join(f"{age},{balance},{channel}\n" for age, balance, channel in table(ROWS, 3).rows())
    )
    assert check(capsys, place, "bare.csv", "--columns", "age,balance,channel")[0] == 0
    assert check(capsys, place, "bare.csv", "--columns", "age,age")[0] == 2
