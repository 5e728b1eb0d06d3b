"""What Python programs tell of themselves comes along, and never gets in their way."""

import os
import sys

import pytest

from assay.collect.trace.hook_only import AuditHook
from assay.collect.trace.hooks import FOLDER, Heard
from assay.errors import UndecidedError, UsageError
from collect.trace.steps import ENGINES, watch

each = pytest.mark.parametrize("engine", ENGINES)
STEP = """
import ctypes, pickle, socket, sys
import colorsys
pickle.loads(pickle.dumps(colorsys.rgb_to_hsv))
ctypes.CDLL("libm.so.6")
try: socket.getaddrinfo("localhost", 1)
except OSError: pass
open("out", "w").write("\\n".join(sys.modules))
"""


@each
def test_modules_pickles_libraries_and_hosts(engine, tmp_path):
    trace = watch([sys.executable, "-c", STEP], engine, directory=tmp_path, hook=True)
    assert trace.exit_code == 0
    assert {"colorsys", "ctypes", "pickle"} <= set(trace.modules)
    assert "colorsys.rgb_to_hsv" in trace.hooks["pickle.find_class"]
    assert "libm.so.6" in trace.hooks["ctypes.dlopen"]
    assert trace.hooks["socket.getaddrinfo"] == ("localhost",)
    assert not [path for path in trace.files if b"assay-audit-hook" in path]


ODD = """
import sys
sys.path.append("/nowhere")
for given in ((), (5,), ([],), (None,), (b"bytes",), ("twice",), ("twice",), ("a" * 9000,), ("nul\\0inside",)):
    sys.audit("import", *given)
for name in range(3000): sys.audit("import", f"many.names_{name}")
for event in ("pickle.find_class", "socket.getaddrinfo", "ctypes.dlopen"): sys.audit(event)
sys.audit("subprocess.Popen")
import os
os._exit(3)
"""


@each
def test_odd_events_get_in_nobodys_way_and_hide_no_other(engine, tmp_path):
    trace = watch([sys.executable, "-c", ODD], engine, directory=tmp_path, hook=True)
    assert trace.exit_code == 3
    assert {"bytes", "twice", "a" * 500, "nul\0inside", *(f"many.names_{name}" for name in range(3000))} <= set(
        trace.modules
    )
    assert trace.modules.count("twice") == 1


def test_a_hook_that_nobody_listens_to_is_silent(tmp_path):
    trace = watch([sys.executable, "-c", STEP], directory=tmp_path, hook=False, environment={"PYTHONPATH": FOLDER})
    assert trace.exit_code == 0 and not trace.modules


def test_the_users_own_sitecustomize_is_run(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("open('customised', 'w')")
    trace = watch(
        [sys.executable, "-c", "import sitecustomize; open(sitecustomize.__file__)"],
        directory=tmp_path,
        hook=True,
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert trace.exit_code == 0 and (tmp_path / "customised").exists()


def test_the_hook_brings_no_modules_of_its_own(tmp_path):
    for name, more in (("with", {"hook": True}), ("without", {"hook": False})):
        (tmp_path / name).mkdir()
        watch([sys.executable, "-c", STEP], directory=tmp_path / name, **more)
    told = {name: set((tmp_path / name / "out").read_text().split()) for name in ("with", "without")}
    assert told["with"] - told["without"] <= {"sitecustomize", "atexit"}


@pytest.mark.parametrize(
    "message", [b"", b"[", b"[1]", b'{"import": 5}', b'{"import": [5, null]}', b"[" * 100_000, b"\xff"]
)
def test_nonsense_is_ignored(message):
    heard = Heard()
    heard.add(message)
    assert not heard.modules and not heard.others


def test_the_hook_alone(tmp_path):
    trace = AuditHook().run(_launch(tmp_path), None)
    assert trace.exit_code == 0 and trace.mechanism == "audit-hook"
    assert "colorsys" in trace.modules and "localhost" in trace.hooks["socket.getaddrinfo"]
    assert trace.files[os.fsencode(tmp_path) + b"/out"].written == 1
    assert [gap.name for gap in trace.gaps] == ["audit-hook-only"]


def test_the_hook_alone_decides_nothing(tmp_path):
    from collect.trace.test_trace_arbiter import Judge

    with pytest.raises(UndecidedError):
        AuditHook().run(_launch(tmp_path), Judge(blocked={"bpf": 1}))


def test_the_hook_alone_says_what_cannot_be_started(tmp_path):
    with pytest.raises(UsageError, match="no-such-program"):
        AuditHook().run(_launch(tmp_path, ["no-such-program"]), None)


def test_the_hook_alone_keeps_the_time_limit(tmp_path):
    trace = AuditHook().run(_launch(tmp_path, ["sleep", "100"], seconds=0.3), None)
    assert trace.interrupted == "time limit" and trace.signal == 9


def _launch(folder, command=None, **more):
    from assay.collect.trace.interface import Launch

    return Launch(command or [sys.executable, "-c", STEP], {"PATH": os.environ["PATH"]}, str(folder), **more)
