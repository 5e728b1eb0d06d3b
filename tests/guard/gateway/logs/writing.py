"""A process that writes an access log, for tests that stop it, kill it or take its disk away.

``FILE ROTATE WORKER COUNT WHAT`` where WHAT is ``close`` (clean stop), ``kill`` (says what was flushed, then waits to
be killed) or ``full`` (its files may not grow for a while).
"""

from __future__ import annotations

import resource
import sys
import time

from assay.guard.gateway.logs import EVERY
from assay.guard.gateway.logs.writer import Writer
from assay.guard.gateway.settings.keeping import Log
from assay.guard.gateway.settings.words import Bytes
from guard.gateway.logs.contexts import finished


def main(path: str, rotate: int, worker: int, count: int, what: str) -> None:
    log = Log(file=path, rotate=Bytes(rotate), keep=1000, compress=False)
    writer = Writer(log, path, b"k")
    if what == "full":
        full(writer, path)
        return
    writer.start()
    for number in range(count):
        context = finished()
        context.id = context.request_id = f"{worker:08x}{number:024x}"
        writer.write(context)
        while writer.waiting > 4000:  # a test is faster than requests are
            time.sleep(0.002)
    if what == "kill":
        while writer.waiting:
            time.sleep(EVERY)
        for number in range(50):
            context = finished()
            context.id = context.request_id = f"ffffffff{number:024x}"
            writer.write(context)
        print("flushed", flush=True)
        time.sleep(600)
    lost = writer.close(patience=60.0)  # on a busy machine who holds the file's lock may not be run for seconds
    print(lost, flush=True)


def full(writer: Writer, path: str) -> None:
    """The limit stands where a line is written in part."""
    for number in range(10):
        writer.write(finished(number))
    writer.flush()
    size = len(open(path, "rb").read())  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_FSIZE, (size * 2 + 100, resource.RLIM_INFINITY))
    for number in range(10, 60_000):
        writer.write(finished(number))
    writer.flush()
    print(writer.waiting, writer.lost, writer.problem, flush=True)
    data = open(path, "rb").read()  # noqa: SIM115
    print(data.count(b"\n"), int(data.endswith(b"\n")), flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    writer.flush()
    for number in range(60_000, 60_005):
        writer.write(finished(number))
    print(writer.close(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
