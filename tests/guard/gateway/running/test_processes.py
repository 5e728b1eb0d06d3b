"""Processes that die, stop and start again: nobody is forgotten, nothing is lost that need not be, others go on."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway_making import Load, alive, assay, gateway, model_server, one_sentence, until


@pytest.fixture(scope="module")
def upstream():
    with model_server() as made:
        yield made


def test_a_killed_worker_is_replaced_and_lets_go_of_what_it_held(tmp_path, upstream):
    plans = {"default": {"concurrent": 2}}
    with gateway(tmp_path, upstream.url, workers=1, plans=plans) as made:
        upstream.handler.held.clear()
        for _ in range(2):
            threading.Thread(target=made.status, kwargs={"x-wait": "1"}, daemon=True).start()
        for _ in range(2):
            assert upstream.handler.entered.acquire(timeout=60)
        assert made.status() == 429, "both places are taken"
        os.kill(made.children()[1], signal.SIGKILL)
        until(lambda: made.status() == 200, "a new worker serves, and the dead one's places are free")
        upstream.let_go()
        assert made.end() == 0
        assert "worker 0 has ended with -9 and is started again" in made.words()


def test_others_go_on_while_a_worker_is_killed_under_load(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, workers=2) as made:
        load = Load(made)
        until(lambda: load.good() > 50)
        victim = made.children()[1]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in made.children() and len(made.children()) == 3)
        before = load.good()
        until(lambda: load.good() > before + 100)
        statuses = load.stop()
        assert made.end() == 0
    assert set(statuses) <= {200, 0}, "a broken connection, never a wrong answer"
    assert statuses.count(0) <= 20
    logged = len(made.lines())
    assert logged <= statuses.count(200) + statuses.count(0)
    assert logged >= statuses.count(200) * 0.5, "only the last quarter second of one of two workers"


def test_the_keeper_may_die(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, workers=2) as made:
        assert made.status() == 200
        blocked = made.administer("block", "address:127.0.0.1", "--why", "a test")
        assert blocked.returncode == 0, blocked.stderr
        until(lambda: {made.status() for _ in range(12)} == {403}, "both workers have been told")
        keeper = made.children()[0]
        os.kill(keeper, signal.SIGKILL)
        assert made.status() == 403, "workers go on with what they know"
        until(lambda: keeper not in made.children() and len(made.children()) == 3)
        until(lambda: made.administer("status").returncode == 0, "a new keeper answers, with its workers")
        assert {made.status() for _ in range(10)} == {403}, "what a person said is not forgotten"
        assert made.administer("release", "address:127.0.0.1", "--why", "over").returncode == 0
        until(lambda: {made.status() for _ in range(4)} == {200})
        assert made.end() == 0


def test_children_end_with_their_supervisor(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, workers=2) as made:
        assert made.status() == 200
        children = made.children()
        assert len(children) == 3
        assert made.end(signal.SIGKILL) == -signal.SIGKILL
        until(lambda: not any(map(alive, children)), "nobody is left")
        made.start()
        assert made.status() == 200
        assert made.end() == 0


def test_a_stop_under_load_loses_nothing(tmp_path, upstream):
    capture = {"folder": "captured", "format": ["jsonl"]}
    with gateway(tmp_path, upstream.url, workers=2, capture=capture) as made:
        load = Load(made)
        until(lambda: load.good() > 100)
        assert made.end() == 0
        statuses = load.stop()
    good = statuses.count(200)
    assert set(statuses) <= {200, 0}
    assert sum(line["status"] == "200" for line in made.lines()) == good
    kept = [line for path in (tmp_path / "captured").rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(kept) == good
    assert len({json.loads(line)["eventMetadata"]["eventId"] for line in kept}) == good
    assert "Traceback" not in made.words()


def test_requests_under_way_are_answered_before_the_end(tmp_path, upstream):
    upstream.handler.held.clear()
    with gateway(tmp_path, upstream.url) as made:
        statuses = []
        asking = threading.Thread(target=lambda: statuses.append(made.status(**{"x-wait": "1"})))
        asking.start()
        assert upstream.handler.entered.acquire(timeout=60)
        made.process.send_signal(signal.SIGTERM)
        others = []
        until(lambda: others.append(made.status()) or others[-1] == 0, "nobody new is let in")
        assert not statuses, "the first one still waits"
        upstream.let_go()
        asking.join()
        assert statuses == [200]
        assert made.process.wait(60) == 0
    assert len(made.lines()) == len(others), "each but the last of the others, and the one that waited"


def test_quotas_survive_a_kill_of_everything(tmp_path, upstream):
    plans = {"default": {"requests": {"life": 5}}}  # a day may end meanwhile
    with gateway(tmp_path, upstream.url, workers=2, plans=plans) as made:
        assert [made.status() for _ in range(3)] == [200] * 3
        children = made.children()
        for pid in [made.process.pid, *children]:
            kill(pid)
        made.process.wait()
        until(lambda: not any(map(alive, children)))
        made.start()
        assert [made.status() for _ in range(4)] == [200, 200, 429, 429]
        assert made.end() == 0
        made.start()
        assert made.status() == 429
        assert made.end(signal.SIGINT) == 0


def test_two_cannot_share_a_state_folder(tmp_path, upstream):
    with gateway(tmp_path, upstream.url) as made:
        other = tmp_path / "other.yaml"
        other.write_text(made.file.read_text().replace(str(made.port), "0"))
        second = assay("gateway", "--config", "other.yaml", folder=tmp_path)
        assert second.returncode == 2
        assert "another gateway uses the state folder" in one_sentence(second.stderr)
        assert made.status() == 200, "the first one goes on"
        assert made.end() == 0


def test_a_taken_port_and_a_port_given_back(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, start=False) as made:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", made.port))
            taken.listen()
            first = assay("gateway", "--config", "gateway.yaml", folder=tmp_path)
            assert first.returncode == 2 and "cannot listen on" in one_sentence(first.stderr)
        made.start()
        assert made.end() == 0


def test_a_crash_loop_ends_the_gateway_with_a_sentence(tmp_path, upstream):
    with gateway(tmp_path, upstream.url) as made:
        known = set()
        while made.process.poll() is None:
            for pid in [pid for pid in made.children()[:1] if pid not in known]:
                known.add(pid)
                kill(pid)
        assert made.process.returncode == 3
        assert "ended 5 times right after its start" in made.words() and "Traceback" not in made.words()


def test_signals_at_any_moment_of_the_start_leave_no_traceback(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, workers=2, start=False) as made:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGTERM):
            made.start(wait=False)
            children = until(lambda: _forked(made), "processes are there, and not ready")
            for pid in children:
                os.kill(pid, number)  # as a terminal's Ctrl-C reaches all of them
            if number in (signal.SIGHUP, signal.SIGUSR1):
                until(lambda: made.status() == 200)
            assert made.end() == 0, made.words()
        said = made.words().replace("has ended with 0 and is started again", "")  # before SIGTERM came to them all
        assert "Traceback" not in said and "started again" not in said


def kill(pid):
    """A process that may have ended already, as its supervisor has."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _forked(made):
    try:
        children = made.children()
    except FileNotFoundError:
        return None
    return children if len(children) == 3 else None


