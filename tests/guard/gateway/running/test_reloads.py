"""A configuration that changes while the gateway serves, and what an administrator says meanwhile."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
from functools import partial

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import small_ca
from gateway_making import Load, gateway, gone, model_server, until


@pytest.fixture(scope="module")
def upstream():
    with model_server() as made:
        yield made


def hang_up(made):
    made.process.send_signal(signal.SIGHUP)


BLOCK = [{"id": "all", "priority": 1, "action": "block", "match": {}}]


def said_again(made, before):
    return made.words().count("the new configuration is not used: ") > before


def test_a_bad_file_changes_nothing_and_is_said(tmp_path, upstream):
    with gateway(tmp_path, upstream.url) as made:
        good = made.file.read_text()
        for wrong in (
            "assay-gateway: 1\nno-such-key: 1\n",
            "[" * 20000,
            good.replace("kserve-v1", "no-such-protocol"),
            good + "rules: [{id: a, priority: 1, action: block, match: {address-in: nowhere}}]\n",
            good + "tls: {certificate: none.pem, key: none.pem}\n",
            good.replace("detect:\n  mode: 'off'", "detect: {mode: enforce, calibration: none.json}"),
            good + "capture: {folder: gateway.yaml/captured}\n",
        ):
            before = made.words().count("the new configuration is not used: ")
            made.file.write_text(wrong)
            hang_up(made)
            until(partial(said_again, made, before), wrong[-100:])
            refused = made.administer("reload", "--admin", "unix:gateway-admin.sock", "--token", "gateway-admin.token")
            assert refused.returncode == 2 and "Traceback" not in refused.stderr, refused.stderr
            assert made.status() == 200
        made.file.unlink()
        hang_up(made)
        until(lambda: "cannot be read" in made.words())
        assert made.status() == 200
        worker = made.children()[1]
        os.kill(worker, signal.SIGKILL)  # it comes back with what was good, not with what is in the file
        until(lambda: worker not in made.children() and made.status() == 200)
        made.file.write_text(good)
        made.write(rules=BLOCK)
        hang_up(made)
        until(lambda: made.status() == 403)
        assert made.end() == 0
        assert "Traceback" not in made.words()


def test_what_only_a_restart_changes_is_said_and_stays(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, workers=2) as made:
        assert made.status() == 200
        made.write(workers=3, state="elsewhere", listen=["127.0.0.1:1"], rules=BLOCK)
        told = made.administer("reload")
        assert told.returncode == 0 and "only a restart changes: listen, workers, state" in told.stdout
        until(lambda: made.status() == 403)
        assert "only a restart changes: listen, workers, state" in made.words()
        assert len(made.children()) == 3 and not (tmp_path / "elsewhere").exists()
        assert made.administer("status").returncode == 0
        assert made.end() == 0


def test_reloads_under_load_lose_no_request_and_no_line(tmp_path, upstream):
    capture = {"folder": "captured", "format": ["jsonl"]}
    with gateway(tmp_path, upstream.url, workers=2, capture=capture, detect={"mode": "count"}) as made:
        load = Load(made)
        for turn in range(6):
            made.write(log={"file": f"access-{turn % 2}.log"}, plans={"default": {"rate": f"{9000 + turn}/s"}})
            hang_up(made)
            until(lambda n=turn: (tmp_path / f"access-{n % 2}.log").exists())
            until(partial(grown, load, load.good() + 50))
        statuses = load.stop()
        assert made.end() == 0
    assert set(statuses) == {200}
    lines = [json.loads(line) for path in tmp_path.glob("access*.log") for line in path.read_text().splitlines()]
    assert len(lines) == len({line["extendedRequestId"] for line in lines}) == len(statuses)
    kept = [line for path in (tmp_path / "captured").rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(kept) == len(statuses)
    assert "Traceback" not in made.words()


def grown(load, count):
    return load.good() >= count


def test_what_a_person_said_holds_in_every_mode_for_all_workers_and_after_a_restart(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, workers=3, detect={"mode": "count"}) as made:
        assert made.status() == 200
        assert made.administer("block", "address:127.0.0.1", "--why", "stolen").returncode == 0
        until(lambda: {made.status() for _ in range(12)} == {403})
        for mode in ("off", "enforce"):
            made.write(detect={"mode": mode}, plans={"default": {"requests": {"day": 1000 if mode == "off" else 999}}})
            hang_up(made)
            shown = lambda: json.loads(made.administer("status", "--json").stdout or "{}")  # noqa: E731
            until(shown)
            assert {made.status() for _ in range(12)} == {403}
        for number in (signal.SIGTERM, signal.SIGKILL):
            children = made.children()
            made.end(number)
            until(partial(gone, children))
            made.start()
            assert {made.status() for _ in range(12)} == {403}, "from the very first request"
        assert made.administer("release", "address:127.0.0.1", "--why", "a mistake").returncode == 0
        until(lambda: {made.status() for _ in range(12)} == {200})
        assert made.end() == 0
        assert made.start().status() == 200
        assert made.end() == 0


def test_an_address_is_denied_with_any_reason_and_after_a_restart(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, workers=2) as made:
        assert made.status() == 200
        done = made.administer("deny", "127.0.0.0/8", "--why", "Köln, 東京 \\ # ; 'quoted'")
        assert done.returncode == 0, done.stderr
        until(lambda: {made.status() for _ in range(8)} == {403})
        listed = json.loads(made.administer("deny", "--json").stdout)["denied"]
        assert [one["why"] for one in listed] == ["Köln, 東京 \\ # ; 'quoted'"]
        assert made.end() == 0
        made.start()
        assert {made.status() for _ in range(8)} == {403}
        assert made.administer("deny", "127.0.0.0/8", "--remove").returncode == 0
        until(lambda: {made.status() for _ in range(8)} == {200})
        assert made.end() == 0
        assert "Traceback" not in made.words() and "stays as it was" not in made.words()


def test_two_places_one_of_them_a_unix_socket_and_decisions_beside_them(tmp_path, upstream):
    class Unix(http.client.HTTPConnection):
        def __init__(self, path):
            super().__init__("localhost", timeout=60)
            self.path = str(path)

        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(self.path)

    with gateway(tmp_path, upstream.url, start=False, workers=2) as made:
        made.write(listen=[f"127.0.0.1:{made.port}", "unix:gate.sock"])
        made.start("--service", "unix:asked.sock")
        for _ in range(6):
            connection = Unix(tmp_path / "gate.sock")
            connection.request("POST", "/v1/models/m:predict", b'{"instances": [[1]]}')
            answer = connection.getresponse()
            assert answer.status == 200 and len(json.loads(answer.read())["predictions"]) == 1
            connection.close()
        assert made.status() == 200
        connection = Unix(tmp_path / "asked.sock")
        connection.request("GET", "/", headers={"x-original-method": "POST", "x-original-uri": "/v1/models/m:predict"})
        assert connection.getresponse().status in (200, 204, 400, 401, 403)
        assert made.end() == 0
        assert not (tmp_path / "gate.sock").exists() and not (tmp_path / "asked.sock").exists()
    assert len(made.lines()) >= 7


def test_tls_and_a_new_certificate(tmp_path, upstream):
    authority = small_ca.root("root")
    (tmp_path / "root.pem").write_bytes(authority.pem)

    def certificate(name):
        leaf = authority.leaf(name)
        (tmp_path / "key.pem").write_bytes(leaf.key_pem)
        (tmp_path / "cert.pem").write_bytes(leaf.chain_pem)

    certificate("first")
    with gateway(tmp_path, upstream.url, start=False, workers=2) as made:
        made.write(tls={"certificate": "cert.pem", "key": "key.pem"})
        made.start()
        assert "listens on https://" in made.words()
        assert presented(made.port) == "first"
        certificate("second")
        until(lambda: {presented(made.port) for _ in range(6)} == {"second"})
        (tmp_path / "cert.pem").write_text("nonsense")
        assert presented(made.port) == "second"
        assert made.end() == 0


def presented(port):
    """The common name of the certificate that is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 60) as plain, context.wrap_socket(plain) as secure:
        found = x509.load_der_x509_certificate(secure.getpeercert(True))
    return found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def written(place):
    return place.exists() and "127.0.0.1" in place.read_text()


