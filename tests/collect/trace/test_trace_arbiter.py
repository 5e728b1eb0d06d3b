"""Who decides is asked once for each call that it wants, and what it answers is what the step gets."""

import errno
import gc
import os
from dataclasses import dataclass, field

import pytest

from assay.collect.trace.interface import Answer, Contact, Decision, RareCall, Watch
from collect.trace.steps import ENGINES, names, python, watch

each = pytest.mark.parametrize("engine", ENGINES)


@dataclass
class Judge:
    """An arbiter by rules: name of a call → what to answer."""

    watches: list = field(default_factory=list)
    blocked: dict = field(default_factory=dict)
    rules: dict = field(default_factory=dict)
    waiting: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    last_word: bool = False

    def decide(self, request):
        self.asked.append(request)
        rule = self.rules.get(request.call, Answer())
        return rule(request) if callable(rule) else rule

    def pending(self):
        return self.waiting

    def told(self):
        return [RareCall(9, 0, "afterwards", "", Decision.SEEN)] if self.last_word else []


def path_of(request, argument=1):
    return request.memory(request.arguments[argument], 4096).partition(b"\0")[0]


@each
def test_a_refused_open_is_refused_and_listed_as_such(engine, tmp_path):
    (tmp_path / "secret").write_text("1")

    def rule(request):
        return Answer(error=errno.EACCES) if path_of(request) == b"secret" else Answer()

    judge = Judge([Watch("openat")], rules={"openat": rule})
    code = """
    try: open("secret")
    except PermissionError: open("other", "w")
    """
    trace = watch(python(code), engine, judge, tmp_path)
    seen = names(trace, tmp_path)
    assert seen["secret"].denied == 1 and not seen["secret"].read
    assert seen["other"].written == 1 and not seen["other"].denied


@each
def test_a_refused_program_is_not_listed_as_one_that_ran(engine):
    judge = Judge(
        [Watch("execve")],
        rules={
            "execve": lambda asked: Answer(error=errno.EACCES) if path_of(asked, 0).endswith(b"/true") else Answer()
        },
    )
    trace = watch(
        python("import os\ntry: os.execv('/usr/bin/true', ['true'])\nexcept PermissionError: pass"), engine, judge
    )
    assert trace.exit_code == 0 and len(trace.processes) == 1
    assert trace.files[b"/usr/bin/true"].denied == 1 and not trace.files[b"/usr/bin/true"].executed


@each
def test_values_conditions_and_records(engine):
    def rule(request):
        record = RareCall(1, request.process, "personality", "faked", Decision.MEDIATED, "rule")
        return Answer(value=77, records=[record])

    judge = Judge([Watch("personality", [(0, "==", 0xFFFFFFFF)])], rules={"personality": rule})
    trace = watch(
        python("""
        import ctypes
        call = ctypes.CDLL(None).personality
        assert call(ctypes.c_ulong(0xffffffff)) == 77
        assert call(ctypes.c_ulong(0)) == 0
        """),
        engine,
        judge,
    )
    assert trace.exit_code == 0 and len(judge.asked) == 1
    assert [call.detail for call in trace.calls] == ["faked"]


@each
def test_what_it_learnt_beside_the_calls_comes_last(engine):
    assert [call.call for call in watch(["true"], engine, Judge(last_word=True)).calls] == ["afterwards"]


@each
def test_only_calls_that_meet_the_conditions_are_asked_about(engine, tmp_path):
    """The trace itself watches all opens: those that the arbiter did not want must not come to it."""
    judge = Judge([Watch("openat", [(2, "&", os.O_WRONLY)])])
    watch(python("open('a', 'w'); open('a')"), engine, judge, tmp_path)
    assert [path_of(request) for request in judge.asked] == [] or all(
        request.arguments[2] & os.O_WRONLY for request in judge.asked
    )
    assert sum(request.call == "openat" for request in judge.asked) == 1


@each
def test_blocked_calls_fail_and_those_that_are_rare_are_listed(engine):
    judge = Judge(blocked={"memfd_create": errno.EPERM, "getpriority": errno.ENOSYS})
    trace = watch(
        python("""
        import os
        for attempt in (lambda: os.memfd_create("x"), lambda: os.getpriority(os.PRIO_PROCESS, 0)):
            try: attempt()
            except OSError as error: print(error.errno)
            else: raise SystemExit(3)
        """),
        engine,
        judge,
    )
    assert trace.exit_code == 0 and not judge.asked
    assert [(call.call, call.decision) for call in trace.calls] == [("memfd_create", Decision.DENIED)]


@each
def test_an_arbiter_that_fails_refuses(engine, tmp_path):
    def rule(request):
        if path_of(request) == b"x":
            raise ZeroDivisionError
        return Answer()

    judge = Judge([Watch("openat")], rules={"openat": rule})
    trace = watch(python("try: open('x', 'w')\nexcept PermissionError: raise SystemExit(9)"), engine, judge, tmp_path)
    assert trace.exit_code == 9 and not os.path.exists(tmp_path / "x")
    assert "defect" in {gap.name for gap in trace.gaps}


