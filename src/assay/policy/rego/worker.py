"""The process in which rules run: programs and inputs come in by standard input, answers go out by standard output.

It is started as a file (``python -I worker.py``) and imports next to nothing, because every `assay verify` with a Rego
rule waits for it. It never opens a file or a connection for a rule: ``http.send`` is a question to the parent process,
and what the parent doesn't answer is an error. Nothing here is trusted by the parent: it may be killed at any time.

A frame is a length (4 bytes, big-endian, of what follows), one byte that says what it is, and that.

To the worker: ``P`` a program (JSON: key, modules, version, entry, data, and what one call may use), ``U`` use the
program with this key again, ``I`` an input (JSON text), ``H`` the response to a request, ``C`` modules to look at.
From the worker: ``L`` loaded, or why not, ``V`` a value (JSON text), ``N`` undefined, ``E`` an error, ``T`` what was
printed (JSON, before the answer it belongs to), ``H`` a request, ``C`` what was seen.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import OrderedDict, deque
from json import dumps, loads
from typing import Any

import regorus

PACKAGE = "assay.policy.rego.builtins"
BUILTINS = "BUILTINS"
DEPRECATED = "DEPRECATED"
"""The table of what only v0 has; in v1 its names are unknown, as in OPA."""
OWN = ("http.send", "io.jwt.decode_verify", "crypto.x509.parse_and_verify_certificates")
"""What `extend` adds that regorus lacks and that needs the parent or the time."""
PROGRAMS = 64
"""Compiled programs that are kept."""
PRINTS = 100
"""Lines of print that are kept, of `PRINT` characters at most."""
PRINT = 1_000
MODULE_BYTES = 1 << 20
"""Largest rule file."""
MODULE_LINES = 20_000
_V0_SIGNS = ("`if` keyword is required", "`contains` keyword is required", "shadows following import", "be shadowed")
"""Beginnings of v1's complaints about text that was right in v0."""


class Pipe:
    """Frames over two file descriptors."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = os.fdopen(source, "rb", 1 << 18)
        self._sink = sink
        self._waiting: deque[tuple[bytes, bytes]] = deque()

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame. Ends the process when the parent is gone."""
        return self._waiting.popleft() if self._waiting else self._read()

    def send(self, kind: bytes, payload: bytes) -> None:
        """Write one frame."""
        rest = memoryview((len(payload) + 1).to_bytes(4, "big") + kind + payload)
        while rest:
            rest = rest[os.write(self._sink, rest) :]

    def ask(self, request: bytes) -> bytes:
        """Send a request and wait for its response; inputs that arrive before it wait their turn."""
        self.send(b"H", request)
        while (frame := self._read())[0] != b"H":
            self._waiting.append(frame)
        return frame[1]

    def _read(self) -> tuple[bytes, bytes]:
        head = self._source.read(4)
        if len(head) < 4:
            os._exit(0)
        body = self._source.read(int.from_bytes(head, "big"))
        return body[:1], body[1:]


class Call:
    """What is the same for all inputs of one call; the extensions read it."""

    now = 0
    """Nanoseconds since 1970."""
    answer = 0
    """Bytes of an answer's JSON at most."""
    network = False
    """``http.send`` may ask the parent."""


def load(program: dict[str, Any], pipe: Pipe, call: Call) -> Any:
    """A regorus engine with the modules. Raises what regorus raises."""
    texts: dict[str, str] = dict(program["modules"])
    versions: dict[str, str] = {}
    engine = made(pipe, call)
    for name, text in texts.items():
        versions[name] = add(engine, name, text, program["version"])
    if changed := guarded(engine, texts):
        engine = made(pipe, call)
        for name, text in texts.items():
            add(engine, name, changed.get(name, text), versions[name])
    for name, text in program["library"]:
        add(engine, name, text, "v1")
    if "v0" in versions.values():
        late(engine, DEPRECATED)
    if program["data"]:
        engine.add_data_json(program["data"])
    return engine


def made(pipe: Pipe, call: Call) -> Any:
    """An engine without modules."""
    engine = regorus.Engine()
    engine.set_gather_prints(True)
    extend(engine, pipe, call)
    return engine


def guarded(engine: Any, texts: dict[str, str]) -> dict[str, str]:
    """What `negation` makes of modules with a negation in them."""
    if not any("not" in text or "walk" in text for text in texts.values()):
        return {}
    found: dict[str, str] = __import__("assay.policy.rego.negation", fromlist=["_"]).mended(
        loads(engine.get_ast_as_json())
    )
    return found


def add(engine: Any, name: str, text: str, version: str) -> str:
    """Add a module, in the version that it is written in."""
    engine.set_policy_length_config(max_col=65_535, max_file_bytes=MODULE_BYTES, max_lines=MODULE_LINES)
    engine.set_rego_v0(version == "v0")
    try:
        engine.add_policy(name, text)
    except RuntimeError as error:
        if version != "auto" or "import rego.v1" in text or not any(sign in str(error) for sign in _V0_SIGNS):
            raise
        engine.set_rego_v0(True)
        engine.add_policy(name, text)
        return "v0"
    return "v0" if version == "v0" and "import rego.v1" not in text else "v1"


