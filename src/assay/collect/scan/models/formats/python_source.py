"""Python source beside a model: it runs as soon as somebody loads the model with ``trust_remote_code``.

The source is parsed, never compiled or run. Code is code and is said to be; it is malicious only for what no honest
model does: executing what it first decodes or downloads, shells for the network, stolen secrets.
"""

from __future__ import annotations

import ast
import io
import re
import warnings
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.folding import DECODERS, Folder, Value
from assay.collect.scan.models.formats.shells import SECRETS, attack, piped
from assay.collect.scan.models.formats.telling import EXECUTION, SCRIPTING, read_whole, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

MAX_SOURCE = 1 << 20
"""Bytes of one file; the largest modelling files have some 300 KB."""

MAX_NODES = 400_000
"""Nodes of one syntax tree that are looked at."""

_TOLD = 12
"""Calls that are named for one file."""

_EXECUTE = frozenset(
    {"exec", "eval", "compile", "builtins.exec", "builtins.eval", "builtins.compile", "runpy.run_path"}
)
_SHELL = frozenset(
    {
        "os.system", "os.popen", "subprocess.run", "subprocess.call", "subprocess.check_call",
        "subprocess.check_output",
        "subprocess.Popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput", "pty.spawn",
        "asyncio.create_subprocess_shell", "asyncio.create_subprocess_exec", "platform.popen",
    }
)  # fmt: skip
_SHELL_PREFIX = ("os.exec", "os.spawn", "os.posix_spawn")
_NETWORK = (
    "requests.", "urllib.request.", "urllib3.", "httpx.", "socket.", "http.client.", "ftplib.", "smtplib.", "aiohttp.",
    "paramiko.", "telnetlib.", "urllib.urlopen",
)  # fmt: skip
_UNPICKLE = frozenset(
    {"pickle.loads", "pickle.load", "cPickle.loads", "dill.loads", "dill.load", "cloudpickle.loads", "marshal.loads",
     "joblib.load", "torch.load", "yaml.unsafe_load", "shelve.open"}
)  # fmt: skip
_REFLECTION = frozenset(
    {"__import__", "importlib.import_module", "getattr", "globals", "vars", "builtins.__import__", "importlib.reload"}
)
_NATIVE = ("ctypes.", "cffi.", "torch.ops.load_library", "torch.utils.cpp_extension.")
_DESTROY = frozenset({"shutil.rmtree", "os.remove", "os.unlink", "os.rmdir"})
_OPENS = frozenset({"open", "io.open", "os.path.expanduser", "pathlib.Path", "Path"})
_DOWNLOADS = re.compile(r"(?:requests|httpx)\.(?:get|post)$|urlopen$|urlretrieve$|\.recv$")
_INJECTION = frozenset({"VirtualAlloc", "VirtualAllocEx", "CreateRemoteThread", "RtlMoveMemory", "WriteProcessMemory"})
_TEXT_ATTACK = re.compile(r"(?:exec|eval)\s*\(\s*(?:__import__\(|base64|zlib|marshal|codecs|bytes\.fromhex)")