def test_a_descriptor_of_the_monitors(tmp_path):
    (tmp_path / "real").write_text("the monitor's")

    def rule(request):
        if path_of(request) != b"wanted":
            return Answer()
        return Answer(descriptor=os.open(tmp_path / "real", os.O_RDONLY), close_on_exec=False)

    judge = Judge([Watch("openat")], rules={"openat": rule})
    gc.collect()  # what earlier tests left is not closed meanwhile
    before = len(os.listdir("/proc/self/fd"))
    trace = watch(
        python("""
        import os
        got = os.open("wanted", os.O_RDONLY)
        assert os.read(got, 50) == b"the monitor's" and os.get_inheritable(got)
        """),
        arbiter=judge,
        directory=tmp_path,
    )
    assert trace.exit_code == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_descriptor_in_the_place_of_the_callers_own_and_later():
    """What connecting on the step's behalf needs: the answer comes when it is there, other calls go on meanwhile."""
    ready, tell = os.pipe()
    judge = Judge([Watch("connect")])

    def answer():
        os.read(ready, 1)
        judge.waiting = {}
        (request,) = [asked for asked in judge.asked if asked.call == "connect"]
        descriptor = os.open("/proc/self/status", os.O_RDONLY)
        record = Contact(
            1,
            request.process,
            "connect",
            "inet",
            "tcp",
            "192.0.2.1",
            443,
            None,
            Decision.MEDIATED,
            "net:192.0.2.1:443",
            0,
        )
        return [(request.id, Answer(descriptor=descriptor, replace=request.arguments[0], records=[record]))]

    def rule(request):
        judge.waiting = {ready: answer}
        return Answer(later=True)

    judge.rules["connect"] = rule
    judge.watches.append(Watch("openat"))

    def opened(request):
        if path_of(request) == b"/etc/hostname":
            os.write(tell, b"x")
        return Answer()

    judge.rules["openat"] = opened
    trace = watch(
        python("""
        import os, socket, threading, time
        def other():
            time.sleep(0.2); open("/etc/hostname")
        threading.Thread(target=other).start()
        one = socket.socket()
        one.connect(("192.0.2.1", 443))
        assert os.read(one.fileno(), 5) == b"Name:"
        """),
        arbiter=judge,
    )
    os.close(ready)
    os.close(tell)
    assert trace.exit_code == 0
    assert [(each.address, each.decision) for each in trace.contacts] == [("192.0.2.1", Decision.MEDIATED)]


def test_mediated_inputs_are_the_very_files(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "data").write_text("data")
    (tmp_path / "outside").write_text("outside")
    os.symlink("data", inside / "link")
    os.symlink(tmp_path / "outside", inside / "escape")
    os.mkfifo(inside / "pipe")
    trace = watch(
        python("""
        import os
        for path in "in/data", "in/link":
            with open(path) as file: assert file.read() == "data"
        assert sorted(os.listdir("in")) == ["data", "escape", "link", "pipe"]
        open("in/escape").read()
        os.open("in/pipe", os.O_RDONLY | os.O_NONBLOCK)
        os.open("in/data", os.O_RDONLY | os.O_NOFOLLOW)
        try: os.open("in/link", os.O_RDONLY | os.O_NOFOLLOW)
        except OSError: pass
        try: open("in/missing")
        except FileNotFoundError: pass
        where = os.open("in", os.O_PATH); got = os.open("data", os.O_RDONLY, dir_fd=where)
        assert not os.get_inheritable(got) and os.read(got, 4) == b"data"
        open("in/new", "w").write("x")
        """),
        directory=tmp_path,
        mediate=[os.fsencode(inside)],
    )
    assert trace.exit_code == 0
    seen = names(trace, tmp_path)
    assert seen["in/data"].mediated and seen["in/data"].read == 3
    assert seen["in/data"].first.inode == os.stat(inside / "data").st_ino
    assert not seen["in/link"].mediated  # once it was left to the kernel
    assert seen["in"].mediated and seen["in"].listed == 2
    assert not seen["in/escape"].mediated and not seen["in/pipe"].mediated and not seen["in/missing"].mediated
    assert not seen["in/new"].mediated and seen["in/new"].written == 1


def test_a_thread_that_swaps_the_path_gets_the_file_that_is_listed(tmp_path):
    """10,000 opens of a path that another thread keeps rewriting: what is read must be what is listed, each time."""
    from collect.trace.steps import compiled

    program = compiled(
        tmp_path,
        """
        #include <fcntl.h>
        #include <pthread.h>
        #include <unistd.h>
        static volatile char path[] = "in/a";
        static volatile int done;
        static void *flip(void *nothing) { while (!done) { path[3] = 'b'; path[3] = 'a'; } return nothing; }
        int main(void) {
          int reads[2] = {0, 0};
          pthread_t thread;
          pthread_create(&thread, 0, flip, 0);
          for (int number = 0; number < 10000; number++) {
            char letter;
            int file = open((char *)path, O_RDONLY);
            if (file < 0 || read(file, &letter, 1) != 1) return 9;
            reads[letter == 'b']++;
            close(file);
          }
          done = 1;
          pthread_join(thread, 0);
          int out = open("counts", O_CREAT | O_WRONLY, 0600);
          return write(out, reads, sizeof reads) != sizeof reads;
        }
        """,
        "-pthread",
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("a")
    (tmp_path / "in" / "b").write_text("b")
    trace = watch([program], directory=tmp_path, mediate=[os.fsencode(tmp_path / "in")])
    assert trace.exit_code == 0
    counts = (tmp_path / "counts").read_bytes()
    seen = names(trace, tmp_path)
    read = [seen[name].read if name in seen else 0 for name in ("in/a", "in/b")]
    assert read == [int.from_bytes(counts[:4], "little"), int.from_bytes(counts[4:], "little")]
    assert all(read), "the race did not take place"
    assert seen["in/a"].mediated and seen["in/b"].mediated
