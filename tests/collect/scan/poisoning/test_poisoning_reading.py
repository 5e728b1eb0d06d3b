"""Files from strangers: every one ends in a result that names what was not seen, or in a sentence."""

from __future__ import annotations

import io
import json
import os
import pickle
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.interface import Tier
from assay.collect.scan.poisoning import Settings
from assay.collect.scan.poisoning.readers import arrays, delimited, json_lines, parquet
from assay.collect.scan.poisoning.table import content_key, plain
from assay.errors import AssayError, DocumentError, UndecidedError, UsageError
from collect.scan.poisoning import sets

X, Y = sets.iris()


class Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_an_array_of_objects_is_never_unpickled(tmp_path, suffix):
    marker = tmp_path / "marker"
    hostile = np.array([Marker(str(marker))] * 20, dtype=object)
    folder = tmp_path / "data"
    folder.mkdir()
    if suffix == "npy":
        np.save(folder / "x.npy", hostile, allow_pickle=True)
    else:
        np.savez(folder / "x.npz", x=hostile)
    sets.write_csv(folder / "data.csv", sets.table(X, Y))
    result = sets.scan(folder)
    assert not marker.exists()
    by_path = {item.path: item for item in result.files}
    assert by_path[f"x.{suffix}"].tier == Tier.UNREADABLE
    assert "Python objects" in by_path[f"x.{suffix}"].findings[0].message
    assert result.scanned.tier == Tier.UNREADABLE


def test_a_pickle_called_npy_is_refused(tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / "x.npy").write_bytes(pickle.dumps(Marker(str(marker))))
    with pytest.raises(UndecidedError, match="no array"):
        sets.scan(tmp_path / "x.npy")
    assert not marker.exists()


def _npy(shape: tuple[int, ...], descr: str = "<f8", data: bytes = b"") -> bytes:
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"shape": shape, "fortran_order": False, "descr": descr})
    return made.getvalue() + data


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (_npy((1 << 40, 4)), "cut off"),
        (_npy((1 << 40, 0)), "nothing that can be analysed"),
        (_npy((4, 1 << 40)), "nothing that can be analysed"),
        (_npy((20,), "|V8", b"x" * 160), "is no table"),
        (_npy((20,), "<c16", b"x" * 320), "is no table"),
        (_npy((20,), "|S0"), "nothing that can be analysed"),
        (_npy(()), "is no table"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "no array"),
        (b"\x93NUMPY\x09\x00\x04\x00{}  ", "version"),
    ],
)
def test_headers_that_lie(tmp_path, data, what):
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(UndecidedError, match=what):
        sets.scan(tmp_path / "x.npy")


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_BZIP2) as archive:
        with archive.open("x.npy", "w") as member:
            member.write(_npy((1 << 25, 8)))
            for _ in range(80):
                member.write(bytes(1 << 20))
    with pytest.raises(UndecidedError, match="1000 times its size"):
        sets.scan(tmp_path / "x.npz")


def test_two_members_of_one_name_are_refused(tmp_path):
    made = io.BytesIO()
    np.save(made, X)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", made.getvalue())
        archive.writestr("x.npy", made.getvalue())
    with pytest.raises(UndecidedError, match="two members"):
        sets.scan(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 fields"),
        ('a,b\n1,"2\n', "no table"),
        ("a,a\n1,2\n", "is there twice"),
        ('a,b\n1,"' + "x" * 200_000 + '"\n', "no table"),
    ],
)
def test_tables_that_two_readers_would_read_differently(tmp_path, text, what):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UndecidedError, match=what):
        sets.scan(tmp_path / "x.csv")


def test_a_line_without_an_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("assay.collect.scan.poisoning.readers.limits.MAX_LINE", 1000)
    with pytest.raises(DocumentError, match="longer than"):
        list(json_lines.rows(io.BytesIO(b"[" * 5000), "x.jsonl"))


@pytest.mark.parametrize("line", ["[1]", "{", '{"a": ' + "[" * 100_000, "nul", '"x"'])
def test_lines_that_are_no_objects(line):
    with pytest.raises(DocumentError, match="line 2"):
        list(json_lines.rows(io.BytesIO(b'{"a": 1}\n' + line.encode()), "x.jsonl"))


def test_a_row_that_cannot_be_read_makes_its_file_unreadable_and_keeps_the_rest(tmp_path):
    rows = sets.table(X, Y)
    sets.write_jsonl(tmp_path / "a.jsonl", rows[::2])
    path = sets.write_jsonl(tmp_path / "b.jsonl", rows[1::2])
    path.write_text(path.read_text()[:-20])
    result = sets.scan(tmp_path)
    assert {item.path: item.tier for item in result.files} == {"a.jsonl": Tier.SAFE, "b.jsonl": Tier.UNREADABLE}
    assert result.rows == 149


def test_what_is_no_table_is_named(tmp_path):
    sets.write_csv(tmp_path / "data.csv", sets.table(X, Y))
    sets.write_csv(tmp_path / "other.csv", [{"x": 1, "z": 2}] * 30)
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    result = sets.scan(tmp_path)
    assert {item.path: item.tier for item in result.files} == {"README.md": Tier.NONE, "data.csv": Tier.SAFE}
    assert sorted(result.scanned.skipped) == ["other.csv", "picture.png"]
    assert result.scanned.tier == Tier.UNKNOWN