def framed(message):
    return len(message).to_bytes(4, "little") + message


def test_what_is_no_message_ends_a_connection_and_nothing_else(tmp_path, upstream):
    with gateway(tmp_path, upstream.url) as made:
        place = str(tmp_path / "gateway-state" / "keeper.sock")
        assert os.stat(place).st_mode & 0o777 == 0o600
        deltas = b"\x94\xa7figures\x07\x82\xa6series\x91\xa1x\xa8counters\x81\xa1a\xa1b\x80"
        for said in (b"\xff" * 100, framed(b"\xc1"), framed(deltas)):
            with socket.socket(socket.AF_UNIX) as forger:
                forger.settimeout(60)
                forger.connect(place)
                forger.sendall(said)
                while forger.recv(65536):
                    pass
        assert made.administer("status").returncode == 0 and made.status() == 200
        assert made.end() == 0
        assert "Traceback" not in made.words() and "started again" not in made.words()


def test_the_supervisor_starts_no_thread(tmp_path, upstream):
    detect = {"mode": "count"}
    with gateway(tmp_path, upstream.url, detect=detect, capture={"folder": "captured"}) as made:
        tasks = Path(f"/proc/{made.process.pid}/task")
        assert len(list(tasks.iterdir())) == 1
        made.write(rules=[{"id": "all", "priority": 1, "action": "block"}])
        made.process.send_signal(signal.SIGHUP)
        until(lambda: made.status() == 403)
        assert len(list(tasks.iterdir())) == 1
        assert made.end() == 0


def test_a_log_is_rotated_by_four_workers_under_load_and_no_line_is_lost(tmp_path, upstream):
    log = {"file": "access.log", "rotate": "20KiB", "keep": 1000}
    with gateway(tmp_path, upstream.url, workers=4, log=log) as made:
        load = Load(made)
        until(lambda: len(list(tmp_path.glob("access.log.*"))) > 5)
        statuses = load.stop()
        assert made.end() == 0
    ids = []
    for path in tmp_path.glob("access.log*"):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if path.suffix != ".gz" and path.with_name(path.name + ".gz").exists():
            continue  # packed, and not yet deleted when the gateway ended
        ids += [json.loads(line)["extendedRequestId"] for line in data.splitlines()]
    assert len(ids) == len(set(ids)) == len(statuses)


