"""What monitors find, as a policy meets it: a good run is accepted; drift, alarms, silence and age are not."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars
import pytest

from assay.api import tending, watching
from assay.api.deciding import Deciding, decide
from assay.api.keeping import open_store
from assay.api.signers import SignWith
from assay.cli.main import main
from assay.errors import DocumentError, UndecidedError
from assay.watch import settings
from assay.watch.schedule.ledger import State
from monitor_making import hour, live, make, write

POLICY = """\
assay-policy: 1
id: served
signers:
  monitors: {keys: [key.pub]}
controls:
- id: watched
  rules:
  - {uses: monitoring/RULE@v1, with: {kind: KIND, max-age: 2h, signed-by: [monitors]}}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make(tmp_path, [0.0, 1.0, 1.0, 0.0])
    write(tmp_path)
    for rule in ("no-alarm", "fresh"):
        for kind in ("drift", "data-quality"):
            (tmp_path / f"{rule}-{kind}.yml").write_text(POLICY.replace("RULE", rule).replace("KIND", kind))
    return tmp_path


def signing(place: Path, key: str = "key.pem") -> tending.Signing:
    return tending.Signing(SignWith(key=str(place / key)), str(place / "evidence"))


def turn(place: Path, now: datetime) -> tuple[list[tuple[str, watching.Ended]], tending.Tended]:
    monitors = settings.load(str(place / "monitors.yml"))
    ended = watching.due(monitors, "test", signing=signing(place), clock=lambda: now)
    return ended, tending.tend(monitors, signing=signing(place), clock=lambda: now)


def verdict(place: Path, rule: str, now: datetime, kind: str = "drift", **how: Any) -> str:
    where = Deciding(**(how or {"directory": str(place / "evidence")}))
    made = decide("model", f"{rule}-{kind}.yml", where, now=now)
    return str(made.verdict)


def kept(place: Path, kind: str) -> list[dict[str, Any]]:
    """The predicates of this type, oldest first."""
    with open_store(str(place / "evidence")) as store:
        assert not store.check().problems
        read = [json.loads(store.read(entry))["dsseEnvelope"]["payload"] for entry in store.find()]
    found = [json.loads(base64.b64decode(text)) for text in read]
    return [one["predicate"] for one in reversed(found) if kind in one["predicateType"]]


def test_the_life_of_a_model_as_its_policy_sees_it(place: Path) -> None:
    later = timedelta(minutes=5)
    with pytest.raises(UndecidedError):
        verdict(place, "no-alarm", hour(1))
    turn(place, hour(1) + later)
    for kind in ("drift", "data-quality"):
        assert verdict(place, "no-alarm", hour(1) + later, kind) == "pass"
        assert verdict(place, "fresh", hour(1) + later, kind) == "pass"
    assert verdict(place, "no-alarm", hour(3) + later) != "pass"  # too old
    assert verdict(place, "fresh", hour(3) + later) != "pass"
    assert verdict(place, "no-alarm", hour(0)) != "pass"  # from the future

    turn(place, hour(2) + later)
    assert verdict(place, "no-alarm", hour(2) + later) == "fail"
    assert verdict(place, "fresh", hour(2) + later) == "pass"  # it is watched, whatever was found
    _, tended = turn(place, hour(3) + later)
    assert [(one.old, one.new) for one in tended.transitions] == [("OK", "ALARM")]
    assert [entry.state for entry in tended.actions] == ["done"]
    ended, _ = turn(place, hour(4) + later)
    assert ended[0][1].state is State.COMPLETED
    # The window is good again, and the alarm on the last three is not.
    assert kept(place, "monitoring")[-1]["status"] == "alarm"
    assert verdict(place, "no-alarm", hour(4) + later) == "fail"
    action = kept(place, "action")
    assert len(action) == 1 and action[0]["outcome"] == "done" and action[0]["cause"]["alarm"] == "credit drifts"


