from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from assay.collect.profile.sources.opening import open_source
from assay.errors import AssayError, DocumentError, UndecidedError, UsageError
from collect.profile.reading import read
from ports import free_port


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (n integer, x real, s text, b blob, any)")
        rows = [(i, i / 2, f"v{i % 3}", b"\x00\xff", i if i % 2 else "odd") for i in range(40_000)]
        connection.executemany("insert into t values (?, ?, ?, ?, ?)", rows)
    connection.close()
    return f"sqlite:///{path}"


def test_rows_come_with_their_types(database: str) -> None:
    source = open_source(database, query="select n, x, s, b, any from t order by n")
    found = read(source).sort("n")
    assert found.height == 40_000
    assert dict(found.schema) == {"n": pl.Int64, "x": pl.Float64, "s": pl.String, "b": pl.String, "any": pl.String}
    assert found.row(1) == (1, 0.5, "v1", "00ff", "1")
    assert found["any"].null_count() == 0
    assert source.origin.query == "select n, x, s, b, any from t order by n"
    assert source.origin.files == (database.removeprefix("sqlite:///"),)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from t",
        "insert into t (n) values (1)",
        "drop table t",
        "attach database '{folder}/new.db' as new",
        "pragma writable_schema=1",
        "vacuum into '{folder}/new.db'",
        "select 1; delete from t",
        "create temp table x (a)",
        "select load_extension('{folder}/x')",
    ],
)
def test_a_statement_can_only_read(database: str, tmp_path: Path, statement: str) -> None:
    with pytest.raises(AssayError):
        read(open_source(database, query=statement.format(folder=tmp_path)))
    assert sorted(os.listdir(tmp_path)) == ["a.db"]
    assert read(open_source(database, query="select count(*) c from t"))["c"].to_list() == [40_000]


def test_what_sqlite_says_is_a_sentence(database: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no such column"):
        read(open_source(database, query="select absent from t"))
    with pytest.raises(DocumentError, match="unable to open"):
        read(open_source(f"sqlite:///{tmp_path}/none.db", query="select 1"))
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("this is no database at all" * 100)
    with pytest.raises(DocumentError, match="not a database"):
        read(open_source(f"sqlite:///{tmp_path}/text.db", query="select * from t"))


def test_names_that_occur_twice_and_empty_answers(database: str) -> None:
    with pytest.raises(DocumentError, match="two columns named 'n'"):
        read(open_source(database, query="select n, n from t"))
    (frame,) = open_source(database, query="select n, s from t where n < 0").frames()
    assert frame.columns == ["n", "s"]
    assert frame.height == 0


def test_what_is_missing_in_the_call_is_said(database: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a statement"):
        open_source(database)
    with pytest.raises(UsageError, match="no SQL statement"):
        open_source(database, query=" ")
    with pytest.raises(UsageError, match="scheme 'mysql'"):
        open_source("mysql://host/db", query="select 1")
    with pytest.raises(UsageError, match="is no database"):
        open_source(str(tmp_path), query="select 1")


def test_long_values_make_small_batches(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "b.db") as connection:
        connection.execute("create table t (s)")
        connection.executemany("insert into t values (?)", (["x" * (1 << 20)] for _ in range(90)))
    connection.close()
    assert read(open_source(f"sqlite:///{tmp_path}/b.db", query="select s from t")).height == 90


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL of the test's own."""
    folder = tmp_path_factory.mktemp("postgres")
    port = free_port()
    user: dict[str, object] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        home = Path(tempfile.mkdtemp(prefix="assay-", dir="/var/tmp"))
        os.chown(home, 65534, 65534)
        folder, user = home, {"user": 65534, "group": 65534, "extra_groups": []}
    data = str(folder / "data")
    (folder / "password").write_text("secret word")
    os.chmod(folder / "password", 0o644)
    make = ["initdb", "-D", data, "-U", "assay", "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "-N"]
    subprocess.run(make, check=True, capture_output=True, **user)  # type: ignore[call-overload]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run = ["pg_ctl", "-D", data, "-w", "-o", options, "-l", f"{folder}/log"]
    subprocess.run([*run, "start"], check=True, capture_output=True, **user)  # type: ignore[call-overload]
    try:
        yield f"postgresql://assay:secret%20word@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*run, "-m", "immediate", "stop"], check=True, capture_output=True, **user)  # type: ignore[call-overload]
        shutil.rmtree(folder)


def test_postgres_rows_come_with_their_types(server: str) -> None:
    statement = """
        select i as n, i / 2.0 as d, 'v' || i % 3 as s, i % 2 = 0 as b, array[i, 1.5]::float8[] as v,
               timestamptz '2024-01-01 05:00+02' as t, date '2024-01-01' as day, json_build_object('k', i) as j,
               case when i % 2 = 0 then 'NaN'::float8 else 'Infinity' end as f, null as gone,
               'NaN'::numeric as nan, interval '1 hour' as h
        from generate_series(0, 49999) as i;"""
    source = open_source(server, query=statement)
    found = read(source)
    assert found.height == 50_000
    assert found["n"].to_list() == list(range(50_000))
    assert found.schema["d"] == pl.Float64
    assert found.schema["v"] == pl.List(pl.Float64)
    assert found.schema["t"] == pl.Datetime("us", "UTC")
    assert found["t"].dt.hour().to_list()[:1] == [3]
    assert found.schema["day"] == pl.Date
    assert found["j"][3] == '{"k": 3}'
    assert found["f"].is_nan().sum() == 25_000
    assert found["nan"].is_nan().all()
    assert found["gone"].null_count() == 50_000
    assert found.schema["h"] == pl.Duration("us")
    assert "secret" not in repr((source.name, source.origin, source.notes))


@pytest.mark.parametrize(
    "statement",
    [
        "create table x (a int)",
        "select 1; create table x (a int)",
        "with y as (insert into z values (1) returning *) select * from y",
        "select setval('s', 1)",
        "copy (select 1) to '/tmp/never'",
        "select nothing",
        "select timestamp 'infinity' as t",
        "",
    ],
)
def test_postgres_statements_can_only_read(server: str, statement: str) -> None:
    with pytest.raises(AssayError) as caught:
        read(open_source(server, query=statement))
    assert "secret" not in str(caught.value)
    tables = read(open_source(server, query="select count(*) c from pg_class where relname = 'x'"))
    assert tables["c"].to_list() == [0]


def test_a_server_that_cannot_be_reached_is_undecided_and_keeps_the_password(server: str) -> None:
    for url in (server.replace("secret%20word", "another%20word"), "postgresql://u:another%20word@127.0.0.1:1/db"):
        with pytest.raises(UndecidedError, match="cannot be reached") as caught:
            read(open_source(url, query="select 1"))
        assert "another" not in str(caught.value)
