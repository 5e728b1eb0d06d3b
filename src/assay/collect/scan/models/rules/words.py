"""The words that `quiet` and `inspecting` know: callables that are harmless, and the methods that loading reaches.

Data in the form of code, because it is read by a process that imports as little as possible.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BUILTINS: Mapping[str, object] = {
    name: getattr(builtins, name)
    for name in _words(
        """
        abs all any bool bytes callable chr complex delattr dict divmod enumerate filter float frozenset getattr
        hasattr hash id int isinstance issubclass iter len list max min next object ord pow property range repr
        reversed round set setattr slice sorted str sum super tuple type vars zip
        """
    )
}
"""Built-in callables that run nothing which they are given, given listed classes only. `getattr` is safe to call: what
it returns is looked at where that is called.
"""

METHODS = _words(
    """
    add all any append as_integer_ratio astype bit_length capitalize clear copy count decode difference dim
    discard encode endswith extend fill find flatten format get index insert intersection is_floating_point
    is_integer isalpha isdigit isdisjoint isidentifier isoformat issubset issuperset item items join keys lower
    lstrip max mean min ndim nonzero numel partition pop popitem ravel remove removeprefix removesuffix replace
    reshape reverse rfind rpartition rsplit rstrip setdefault setflags size sort split splitlines squeeze
    startswith strip sum symmetric_difference title tolist total_seconds transpose union update upper values
    view zfill
    """
)
"""Methods of built-in containers, strings and arrays: quiet on anything, because a listed class that defines one of
these names has it checked too.
"""

HARMLESS = _words(
    """
    _collections.OrderedDict _collections._count_elements _collections.defaultdict _collections.deque
    _operator.index _thread.RLock _thread._local _thread.allocate_lock _thread.get_ident _thread.lock
    _warnings.warn builtins.method builtins.print collections.Counter collections.OrderedDict
    collections.defaultdict collections.deque copy.copy copy.deepcopy datetime.date datetime.datetime
    datetime.timedelta decimal.Decimal functools.partial
    huggingface_hub.dataclasses.strict.<locals>.wrap.<locals>.__strict_setattr__ itertools.chain itertools.islice
    itertools.product itertools.repeat math.ceil math.floor math.isnan math.log math.prod math.sqrt numpy.abs
    numpy.absolute numpy.all numpy.any numpy.arange numpy.argpartition numpy.argsort numpy.array
    numpy.array2string numpy.array_equal numpy.array_repr numpy.array_str numpy.asanyarray numpy.asarray
    numpy.ascontiguousarray numpy.asfortranarray numpy.atleast_1d numpy.atleast_2d numpy.bool_ numpy.broadcast_to
    numpy.can_cast numpy.concatenate numpy.cumsum numpy.diff numpy.dot numpy.dtype numpy.empty numpy.empty_like
    numpy.equal numpy.errstate numpy.float32 numpy.float64 numpy.full numpy.int32 numpy.int64 numpy.intp
    numpy.isfinite numpy.isnan numpy.isscalar numpy.issubdtype numpy.iterable numpy.linspace numpy.logical_not
    numpy.max numpy.may_share_memory numpy.min numpy.ndarray numpy.ndim numpy.nonzero numpy.ones numpy.ones_like
    numpy.outer numpy.prod numpy.random.RandomState numpy.random.mtrand.RandomState numpy.random.seed numpy.ravel
    numpy.reshape numpy.result_type numpy.shape numpy.sort numpy.sqrt numpy.squeeze numpy.sum numpy.unique
    numpy.vstack numpy.where numpy.zeros numpy.zeros_like re.compile re.escape re.findall re.finditer re.fullmatch
    re.match re.search re.split re.sub sys._getframe sys.getsizeof threading.Lock threading.RLock
    threading.current_thread threading.get_ident threading.local time.time tokenizers.AddedToken
    tokenizers.processors.TemplateProcessing torch.Size torch.Tensor torch._C._get_tracing_state torch.device
    torch.empty torch.get_default_dtype torch.is_tensor torch.tensor torch.zeros
    transformers.integrations.heterogeneity.configuration_utils._apply_heterogeneous_config types.MappingProxyType
    types.SimpleNamespace uuid.UUID warnings.catch_warnings warnings.simplefilter warnings.warn weakref.KeyedRef
    weakref.ReferenceType weakref.WeakKeyDictionary weakref.WeakSet weakref.WeakValueDictionary weakref.ref
    """
)
"""Functions of other libraries that are as harmless as a built-in one."""

READING = _words(
    """
    __array__ __array_finalize__ __array_function__ __array_interface__ __array_struct__ __array_ufunc__
    __bool__ __buffer__ __bytes__ __complex__ __contains__ __float__ __format__ __fspath__ __ge__ __getitem__
    __gt__ __index__ __instancecheck__ __int__ __iter__ __le__ __len__ __length_hint__ __lt__ __ne__ __next__
    __reversed__ __set__ __str__ __torch_function__
    """
)
"""Methods that a listed callable may reach on an argument."""

SKIPPED = _words(
    """
    __main__ _build_utils _testing _vendor benchmarks cli conftest distutils examples externals f2py setup test
    testing tests vendored
    """
)
"""Parts of a library whose classes no model needs."""

PROVED: Mapping[str, tuple[str, ...]] = {
    "scipy.stats._distn_infrastructure.rv_generic.__setstate__": ("_attach_methods",),
    "scipy.stats._distn_infrastructure.rv_generic._attach_argparser_methods": (),
    "statsmodels.base.data.ModelData.__setstate__": (),
}
"""Methods that run a text of their state, and the methods of the same object that have to be looked at instead. Given a
plain dictionary, the engine proves that the text is one which the library wrote (`pickle.states`).
"""
