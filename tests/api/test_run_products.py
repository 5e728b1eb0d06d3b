"""What a step made is known by looking at its outputs before and after, whoever watched it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from assay.api.running import Ran, Step, run
from assay.api.signers import SignWith
from assay.collect.step.comparing import compare, look
from assay.config import Config
from assay.evidence import keys

STEP = """
import os, subprocess
open("out/new", "w").write("1")
open("out/grown", "a").write("2")
open("out/part", "w").write("3")
os.replace("out/part", "out/moved")
os.mkdir("out/part")
open("out/part/inner", "w").write("4")
os.rename("out/part", "out/arrived")
open("out/left").read()
os.remove("out/dropped")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("out", "home"):
        (tmp_path / name).mkdir()
    for name in ("grown", "left", "dropped", "other"):
        (tmp_path / "out" / name).write_text("0")
    (tmp_path / "step.py").write_text(STEP)
    (tmp_path / "key.pem").write_bytes(keys.generate().pem(None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Path(os.path.realpath(tmp_path))


def go(*command: str, **more: object) -> Ran:
    step = Step(command or (sys.executable, "step.py"), outputs=("out",), allow_degraded=True, **more)  # type: ignore[arg-type]
    return run(step, signer_choice=SignWith(key="key.pem"), directory="evidence", config=Config())


def names(made: Ran) -> list[str]:
    return [item.name for item in made.files.products]


def gaps(made: Ran) -> set[str]:
    return {gap.name for gap in made.trace.gaps}


@pytest.mark.parametrize("isolation", ["auto", "off"])
@pytest.mark.parametrize("tracer", ["seccomp-unotify", "ptrace", "audit-hook"])
def test_products_are_exact_whoever_watches(project, tracer, isolation):
    made = go(trace=tracer, isolation=isolation)
    assert (made.trace.mechanism, made.plan.products, made.exit_code) == (tracer, "compared", 0)
    assert names(made) == ["out/arrived/inner", "out/grown", "out/moved", "out/new"]
    assert made.files.deleted == [f"{project}/out/dropped"]
    assert "unseen-products" not in gaps(made)


def test_the_hook_alone_tells_what_was_written_where_nothing_was_declared(project):
    (project / "elsewhere").mkdir()
    (project / "kept").write_text("0")
    code = "open('elsewhere/a', 'w').write('x'); open('kept', 'a').write('1'); open('part', 'w'); "
    code += "__import__('os').replace('part', 'whole'); open('key.pem').read()"
    step = Step((sys.executable, "-c", code), isolation="off", network=None, allow_degraded=True, trace="audit-hook")
    made = run(step, signer_choice=SignWith(key="key.pem"), directory="evidence", config=Config())
    assert names(made) == ["elsewhere/a", "kept", "whole"]


def test_a_product_that_nobody_saw_being_made_is_a_product_and_a_gap(project):
    """Somebody beside the step writes into its output, as a program that the monitor does not see would."""
    started = threading.Event()

    def write() -> None:
        while not (project / "out/ready").exists():
            time.sleep(0.01)
        (project / "out/foreign").write_text("x")
        (project / "out/other").write_text("y")
        started.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    code = "import os, time\nopen('out/ready', 'w').close()\n"
    code += "while not os.path.exists('out/foreign') or open('out/other').read() != 'y': time.sleep(0.01)"
    made = go(sys.executable, "-c", code)
    thread.join()
    assert started.is_set() and made.exit_code == 0
    assert names(made) == ["out/foreign", "out/other", "out/ready"]
    (gap,) = [gap for gap in made.trace.gaps if gap.name == "unseen-products"]
    assert "out/foreign, out/other changed" in gap.message and tuple(gap.about) == ("files",)
    assert b"unseen-products" in b"".join(map(payload, made.bundles))


def payload(bundle: bytes) -> bytes:
    from base64 import b64decode

    return b64decode(json.loads(bundle)["dsseEnvelope"]["payload"])


def test_a_hole_of_the_monitor_cannot_hide_a_product(project):
    """A C program that the audit hook does not see writes a file: it is a product all the same."""
    made = go("/bin/sh", "-c", "echo x > out/hidden", trace="audit-hook", isolation="off")
    assert names(made) == ["out/hidden"] and "unseen-products" in gaps(made)


def test_a_log_that_we_write_ourselves_is_no_product(project):
    with open("out/log", "wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "assay", "run", "--json", "-d", "evidence", "--key", "key.pem", "--outputs", "out",
             "--", sys.executable, "-c", "print('noise'); open('out/new', 'w').close()"],
            stdout=subprocess.PIPE, stderr=log, check=False,
        )  # fmt: skip
    document = json.loads(done.stdout)
    assert [item["name"] for item in document["products"]] == ["out/new"]
    assert "unseen-products" not in {gap["name"] for gap in document["gaps"]}


def test_times_that_were_put_back_hide_nothing(project):
    path = project / "out/left"
    before = look([str(project / "out")])
    assert before is not None
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    time.sleep(0.05)  # the clock of files may stand still for some milliseconds (before Linux 6.13)
    path.write_text("1")
    os.utime(path, ns=times)
    assert compare(before).changed == {str(path)}


def test_permissions_alone_make_a_product_but_nothing_unseen(project):
    before = look([str(project / "out")])
    assert before is not None
    (project / "out/left").chmod(0o600)
    found = compare(before)
    assert (found.changed, found.rewritten, found.gone) == ({f"{project}/out/left"}, set(), set())


def test_too_many_files_are_not_compared(project):
    assert look([str(project / "out")], most=3) is None
    assert look([str(project / "out")], most=4) is not None