def test_a_disk_that_takes_nothing_costs_no_answer_and_no_block(tmp_path, upstream):
    """The state folder is away for a while, as it is when a disk fails: what a person says still holds."""
    state = tmp_path / "gateway-state"
    with gateway(tmp_path, upstream.url, workers=2, detect={"mode": "count"}) as made:
        assert made.status() == 200
        state.rename(tmp_path / "away")
        said = made.administer("block", "address:127.0.0.1", "--why", "a test")
        assert said.returncode == 2 and "not after a restart" in said.stderr
        until(lambda: {made.status() for _ in range(6)} == {403})
        said = made.administer("deny", "192.0.2.1", "--why", "a test")
        assert said.returncode == 2 and "Traceback" not in said.stderr
        until(lambda: "each second" in made.words())
        (tmp_path / "away").rename(state)
        until(lambda: written(state / "standings.json"), "it is written as soon as it can be")
        assert {made.status() for _ in range(6)} == {403}
        assert made.end() == 0
        assert "started again" not in made.words() and "Traceback" not in made.words()
        made.start()
        assert {made.status() for _ in range(6)} == {403}
        assert made.end() == 0


def test_a_log_that_somebody_else_moved_is_opened_anew(tmp_path, upstream):
    """As logrotate does it: rename, then SIGUSR1. Both files together have each line once."""
    with gateway(tmp_path, upstream.url, workers=2) as made:
        assert [made.status() for _ in range(10)] == [200] * 10
        until(lambda: lines_of(made.log) == 10)
        moved = tmp_path / "moved.log"
        made.log.rename(moved)
        made.process.send_signal(signal.SIGUSR1)
        asked = 10

        def nothing_more_in_the_old_one():
            nonlocal asked
            before = lines_of(moved)
            assert [made.status() for _ in range(10)] == [200] * 10
            asked += 10
            until(lambda: lines_of(moved) + lines_of(made.log) == asked)
            return lines_of(moved) == before

        until(nothing_more_in_the_old_one, "both workers have heard of it")
        assert made.end() == 0
    old = moved.read_text().splitlines()
    ids = [json.loads(line)["extendedRequestId"] for line in old] + [line["extendedRequestId"] for line in made.lines()]
    assert len(set(ids)) == len(ids) == asked


def lines_of(path):
    """How many are complete; the last one may be about to be written."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
