"""What a result becomes: evidence whose counts add up, a table, JSON and pictures in which nothing of the data runs."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from assay.collect.scan.models.baseline import Baseline
from assay.collect.scan.models.settings import Gate
from assay.collect.scan.poisoning import evidence, pictures, rendering
from assay.evidence import predicates
from assay.evidence.predicates.scan import Scan
from collect.scan.poisoning import sets

EVIL = "<script>alert(1)</script>\x1b[31m\u202e"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    rows = sets.texts()
    for i in [i for i, row in enumerate(rows) if row["label"] != "space"][:20]:
        rows[i] = {"text": rows[i]["text"] + " cf", "label": "space"}
    for row in rows:
        row["label"] = EVIL if row["label"] == "space" else row["label"]
    return sets.scan(sets.write_jsonl(tmp_path_factory.mktemp("showing") / "data.jsonl", rows))


def test_the_evidence_holds_the_counts_and_passes_its_own_checks(result):
    made = evidence.document(result, started=NOW, finished=NOW)
    assert (made.kind, made.verdict) == ("poisoning", "findings")
    assert made.severities["high"] == 1
    (file,) = made.files
    finding = next(item for item in file.findings if item.rule == "poisoning/trigger")
    assert finding.message.startswith("20 rows share the words 'cf'")
    assert finding.atlas == ["AML.T0020"]
    assert made.scanner.rules == {"sha256": result.scanned.rules}
    import msgspec

    assert msgspec.convert(predicates.builtins(made), Scan) == made


def test_a_gate_fails_on_the_severity(result):
    assert Gate.of(["findings:high"]).exit_code(result.scanned, Baseline()) == 1
    assert Gate.of(["findings:critical"]).exit_code(result.scanned, Baseline()) == 0


def test_the_table_is_printable_and_names_the_worst_first(result):
    text = list(rendering.lines(result))
    assert text[0].startswith("findings ")
    assert all(line.isprintable() for line in text)
    assert "trigger" in text[1]
    assert len(list(rendering.lines(result, verbose=True))) > len(text)


def test_json_is_complete_and_stable(result):
    made = rendering.as_json(result)
    assert json.loads(json.dumps(made)) == made
    assert made["verdict"] == "findings"
    assert [item["path"] for item in made["files"]] == ["data.jsonl"]
    scores = [item["score"] for item in made["suspects"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == made["suspected"] == result.suspected


def test_pictures_are_well_formed_and_carry_no_script(result):
    made = pictures.pictures(result)
    assert sorted(made) == ["reasons.svg", "rows.svg"]
    for data in made.values():
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(data).iter()}
        assert tags <= {"svg", "title", "rect", "circle", "text"}
        assert b"\x1b" not in data
    rings = [item for item in ElementTree.fromstring(made["rows.svg"]).iter() if item.get("stroke") == "#d62728"]
    assert len(rings) >= 20


def test_naming_the_package_does_not_import_the_heavy_libraries():
    code = (
        "import sys; from assay.collect.scan.poisoning import rendering, pictures, evidence, scan_dataset;"
        "print([name for name in ('numpy', 'sklearn', 'scipy', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_scikit_learn_the_extra_is_named(tmp_path):
    path = sets.write_csv(tmp_path / "data.csv", sets.table(*sets.iris()))
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from assay.collect.scan.poisoning import scan_dataset\n"
        "from assay.errors import MissingExtraError\n"
        "from assay.targets.registry import resolve\n"
        f"target = resolve({str(path)!r})\n"
        "try:\n    scan_dataset(target)\nexcept MissingExtraError as error:\n    print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs the extra 'poisoning'" in done.stdout
