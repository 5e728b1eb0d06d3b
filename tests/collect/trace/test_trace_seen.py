"""What a step does is listed, whatever way it takes."""

import os
import socket

import pytest

from assay.collect.trace.interface import Decision
from assay.errors import UsageError
from collect.trace.steps import ENGINES, compiled, names, python, watch

each = pytest.mark.parametrize("engine", ENGINES)


@each
def test_files_by_what_was_done_with_them(engine, tmp_path):
    (tmp_path / "in").write_text("1")
    (tmp_path / "old").write_text("1")
    (tmp_path / "gone").write_text("1")
    trace = watch(
        python("""
        import os
        open("in").read()
        os.listdir(".")
        open("out", "w").write("x")
        open("new", "x")
        os.truncate("out", 0)
        os.rename("old", "renamed")
        os.link("in", "hard")
        os.symlink("in", "soft")
        os.unlink("gone")
        os.mkdir("folder")
        os.rmdir("folder")
        os.chmod("in", 0o600)
        try: open("missing")
        except OSError: pass
        """),
        engine,
        directory=tmp_path,
    )
    assert trace.exit_code == 0 and trace.mechanism == engine and trace.interrupted is None
    seen = names(trace, tmp_path)
    assert seen["in"].read == 1 and seen["in"].changed == 1 and seen["in"].first.size == 1 and not seen["in"].written
    assert seen["out"].written == 2 and seen["out"].first is None and not seen["out"].exclusive and not seen["out"].read
    assert seen["new"].written == 1 and seen["new"].exclusive
    assert seen["old"].removed == 1 and seen["renamed"].appeared == 1
    assert seen["hard"].appeared == 1 and seen["soft"].appeared == 1
    assert seen["gone"].removed == 1 and seen["folder"].removed == 1 and seen["folder"].exclusive
    assert seen["missing"].read == 1 and seen["missing"].first is None
    assert trace.files[os.fsencode(tmp_path)].listed == 1
    assert seen["in"].by == {0} and trace.processes[0].arguments[1:4] == (b"-I", b"-S", b"-c")