def extend(engine: Any, pipe: Pipe, call: Call) -> None:
    """Replace what asks the world outside, and add what regorus lacks."""

    def send(request: Any) -> Any:
        if not call.network:
            raise PermissionError("http.send asks the network, which this rule is not allowed to")
        answer = loads(pipe.ask(dumps(request).encode()))
        if "error" in answer:
            raise ConnectionError(answer["error"])
        return answer["response"]

    engine.add_extension("http.send", 1, send)
    engine.add_extension("time.now_ns", 0, lambda: call.now)
    engine.add_extension("opa.runtime", 0, lambda: {"env": {}, "config": {}})
    verify, chain = Late("tokens", "decode_verify"), Late("certificates", "parse_and_verify")
    engine.add_extension("io.jwt.decode_verify", 2, lambda token, given: verify(token, {"time": call.now, **given}))
    engine.add_extension("crypto.x509.parse_and_verify_certificates", 1, lambda text: chain(text, call.now))
    late(engine, BUILTINS)


def late(engine: Any, names: str) -> None:
    """Add a table's functions."""
    for name, (count, module, function) in table(names).items():
        engine.add_extension(name, count, Late(module, function))


class Late:
    """A function that is imported when it is called first."""

    def __init__(self, module: str, function: str) -> None:
        self._where = module, function
        self._function: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """What the function says."""
        if self._function is None:
            self._function = getattr(__import__(f"{PACKAGE}.{self._where[0]}", fromlist=["_"]), self._where[1])
        return self._function(*arguments)


def table(names: str) -> dict[str, tuple[int, str, str]]:
    """What `assay.policy.rego.builtins` adds: name to arguments, module and function."""
    return dict(getattr(__import__(PACKAGE, fromlist=["_"]), names))


def explain(error: BaseException) -> str:
    """The place and the sentence of an error, without regorus' drawing of the line, which may be as long as a file."""
    text = str(error).split("\n\nStack backtrace")[0].strip()
    told = "\n".join(line for line in text.split("\n") if line.startswith(("--> ", "error: "))) or text
    return told[:4_000].encode(errors="replace").decode() or type(error).__name__


def answer(engine: Any, entry: str, text: bytes, call: Call, pipe: Pipe) -> tuple[bytes, bytes]:
    """Kind and payload of the answer to one input."""
    try:
        if text:
            engine.set_input_json(text.decode())
        value = engine.eval_rule_as_json(entry)
    except MemoryError:
        raise
    except Exception as error:
        value, problem = "", explain(error)
    else:
        problem = ""
    prints = engine.take_prints()
    if prints:
        pipe.send(b"T", dumps([line[:PRINT] for line in prints[:PRINTS]]).encode())
    if problem:
        return b"E", problem.encode()
    if value == '"<undefined>"':
        return b"N", b""
    if len(value) > call.answer:
        return b"E", f"the answer is larger than the {call.answer:,} bytes that are read".encode()
    return b"V", value.encode()


def limit(cpu: float, memory: int, start: int) -> None:
    """Bound this process for the next input: seconds of CPU from now, bytes of address space beyond the start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + cpu) + 2
    for what, value in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, start + memory)):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def address_space() -> int:
    """Bytes of address space in use, 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 0


def main() -> None:
    """Serve until the parent closes the pipe."""
    sys.path.append(os.path.dirname(os.path.abspath(__file__)).removesuffix("/assay/policy/rego"))
    for what in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(what, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    start = address_space()
    pipe, call = Pipe(0, 1), Call()
    programs: OrderedDict[str, tuple[Any, Any, str]] = OrderedDict()
    engine: Any = None
    bare: Any = None
    entry, trouble, seconds, memory = "", "", 1.0, 1 << 30
    while True:
        kind, payload = pipe.receive()
        if kind == b"I":
            limit(seconds, memory, start)
            used = engine if payload or trouble else bare.clone()
            pipe.send(*((b"E", trouble.encode()) if trouble else answer(used, entry, payload, call, pipe)))
            continue
        program = loads(payload)
        seconds, memory = program["seconds"], program["memory"]
        limit(seconds, memory, start)
        if kind == b"C":
            look = __import__("assay.policy.rego.looking", fromlist=["_"]).look
            names, old = {*OWN, *table(BUILTINS)}, set(table(DEPRECATED))
            seen = look(program["modules"], program["version"], add, names, old, made(pipe, call))
            pipe.send(b"C", dumps(seen).encode())
            continue
        call.now, call.answer, call.network = program["now"], program["answer"], program["network"]
        key, trouble = program["key"], ""
        if kind == b"P":
            try:
                engine = load(program, pipe, call)
                programs[key] = engine, engine.clone(), program["entry"]
            except MemoryError:
                raise
            except Exception as error:
                trouble = explain(error)
            if len(programs) > PROGRAMS:
                programs.popitem(last=False)
        if not trouble:
            engine, bare, entry = programs[key]  # the clone has never had an input
            programs.move_to_end(key)
        pipe.send(b"L", trouble.encode())


if __name__ == "__main__":
    main()
