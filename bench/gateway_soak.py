"""Half an hour of bad days for a gateway: four workers on Redis, slow clients, aborted uploads, a model server that
fails, Redis stopped and started again in the middle, the configuration reloaded under load.

It looks at what must hold: no request that is not in the access log exactly once, memory that does not grow, limits
that are exact, and answers that belong to their questions. Limits are held against what an exact bucket lets through of
the same questions (`gateway_limits`); for how long each thing was away stands beside.

    python bench/gateway_soak.py [--minutes 30] [--machines 1]

With two machines (two gateways on one Redis, the workers shared out among them) greedy callers ask both at once. Each
machine then counts alone while Redis is away, as the guide says, and that time is left out of their accounts.

Needs redis-server. Writes ``bench/results/gateway_soak.json`` and ends with 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import glob
import gzip
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gateway import free_port, stop, wait_for
from gateway_limits import Account, Question, account, together

RESULTS = Path(__file__).parent / "results" / "gateway_soak.json"
WORKERS = 4
CALLERS = 12
"""Well-behaved: about twenty requests a second each."""
GREEDY = 4
"""Callers who ask for about three times their limit."""
CONNECTIONS = 4
"""Of each of them, with one question at a time."""
RATE, BURST = 20, 40
"""Of each caller: requests a second, and at once."""
TOLERANCE = 0.02
GROWTH = 0.10
"""Of a process's memory from after the first third to the last minutes, each by its median."""
BACK = 10.0
"""Seconds after Redis was started again within which machines have found it, and paid for what was too much."""


@dataclass
class Seen:
    """What the clients saw."""

    ids: Counter[str] = field(default_factory=Counter)
    """``X-Request-Id`` of each answer."""
    statuses: Counter[str] = field(default_factory=Counter)
    greedy: dict[str, list[Question]] = field(default_factory=dict)
    """What greedy callers asked, by caller."""
    broken: int = 0
    """Answers that broke off in the middle."""
    wrong: int = 0
    """Answers that belong to another question."""
    aborted: int = 0
    slow: int = 0


async def model_server(port: int) -> asyncio.Server:
    """Echoes the first number; now and then it is slow, fails, resets or sends half an answer."""
    chance = random.Random(5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await body_of(reader, head)
                fate = chance.random()
                if fate < 0.005:
                    writer.transport.abort()
                    return
                if fate < 0.01:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nhalf")
                    writer.close()
                    return
                if fate < 0.03:
                    await asyncio.sleep(0.5)
                number = re.search(rb'"data":\[([0-9.]+)', body)
                status = b"500 Oops" if fate < 0.02 else b"200 OK"
                answer = b'{"model_name":"m","outputs":[{"name":"y","shape":[1,1],"datatype":"FP64","data":[%s]}]}' % (
                    number[1] if number else b"0"
                )
                writer.write(
                    b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                    % (status, len(answer), answer)
                )
                await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)