def test_a_run_that_saw_too_little_is_no_good_news(place: Path) -> None:
    live([0.0], 600).vstack(live([0.0, 0.0], 600).tail(20)).write_parquet(place / "live.parquet")
    turn(place, hour(1))
    assert verdict(place, "no-alarm", hour(1)) == "pass"
    ended, _ = turn(place, hour(2))
    assert ended[0][1].state is State.UNDECIDED
    assert {one["status"] for one in kept(place, "monitoring")} == {"ok", "undecided"}
    assert verdict(place, "no-alarm", hour(2)) != "pass"
    assert verdict(place, "fresh", hour(2)) != "pass"


def test_a_window_without_rows_is_no_good_news(place: Path) -> None:
    live([0.0]).write_parquet(place / "live.parquet")
    turn(place, hour(1))
    turn(place, hour(2))
    assert verdict(place, "no-alarm", hour(2)) != "pass"


def test_words_of_a_stranger_do_not_count(place: Path) -> None:
    """Stops: an attacker who writes good reports into the store with a key of his own."""
    main(["keys", "generate", "-O", "other.pem"])
    turn(place, hour(2))
    assert verdict(place, "no-alarm", hour(2)) == "fail"
    live([0.0, 0.0]).write_parquet(place / "live.parquet")
    monitors = settings.load(str(place / "monitors.yml"))
    watching.run(monitors, "credit", hour(2), signing=signing(place, "other.pem"), now=hour(2) + timedelta(minutes=1))
    assert len(kept(place, "monitoring")) == 4
    assert verdict(place, "no-alarm", hour(2) + timedelta(minutes=2)) == "fail"


def test_another_model_is_not_the_one_that_was_watched(place: Path) -> None:
    turn(place, hour(1))
    (place / "model" / "weights.bin").write_bytes(b"others")
    assert verdict(place, "no-alarm", hour(1)) != "pass"
    (place / "model" / "weights.bin").write_bytes(b"weights")
    assert verdict(place, "no-alarm", hour(1)) == "pass"


def test_a_report_that_nobody_signed_is_no_evidence(place: Path) -> None:
    """Stops: a report without signature, and one that says something else than what was signed."""
    turn(place, hour(2))
    with open_store(str(place / "evidence")) as store:
        bundles = [json.loads(store.read(entry)) for entry in store.find()]
    bundle = next(one for one in bundles if b'"drift"' in base64.b64decode(one["dsseEnvelope"]["payload"]))
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    (place / "report.json").write_bytes(payload)
    rule = "- {id: seen, require: {evidence: monitoring, signed-by: monitors, where: ['samples > 1']}}"
    head, _, _ = POLICY.partition("  - {uses")
    (place / "seen-drift.yml").write_text(f"{head}  {rule}\n")
    with pytest.raises(DocumentError):
        verdict(place, "seen", hour(2), signature="report.json")
    (place / "report.json").write_text(json.dumps(bundle))
    assert verdict(place, "seen", hour(2), signature="report.json") == "pass"
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload.replace(b"600", b"900")).decode()
    (place / "report.json").write_text(json.dumps(bundle))
    assert verdict(place, "seen", hour(2), signature="report.json") != "pass"


def test_the_baseline_is_evidence_about_its_data(place: Path, capsys: Any) -> None:
    data = ("train.parquet", "-O", "attested.json", "-o", "attest", "--key", "key.pem", "-d", "evidence")
    assert main(["baseline", *data]) == 0
    stated = kept(place, "baseline")[0]
    made = json.loads((place / "attested.json").read_bytes())
    assert stated["profile"]["digest"]["sha256"] == made["state"]["sha256"] and stated["rows"] == 3000
    (place / "p.yml").write_text(
        "assay-policy: 1\nid: d\nsigners:\n  us: {keys: [key.pub]}\ncontrols:\n- id: c\n  rules:\n"
        "  - {id: based, require: {evidence: baseline, signed-by: us, where: ['rows >= 3000']}}\n"
    )
    verify = ["verify", "train.parquet", "-p", "p.yml", "-d", "evidence", "--as", "dataset"]
    assert main(verify) == 0
    polars.read_parquet("train.parquet").head(2999).write_parquet("train.parquet")
    assert main(verify) != 0
    capsys.readouterr()
