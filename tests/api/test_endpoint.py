"""How an endpoint was used, as evidence: what a log may look like, and what nobody may make of it."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from assay.api.endpoint import Limits, judge, observe
from assay.cli.main import main
from assay.errors import UsageError
from assay.guard.gateway.logs.summary import Summary, summarise
from assay.watch.interface import Outcome, Window
from gateway_making import attested_model, one_sentence

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
VERSION = "ab" * 32


def line(seconds=60.0, **changes):
    """A line of the log, so many seconds before `NOW`."""
    fields = {
        "requestId": "1",
        "requestTimeEpoch": f"{(NOW.timestamp() - seconds) * 1000:.0f}",
        "status": "200",
        "httpMethod": "POST",
        "resourcePath": "/v1/models/m:predict",
        "caller": "key:ann",
        "rule": "-",
        "level": "ok",
        "modelVersion": VERSION,
        "rows": "2",
        "responseLatency": "1.5",
        "verb": "infer",
    }
    return json.dumps(fields | changes) + "\n"


def look(folder, *lines, version=VERSION, limits=Limits()):  # noqa: B008 - frozen
    log = folder / "access.log"
    log.write_bytes("".join(lines).encode())
    window = Window(NOW - timedelta(hours=1), NOW)
    return judge(summarise([str(log)], window.start.timestamp(), NOW.timestamp()), window, version, limits)


def broken(found):
    return {(check.check, check.feature) for check in found.violations}


def test_a_good_hour(tmp_path):
    found = look(tmp_path, *[line() for _ in range(10)], line(rule="plan:rate", status="429", modelVersion="-"))
    assert found.outcome is Outcome.HOLDS and found.samples == 11
    assert {metric.name: metric.value for metric in found.metrics}["rows"] == 20


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ([line(modelVersion="cd" * 32)], ("endpoint:model-version", None)),
        ([line(modelVersion="-")], ("endpoint:model-version", None)),
        ([line(status="502")], ("endpoint:failures", None)),
        ([line(level="block", rule="detect", status="403", verb="-")], ("endpoint:callers", "key:ann")),
        ([line(level="harden")], ("endpoint:callers", "key:ann")),
        (["{}\n"], ("endpoint:log", None)),
        ([line()[:-30]], ("endpoint:log", None)),
        ([line(requestTimeEpoch="nan")], ("endpoint:log", None)),
        (["x" * 200_000 + "\n"], ("endpoint:log", None)),
        ([line(httpMethod="-", protocol="-", resourcePath="log-lost:7")], ("endpoint:log", None)),
    ],
)
def test_what_is_wrong_is_said(tmp_path, lines, wrong):
    found = look(tmp_path, *[line() for _ in range(10)], *lines)
    assert broken(found) == {wrong} and found.outcome is Outcome.VIOLATED
    assert not broken(look(tmp_path, *[line() for _ in range(10)]))


def test_a_tolerated_level_is_none_that_was_asked_for(tmp_path):
    found = look(tmp_path, line(level="log"))
    assert not broken(found)
    [said] = [check.message for check in found.checks if check.check == "endpoint:callers"]
    assert said == "1 caller(s) flagged, none of them treated otherwise"
    assert broken(look(tmp_path, line(level="log"), limits=Limits(tolerate=())))


def test_a_person_may_have_blocked_a_caller_as_well(tmp_path):
    found = look(tmp_path, line(), line(level="block", rule="detect", status="403"))
    assert "by a detector or a person (block)" in found.violations[0].message


def test_an_hour_without_an_answer_decides_nothing(tmp_path):
    for lines in ([], [line(7200)], [line(-60)], [line(rule="caller", status="401")]):
        assert look(tmp_path, *lines).outcome is Outcome.UNDECIDED
    assert look(tmp_path, line(rule="detect", status="403", level="block")).outcome is Outcome.VIOLATED


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attested_model(tmp_path)
    return tmp_path


def seen(**more):
    return observe(["access.log"], "model", timedelta(hours=1), sign=False, now=NOW, **more)


def test_rotated_and_packed_files_count_once_and_a_bare_name_is_enough(model):
    (model / "access.log").write_text(line() * 3)
    (model / "access.log.20260601T110000.000000001Z").write_text(line(600) * 5)
    with gzip.open(model / "access.log.20260601T110000.000000002Z.gz", "wt") as packed:
        packed.write(line(700) * 7)
    with gzip.open(model / "access.log.20260601T110000.000000003Z.gz", "wt") as packed:
        packed.write(line(800) * 11)
    (model / "access.log.20260601T110000.000000003Z").write_text(line(800) * 11)  # a crash came before its deletion
    (model / "access.log.1").write_text("not of ours\n")
    assert seen().look.samples == 3 + 5 + 7 + 11
    assert (
        observe(
            ["access.log", str(model / "access.log")], "model", timedelta(hours=1), sign=False, now=NOW
        ).look.samples
        == 26
    )


def test_a_packed_file_that_was_cut_is_unreadable_and_no_traceback(model):
    (model / "access.log").write_text(line())
    whole = gzip.compress((line() * 2000).encode())
    for number, data in enumerate((whole[: len(whole) // 2], b"no gzip at all", whole[:-4] + b"\0\0\0\0", b"")):
        place = model / f"access.log.20260601T110000.00000000{number}Z.gz"
        place.write_bytes(data)
        assert ("endpoint:log", None) in broken(seen().look) or not data
        assert seen().exit_code == 1
        place.unlink()


def test_what_is_still_being_written_is_not_taken_for_damage(model):
    """Another process holds the file's lock while it appends: the half of a line is not read."""
    import fcntl
    import threading

    log = model / "access.log"
    log.write_text(line() * 3)
    with open(log, "ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        writer.write(line().encode()[:50])
        writer.flush()
        found = []
        reader = threading.Thread(target=lambda: found.append(summarise([str(log)], 0, NOW.timestamp())))
        reader.start()
        writer.write(line().encode()[50:])
        writer.flush()
        fcntl.flock(writer, fcntl.LOCK_UN)
        reader.join()
    assert (found[0].requests, found[0].unreadable) == (4, 0)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(model, share):
    (model / "access.log").write_text(line(status="500"))
    with pytest.raises(UsageError, match="share"):
        seen(limits=Limits(share))


def test_evidence_of_it_and_a_policy_that_asks_for_it(model, capfd):
    (model / "policy.yml").write_text(
        "assay-policy: 1\nid: p\nname: P\nversion: 1\ncontrols:\n- id: c\n  name: C\n  rules:\n"
        "  - {id: live, name: Live, risk: R, require: {evidence: monitoring, newest: true,"
        " monitoring: {kind: endpoint, max-age: 1d}}}\n"
    )
    verify = ["verify", "model", "-p", "policy.yml", "--key", "keys/a.pub", "-d", "evidence"]
    assert main(verify) == 3, "nobody has looked"
    now = datetime.now(UTC).timestamp()
    version = seen_version(model)

    def write(**changes):
        at = {"requestTimeEpoch": f"{now * 1000 - 5000:.0f}", "modelVersion": version}
        (model / "access.log").write_text("".join(line(**at) for _ in range(20)) + line(**(at | changes)))

    attest = ["gateway", "attest", "--log", "access.log", "--target", "model", "--key", "keys/a.pem", "-d", "evidence"]
    write()
    assert main(attest) == 0
    assert main(verify) == 0
    write(modelVersion="cd" * 32)
    assert main(attest) == 1
    assert main(verify) == 1
    write(level="block", rule="detect", status="403", modelVersion=version)
    assert main(attest) == 1 and main(verify) == 1
    (model / "access.log").write_text("")
    assert main(attest) == 3 and main(verify) == 1, "an empty log takes nothing back"
    assert "Traceback" not in capfd.readouterr().err


def seen_version(folder):
    from assay.targets.registry import resolve

    with resolve(str(folder / "model")) as thing:
        return thing.manifest(blake3=False).contents().hex()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--log", "access.log"],
        ["--target", "model"],
        ["--log", "none.log", "--target", "model"],
        ["--log", ".", "--target", "model"],
        ["--log", "access.log", "--target", "none"],
        ["--log", "access.log", "--target", "model", "--since", "soon"],
        ["--log", "access.log", "--target", "model", "--since", "0d"],
        ["--log", "access.log", "--target", "model", "--failures", "2"],
        ["--log", "access.log", "--target", "model", "--key", "none.pem"],
        ["--gateway", "none.yaml"],
        ["--gateway", "access.log"],
    ],
)
def test_what_makes_no_sense_is_one_sentence(model, capfd, words):
    (model / "access.log").write_text(line())
    before = sorted(os.listdir(model))
    capfd.readouterr()
    signing = [] if "--key" in words else ["--key", "keys/a.pem"]
    assert main(["gateway", "attest", *words, *signing]) == 2
    one_sentence(capfd.readouterr().err)
    assert sorted(os.listdir(model)) == before


def test_callers_are_bounded(monkeypatch):
    from assay.guard.gateway.logs import summary

    monkeypatch.setattr(summary, "CALLERS", 10)
    found = Summary()
    for number in range(100):
        summary._take(found, line(caller=f"key:{number}", level="block").encode(), "a.log", 0, NOW.timestamp(), 0)
    assert len(found.callers) == 11 and found.callers["(others)"] == 90 and found.flagged["(others)"] == "block"
