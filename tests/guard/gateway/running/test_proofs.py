"""The served model has to be proved, all the time: what happens when it, its evidence or the policy changes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal

import pytest

from assay.cli.main import main
from gateway_making import assay, attested_model, gateway, model_server, until

POLICY = """
assay-policy: 1
id: p
name: P
version: 1
controls:
- id: c
  name: C
  rules:
  - {id: signed, name: Signed, risk: R, require: {evidence: model-signature}}
"""


@pytest.fixture(scope="module")
def upstream():
    with model_server() as made:
        yield made


def replace(file, data):
    """At once: a file that is half written would be another finding."""
    new = file.parent.with_suffix(".new")
    new.write_bytes(data)
    new.rename(file)


def test_a_tampered_model_is_not_served_until_it_is_restored(tmp_path, upstream):
    section = attested_model(tmp_path)
    with gateway(tmp_path, upstream.url, workers=2, model=section) as made:
        assert {made.status() for _ in range(6)} == {200}
        weights = tmp_path / "model" / "weights.bin"
        good = weights.read_bytes()
        replace(weights, bytes([good[0] ^ 1]) + good[1:])
        until(lambda: {made.status() for _ in range(12)} == {503})
        assert made.ask()[1]["error"]["message"] == "the model is not proved"
        assert made.administer("status").returncode == 1
        replace(weights, good)
        until(lambda: {made.status() for _ in range(6)} == {200})
        assert made.end() == 0
    words = made.words()
    assert "model is not served: " in words and "model is proved, and served" in words
    assert words.count("is not served") == 1, "said once, not each second"
    served = {line["modelVersion"] for line in made.lines() if line["status"] == "200"}
    assert len(served) == 1 and len(served.pop()) == 64


def test_evidence_that_is_withdrawn(tmp_path, upstream):
    section = attested_model(tmp_path)
    with gateway(tmp_path, upstream.url, model=section) as made:
        assert made.status() == 200
        (tmp_path / "evidence").rename(tmp_path / "gone")
        for path in tmp_path.glob("model*.sig"):
            path.rename(tmp_path / "gone.sig")
        until(lambda: made.status() == 503)

        def put_back():
            shutil.rmtree(tmp_path / "evidence", ignore_errors=True)  # who looks for evidence may make the folder anew
            with contextlib.suppress(OSError):
                (tmp_path / "gone").rename(tmp_path / "evidence")
            return not (tmp_path / "gone").exists()

        until(put_back)
        until(lambda: made.status() == 200)
        assert made.end() == 0
        assert "Traceback" not in made.words()


def test_warn_serves_and_says_so(tmp_path, upstream):
    section = attested_model(tmp_path)
    (tmp_path / "model" / "weights.bin").write_bytes(b"another")
    with gateway(tmp_path, upstream.url, model=section, start=False) as made:
        refused = assay("gateway", "--config", "gateway.yaml", folder=tmp_path)
        assert refused.returncode == 1 and "model is not served: " in refused.stderr
        made.write(model={**section, "unproved": "warn"})
        made.start()
        assert made.status() == 200
        assert "is served although it is not proved" in made.words()
        assert made.end() == 0


def test_what_cannot_be_decided_ends_the_start_with_3(tmp_path, upstream):
    section = attested_model(tmp_path)
    for path in tmp_path.glob("model*.sig"):
        path.unlink()
    with gateway(tmp_path, upstream.url, model={**section, "evidence": "elsewhere"}, start=False):
        for words in ((), ("check",)):
            refused = assay("gateway", *words, "--config", "gateway.yaml", folder=tmp_path)
            assert refused.returncode == 3, refused.stderr
            assert "Traceback" not in refused.stderr


def test_a_reload_never_serves_another_model_by_the_proof_of_the_first(tmp_path, upstream):
    section = attested_model(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights.bin").write_bytes(b"nobody has signed this")
    with gateway(tmp_path, upstream.url, workers=2, model=section) as made:
        assert made.status() == 200
        made.write(model={**section, "target": "other"})
        made.process.send_signal(signal.SIGHUP)
        until(lambda: {made.status() for _ in range(12)} == {503})
        assert {made.status() for _ in range(20)} == {503}
        made.write(model=section)
        made.process.send_signal(signal.SIGHUP)
        until(lambda: {made.status() for _ in range(6)} == {200})
        made.write(model=None)
        del made.settings["listen"]
        made.write(listen=[f"127.0.0.1:{made.port}"])
        made.process.send_signal(signal.SIGHUP)
        until(lambda: made.ask()[0] == 200 and made.administer("status").stdout.count(": none"))
        made.write(model={**section, "target": "other"})
        made.process.send_signal(signal.SIGHUP)
        until(lambda: {made.status() for _ in range(6)} == {503})
        assert made.end() == 0
    versions = {line["modelVersion"] for line in made.lines() if line["status"] == "200"}
    assert len(versions - {"-"}) == 1


def test_a_policy_that_becomes_stricter(tmp_path, upstream, monkeypatch):
    section = attested_model(tmp_path)
    (tmp_path / "policy.yml").write_text(POLICY)
    with gateway(tmp_path, upstream.url, model={**section, "policy": "policy.yml", "every": "1h"}) as made:
        assert made.status() == 200
        (tmp_path / "policy.yml").write_text(POLICY.replace("model-signature}", "scan, scan: {kind: models}}"))
        made.process.send_signal(signal.SIGHUP)
        until(lambda: made.status() == 503)
        monkeypatch.chdir(tmp_path)
        assert main(["scan", "model", "-o", "attest", "--key", "keys/a.pem", "-d", "evidence"]) == 0
        made.process.send_signal(signal.SIGHUP)
        until(lambda: made.status() == 200)
        assert made.end() == 0


def test_a_model_that_is_looked_at_for_long_keeps_callers_waiting_and_no_worker_serves_before(tmp_path, upstream):
    section = attested_model(tmp_path)
    with gateway(tmp_path, upstream.url, workers=2, model=section) as made:
        for pid in made.children()[1:]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: {made.status() for _ in range(6)} == {200})
        assert made.end() == 0
    assert {line["status"] for line in made.lines()} == {"200"}
    assert {line["modelVersion"] for line in made.lines()} != {"-"}
