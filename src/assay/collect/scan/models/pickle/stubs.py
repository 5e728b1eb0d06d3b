"""What stands for a global while a pickle runs: a class that resolves nothing, does nothing, and writes down its use.

Everything on the machine's stack is a literal or one of these. A stub must never call anything that the pickle chose,
raise, or grow with what it is given; after `HOT` calls it becomes a plain C class, so that honest pickles cost nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from assay.collect.scan.models.pickle import inside_torch, pure, sources, states
from assay.collect.scan.models.pickle.nested import worth
from assay.collect.scan.models.pickle.program import Flag
from assay.collect.scan.models.pickle.show import call_text, clean, show

HOT = 256
"""Calls of one global that are written down."""

GLOBALS = 20_000
"""Different globals of one program; honest ones have some hundred."""

FLAGS = 1000
"""Flags of one program that are kept."""

PERSISTENT = 1000
"""Persistent ids of one program that are kept."""

EXTENSION = "\0extension"
"""Module under which codes of copyreg's extension registry are looked up."""

_GETATTR = frozenset((("builtins", "getattr"), ("__builtin__", "getattr")))
_MAKES_FIRST = frozenset(
    (module, name) for module in ("copyreg", "copy_reg") for name in ("_reconstructor", "__newobj__", "__newobj_ex__")
)
"""Functions that make an instance of the class that is their first argument."""

_TYPE = frozenset((("builtins", "type"), ("__builtin__", "type")))
_SINGLE = frozenset((module, name) for module, _ in _TYPE for name in ("Ellipsis", "NotImplemented"))

_DEFAULTS = ("collections", "defaultdict")
_PARTIALS = (("functools", "partial"), ("_functools", "partial"))
_CALLS: dict[tuple[str, str], Callable[[tuple[Any, ...]], tuple[tuple[Any, Any], ...]]] = {
    _DEFAULTS: lambda a: ((a[0], ()),),
    ("copyreg", "_reconstructor"): lambda a: ((a[1], a[2:3]),),
    ("copy_reg", "_reconstructor"): lambda a: ((a[1], a[2:3]),),
    ("numpy.random._pickle", "__bit_generator_ctor"): lambda a: ((a[0], ()),),
    ("numpy.random._pickle", "__generator_ctor"): lambda a: ((a[0], ()), (a[1] if len(a) > 1 else None, a[:1])),
    ("numpy.random._pickle", "__randomstate_ctor"): lambda a: ((a[0], ()), (a[1] if len(a) > 1 else None, a[:1])),
    ("torch._tensor", "_rebuild_from_type_v2"): lambda a: ((a[0], a[2]),),
}
"""What some functions call among their arguments, and with what: a class's ``__init__`` too, so that it is a call."""

_FILLS = {
    ("torch._tensor", "_rebuild_from_type_v2"): (1, 3),
    ("torch._utils", "_rebuild_parameter_with_state"): (-1, 3),
}
"""Which of their arguments is an instance's class, if any, and which its state."""

_CYTHON = "__pyx_unpickle_"
"""How the functions begin that Cython writes for a class: they take a class, a number and the state of an instance."""

FOLLOWED = 8
"""Calls within one another that are followed."""

_ESCAPES = frozenset(
    f"__{name}__"
    for name in (
        *("class", "base", "bases", "mro", "subclasses", "globals", "builtins", "dict", "code", "closure", "func"),
        *("self", "getattribute", "init_subclass", "loader", "spec", "import", "reduce", "reduce_ex"),
    )
)
"""Attributes of an instance that lead away from it."""

_LITERALS = (str, bytes, bytearray, int, float, complex, bool, list, tuple, dict, set, frozenset, type(None))


class TooMuchError(Exception):
    """The program uses more globals than are followed."""


class Use:
    """One global in one role, while it is counted."""

    __slots__ = ("count", "text")

    def __init__(self, text: str) -> None:
        self.count = 1
        self.text = text