class PythonSource:
    """``.py`` files and scripts for Python."""

    name = "python-source"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By its name or first line: text has no other mark."""
        if path.endswith((".py", ".pyw", ".pyi")):
            return size > 0
        return head.startswith(b"#!") and b"python" in head[:120].split(b"\n")[0]

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """One finding that names what it calls, and one for each clear attack."""
        if size > MAX_SOURCE:
            yield tell(scan, "python/too-large", Tier.CODE, Severity.HIGH, f"Python source of {size:,} bytes, not read")
            return
        data = read_whole(file, size, MAX_SOURCE, "the source")
        yield from examine(data, scan)


def examine(data: bytes | str, scan: Scan, *, within: str | None = None, depth: int = 0) -> Iterator[Finding]:
    """What Python source does. ``within`` names its place in the file; ``depth`` counts source within source."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in the source: not ours to print
            tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        hidden = _TEXT_ATTACK.search(text)
        does = "executes what it decodes" if hidden else attack(text)
        yield tell(
            scan,
            "python/unparsed" if does is None else "python/attack",
            Tier.CODE if does is None else Tier.MALICIOUS,
            Severity.MEDIUM if does is None else Severity.CRITICAL,
            f"Python source that this Python cannot parse ({shown(error, 60)})" + (f", and it {does}" if does else ""),
            atlas=EXECUTION,
            within=within,
        )
        return
    if not any(_does_something(statement) for statement in tree.body):
        return
    walk = _Walk(tree)
    for line, call, does in walk.attacks[:_TOLD]:
        yield tell(
            scan,
            "python/attack",
            Tier.MALICIOUS,
            Severity.CRITICAL,
            f"line {line} {does}",
            call=call,
            atlas=SCRIPTING,
            mitigation="do not load this model",
            within=within,
        )
    for line, source in walk.sources[:4]:
        if depth < 3:
            yield from examine(
                source, scan, within=f"{within or ''} code executed in line {line}".strip(), depth=depth + 1
            )
    for line, pickled in walk.pickles[:64]:
        yield from scan.inner(io.BytesIO(pickled), f"{within or ''} pickle in line {line}".strip(), len(pickled))
    named = ", ".join(dict.fromkeys(walk.calls))
    yield tell(
        scan,
        "python/code",
        Tier.CODE,
        Severity.MEDIUM if named else Severity.INFO,
        "Python source, which runs when the model is loaded with trust_remote_code"
        + (f"; it calls {shown(named, 500)}" if named else "")
        + ("; it was too large to be looked at as a whole" if walk.cut else ""),
        call=walk.first,
        atlas=EXECUTION,
        mitigation="read it before you load the model, and pin the revision that you read",
        within=within,
    )


def _does_something(statement: ast.stmt) -> bool:
    return not (
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
    )


