"""`assay run` ends without taking itself apart; nothing that was to be done or said at the end may get lost by that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.test_run_cli import assay
from cli.test_run_cli import place as place

CALLED = """
import atexit, sys, threading
atexit.register(print, "the end")
if {thread}:
    threading.Thread(target=lambda: (threading.main_thread().join(), print("a thread's end"))).start()
from assay.cli.main import main
sys.argv[1:] = ["run", "-q", "--", "sh", "-c", "exit {code}"]
sys.exit(main())
"""


@pytest.mark.parametrize("code", [0, 7])
@pytest.mark.parametrize("thread", [False, True])
def test_what_was_to_be_done_at_the_end_is_done(place: Path, code: int, thread: bool) -> None:
    text = CALLED.format(code=code, thread=thread)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines() == (["a thread's end"] if thread else []) + ["the end"]


def test_a_long_answer_is_written_to_its_end(place: Path) -> None:
    text = "for i in range(1500): open(f'out/{i}', 'w').write(str(i))"
    done = assay("run", "--json", "--outputs", "out", "--", sys.executable, "-c", text, code=0)
    assert len(json.loads(done.stdout)["products"]) == 1500 and len(done.stdout) > 100_000


def test_an_answer_that_cannot_be_written_is_no_success(place: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "assay", "run", "--json", "--", "true"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode not in (0, 1) and "No space left on device" in done.stderr


def test_closed_streams_are_no_obstacle(place: Path) -> None:
    words = f"exec {sys.executable} -m assay run -q -- sh -c 'exit 5' >&- 2>&-"
    assert subprocess.run(["sh", "-c", words], check=False).returncode == 5