class Recorder:
    """What one run has seen so far, and the stubs that tell it."""

    def __init__(self) -> None:
        self.uses: dict[tuple[str, str, str], Use] = {}
        self.flags: dict[tuple[str, str], Flag] = {}
        self.persistent: list[str] = []
        self.made: list[bytes] = []
        """Byte strings that the program put together, for a look at what is in them."""
        self.loads: list[inside_torch.Given] = []
        """What torch's loader is called with."""
        self.resolved = 0
        """Calls of getattr that were followed."""
        self.classes: frozenset[int] = frozenset()
        """Numbers of globals whose calls return a class; found out by an earlier run."""
        self.left = [sources.TOTAL]
        """Characters of texts among arguments that may yet be parsed."""
        self.following = 0
        """Calls that are followed at the moment."""
        self.hook: Callable[[str, str, Any, object], None] | None = None
        """Told of every BUILD of an instance: module, name, the instance and its state."""
        self._stubs: dict[tuple[str, str], StubType] = {}
        self._persistent: StubType | None = None

    def find(self, module: str, name: str) -> StubType:
        """The stub for a global."""
        stub = self._stubs.get((module, name))
        if stub is None:
            if len(self._stubs) >= GLOBALS:
                raise TooMuchError(f"more than {GLOBALS:,} different globals")
            if module == EXTENSION:
                self.flag("extension", f"code {name}")
            else:
                self.uses[clean(module), clean(name), "reference"] = Use(dotted(module, name))
            stub = self._make(module, name, len(self._stubs), made=False)
            self._stubs[module, name] = stub
        return stub

    def mention(self, module: str, name: str, text: str) -> None:
        """A global was named without being resolved by itself."""
        self.uses.setdefault((clean(module), clean(name), "reference"), Use(text))

    def _make(self, module: str, name: str, number: int, *, made: bool) -> StubType:
        key = (module, name)
        special = key in _SPECIAL or name.startswith(_CYTHON) or pure.knows(module, name)
        kind = SpecialType if special else StubType
        return kind(
            f"assay_{number}",
            (Stub,),
            {
                "assay_module": clean(module),
                "assay_name": clean(name),
                "assay_origin": clean(name),
                "assay_key": (module, name),
                "assay_number": number,
                "assay_made": made,
                "assay_recorder": self,
            },
        )

    def used(self, stub: StubType, use: str, args: tuple[object, ...], keywords: object = None) -> int:
        """Write down a use; how often there was one."""
        if pure.exhausting(stub.assay_key, args):
            self.flag("exhausts", call_text(stub.assay_dotted(), args, keywords))
        if stub.assay_made:
            rule = "result-called" if use == "call" else "computed-class"
            self.flag(rule, call_text(stub.assay_dotted(), args, keywords), stub)
            return 0
        if use == "call":
            for rule, text in sources.given(args, self.left):
                self.flag(rule, f"{stub.assay_dotted()}({show(text)})", stub)
        key = (stub.assay_module, stub.assay_name, use)
        seen = self.uses.get(key)
        if seen is None:
            self.uses[key] = Use(call_text(stub.assay_dotted(), args, keywords))
            return 1
        seen.count += 1
        return seen.count

    def flag(self, rule: str, text: str, by: StubType | None = None) -> None:
        """Write down something about the structure; ``by`` made what it concerns."""
        if len(self.flags) < FLAGS:
            source = None if by is None else (by.assay_module, by.assay_origin)
            self.flags.setdefault((rule, text), Flag(rule, text, None, source))

    def persist(self, pid: object) -> object:
        """A persistent id was met; what stands for the object that it means."""
        if len(self.persistent) < PERSISTENT:
            self.persistent.append(show(pid))
        if type(pid) is tuple and len(pid) > 1 and pid[0] == "module" and isinstance(pid[1], StubType):
            return pid[1]  # legacy torch: the class itself comes back
        if not _torch_storage(pid):
            self.flag("persistent-id", show(pid))
        if self._persistent is None:
            self._persistent = self._make("", "<persistent>", -1, made=True)
        return _instance(self._persistent, ())

    def result_class(self, stub: StubType) -> StubType:
        """A class that a call returned."""
        made = self._make(stub.assay_module, f"{stub.assay_name}(…)", stub.assay_number, made=True)
        made.assay_origin = stub.assay_origin
        return made


