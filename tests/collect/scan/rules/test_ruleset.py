"""The rules: known gadgets are never safe, honest models mostly are, and lists and denials do not contradict."""

from __future__ import annotations

import hashlib
import pathlib
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.interface import Tier
from assay.collect.scan.models.rules import denied, lists, ruleset
from assay.errors import DocumentError

HERE = pathlib.Path(__file__).parent
DATA = HERE.parents[2] / "data" / "scan-globals"
RULES = ruleset.load()
GADGETS = [tuple(line.split()) for line in (HERE / "gadgets.txt").read_text().splitlines()]
USES = ("reference", "call", "new", "build", "fill")

MERELY_UNKNOWN = {
    "builtins map", "builtins filter", "numpy.core _ufunc_reconstruct", "numpy ndarray.tofile",
    "pandas DataFrame.to_pickle", "pandas DataFrame.query", "scipy.stats._continuous_distns norm_gen",
    "scipy.stats._distn_infrastructure rv_frozen", "statsmodels.base.data ModelData",
    "joblib.numpy_pickle_compat NDArrayWrapper", "torch.storage _load_from_bytes", "spacy.tokens.doc unpickle_doc",
    "sklearn.base BaseEstimator.set_params", "torch.utils.data.dataloader DataLoader.__iter__", "threading Timer.x",
}  # fmt: skip
"""Gadgets that honest files name as well, or methods of listed classes."""

PROVED = {"scipy.stats._continuous_distns norm_gen", "statsmodels.base.data ModelData"}
"""Gadgets by their state: made and filled only with one that the engine has looked at (test_states)."""

CALLED = {"scipy.stats._distn_infrastructure rv_frozen"}
"""Gadgets only where they are called: their states are kept and nothing else."""


def own(text: str) -> bytes:
    return f"{lists.MAGIC}\nlibrary: mine\n{text}".encode()


@pytest.mark.parametrize(("module", "name"), GADGETS)
def test_a_known_gadget_is_never_safe(module: str, name: str) -> None:
    gadget = f"{module} {name}"
    for use in ("call",) if gadget in CALLED else ("call", "fill") if gadget in PROVED else USES[1:]:
        tier, rule = RULES.judge(module, name, use)
        assert tier.rank > Tier.SAFE.rank and rule.startswith("pickle/") and rule != ruleset.ALLOWED
    called, _ = RULES.judge(module, name, "call")
    if f"{module} {name}" not in MERELY_UNKNOWN:
        assert called in (Tier.MALICIOUS, Tier.CODE)


def honest() -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    current: list[tuple[str, str, str]] = []
    for line in (DATA / "honest.txt").read_text().splitlines():
        if line.startswith("> "):
            current = []
            found |= dict.fromkeys(line[2:].split(), current)
        else:
            use, module, name = line.split(" ")
            current.append((use, module, name))
    return found


def tier_of(uses: list[tuple[str, str, str]]) -> Tier:
    # The engine follows getattr and judges what it returns; the recorder of this data did not.
    judged = [RULES.judge(module, name, use)[0] for use, module, name in uses if name != "getattr"]
    return max(judged, key=lambda tier: tier.rank)


def test_honest_models_are_safe_but_for_those_with_a_known_reason() -> None:
    expected = {line.split(":")[0] for line in (DATA / "unknown.txt").read_text().splitlines()}
    tiers = {name: tier_of(uses) for name, uses in honest().items() if uses}
    assert {name for name, tier in tiers.items() if tier is not Tier.SAFE} == expected
    assert set(tiers.values()) == {Tier.SAFE, Tier.UNKNOWN}, "nothing honest is worse than unknown"
    counted = Counter(tiers.values())
    assert len(tiers) > 450 and counted[Tier.SAFE] >= 0.97 * len(tiers)
    assert len(expected) < 0.03 * len(tiers)


def test_nothing_that_is_listed_is_denied() -> None:
    for module, names in RULES.allowed.items():
        for name, uses in names.items():
            use = "call" if uses & lists.Use.CALL else "new" if uses & lists.Use.NEW else "reference"
            assert RULES.denied.category(module, name, use) is None, (module, name)
            assert RULES.judge(module, name, use) == (Tier.SAFE, ruleset.ALLOWED)


def test_a_listed_class_may_be_made_and_filled_but_not_called() -> None:
    where = "sklearn.linear_model._logistic", "LogisticRegression"
    for use in ("reference", "new", "build"):
        assert RULES.judge(*where, use) == (Tier.SAFE, ruleset.ALLOWED)
    assert RULES.judge(*where, "call") == (Tier.UNKNOWN, ruleset.UNLISTED_CALL)
    assert RULES.judge(*where, "something new") == (Tier.UNKNOWN, ruleset.UNLISTED_CALL)


def test_a_function_that_may_be_mentioned_may_not_be_called() -> None:
    assert RULES.judge("numpy", "log1p", "reference")[0] is Tier.SAFE
    assert RULES.judge("numpy", "log1p", "call")[0] is Tier.UNKNOWN


