from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

from assay.collect.profile import custom
from assay.collect.profile.interface import Custom
from assay.errors import AssayError, RejectedError, UsageError

FRAME = pl.DataFrame({"a": list(range(100)), "b": [f"v{i % 3}" for i in range(100)], "x": [i / 7 for i in range(100)]})


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own."""
    name = f"statistics_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "import polars as pl\n"
        "from pathlib import Path\n"
        "def double(frame): return frame['a'] * 2\n"
        "def listed(frame): return [str(v) for v in frame['a']]\n"
        "def share(frame): return frame['a'] / frame['a'].sum()\n"
        "def place(frame): return pl.Series(range(frame.height))\n"
        "def short(frame): return [1]\n"
        "def broken(frame): raise KeyError('gone')\n"
        "def scalar(frame): return 5\n"
        "number = 5\n"
        "class Of:\n"
        "    @staticmethod\n"
        "    def inner(frame): return frame['b']\n"
        f"Path({str(tmp_path / 'imported')!r}).touch()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_sql_is_one_value_for_each_row() -> None:
    customs = [
        Custom("double", sql="a * 2"),
        Custom("length", sql="length(b)"),
        Custom("kind", sql="case when a < 50 then 'low; -- select' else 'high' end"),
        Custom("root", sql="sqrt(x)"),
    ]
    custom.check(customs)
    found = custom.extended(FRAME, customs)
    assert found.columns == ["a", "b", "x", "double", "length", "kind", "root"]
    assert found.row(60)[3:] == (120, 2, "high", pytest.approx((60 / 7) ** 0.5))
    assert custom.needed(customs) == {"a", "b", "x"}


@pytest.mark.parametrize(
    "sql",
    [
        "avg(a)",
        "a - avg(a)",
        "sum(a)",
        "row_number() over ()",
        "sum(a) over (order by b)",
        "first(a)",
        "count(*)",
        "(select max(a) from self)",
        "(SELECT count(*) FROM read_csv('/etc/passwd'))",
        "a in (select 1)",
        "a; drop table x",
        "1 + 1",
        "random()",
        "*",
        "",
        "a +",
        "a, b",
        "nosuchfunction(a)",
    ],
)
def test_sql_that_is_not_of_one_row_is_refused(sql: str) -> None:
    with pytest.raises(UsageError, match="no SQL expression over the columns of one row"):
        custom.check([Custom("c", sql=sql)])


@pytest.mark.parametrize("sql", ["quantile_cont(a, 0.5)", "a - quantile_cont(a, 0.5)"])
def test_sql_functions_of_other_rows_are_found_by_trying(sql: str) -> None:
    with pytest.raises(UsageError):
        custom.tried(FRAME, [Custom("c", sql=sql)])


def test_sql_that_does_not_fit_the_table_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="'c' cannot be computed"):
        custom.extended(FRAME, [Custom("c", sql="nocolumn + 1")])


def test_parts_are_the_same_as_the_whole() -> None:
    customs = [Custom("c", sql="a % 7 + x"), Custom("d", sql="upper(b)")]
    whole = custom.extended(FRAME, customs)
    custom.tried(FRAME, customs)
    parts = pl.concat([custom.extended(FRAME.slice(start, 9), customs) for start in range(0, 100, 9)])
    assert parts.equals(whole)


def test_a_row_alone_is_computed_as_among_others() -> None:
    """polars divides one row by a number, and multiplies several by its inverse."""
    frame = pl.DataFrame({"a": [round(7**12.345 * i) for i in range(1, 60)]})
    customs = [Custom("c", sql="a / 7")]
    custom.tried(frame, customs)
    parts = pl.concat([custom.extended(frame.slice(i, 1), customs) for i in range(frame.height)])
    assert parts.equals(custom.extended(frame, customs))


def test_functions_give_a_series_or_a_list(code: str) -> None:
    customs = [Custom(name, function=f"{code}:{name}") for name in ("double", "listed", "Of.inner")]
    custom.check(customs, customs)
    custom.tried(FRAME, customs)
    found = custom.extended(FRAME, customs)
    assert found.row(5)[3:] == (10, "5", "v2")
    assert custom.needed(customs) is None


def test_a_function_that_only_a_file_names_is_not_even_imported(code: str, tmp_path: Path) -> None:
    """Somebody else's baseline must not choose which code runs here."""
    named = Custom("c", function=f"{code}:double")
    for allowed in ([], [Custom("c", function="other:double")], [Custom("d", function=f"{code}:double")]):
        with pytest.raises(RejectedError, match="asks to run the function"):
            custom.check([named], allowed)
    assert not (tmp_path / "imported").exists()
    assert code not in sys.modules
    custom.check([named], [named])


@pytest.mark.parametrize("name", ["share", "place"])
def test_a_function_of_other_rows_is_refused(code: str, name: str) -> None:
    with pytest.raises(UsageError, match="depend on more than their own row"):
        custom.tried(FRAME, [Custom("c", function=f"{code}:{name}")])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("short", "gave 1 values for 100 rows"),
        ("broken", "failed: KeyError: 'gone'"),
        ("scalar", "failed"),
        ("number", "is not a function"),
        ("absent", "cannot be imported"),
    ],
)
def test_a_function_that_does_not_work_is_a_sentence(code: str, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        custom.extended(FRAME, [Custom("c", function=f"{code}:{name}")])


@pytest.mark.parametrize("place", ["nomodule_at_all:f", "nocolon", ":f", "json:", "..:f"])
def test_a_name_of_no_function_is_a_sentence(place: str) -> None:
    with pytest.raises(AssayError):
        custom.extended(FRAME, [Custom("c", function=place)])


def test_statistics_need_names_of_their_own() -> None:
    for customs in (
        [Custom("c", sql="a"), Custom("c", sql="x")],
        [Custom("", sql="a")],
        [Custom("c")],
        [Custom("c", sql="a", function="m:f")],
    ):
        with pytest.raises(UsageError):
            custom.check(customs, customs)
    with pytest.raises(UsageError, match="has the name of a column"):
        custom.extended(FRAME, [Custom("a", sql="x")])
