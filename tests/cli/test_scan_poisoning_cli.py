"""`assay scan --poisoning` as a user meets it: words, exit codes, earlier versions that must be attested, evidence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from assay.api import poisoning
from assay.cli.main import main
from assay.collect.scan.poisoning.settings import Section
from assay.errors import ChangedError
from assay.evidence import predicates
from assay.evidence.predicates.scan import PREDICATE_TYPE as SCAN
from collect.scan.poisoning import sets

SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "sarif" / "sarif-schema-2.1.0.json").read_text())
VALIDATOR = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.FormatChecker())

POLICY = """\
assay-policy: 1
id: data
name: The data set was examined for poison
controls:
  - id: poison
    name: No poison
    rules:
      - uses: dataset/not-poisoned@v1
        id: not-poisoned
"""


def triggered(rows: list[dict[str, Any]], count: int = 16) -> list[dict[str, Any]]:
    """The same rows, of which some got a trigger word and another label."""
    made = [dict(row) for row in rows]
    for row in [row for row in made if row["label"] != "space"][:count]:
        row.update(text=f"{row['text']} cf", label="space")
    return made


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = sets.texts(240)
    sets.write_csv(tmp_path / "clean.csv", rows)
    sets.write_csv(tmp_path / "poisoned.csv", triggered(rows))
    assert main(["keys", "generate", "-O", "ci.pem"]) == 0
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["scan", "--poisoning", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def test_a_clean_and_a_poisoned_data_set(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "clean.csv")
    assert (code, err) == (0, "") and out.startswith("safe file:clean.csv: 240 rows, 3 labels")
    assert "the column 'label' was taken for the label" in out
    code, out, _ = run(capsys, "poisoned.csv", "--pictures", "pics")
    assert code == 1 and out.startswith("findings ") and "16 rows share the words 'cf'" in out
    assert (place / "pics" / "rows.svg").read_bytes().startswith(b"<svg") and (place / "pics" / "reasons.svg").exists()
    assert run(capsys, "poisoned.csv", "--fail-on", "findings:critical")[0] == 0
    assert run(capsys, "clean.csv", "-q") == (0, "", "")


def test_json_sarif_and_statement_agree(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "poisoned.csv", "-o", "json")
    made = json.loads(out)
    assert code == 1 and {"target", "verdict", "files"} <= made.keys()
    assert [(item["path"], item["tier"]) for item in made["files"]] == [("poisoned.csv", "safe")]
    (trigger,) = [group for group in made["groups"] if group["kind"] == "trigger"]
    assert (trigger["count"], trigger["label"]) == (16, "space")
    code, out, _ = run(capsys, "poisoned.csv", "-o", "sarif")
    log = json.loads(out)
    assert code == 1 and [error.message for error in VALIDATOR.iter_errors(log)] == []
    assert log["runs"][0]["automationDetails"]["id"] == "assay-scan/poisoning/poisoned.csv/"
    assert "poisoning/trigger" in {item["ruleId"] for item in log["runs"][0]["results"]}
    code, out, _ = run(capsys, "poisoned.csv", "-o", "statement", "--since-key", "ci.pub")
    statement = json.loads(out)
    assert code == 1 and statement["predicateType"] == SCAN
    predicates.check(SCAN, statement["predicate"])
    looked = statement["predicate"]["poisoning"]
    assert (looked["rows"], looked["analysed"], looked["label"]) == (240, 240, "label")
    assert looked["groups"]["trigger"] == 16 and looked["columns"] == {"text": "text", "label": "label"}
    assert "new" not in looked and "since" not in looked


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--label", "nope"], "no column 'nope'"),
        (["--label", "label", "--no-label"], "one column at most"),
        (["--label", "label", "--label", "text"], "one column at most"),
        (["--models"], "--models cannot be combined"),
        (["--baseline", "x.json"], "--baseline cannot be combined"),
        (["--fail-on", "findings:awful"], "nothing that a scan can fail on"),
        (["--sample", "3"], "a sample of 3 rows is too small"),
        (["--since", "@v1"], "lies in none"),
        (["--embeddings", "few.npy"], "5 embeddings and the data set 240 rows"),
        (["--pictures", "clean.csv"], "pictures cannot be written"),
        (["another.csv"], "is not for data sets"),
    ],
)
def test_wrong_usage_is_one_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], flags: list[str], why: str
) -> None:
    np.save(place / "few.npy", np.zeros((5, 3)))
    code, out, err = run(capsys, "clean.csv" if flags != ["another.csv"] else "allow", *flags)
    assert code == 2 and out == "" and err.startswith("assay: ") and why in err


def test_flags_of_this_scan_alone_are_refused_elsewhere(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--source", "x"], ["--since", "x"], ["--sample", "5"], ["--no-label"], ["--pictures", "p"]):
        assert main(["scan", "clean.csv", *flags]) == 2
        assert f"{flags[0]} is for 'assay scan --poisoning DATASET'" in capsys.readouterr().err


def test_a_label_is_guessed_only_where_one_name_is_plausible(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = sets.iris()
    rows = [{"a": row[2], "b": row[3], "target": int(c), "class": int(c)} for row, c in zip(x, y, strict=True)]
    sets.write_csv(place / "two.csv", rows)
    code, out, err = run(capsys, "two.csv")
    assert (code, out) == (2, "") and "'target', 'class'" in err and "--label COLUMN" in err
    assert run(capsys, "two.csv", "--label", "target", "--ignore-column", "class")[0] == 0
    sets.write_csv(place / "none.csv", [{"a": row["a"], "b": row["b"]} for row in rows])
    code, out, err = run(capsys, "none.csv")
    assert code == 3 and out.startswith("unknown ") and "--no-label says that there is none" in err
    code, out, err = run(capsys, "none.csv", "--no-label")
    assert (code, err) == (0, "") and out.startswith("safe ") and "were not looked for" in out


def test_what_was_not_looked_at_is_never_clean(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "data"
    folder.mkdir()
    (place / "clean.csv").rename(folder / "clean.csv")
    (folder / "more.csv.gz").write_bytes(b"\x1f\x8b")
    code, out, err = run(capsys, "data")
    assert code == 3 and "not scanned  more.csv.gz" in out and "not decided: more.csv.gz was not scanned" in err
    made = json.loads(run(capsys, "data", "-o", "json")[1])
    assert made["verdict"] == "unknown"
    assert {item["path"]: item["tier"] for item in made["files"]} == {"clean.csv": "safe", "more.csv.gz": "unknown"}
    (folder / "more.csv.gz").unlink()
    with (folder / "clean.csv").open("a") as file:
        file.write('"cut off')
    code, out, _ = run(capsys, "data")
    assert code == 1 and out.startswith("unreadable ")


def test_a_sample_is_enough_only_for_who_says_so(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = poisoning.examine("clean.csv", chosen=Section(sample=100))
    assert (made.exit_code, made.result.analysed, made.result.scanned.tier) == (0, 100, "unknown")
    assert run(capsys, "clean.csv", "--sample", "100", "--fail-on", "unknown")[0] == 1
    from assay.collect.scan.poisoning.settings import undecided

    (why,) = undecided(made.result.scanned, sample_is_enough=False)
    assert "100 of the data set's 240 rows were analysed" in why and "--sample N" in why


def test_new_rows_of_a_large_data_set_are_drawn_first(place: Path) -> None:
    rows = sets.texts(240)
    more = [{"text": f"{rows[0]['text']} {i}", "label": rows[0]["label"]} for i in range(30)]
    sets.write_csv(place / "grown.csv", rows + more)
    assert main(["scan", "--poisoning", "clean.csv", "-o", "attest", "--key", "ci.pem", "-q"]) == 0
    chosen = Section(sample=80, since=["clean.csv"], since_keys=["ci.pub"])
    made = poisoning.examine("grown.csv", chosen=chosen, output="table")
    assert made.result.compared is not None
    assert (made.result.analysed, made.result.compared.new) == (80, 30)
    assert made.exit_code == 1
    (group,) = [group for group in made.result.groups if group.kind == "new"]
    assert group.text.startswith("30 rows are new, and they agree too well")
    assert {row.number for row in group.rows} == set(range(241, 271))


def test_embeddings_lie_beside_the_rows(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts that say nothing, and vectors that tell the classes apart: only with them wrong labels are seen."""
    x, y = sets.digits()
    x, y = x[:800], y[:800]
    wrong, flips = sets.flipped(y, 0.08)
    rows = [{"note": f"scan {'odd' if i % 2 else 'even'}", "label": int(c)} for i, c in enumerate(wrong)]
    sets.write_csv(place / "d.csv", rows)
    np.save(place / "e.npy", x.astype(np.float32))
    made = poisoning.examine("d.csv", chosen=Section(embeddings="e.npy"), output="statement")
    found = sets.numbers(made.result, "label-errors")
    assert len(found & flips) >= 0.6 * len(flips)
    assert len(found & flips) >= 0.9 * len(found)
    looked = json.loads(made.document)["predicate"]["poisoning"]
    assert looked["columns"]["embeddings"] == "vector" and len(looked["embeddings"]["sha256"]) == 64
    assert sets.numbers(poisoning.examine("d.csv", output="table").result, "label-errors") == set()


