"""A hostile step against its own evidence: what it used may not be missing from it, and what it did not make may not
be in it. As root and as an ordinary user, with namespaces and without.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import traceback
from base64 import b64decode
from pathlib import Path

import pytest

from assay.api.running import Step, run
from assay.api.signers import SignWith
from assay.collect.trace import kernel
from assay.config import Config
from assay.errors import AssayError, UndecidedError, UsageError
from assay.evidence import keys
from assay.guard.sandbox.probe import probe
from collect.trace.steps import plain_user
from guard.sandbox.places import PLACES, interpreter, refuse_namespaces

LINK = "https://in-toto.io/attestation/link/v0.3"
SLSA = "https://slsa.dev/provenance/v1"

STEP = """
import ctypes, os
here, temporary = os.getcwd(), os.environ["TMPDIR"]
other = f"{here}/other"
libc = ctypes.CDLL(None)
read = lambda path: open(path).read()

def exchange(one, two):
    assert not libc.renameat2(-100, one, -100, two, 2)

# A link that leads to something harmless before and after.
link = "out/turned"
for target in ("data/a.csv", "other/turned.csv", "data/a.csv"):
    os.symlink(f"{here}/{target}", link)
    read(link)
    os.unlink(link)

# Through the private folder, of which nothing is a material.
os.symlink(other, f"{temporary}/folder")
read(f"{temporary}/folder/private.csv")
os.symlink(f"{here}/out", f"{temporary}/back")
open(f"{temporary}/back/made", "w").write("1")

# A link that leads to an input in the end, which was read before.
os.symlink(f"{other}/decoy.csv", "out/decoy")
read("out/decoy")
os.unlink("out/decoy")
os.symlink(f"{here}/data/a.csv", "out/decoy")

# A link that leads to what is refused in the end.
os.symlink(f"{other}/refused.csv", "out/refused")
read("out/refused")
os.unlink("out/refused")
os.symlink(f"{here}/home/.ssh/id_rsa", "out/refused")

# One that was there, of which only the end is known.
read("out/old")
os.unlink("out/old")
os.symlink(f"{here}/data/a.csv", "out/old")

# A folder that is another one for a while.
read("out/one/x")
exchange(b"out/one", b"out/two")
read("out/one/x")
exchange(b"out/one", b"out/two")

# Words that look like files of /proc.
os.chdir("other")
read("//proc/self/cwd/words-1.csv")
read("/./proc/self/cwd/words-2.csv")
read("/usr/../proc/self/cwd/words-3.csv")
read("/proc/self/../self/cwd/words-4.csv")
read(f"/proc/self/task/{os.getpid()}/../../cwd/words-5.csv")
read("/proc/self/cwd/../other/words-6.csv")
os.symlink("/proc/self/cwd", f"{here}/out/magic")
os.chdir(here)

# What it did not make, as its product.
os.symlink("/etc/passwd", "out/passwd")
os.symlink(f"{here}/data/a.csv", "out/product")

