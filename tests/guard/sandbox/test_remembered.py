"""What is remembered of a place is a yes to everything, only as long as nothing has changed, and is never trusted."""

import json
import os
import subprocess
import sys

import pytest

from assay.guard.sandbox import remembered
from assay.guard.sandbox.probe import forget, probe
from guard.sandbox.places import interpreter, plain_user, refuse_namespaces

ALL = dict.fromkeys(remembered.NEEDED)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    probe.cache_clear()
    yield tmp_path / "assay"
    probe.cache_clear()


def test_it_makes_a_folder_of_ours_and_no_other(folder, monkeypatch, tmp_path):
    remembered.remember(ALL)
    assert remembered.recall() == ALL and os.listdir(folder) == ["place.json"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    remembered.remember(ALL)
    assert remembered.recall() is None and not (tmp_path / "none").exists()


def test_a_place_where_everything_works_is_remembered(folder):
    folder.mkdir()
    remembered.remember(ALL)
    assert remembered.recall() == ALL
    assert os.listdir(folder) == ["place.json"]
    remembered.forget()
    assert remembered.recall() is None and not os.listdir(folder)


@pytest.mark.parametrize("name", remembered.NEEDED)
def test_a_no_is_not_remembered_and_not_believed(folder, name):
    folder.mkdir()
    for works in ({**ALL, name: "refused"}, {key: why for key, why in ALL.items() if key != name}):
        remembered.remember(works)
        assert not os.listdir(folder)
        document = {"here": remembered.circumstances(), "works": works}
        (folder / "place.json").write_text(json.dumps(document))
        assert remembered.recall() is None
        (folder / "place.json").unlink()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"here": 1, "works": {}}', '{"here": "x", "works": {}, "more": 1}', "\x00" * 70000]
)
def test_nonsense_is_not_believed(folder, text):
    folder.mkdir()
    (folder / "place.json").write_text(text)
    assert remembered.recall() is None


def test_what_was_remembered_elsewhere_is_not_believed(folder):
    folder.mkdir()
    remembered.remember(ALL)
    document = json.loads((folder / "place.json").read_text())
    (folder / "place.json").write_text(json.dumps({**document, "here": "0" * 64}))
    assert remembered.recall() is None


def _child(become):
    """The circumstances of a child that has become something else."""
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            become()
            os.write(tell, remembered.circumstances().encode())
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(told) as file:
        answer = file.read()
    os.waitpid(child, 0)
    return answer


def test_another_user_or_a_filter_is_another_place():
    mine = remembered.circumstances()
    user = plain_user()
    assert _child(lambda: None) == mine
    other = _child(lambda: os.setresuid(user, user, user))
    filtered = _child(refuse_namespaces)
    assert len({mine, other, filtered}) == 3 and all(map(len, (other, filtered)))


def test_the_probe_believes_it_and_asks_again_when_it_was_forgotten(folder):
    found = probe()
    invented = {**ALL, "invented": None}
    remembered.remember(invented)
    probe.cache_clear()
    assert probe().works == invented
    assert "invented" not in probe(everything=True).works  # whoever wants to know all of it gets no memory
    assert "invented" not in probe("ptrace").works
    forget()
    assert probe().works == found.works


def test_a_wrong_yes_stops_the_step_and_is_forgotten(tmp_path):
    """In a place without namespaces, somebody's file says that all of them are there."""
    home = tmp_path / "home"
    (home / "assay").mkdir(parents=True)
    script = f"""
import json, os, sys
from guard.sandbox.places import refuse_namespaces
from assay.cli.main import main
from assay.guard.sandbox import remembered
main(["keys", "generate"])
refuse_namespaces()
works = dict.fromkeys(remembered.NEEDED)
remembered.remember(works)
assert remembered.recall() == works
code = main(["run", "-q", "--", "sh", "-c", "echo ran > {tmp_path}/ran"])
print(code, remembered.recall(), os.path.exists("{tmp_path}/ran"))
"""
    paths = os.pathsep.join(path for path in sys.path if path)
    variables = {**os.environ, "PYTHONPATH": paths, "HOME": str(home)}
    variables |= {f"XDG_{kind}_HOME": str(home) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    done = subprocess.run(
        [interpreter("root"), "-c", script], env=variables, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["3 None False"], done.stdout + done.stderr
