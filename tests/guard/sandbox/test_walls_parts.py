"""The parts of the walls, each by itself: rules, software, environment, limits, powers."""

import ctypes
import os
import resource
import stat
import sys
from typing import ClassVar

import pytest

from assay.collect.trace.interface import FileUse, Request, Stat
from assay.errors import UsageError
from assay.guard.sandbox import (
    arbiter,
    capabilities,
    environment,
    landlock,
    limits,
    namespaces,
    paths,
    sensitive,
    software,
)
from assay.guard.sandbox.interface import Isolation, Wanted
from assay.guard.sandbox.landlock import READ, RUN, WRITE, Access, Rules
from assay.guard.sandbox.refusals import refused
from guard.sandbox.places import refuse_namespaces


def in_child(work) -> str:
    """What ``work`` returns in a forked child, as text, or the error that it raised."""
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            said = str(work())
        except OSError as error:
            said = f"{type(error).__name__} {error.errno}"
        except BaseException as error:
            said = repr(error)
        os.write(tell, said.encode())
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


class TestLandlock:
    def test_what_each_version_can_hold(self):
        assert landlock.handled(1) == Access(0x1FFF)
        assert landlock.handled(2) == Access(0x3FFF)
        assert landlock.handled(3) == landlock.handled(4) == Access(0x7FFF)
        assert landlock.handled(5) == landlock.handled(9) == Access(0xFFFF)

    @pytest.mark.parametrize("version", range(1, landlock.abi() + 1))
    def test_every_version_that_this_kernel_knows_can_be_applied(self, version, tmp_path):
        (tmp_path / "open").mkdir()
        (tmp_path / "open/file").write_text("x")
        (tmp_path / "closed").write_text("x")

        def work():
            landlock.restrict(Rules([(str(tmp_path / "open"), READ), (str(tmp_path / "none"), READ)]), version)
            assert (tmp_path / "open/file").read_text() == "x"
            return (tmp_path / "closed").read_text()

        assert in_child(work) == "PermissionError 13"

    def test_without_it_nothing_is_restricted_silently(self):
        with pytest.raises(OSError, match="no Landlock"):
            landlock.restrict(Rules(()), 0)


class TestRules:
    def test_everything_but_the_secrets(self, tmp_path):
        for name in ("a/b/secret", "a/b/other", "a/c", "d"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "a/link").symlink_to(tmp_path)  # a rule for it would open everything
        root = str(tmp_path)
        found = set(paths.around([f"{root}/a/b/secret", f"{root}/a/not-there"], root))
        assert found == {f"{root}/a/b/other", f"{root}/a/c", f"{root}/d"}
        assert list(paths.around([f"{root}/a"], f"{root}/d")) == [f"{root}/d"]
        assert list(paths.around([root], f"{root}/d")) == []

    def test_rights_add_up_from_the_folders_above(self, tmp_path):
        root = os.path.realpath(tmp_path)
        index = paths.Index([(root, READ), (f"{root}/out", WRITE)])
        assert index.allows(f"{root}/out/file", Access.WRITE_FILE | Access.READ_FILE)
        assert not index.allows(f"{root}/outer", Access.WRITE_FILE)
        assert not index.allows("/", Access.READ_DIR)

    def test_a_declared_input_opens_the_secret_that_it_names_and_no_other(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".aws").mkdir()
        (tmp_path / ".ssh").mkdir()
        home = os.path.realpath(tmp_path)
        for isolation in Isolation.AUTO, Isolation.STRICT:
            index = paths.Index(paths.rules(Wanted(isolation, read=(f"{home}/.aws",))))
            assert index.allows(f"{home}/.aws/credentials", Access.READ_FILE)
            assert not index.allows(f"{home}/.ssh/id_rsa", Access.READ_FILE)
            index = paths.Index(paths.rules(Wanted(isolation, read=(home,))))
            assert not index.allows(f"{home}/.ssh/id_rsa", Access.READ_FILE)

    def test_programs_cannot_even_be_read_in_strict_mode(self):
        index = paths.Index(paths.rules(Wanted(Isolation.STRICT, execute=("/usr/bin/env",))))
        assert not index.allows(os.path.realpath("/bin/sh"), Access.READ_FILE)
        assert index.allows("/usr/bin/env", Access.READ_FILE | Access.EXECUTE)
        assert not index.allows("/usr/lib/os-release", Access.EXECUTE)
        assert index.allows("/usr/lib/os-release", Access.READ_FILE)

    def test_no_terminals_and_no_disks(self):
        for isolation in Isolation.AUTO, Isolation.STRICT:
            index = paths.Index(paths.rules(Wanted(isolation)))
            assert index.allows("/dev/urandom", Access.READ_FILE)
            for device in ("/dev/pts/0", "/dev/mem", "/dev/sda", "/dev/tty", "/dev/ptmx"):
                assert not index.allows(device, Access.READ_FILE), device