def _instance(of: Any, args: tuple[object, ...]) -> Any:
    """An instance that nobody is told of."""
    return BaseException.__new__(of, *args)


class StubType(type):
    """The class of stubs: what is done to a global itself, and not to an instance."""

    assay_module: str
    assay_name: str
    assay_origin: str
    assay_key: tuple[str, str]
    assay_number: int
    assay_made: bool
    assay_recorder: Recorder

    def assay_dotted(cls) -> str:
        """The global's name in calls."""
        return dotted(cls.assay_module, cls.assay_name)

    def assay_text(cls, depth: int) -> str:
        """As a value."""
        return cls.assay_dotted()

    def __call__(cls, *args: Any) -> Any:
        """REDUCE, INST and OBJ."""
        recorder = cls.assay_recorder
        count = recorder.used(cls, "call", args)
        if cls.assay_number in recorder.classes:
            return recorder.result_class(cls)
        if count > HOT:
            cls.__class__ = HotType
            cls.__new__ = BaseException.__new__  # type: ignore[assignment,method-assign]
        return _instance(cls, args)

    def __setitem__(cls, key: object, value: object) -> None:
        """SETITEM(S) on the global: ``sys.modules['…'] = …``."""
        cls._changed(f"{cls.assay_dotted()}[{show(key)}] = {show(value)}")

    @property
    def __setstate__(cls) -> Callable[[object], None]:
        return lambda state: cls._changed(f"{cls.assay_dotted()}.__dict__.update({show(state)})")

    @property
    def extend(cls) -> Callable[[object], None]:
        """APPEND(S) on the global: ``sys.path``."""
        return lambda items: cls._changed(f"{cls.assay_dotted()}.extend({show(items)})")

    append = extend

    @property
    def add(cls) -> Callable[[object], None]:
        """ADDITEMS on the global."""
        return lambda item: cls._changed(f"{cls.assay_dotted()}.add({show(item)})")

    def _changed(cls, text: str) -> None:
        cls.assay_recorder.flag("made-class-changed" if cls.assay_made else "global-changed", text, cls)


class HotType(StubType):
    """A global that was called often: calls go through C, everything else stays."""

    __call__ = type.__call__


class SpecialType(StubType):
    """Globals whose calls are followed: what they return is known."""

    def __call__(cls, *args: Any) -> Any:
        """REDUCE, INST and OBJ."""
        recorder = cls.assay_recorder
        result = pure.evaluate(*cls.assay_key, args)
        if result is pure.HUGE:
            recorder.flag("exhausts", call_text(cls.assay_dotted(), args))
        elif result is not pure.UNKNOWN:
            recorder.used(cls, "call", args)
            if type(result) is bytes and len(recorder.made) < 1000 and worth(result):
                recorder.made.append(result)
            return result
        if cls.assay_key in _GETATTR and len(args) in (2, 3) and type(args[1]) is str:
            return _attribute(recorder, cls, args)
        if cls.assay_key == inside_torch.CALL and len(recorder.loads) <= inside_torch.MOST:
            recorder.loads.append(inside_torch.given(args))
        over = _followed(recorder, cls, args)
        if cls.assay_key in _MAKES_FIRST and args and isinstance(args[0], StubType):
            recorder.used(cls, "call", args)
            recorder.used(args[0], "new", args[1:])
            return _instance(args[0], args[1:])
        if (
            cls.assay_key in _TYPE
            and len(args) == 1
            and (args[0] is None or getattr(args[0], "assay_key", None) in _SINGLE)
        ):
            return _instance(cls, args)  # how pickle itself writes the class of None
        recorder.used(cls, "call", args)
        made = _instance(cls, args)
        if over:
            made.assay_set = over
        return made