# What it has read, gone; and a folder of its own that cannot be removed.
read("out/early.csv")
os.unlink("out/early.csv")
os.makedirs(f"{temporary}/kept/deep")
os.chmod(f"{temporary}/kept", 0)
"""
STOLEN = ["turned", "private", "decoy", "refused", "old", *(f"words-{i}" for i in range(1, 7))]


def project() -> Path:
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="assay-red-")))
    for name in ("data", "other", "home/.ssh", "out/one", "out/two", "temporary"):
        (root / name).mkdir(parents=True)
    for name in (
        "data/a.csv", "home/.ssh/id_rsa", "out/one/x", "out/two/x", "out/early.csv",
        *(f"other/{name}.csv" for name in STOLEN),
    ):  # fmt: skip
        (root / name).write_text(f"{name}\n")
    (root / "out/old").symlink_to(root / "other/old.csv")
    (root / "key.pem").write_bytes(keys.generate().pem(None))
    (root / "step.py").write_text(STEP)
    return root


def lived(place: str, root: Path) -> dict:
    """Run the step in a forked child that has become the place; what its evidence says."""
    user = plain_user() if place.startswith("user") else 0
    if user:
        root.chmod(0o755)
        for path in (root, *root.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        os.close(told)
        try:
            program = interpreter(place)
            if user:
                loaded(root)
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
            if place.endswith("container"):
                refuse_namespaces()
            said = evidence(root, program)
        except BaseException:
            said = {"failed": traceback.format_exc()}
        with os.fdopen(tell, "w") as file:
            json.dump(said, file)
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as file:
        said = json.load(file)
    os.waitpid(child, 0)
    assert "failed" not in said, said["failed"]
    return said


def loaded(root: Path) -> None:
    """Load what a run needs while we may: this Python may lie in root's home."""
    with tempfile.TemporaryDirectory() as folder:
        step = Step(("/usr/bin/touch", f"{folder}/out/made"), inputs=(str(root / "data"),), outputs=(f"{folder}/out",))
        run(step, signer_choice=SignWith(key=str(root / "key.pem")), directory=f"{folder}/evidence", config=Config())


def evidence(root: Path, program: str) -> dict:
    os.environ.update(HOME=str(root / "home"), TMPDIR=str(root / "temporary"))
    tempfile.tempdir = None
    os.chdir(root)
    probe.cache_clear()
    step = Step((program, "-I", "-S", "step.py"), inputs=("data",), outputs=("out",))
    made = run(step, signer_choice=SignWith(key="key.pem"), directory="evidence", config=Config())
    statements = [json.loads(b64decode(json.loads(raw)["dsseEnvelope"]["payload"])) for raw in made.bundles]
    return {
        "exit": made.exit_code,
        "tier": made.plan.tier,
        "gaps": [gap.name for gap in made.trace.gaps],
        "products": [item.name for item in made.files.products],
        "left": os.listdir(root / "temporary"),
        "statements": {item["predicateType"]: item for item in statements},
    }


@pytest.fixture(scope="module", params=PLACES)
def said(request):
    root = project()
    try:
        yield lived(request.param, root) | {"place": request.param}
    finally:
        shutil.rmtree(root)