async def body_of(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """The body that a head announces."""
    if length := re.search(rb"content-length: *(\d+)", head, re.I):
        return await reader.readexactly(int(length[1]))
    body = b""
    if b"chunked" in head.lower():
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    return body


def request(key: str, number: str) -> bytes:
    """One question."""
    body = '{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP64","data":[' + number + "]}]}"
    return (
        f"POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def ask(port: int, key: str, seen: Seen, until: float, pause: float, greedy: str = "") -> None:
    """A caller with a connection that is kept open; a new one when it breaks."""
    chance = random.Random(key)
    while time.monotonic() < until:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while time.monotonic() < until:
                    number = str(chance.randrange(10**9))
                    asked, status = time.monotonic(), 0
                    try:
                        writer.write(request(key, number))
                        status, head = await head_of(reader)
                    finally:
                        if greedy:
                            seen.greedy[greedy].append(Question(asked, time.monotonic(), status))
                    note(seen, status, head)
                    body = await rest_of(reader, head, seen)
                    if status == 200 and f"[{number}]".encode() not in body:
                        seen.wrong += 1
                    await asyncio.sleep(chance.expovariate(1 / pause) if pause else 0)
                    if b"connection: close" in head.lower():
                        break
            finally:
                writer.close()
        await asyncio.sleep(0.01)


async def head_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and head of an answer."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 90)
    return int(head[9:12]), head


async def rest_of(reader: asyncio.StreamReader, head: bytes, seen: Seen) -> bytes:
    """An answer's body, or that it broke off."""
    try:
        return await asyncio.wait_for(body_of(reader, head), 90)
    except (OSError, asyncio.IncompleteReadError):
        seen.broken += 1
        raise


async def first_answer(port: int, key: str) -> None:
    """Until the gateway serves: its sockets take connections before its workers do."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        writer.write(request(key, "1"))
        await head_of(reader)
    writer.close()


def note(seen: Seen, status: int, head: bytes) -> None:
    """Remember an answer."""
    found = re.search(rb"x-request-id: *([0-9a-f-]+)", head, re.I)
    seen.statuses[str(status)] += 1
    seen.ids[found[1].decode() if found else ""] += 1


async def slow(port: int, key: str, seen: Seen, until: float) -> None:
    """Sends a head byte by byte, or a body that never ends."""
    chance = random.Random(7)
    while time.monotonic() < until:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            data = request(key, "1")
            for byte in data[: chance.randrange(40, len(data) - 1)]:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.2)
                if reader.at_eof() or reader.exception() or time.monotonic() > until:
                    break
            seen.slow += 1
            with contextlib.suppress(TimeoutError):
                status, head = await asyncio.wait_for(head_of(reader), 40)
                note(seen, status, head)
                await rest_of(reader, head, seen)
            writer.close()


async def abort(port: int, key: str, seen: Seen, until: float) -> None:
    """Begins an upload and goes away."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n"
                "content-length: 500000\r\n\r\n".encode()
                + b"x" * 50_000
            )
            await asyncio.sleep(0.2)
            writer.transport.abort()
            seen.aborted += 1
        await asyncio.sleep(0.3)


def memory(group: int) -> dict[str, int]:
    """Proportional memory in KiB of each process of a group, by what it is."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                text = (entry / "smaps_rollup").read_text()
                found[entry.name] = int(re.search(r"Pss: +(\d+)", text)[1])  # type: ignore[index]
    return found


def usual(sizes: list[tuple[float, dict[str, int]]], process: str, first: float, last: float) -> float:
    """Median of a process's memory between two shares of the run: reading a file anew takes more for a moment."""
    known = [found[process] for at, found in sizes if first < at < last and process in found]
    return statistics.median(known or [found[process] for _, found in sizes if process in found])


def logged(folder: Path) -> Iterator[dict[str, str]]:
    """Each line of all machines' access logs, of rotated files too."""
    for name in sorted(glob.glob(str(folder / "*" / "access.log*"))):
        if name.endswith((".lock", ".tmp")):
            continue
        with gzip.open(name) if name.endswith(".gz") else open(name, "rb") as file:
            for line in file:
                yield json.loads(line)


@dataclass
class Times:
    """When things happened, by `time.monotonic`."""

    started: float
    """Of the gateway."""
    began: float = 0.0
    """Of the asking."""
    until: float = 0.0
    finished: float = 0.0
    """The last slow client has its answer."""
    stopped: float = 0.0
    """Of Redis."""
    back: float = 0.0
    reloads: list[float] = field(default_factory=list)


def configured(folder: Path, machines: int, upstream: int, redis_port: int) -> tuple[list[Path], list[int]]:
    """A configuration for each machine, and its port."""
    configs, ports = [], []
    for machine in range(machines):
        port, config = free_port(), folder / str(machine) / "gateway.yaml"
        config.parent.mkdir()
        document = {
            "assay-gateway": 1,
            "upstream": f"http://127.0.0.1:{upstream}",
            "listen": [f"127.0.0.1:{port}"],
            "workers": WORKERS // machines,
            "state": "state",
            "callers": {"keys": str(folder / "keys.json")},
            "plans": {"default": {"rate": f"{RATE}/s", "burst": BURST}},
            "rules": [
                {"id": "often", "priority": 1, "action": "count", "rate": {"limit": 1000, "window": 60, "by": "caller"}}
            ],
            "log": {"file": "access.log", "rotate": "20MB", "keep": 1000},
            "capture": {"folder": "captured", "sample": 1},
            "detect": {"mode": "count"},
            "redis": {"url": f"redis://127.0.0.1:{redis_port}/0"},
            "timeouts": {"head": "10s", "body": "10s", "first-byte": "10s"},
        }
        config.write_text(yaml.safe_dump(document))
        configs.append(config)
        ports.append(port)
    return configs, ports


async def soak(folder: Path, minutes: float, machines: int, ending: contextlib.ExitStack) -> dict[str, Any]:
    """Run it and say what was seen. ``ending`` stops what still runs, should this fail."""
    upstream, redis_port = free_port(), free_port()
    server = await model_server(upstream)
    keys = []
    for number in range(CALLERS + GREEDY + 2):
        words = [sys.executable, "-m", "assay", "gateway", "keys", "create", "--file", str(folder / "keys.json")]
        made = subprocess.run([*words, "--owner", f"o{number}"], check=True, capture_output=True, text=True)
        keys.append(re.search(r"assay_[A-Za-z0-9_-]+", made.stdout)[0])  # type: ignore[index]
    configs, ports = configured(folder, machines, upstream, redis_port)

    def redis() -> subprocess.Popen[bytes]:
        words = ["redis-server", "--port", str(redis_port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
        ending.callback(stop, process)
        return process

    store = redis()
    wait_for(redis_port)
    times, gateways = Times(time.monotonic()), []
    for config in configs:
        words = [sys.executable, "-m", "assay", "gateway", "--config", str(config)]
        with open(folder / "errors", "ab") as errors:
            gateways.append(subprocess.Popen(words, stderr=errors, start_new_session=True))
        ending.callback(stop, gateways[-1])
    for port in ports:
        wait_for(port)
        await first_answer(port, keys[0])
    seen = Seen(greedy={key[-8:]: [] for key in keys[CALLERS : CALLERS + GREEDY]})
    times.began = time.monotonic()
    times.until = until = times.began + minutes * 60
    tasks = [
        asyncio.create_task(ask(ports[place % machines], key, seen, until, 0.06))
        for place, key in enumerate(keys[:CALLERS])
    ]
    for key in keys[CALLERS : CALLERS + GREEDY]:
        for place in range(CONNECTIONS):
            tasks.append(asyncio.create_task(ask(ports[place % machines], key, seen, until, 0.06, key[-8:])))
    for place in range(5):
        tasks.append(asyncio.create_task(slow(ports[place % machines], keys[-2], seen, until)))
    for place in range(2):
        tasks.append(asyncio.create_task(abort(ports[place % machines], keys[-1], seen, until)))
    sizes: list[tuple[float, dict[str, int]]] = []
    while time.monotonic() < until:
        await asyncio.sleep(min(10, minutes * 3))
        now = (time.monotonic() - times.began) / (minutes * 60)
        sizes.append((now, {pid: size for gateway in gateways for pid, size in memory(gateway.pid).items()}))
        if now > 0.4 and not times.stopped:
            times.stopped = time.monotonic()
            stop(store)
        elif now > 0.5 and not times.back:
            store = redis()
            times.back = time.monotonic()
        if len(sizes) % 6 == 0:
            times.reloads.append(time.monotonic())
            for gateway in gateways:
                os.kill(gateway.pid, signal.SIGHUP)
    await asyncio.gather(*tasks)
    times.finished = time.monotonic()
    await asyncio.sleep(12)  # uploads that were begun run into their time-out
    for gateway in gateways:
        gateway.send_signal(signal.SIGTERM)
    codes = [await asyncio.to_thread(gateway.wait, 60) for gateway in gateways]
    stop(store)
    server.close()
    return judge(folder, seen, sizes, times, machines, codes)


def accounts(seen: Seen, times: Times, machines: int) -> dict[str, Account]:
    """Of each greedy caller; with several machines, of before Redis was away and of after it."""
    found = {}
    for name, questions in seen.greedy.items():
        if machines == 1:
            found[name] = account(questions, times.began, times.until, RATE, BURST)
            continue
        before = account(questions, times.began, times.stopped, RATE, BURST)
        after = account(questions, times.back + BACK, times.until, RATE, BURST, empty=True)
        found[name] = together([before, after])
    return found


def seconds(seen: Seen, times: Times) -> dict[str, float]:
    """How long what was away."""
    waits = [(one.at, one.answered) for questions in seen.greedy.values() for one in questions]
    at_reload = [end - at for at, end in waits for began in times.reloads if at < began + 2 and end > began]
    return {
        "start": round(times.began - times.started, 2),
        "asking": round(times.until - times.began, 2),
        "finishing": round(times.finished - times.until, 2),
        "redis_away": round(times.back - times.stopped, 2),
        "longest_wait": round(max((end - at for at, end in waits), default=0.0), 3),
        "longest_wait_at_a_reload": round(max(at_reload, default=0.0), 3),
    }


def unkept(found: dict[str, Account], asking: float, machines: int) -> list[str]:
    """What is wrong with limits."""
    most = BURST + CONNECTIONS
    if machines > 1:  # within a round with Redis, each lets a whole burst through
        most += (machines - 1) * BURST
    problems = []
    for name, one in found.items():
        if abs(one.share - 1) + one.unused / asking > TOLERANCE:  # also where nobody answered it
            problems.append(
                f"{name}: {one.share:.1%} of its limit, and {one.unused:.1f} seconds in which it asked nothing"
            )
        if one.most > most:
            problems.append(f"{name}: {one.most:.1f} at once, where {most} were the most")
    return problems


def judge(
    folder: Path, seen: Seen, sizes: list[tuple[float, dict[str, int]]], times: Times, machines: int, codes: list[int]
) -> dict[str, Any]:
    """What holds and what does not."""
    lines = Counter(line["requestId"] for line in logged(folder))
    lost = [one for one in seen.ids if one not in lines]
    twice = [one for one, count in lines.items() if count > 1]
    limits = accounts(seen, times, machines)
    last = sizes[-1][1]
    growth = {pid: usual(sizes, pid, 0.85, 1.01) / usual(sizes, pid, 0.3, 0.45) - 1 for pid in last}
    problems = []
    if lost or seen.ids[""]:
        problems.append(f"{len(lost)} answers are not in the log, {seen.ids['']} had no id")
    if twice:
        problems.append(f"{len(twice)} requests are in the log twice")
    if seen.wrong:
        problems.append(f"{seen.wrong} answers belong to other questions")
    problems += unkept(limits, times.until - times.began, machines)
    problems += [f"process {pid} grew by {share:.0%}" for pid, share in growth.items() if share > GROWTH]
    problems += [f"a gateway ended with {code}" for code in codes if code]
    return {
        "minutes": round((times.until - times.began) / 60, 2),
        "machines": machines,
        "workers": WORKERS,
        "burst": BURST,
        "answers": sum(seen.statuses.values()),
        "statuses": dict(seen.statuses),
        "log_lines": sum(lines.values()),
        "lost": len(lost),
        "twice": len(twice),
        "aborted_uploads": seen.aborted,
        "slow_clients": seen.slow,
        "broken_answers": seen.broken,
        "reloads": len(times.reloads),
        "seconds": seconds(seen, times),
        "share_of_limit": {name: round(one.share, 4) for name, one in limits.items()},
        "limits": {
            name: {**asdict(one), "unused": round(one.unused, 2), "most": round(one.most, 2)}
            for name, one in limits.items()
        },
        "memory_mib": {
            pid: [round(found.get(pid, 0) / 1024, 1) for _, found in sizes[:: max(1, len(sizes) // 10)]] for pid in last
        },
        "growth": {pid: round(share, 4) for pid, share in growth.items()},
        "errors": (folder / "errors").read_text()[-2000:].splitlines()[-10:],
        "problems": problems,
    }


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--machines", type=int, default=1, choices=(1, 2))
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as ending:
        found = asyncio.run(soak(Path(temporary), parsed.minutes, parsed.machines, ending))
    print(json.dumps(found, indent=1))
    if parsed.minutes >= 30 and parsed.machines == 1:
        RESULTS.write_text(
            json.dumps(
                {
                    **found,
                    "memory_mib": list(found["memory_mib"].values()),
                    "growth": list(found["growth"].values()),
                    "errors": len(found["errors"]),
                },
                indent=1,
            )
            + "\n"
        )
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
