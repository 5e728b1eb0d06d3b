"""Progress on a real terminal: shown, with a rate, and taken away again, also when the user interrupts."""

from __future__ import annotations

import os
import pickle
import pty
import subprocess
import sys
from pathlib import Path

SCAN = """
import sys
from assay.cli import main, scan_table
scan_table._WAIT = 0.0  # a wait worth explaining, without making the test wait
sys.exit(main.main(["scan", "model", "--no-cache"]))
"""

INTERRUPTED = """
import sys
from assay.cli import progress, scan_table
scan_table._WAIT = 0.0
bar = {bar}
bar(1, {total})
bar(16, {total})
raise KeyboardInterrupt
"""

HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"
"""What hides a terminal's cursor, and shows it."""


def on_a_terminal(place: Path, code: str) -> tuple[int, bytes]:
    """Exit code and output of a Python whose standard streams are a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    made = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, cwd=place, env=environment
    )
    os.close(theirs)
    out = b""
    try:
        while data := os.read(ours, 1 << 16):
            out += data
    except OSError:
        pass  # the other side is closed: Linux says so with an error
    os.close(ours)
    return made.wait(), out


def test_many_files_show_a_bar_with_a_rate(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for i in range(80):
        (tmp_path / "model" / f"{i}.pkl").write_bytes(pickle.dumps([i]))
    code, out = on_a_terminal(tmp_path, SCAN)
    assert code == 0 and b"Traceback" not in out, out
    assert b"/80" in out and b"/s" in out
    assert out.index(HIDDEN) < out.rindex(SHOWN)
    assert b"80 files: 80 safe" in out


def test_an_interrupted_bar_gives_the_cursor_back(tmp_path: Path) -> None:
    for bar, total in (("scan_table.progress('scanning')", 100), ("progress.progress('digesting')", 1 << 31)):
        code, out = on_a_terminal(tmp_path, INTERRUPTED.format(bar=bar, total=total))
        assert code != 0 and HIDDEN in out
        assert out.index(HIDDEN) < out.rindex(SHOWN), bar