def test_all_formats_say_the_same(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    y, _ = sets.flipped(Y, 0.05)
    rows = sets.table(X, y)
    sets.write_csv(tmp_path / "a.csv", rows)
    sets.write_jsonl(tmp_path / "a.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.tsv").write_text((tmp_path / "a.csv").read_text().replace(",", "\t"))
    made = [
        sets.scan(tmp_path / f"a.{suffix}", settings=Settings(seed=1)) for suffix in ("csv", "tsv", "jsonl", "parquet")
    ]
    assert len({tuple(result.labels.items()) for result in made}) == 1
    found = [sets.suspects(result, "neighbours") for result in made]
    assert found[0]
    assert all(other == found[0] for other in found)
    compared = sets.scan(tmp_path / "a.csv", baseline=tmp_path / "a.parquet").compared
    assert compared is not None
    assert (compared.new, compared.relabelled) == (0, 0)


def test_a_sample_is_never_called_safe_and_is_drawn_by_the_contents(tmp_path):
    rows = sets.table(X, Y)
    path = sets.write_csv(tmp_path / "data.csv", rows)
    result = sets.scan(path, settings=Settings(sample=60))
    assert (result.rows, result.analysed) == (150, 60)
    assert result.files[0].tier == Tier.UNKNOWN
    assert result.files[0].findings[-1].rule == "poisoning/sampled"
    assert result == sets.scan(path, settings=Settings(sample=60))
    other = sets.scan(path, settings=Settings(sample=60, seed=1))
    assert [point.x for point in other.points] != [point.x for point in result.points]


@pytest.mark.parametrize("options", [{"label": "nope"}, {"text": "nope"}, {"source": "nope"}, {"ignore": ("nope",)}])
def test_a_column_that_is_not_there_is_wrong_usage(tmp_path, options):
    path = sets.write_csv(tmp_path / "data.csv", sets.table(X, Y))
    with pytest.raises(UsageError, match="no column 'nope'"):
        sets.scan(path, **options)


def test_a_label_that_is_no_class_is_wrong_usage(tmp_path):
    rows = [{"a": i % 7, "price": i * 1.5} for i in range(200)]
    with pytest.raises(UsageError, match="it is no class"):
        sets.scan(sets.write_csv(tmp_path / "data.csv", rows), label="price")


def test_an_earlier_version_that_cannot_be_read_leaves_it_undecided(tmp_path):
    path = sets.write_csv(tmp_path / "data.csv", sets.table(X, Y))
    (tmp_path / "before.csv").write_text("a,b\n1\n")
    with pytest.raises(UndecidedError, match="earlier version"):
        sets.scan(path, baseline=tmp_path / "before.csv")


def test_odd_numbers_and_missing_values_do_not_disturb(tmp_path):
    rows = sets.table(X, Y)
    rows[3]["f0"], rows[4]["f1"], rows[5]["f2"], rows[6]["label"] = "nan", "", 1e308, ""
    rows[7]["f3"] = "inf"
    result = sets.scan(sets.write_csv(tmp_path / "data.csv", rows))
    assert result.rows == 150
    assert all(np.isfinite([point.x, point.y]).all() for point in result.points)
    assert any("1 rows have no label" in note for note in result.notes)


def test_splits_of_an_archive_are_tables_of_one_set(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=X[:100], y_train=Y[:100], x_test=X[100:], y_test=Y[100:])
    result = sets.scan(tmp_path / "d.npz")
    assert result.columns == {"x": "vector", "y": "label"}
    assert result.rows == 150


def test_content_is_the_same_in_every_type():
    texts = content_key({"a": plain("1"), "b": plain("x"), "c": plain("")}, frozenset())
    assert texts == content_key({"b": plain("x"), "a": plain(1)}, frozenset())
    vector = content_key({"v": plain(np.array([1, 2], dtype=np.uint8))}, frozenset())
    assert vector == content_key({"v": plain([1.0, 2])}, frozenset())
    assert texts != content_key({"a": plain("1b=x")}, frozenset())


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@FUZZ
@given(st.one_of(st.binary(max_size=400), st.text(alphabet='a1,"\n\r\t;|\\{}[]:.e-', max_size=400).map(str.encode)))
def test_any_bytes_end_in_rows_or_a_sentence(data):
    for reader in (delimited.rows, json_lines.rows, parquet.rows):
        try:
            for cells in reader(io.BytesIO(b"\0" * 8 + data if reader is parquet.rows else data), "x"):
                content_key({name: plain(value) for name, value in cells.items()}, frozenset())
        except DocumentError:
            pass


@FUZZ
@given(st.binary(max_size=60), st.integers(0, 150))
def test_damaged_arrays_end_in_rows_or_a_sentence(noise, at):
    made = io.BytesIO()
    np.savez_compressed(made, x=X[:5], y=Y[:5])
    whole = made.getvalue()
    at = at * len(whole) // 150
    data = whole[:at] + noise + whole[at + len(noise) :]
    try:
        for _, listed in arrays.tables(arrays.members(io.BytesIO(data), "x.npz", len(data))):
            list(arrays.rows(listed))
    except DocumentError:
        pass
    plain_array = _npy((5, 2), data=bytes(80))
    at = at % len(plain_array)
    try:
        item = arrays.array(io.BytesIO(plain_array[:at] + noise + plain_array[at + len(noise) :]), "x", "x.npy")
        for i, _ in enumerate(item.rows()):
            if i > 100:
                break
    except DocumentError:
        pass


CELL = st.one_of(
    st.none(), st.text(max_size=12), st.integers(), st.floats(), st.booleans(), st.lists(st.floats(), max_size=4)
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(st.fixed_dictionaries({"a": CELL, "b": CELL, "label": CELL}), min_size=10, max_size=40))
def test_any_table_ends_in_a_result_or_a_sentence(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        path.write_text(
            "".join(json.dumps(row) + "\n" for row in rows).replace("NaN", "null").replace("Infinity", "9e99")
        )
        try:
            result = sets.scan(path)
        except AssayError:
            return
        assert result.rows == len(rows)
        assert all(0 <= item.score <= 1 for item in result.suspects)