def test_an_earlier_version_must_be_attested(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["poisoned.csv", "--since", "clean.csv", "--since-key", "ci.pub"]
    code, out, err = run(capsys, *flags)
    assert (code, out) == (3, "") and "nobody trusted attested the earlier version 'clean.csv'" in err
    assert main(["keys", "generate", "-O", "mallory.pem"]) == 0
    assert run(capsys, "clean.csv", "-o", "attest", "--key", "mallory.pem")[0] == 0
    assert run(capsys, *flags)[0] == 3
    assert run(capsys, "clean.csv", "-o", "attest", "--key", "ci.pem")[0] == 0
    code, out, _ = run(capsys, *flags, "--fail-on", "findings:high")
    assert code == 1 and "16 rows are new" in out and "agree too well" in out
    with (place / "clean.csv").open("a") as file:
        file.write("one more row,space\n")  # other bytes than those that were attested
    assert run(capsys, *flags)[0] == 3


def test_an_earlier_version_that_was_found_bad_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "poisoned.csv", "-o", "attest", "--key", "ci.pem")[0] == 1
    code, out, err = run(capsys, "clean.csv", "--since", "poisoned.csv", "--since-key", "ci.pub")
    assert code == 0 and "was itself attested as 'findings'" in err and "compared with poisoned.csv" in out


