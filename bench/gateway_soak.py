"""Half an hour of bad days for a gateway: four workers on Redis, slow clients, aborted uploads, a model server that
fails, Redis stopped and started again in the middle, the configuration reloaded under load.

It looks at what must hold: no request that is not in the access log exactly once, memory that does not grow, limits
that are exact, and answers that belong to their questions.

    python bench/gateway_soak.py [--minutes 30]

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
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gateway import free_port, stop, wait_for

RESULTS = Path(__file__).parent / "results" / "gateway_soak.json"
WORKERS = 4
CALLERS = 12
"""Well-behaved: about twenty requests a second each."""
GREEDY = 4
"""Callers who ask as fast as they can, at three times their limit and more."""
RATE, BURST = 20, 40
"""Of each caller: requests a second, and at once."""
TOLERANCE = 0.02
GROWTH = 0.10
"""Of a process's memory from the end of the first third to the end."""


@dataclass
class Seen:
    """What the clients saw."""

    ids: Counter[str] = field(default_factory=Counter)
    """``X-Request-Id`` of each answer."""
    statuses: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)
    """Answers that no limit refused, by greedy caller."""
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
                    writer.write(request(key, number))
                    status, head, body = await answer(reader)
                    note(seen, status, head)
                    if status == 200 and f"[{number}]".encode() not in body:
                        seen.wrong += 1
                    if greedy and status != 429:
                        seen.allowed[greedy] += 1
                    await asyncio.sleep(chance.expovariate(1 / pause) if pause else 0)
                    if b"connection: close" in head.lower():
                        break
            finally:
                writer.close()
        await asyncio.sleep(0.01)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Status, head and body."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 90)
    return int(head[9:12]), head, await body_of(reader, head)


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
                if reader.at_eof() or time.monotonic() > until:
                    break
            seen.slow += 1
            with contextlib.suppress(TimeoutError):
                status, head, _ = await asyncio.wait_for(answer(reader), 40)
                note(seen, status, head)
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


def logged(folder: Path) -> Iterator[dict[str, str]]:
    """Each line of the access log, of rotated files too."""
    for name in sorted(glob.glob(str(folder / "access.log*"))):
        if name.endswith((".lock", ".tmp")):
            continue
        with gzip.open(name) if name.endswith(".gz") else open(name, "rb") as file:
            for line in file:
                yield json.loads(line)


async def soak(folder: Path, minutes: float) -> dict[str, Any]:
    """Run it and say what was seen."""
    upstream, port, redis_port = free_port(), free_port(), free_port()
    server = await model_server(upstream)
    keys = []
    for number in range(CALLERS + GREEDY + 2):
        words = [sys.executable, "-m", "assay", "gateway", "keys", "create", "--file", str(folder / "keys.json")]
        made = subprocess.run([*words, "--owner", f"o{number}"], check=True, capture_output=True, text=True)
        keys.append(re.search(r"assay_[A-Za-z0-9_-]+", made.stdout)[0])  # type: ignore[index]
    config = folder / "gateway.yaml"
    document = {
        "assay-gateway": 1,
        "upstream": f"http://127.0.0.1:{upstream}",
        "listen": [f"127.0.0.1:{port}"],
        "workers": WORKERS,
        "state": "state",
        "callers": {"keys": "keys.json"},
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

    def redis() -> subprocess.Popen[bytes]:
        words = ["redis-server", "--port", str(redis_port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)

    store = redis()
    wait_for(redis_port)
    words = [sys.executable, "-m", "assay", "gateway", "--config", str(config)]
    with open(folder / "errors", "wb") as errors:
        gateway = subprocess.Popen(words, stderr=errors, start_new_session=True)
    wait_for(port)
    seen, began = Seen(), time.monotonic()
    until = began + minutes * 60
    tasks = [asyncio.create_task(ask(port, key, seen, until, 0.06)) for key in keys[:CALLERS]]
    for key in keys[CALLERS : CALLERS + GREEDY]:
        tasks += [asyncio.create_task(ask(port, key, seen, until, 0.06, key[-8:])) for _ in range(4)]
    tasks += [asyncio.create_task(slow(port, keys[-2], seen, until)) for _ in range(5)]
    tasks += [asyncio.create_task(abort(port, keys[-1], seen, until)) for _ in range(2)]
    sizes: list[tuple[float, dict[str, int]]] = []
    done = {"stopped": False, "started": False}
    reloads = 0
    while time.monotonic() < until:
        await asyncio.sleep(min(10, minutes * 3))
        now = (time.monotonic() - began) / (minutes * 60)
        sizes.append((now, memory(gateway.pid)))
        if now > 0.4 and not done["stopped"]:
            stop(store)
            done["stopped"] = True
        elif now > 0.5 and not done["started"]:
            store = redis()
            done["started"] = True
        if len(sizes) % 6 == 0:
            os.kill(gateway.pid, signal.SIGHUP)
            reloads += 1
    await asyncio.gather(*tasks)
    seconds = time.monotonic() - began
    await asyncio.sleep(12)  # uploads that were begun run into their time-out
    gateway.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(gateway.wait, 60)
    stop(store)
    server.close()
    return judge(folder, seen, sizes, seconds, reloads, code)


def judge(
    folder: Path, seen: Seen, sizes: list[tuple[float, dict[str, int]]], seconds: float, reloads: int, code: int
) -> dict[str, Any]:
    """What holds and what does not."""
    lines = Counter(line["requestId"] for line in logged(folder))
    lost = [one for one in seen.ids if one not in lines]
    twice = [one for one, count in lines.items() if count > 1]
    expected = RATE * seconds
    limits = {name: (count - BURST) / expected for name, count in seen.allowed.items()}
    early = [found for at, found in sizes if 0.3 < at < 0.4] or [sizes[0][1]]
    last = sizes[-1][1]
    growth = {pid: last[pid] / (sum(found.get(pid, last[pid]) for found in early) / len(early)) - 1 for pid in last}
    problems = []
    if lost or seen.ids[""]:
        problems.append(f"{len(lost)} answers are not in the log, {seen.ids['']} had no id")
    if twice:
        problems.append(f"{len(twice)} requests are in the log twice")
    if seen.wrong:
        problems.append(f"{seen.wrong} answers belong to other questions")
    problems += [f"{name}: {share:.1%} of its limit" for name, share in limits.items() if abs(share - 1) > TOLERANCE]
    problems += [f"process {pid} grew by {share:.0%}" for pid, share in growth.items() if share > GROWTH]
    if code:
        problems.append(f"the gateway ended with {code}")
    return {
        "minutes": round(seconds / 60, 2),
        "workers": WORKERS,
        "answers": sum(seen.statuses.values()),
        "statuses": dict(seen.statuses),
        "log_lines": sum(lines.values()),
        "lost": len(lost),
        "twice": len(twice),
        "aborted_uploads": seen.aborted,
        "slow_clients": seen.slow,
        "reloads": reloads,
        "share_of_limit": {name: round(share, 4) for name, share in limits.items()},
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
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = asyncio.run(soak(Path(temporary), parsed.minutes))
    print(json.dumps(found, indent=1))
    if parsed.minutes >= 30:
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