@each
def test_relative_paths_follow_the_working_directory_and_descriptors(engine, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f").write_text(folder)
    os.symlink("../b", tmp_path / "a" / "link")
    trace = watch(
        python("""
        import os
        os.chdir("a"); open("f"); open("../b/../b/./f")
        os.chdir("../b"); open("f")
        where = os.open("../a", os.O_PATH); os.open("f", os.O_RDONLY, dir_fd=where)
        os.fchdir(where); open("f")
        open("link/../top")
        """),
        engine,
        directory=tmp_path,
    )
    assert trace.exit_code == 1  # there is no "top", and
    seen = names(trace, tmp_path)
    assert (seen["a/f"].read, seen["b/f"].read) == (3, 2)
    assert seen["top"].read == 1  # … behind a link goes up from where the link leads


@each
def test_other_names_of_a_file_are_unmasked(engine, tmp_path):
    (tmp_path / "secret").write_text("1")
    trace = watch(
        python(f"""
        import os
        handle = os.open("secret", os.O_PATH)
        for path in f"/proc/self/fd/{{handle}}", f"/dev/fd/{{handle}}", f"/proc/{{os.getpid()}}/fd/{{handle}}":
            open(path)
        open("/proc/self/cwd/secret"); open("/proc/self/root{tmp_path}/secret"); open("/proc/thread-self/cwd/secret")
        """),
        engine,
        directory=tmp_path,
    )
    assert trace.exit_code == 0 and names(trace, tmp_path)["secret"].read == 6


@each
def test_programs_forks_and_failed_starts(engine, tmp_path):
    (tmp_path / "text").write_text("not a program")
    (tmp_path / "text").chmod(0o755)
    trace = watch(
        python("""
        import os, subprocess, sys
        subprocess.run(["true"], close_fds=False)
        if (child := os.fork()) == 0:
            try: os.execv("text", ["text"])
            except OSError: pass
            open("in-fork", "w"); os._exit(0)
        os.waitpid(child, 0)
        """),
        engine,
        directory=tmp_path,
    )
    first, true, fork = trace.processes
    assert true.program.endswith(b"/true") and true.arguments == (b"true",) and true.parent == 0 and true.first.size
    assert fork.program == first.program and fork.parent == 0 and fork.pid != first.pid
    seen = names(trace, tmp_path)
    assert seen["in-fork"].by == {2} and seen["text"].executed == 1


@each
def test_a_program_that_executes_itself_is_listed_again(engine):
    trace = watch(
        python("import os, sys\nif len(sys.argv) < 3: os.execv(sys.executable, [*sys.orig_argv, 'x'])"), engine
    )
    assert [process.pid for process in trace.processes] == [trace.processes[0].pid] * 3
    assert trace.processes[2].parent == 1


@each
def test_threads_are_told_apart_from_processes(engine, tmp_path):
    trace = watch(
        python("""
        import threading
        threads = [threading.Thread(target=open, args=(str(number), "w")) for number in range(20)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """),
        engine,
        directory=tmp_path,
    )
    assert len(trace.processes) == 1 and trace.exit_code == 0
    assert sorted(names(trace, tmp_path), key=int) == [str(number) for number in range(20)]


@each
def test_a_static_program_and_one_that_ran_away(engine, tmp_path):
    program = compiled(
        tmp_path,
        """
        #include <fcntl.h>
        #include <unistd.h>
        int main(void) {
          if (fork()) return 0;
          setsid();
          if (fork()) _exit(0);
          usleep(200000);
          return open("late", O_CREAT | O_WRONLY, 0600) < 0;
        }
        """,
        "-static",
    )
    trace = watch([program], engine, directory=tmp_path)
    assert names(trace, tmp_path)["late"].written == 1
    assert os.path.exists(tmp_path / "late") and trace.exit_code == 0


@each
def test_what_the_step_was_given_open_is_listed(engine, tmp_path):
    (tmp_path / "given").write_text("data")
    pid = os.fork()
    if pid == 0:  # a process of its own, whose standard input is this file
        code = 1
        try:
            os.dup2(os.open(tmp_path / "given", os.O_RDONLY), 0)
            trace = watch(["true"], engine)
            code = 0 if trace.files[os.fsencode(tmp_path / "given")].read == 1 else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


@each
def test_contacts(engine, tmp_path):
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    with server:
        trace = watch(
            python(f"""
            import socket
            socket.create_connection(("127.0.0.1", {port}))
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for _ in range(3): udp.sendto(b"x", ("127.0.0.1", {port}))
            udp.sendmsg([b"x"], [], 0, ("127.0.0.2", {port}))
            socket.socket(socket.AF_UNIX).bind("here")
            for name in b"here", b"\\0hidden":
                try: socket.socket(socket.AF_UNIX).connect(name)
                except OSError: pass
            try: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
            except OSError: pass
            """),
            engine,
            directory=tmp_path,
        )
    assert trace.exit_code == 0
    said = [(each.call, each.family, each.transport, each.address, each.port) for each in trace.contacts]
    assert said == [
        ("connect", "inet", "tcp", "127.0.0.1", port),
        ("sendto", "inet", "udp", "127.0.0.1", port),
        ("sendmsg", "inet", "udp", "127.0.0.2", port),
        ("bind", "unix", "unix", f"{tmp_path}/here", None),
        ("connect", "unix", "unix", f"{tmp_path}/here", None),
        ("connect", "unix", "unix", "@hidden", None),
        ("socket", "inet", "raw", "1", None),
    ]
    assert {each.decision for each in trace.contacts} == {Decision.SEEN}
    assert "shared-descriptors" in {gap.name for gap in trace.gaps}


@each
def test_rare_calls_are_listed_and_blinding_ones_refused(engine):
    trace = watch(
        python("""
        import ctypes, os
        call = ctypes.CDLL(None, use_errno=True).syscall
        def attempt(*given):
            call(*given); return ctypes.get_errno()
        os.memfd_create("hidden-code")
        assert attempt(425, 8, ctypes.create_string_buffer(120)) == 38, "io_uring_setup"
        assert attempt(435, 0, 0) == 38, "clone3"
        assert attempt(161, b"/") == 1, "chroot"
        assert attempt(304, -1, 0, 0) == 1, "open_by_handle_at"
        assert attempt(470, 0) == 38, "newer than the table"
        assert attempt(0x40000000 + 2, b"/etc/passwd", 0) == 38, "x32"
        """),
        engine,
    )
    assert trace.exit_code == 0
    assert [(each.call, each.decision) for each in trace.calls] == [
        ("memfd_create", Decision.SEEN),
        ("io_uring_setup", Decision.DENIED),
        ("chroot", Decision.DENIED),
        ("open_by_handle_at", Decision.DENIED),
        ("syscall-470", Decision.DENIED),
        ("syscall-1073741826", Decision.DENIED),
    ]
    assert trace.calls[0].detail == "hidden-code"
    assert "io_uring" not in {gap.name for gap in trace.gaps}


@each
def test_io_uring_that_is_allowed_is_a_gap(engine):
    code = python("""
    import ctypes
    ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120))
    """)
    trace = watch(code, engine, allow_io_uring=True)
    assert [(each.call, each.decision) for each in trace.calls] == [("io_uring_setup", Decision.SEEN)]
    assert "io_uring" in {gap.name for gap in trace.gaps}


@each
def test_the_step_cannot_harm_its_monitor(engine):
    trace = watch(
        python(f"""
        import ctypes, os, resource, signal
        call = ctypes.CDLL(None, use_errno=True).syscall
        monitor = {os.getpid()}
        for attempt in (
            lambda: os.kill(monitor, signal.SIGKILL),
            lambda: os.kill(-1, signal.SIGKILL),
            lambda: os.pidfd_open(monitor),
            lambda: resource.prlimit(monitor, resource.RLIMIT_CPU, (0, 0)),
        ):
            try: attempt()
            except PermissionError: pass
            else: raise SystemExit(5)
        if call(101, 0x4206, monitor, 0, 0) != -1: raise SystemExit(6)  # PTRACE_SEIZE
        if call(62, monitor | 1 << 32, 9) != -1: raise SystemExit(7)  # only its lower half is looked at
        os.kill(os.getpid(), 0); os.kill(monitor, 0)
        """),
        engine,
    )
    assert trace.exit_code == 0
    assert [each.call for each in trace.calls if each.decision is Decision.DENIED] == [
        "kill",
        "kill",
        "pidfd_open",
        "prlimit64",
        "ptrace",
    ]


@pytest.mark.parametrize(
    "command, said",
    [(["no-such-program"], "no-such-program"), ([], "no command"), (["./text"], "started"), (["/"], "found")],
)
@each
def test_a_command_that_cannot_be_started_is_an_error(engine, command, said, tmp_path):
    (tmp_path / "text").write_text("")
    with pytest.raises(UsageError, match=said):
        watch(command, engine, directory=tmp_path)


@each
def test_a_confinement_that_fails_starts_nothing(engine, tmp_path):
    from assay.errors import UndecidedError

    def confine():
        raise UndecidedError("no walls here", hint="buy some")

    with pytest.raises(UndecidedError, match="no walls here\n  buy some"):
        watch(["touch", "started"], engine, directory=tmp_path, confine=[confine])
    assert not os.listdir(tmp_path)


@each
def test_nothing_of_ours_is_handed_down(engine, tmp_path):
    secret = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        trace = watch(
            python("""
            import os, signal
            assert sorted(map(int, os.listdir("/proc/self/fd")))[:4] == [0, 1, 2, 3], os.listdir("/proc/self/fd")
            assert len(os.listdir("/proc/self/fd")) == 4
            try: os.waitpid(-1, os.WNOHANG)
            except ChildProcessError: pass
            else: raise SystemExit(3)
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            """),
            engine,
        )
    finally:
        os.close(secret)
    assert trace.exit_code == 0


@each
def test_pointers_to_nowhere_harm_nobody(engine, tmp_path):
    """Each call that names files, programs or hosts, with arguments that no honest program gives."""
    from assay.collect.trace import file_calls, socket_calls
    from assay.collect.trace.syscalls import machine

    numbers = machine(os.uname().machine).numbers
    called = [
        numbers[name] for name in (*file_calls.WATCHED, *socket_calls.WATCHED, "execve", "execveat") if name in numbers
    ]
    trace = watch(
        python(f"""
        import ctypes, os
        call = ctypes.CDLL(None).syscall
        own = os.open("own", os.O_RDWR | os.O_CREAT)
        for number in range(3): os.dup2(own, number)  # fchmod(0, 0) would take /dev/null from everybody
        for number in {called}:
            for word in (0, 1, -1, 1 << 63, 0x7fffffffffff, 0xdeadbeef000):
                call(ctypes.c_long(number), *[ctypes.c_long(word)] * 6)
        for _ in range(40): open("/etc/hostname").close()
        call(ctypes.c_long(2), ctypes.c_long(-1), 0)
        call(ctypes.c_long(2), ctypes.c_long(0xdead000), 0)
        open("after", "w")
        """),
        engine,
        directory=tmp_path,
    )
    assert trace.exit_code == 0 and names(trace, tmp_path)["after"].written == 1
    assert "defect" not in {gap.name for gap in trace.gaps}, trace.gaps
