"""What a state makes an object run, and what calls do with their arguments: attacks that use only names that are
allowed. Each is loaded for real as well, and does what it is said to do: it writes a file of its own.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import pathlib
import pickle
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.collect.scan.models.interface import Finding, Limits, Tier
from assay.collect.scan.models.pickle import states
from assay.collect.scan.models.pickle.engine import run_pickle
from assay.collect.scan.models.rules import ruleset
from collect.scan.pickle.assembling import name, rules, text, tier

RULES = ruleset.load()

WRITER = ("joblib.logger", "PrintTime")
"""A class that may be made and filled, and whose ``__init__`` opens the file that it is given."""

MODEL = ("sklearn.svm._classes", "SVC")
NORMAL = ("scipy.stats._continuous_distns", "norm_gen")
TUPLE = name("builtins", "tuple")


def findings(data: bytes) -> list[Finding]:
    file = io.BytesIO(data)
    return list(run_pickle(file, len(data), exact=True, encoding="ASCII", rules=RULES, limits=Limits()))


def made(cls: tuple[str, str]) -> bytes:
    """An instance, by NEWOBJ."""
    return name(*cls) + b")\x81"


def writer(path: str) -> bytes:
    """``functools.partial(PrintTime, path)``."""
    return name("functools", "partial") + name(*WRITER) + text(path) + b"\x86R"


def code(path: str) -> bytes:
    return text(f"open({path!r}, 'w').close()")


def ordered(key: str, value: bytes) -> bytes:
    """An OrderedDict with one item."""
    return name("collections", "OrderedDict") + b")R" + text(key) + value + b"s"


def tensor() -> bytes:
    """What ``_rebuild_tensor_v2`` takes: an empty storage and its shape."""
    import torch

    storage = pickle.dumps(torch.storage.TypedStorage(dtype=torch.float32), 2)
    return storage[2:-1] + b"K\x00K\x00\x85K\x01\x85\x89" + name("collections", "OrderedDict") + b")R"


LOADING: dict[str, tuple[Callable[[str], bytes], str]] = {
    "base-of-reconstructor": (
        lambda p: name("copyreg", "_reconstructor") + name(*WRITER) * 2 + text(p) + b"\x87R.",
        "pickle/unlisted-call",
    ),
    "generator": (
        lambda p: name("numpy.random._pickle", "__generator_ctor") + text(p) + name(*WRITER) + b"\x86R.",
        "pickle/unlisted-call",
    ),
    "generator-partial": (
        lambda p: name("numpy.random._pickle", "__generator_ctor") + text(p) + name("functools", "partial")
        + name(*WRITER) + b"\x85R\x86R.",
        "pickle/result-called",
    ),
    "tensor-of-a-type": (
        lambda p: name("torch._tensor", "_rebuild_from_type_v2") + b"(" + name(*WRITER) + name("torch", "Tensor")
        + text(p) + b"\x85}tR.",
        "pickle/unlisted-call",
    ),
    "tensor-of-a-type-through-another": (
        lambda p: name("torch._tensor", "_rebuild_from_type_v2") + b"(" + name("copyreg", "_reconstructor")
        + name("torch", "Tensor") + name(*WRITER) * 2 + text(p) + b"\x87}tR.",
        "pickle/unlisted-call",
    ),
    "ordered-state": (
        lambda p: made(MODEL) + ordered("append", name(*WRITER)) + b"b" + text(p) + b"a.",
        "pickle/call-without-reduce",
    ),
    "ordered-state-of-pairs": (
        lambda p: made(MODEL) + name("collections", "OrderedDict") + b"]" + text("append") + name(*WRITER)
        + b"\x86a\x85Rb" + text(p) + b"a.",
        "pickle/call-without-reduce",
    ),
    "parameter-with-state": (
        lambda p: name("torch._utils", "_rebuild_parameter_with_state")
        + b"(" + name("torch._utils", "_rebuild_tensor_v2") + b"(" + tensor() + b"tR\x89"
        + name("collections", "OrderedDict") + b")R}" + text("append") + name(*WRITER)
        + b"stR" + text(p) + b"a.",
        "pickle/call-without-reduce",
    ),
    "template": (
        lambda p: made(NORMAL) + b"}" + text("_parse_arg_template") + code(p) + b"sb.",
        "pickle/state-runs",
    ),
    "template-in-pairs": (
        lambda p: made(NORMAL) + text("_parse_arg_template") + code(p) + b"\x86\x85b.",
        "pickle/state-runs",
    ),
    "template-in-lists": (
        lambda p: made(NORMAL) + b"]](" + text("_parse_arg_template") + code(p) + b"eab.",
        "pickle/state-runs",
    ),
    "template-ordered": (
        lambda p: made(NORMAL) + ordered("_parse_arg_template", code(p)) + b"b.",
        "pickle/state-runs",
    ),
    "template-of-a-mapping": (
        lambda p: made(NORMAL) + name("types", "MappingProxyType") + b"}" + text("_parse_arg_template") + code(p)
        + b"s\x85Rb.",
        "pickle/state-runs",
    ),
    "template-of-pairs-made-by-calls": (
        lambda p: made(NORMAL) + b"]" + name("collections", "deque") + b"](" + text("_parse_arg_template") + code(p)
        + b"e\x85Rab.",
        "pickle/unlisted-call",
    ),
    "methods-of-a-distribution": (
        lambda p: made(NORMAL) + b"}" + text("_attach_methods") + writer(p) + b"sb.",
        "pickle/method-shadowed",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Trying to unpickle", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("case", LOADING)
def test_loading_runs_it_and_the_scan_says_so(case: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "written"
    make, rule = LOADING[case]
    data = make(str(path))
    found = findings(data)
    assert not path.exists() and tier(found).rank >= Tier.UNKNOWN.rank
    assert rule in rules(found), rules(found)
    with contextlib.suppress(Exception):
        pickle.loads(data)
    assert path.exists(), "it is no attack"


USING: dict[str, Callable[[str], bytes]] = {
    "state": lambda p: made(MODEL) + b"}" + text("predict") + writer(p) + b"sb.",
    "slots": lambda p: made(WRITER) + b"N}" + text("predict") + writer(p) + b"s\x86b.",
}


@pytest.mark.filterwarnings("ignore:Trying to unpickle")
@pytest.mark.parametrize("case", USING)
def test_using_it_runs_it_and_the_scan_says_so(case: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "written"
    data = USING[case](str(path))
    found = findings(data)
    assert rules(found) == {"pickle/method-shadowed"} or case == "slots"
    assert "pickle/method-shadowed" in rules(found) and tier(found) is Tier.UNKNOWN
    model = pickle.loads(data)
    assert not path.exists()
    model.predict()
    assert path.exists(), "it is no attack"


@pytest.mark.filterwarnings("ignore:Trying to unpickle")
@pytest.mark.parametrize("special", ["__deepcopy__", "__reduce_ex__", "__sklearn_clone__", "__array__", "__class__"])
def test_a_special_method_of_an_instance(special: str) -> None:
    data = made(MODEL) + b"}" + text(special) + name("builtins", "repr") + b"sb."
    found = findings(data)
    assert tier(found) is Tier.MALICIOUS and "pickle/dunder-set" in rules(found)
    if special == "__deepcopy__":
        assert copy.deepcopy(pickle.loads(data)) == "{}", "it is no attack"


def test_a_global_in_the_place_of_a_method() -> None:
    for value, worst in ((name("os", "system"), Tier.MALICIOUS), (name("numpy", "log1p"), Tier.UNKNOWN)):
        found = findings(made(MODEL) + b"}" + text("predict") + value + b"sb.")
        assert "pickle/method-shadowed" in rules(found) and tier(found) is worst


def test_a_state_that_cythons_function_is_given() -> None:
    state = b"}" + text("append") + name(*WRITER) + b"s"
    cls = name("pandas.core.arrays.datetimes", "DatetimeArray")
    data = name("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked") + cls + b"K\x01" + state + b"\x87R"
    assert tier(findings(data + b".")) is Tier.SAFE, "no honest one, and yet it does nothing"
    assert "pickle/call-without-reduce" in rules(findings(data + text("x") + b"a."))


def test_honest_distributions_are_safe_in_every_protocol() -> None:
    from scipy import stats

    every = [stats.norm(), stats.loguniform(1e-3, 1), stats.randint(1, 5), stats.beta(2, 3), stats.norm, stats.poisson]
    every.append(stats.rv_discrete(values=([1, 2], [0.5, 0.5])))
    for protocol in range(2, 6):
        for value in every:
            data = pickle.dumps(value, protocol)
            assert findings(data) == [], (value, protocol)


def test_all_of_scipys_distributions_write_the_template_that_is_known() -> None:
    from scipy import stats

    seen = 0
    for value in vars(stats).values():
        template = getattr(value, "_parse_arg_template", None)
        if template is not None:
            assert not list(states.running({"_parse_arg_template": template}, {"_parse_arg_template": template}))
            seen += 1
    assert seen > 100


DATA = ("statsmodels.base.data", "PandasData")
FRAME = ("pandas.core.frame", "DataFrame")


def data_of(formula: str, frame: bytes = made(FRAME)) -> bytes:
    restored = b"}" + text("restore_design_info") + b"\x88s" + text("frame") + frame + b"s"
    return made(DATA) + restored + text("formula") + text(formula) + b"sb."


HARMLESS = [
    "y ~ a + b", "y ~ a*b + C(g)", "y~a:b-1", "y ~ np.log(a ** 2 + 1) + I(b**2)", "k ~ C(g, Treatment('u'))",
    "Lottery ~ Literacy + np.log(Pop1831)", "y ~ bs(x, df=4, degree=3) + center(z)", "log(y) ~ (a + b)**2 | c",
    "y ~ Q('weight in kg') + standardize(x)", "y ~ `weight in kg`", "0 + a", "C(a, levels=['u', \"v\"])",
    "y ~ x_1 > 0.5e-3",
]  # fmt: skip

HARMFUL = [
    "y ~ __import__('os').system('true')", "open('x', 'w')", "y ~ exec('1')", "y ~ np.load('x')", "y ~ a.b", "().x",
    "y ~ np.lib.npyio.os.system('x')", "y ~ (lambda: a)()", "I(a)(b)", "y ~ f'{a}'", "y ~ np.log.__class__",
    "y ~ a[0](b)", "'x'.format(a)", "y ~ {open('x')}", "y ~ eval ('1')", "y ~ np . load('x')", "y ~ a\\nb", "y ~ yield",
    "y ~ C.x(1)", "y ~ rf'{a}'", "y ~ 'a' 'b'.x", "y ~ np", "1 .real(2)", "y ~ log(a)(b)", "y ~ a; b", "", "y ~ np.",
    "y ~ pd.eval('1')", "y ~ numpy.fromfile('x')", "y ~ (a)(b)", "y ~ (print)(a)", "y ~ [open][0]('x')",
]  # fmt: skip


@pytest.mark.parametrize("formula", HARMLESS)
def test_a_formula_that_only_computes(formula: str) -> None:
    assert states.harmless(formula)
    assert findings(data_of(formula)) == []


@pytest.mark.parametrize("formula", [formula for formula in HARMFUL if formula not in ("y ~ np",)])
def test_a_formula_that_may_do_more(formula: str) -> None:
    assert not states.harmless(formula)
    found = findings(data_of(formula))
    assert tier(found) is Tier.MALICIOUS and "pickle/state-runs" in rules(found)


def test_a_formula_over_something_else_than_a_table() -> None:
    mapping = b"}" + text("C") + name("numpy", "log1p") + b"s"
    assert "pickle/state-runs" in rules(findings(data_of("y ~ C(a)", mapping)))


PIECES = st.sampled_from(
    [*"abCIQxf.()[]{}~+*:,1 \\\n=|%", "np", "log", "open", "'a'", "`b`", "0.5", "1.", "lambda", "__class__", "in", "if"]
)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@given(st.lists(PIECES, max_size=14).map("".join))
def test_what_is_harmless_calls_and_reaches_into_known_names_only(formula: str) -> None:
    if not states.harmless(formula):
        return
    try:
        tree = ast.parse(re.sub("`[^`]*`", "q", formula).replace("~", "+").replace(":", "*").strip(), mode="eval")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.Lambda, ast.JoinedStr, ast.NamedExpr, ast.Await, ast.Yield))
        if isinstance(node, ast.Attribute):
            assert isinstance(node.value, ast.Name) and node.value.id == "np" and node.attr in states._NUMPY
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id in states._FUNCTIONS
        elif isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Attribute)


TORCH_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def _call(data: bytes) -> bytes:
    return name("torch.storage", "_load_from_bytes") + b"B" + len(data).to_bytes(4, "little") + data + b"\x85R."


def test_tensors_that_were_pickled_plainly_are_safe() -> None:
    import torch

    small, large = torch.nn.Linear(3, 2), torch.nn.Linear(400, 300)
    for protocol in (2, 3, 4, 5):
        for module in (small, large, [small, large, small]):
            assert findings(pickle.dumps(module, protocol)) == []


@pytest.mark.parametrize("padding", [0, 200_000])
def test_what_torch_loads_from_bytes_is_scanned(padding: int) -> None:
    import torch

    file = io.BytesIO()
    torch.save(torch.ones(3).untyped_storage(), file, _use_new_zipfile_serialization=False)
    honest = file.getvalue() + bytes(padding)
    assert findings(_call(honest)) == []
    evil = name("os", "system") + text("true") + b"\x85R."
    for inner in (
        TORCH_HEAD + evil + bytes(padding),
        TORCH_HEAD + b"\x80\x02N.\x80\x02}." + evil + b"\x80\x02].",
        evil + bytes(padding),
    ):
        found = findings(_call(inner))
        assert tier(found) is Tier.MALICIOUS, rules(found)
    for other in (b"(" + honest, honest[:60], b"\x80\x02N." + honest, b"PK\x03\x04" + honest, b"", TORCH_HEAD * 5):
        found = findings(_call(other))
        assert tier(found).rank >= Tier.UNKNOWN.rank or other == TORCH_HEAD * 5


def test_a_byte_string_cannot_be_told_to_be_another() -> None:
    """Two calls, one with an honest argument and one of the same length with something else."""
    import torch

    file = io.BytesIO()
    torch.save(torch.ones(3).untyped_storage(), file, _use_new_zipfile_serialization=False)
    for padding in (0, 200_000):
        honest = file.getvalue() + bytes(padding)
        other = b"(" + honest[1:]
        found = findings(_call(honest)[:-1] + b"0" + _call(other))
        assert tier(found).rank >= Tier.UNKNOWN.rank
