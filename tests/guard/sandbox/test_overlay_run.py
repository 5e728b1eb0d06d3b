"""`assay.api.running.run` with overlaid outputs: evidence names exactly what was written, and all of it is there."""

import json
import os
import shutil
import signal
import sys
import time
from base64 import b64decode
from pathlib import Path

import pytest

from assay.api.running import Step, run
from assay.api.signers import SignWith
from assay.config import Config
from assay.errors import AssayError
from assay.evidence import keys
from assay.guard.sandbox.interface import Isolation, Place, Wanted
from assay.guard.sandbox.plan import plan
from assay.guard.sandbox.probe import probe
from guard.sandbox import places
from guard.sandbox.places import PLACES, Scene, interpreter


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data", "home/.ssh", "out"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/train.csv", "notes.txt", "home/.ssh/id_rsa", "out/vocabulary", "out/log"):
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "key.pem").write_bytes(keys.generate().pem(None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Path(os.path.realpath(tmp_path))


def go(code: str, **more):
    (Path.cwd() / "train.py").write_text(f"import os, sys\n{code}")
    wishes = {"inputs": ("data",), "outputs": ("out",), "isolation": "strict", **more}
    step = Step((sys.executable, "train.py"), **wishes)
    return run(step, signer_choice=SignWith(key="key.pem"), directory="evidence", config=Config())


def products(made) -> list[str]:
    return [item.name for item in made.files.products]


def test_evidence_names_exactly_what_was_written(project):
    made = go("""
assert open("out/vocabulary").read() == "out/vocabulary\\n"
open("out/log", "a").write("more")
os.mkdir("out/model")
open("out/part", "w").write(open("data/train.csv").read())
os.rename("out/part", "out/model/weights")
assert open("out/model/weights").read() == "data/train.csv\\n"
open("out/gone", "w").close()
os.unlink("out/gone")
""")
    assert (made.plan.products, made.exit_code) == ("overlay", 0)
    assert products(made) == ["out/log", "out/model/weights"]
    assert made.files.warnings == ["out: 1 of 3 files were there before and are not of this run"]
    read = {item.name: (item.changed, item.sha256 is not None) for item in made.files.materials}
    assert read["out/vocabulary"] == (None, True)
    assert read["data/train.csv"] == (None, True)
    assert "out/model/weights" not in read
    assert (project / "out/log").read_text() == "out/log\nmore"
    assert (project / "out/model/weights").read_text() == "data/train.csv\n"
    assert sorted(os.listdir(project / "out")) == ["log", "model", "vocabulary"]
    assert [name for name in os.listdir(project) if name.startswith(".")] == []
    said = set()
    for bundle in made.bundles:
        statement = json.loads(b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
        said |= {item["name"] for item in statement["subject"]}
    assert {"out/log", "out/model/weights"} <= said


def test_what_was_read_and_then_changed_or_deleted_is_said(project):
    made = go("""
open("out/log").read()
open("out/log", "a").write("more")
open("out/vocabulary").read()
os.unlink("out/vocabulary")
""")
    read = {item.name: item.changed for item in made.files.materials}
    assert read["out/log"] == "written by the step after it was read"
    assert read["out/vocabulary"] == "removed by the step after it was read"
    assert products(made) == ["out/log"]
    assert made.files.deleted == [f"{project}/out/vocabulary"]
    assert os.listdir(project / "out") == ["log"]


def test_links_that_only_the_step_has_seen_hide_nothing(project):
    """They lie in the overlay when they are followed, and the monitor has to follow them there."""
    made = go("""
os.symlink(os.path.abspath("notes.txt"), "out/innocent")
os.symlink(os.path.abspath("home/.ssh/id_rsa"), "out/key")
os.mkdir("out/folder")
os.symlink(os.path.abspath("home"), "out/folder/up")
open("out/innocent").read()
for path in ("out/key", "out/folder/up/.ssh/id_rsa", "out/folder/up/../notes.txt"):
    try:
        open(path).read()
    except OSError:
        continue
    sys.exit(0 if path.endswith("notes.txt") else f"{path} was opened")
""", inputs=("data", "notes.txt"))  # fmt: skip
    assert (made.plan.products, made.exit_code) == ("overlay", 0)
    assert "notes.txt" in {item.name for item in made.files.materials}
    assert made.trace.files[os.fsencode(project / "home/.ssh/id_rsa")].rule == "secret"
    assert made.trace.files[os.fsencode(project / "notes.txt")].read == 2
    assert products(made) == []


@pytest.mark.parametrize(
    ("end", "outcome"),
    [("sys.exit(3)", "failed"), ("os.kill(os.getpid(), 9)", "killed"), ("import time; time.sleep(600)", "interrupted")],
)
def test_however_a_step_ends_what_it_wrote_is_kept(project, end, outcome):
    for seconds in (2, 10, 60) if "time" in end else (None,):
        made = go(f'open("out/checkpoint", "w").write("kept")\n{end}\n', seconds=seconds)
        if products(made):
            break  # else its time was over before this machine has come to what it writes
    assert (made.plan.products, made.outcome) == ("overlay", outcome) and made.exit_code != 0
    assert products(made) == ["out/checkpoint"]
    assert (project / "out/checkpoint").read_text() == "kept"
    assert [name for name in os.listdir(project) if name.startswith(".")] == []


def test_what_was_written_before_an_interrupt_is_kept(project):
    monitor, child = os.getpid(), os.fork()
    if not child:
        while not list(project.glob(".out.assay-*/files/checkpoint")):
            time.sleep(0.02)
        os.kill(monitor, signal.SIGINT)
        os._exit(0)
    try:
        made = go('open("out/checkpoint", "w").close()\nimport time; time.sleep(600)')
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert (made.plan.products, made.outcome) == ("overlay", "interrupted")
    assert products(made) == ["out/checkpoint"] and (project / "out/checkpoint").exists()


def test_what_a_process_left_behind_writes_is_there_too(project):
    made = go("""
if not os.fork():
    os.setsid()
    if not os.fork():
        import time
        time.sleep(0.5)
        open("out/late", "w").write("late")
    os._exit(0)
""")
    assert products(made) == ["out/late"] and (project / "out/late").read_text() == "late"


def test_a_step_that_does_not_start_leaves_nothing(project):
    Path("program").write_bytes(b"\x7fELF of no machine")
    Path("program").chmod(0o755)
    step = Step(("./program",), outputs=("out",), isolation="strict")
    with pytest.raises(AssayError, match="cannot be started"):
        run(step, signer_choice=SignWith(key="key.pem"), directory="evidence", config=Config())
    assert [name for name in os.listdir(project) if name.startswith(".")] == []
    assert sorted(os.listdir(project / "out")) == ["log", "vocabulary"]


def test_several_outputs_and_a_working_directory_in_one(project, monkeypatch):
    monkeypatch.chdir(project / "out")
    (project / "other").mkdir()
    code = "open('here', 'w').write('x'); open('../other/there', 'w').write('x')"
    step = Step((sys.executable, "-c", code), outputs=(".", "../other"), isolation="strict")
    choice = SignWith(key=str(project / "key.pem"))
    made = run(step, signer_choice=choice, directory=str(project / "evidence"), config=Config())
    assert (made.plan.products, made.exit_code) == ("overlay", 0)
    assert products(made) == ["other/there", "out/here"]


def test_where_one_output_cannot_be_laid_over_comparing_says_what_was_written(project):
    (project / "other/earlier").mkdir(parents=True)
    made = go("os.rename('other/earlier', 'other/later'); open('out/new', 'w').close()", outputs=("out", "other"))
    assert (made.plan.products, made.exit_code) == ("compared", 0)
    assert products(made) == ["out/new"]
    assert os.listdir(project / "other") == ["later"]


def test_when_it_is_chosen(project):
    out, inner, home = str(project / "out"), str(project / "home/.ssh"), str(project / "home")
    place = probe()
    assert plan(Wanted(Isolation.AUTO, write=(out,)), place).products == "opens"  # it can be watched as it grows
    assert plan(Wanted(Isolation.OFF, write=(out,)), place).products == "opens"
    assert plan(Wanted(Isolation.STRICT, write=(out,)), place).products == "overlay"
    assert plan(Wanted(Isolation.STRICT, write=(out, out)), place).products == "overlay"
    assert plan(Wanted(Isolation.STRICT, write=()), place).products == "opens"
    assert plan(Wanted(Isolation.STRICT, write=(home,)), place).products == "opens"
    assert plan(Wanted(Isolation.STRICT, write=(out, inner)), place).products == "overlay"
    (project / "out/empty").mkdir()
    assert plan(Wanted(Isolation.STRICT, write=(out,)), place).products == "opens"
    (project / "out/empty").rmdir()
    for missing in ("overlay", "mount-namespace"):
        without = Place({**place.works, missing: "not here"}, place.landlock)
        assert plan(Wanted(Isolation.STRICT, write=(out,)), without).products == "opens"
    assert (
        plan(
            Wanted(Isolation.STRICT, write=(out,)), Place({**place.works, "audit-hook": None}, 7), "audit-hook"
        ).products
        == "opens"
    )


@pytest.mark.parametrize("place", PLACES)
def test_in_every_place(place):
    scene = Scene()
    code = "open('model', 'w').write('x'); open('earlier').read(); import os; os.mkdir('d'); open('d/e', 'w').close()"
    (scene.out / "earlier").write_text("x")
    try:
        made = places.run(place, scene, [interpreter(place), "-I", "-S", "-c", code])
        exact = [f"{scene.out}/d/e", f"{scene.out}/model"]
        assert made["exit"] == 0
        assert made["products"] is None if place.endswith("container") else sorted(made["products"]) == exact
        assert sorted(os.listdir(scene.out)) == ["d", "earlier", "model"] and (scene.out / "model").read_text() == "x"
        assert [name for name in os.listdir(scene.out.parent) if name.startswith(".")] == []
    finally:
        shutil.rmtree(scene.root)


def test_the_other_tracer_sees_into_overlays_too(project):
    made = go('open("out/model", "w").write(open("data/train.csv").read())', trace="ptrace", network=None)
    assert (made.plan.trace, made.plan.products, made.exit_code) == ("ptrace", "overlay", 0)
    assert products(made) == ["out/model"]
    assert "data/train.csv" in {item.name for item in made.files.materials}
