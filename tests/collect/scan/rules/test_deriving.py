"""Deriving a list from a library: classes that only hold data are listed, those that do more are not."""

from __future__ import annotations

import pathlib
import textwrap

import pytest

from assay.collect.scan.models.interface import Tier
from assay.collect.scan.models.rules import deriving, inspecting, lists, ruleset
from assay.collect.scan.models.rules.quiet import Checker
from assay.errors import UndecidedError, UsageError

GADGETS = """
    import enum, functools, os, subprocess, pickle
    from dataclasses import dataclass, field

    {marker}

    class Plain:
        def __init__(self, a): self.a = a
        def predict(self, x): return os.system(x)

    class Keeps:
        def __init__(self): self.one, self.two = self.kept, self.called()
        def kept(self): return 1
        def called(self): return self.__reduce__
        @property
        def looked(self): return self.looked

    class Stateful:
        class Inner: pass
        def __setstate__(self, state):
            state.setdefault("a", 1)
            self.__dict__.update(state)

    class Child(Stateful):
        def __setstate__(self, state):
            super().__setstate__(state)
            if not isinstance(self.a, int):
                raise ValueError("no " + str(self.a))

    @dataclass(frozen=True)
    class Record:
        a: int = 0
        b: list = field(default_factory=list)

    class Colour(enum.Enum):
        RED = 1

    class Opening(enum.Enum):
        A = 1
        @classmethod
        def _missing_(cls, value): return open(value)

    class Runs:
        def __setstate__(self, state): exec(state["code"])

    class RunsDeep:
        def __setstate__(self, state): helper(state)

    class CallsState:
        def __setstate__(self, state): state["f"](state["x"])

    class CallsAttribute:
        def __setstate__(self, state):
            self.__dict__.update(state)
            self.hook()

    class Imports:
        def __setstate__(self, state): __import__(state)

    class Nested:
        def __setstate__(self, state):
            def inner(): return pickle.loads(state)
            inner()

    class Lambda:
        def __setstate__(self, state): (lambda: os.system(state))()

    class Unlinks:
        def __del__(self): os.unlink(self.path)

    class Setter:
        @property
        def a(self): return 1
        @a.setter
        def a(self, value): os.system(value)

    class Attribute:
        def __setattr__(self, name, value): eval(value)

    class Looks:
        def __getattr__(self, name): return subprocess.run(name)

    class Item(dict):
        def __setitem__(self, key, value): os.system(key)

    class Appends(list):
        def append(self, value): eval(value)

    class Iterates:
        def __iter__(self): return iter(os.listdir(self.a))

    class News:
        def __new__(cls, *args):
            os.system(*args)
            return object.__new__(cls)

    class Inherits(Runs): pass

    class Getattr:
        def __setstate__(self, state): getattr(self, state["name"])(state["x"])

    class Sorts:
        def __setstate__(self, state): sorted(state["x"], key=state["f"])

    class Mapped:
        def __setstate__(self, state): list(map(state["f"], state["x"]))

    class Partial:
        def __setstate__(self, state): functools.reduce(state["f"], state["x"])

    class Shell:
        def __hash__(self): return os.system(self.a)

    class Manager:
        def __setstate__(self, state):
            with self.lock: pass

    class Three:
        def __setstate__(self, state): type(state[0], state[1], state[2])

    class Decorated:
        @functools.wraps(os.system)
        def __setstate__(self, state): return os.system(state)

    def helper(state): return deeper(state)
    def deeper(state): return os.popen(state)
"""

QUIET = {"Plain", "Keeps", "Stateful", "Child", "Record", "Colour", "Stateful.Inner"}


