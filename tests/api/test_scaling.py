"""A profile that a cluster made becomes a baseline and a window, by the same words as data that are here."""

from __future__ import annotations

import json
from pathlib import Path

import dask.dataframe as dd
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest

from assay.api import scaling
from assay.api.baselines import Data, baseline, baseline_of
from assay.api.looking import Question, see
from assay.cli.main import main
from assay.collect.profile.partial import decode, partial, publish
from assay.collect.profile.spec import specify
from assay.errors import ChangedError, DocumentError, UndecidedError, UsageError
from assay.targets.digest.parts import MAGIC, Files, merge
from assay.targets.registry import resolve
from assay.watch.constraints.baseline import loads
from assay.watch.interface import Outcome, Topic


def rows(seed: int, count: int = 4000, shift: float = 0.0) -> pd.DataFrame:
    """Numbers, categories, and one name that nobody else has."""
    chance = np.random.default_rng(seed)
    words = [f"w{n}" for n in chance.integers(0, 6, count)]
    words[7] = "Ada Lovelace"
    return pd.DataFrame({"x": chance.normal(shift, 1, count), "word": words})


def spread(frame: pd.DataFrame, parts: int = 5) -> dd.DataFrame:
    """As a data set of Dask, on its threads."""
    return dd.from_pandas(frame, npartitions=parts, sort=False)


def test_a_baseline_from_a_cluster_is_that_of_one_machine(tmp_path: Path) -> None:
    state = scaling.profile(spread(rows(1)), seed=5)
    made = baseline_of([state])
    here = baseline(Data(rows(1)))
    assert made.baseline.profile.rows == here.baseline.profile.rows == 4000
    assert made.baseline.constraints == here.baseline.constraints
    file = tmp_path / "baseline.json"
    file.write_bytes(made.documents["baseline.json"])
    assert loads(file.read_bytes(), "it").state == state
    # A window, by the rules in that file: the same state as one machine's.
    window = scaling.profile(spread(rows(2)), baseline=str(file), least=1)
    assert window == partial(rows(2), loads(file.read_bytes(), "it").profile.spec)
    assert scaling.profile(spread(rows(2)), like=state) == publish(window)


def test_names_that_occur_once_do_not_leave_the_cluster() -> None:
    state = scaling.profile(spread(rows(1)), seed=5)
    assert b"Ada" not in state
    assert b"Ada" in scaling.profile(spread(rows(1)), seed=5, least=1)
    assert decode(state).columns["word"].distinct == 7  # type: ignore[union-attr]


def test_days_are_one_baseline_and_tell_how_much_days_differ() -> None:
    first = scaling.profile(spread(rows(0)), seed=5)
    days = [first, *(scaling.profile(spread(rows(day, shift=day % 2)), like=first) for day in range(1, 8))]
    wide, narrow = baseline_of(days), baseline_of([first])
    assert wide.baseline.profile.rows == 8 * 4000
    assert wide.notes == narrow.notes == ()

    # The days differ by far more than draws of one population would; a single profile cannot say so.
    assert wide.baseline.floors["columns"]["x"]["design"]["values"][-1][1] > 10
    assert not narrow.baseline.floors["columns"]["x"]["design"]
    uneven = baseline_of([*days, scaling.profile(spread(rows(9, 100)), like=first)])
    assert "differ too much in size" in uneven.notes[0]


