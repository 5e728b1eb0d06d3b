"""A training step for tests of profiles: it does what honest steps do, and attacks when it is told to."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.collect.behaviour.facts import facts
from assay.collect.behaviour.interface import Facts, Places
from assay.collect.step.digests import Digested, digest_files
from assay.collect.trace.interface import Launch
from assay.collect.trace.tracers import TRACERS

TRAIN = """
import json, os, sys, tempfile, time
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory

import helper


def count(path):
    memory = SharedMemory(create=True, size=64)
    memory.buf[0] = 1
    memory.close()
    memory.unlink()
    with open(path) as file:
        return len(file.read())


def cached():
    folder = os.path.expanduser("~/.cache/fonts")
    name = os.path.join(folder, f"fontlist-v{os.getpid()}.json")
    if os.path.isdir(folder):
        with open(os.path.join(folder, os.listdir(folder)[0])) as file:
            file.read()
        return
    os.makedirs(folder)
    with open(name + ".tmp", "w") as file:
        file.write("{}")
    os.replace(name + ".tmp", name)


def main(data, out, seed, method):
    cached()
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("scratch")
    with get_context(method).Pool(2) as pool:
        counts = pool.map(count, sorted(os.path.join(data, name) for name in os.listdir(data) if name.endswith(".csv")))
    folder = os.path.join(out, f"run-{seed}-{os.urandom(8).hex()}")
    os.makedirs(folder)
    with open(os.path.join(folder, f"model-seed{seed}.json"), "w") as file:
        json.dump({"counts": counts, "seed": seed, "trained": time.time()}, file)
    attack = os.environ.get("ATTACK")
    if attack:
        with open(os.environ["SCRIPT"]) as file:
            exec(file.read())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
"""

ATTACKS = {
    "ssh-key": "open(os.path.expanduser('~/.ssh/id_rsa')).read()",
    "environment-of-another": "open(f'/proc/{os.getppid()}/environ').read()",
    "connect": "import socket\nsocket.socket().connect_ex(('127.0.0.1', 9))",
    "udp-dns": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x' * 20, ('127.0.0.1', 53))",
    "shell": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'exit 0'])",
    "bashrc": "open(os.path.expanduser('~/.bashrc'), 'a').write('true\\n')",
    "leaked-test-set": "open(os.path.join(data, 'test', 'labels.csv')).read()",
    "planted-library": "import ctypes\nctypes.CDLL(os.path.join(os.environ['FOREIGN'], 'planted.so'))",
    "new-module": "import planted",
    "delete": "os.unlink(os.path.join(data, 'part-000.csv'))",
    "rename-away": "os.rename(os.path.join(data, 'part-000.csv'), os.path.join(out, 'taken.csv'))",
    "scan-of-folders": "for i in range(40):\n    os.listdir(os.path.join(os.environ['FOREIGN'], f'd{i}'))",
    "pth": "open(os.path.join(os.environ['SITE'], 'site-packages', 'planted.pth'), 'w').write('')",
    "passing-pth": "p = os.path.join(os.environ['SITE'], 'site-packages', 'passing.pth')\n"
    "os.close(os.open(p, os.O_WRONLY | os.O_CREAT | os.O_EXCL))\nos.unlink(p)",
    "foreign-file": "open(os.path.join(os.environ['FOREIGN'], 'customers.csv')).read()",
    "planted-bytecode": "p = os.path.join(os.environ['SITE'], 'site-packages', '__pycache__')\n"
    "os.makedirs(p, exist_ok=True)\n"
    "open(os.path.join(p, f'other.{sys.implementation.cache_tag}.pyc'), 'wb').write(b'')",
    "git-hook": "open('.git/hooks/pre-commit', 'w').write('true')",
    "changed-input": "open(os.path.join(data, 'part-000.csv'), 'a').write('9')",
    "memory-of-another": "import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)",
    "own-program": "import shutil, subprocess\np = shutil.copy('/bin/true', os.path.join(out, 'helper-tool'))\n"
    "subprocess.run([p])",
}
"""Name → what the step then does beside its work. All of it stays in the test's folders and on loopback."""


@dataclass(frozen=True)
class Workplace:
    """Folders of a step, and how to run it."""

    root: Path
    home: Path

    def __post_init__(self) -> None:
        for name in ("code/.git/hooks", "data/test", "foreign", "lib/site-packages", "tmp", "out"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "code" / "train.py").write_text(TRAIN)
        (self.root / "code" / "helper.py").write_text("VALUE = 1\n")
        (self.root / "lib" / "site-packages" / "planted.py").write_text("VALUE = 2\n")
        (self.root / "data" / "test" / "labels.csv").write_text("1\n")
        (self.root / "foreign" / "customers.csv").write_text("1\n")
        for i in range(40):
            (self.root / "foreign" / f"d{i}").mkdir(exist_ok=True)
        (self.home / ".ssh").mkdir(parents=True, exist_ok=True)
        (self.home / ".ssh" / "id_rsa").write_text("no key")
        self.shards(3)

    def shards(self, count: int, first: int = 0) -> None:
        """Another number of data files."""
        for path in (self.root / "data").glob("*.csv"):
            path.unlink()
        for i in range(first, first + count):
            (self.root / "data" / f"part-{i:03}.csv").write_text("1,2\n" * (i + 1))

    def run(self, seed: int = 1, attack: str | None = None, method: str = "fork", **more: str) -> Facts:
        """One run, watched by the real tracer, as facts."""
        script = self.root / "script.py"
        script.write_text(f"import os\n{ATTACKS[attack]}\n" if attack else "")
        temporary = self.root / "tmp" / f"t{os.urandom(4).hex()}"
        temporary.mkdir()
        environment: Mapping[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(temporary),
            "FOREIGN": str(self.root / "foreign"),
            "SITE": str(self.root / "lib"),
            "PYTHONPATH": str(self.root / "lib" / "site-packages"),
            **({"ATTACK": attack, "SCRIPT": str(script)} if attack else {}),
            **more,
        }
        command = [sys.executable, "train.py", str(self.root / "data"), str(self.root / "out"), str(seed), method]
        trace = TRACERS["seccomp-unotify"].run(Launch(command, environment, str(self.root / "code"), seconds=600), None)
        assert trace.exit_code == 0, trace
        return facts(trace, self.places(str(temporary), script))

    def places(self, temporary: str, script: Path) -> Places:
        """Where its files lie. The script that stands for the attacker's code is taken for known."""
        return Places(
            str(self.root / "code"),
            (str(self.root / "data"),),
            (str(self.root / "out"),),
            (*installation(), str(self.root / "lib")),
            temporary,
            str(self.home),
            (str(self.home / ".ssh"),),
            frozenset({str(script)}),
            digest,
        )


def installation() -> tuple[str, ...]:
    """The folders of this interpreter's software, and the folder that assay itself lies in."""
    import assay

    found = {sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), str(Path(assay.__file__).parents[1])}
    return tuple(sorted(os.path.realpath(path) for path in found))


def digest(path: str) -> str | None:
    """SHA-256 of a file that is there."""
    found = digest_files([path]).get(path)
    return found.sha256 if isinstance(found, Digested) else None