@pytest.fixture
def library(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An installed package with a class for each way to run something while it is loaded."""
    import sys

    package = tmp_path / "site" / "gadgetry"
    (package / "tests").mkdir(parents=True)
    (package / "sub").mkdir()
    marker = f"open({str(tmp_path / 'imported')!r}, 'a').write('x')"
    (package / "__init__.py").write_text(
        "from gadgetry.main import Plain as Alias\nprint('{noise on standard output}')\n"
    )
    (package / "main.py").write_text(textwrap.dedent(GADGETS.format(marker=marker)))
    (package / "broken.py").write_text("raise SystemExit(3)\n")
    (package / "sub" / "__init__.py").write_text("class Below: pass\n")
    (package / "tests" / "__init__.py").write_text("class InTests: pass\n")
    # The child runs isolated (-I): a wrapper stands for an interpreter that has the library installed.
    python = tmp_path / "python"
    site = tmp_path / "site"
    first = f"import sys; sys.path.insert(0, {str(site)!r}); "
    python.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, '-I', '-c', {first!r} + sys.argv[3], *sys.argv[4:]])\n"
    )
    python.chmod(0o755)
    return python


def test_classes_that_do_more_than_hold_data_are_left_out(library: pathlib.Path) -> None:
    derived = deriving.derive("gadgetry", python=str(library))
    listed = derived.listed.entries
    assert set(listed["gadgetry.main"]) == QUIET | {"Keeps.kept"}
    assert listed["gadgetry.main"]["Keeps.kept"] == lists.KINDS["ref"], "a method that it keeps as a value"
    assert listed["gadgetry.sub"] == {"Below": lists.KINDS["new"]}
    assert listed["gadgetry.main"]["Colour"] == lists.KINDS["enum"]
    assert set(listed) == {"gadgetry.main", "gadgetry.sub"}, "neither tests nor re-exports"
    reasons = derived.refused
    assert "exec" in reasons["gadgetry.main.Runs"] and "subprocess" in reasons["gadgetry.main.RunsDeep"]
    assert (library.parent / "imported").exists(), "the library was really imported"


def test_deriving_twice_gives_the_same_bytes_that_a_project_can_use(library: pathlib.Path) -> None:
    texts = [lists.render(deriving.derive("gadgetry", python=str(library)).listed) for _ in range(2)]
    assert texts[0] == texts[1]
    rules = ruleset.load({"gadgetry.txt": texts[0]})
    assert rules.judge("gadgetry.main", "Plain", "new")[0] is Tier.SAFE
    assert rules.judge("gadgetry.main", "Plain", "call")[0] is Tier.UNKNOWN
    assert rules.judge("gadgetry.main", "Runs", "new")[0] is Tier.UNKNOWN


def test_parts_can_be_left_out(library: pathlib.Path) -> None:
    listed = deriving.derive("gadgetry", without=["gadgetry.main"], python=str(library)).listed
    assert set(listed.entries) == {"gadgetry.sub"} and "--without gadgetry.main" in listed.derived


@pytest.mark.parametrize("name", ["no_such_library_here", "no-such-library.here"])
def test_a_library_that_is_not_there(name: str) -> None:
    with pytest.raises(UsageError, match="not installed"):
        deriving.derive(name)


@pytest.mark.parametrize("name", ["", "../x", "a b", "-c", "x;y", "--help"])
def test_what_is_no_name_of_a_library(name: str) -> None:
    with pytest.raises(UsageError, match="not the name"):
        deriving.derive(name)


def test_a_child_that_dies_is_no_empty_list(tmp_path: pathlib.Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho broken >&2\nexit 7\n")
    python.chmod(0o755)
    with pytest.raises(UndecidedError, match=r"exit code 7.*broken"):
        deriving.derive("joblib", python=str(python))


def test_the_shipped_list_of_joblib_is_what_deriving_gives_for_its_version() -> None:
    import joblib

    shipped = lists.parse((pathlib.Path(ruleset.__file__).parent / "data" / "joblib.txt").read_bytes(), "joblib.txt")
    if shipped.versions != joblib.__version__:
        pytest.skip(f"joblib {joblib.__version__} is installed")
    assert deriving.derive("joblib").listed == shipped


def test_classes_that_cython_made_fit_for_pickling() -> None:
    from sklearn._loss import _loss

    made = inspecting.compiled(_loss)
    assert "CyHalfMultinomialLoss" in made and all(isinstance(getattr(_loss, name), type) for name in made)
    assert inspecting.compiled(pathlib) == set()


def test_a_class_that_runs_a_text_of_its_state_is_listed_as_one_that_needs_a_proof() -> None:
    from scipy import stats

    checker = Checker()
    normal = type(stats.norm)
    assert checker.reason(normal.__setstate__, normal) is None and checker.proved
    listed = ruleset.load().allowed["scipy.stats._continuous_distns"]["norm_gen"]
    assert listed == lists.KINDS["proved"] and not listed & lists.Use.FILL
    from sklearn.svm import SVC

    checker.proved = False
    assert checker.reason(SVC.__setstate__, SVC) is None and not checker.proved


RISKY = {"eval", "exec", "compile", "__import__", "open"}


def test_listed_callables_that_are_python_do_not_run_their_arguments() -> None:
    """Where the libraries are installed: no listed function calls eval, exec, open or another process, at any depth
    that can be followed, but for what is in `RuleSet` as calling a class or the constructor it is given.
    """
    import importlib
    import types

    checker = Checker()
    seen = 0
    for module, names in ruleset.load().allowed.items():
        if module.partition(".")[0] not in ("numpy", "copyreg", "functools", "re", "collections", "operator"):
            continue
        called = [name for name, uses in names.items() if uses & lists.Use.CALL and "." not in name]
        if not called:
            continue
        try:
            loaded = importlib.import_module(module)
        except ImportError:
            continue
        for name in called:
            function = getattr(loaded, name, None)
            if isinstance(function, types.FunctionType):
                seen += 1
                reason = checker.reason(function) or ""
                assert not any(f"builtins.{risk}" in reason or "subprocess" in reason for risk in RISKY), (name, reason)
    assert seen > 5
