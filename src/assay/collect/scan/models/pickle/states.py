"""What the state of an instance makes the unpickler or its class do, beyond being kept: pure looks at literal values.

A state reaches an object in many disguises (a dictionary, pairs, a dictionary's subclass). Whatever is not a plain
dictionary of strings with nothing in it that runs is told, and nothing here runs, compares or hashes a stub.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator
from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OVERRIDES = _words("append extend add __setstate__")
"""What the unpickler itself looks up on an instance, and so calls, when it goes on filling it."""

SPECIAL = frozenset(
    f"__{name}__"
    for name in _words(
        """
        array array_function array_interface array_struct array_ufunc base bases bool bytes call class closure code
        contains copy deepcopy defaults del delattr dict enter eq exit fspath func get getattr getattribute getinitargs
        getitem getnewargs getnewargs_ex getstate globals hash index init init_subclass instancecheck int iter len
        loader missing mro new next reduce reduce_ex repr self set setattr setitem sizeof spec str subclasscheck
        subclasses subclasshook torch_function sklearn_clone sklearn_is_fitted sklearn_tags
        """
    )
)
"""Special attributes that steer what becomes of an object; no library keeps another object under one of them."""

SHADOWS = _words(
    """
    _attach_argparser_methods _attach_methods _post_init all any apply as_integer_ratio astype bit_length capitalize
    clear copy cpu cuda decision_function decode difference encode endswith extend fill fit fit_predict fit_resample
    fit_transform fillna find flatten forward generate get get_params index insert intersection inverse_transform
    isalpha isdigit isdisjoint isidentifier isoformat issubset issuperset item items join keys kneighbors
    load_state_dict lower lstrip parameters partial_fit partition pop popitem predict predict_log_proba predict_proba
    ravel remove removeprefix removesuffix replace reshape reverse rfind rpartition rsplit rstrip sample score
    score_samples set_params setdefault setflags sort split splitlines squeeze startswith state_dict strip tolist
    transform transpose update values
    """
)
"""Methods that loading or using a model calls: one that is kept under such a name is called instead of the class's."""

RUN = _words("_parse_arg_template restore_design_info restore_model_spec")
"""Keys whose values some class runs as Python while it is filled: scipy.stats' distributions, statsmodels' data."""

WATCHED = OVERRIDES | SPECIAL | SHADOWS | RUN
"""All keys that matter: a look-up for each key of a state has to be enough."""

CALLABLE = frozenset(
    (
        ("functools", "partial"), ("_functools", "partial"), ("builtins", "getattr"), ("__builtin__", "getattr"),
        ("operator", "itemgetter"), ("_operator", "itemgetter"),
    )
)  # fmt: skip
"""What makes something that is only there to be called."""


def plain(state: Any) -> bool:
    """Whether a state is a dictionary of strings none of which matters: what nearly all are, told at little cost."""
    if type(state) is not dict or not WATCHED.isdisjoint(state):
        return False
    try:
        "".join(state)
    except TypeError:
        return False
    return True


def entries(state: Any, watched: frozenset[str] = WATCHED) -> dict[str, Any]:
    """The entries of a state under watched keys, whatever its form. ``state`` is a literal or a stub's instance."""
    found: dict[str, Any] = {}
    kind = type(state)
    if kind is dict:
        found = {key: state[key] for key in state if type(key) is str and key in watched}
        inner = found.get("__dict__")
        if type(inner) is dict:  # pydantic writes the attributes there
            found |= entries(inner, watched - {"__dict__"})
    elif kind in (tuple, list, set, frozenset):
        for item in state:
            if type(item) is dict and len(state) <= 8:
                found |= entries(item, watched)
            if type(item) in (tuple, list, set, frozenset, dict) and len(item) == 2:
                found |= _pair(item, watched)
    else:
        told = getattr(kind, "assay_key", None)
        if told is not None:
            for arg in state.args[:2]:
                if type(arg) in (dict, tuple, list):
                    found |= entries(arg, watched)
            found |= state.assay_items or {}
    return found


def _pair(item: Any, watched: frozenset[str]) -> dict[str, Any]:
    one, other = item
    pairs = [(one, other)] if type(item) in (tuple, list) else [(one, other), (other, one)]  # a set has no order
    return {key: value for key, value in pairs if type(key) is str and key in watched}


def proved(state: Any, watched: dict[str, Any]) -> bool:
    """Whether a state is a plain dictionary of strings, and what classes run of it is what their libraries write."""
    if type(state) is not dict or not all(type(key) is str for key in state):
        return False
    return not any(True for _ in running(state, watched))


