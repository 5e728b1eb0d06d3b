"""From single uses and contacts to facts: what is kept to the letter, what is one and the same, what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import assay
from assay.alerts.finding import Severity
from assay.collect.behaviour import sarif
from assay.collect.behaviour.compare import compare
from assay.collect.behaviour.facts import facts
from assay.collect.behaviour.interface import Fact, Facts, Kind, Places
from assay.collect.behaviour.model import Profile, learn
from assay.collect.behaviour.naming import bytecode, crowd, pattern
from assay.collect.behaviour.persisting import persistent
from assay.collect.behaviour.weights import weight
from assay.collect.trace.interface import Contact, Decision, FileUse, Process, RareCall, Stat, Trace, Usage
from assay.evidence import predicates

THERE = Stat(1, 2, 3, 4, 5, 0o100644)


def trace(*files: FileUse, contacts: tuple[Contact, ...] = (), calls: tuple[RareCall, ...] = (), **more: Any) -> Trace:
    process = Process(1, None, b"/usr/bin/python3", (b"python3",), 0)
    uses = {use.path: use for use in files}
    usage = Usage(1.0, 0.5, 0.1, 1 << 20)
    return Trace("seccomp-unotify", 0, 1, 0, None, (process,), uses, contacts, calls, 1, (), usage, **more)


def seen(tmp_path: Path, *files: FileUse, **more: Any) -> set[tuple[str, str]]:
    places = Places("/srv/code", ("/srv/data",), ("/srv/out",), ("/srv/env",), "/tmp/private", "/home/alice",
                    ("/home/alice/.ssh",))  # fmt: skip
    found = facts(trace(*files, **more), places)
    return {(fact.kind.value, fact.text) for fact in found.facts if fact.kind is not Kind.PROGRAM}


def read(path: str, **more: Any) -> FileUse:
    return FileUse(path.encode(), **{"read": 1, "first": THERE, **more})


def wrote(path: str, **more: Any) -> FileUse:
    return FileUse(path.encode(), **{"written": 1, **more})


@pytest.mark.parametrize(
    ("use", "fact"),
    [
        (read("/srv/data/part-00017.csv"), ("reads", "$IN/part-<n>.csv")),
        (read("/srv/data/2024-06-01/a.csv"), ("reads", "$IN/<date>/a.csv")),
        (read("/srv/data/3f2504e0-4f89-11d3-9a0c-0305e82c3301.bin"), ("reads", "$IN/<uuid>.bin")),
        (read("/srv/data/cache_0123456789abcdef0.bin"), ("reads", "$IN/cache_<hex>.bin")),
        (read("/srv/data/run7.py"), ("reads", "$IN/run7.py")),  # code keeps its name
        (read("/srv/other/part-17.csv"), ("reads", "/srv/other/part-17.csv")),  # outside nothing is normalised
        (read("/home/alice/.ssh/id_rsa"), ("sensitive", "~/.ssh/id_rsa")),
        (read("/home/alice/.ssh/id_rsa", first=None), ("sensitive", "~/.ssh/id_rsa (absent)")),
        (read("/home/alice/.ssh/id_rsa", first=None, denied=1), ("sensitive", "~/.ssh/id_rsa")),
        (read("/proc/4242/environ"), ("sensitive", "/proc/PID/environ")),
        (read("/srv/code/model.so"), ("libraries", "$CODE/model.so")),
        (read("/srv/out/x.so.1.2"), ("libraries", "$OUT/x.so.1.2")),
        (read("/srv/code/util.py"), ("code", "$CODE/util.py")),
        (read("/srv/code/__pycache__/util.cpython-311.pyc"), ("code", "$CODE/util.py")),
        (read("/srv/env/lib/python3.11/site-packages/torch/nn/x.py"), ("modules", "torch")),
        (read("/srv/env/lib/python3.11/site-packages/evil.pth"), ("modules", "evil")),
        (read("/home/alice/.cache/huggingface/hub/a/b"), ("caches", "~/.cache/huggingface")),
        (wrote("/home/alice/.cache/huggingface/hub/a/b"), ("caches", "~/.cache/huggingface")),
        (read("/etc/fonts/conf.d/a.conf"), ("configuration", "/etc/fonts")),
        (wrote("/srv/out/model-7.bin"), ("outputs", "$OUT/*.bin")),
        (wrote("/srv/data/part-1.csv"), ("writes", "$IN/part-<n>.csv")),
        (wrote("/srv/env/lib/python3.11/site-packages/x.pth"), ("persistence",
            "$ENV/lib/python3.11/site-packages/x.pth")),
        (wrote("/srv/env/lib/python3.11/site-packages/x.pth", exclusive=True, removed=1), ("persistence",
            "$ENV/lib/python3.11/site-packages/x.pth")),
        (wrote("/home/alice/.bashrc", first=THERE), ("persistence", "~/.bashrc")),
        (wrote("/etc/cron.d/job"), ("persistence", "/etc/cron.d/job")),
        (wrote("/srv/code/tmp123", exclusive=True, removed=1), ("writes", "$CODE/<passing>")),
        (wrote("/srv/where/tmp123"), ("writes", "/srv/where/tmp123")),
        (wrote("/dev/shm/torch_12_34"), ("writes", "/dev/shm/*")),
        (FileUse(b"/srv/data/a.csv", removed=1, first=THERE), ("deletions", "$IN/a.csv")),
        (FileUse(b"/srv/where/a.csv", removed=1, first=THERE), ("deletions", "/srv/where/a.csv")),
        (FileUse(b"/srv/code/a.csv", changed=1, first=THERE), ("writes", "$CODE/a.csv")),
        (FileUse(b"/srv/data/images", listed=1, first=THERE), ("lists", "$IN/images")),
        (read("/srv/\xff\x1b[2J".encode("latin-1").decode("latin-1")), ("reads", "/srv/\xff\\u001b[2J")),
    ],
)  # fmt: skip
def test_files(tmp_path: Path, use: FileUse, fact: tuple[str, str]) -> None:
    assert seen(tmp_path, use) == {fact}


@pytest.mark.parametrize(
    "use",
    [
        read("/srv/env/lib/libx.so"),
        read("/usr/lib/x86_64-linux-gnu/libc.so.6"),
        read("/srv/code/not-there.py", first=None),
        wrote("/tmp/private/x"),
        read("/proc/self/maps"),
        read("/dev/urandom"),
        FileUse(b"/srv/where/made-and-gone", removed=1, exclusive=True),
    ],
)
def test_what_says_nothing_is_left_out(tmp_path: Path, use: FileUse) -> None:
    assert not {fact for fact in seen(tmp_path, use) if "made-and-gone" not in str(use.path)}


def test_the_interpreter_may_keep_what_it_compiled_and_nobody_else(tmp_path: Path) -> None:
    source = read("/srv/env/lib/site-packages/a/b.py")
    made = wrote("/srv/env/lib/site-packages/a/__pycache__/b.cpython-311.pyc.140234", exclusive=True, removed=1)
    put = FileUse(b"/srv/env/lib/site-packages/a/__pycache__/b.cpython-311.pyc", appeared=1)
    assert seen(tmp_path, source, made, put) == {("modules", "a")}
    assert ("writes", "$ENV/lib/site-packages/a/__pycache__/b.cpython-311.pyc") in seen(tmp_path, put)


def contact(call: str, family: str, transport: str, address: str, port: int | None, host: str | None = None) -> Contact:
    return Contact(0, 0, call, family, transport, address, port, host, Decision.SEEN, "")


@pytest.mark.parametrize(
    ("made", "fact", "severity"),
    [
        (contact("connect", "inet", "tcp", "203.0.113.5", 443), ("destinations", "tcp 203.0.113.5:443"), "high"),
        (contact("connect", "inet", "tcp", "203.0.113.5", 443, "a.example"), ("destinations", "tcp a.example:443"),
         "high"),
        (contact("sendto", "inet6", "udp", "2001:db8::1", 53), ("destinations", "udp [2001:db8::1]:53"), "high"),
        (contact("dns", "inet", "udp", "", 53, "x.example"), ("destinations", "dns x.example"), "high"),
        (contact("connect", "inet", "tcp", "169.254.169.254", 80), ("destinations", "tcp 169.254.169.254:80"),
         "critical"),
        (contact("connect", "inet", "tcp", "127.0.0.1", 45678), ("destinations", "tcp localhost:*"), "low"),
        (contact("connect", "inet", "tcp", "127.0.0.1", 631), ("destinations", "tcp localhost:631"), "medium"),
        (contact("connect", "unix", "unix", "/run/docker.sock", None), ("destinations", "unix /run/docker.sock"),
         "critical"),
        (contact("connect", "unix", "unix", "/tmp/private/pymp-x/l-1", None),
         ("destinations", "unix $TMPDIR/*"), "low"),
        (contact("socket", "packet", "raw", "", None), ("destinations", "packet raw"), "high"),
        (contact("bind", "inet", "tcp", "0.0.0.0", 8888), ("listens", "tcp 0.0.0.0:8888"), "medium"),
        (contact("bind", "inet", "tcp", "127.0.0.1", 0), ("listens", "tcp localhost:*"), "low"),
    ],
)  # fmt: skip
def test_contacts(tmp_path: Path, made: Contact, fact: tuple[str, str], severity: str) -> None:
    assert seen(tmp_path, contacts=(made,)) == {fact}
    assert weight(Fact(Kind(fact[0]), fact[1])).severity == severity


def test_calls_hooks_and_attempts(tmp_path: Path) -> None:
    calls = (
        RareCall(0, 0, "ptrace", "request 0x10 of 4711", Decision.DENIED),
        RareCall(0, 0, "unshare", "user", Decision.SEEN),
    )
    hooks = {"pickle.find_class": ("sklearn.tree.Tree", "builtins.eval", "builtins.set")}
    found = facts(trace(calls=calls, modules=("numpy.linalg", "json", "ctypes"), hooks=hooks), Places("/srv/code"))
    assert {(fact.kind.value, fact.text) for fact in found.facts} >= {
        ("calls", "ptrace"), ("calls", "unshare user"), ("pickles", "sklearn"), ("pickles", "builtins.eval"),
        ("pickles", "builtins"), ("modules", "numpy"), ("modules", "ctypes"),
    }  # fmt: skip
    assert found.tried == {Fact(Kind.CALL, "ptrace")}
    assert weight(Fact(Kind.PICKLE, "builtins.eval")).severity is Severity.HIGH
    assert weight(Fact(Kind.PICKLE, "sklearn")).severity is Severity.LOW


@pytest.mark.parametrize("path", ["/root/.bashrc", "/etc/crontab", "/etc/systemd/system/x.service", "/a/.git/hooks/x",
                                  "/v/site-packages/a.pth", "/v/sitecustomize.py", "/home/u/.ssh/authorized_keys",
                                  "/h/.bashrc", "/h/.config/systemd/user/x.service"])  # fmt: skip
def test_what_runs_later_by_itself(path: str) -> None:
    assert persistent(path, "/h")


@pytest.mark.parametrize(
    "path", ["/h/x.bashrc", "/srv/data/a.pth", "/a/git/hooks/x", "/etc/hosts.allow", "/srv/.bashrc2"]
)
def test_what_does_not(path: str) -> None:
    assert not persistent(path, "/h")


def test_names() -> None:
    assert pattern("$IN/shard-12-of-40.tfrecord") == "$IN/shard-<n>-of-<n>.tfrecord"
    assert pattern("$IN2/x") == "$IN2/x"
    assert crowd("$IN/a/b-7.png") == "$IN/a/*.png" and crowd("$OUT") == "$OUT"
    assert bytecode("/a/__pycache__/b.cpython-311.opt-1.pyc") == "/a/b.py" and bytecode("/a/b.pyc") is None


def test_every_technique_is_in_the_catalogue() -> None:
    catalogue = json.loads((Path(assay.__file__).parent / "policy" / "frameworks" / "atlas.json").read_text())
    known = {item["id"] for item in catalogue["techniques"]} if isinstance(catalogue["techniques"], list) else set(
        catalogue["techniques"])  # fmt: skip
    texts = [
        "/bin/sh",
        "/usr/bin/curl",
        "/usr/bin/gcc",
        "/srv/x",
        "/usr/bin/uname",
        "$IN/a",
        "$IN/test/a",
        "$OUT/a",
        "$CODE/a",
        "$ENV/a",
        "/dev/shm/*",
        "~/x",
        "netlink",
        "ptrace",
        "memfd_create",
        "os.system",
        "numpy",
        "/proc/PID/environ",
        "$TMPDIR/*.so",
        "/run/docker.sock",
    ]
    texts += ["tcp a:1", "unix /x", "unix @x", "unshare user", "tcp 169.254.169.254:80", "tcp localhost:1"]
    texts += ["~/.netrc (absent)", "unix /run/docker.sock"]
    for kind in Kind:
        for text in texts:
            found = weight(Fact(kind, text))
            assert set(found.atlas) <= known and found.mitigation and found.title


def test_findings_as_sarif_are_what_the_predicate_says() -> None:
    profile = learn(Profile("train"), Facts(frozenset(), {}))
    found = compare(profile, Facts(frozenset({Fact(Kind.READ, "/srv/[x](y)"), Fact(Kind.OUTPUT, "$OUT/*.x")}), {}))
    log = sarif.log(found, step="train", runs=1, sha256="ab" * 32, started=0, finished=10**9, complete=True)
    predicates.check(sarif.PREDICATE_TYPE, log)
    levels = [(item["ruleId"], item["level"], item["kind"]) for item in log["runs"][0]["results"]]
    assert levels == [("profile/reads", "error", "fail"), ("profile/outputs", "none", "informational")]
    assert "\\[x\\]" in log["runs"][0]["results"][0]["message"]["text"]
    empty = sarif.log([], step="train", runs=1, sha256="ab" * 32, started=0, finished=10**9, complete=True)
    assert empty["runs"][0]["results"] == []
    for runs, complete in ((0, True), (3, False)):
        log = sarif.log([], step="train", runs=runs, sha256="ab" * 32, started=0, finished=1, complete=complete)
        assert log["runs"][0]["invocations"][0]["executionSuccessful"] is False