class TestRefusals:
    FILE = Stat(1, 1, 1, 1, 1, stat.S_IFREG | 0o644)
    FOLDER = Stat(1, 1, 1, 1, 1, stat.S_IFDIR | 0o755)

    @pytest.fixture
    def judge(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        root = os.path.realpath(tmp_path)
        index = paths.Index([(f"{root}/in", READ), (f"{root}/out", WRITE), (f"{root}/run", RUN)])
        return lambda name, **use: refused(FileUse(os.fsencode(f"{root}/{name}"), **use), index, [f"{root}/.ssh"])

    def test_the_rule_is_named(self, judge):
        assert judge("in/a", read=1, first=self.FILE) is None
        assert judge("other", read=1, first=self.FILE) == "undeclared-read"
        assert judge("other", listed=1, first=self.FOLDER) == "undeclared-read"
        assert judge("other", read=1) is None  # it was not there
        assert judge(".ssh/id", read=1, first=self.FILE) == "secret"
        assert judge("in/a", written=1, first=self.FILE) == "undeclared-write"
        assert judge("in/new", written=1) == "undeclared-write"
        assert judge("out/new", written=1) is None
        assert judge("out/new", appeared=1) is None
        assert judge("in/a", removed=1, first=self.FILE) == "undeclared-write"
        assert judge(".bashrc", written=1) == "persistence"
        assert judge("lib/site-packages/x.pth", written=1) == "persistence"
        assert judge("run/program", executed=1, first=self.FILE) is None
        assert judge("in/program", executed=1, first=self.FILE) == "program"

    def test_a_link_is_judged_by_what_it_leads_to(self, judge, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "out").mkdir()
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh/id").touch()
        (tmp_path / "in/link").symlink_to(tmp_path / ".ssh/id")
        (tmp_path / "out/link").symlink_to(tmp_path / ".ssh/id")
        assert judge("in/link", read=1, first=self.FILE) == "secret"
        assert judge("out/link", removed=1, first=self.FILE) is None  # the link itself


class TestSensitive:
    def test_root_hides_what_all_users_have(self):
        found = sensitive.secrets(["/srv/key.pem"])
        assert "/srv/key.pem" in found
        assert all(f"{home}/.ssh" in found or os.path.islink(f"{home}/.ssh") for home in sensitive.homes())

    def test_where_our_own_keys_were_moved_to(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        assert os.path.realpath(tmp_path / "assay") in sensitive.secrets()

    @pytest.mark.parametrize(
        "path",
        [
            "/etc/cron.d/x",
            "/etc/profile.d/x.sh",
            "/v/lib/site-packages/x.pth",
            "/v/sitecustomize.py",
            "/r/.git/hooks/x",
        ],
    )
    def test_what_runs_later(self, path):
        assert sensitive.runs_later(path)
        assert not sensitive.runs_later("/srv/out/model.pkl")


class TestSoftware:
    def test_a_program_with_its_loader(self):
        real, loader = software.programs([sys.executable], "/", None)
        assert real == os.path.realpath(sys.executable)
        assert os.path.basename(loader).startswith(("ld-", "ld.so"))

    def test_a_script_with_its_interpreters(self, tmp_path):
        script = tmp_path / "train"
        script.write_text("#!/usr/bin/env -S sh -e\n")
        script.chmod(0o755)
        found = software.programs(["./train"], str(tmp_path), os.environ["PATH"])
        assert found[0] == os.path.realpath(script)
        assert {os.path.realpath("/usr/bin/env"), os.path.realpath("/bin/sh")} <= set(found)
        assert software.programs(["not-there"], "/", "/nowhere") == ()

    @pytest.mark.parametrize("start", [b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 90, b"#!", b"#!\n", b""])
    def test_broken_programs_lead_nowhere(self, tmp_path, start):
        (tmp_path / "program").write_bytes(start)
        assert software.programs(["./program"], str(tmp_path), None) == (os.path.realpath(tmp_path / "program"),)

    def test_code_is_the_script_and_the_modules_beside_it(self, tmp_path):
        root = os.path.realpath(tmp_path)
        for name in ("train.py", "helper.py", "package/__init__.py", "data/labels.csv", "params.yaml", "x/lib.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        expected = {f"{root}/train.py", f"{root}/helper.py", f"{root}/package"}
        assert set(software.code(["python", "train.py", "params.yaml"], root, {})) == expected
        assert set(software.code(["python", "-m", "train"], root, {})) == expected
        assert software.code(["python", "params.yaml"], root, {}) == ()
        assert set(software.code(["python"], "/", {"PYTHONPATH": f"{root}/x"})) == {f"{root}/x/lib.py"}

    def test_packages_that_are_installed_in_place(self, tmp_path):
        root = os.path.realpath(tmp_path)
        (tmp_path / "env/lib/python3.11/site-packages").mkdir(parents=True)
        (tmp_path / "src/package").mkdir(parents=True)
        (tmp_path / "src/package/__init__.py").touch()
        (tmp_path / "src/secret.txt").touch()
        (tmp_path / "env/lib/python3.11/site-packages/x.pth").write_text(f"import os\n# {root}\n{root}/src\n")
        assert software.linked([f"{root}/env"]) == (f"{root}/src/package",)


class TestEnvironment:
    GIVEN: ClassVar = {
        "PATH": "/bin", "LC_ALL": "C", "AWS_SECRET_ACCESS_KEY": "x", "LD_PRELOAD": "/evil.so", "HF_HOME": "/hf",
        "HF_TOKEN": "t", "HOME": "/home/me", "SSH_AUTH_SOCK": "/agent",
    }  # fmt: skip

    def test_only_what_is_named_passes(self):
        made = environment.select(self.GIVEN, (), temporary="/t", extra={})
        assert made == {"PATH": "/bin", "LC_ALL": "C", "HOME": "/home/me", "TMPDIR": "/t"}

    def test_names_values_and_globs(self):
        made = environment.select(self.GIVEN, ("HF_*", "SEED=1"), temporary="/t", extra={"http_proxy": "p"})
        assert (made["HF_HOME"], made["HF_TOKEN"], made["SEED"], made["http_proxy"]) == ("/hf", "t", "1", "p")
        with pytest.raises(UsageError, match="the variable SEED is not set"):
            environment.select(self.GIVEN, ("SEED",), temporary="/t", extra={})


class TestLimits:
    def test_they_are_the_kernels(self):
        def work():
            limits.apply(Wanted(cpu=7, memory=1 << 40, file_size=9, processes=10_000))
            kinds = (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
            return [resource.getrlimit(kind)[1] for kind in kinds]

        assert in_child(work) == str([7, 1 << 40, 9, 0])


class TestPowers:
    def test_root_keeps_what_files_take(self):
        def work():
            capabilities.drop()
            with open("/proc/self/status") as file:
                lines = dict(line.split(":\t", 1) for line in file if line.startswith("Cap"))
            return " ".join(lines[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"))

        effective, permitted, bounding, inheritable, ambient = (int(text, 16) for text in in_child(work).split())
        most = 0b11111011
        assert not effective & ~most and not permitted & ~most and not bounding & ~most
        assert inheritable == ambient == 0

    def test_a_user_namespace_keeps_numbers_and_is_entered_once(self):
        def work():
            namespaces.new_user()
            first = os.readlink("/proc/self/ns/user")
            namespaces.new_user()
            assert os.readlink("/proc/self/ns/user") == first
            return os.geteuid(), os.getegid()

        assert in_child(work) == str((os.geteuid(), os.getegid()))

    def test_where_none_can_be_had_it_says_so(self):
        def work():
            refuse_namespaces()
            namespaces.new_user()

        assert in_child(work) == "PermissionError 1"


class TestArbiter:
    def request(self, call, *arguments):
        return Request(1, 1, 0, call, (*arguments, 0, 0, 0, 0, 0, 0)[:6], lambda at, length: b"", lambda: True)

    def test_memory_files_are_made_so_that_they_cannot_run(self):
        answer = arbiter.Calls(strict=True).decide(self.request("memfd_create", 0, 1))
        assert answer.close_on_exec
        with os.fdopen(answer.descriptor, "wb") as file:
            assert not os.fstat(file.fileno()).st_mode & 0o111
            with pytest.raises(PermissionError):
                os.fchmod(file.fileno(), 0o700)

    def test_one_that_asks_to_run_is_refused(self):
        assert arbiter.Calls(strict=True).decide(self.request("memfd_create", 0, 0x10)).error == 1

    def test_the_first_of_two_decides(self):
        class Other(arbiter.Calls):
            def decide(self, request):
                return arbiter.Answer(value=7)

        joined = arbiter.Joined((Other(strict=False), arbiter.Calls(strict=True)))
        assert joined.decide(self.request("keyctl")).value == 7
        assert joined.decide(self.request("ptrace")).error == 1
        names = [watch.call for watch in joined.watches]
        assert len(names) == len(set(names))
        assert joined.blocked == {} and joined.pending() == {} and joined.told() == []


def test_the_loader_of_another_machine_is_not_followed(tmp_path):
    assert ctypes.sizeof(ctypes.c_void_p) == 8
    (tmp_path / "program").write_bytes(b"\x7fELF\x01\x01" + bytes(100))  # 32 bits
    assert software.programs(["./program"], str(tmp_path), None) == (os.path.realpath(tmp_path / "program"),)