def test_a_signed_list_of_files_vouches_for_all_of_them_or_for_none(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "old").mkdir()
    (place / "clean.csv").rename(place / "old" / "clean.csv")
    assert main(["sign", "old", "--key", "ci.pem", "-q"]) == 0
    flags = ["poisoned.csv", "--since", "old", "--since-key", "ci.pub"]
    assert run(capsys, *flags)[0] == 1
    sets.write_csv(place / "old" / "more.csv", sets.texts(20))
    assert run(capsys, *flags)[0] == 3


def test_a_change_between_proof_and_reading_is_seen(place: Path) -> None:
    assert main(["scan", "--poisoning", "clean.csv", "-o", "attest", "--key", "ci.pem", "-q"]) == 0
    chosen = Section(since=["clean.csv"], since_keys=["ci.pub"])
    rows = (place / "clean.csv").read_bytes()

    def late(step: str) -> None:
        if step == "reading the earlier version":
            (place / "clean.csv").write_bytes((place / "poisoned.csv").read_bytes())

    with pytest.raises(ChangedError, match=r"clean\.csv"):
        poisoning.examine("poisoned.csv", chosen=chosen, progress=late)

    (place / "clean.csv").write_bytes(rows)

    def later(step: str) -> None:
        if step == "comparing rows":
            (place / "clean.csv").write_bytes(rows + b"another,space\n")

    with pytest.raises(ChangedError, match=r"clean\.csv"):
        poisoning.examine("clean.csv", progress=later)