@pytest.mark.parametrize(
    ("module", "name", "use"),
    [
        ("sklearn.ensemble.forest", "RandomForestClassifier", "new"),
        ("sklearn.tree.tree", "DecisionTreeClassifier", "new"),
        ("sklearn.ensemble.gradient_boosting", "GradientBoostingClassifier", "new"),
        ("sklearn.preprocessing.data", "StandardScaler", "new"),
        ("sklearn.cluster.k_means_", "KMeans", "new"),
        ("sklearn.neighbors.kd_tree", "KDTree", "reference"),
        ("numpy.core.multiarray", "_reconstruct", "call"),
        ("numpy.core.multiarray", "scalar", "call"),
        ("pandas.core.internals.managers", "BlockManager", "new"),
        ("pandas.core.frame", "DataFrame", "new"),
        ("scipy.sparse.csr", "csr_matrix", "new"),
        ("torch._utils", "_rebuild_tensor_v2", "call"),
        ("xgboost.core", "Booster", "build"),
        ("copy_reg", "_reconstructor", "call"),
        ("__builtin__", "object", "reference"),
        ("__builtin__", "xrange", "call"),
        ("torch.nn.quantized.modules.linear", "LinearPackedParams", "reference"),
    ],
)
def test_old_names_of_what_is_listed(module: str, name: str, use: str) -> None:
    tier, _ = RULES.judge(module, name, use)
    assert tier is Tier.SAFE or (module == "torch.nn.quantized.modules.linear" and tier is Tier.UNKNOWN)


def test_an_enumeration_by_value_and_by_member() -> None:
    where = "transformers.trainer_utils"
    assert RULES.judge(where, "IntervalStrategy", "call")[0] is Tier.SAFE
    assert RULES.judge(where, "IntervalStrategy.STEPS", "reference")[0] is Tier.SAFE
    for name in ("IntervalStrategy._member_map_", "IntervalStrategy.__class__", "IntervalStrategy.STEPS.name"):
        assert RULES.judge(where, name, "reference")[0].rank > Tier.SAFE.rank
    assert RULES.judge(where, "IntervalStrategy.STEPS", "call")[0] is Tier.UNKNOWN


def test_a_mention_of_memmap_is_no_call_of_it() -> None:
    assert RULES.judge("numpy", "memmap", "reference")[0] is Tier.SAFE
    assert RULES.judge("numpy", "memmap", "call") == (Tier.MALICIOUS, "pickle/denied-file")
    assert RULES.judge("numpy.core.memmap", "memmap", "new")[0] is Tier.MALICIOUS


NAMES = st.text(st.sampled_from(string.ascii_letters + "._\0é "), max_size=30)


@settings(max_examples=300, deadline=None)
@given(module=NAMES, name=NAMES, use=st.sampled_from(USES))
def test_any_text_is_judged_and_what_nobody_listed_is_not_safe(module: str, name: str, use: str) -> None:
    tier, _ = RULES.judge(module, name, use)
    assert tier is not Tier.SAFE or name in RULES.allowed.get(module, {})


@settings(max_examples=200, deadline=None)
@given(
    outer=st.sampled_from(sorted(RULES.allowed)),
    inner=st.sampled_from(
        ["os.system", "sys.modules", "subprocess.Popen", "builtins.eval", "a.os.popen", "x.__globals__"]
    ),
)
def test_a_module_within_a_listed_module_is_denied(outer: str, inner: str) -> None:
    assert RULES.judge(outer, inner, "call")[0] is Tier.MALICIOUS


def test_the_digest_is_stable_and_covers_the_projects_lists() -> None:
    assert RULES.digest == ruleset.load().digest and len(bytes.fromhex(RULES.digest)) == 32
    first, second = own("new mymodel\n  Net\n"), own("new mymodel\n  Head\n")
    both = ruleset.load({"a": first, "b": second}).digest
    assert both == ruleset.load({"y": second, "x": first}).digest, "names and order of files are no matter"
    assert len({RULES.digest, both, ruleset.load({"a": first}).digest, ruleset.load({"a": second}).digest}) == 4
    ruleset._shipped.cache_clear()
    assert ruleset.load().digest == RULES.digest


def test_a_projects_list_adds_to_the_shipped_ones_and_to_nothing_else() -> None:
    extended = ruleset.load({"own.txt": own("new mymodel\n  Net\ncall mymodel\n  make\n")})
    assert extended.judge("mymodel", "Net", "new")[0] is Tier.SAFE
    assert extended.judge("mymodel", "make", "call")[0] is Tier.SAFE
    assert extended.judge("mymodel", "Net", "call")[0] is Tier.UNKNOWN
    assert extended.judge("sklearn.svm._classes", "SVC", "new")[0] is Tier.SAFE
    assert RULES.judge("mymodel", "Net", "new")[0] is Tier.UNKNOWN and ruleset.load().allowed == RULES.allowed


@pytest.mark.parametrize(
    "line",
    ["call os\n  system", "ref builtins\n  getattr", "new pathlib\n  os.system", "call __builtin__\n  eval",
     "call x\n  Y.__globals__", "call torch.storage\n  _load_from_bytes", "call dill._dill\n  _create_function"],
)  # fmt: skip
def test_what_is_denied_cannot_be_allowed(line: str) -> None:
    with pytest.raises(DocumentError, match="own.txt allows .* denied"):
        ruleset.load({"own.txt": own(line + "\n")})


def test_the_denied_list_has_no_duplicates_and_parses() -> None:
    text = (pathlib.Path(ruleset.__file__).parent / "data" / "denied.txt").read_text()
    blocks = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert len(blocks) == len(set(blocks))
    with pytest.raises(ValueError, match="not understood"):
        denied.parse("execution os ***\n")
    assert hashlib.sha256(text.encode()).hexdigest()[:8] not in ("", RULES.digest[:8])