def test_a_keeper_that_dies_under_load_costs_no_answer_and_no_line(tmp_path, upstream):
    capture = {"folder": "captured", "format": ["jsonl"]}
    with gateway(tmp_path, upstream.url, workers=2, capture=capture, detect={"mode": "count"}) as made:
        load = Load(made)
        until(lambda: load.good() > 50)
        keeper = made.children()[0]
        os.kill(keeper, signal.SIGKILL)
        until(lambda: keeper not in made.children() and len(made.children()) == 3)
        before = load.good()
        until(lambda: load.good() > before + 50)
        statuses = load.stop()
        until(lambda: made.administer("status").returncode == 0)
        assert made.end() == 0
    assert set(statuses) == {200} and len(made.lines()) == len(statuses)
    kept = [line for path in (tmp_path / "captured").rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(kept) >= 50, "what came while there was no keeper waited for the next one"
    assert len({json.loads(line)["eventMetadata"]["eventId"] for line in kept}) == len(kept)
    assert "Traceback" not in made.words()


NO_ROOM = """
import errno, os, sys
from assay.cli.main import main
fork, left, refused = os.fork, int(sys.argv[1]), int(sys.argv[2])
def full():
    global left, refused
    left -= 1
    if left < 0 and refused:
        refused -= 1
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()
os.fork = full
sys.exit(main(["gateway", "--config", sys.argv[3]]))
"""
"""A machine that has no room for another process, from the so many-th on and for so many attempts."""


def test_a_machine_without_room_for_a_process_ends_nobody_else(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, workers=2, start=False) as made:
        with open(made.said, "ab") as said:  # one process looks at the file; then come the keeper and two workers
            command = [sys.executable, "-c", NO_ROOM, "4", "3", str(made.file)]
            made.process = subprocess.Popen(command, cwd=tmp_path, stderr=said, stdout=said)
        until(lambda: "the gateway listens on" in made.words())
        victim = made.children()[1]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in made.children() and len(made.children()) == 3, "it is tried again")
        assert {made.status() for _ in range(20)} == {200}
        assert made.words().count("cannot be started at the moment: Resource temporarily unavailable") == 1
        assert made.end() == 0


NO_THREAD = """
import sys, threading
from assay.cli.main import main
start = threading.Thread.start
def full(self):
    if self.name == "assay-otlp":
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = full
sys.exit(main(["gateway", "--config", sys.argv[1]]))
"""
"""A machine that has no room for the thread that sends metrics."""


def test_a_keeper_that_cannot_do_one_thing_does_the_others(tmp_path, upstream):
    otlp = {"endpoint": "http://127.0.0.1:9/v1/metrics", "every": "1s"}
    with gateway(tmp_path, upstream.url, otlp=otlp, start=False) as made:
        with open(made.said, "ab") as said:
            command = [sys.executable, "-c", NO_THREAD, str(made.file)]
            made.process = subprocess.Popen(command, cwd=tmp_path, stderr=said, stdout=said)
        until(lambda: "the gateway listens on" in made.words())
        keeper = made.children()[0]
        until(lambda: "could not do all that it does each second: can't start new thread" in made.words())
        assert made.administer("deny", "192.0.2.1", "--why", "x").returncode == 0
        assert made.children()[0] == keeper and made.end() == 0
        assert "Traceback" not in made.words()


def test_nobody_reads_what_it_says_any_more(tmp_path, upstream):
    with gateway(tmp_path, upstream.url, workers=2, start=False) as made:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "assay", "gateway", "--config", str(made.file)]
        made.process = subprocess.Popen(command, cwd=tmp_path, stderr=writing, stdout=writing)
        os.close(writing)
        until(lambda: made.status() == 200)
        os.close(reading)
        for place in (1, 0, 1):  # a worker, the keeper, a worker
            victim = made.children()[place]
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in made.children() and len(made.children()) == 3)
            until(lambda: made.administer("status").returncode == 0)
            assert made.status() == 200
        made.write(workers=0)
        made.process.send_signal(signal.SIGHUP)
        made.write(workers=2, rules=[{"id": "all", "priority": 1, "action": "block"}])
        made.process.send_signal(signal.SIGHUP)
        until(lambda: {made.status() for _ in range(4)} == {403})
        assert made.end() == 0
        assert not list((tmp_path / "gateway-state").glob("keeper.sock")), "it came to its end"