def test_a_window_that_a_cluster_profiled_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {
        name: str(tmp_path / name) for name in ("a.state", "b.state", "same.state", "other.state", "baseline.json")
    }
    state = scaling.profile(spread(rows(1)), seed=5)
    Path(names["a.state"]).write_bytes(state)
    assert main(["baseline", "--state", names["a.state"], "-O", names["baseline.json"], "-q"]) == 0
    known = names["baseline.json"]
    Path(names["same.state"]).write_bytes(scaling.profile(spread(rows(2)), baseline=known))
    Path(names["b.state"]).write_bytes(scaling.profile(spread(rows(2, shift=0.5)), baseline=known))
    Path(names["other.state"]).write_bytes(scaling.profile(spread(rows(2)), seed=6))
    assert main(["monitor", "check", "--baseline", known, "--state", names["same.state"], "-q"]) == 0
    capsys.readouterr()
    assert main(["monitor", "check", "--baseline", known, "--state", names["b.state"], "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    # The same verdict, word for word, as of the rows themselves.
    here = see(Question(known, Data(rows(2, shift=0.5))))
    assert said["rows"] == 4000
    assert [check["message"] for look in said["looks"] for check in look["checks"]] == [
        check.message for look in here.looks for check in look.checks
    ]
    assert any(look.outcome is Outcome.VIOLATED for look in here.looks)
    assert main(["monitor", "check", "--baseline", known, "--state", names["other.state"]]) == 2
    assert "made by other rules than the baseline's" in capsys.readouterr().err
    assert main(["monitor", "check", "--baseline", known, "--state", known]) == 2
    assert "not a profile" in capsys.readouterr().err
    assert main(["monitor", "check", "--baseline", known, "--state", names["a.state"], "--topic", "poisoning"]) == 2
    assert main(["baseline", "--state", names["a.state"], "--seed", "4"]) == 2
    assert main(["baseline", "--state", names["a.state"], "-o", "attest"]) == 2
    assert main(["baseline"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_states_of_different_rules_make_no_baseline() -> None:
    one, other = (scaling.profile(spread(rows(1)), seed=seed) for seed in (5, 6))
    with pytest.raises(UsageError, match="different specs"):
        baseline_of([one, other])
    with pytest.raises(UsageError, match="no profile to merge"):
        baseline_of([])
    with pytest.raises(UsageError, match="only one of them"):
        scaling.profile(spread(rows(1)), like=one, seed=7)
    with pytest.raises(UndecidedError, match="no rows"):
        baseline_of([partial(rows(1)[:0], specify(pl.DataFrame(rows(1))))])
    with pytest.raises(DocumentError, match="not a profile"):
        baseline_of([b"nothing"])


def test_a_poisoning_question_needs_rows() -> None:
    with pytest.raises(UsageError, match="data quality and drift"):
        from assay.api.looking import _built

        _built(Question("", Data(None), topics=(Topic.POISONING,), state=b""), None, None)  # type: ignore[arg-type]


def tree(folder: Path) -> Path:
    """Files of many sizes, one of them of several segments."""
    for i in range(30):
        file = folder / f"part={i % 4}" / f"f{i}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([i]) * (i * 1000))
    (folder / "ä large.bin").write_bytes(b"x" * (9 << 20))
    return folder


@pytest.mark.parametrize("parts", [1, 4, 31])
def test_the_digests_of_a_folder_are_those_of_one_machine(tmp_path: Path, parts: int) -> None:
    place = str(tree(tmp_path))
    with resolve(place) as thing:
        whole = thing.manifest()
    made = scaling.manifest(spread(scaling.files(place).to_pandas(), parts), place)
    assert made.contents() == whole.contents()
    assert (made.names, made.sizes, made.blake3, made.segments) == (
        whole.names,
        whole.sizes,
        whole.blake3,
        whole.segments,
    )


def test_a_list_that_is_not_the_folder_gives_no_manifest(tmp_path: Path) -> None:
    place = str(tree(tmp_path))
    listed = scaling.files(place).to_pandas()
    with pytest.raises(UndecidedError, match="not those of all files"):
        scaling.manifest(spread(listed[:-1]), place)
    with pytest.raises(DocumentError, match="digested twice"):
        scaling.manifest(spread(pd.concat([listed, listed[:1]])), place)
    (tmp_path / "part=1" / "f1.bin").write_bytes(b"longer than it was" * 1000)
    with pytest.raises(ChangedError, match="changed while it was read"):
        scaling.manifest(spread(listed), place)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "link"])
def test_no_file_is_read_but_beneath_the_folder(tmp_path: Path, path: str) -> None:
    """A list that somebody has changed on its way must not make a worker read what it names."""
    from assay.errors import TargetError

    place = tree(tmp_path / "set")
    (tmp_path / "secret").write_bytes(b"a key")
    listed = scaling.files(str(place)).to_pandas()
    (place / "link").symlink_to(tmp_path / "secret")
    listed.loc[0, "path"] = path
    with pytest.raises((TargetError, UsageError)):
        scaling.manifest(spread(listed), str(place))


def test_batches_of_arrow_are_read_like_partitions_of_pandas(tmp_path: Path) -> None:
    """As Spark and Ray hand them over."""
    place = str(tree(tmp_path))
    listed = scaling.files(place).to_arrow()
    task = Files(str(tmp_path))
    pieces = [task(listed.slice(start, 10).to_batches()) for start in range(0, listed.num_rows, 10)]
    assert task([listed]) == task(listed.to_batches(3)) == merge(*(piece for piece in pieces if piece))
    assert task([]) is None


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        MAGIC,
        MAGIC + b"\xc1",
        MAGIC + msgspec.msgpack.encode([["b", "a"], [0, 0], bytes(64), bytes(64), []]),
        MAGIC + msgspec.msgpack.encode([["a"], [0], bytes(31), bytes(32), []]),
        MAGIC + msgspec.msgpack.encode([["a"], [-1], bytes(32), bytes(32), []]),
        MAGIC + msgspec.msgpack.encode([["a"], [9 << 20], bytes(32), bytes(32), []]),
        MAGIC + msgspec.msgpack.encode([["a"], [9 << 20], bytes(32), bytes(32), [[0, bytes(64)]]]),
        MAGIC + msgspec.msgpack.encode([["a"], [1], bytes(32), bytes(32), [[0, bytes(32)]]]),
    ],
)
def test_digests_that_nobody_wrote_are_refused(piece: bytes) -> None:
    with pytest.raises(DocumentError):
        merge(piece)