class _Walk:
    """One walk over a syntax tree: what it calls, and which of these calls are attacks."""

    def __init__(self, tree: ast.Module) -> None:
        self.names: dict[str, str] = {}
        """What a local name stands for: ``{"sp": "subprocess", "e": "exec"}``."""
        self._folder = Folder(self.name_of)
        self.calls: list[str] = []
        self.first: str | None = None
        self.attacks: list[tuple[int, str, str]] = []
        self.sources: list[tuple[int, str | bytes]] = []
        self.pickles: list[tuple[int, bytes]] = []
        """Pickles that the source itself carries and loads."""
        self.cut = False
        nodes = []
        for node in ast.walk(tree):
            nodes.append(node)
            if len(nodes) > MAX_NODES:
                self.cut = True
                break
        tainted: set[str] = set()
        for node in nodes:
            self._bind(node, tainted)
        self._tainted = tainted
        for node in nodes:
            if isinstance(node, ast.Call):
                self._call(node)
        self._together(nodes)
        self.cut = self.cut or self._folder.exhausted

    def _bind(self, node: ast.AST, tainted: set[str]) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, (ast.Assign, ast.NamedExpr)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if not isinstance(target, ast.Name):
                return
            value = self._folder.fold(node.value)
            if value is not None:
                self._folder.remember(target.id, value)
            elif (name := self.name_of(node.value)) is not None and name.split(".")[0] != target.id:
                self.names[target.id] = name
            if self._decodes(node.value, tainted):
                tainted.add(target.id)

    def name_of(self, node: ast.expr, depth: int = 12) -> str | None:
        """The dotted name that an expression stands for, through aliases, ``getattr`` and ``__import__``."""
        if depth <= 0:
            return None
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.name_of(node.value, depth - 1)
            if owner in ("builtins", "__builtins__"):
                return node.attr
            return f"{owner}.{node.attr}" if owner and len(owner) < 300 else None
        if isinstance(node, ast.Subscript):
            owner = self.name_of(node.value, depth - 1)
            key = self._folder.fold(node.slice)
            if isinstance(key, str) and owner and (owner.endswith("__dict__") or "__builtins__" in owner):
                return key if "__builtins__" in owner else f"{owner.removesuffix('.__dict__')}.{key}"
            return None
        if isinstance(node, ast.Call) and node.args:
            function = self.name_of(node.func, depth - 1)
            if function in ("__import__", "importlib.import_module", "builtins.__import__"):
                module = self._folder.fold(node.args[0])
                return module if isinstance(module, str) else None
            if function == "getattr" and len(node.args) >= 2:
                owner = self.name_of(node.args[0], depth - 1)
                key = self._folder.fold(node.args[1])
                if owner in ("builtins", "__builtins__") and isinstance(key, str):
                    return key
                return f"{owner}.{key}" if owner and isinstance(key, str) and len(owner) < 300 else None
        return None

    def _decodes(self, node: ast.AST, tainted: set[str]) -> str | None:
        """The decoding or downloading call in an expression, if there is one."""
        stack: list[ast.AST] = [node]
        while stack:
            part = stack.pop()
            if isinstance(part, ast.Call):
                name = self.name_of(part.func) or ""
                if name in DECODERS or _DOWNLOADS.search(name):
                    return name
            elif isinstance(part, ast.Name) and part.id in tainted:
                return f"the decoded {part.id}"
            stack.extend(ast.iter_child_nodes(part))
        return None

    def _arguments(self, node: ast.Call) -> list[Value]:
        found = []
        for part in [*node.args, *(keyword.value for keyword in node.keywords)]:
            value = self._folder.fold(part)
            if value is not None:
                found.append(value)
        return found

    def _call(self, node: ast.Call) -> None:
        name = self.name_of(node.func)
        if name is None:
            return
        shell = name in _SHELL or name.startswith(_SHELL_PREFIX)
        dangerous = (
            shell
            or name in _EXECUTE
            or name in _UNPICKLE
            or name in _DESTROY
            or name.startswith(_NETWORK)
            or name.startswith(_NATIVE)
            or (name in _REFLECTION and name not in ("getattr", "globals", "vars"))
        )
        if not dangerous:
            return
        values = self._arguments(node)
        written = f"{name}({', '.join(shown(repr(value), 160) for value in values[:3])})"
        self.calls.append(f"{name} (line {node.lineno})") if len(self.calls) < _TOLD else None
        self.first = self.first or written
        if name in _EXECUTE and node.args:
            self._execute(node, written)
        elif shell:
            self._shell(node, name, values, written)
        elif name in _UNPICKLE and name.endswith("loads"):
            if values and isinstance(values[0], bytes):
                self.pickles.append((node.lineno, values[0]))
        elif name.startswith("ctypes.") and name.rsplit(".", 1)[-1] in _INJECTION:
            self.attacks.append((node.lineno, written, "puts machine code into memory"))

    def _execute(self, node: ast.Call, written: str) -> None:
        source = self._folder.fold(node.args[0])
        decoder = self._decodes(node.args[0], self._tainted)
        if decoder is not None:
            how = "downloads" if _DOWNLOADS.search(decoder) else "decodes"
            self.attacks.append((node.lineno, written, f"executes what it first {how} with {shown(decoder, 60)}"))
        if isinstance(source, (str, bytes)):
            self.sources.append((node.lineno, source))

    def _shell(self, node: ast.Call, name: str, values: list[Value], written: str) -> None:
        command = " ".join(
            " ".join(str(part) for part in value[:64]) if isinstance(value, list) else str(value) for value in values
        )
        does = attack(command)
        if does is None and (name == "pty.spawn" or re.search(r"(?:^|/)(?:ba|z)?sh -i(?:\s|$)", command)):
            does = "starts an interactive shell"
        decoder = self._decodes(node.args[0], self._tainted) if node.args else None
        if does is None and decoder is not None:
            does = f"runs a command that it first decodes with {shown(decoder, 60)}"
        if does is None and not isinstance(node.func, (ast.Name, ast.Attribute)):
            does = "hides which program it starts"
        if does is None and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
            does = "imports what starts a program in the very call"
        if does is not None:
            self.attacks.append((node.lineno, written, does))
        elif piped(command) and len(self.calls) < _TOLD:
            self.calls.append("a download that is run unseen")

    def _together(self, nodes: list[ast.AST]) -> None:
        """What is an attack only together."""
        used = {name for node in nodes if isinstance(node, ast.Call) and (name := self.name_of(node.func))}
        line = next((node.lineno for node in nodes if isinstance(node, ast.Call)), 1)
        if "os.dup2" in used and any(name.startswith("socket.") for name in used):
            self.attacks.append((line, "os.dup2(…)", "gives its input and output to a network connection"))
        sends = {name for name in used if name.startswith(_NETWORK)}
        if sends and any(isinstance(node, ast.Call) and self._opens_secret(node) for node in nodes):
            self.attacks.append((line, f"{min(sends)}(…)", "reads files that hold secrets and talks to the network"))

    def _opens_secret(self, node: ast.Call) -> bool:
        if self.name_of(node.func) not in _OPENS or not node.args:
            return False
        path = self._folder.fold(node.args[0])
        return isinstance(path, str) and SECRETS.search(path[:2000]) is not None
