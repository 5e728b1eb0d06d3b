"""Processes of one Python service with the middleware: one keeper among them, whichever lives, and one word for all."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_making import PATIENCE, assay, free_port, until

SERVICE = """
import sys, uvicorn
from assay.gateway import Guard

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"predictions": [[0.25, 0.75]]}'})

uvicorn.run(Guard(app, config="gateway.yaml"), port=int(sys.argv[1]), log_level="error")
"""
GATEWAY = """
assay-gateway: 1
callers: {keys: keys.json}
routes: [{protocol: json, path: /predict}]
log: {file: access.log}
detect: {mode: enforce, reactions: {default: block}}
capture: {folder: captured, format: [jsonl]}
admin: {}
"""


class Service:
    """So many processes of one service, each on a port of its own."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        (folder / "service.py").write_text(SERVICE)
        (folder / "gateway.yaml").write_text(GATEWAY)
        made = assay("gateway", "keys", "create", "-O", "key", "-f", "keys.json", "--owner", "ann", folder=folder)
        assert made.returncode == 0, made.stderr
        self.key = (folder / "key").read_text().strip()
        self.ports = [free_port() for _ in range(count)]
        self.processes = [self.start(port) for port in self.ports]

    def start(self, port: int) -> subprocess.Popen[str]:
        words = [sys.executable, "service.py", str(port)]
        process = subprocess.Popen(words, cwd=self.folder, stderr=subprocess.PIPE, text=True)
        until(lambda: self.answers(port) or process.poll() is not None, "the service has begun")
        return process

    def answers(self, port: int) -> bool:
        try:
            self.ask(port, key="nobody")
        except OSError:
            return False
        return True

    def ask(self, port: int, rows: Any = ((1.0, 2.0),), key: str | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        headers = {"content-type": "application/json", "x-api-key": key or self.key}
        connection.request("POST", "/predict", json.dumps({"instances": rows}), headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def keeper(self) -> int:
        """Which process has the keeper: the one that holds the lock (proc_locks(5))."""
        inode = os.stat(self.folder / "gateway-state" / "lock").st_ino
        ours = [process.pid for process in self.processes]
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            # A file of another file system may have the same number.
            if fields[1] == "FLOCK" and fields[5].rsplit(":", 1)[1] == str(inode) and int(fields[4]) in ours:
                return ours.index(int(fields[4]))
        return -1

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            process.communicate(timeout=PATIENCE)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path, 2)
    yield made
    made.close()


def test_an_administrators_word_counts_in_all_processes(service: Service) -> None:
    assert [service.ask(port) for port in service.ports] == [200, 200]
    said = assay("gateway", "block", "owner:ann", "--why", "their key was on the web", folder=service.folder)
    assert said.returncode == 0, said.stderr
    for port in service.ports:
        until(lambda port=port: service.ask(port) == 403, "it is blocked")
    assert assay("gateway", "release", "owner:ann", "--why", "a new key", folder=service.folder).returncode == 0
    for port in service.ports:
        until(lambda port=port: service.ask(port) == 200, "it is released")
    said = assay("gateway", "reload", folder=service.folder)
    assert said.returncode != 0 and "restart the service" in said.stderr and "Traceback" not in said.stderr


def test_what_callers_do_in_several_processes_is_added_up(service: Service) -> None:
    for _ in range(3):
        for port in service.ports:
            assert service.ask(port) == 200

    def counted() -> bool:
        said = assay("gateway", "callers", "--json", folder=service.folder)
        return said.returncode == 0 and [one["requests"] for one in json.loads(said.stdout)["callers"]] == [6]

    until(counted, "all six were counted")
    until(lambda: "2 workers" in assay("gateway", "status", folder=service.folder).stdout, "both have told")


def test_when_the_keepers_process_is_killed_another_takes_over(service: Service) -> None:
    assert assay("gateway", "block", "owner:ann", "--why", "x", folder=service.folder).returncode == 0
    first = until(lambda: service.keeper() + 1, "somebody has the keeper") - 1
    other = 1 - first
    until(lambda: service.ask(service.ports[other]) == 403, "the other one has been told")
    os.kill(service.processes[first].pid, signal.SIGKILL)
    service.processes[first].communicate()
    assert service.ask(service.ports[other]) == 403  # nobody is let in meanwhile
    until(lambda: service.keeper() == other, "another has taken over")
    until(lambda: assay("gateway", "status", folder=service.folder).returncode == 0, "it answers the administrator")
    assert service.ask(service.ports[other]) == 403
    service.processes[first] = service.start(service.ports[first])
    assert service.ask(service.ports[first]) == 403  # who is blocked does not slip in while a process starts
    assert assay("gateway", "release", "owner:ann", "--why", "y", folder=service.folder).returncode == 0
    for port in service.ports:
        until(lambda port=port: service.ask(port) == 200, "it is released")


def test_a_clean_end_loses_no_line_and_no_capture(service: Service) -> None:
    for port in service.ports * 10:
        assert service.ask(port) == 200
    service.close()
    lines = [json.loads(line) for line in (service.folder / "access.log").read_text().splitlines()]
    assert sum(line["status"] == "200" for line in lines) == 20
    captured = [path.read_text().splitlines() for path in (service.folder / "captured").rglob("*.jsonl")]
    assert sum(map(len, captured)) == 20


def test_a_process_with_another_file_says_so(service: Service) -> None:
    """It serves nevertheless: that is what a rolling restart looks like."""
    text = (service.folder / "gateway.yaml").read_text()
    (service.folder / "gateway.yaml").write_text(text + "plans: {default: {rate: 9/s}}\n")
    port = free_port()
    service.processes.append(service.start(port))
    assert service.ask(port) == 200
    service.processes[-1].terminate()
    _, said = service.processes[-1].communicate(timeout=60)
    assert said.count("another gateway file") == 1


def test_a_damaged_file_of_standings_ends_the_start(tmp_path: Path) -> None:
    service = Service(tmp_path, 0)
    (tmp_path / "gateway-state").mkdir(mode=0o700)
    (tmp_path / "gateway-state" / "standings.json").write_text("{")
    process = subprocess.run(
        [sys.executable, "service.py", str(free_port())],
        cwd=service.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode != 0 and "standings.json is damaged" in process.stderr