def dependencies(said: dict) -> dict[str, dict]:
    found = said["statements"][SLSA]["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {item["name"]: item for item in found}


def test_the_place_is_what_it_claims_to_be(said):
    assert said["exit"] == 0
    assert (said["tier"] == 1) != said["place"].endswith("container")


@pytest.mark.parametrize("name", [name for name in STOLEN if name != "old"])
def test_what_was_read_by_another_name_is_listed_with_its_digest(said, name):
    assert dependencies(said)[f"other/{name}.csv"]["digest"]["sha256"]


@pytest.mark.parametrize("name", ["old", "early.csv"])
def test_what_can_no_longer_be_digested_is_listed_without_a_digest(said, name):
    item = dependencies(said)[f"out/{name}"]
    assert "digest" not in item and item["annotations"]["changed"]
    assert f"out/{name}" in said["statements"][LINK]["predicate"]["byproducts"]["uncertain"]


def test_what_cannot_be_told_is_a_gap(said):
    assert {"links-into-proc", "moved-folders"} <= set(said["gaps"])


def test_only_what_it_made_is_its_product(said):
    assert said["products"] == ["out/made"]
    assert [item["name"] for item in said["statements"][SLSA]["subject"]] == ["out/made"]


def test_nothing_is_left_behind(said):
    assert said["left"] == []


def go(directory="evidence", **more):
    step = Step(("/usr/bin/env", "true"), **more)
    return run(step, signer_choice=SignWith(key="key.pem"), directory=directory, config=Config())


@pytest.fixture
def here(monkeypatch):
    root = project()
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(root / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    yield root
    shutil.rmtree(root)


class TestBeforeItStarts:
    def test_our_own_code_and_configuration_are_no_outputs(self, here, monkeypatch):
        import assay

        with pytest.raises(UsageError, match="what assay itself does"):
            go(outputs=(os.path.dirname(assay.__file__),))
        with pytest.raises(UsageError, match="what assay itself does"):
            go(outputs=(os.path.dirname(os.path.dirname(assay.__file__)),))
        (here / "other/assay.yaml").write_text("{}\n")
        monkeypatch.chdir(here / "other")
        (here / "key.pem").rename("key.pem")
        with pytest.raises(UsageError, match=r"assay\.yaml and the output"):
            go(str(here / "evidence"), outputs=(".",))

    @pytest.mark.parametrize("name", [".config", ".cache", ".cache/assay", ".config/assay/keys"])
    def test_nor_are_our_keys_and_what_we_remember(self, here, name):
        with pytest.raises(UsageError, match="what assay itself does"):
            go(outputs=(f"home/{name}",))

    def test_what_authenticates_remembered_digests_cannot_be_read(self, here):
        key = here / "home/.cache/assay/digests/key"
        key.parent.mkdir(parents=True)
        key.write_bytes(b"k")
        step = Step(("/usr/bin/cat", str(key)))
        made = run(step, signer_choice=SignWith(key="key.pem"), directory="evidence", config=Config())
        assert made.exit_code == 1
        assert made.trace.files[os.fsencode(key)].rule == "secret"

    def test_no_output_lies_in_the_evidence(self, here):
        with pytest.raises(UsageError, match="where the step could change it"):
            go(outputs=("evidence/blobs",))

    @pytest.mark.parametrize("where", ["/proc/nowhere", "key.pem"])
    def test_a_place_that_keeps_nothing_is_told_first(self, here, where):
        step = Step(("/usr/bin/touch", "out/ran"), outputs=("out",))
        with pytest.raises(AssayError, match="could not be made"):
            run(step, signer_choice=SignWith(key="key.pem"), directory=where, config=Config())
        with pytest.raises(UsageError, match="flow log"):
            run(step, signer_choice=SignWith(key="key.pem"), directory="kept", config=Config(), flow_log="no/log")
        assert not (here / "out/ran").exists()

    def test_an_output_that_is_no_folder(self, here):
        with pytest.raises(UsageError, match=r"the output 'key\.pem' cannot be a folder"):
            go(outputs=("key.pem",))

    def test_a_folder_that_is_gone(self, here, monkeypatch):
        (here / "gone").mkdir()
        monkeypatch.chdir(here / "gone")
        (here / "gone").rmdir()
        with pytest.raises(UsageError, match="is gone"):
            run(Step(("/usr/bin/true",)), signer_choice=SignWith(key=str(here / "key.pem")), directory=str(here / "e"))

    def test_secrets_are_not_told_by_errors(self, here):
        with pytest.raises(UsageError) as caught:
            go(secrets={"TOKEN": "hunter2"})
        assert "hunter2" not in str(caught.value) and "TOKEN" in str(caught.value)
        (here / "token").write_bytes(b"hunter\x002")
        with pytest.raises(UsageError, match="byte 0") as caught:
            go(secrets={"TOKEN": "file:token"})
        assert "hunter" not in str(caught.value)

    def test_a_limit_on_processes_does_not_hold_root(self, here):
        with pytest.raises(UndecidedError, match="root's processes"):
            go(processes=5)


def test_bytes_that_are_no_text_do_not_cost_the_evidence(here):
    (here / "token").write_bytes(b"\xff\xfe\n")
    command = ("/usr/bin/env", "sh", "-c", "test ${#TOKEN} -gt 0", "\udcff")
    step = Step(command, secrets={"TOKEN": "file:token"}, variables=("\udcfe=1",))
    made = run(step, signer_choice=SignWith(key="key.pem"), directory="evidence", config=Config())
    assert made.exit_code == 0
    said = json.loads(b64decode(json.loads(made.bundles[0])["dsseEnvelope"]["payload"]))["predicate"]
    assert said["command"][-1] == "\\xff" and "\\xfe" in said["environment"]["variables"]
