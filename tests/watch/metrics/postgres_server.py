"""A real PostgreSQL in a temporary folder, as a user without privileges, reachable by a Unix socket only."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

NOBODY = 65534


def programs() -> str | None:
    """The folder of ``initdb`` and ``postgres``, or None where PostgreSQL is not installed."""
    folders = [*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True), *os.get_exec_path()]
    return next((f for f in folders if all(os.access(f"{f}/{name}", os.X_OK) for name in ("initdb", "pg_ctl"))), None)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Its address while it runs."""
    found = programs()
    assert found is not None
    folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")  # short: a socket's path has 107 characters
    as_user: dict[str, int] = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        os.chown(folder, NOBODY, NOBODY)
        as_user = {"user": NOBODY, "group": NOBODY}

    def call(program: str, *arguments: str) -> None:
        command = [f"{found}/{program}", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)

    try:
        call("initdb", "-D", f"{folder}/data", "-U", "assay", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", "start", "-w", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options)
        try:
            yield f"postgresql://assay@/postgres?host={folder}"
        finally:
            call("pg_ctl", "stop", "-w", "-m", "immediate", "-D", f"{folder}/data")
    finally:
        shutil.rmtree(folder)
