"""The guide's examples are read as they stand."""

from __future__ import annotations

import re
from pathlib import Path

from assay import strict_yaml
from assay.watch.alarms.documents import SPELLINGS
from assay.watch.alarms.evaluate import evaluate
from assay.watch.alarms.reading import alarm, check_together
from assay.watch.alarms.states import State
from assay.watch.metrics.export.settings import parse
from assay.watch.metrics.store import open_store
from watch.alarms.test_alarm_tables import TREATMENTS, points
from watch.alarms.test_alarm_tables import alarm as an_alarm

GUIDE = (Path(__file__).parents[3] / "docs" / "alarms.md").read_text(encoding="utf-8")
EXAMPLES = [strict_yaml.loads(text.encode(), "guide") for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.S)]


def test_alarms() -> None:
    found = [tuple(map(alarm, example["alarms"])) for example in EXAMPLES if "alarms" in example]
    assert len(found) == 4
    for alarms in found:
        check_together(alarms)


def test_table_of_missing_data() -> None:
    """What the guide prints is what happens, for each state before."""
    rows = re.findall(r"^\| `((?:[0X-] ){4}[0X-])` \| (.*) \|$", GUIDE, re.M)
    assert len(rows) == 6
    for pattern, cells in rows:
        for treatment, cell in zip(TREATMENTS, cells.split(" | "), strict=True):
            for before in State:
                found = evaluate(an_alarm(3, treatment), points(pattern.replace(" ", "")), before)
                assert found.state == (before if cell == "as it was" else cell)


def test_exports(tmp_path: Path) -> None:
    (exports,) = [example["exports"] for example in EXAMPLES if "exports" in example]
    assert len(parse(exports, str(tmp_path), open_store(f"{tmp_path}/metrics.db"))) == 3


def test_every_key_is_explained() -> None:
    table = GUIDE.partition("## All keys")[2].partition("\n## ")[0]
    assert {key for key in SPELLINGS.values() if f"`{key}`" not in table} == set()
