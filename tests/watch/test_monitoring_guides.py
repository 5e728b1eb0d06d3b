"""The monitoring guides' files are read as they stand, and their example shows what they say it shows."""

from __future__ import annotations

import re
import runpy
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars
import pytest

from assay import strict_yaml
from assay.api import tending, watching
from assay.api.baselines import Data, baseline
from assay.cli.main import main
from assay.watch import settings
from assay.watch.constraints import reading
from assay.watch.schedule.ledger import State

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "monitoring"
GUIDE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", GUIDE, re.S)
UNTIL = datetime(2026, 3, 2, 11, tzinfo=UTC)


def test_monitors_of_the_guide_are_those_of_the_example():
    """What a reader copies is what was run."""
    shown = next(block for block in BLOCKS if "assay-monitors" in block)
    parts = [block for block in BLOCKS if block.startswith("  - name: ")]
    assert len(parts) == 2
    value = strict_yaml.loads(shown.encode(), "the guide")
    for part in parts:
        value["monitors"] += strict_yaml.loads(part.encode(), "the guide")
    assert value == strict_yaml.loads((EXAMPLE / "monitors.yml").read_bytes(), "the example")


def test_constraints_of_the_guide_are_read():
    (text,) = [block for block in BLOCKS if block.startswith("assay-constraints")]
    assert set(reading.loads(text.encode(), "the guide").columns) == {"age", "channel"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> settings.Monitors:
    """The example's folder, with the monitors' targets left out: nothing is signed."""
    folder = tmp_path_factory.mktemp("bank")
    runpy.run_path(str(EXAMPLE / "make_data.py"))["main"](folder, UNTIL)
    for data, name in (("train", "baseline"), ("labelled", "labelled"), ("tested", "predictions")):
        made = baseline(Data(str(folder / f"{data}.parquet")), name=f"{name}.json", output="statement")
        (folder / f"{name}.json").write_bytes(made.documents[f"{name}.json"])
    text = (EXAMPLE / "monitors.yml").read_text()
    (folder / "monitors.yml").write_text(re.sub(r"\n    target: model", "", text))
    return settings.load(str(folder / "monitors.yml"))


@pytest.mark.parametrize(
    ("name", "hours", "state", "said"),
    [
        ("loans", 12, State.COMPLETED, "drift holds"),
        ("loans", 0, State.COMPLETED_WITH_VIOLATIONS, "drift violated: age, amount, channel"),
        ("feedback", 12, State.COMPLETED, "poisoning holds"),
        ("feedback", 0, State.COMPLETED_WITH_VIOLATIONS, "poisoning violated: targeted-flips"),
        ("quality", 12, State.COMPLETED, "model-quality holds"),
        ("quality", 0, State.COMPLETED_WITH_VIOLATIONS, "accuracy"),
    ],
)
def test_the_example_shows_what_the_guide_says(bank, name, hours, state, said):
    ended = watching.run(bank, name, UNTIL - timedelta(hours=hours))
    assert ended.state is state
    assert said in ended.said


def test_its_alarm_would_retrain_and_does_not_while_a_suspicion_is_open(bank):
    """The attack of the guide: data that drift ask for a retraining on the attacker's labels."""
    watching.run(bank, "feedback", UNTIL)
    said = tending.rehearse(bank, "loans drift", "ALARM")  # of another monitor, and neither names a target
    assert said[1].startswith("retrain: blocked, a suspicion is open since")


def test_a_database_beside_the_monitors_file_is_read_for_its_window(bank):
    """``:start`` and ``:end`` of the guide, and a relative path after ``sqlite:///``."""
    rows = polars.read_parquet(f"{bank.directory}/live.parquet")
    with closing(sqlite3.connect(f"{bank.directory}/live.db")) as database:
        database.execute("CREATE TABLE live (age, income, amount, channel, job, at)")
        for row in rows.with_columns(polars.col("when").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).iter_rows():
            database.execute("INSERT INTO live VALUES (?, ?, ?, ?, ?, ?)", row)
        database.commit()
    text = """\
assay-monitors: 1
monitors:
  - name: database
    baseline: baseline.json
    schedule: "@hourly"
    data:
      from: sqlite:///live.db
      query: SELECT age, income, amount, channel, job FROM live WHERE at >= :start AND at < :end
"""
    place = Path(bank.directory, "database.yml")
    place.write_text(text)
    ended = watching.run(settings.load(str(place)), "database", UNTIL)
    assert ended.said == "data-quality violated: channel; drift violated: age, amount, channel"


def test_suggested_constraints_are_written_to_be_edited_and_never_over_what_was(bank, tmp_path, capsys):
    data, place = f"{bank.directory}/train.parquet", str(tmp_path / "constraints.yml")
    command = ["baseline", data, "-O", str(tmp_path / "baseline.json"), "--constraints", place]
    assert main(command) == 0
    assert reading.load(place).columns["channel"].domain == ["app", "branch", "web"]
    Path(place).write_text("assay-constraints: 1\n")
    assert main(command) == 2
    assert Path(place).read_text() == "assay-constraints: 1\n"
    assert "is there already" in capsys.readouterr().err


def test_policy_of_the_guide_is_right(tmp_path):
    (text,) = [block for block in BLOCKS if "assay-policy" in block]
    (tmp_path / "policy.yml").write_text(text)
    assert main(["policy", "check", str(tmp_path / "policy.yml")]) == 0


def test_monitors_with_captured_data_are_read(tmp_path):
    """SageMaker's guide: the part of a monitor that says where captured predictions are."""
    text = (ROOT / "docs" / "sagemaker.md").read_text(encoding="utf-8")
    (part,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    head = "assay-monitors: 1\nmonitors:\n  - name: captured\n    baseline: baseline.json\n"
    (tmp_path / "monitors.yml").write_text(head + part)
    (monitor,) = settings.load(str(tmp_path / "monitors.yml")).monitors
    assert (monitor.data.format, monitor.data.outputs) == ("captured", ("probability",))
