"""What a trace becomes: materials with digests, products, what changed, what was never there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.collect.step.files import Places, examine
from assay.collect.step.interface import Origin
from assay.collect.step.statements import FAILED, Run, outcome, statements
from assay.collect.trace.interface import Contact, Decision, FileUse, Gap, Process, Stat, Trace, Usage
from assay.evidence import predicates
from assay.targets.registry import resolve

USAGE = Usage(1.0, 0.5, 0.1, 1 << 20)


def stat_of(path: Path) -> Stat:
    now = os.stat(path)
    return Stat(now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_mode)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name in ("code", "data", "out", "env", "private"):
        (tmp_path / name).mkdir()
    return Places(
        "train",
        str(tmp_path / "code"),
        (str(tmp_path / "data"),),
        (str(tmp_path / "out"),),
        (str(tmp_path / "env"),),
        str(tmp_path / "private"),
    )


def trace(*uses: FileUse, exit_code: int | None = 0, **more: Any) -> Trace:
    return Trace(
        "seccomp-unotify",
        1_700_000_000_000_000_000,
        1_700_000_004_000_000_000,
        exit_code,
        None if exit_code is not None else 9,
        [Process(10, None, b"/usr/bin/python3", (b"python3", b"train.py"), 1)],
        {use.path: use for use in uses},
        more.pop("contacts", ()),
        (),
        100,
        (Gap("racing-threads", "a thread may change a path", ("files",)),),
        USAGE,
        **more,
    )


def use(path: Path, **more: Any) -> FileUse:
    first = more.pop("first", "now")
    return FileUse(os.fsencode(path), first=stat_of(path) if first == "now" else first, **more)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


RUN = Run("train", ("python3", "train.py"), "0a1b", "https://assay.dev/builder/key/1", "hidden", ("PATH",))


def test_what_was_read_is_digested_and_sorted_by_where_it_belongs(places: Places, tmp_path: Path) -> None:
    data = written(tmp_path / "data" / "a.csv", "1,2")
    code = written(tmp_path / "code" / "pkg" / "train.py", "print()")
    library = written(tmp_path / "env" / "lib" / "numpy.py", "x")
    found = examine(trace(use(data, read=1), use(code, read=2), use(library, read=1)), places)
    assert [(item.origin, item.name, item.sha256) for item in found.materials] == [
        (Origin.INPUT, "data/a.csv", sha256(data)),
        (Origin.CODE, "pkg/train.py", sha256(code)),
        (Origin.INSTALLATION, "$ENV/lib/numpy.py", sha256(library)),
    ]
    assert not found.warnings


def test_what_was_not_there_is_no_material(places: Places, tmp_path: Path) -> None:
    found = examine(trace(FileUse(os.fsencode(tmp_path / "code" / "missing.py"), read=3)), places)
    assert (found.materials, found.products, found.warnings) == ([], [], [])


def rewrite(path: Path) -> None:
    path.write_text("9,9")


def swap(path: Path) -> None:
    """Other bytes of the same size under the same name, with the old modification time."""
    old = os.stat(path)
    other = path.with_name("other")
    other.write_text("8,8")
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", [rewrite, swap])
def test_an_input_that_changed_during_the_run_is_said(
    places: Places, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    data = written(tmp_path / "data" / "a.csv", "1,2")
    seen = use(data, read=1)
    change(data)
    found = examine(trace(seen), places)
    assert found.materials[0].changed == "modified during the run"
    assert found.warnings == ["data/a.csv: modified during the run"]


def test_an_input_that_the_step_wrote_after_reading_it(places: Places, tmp_path: Path) -> None:
    data = written(tmp_path / "data" / "a.csv", "1,2")
    seen = use(data, read=1, written=1)
    data.write_text("3")
    found = examine(trace(seen), places)
    assert found.materials[0].changed == "written by the step after it was read"
    assert [(item.name, item.output) for item in found.products] == [("data/a.csv", None)]


def test_an_input_that_is_gone_keeps_its_place_without_a_digest(places: Places, tmp_path: Path) -> None:
    data = written(tmp_path / "data" / "a.csv", "1,2")
    seen = use(data, read=1)
    data.unlink()
    found = examine(trace(seen), places)
    assert (found.materials[0].sha256, found.materials[0].changed) == (None, "gone when the step had ended")


def test_products_are_what_was_written_and_is_still_there(places: Places, tmp_path: Path) -> None:
    model = written(tmp_path / "out" / "model.bin", "weights")
    kept = written(tmp_path / "out" / "old.txt", "old")
    scratch = tmp_path / "out" / "scratch"
    found = examine(
        trace(
            use(model, written=1, first=None),
            use(kept, written=1),
            FileUse(os.fsencode(scratch), written=1, removed=1, exclusive=True),
        ),
        places,
    )
    assert [(item.name, item.sha256, item.output) for item in found.products] == [("out/model.bin", sha256(model), 0)]
    assert found.ephemeral == 1
    with resolve(f"dir:{tmp_path / 'out'}") as target:
        assert found.outputs[0].contents == target.manifest().contents().hex()


def test_a_file_that_was_there_and_is_removed_is_said(places: Places, tmp_path: Path) -> None:
    old = written(tmp_path / "out" / "old.txt", "old")
    seen = use(old, removed=1)
    old.unlink()
    assert examine(trace(seen), places).deleted == [str(old)]


def test_a_file_that_was_only_refused_is_neither(places: Places, tmp_path: Path) -> None:
    key = written(tmp_path / "home" / "id_rsa", "secret")
    found = examine(trace(use(key, read=1, denied=1)), places)
    assert not found.materials


def test_a_link_stands_for_the_file_that_it_leads_to(places: Places, tmp_path: Path) -> None:
    data = written(tmp_path / "data" / "a.csv", "1,2")
    link = tmp_path / "code" / "a.csv"
    link.symlink_to(data)
    found = examine(trace(use(link, read=1), use(data, read=1)), places)
    assert [item.name for item in found.materials] == ["data/a.csv"]


def test_an_overlay_knows_better_than_opens(places: Places, tmp_path: Path) -> None:
    model = written(tmp_path / "out" / "model.bin", "weights")
    other = written(tmp_path / "out" / "touched", "x")
    found = examine(trace(use(other, written=1, first=None)), places, written=[str(model)])
    assert [item.name for item in found.products] == ["out/model.bin"]


def test_a_crowd_of_files_is_one_entry_with_a_list(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.collect.step.files.AGGREGATE", 3)
    files = [written(tmp_path / "data" / "shards" / f"{i}", str(i)) for i in range(5)]
    found = examine(trace(*(use(file, read=1) for file in files)), places)
    assert not found.materials
    (crowd,) = found.aggregates
    assert (crowd.name, crowd.files) == ("data/shards", 5)
    assert crowd.contents == hashlib.sha256(crowd.manifest).hexdigest()
    assert crowd.manifest.splitlines()[0] == f"{sha256(files[0])} 1 13:data/shards/0".encode()


def test_a_name_that_is_no_utf8_does_no_harm(places: Places, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "data") + b"/\xff\xfe"
    with open(path, "w") as file:
        file.write("x")
    found = examine(trace(FileUse(path, read=1, first=stat_of(Path(os.fsdecode(path))))), places)
    assert found.materials[0].name == "data/\\xff\\xfe"


def test_the_statements_have_their_types_form_and_name_the_output(places: Places, tmp_path: Path) -> None:
    data = written(tmp_path / "data" / "a.csv", "1,2")
    model = written(tmp_path / "out" / "model.bin", "weights")
    seen = trace(use(data, read=1), use(model, written=1, first=None))
    found = examine(seen, places, attestations=lambda contents: [{"digest": contents, "by": "alice"}])
    made = statements(seen, found, RUN)
    for item in made:
        predicates.check(item.predicate_type, item.predicate)
        assert [subject.name for subject in item.subjects] == ["out", "out/model.bin"]
    assert [item.predicate_type.split("/")[-2] for item in made] == ["link", "runtime-trace", "provenance"]
    inputs = made[2].predicate["buildDefinition"]["resolvedDependencies"][0]
    with resolve(f"dir:{tmp_path / 'data'}") as target:
        contents = target.manifest().contents().hex()
    assert inputs["digest"]["sha256"] == contents
    assert inputs["annotations"]["attestations"] == [{"digest": contents, "by": "alice"}]


@pytest.mark.parametrize(("exit_code", "interrupted"), [(1, None), (None, None), (0, "interrupted")])
def test_a_run_that_did_not_succeed_is_evidence_about_itself_only(
    places: Places, tmp_path: Path, exit_code: int | None, interrupted: str | None
) -> None:
    model = written(tmp_path / "out" / "model.bin", "half of it")
    seen = trace(use(model, written=1, first=None), exit_code=exit_code, interrupted=interrupted)
    made = statements(seen, examine(seen, places), RUN)
    assert [item.predicate_type.split("/")[-2] for item in made] == ["link", "runtime-trace"]
    for item in made:
        assert [subject.name for subject in item.subjects] == ["run:0a1b"]
    assert made[0].predicate["byproducts"]["outcome"] != "success"


def test_equal_contacts_are_counted(places: Places) -> None:
    one = Contact(1, 0, "connect", "inet", "tcp", "192.0.2.1", 443, "pypi.org", Decision.DENIED, "net:none")
    seen = trace(contacts=[one, one], exit_code=3)
    assert outcome(seen) == FAILED
    observed = statements(seen, examine(seen, places), RUN)[1].predicate
    assert observed["monitorLog"]["network"] == [
        {
            "call": "connect",
            "family": "inet",
            "transport": "tcp",
            "host": "pypi.org",
            "address": "192.0.2.1",
            "port": 443,
            "decision": "denied",
            "rule": "net:none",
            "times": 2,
        }
    ]
