"""Reading objects from a ``git cat-file`` process as streams.

Every object is hashed again while it passes, since git itself trusts what lies in its object folder. Memory
stays bounded whatever an object's size.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator

from assay.errors import TargetError
from assay.targets.git.repository import Repository, command, last_line, not_started
from assay.targets.names import shown

CHUNK = 1024 * 1024
"""Bytes that are read from git at a time."""


class CatFile:
    """One ``git cat-file --batch`` process. Objects come as streams, in the order of the requests."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
        try:
            self._process = subprocess.Popen(
                command(("cat-file", "--batch")),
                cwd=repository.directory,
                env=repository.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                bufsize=CHUNK,
            )
        except OSError as error:
            self._messages.close()
            raise not_started(error, repository.directory) from None
        assert self._process.stdin and self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        self._writer: threading.Thread | None = None

    def request(self, oid: str) -> None:
        """Ask for one object."""
        with contextlib.suppress(BrokenPipeError):  # `read` says why the process ended
            self._in.write(oid.encode() + b"\n")
            self._in.flush()

    def request_all(self, oids: Iterable[str]) -> None:
        """Ask for many objects, and none after them, while the caller reads: git never waits for a name."""

        def write() -> None:
            with contextlib.suppress(OSError, ValueError):
                self._in.writelines(oid.encode() + b"\n" for oid in oids)
                self._in.close()

        self._writer = threading.Thread(target=write, daemon=True)
        self._writer.start()

    def read(self, oid: str, what: str, *, limit: int | None = None) -> Iterator[bytes]:
        """The next object's bytes, which must be ``oid``; their hash is checked at the end.

        ``what`` names the object in messages. `TargetError`, also for one of more than ``limit`` bytes.
        """
        header = self._out.readline(4096).split()
        if len(header) != 3 or header[0].decode("ascii", "replace") != oid:
            if len(header) == 2 and header[1] == b"missing":
                raise TargetError(
                    f"the repository lacks the object of {shown(what)}",
                    hint="the clone is partial or damaged: git fetch --refetch, or git fsck",
                )
            raise TargetError(f"git cannot read the object of {shown(what)}: {self._message()}")
        left = int(header[2])
        if limit is not None and left > limit:
            raise TargetError(f"the object of {shown(what)} is longer than {limit} bytes")
        start = b"%s %d\0" % (header[1], left)
        digest = hashlib.new(self._repository.algorithm, start, usedforsecurity=False)
        while left:
            data = self._out.read(min(left, CHUNK))
            if not data:
                raise TargetError(f"git stopped while reading the object of {shown(what)}: {self._message()}")
            left -= len(data)
            digest.update(data)
            yield data
        self._out.read(1)
        if digest.hexdigest() != oid:
            raise TargetError(
                f"the object of {shown(what)} is not what its id says ({oid})",
                hint="the repository is damaged: git fsck",
            )

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        if self._writer is not None:
            self._writer.join()
        for stream in (self._in, self._out, self._messages):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()

    def _message(self) -> str:
        self._messages.seek(0)
        return last_line(self._messages.read(100_000).decode("utf-8", "replace"))

    def __enter__(self) -> CatFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