def running(state: Any, watched: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and value, as text, of what a class would run and no library writes."""
    template = watched.get("_parse_arg_template")
    if template is not None and not (type(template) is str and _TEMPLATE.fullmatch(template)):
        yield "_parse_arg_template", template if type(template) is str else "not a text"
    if not watched.keys().isdisjoint(("restore_design_info", "restore_model_spec")):
        formula = state.get("formula") if type(state) is dict else None
        if type(formula) is not str or not harmless(formula):
            yield "formula", formula if type(formula) is str else "not a text"
        elif not all(_frame(state[key]) for key in ("frame", "orig_endog", "orig_exog") if key in state):
            yield "formula", f"{formula} over something else than a table"


def changing(watched: dict[str, Any], is_global: Callable[[object], bool]) -> Iterator[tuple[str, str, Any]]:
    """Flag, key and value of what is put over parts of the object that are called or steer it."""
    for key, value in watched.items():
        made = getattr(type(value), "assay_key", None)
        if key in SPECIAL and (is_global(value) or made is not None):
            yield "dunder-set", key, value
        elif key in SHADOWS and (is_global(value) or made in CALLABLE):
            yield "method-shadowed", key, value


def _frame(value: Any) -> bool:
    home, name = getattr(type(value), "assay_key", ("", ""))
    return home.startswith("pandas.") and name in ("DataFrame", "Series")


_SHAPES = r"(?:[A-Za-z_]\w*, )*"
_TEMPLATE = re.compile(
    rf"\ndef _parse_args\(self, {_SHAPES} loc=0(?:, scale=1)?\):\n    return \({_SHAPES}\), loc, (?:scale|1)\n"
    rf"\ndef _parse_args_rvs\(self, {_SHAPES} loc=0(?:, scale=1)?, size=None\):\n"
    rf"    return self\._argcheck_rvs\({_SHAPES} loc, (?:scale|1), size=size\)\n"
    rf"\ndef _parse_args_stats\(self, {_SHAPES} loc=0(?:, scale=1)?, moments='mv'\):\n"
    rf"    return \({_SHAPES}\), loc, (?:scale|1), moments\n",
    re.ASCII,
)
"""``parse_arg_template`` of scipy/stats/_distn_infrastructure.py, filled in with names only."""

_FUNCTIONS = _words(
    "C I Q Treatment Sum Poly Diff Helmert center scale standardize bs cr cc te poly log log10 log2 log1p exp expm1"
)
"""What a formula may call: the functions that patsy and formulaic define, which only compute."""

_NUMPY = _words(
    """
    abs absolute arcsinh arctan cbrt ceil clip cos exp exp2 expm1 floor log log10 log1p log2 maximum minimum power
    reciprocal sign sin sqrt square tan tanh where
    """
)
_NUMPYS = _words("np numpy")
_KEYWORDS = _words("True False None not in")
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[^\W\d]\w*)|(?P<number>\d+(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+)|(?P<text>'[^'\\\n]*'|\"[^\"\\\n]*\")"
    r"|(?P<quoted>`[^`\n]*`)|(?P<sign>\*\*|==|!=|<=|>=|[-+*/():,~<>=|&%\[\].]))"
)
LONGEST_FORMULA = 20_000
"""Characters of a formula that is looked at."""


def harmless(formula: str) -> bool:
    """Whether a formula (``y ~ a + np.log(b) + C(g)``) only computes: names, numbers, operators, known functions."""
    text = formula.strip()
    if len(text) > LONGEST_FORMULA:
        return False
    before, older, at = "", "", 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return False
        at, kind, word = match.end(), match.lastgroup, match[match.lastgroup or 0]
        numpy = before == "." and older in _NUMPYS
        if (before == "." and not (numpy and word in _NUMPY)) or not _may_follow(kind, word, before, older):
            return False
        older, before = ("." if numpy else before), word
        if kind in ("text", "quoted", "number"):
            before = "'"  # which can be neither called nor reached into
    return before not in (".", "")


def _may_follow(kind: str | None, word: str, before: str, older: str) -> bool:
    if kind == "name":
        return "__" not in word and (word in _KEYWORDS or not keyword.iskeyword(word))
    if kind == "text":
        return before[:1] != "_" and not before[:1].isalnum()  # f'…' runs what stands in it
    if word == ".":
        return before in _NUMPYS
    return word != "(" or _may_be_called(before, older)


def _may_be_called(before: str, older: str) -> bool:
    if before in (")", "]", "'"):
        return False
    if not (before[:1].isalpha() or before[:1] == "_") or before in ("not", "in"):
        return True  # an operator: it groups
    return before in _NUMPY if older == "." else before in _FUNCTIONS
