"""Places in which walls are put up: root's, an ordinary user's, and a container's whose filter refuses namespaces."""

import ctypes
import json
import os
import shutil
import socket
import sys
import tempfile
import traceback
from pathlib import Path

from assay.api.steps import installation
from assay.collect.trace import kernel
from assay.collect.trace.filters import assemble
from assay.collect.trace.interface import Launch
from assay.collect.trace.syscalls import machine
from assay.collect.trace.tracers import TRACERS
from assay.guard.sandbox import paths, software
from assay.guard.sandbox.interface import Isolation, Wanted
from assay.guard.sandbox.plan import plan
from assay.guard.sandbox.probe import probe
from assay.guard.sandbox.walls import put_up
from collect.trace.steps import plain_user

PLACES = ("root", "user", "container", "user-in-container")
_NAMESPACES = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000


def interpreter(place: str) -> str:
    """A Python that whoever lives there can reach: this one may lie in root's home."""
    for path in (sys.executable, "/usr/bin/python3"):
        folders = reversed(Path(os.path.realpath(path)).parents)  # beyond a closed one nobody can look
        if not place.startswith("user") or all(folder.stat().st_mode & 0o005 == 0o005 for folder in folders):
            return path
    raise AssertionError("these tests need a Python outside of root's home")


def refuse_namespaces() -> None:
    """What Docker's default profile refuses to a container without capabilities, as far as it matters here."""
    here = machine(os.uname().machine)
    refused = ["unshare", "setns", "mount", "umount2", "pivot_root", "pidfd_getfd", "io_uring_setup", "ptrace", "bpf"]
    refused.remove("ptrace")  # allowed since Linux 4.8
    program = assemble(
        here,
        {"clone": [((0, "&", _NAMESPACES),)]},
        dict.fromkeys(refused, 1) | {"clone3": 38},
        action=0x00050001,  # SECCOMP_RET_ERRNO | EPERM
    )
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.install_filter(program, 0)


