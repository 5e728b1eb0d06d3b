"""Reports of other scanners: as those tools wrote them, and as an attacker would have written them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.collect.scan.models import reports
from assay.collect.scan.models.report_readers import read
from assay.errors import DocumentError
from assay.evidence import predicates
from assay.evidence.predicates.scan import PREDICATE_TYPE, Scan
from assay.targets.registry import resolve
from helpers import one_sentence, places

DATA = Path(__file__).parents[2] / "data" / "scan-reports"
NOW = datetime(2026, 12, 1, tzinfo=UTC)

FILES = {
    "evil.pkl": b"cos\nsystem\n(S'true'\ntR.",
    "safe.pkl": b"\x80\x04}\x94.",
    "readme.md": b"hello\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "demo"
    made.mkdir()
    for name, data in FILES.items():
        (made / name).write_bytes(data)
    shutil.copy(DATA / "model.pt", made / "model.pt")
    return made


def convert(target: Path, name: str, data: bytes | None = None) -> Scan:
    with resolve(str(target)) as thing:
        made = reports.convert(name, data if data is not None else (DATA / name).read_bytes(), thing.manifest(), NOW)
    predicates.check(PREDICATE_TYPE, json.loads(json.dumps(predicates.builtins(made))))
    return made


def tiers(made: Scan) -> dict[str, str]:
    return {item.path: item.tier for item in made.files} | {item.path: "skipped" for item in made.skipped}


EVERY = {"evil.pkl": "malicious", "model.pt": "malicious", "safe.pkl": "safe"}


@pytest.mark.parametrize(
    ("name", "uri", "version", "rest"),
    [
        ("modelscan.json", "https://github.com/protectai/modelscan", "0.8.8", {"readme.md": "skipped"}),
        ("modelaudit.json", "https://github.com/promptfoo/modelaudit", "unknown", {"readme.md": "safe"}),
        ("modelaudit.sarif", "https://github.com/promptfoo/modelaudit", "0.2.54", {"readme.md": "safe"}),
        (
            "picklescan.txt",
            "https://github.com/mmaitre314/picklescan",
            "unknown",
            {"safe.pkl": "skipped", "readme.md": "skipped"},  # it does not say which files it scanned
        ),
    ],
)
def test_what_a_scanner_wrote_about_a_folder(
    folder: Path, name: str, uri: str, version: str, rest: dict[str, str]
) -> None:
    made = convert(folder, name)
    assert (made.scanner.uri, made.scanner.version, made.verdict) == (uri, version, "malicious")
    assert tiers(made) == EVERY | rest
    (evil,) = [item for item in made.files if item.path == "evil.pkl"]
    assert "os.system" in [finding.call for finding in evil.findings] and evil.findings[0].severity == "critical"
    (torch,) = [item for item in made.files if item.path == "model.pt"]
    locations = [finding.location for finding in torch.findings]
    assert all(location is not None and location.member == "model/data.pkl" for location in locations)


def test_fickling_speaks_of_one_file(folder: Path) -> None:
    evil = convert(folder / "evil.pkl", "fickling.json")
    assert tiers(evil) == {"evil.pkl": "malicious"} and len(evil.files[0].findings) == 2
    assert tiers(convert(folder / "safe.pkl", "fickling-safe.json")) == {"safe.pkl": "safe"}
    with pytest.raises(DocumentError):  # of which of the files does it speak?
        convert(folder, "fickling.json")
    assert convert(folder, "fickling-safe.json").verdict == "unknown"  # of none: everything was left out


@pytest.mark.parametrize("name", ["modelscan-broken.json", "picklescan-broken.txt"])
def test_what_could_not_be_scanned_was_not(folder: Path, name: str) -> None:
    (folder / "broken.pkl").write_bytes(b"broken\n")
    made = convert(folder, name)
    (broken,) = [item for item in made.skipped if item.path == "broken.pkl"]
    assert "opcode" in broken.reason


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: parsing pickle in /srv/m/broken.pkl: at position 472, opcode b'\\x07' unknown",
        "Invalid file data.pkl in zip archive /srv/m/broken.pkl: Bad CRC-32 for file 'data.pkl'",
    ],
)
def test_a_file_that_picklescan_read_in_part_is_never_clean(folder: Path, line: str) -> None:
    (folder / "broken.pkl").write_bytes(b"broken\n")
    summary = "----------- SCAN SUMMARY -----------\nScanned files: 3\nInfected files: {0}\nDangerous globals: {0}\n"
    again = "WARNING: Invalid PyTorch magic number for file 1 != 2. Trying to scan as non-PyTorch file.\n"
    made = convert(folder, "report.txt", f"{again}{line}\n{summary.format(0)}".encode())
    assert "broken.pkl" in {item.path for item in made.skipped} and made.verdict == "unknown"
    found = "/srv/m/broken.pkl: dangerous import 'os system' FOUND (promoted by --strict)"
    made = convert(folder, "report.txt", f"{found}\n{line}\n{summary.format(1)}".encode())
    assert tiers(made)["broken.pkl"] == "malicious"


def test_one_file_that_lies_elsewhere_now(folder: Path, tmp_path: Path) -> None:
    text = (DATA / "picklescan.txt").read_bytes()
    text = b"\n".join(line for line in text.splitlines() if b"model.pt" not in line)
    text = text.replace(b"Scanned files: 3", b"Scanned files: 1").replace(
        b"Dangerous globals: 2", b"Dangerous globals: 1"
    )
    assert tiers(convert(folder / "evil.pkl", "report.txt", text)) == {"evil.pkl": "malicious"}
    clean = b"----------- SCAN SUMMARY -----------\nScanned files: 1\nInfected files: 0\nDangerous globals: 0\n"
    assert tiers(convert(folder / "safe.pkl", "report.txt", clean)) == {"safe.pkl": "safe"}


@pytest.mark.parametrize("name", ["modelaudit.json", "modelaudit.sarif"])
def test_a_report_about_other_bytes_is_refused(folder: Path, name: str) -> None:
    """modelaudit states digests: yesterday's clean report must not speak for today's file of the same name."""
    (folder / "safe.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DocumentError, match=r"other bytes"):
        convert(folder, name)


def test_a_report_about_another_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.pkl").write_bytes(b"N.")
    for name in ("modelscan.json", "modelaudit.json", "modelaudit.sarif", "picklescan.txt"):
        with pytest.raises(DocumentError, match="no file of the target") as caught:
            convert(tmp_path / "other", name)
        one_sentence(caught.value)


def test_a_path_that_fits_two_ways_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m" / "a").mkdir(parents=True)
    for name in ("a/x.pkl", "x.pkl"):
        (tmp_path / "m" / name).write_bytes(b"N.")
    text = b"/srv/a/x.pkl: dangerous import 'os system' FOUND\n"
    text += b"---- SCAN SUMMARY ----\nScanned files: 2\nDangerous globals: 1\n"
    with pytest.raises(DocumentError, match="may be about"):
        convert(tmp_path / "m", "report.txt", text)


def changed(name: str, change: Callable[[Any], object]) -> bytes:
    document = json.loads((DATA / name).read_bytes())
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("modelscan.json", lambda d: d["issues"].pop()),  # a finding was cut out; the summary still counts it
        ("modelscan.json", lambda d: d["issues"][0].pop("source")),
        ("modelscan.json", lambda d: d["errors"].append({"description": "of no file"})),
        ("modelaudit.json", lambda d: d.update(issues=None)),
        ("modelaudit.json", lambda d: d["issues"][0].update(location="")),
        ("modelaudit.sarif", lambda d: d["runs"].append(d["runs"][0])),
        ("modelaudit.sarif", lambda d: d["runs"][0].pop("results")),
        ("modelaudit.sarif", lambda d: d["runs"][0]["results"][0].pop("locations")),
        ("modelaudit.sarif", lambda d: d["runs"][0]["tool"]["driver"].update(name="some linter")),
        ("fickling.json", lambda d: d.update(severity="FINE")),
    ],
)
def test_reports_that_do_not_hold_together_are_refused(
    folder: Path, name: str, change: Callable[[Any], object]
) -> None:
    with pytest.raises(DocumentError) as caught:
        convert(folder, name, changed(name, change))
    one_sentence(caught.value)


def test_a_severity_that_nobody_knows_is_the_worst(folder: Path) -> None:
    data = changed("modelscan.json", lambda d: [issue.update(severity="COSMETIC") for issue in d["issues"]])
    assert tiers(convert(folder, "r.json", data))["evil.pkl"] == "malicious"


def test_a_run_that_failed_shows_nothing(folder: Path) -> None:
    def failed(document: Any) -> None:
        document["runs"][0]["invocations"][0]["executionSuccessful"] = False

    made = convert(folder, "r.sarif", changed("modelaudit.sarif", failed))
    assert tiers(made)["safe.pkl"] == "skipped" and tiers(made)["evil.pkl"] == "malicious"
    made = convert(folder, "r.json", changed("modelaudit.json", lambda d: d.update(success=False)))
    assert tiers(made)["safe.pkl"] == "skipped" and tiers(made)["evil.pkl"] == "malicious"


def test_a_report_from_the_future_has_no_future_time(folder: Path) -> None:
    data = changed("modelscan.json", lambda d: d["summary"].update(timestamp="2099-01-01T00:00:00"))
    assert convert(folder, "r.json", data).finished == NOW


def test_messages_cannot_steer_a_terminal(folder: Path) -> None:
    data = changed("modelscan.json", lambda d: [issue.update(description="\x1b[2Jx\ny") for issue in d["issues"]])
    for item in convert(folder, "r.json", data).files:
        assert all(finding.message.isprintable() for finding in item.findings)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"words", b"\xff\xfe", b'{"summary": {}}', b"<a/>"])
def test_what_is_no_report_is_refused(folder: Path, data: bytes) -> None:
    with pytest.raises(DocumentError) as caught:
        convert(folder, "r.json", data)
    one_sentence(caught.value)


def test_our_own_predicate_is_no_foreign_report(folder: Path) -> None:
    own = predicates.builtins(convert(folder, "modelscan.json"))
    assert not reports.foreign("own.json", json.dumps(own).encode())
    for path in DATA.glob("*.*n*"):
        assert path.suffix not in (".json", ".sarif") or reports.foreign(path.name, path.read_bytes())
    assert reports.foreign("picklescan.txt", (DATA / "picklescan.txt").read_bytes())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_fuzz(folder: Path, data: st.DataObject) -> None:
    """Whatever stands at any place of a report: a predicate that holds together, or one sentence."""
    name = data.draw(st.sampled_from(["modelscan.json", "modelaudit.json", "modelaudit.sarif", "fickling.json"]))
    document = json.loads((DATA / name).read_bytes())
    paths = list(places(document))
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(paths))
        value = document
        try:
            for key in above:
                value = value[key]
            value[last] = data.draw(
                st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.just([]), st.just({}))
            )
        except (KeyError, TypeError, IndexError):
            continue  # an earlier change took the place away
    raw = json.dumps(document).encode()
    try:
        report = read("report.json", raw)
    except DocumentError as error:
        one_sentence(error)
        return
    assert isinstance(report.version, str)
    try:
        convert(folder / "evil.pkl" if name.startswith("fickling") else folder, "report.json", raw)
    except DocumentError as error:
        one_sentence(error)
