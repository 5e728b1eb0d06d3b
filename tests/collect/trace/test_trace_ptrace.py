"""The debugger as a monitor: what it cannot do for a step it refuses and lists, and what comes later it waits for."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from assay.api.running import Ran, Step, run
from assay.api.signers import SignWith
from assay.collect.trace.interface import Answer, Contact, Decision, Launch, RareCall, Request, Watch
from assay.collect.trace.ptrace import Ptrace
from assay.config import Config
from assay.evidence import keys
from collect.trace.steps import python, watch

CONNECT = """
import socket
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
client = socket.socket()
client.connect(listener.getsockname())
client.sendall(b"x")
assert listener.accept()[0].recv(1) == b"x"
for kind, address in ((socket.SOCK_STREAM, ("192.0.2.9", 443)), (socket.SOCK_DGRAM, ("192.0.2.9", 53))):
    try:
        socket.socket(socket.AF_INET, kind).connect(address)
    except PermissionError:
        continue
    raise SystemExit(f"{address} was let through")
"""


def behind_walls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Ran:
    (tmp_path / "home").mkdir()
    (tmp_path / "key.pem").write_bytes(keys.generate().pem(None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    step = Step((sys.executable, "-c", code), trace="ptrace")
    return run(step, signer_choice=SignWith(key="key.pem"), directory="evidence", config=Config())


def test_connections_that_block_are_made_and_refused_ones_are_listed(tmp_path, monkeypatch):
    made = behind_walls(tmp_path, monkeypatch, CONNECT)
    assert (made.exit_code, made.trace.mechanism) == (0, "ptrace")
    found = [(item.call, item.transport, item.address, item.decision, item.rule) for item in made.trace.contacts]
    assert ("connect", "tcp", "192.0.2.9", "denied", "net:none") in found
    assert ("socket", "udp", "", "denied", "no-mediation") in found
    assert ("connect", "tcp", "127.0.0.1", "mediated", "net:loopback") in found
    assert "no-mediation" in {gap.name for gap in made.trace.gaps}


class Late:
    """Answers each ``getsid`` later, or never, with a descriptor, or with a number."""

    def __init__(self, answer: Callable[[], Answer] | None) -> None:
        self.watches = [Watch("getsid")]
        self.blocked: Mapping[str, int] = {}
        self.handle = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._answer, self._waiting = answer, []

    def decide(self, request: Request) -> Answer:
        self._waiting.append(request)
        if self._answer is not None:
            os.eventfd_write(self.handle, 1)
        return Answer(later=True)

    def pending(self) -> Mapping[int, Callable[[], Sequence[tuple[int, Answer]]]]:
        return {self.handle: self._found}

    def _found(self) -> Sequence[tuple[int, Answer]]:
        os.eventfd_read(self.handle)
        found, self._waiting = [(request.id, self._answer()) for request in self._waiting], []
        return found

    def told(self) -> Sequence[Contact | RareCall]:
        return ()


def traced(arbiter: Late, code: str, **more):
    environment = {"PATH": os.environ["PATH"]}
    return Ptrace().run(Launch([sys.executable, "-Ic", code], environment, "/", hook=False, **more), arbiter)


def test_an_answer_that_comes_later_reaches_its_thread():
    code = "import os, threading\nfound = []\n"
    code += "threads = [threading.Thread(target=lambda: found.append(os.getsid(0))) for _ in range(8)]\n"
    code += "[each.start() for each in threads]; [each.join() for each in threads]\nassert found == [4711] * 8, found"
    assert traced(Late(lambda: Answer(value=4711)), code).exit_code == 0


def test_a_descriptor_that_comes_later_is_closed_and_the_call_refused():
    given: list[int] = []

    def answer() -> Answer:
        given.append(os.open("/dev/null", os.O_RDONLY))
        contact = Contact(1, 0, "connect", "inet", "tcp", "192.0.2.1", 1, None, Decision.MEDIATED, "net:x", 0)
        return Answer(descriptor=given[-1], records=[contact])

    code = "import os\ntry: os.getsid(0)\nexcept PermissionError: raise SystemExit(5)"
    trace = traced(Late(answer), code)
    assert trace.exit_code == 5
    found = [(item.decision, item.rule, item.error) for item in trace.contacts if item.rule]
    assert found == [("denied", "no-mediation", errno.EPERM)]
    (number,) = given
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_step_that_waits_for_an_answer_can_be_ended():
    trace = traced(Late(None), "import os; os.getsid(0)", seconds=1)
    assert (trace.exit_code, trace.signal, trace.interrupted) == (None, 9, "time limit")


@pytest.fixture
def another_child():
    """A child that has nothing to do with the step: as long as it lives, waiting for any child never says "none"."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield
    child.communicate(b"\n")


def test_a_program_started_from_a_thread_that_is_not_the_first_ends(another_child):
    """Of the former number of that thread nothing is told any more (ptrace(2), "execve(2) under ptrace")."""
    code = """
        import os, threading
        threading.Thread(target=os.execv, args=("/bin/true", ["true"])).start()
        threading.Event().wait()
    """
    trace = watch(python(code), engine="ptrace")
    assert (trace.exit_code, trace.interrupted) == (0, None)


def test_short_lived_processes_are_all_over_at_the_end(another_child):
    """Their end may be told before their maker has told their beginning."""
    code = """
        import os
        for _ in range(300):
            if os.fork() == 0: os._exit(0)
        try:
            while True: os.waitpid(-1, 0)
        except ChildProcessError: pass
    """
    trace = watch(python(code), engine="ptrace")
    assert (trace.exit_code, trace.interrupted) == (0, None)