class Scene:
    """A home with secrets, a project with data and an output folder; all belongs to whoever runs the step."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="assay-walls-"))
        self.home = self.root / "home"
        self.data = self.home / "project" / "data"
        self.out = self.home / "project" / "out"
        shutil.copy(Path(__file__).with_name("attacks.py"), self.root)
        for folder in (".ssh", "labels", "elsewhere", "project/data", "project/out", ".config"):
            (self.home / folder).mkdir(parents=True)
        (self.home / ".local/lib/python3.11/site-packages").mkdir(parents=True)
        for name in (
            ".ssh/id_rsa",
            ".bashrc",
            "labels/test.csv",
            "elsewhere/signing.pem",
            "project/data/train.csv",
            "project/data/signing.pem",
        ):
            (self.home / name).write_text(f"{name}\n")
        (self.root / "attacks.py").rename(self.home / "project" / "attacks.py")
        (self.data / "link").symlink_to(self.home / ".ssh" / "id_rsa")

    def give_to(self, user: int) -> None:
        self.root.chmod(0o755)
        for path in (self.root, *self.root.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)

    def untouched(self) -> bool:
        """Whether everything that the step had no business with is as it was."""
        same = all(
            (self.home / name).read_text() == f"{name}\n"
            for name in (".ssh/id_rsa", ".bashrc", "labels/test.csv", "elsewhere/signing.pem", "project/data/train.csv")
        )
        found = {str(path.relative_to(self.home)) for path in self.home.rglob("*") if not path.is_dir()}
        return same and {name for name in found if not name.startswith("project/out/")} == {
            ".ssh/id_rsa",
            ".bashrc",
            "labels/test.csv",
            "elsewhere/signing.pem",
            "project/data/train.csv",
            "project/data/link",
            "project/data/signing.pem",
            "project/attacks.py",
            "agent.sock",
        }


def attack(place: str, **wishes) -> tuple[Scene, dict, dict]:
    """Run the attacks: the scene, what came of the step, and what it says of each attack."""
    scene = Scene()
    folders = (str(scene.home), str(scene.data), str(scene.out))
    command = [interpreter(place), "-I", "-S", str(scene.home / "project" / "attacks.py"), *folders]
    try:
        made = run(place, scene, command, with_outside=True, **wishes)
        return scene, made, json.loads((scene.out / "told.json").read_text())
    except BaseException:
        shutil.rmtree(scene.root)
        raise
    finally:
        if os.path.exists("/etc/cron.d/assay-test"):
            os.unlink("/etc/cron.d/assay-test")


def run(place: str, scene: Scene, command: list[str], **wishes) -> dict:
    """Run ``command`` behind walls in a forked child that has become the place; what came of it."""
    if place.startswith("user"):
        scene.give_to(plain_user())
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        os.close(told)
        try:
            made = _inside(place, scene, command, wishes)
        except BaseException:
            made = {"failed": traceback.format_exc()}
        with os.fdopen(tell, "w") as file:
            json.dump(made, file)
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as file:
        answer = json.load(file)
    os.waitpid(child, 0)
    assert "failed" not in answer, answer["failed"]
    return answer


def _inside(place: str, scene: Scene, command: list[str], wishes: dict) -> dict:
    if place.startswith("user"):
        user = plain_user()
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # as every program of that user's is
    if place.endswith("container"):
        refuse_namespaces()
    os.environ["HOME"] = str(scene.home)
    os.environ["ASSAY_TEST_TOKEN"] = "secret"
    probe.cache_clear()
    temporary = os.path.realpath(tempfile.mkdtemp(dir=scene.root))
    command = [*command, str(os.getppid())] if wishes.pop("with_outside", False) else command
    wishes["isolation"] = Isolation(wishes.get("isolation", "strict"))
    asked = {"read": (str(scene.data),), "write": (str(scene.out),), **wishes}
    wanted = Wanted(
        execute=software.programs(command, str(scene.out), os.environ["PATH"]),
        code=software.code(command, str(scene.out), {}),
        hidden=(str(scene.home / "elsewhere" / "signing.pem"), str(scene.data / "signing.pem")),
        installation=installation(command[0]),
        directory=str(scene.out),
        temporary=temporary,
        **asked,
    )
    chosen = plan(wanted, probe())
    walls = put_up(wanted, probe(), chosen)
    kept = os.open(scene.home / ".ssh", os.O_RDONLY)  # as a careless caller would leave it open
    os.set_inheritable(kept, True)
    variables = {"PATH": os.environ["PATH"], "HOME": str(scene.home), "TMPDIR": temporary, **walls.environment}
    mediate = [os.fsencode(path) for path in paths.inputs(wanted)] if wanted.isolation is Isolation.STRICT else []
    agent = socket.socket(socket.AF_UNIX)
    agent.bind(str(scene.home / "agent.sock"))
    agent.listen()
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0assay-test-{os.getppid()}")
    abstract.listen()
    shared = Path(f"/dev/shm/assay-test-{os.getppid()}")
    shared.write_text("not the step's")
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(os.getppid(), 4096, 0o1600)
    assert segment >= 0, os.strerror(ctypes.get_errno())
    try:
        trace = TRACERS[chosen.trace].run(
            Launch(command, variables, str(scene.out), walls.confine, mediate, hook=False, seconds=600),
            walls.arbiter,
        )
        products = walls.products()
        walls.settle(True)
    finally:
        walls.close()
        shared.unlink()
        libc.shmctl(segment, 0, None)
    return {
        "tier": chosen.tier,
        "files": chosen.files,
        "network": chosen.network,
        "products": products,
        "missing": list(chosen.missing),
        "gaps": [gap.name for gap in (*chosen.gaps, *trace.gaps)],
        "exit": trace.exit_code,
        "signal": trace.signal,
        "refused": {
            os.fsdecode(path): rule for path, use in trace.files.items() if (rule := walls.refused(use)) is not None
        },
        "calls": sorted({item.call for item in trace.calls if item.decision == "denied"}),
        "contacts": [item.address for item in trace.contacts if item.decision == "denied"],
    }