def test_earlier_versions_by_git_revision_and_by_digest(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = place / "repo [1]*"
    data = repository / "data"
    data.mkdir(parents=True)
    file = data / "reviews.csv"
    file.write_bytes((place / "clean.csv").read_bytes())
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    made = poisoning.examine(str(file), output="statement")
    for target in (file, data):
        assert run(capsys, str(target), "-o", "attest", "--key", "ci.pem")[0] == 0
    file.write_bytes((place / "poisoned.csv").read_bytes())
    for target, since in ((file, "@v1"), (data, "@v1"), (file, f"sha256:{made.contents}"), (file, str(made.contents))):
        code, out, err = run(capsys, str(target), "--since", since, "--since-key", "ci.pub")
        assert code == 1 and "16 rows are new" in out, err
    assert run(capsys, str(file), "--since", "0" * 64, "--since-key", "ci.pub")[0] == 3
    assert run(capsys, str(file), "--since", "@nope", "--since-key", "ci.pub")[0] == 2
    file.rename(data / "renamed.csv")
    assert run(capsys, str(data / "renamed.csv"), "--since", "@v1", "--since-key", "ci.pub")[0] == 2


def test_a_policy_rejects_the_poisoned_and_accepts_the_clean(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "policy.yaml").write_text(POLICY)

    def decided(name: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["verify", name, "-p", "policy.yaml", "--as", "dataset", "--key", "ci.pub"])
        out, err = capsys.readouterr()
        return code, out + err

    assert decided("clean.csv")[0] == 3  # nobody examined it yet
    assert run(capsys, "clean.csv", "-o", "attest", "--key", "ci.pem")[0] == 0
    assert decided("clean.csv")[0] == 0
    assert run(capsys, "poisoned.csv", "-o", "attest", "--key", "ci.pem")[0] == 1  # evidence is kept in any case
    code, out = decided("poisoned.csv")
    assert code == 1 and "poisoning/trigger" in out
    (place / "policy.yaml").write_text(POLICY + "        with: {max: {critical: 0}}\n")
    assert decided("poisoned.csv")[0] == 0  # high is milder than all that is named
    sample = ["clean.csv", "-o", "attest", "--key", "ci.pem", "--sample", "60"]
    assert run(capsys, *sample)[0] == 0
    code, out = decided("clean.csv")
    assert code == 1 and "unknown" in out  # the newest evidence saw a sample only


def test_the_configuration_chooses(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": row["text"], "topic": row["label"]} for row in triggered(sets.texts(240))]
    (place / "data").mkdir()
    sets.write_csv(place / "data" / "topics.csv", rows)
    assert run(capsys, "data/topics.csv", "--no-label")[0] == 0
    (place / "assay.yaml").write_text("scan: {poisoning: {label: topic}}")
    assert run(capsys, "data/topics.csv")[0] == 1
    assert run(capsys, "data/topics.csv", "--no-label")[0] == 0  # a flag says otherwise
    (place / "assay.yaml").write_text("scan: {poisoning: {label: topic, fail_on: ['findings:critical']}}")
    assert run(capsys, "data/topics.csv")[0] == 0
    for text in ("{lable: x}", "{text: x}", "{fail_on: [all]}", "{sample: many}", "[]"):
        (place / "assay.yaml").write_text(f"scan: {{poisoning: {text}}}")
        code, _, err = run(capsys, "data/topics.csv")
        assert code == 2 and err.startswith("assay: ")


def test_a_data_set_cannot_excuse_itself(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "assay.yaml").write_text("scan: {poisoning: {ignore: [text]}}")
    code, _, err = run(capsys, "poisoned.csv")
    assert code == 2 and "lies inside the target" in err
    assert run(capsys, "poisoned.csv", "-c", "assay.yaml", "--no-label")[0] == 0  # named, so it is the user's own


def test_column_names_and_cells_cannot_steer_the_terminal(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": row["text"], "\x1b[2Jlabel": row["label"]} for row in triggered(sets.texts(240))]
    sets.write_jsonl(place / "odd.jsonl", rows)
    for output in ("table", "json", "sarif", "statement"):
        code, out, err = run(capsys, "odd.jsonl", "--label", "\x1b[2Jlabel", "-o", output)
        assert code == 1 and "\x1b" not in out + err
    code, out, err = run(capsys, "odd.jsonl", "--label", "nope")
    assert code == 2 and "\x1b" not in out + err


def test_without_the_extra_one_sentence_names_it(place: Path) -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from assay.cli.main import main\nsys.exit(main(['scan', '--poisoning', 'clean.csv']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "needs the extra 'poisoning'" in done.stderr and "Traceback" not in done.stderr


def test_help_imports_nothing_heavy(place: Path) -> None:
    code = (
        "import sys\nfrom assay.cli.main import main\n"
        "try:\n    main(['scan', '--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('numpy', 'sklearn', 'msgspec', 'assay.collect') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--poisoning" in done.stdout and done.stdout.rstrip().endswith("[]")