def _attribute(recorder: Recorder, getter: StubType, args: tuple[Any, ...]) -> object:
    """``getattr(x, 'name')``: of a global it is a dotted global; of an instance a bound method, as Python has them."""
    thing, name = args[0], args[1]
    recorder.resolved += 1
    recorder.used(getter, "call", args)
    if isinstance(thing, StubType) and not thing.assay_made:
        module, inner = thing.assay_key
        return recorder.find(module, f"{inner}.{name}")
    if type(thing) in _LITERALS:
        return recorder.find("builtins", f"{type(thing).__name__}.{name}")
    kind = type(thing)
    if name in _ESCAPES or getattr(kind, "assay_made", True) or not kind.assay_module:
        recorder.flag("escape" if name in _ESCAPES else "bound-method", f"{show(thing)}.{clean(name)}")
    else:
        # Looking it up may run a property, so that it is a name like any other: `C.method` of the module.
        recorder.mention(kind.assay_key[0], f"{kind.assay_key[1]}.{name}", f"{show(thing)}.{clean(name)}")
    return _instance(getter, args)


def _followed(recorder: Recorder, by: StubType, args: tuple[Any, ...]) -> dict[str, object]:
    """What a function does with its arguments; what it puts over the methods of what it returns."""
    if by.assay_key in _CALLS and args and recorder.following < FOLLOWED:
        recorder.following += 1
        with contextlib.suppress(IndexError):  # too few arguments: the loader stops there
            for what, given in _CALLS[by.assay_key](args):
                if isinstance(what, StubType):
                    what(*given) if type(given) is tuple else recorder.used(what, "call", (given,))
                elif by.assay_key == _DEFAULTS and _origin(what) in _PARTIALS and isinstance(_first(what), StubType):
                    what.args[0](*what.args[1:])  # nested dictionaries of defaults: for a missing key, not for loading
                elif _origin(what) in states.CALLABLE:
                    recorder.flag("result-called", call_text(show(what), (given,)), by)
        recorder.following -= 1
    elif by.assay_key in _CALLS and args:
        recorder.flag("computed-arguments", call_text(by.assay_dotted(), args), by)
    cython = by.assay_key[1].startswith(_CYTHON)
    home, place = (0, 2) if cython else _FILLS.get(by.assay_key, (-1, len(args)))
    if place < len(args):
        made = args[home] if home >= 0 and isinstance(args[home], StubType) else by
        if made is not by and made.assay_key != ("torch", "Tensor"):  # which keeps what it is given as attributes
            recorder.used(made, "build", ())
        watched = {} if cython and args[place] is None else _filled(recorder, made, by, args[place])
        return {name: watched[name] for name in states.OVERRIDES if name in watched}
    return {}


def _first(thing: Any) -> object:
    """The first argument of the call that returned ``thing``."""
    return thing.args[0] if thing.args else None


def _origin(thing: object) -> tuple[str, str] | None:
    """Module and name of the global whose call returned ``thing``."""
    return getattr(type(thing), "assay_key", None)


def _filled(recorder: Recorder, cls: StubType, made: object, state: object) -> dict[str, object]:
    """Write down what a state would do to an instance of ``cls``; its entries that matter."""
    watched = states.entries(state)
    key = (cls.assay_module, cls.assay_name, "fill")
    if not cls.assay_made and key not in recorder.uses and not states.proved(state, watched):
        recorder.uses[key] = Use(f"{show(made)}.__setstate__({show(state)})"[:400])
    for name, value in states.running(state, watched):
        recorder.flag("state-runs", f"{name}: {clean(value, 200)}", cls)
    for rule, name, given in states.changing(watched, lambda item: isinstance(item, StubType)):
        recorder.flag(rule, f"{show(made)}.{clean(name)} = {show(given)}", cls)
    return watched


class Stub(BaseException, metaclass=StubType):
    """An instance: what a call returned, or NEWOBJ made. Its arguments are kept by `BaseException` itself."""

    assay_module = assay_name = assay_origin = ""
    assay_key = ("", "")
    assay_number = -1
    assay_made = False
    assay_recorder = None
    assay_set: dict[str, object] | None = None
    """What BUILD put over the methods that the unpickler looks up."""
    assay_items: dict[str, object] | None = None
    """Of its items, those that would matter in a state."""

    __getinitargs__ = None  # so that INST and OBJ without arguments are calls, as they are for functions

    def __new__(cls, *args: Any, **keywords: Any) -> Stub:
        """NEWOBJ and NEWOBJ_EX."""
        recorder = cls.assay_recorder
        if recorder is not None and recorder.used(cls, "new", args, keywords) > HOT:
            cls.__new__ = BaseException.__new__  # type: ignore[assignment,method-assign]
        return BaseException.__new__(cls, *args)

    def assay_text(self, depth: int) -> str:
        """As a value: the call that made it."""
        cls = type(self)
        return call_text(cls.assay_dotted(), self.args) if depth < 4 else f"{cls.assay_dotted()}(…)"

    def __setstate__(self, state: object) -> None:
        """BUILD."""
        cls = type(self)
        recorder = cls.assay_recorder
        if recorder is None:
            return
        over = self.assay_set
        if over is not None and "__setstate__" in over:
            self._through("__setstate__", over["__setstate__"], state)
            return
        key = (cls.assay_module, cls.assay_name, "build")
        if key not in recorder.uses and not cls.assay_made:
            recorder.uses[key] = Use(f"{self.assay_text(1)}.__setstate__({show(state)})"[:400])
        if recorder.hook is not None:
            recorder.hook(*cls.assay_key, self, state)
        if states.plain(state):
            return
        watched = _filled(recorder, cls, self, state)
        over = {name: watched[name] for name in states.OVERRIDES if name in watched}
        if over:
            self.assay_set = {**(self.assay_set or {}), **over}
        slots = state[1] if type(state) is tuple and len(state) == 2 else None
        if type(slots) is dict:
            for name in slots:
                if type(name) is str and name.startswith("__") and name.endswith("__") and name != "__setstate__":
                    text = f"{self.assay_text(1)}.{clean(name)} = {show(slots[name])}"
                    recorder.flag("dunder-set", text, cls)

    def _through(self, method: str, target: object, *args: object) -> None:
        """The unpickler calls what the pickle itself has put there."""
        recorder = type(self).assay_recorder
        recorder.flag("call-without-reduce", f"{show(target)}({', '.join(show(arg) for arg in args)})"[:400])
        if isinstance(target, StubType):
            recorder.used(target, "call", args)

    def extend(self, items: list[object]) -> None:
        """APPEND and APPENDS; the unpickler prefers it to ``append``."""
        over = self.assay_set
        if over is None:
            return
        if "extend" in over:
            self._through("extend", over["extend"], items)
        if "append" in over:
            for item in items[:HOT]:
                self._through("append", over["append"], item)

    def append(self, item: object) -> None:
        """Only asked for where ``extend`` is missing."""

    def add(self, item: object) -> None:
        """ADDITEMS."""
        if self.assay_set is not None and "add" in self.assay_set:
            self._through("add", self.assay_set["add"], item)

    def __setitem__(self, key: object, value: object) -> None:
        """SETITEM(S): an ordered dictionary, a counter, anything with items; which may become a state."""
        if type(key) is str and key in states.WATCHED:
            if self.assay_items is None:
                self.assay_items = {}
            self.assay_items[key] = value

    def __call__(self, *args: Any) -> Any:
        """What a call returned is called in turn."""
        cls = type(self)
        if cls.assay_recorder is not None:
            cls.assay_recorder.flag("result-called", call_text(show(self), args), cls)
        return BaseException.__new__(cls, *args)


_SPECIAL = _TYPE | _GETATTR | _MAKES_FIRST | _CALLS.keys() | _FILLS.keys() | {inside_torch.CALL}


def dotted(module: str, name: str) -> str:
    """A global's name in calls: ``os.system``; built-in functions stand without their module."""
    module, name = clean(module), clean(name)
    return name if module in ("builtins", "__builtin__", "") else f"{module}.{name}"


def _torch_storage(pid: object) -> bool:
    """The persistent ids that torch writes: a storage, with its class, key and place."""
    return type(pid) is tuple and len(pid) >= 5 and type(pid[0]) is str and pid[0] == "storage"
