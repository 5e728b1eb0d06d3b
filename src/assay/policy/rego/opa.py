"""Rego by the `opa` program (1.0 or later), one process for each input, for what regorus can't read.

It asks nobody: the capabilities that it is started with hold no host, no look-up of names and no environment, and
``http.send`` is replaced by a function that knows `Query.answers` and fails for everything else. What it prints is
data: this module takes a value only from a result of the form that OPA documents, and everything else for an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import IO, Any

from assay.errors import UndecidedError
from assay.policy.rego import library
from assay.policy.rego.interface import Answer, Limits, Query
from assay.policy.rego.regorus import CALLS, ENTRY, encode, nanoseconds

REMOVED = ("net.lookup_ip_addr", "opa.runtime")
"""Built-in functions that no rule gets."""
_V0_SIGNS = ("`if` keyword is required", "`contains` keyword is required", "must not shadow", "must not be shadowed")
_SPARE = 8 << 30
"""Bytes of address space that a Go program reserves without using."""
_ANSWERS = """package assay_http
import rego.v1
send(request) := data.assay_answers[request.url]
send(request) := to_number("http.send asks the network, which this rule is not allowed to") if {
	not data.assay_answers[request.url]
}
"""


def program() -> str | None:
    """Path of the `opa` program, None when there is none on the PATH."""
    return shutil.which("opa")


class OpaEngine:
    """See `interface.Engine`. Raises `UndecidedError` when there is no such program."""

    name = "opa"

    def __init__(self, path: str | None = None) -> None:
        found = path or program()
        if found is None:
            raise UndecidedError(
                "the Rego engine 'opa' is asked for and no opa program is on the PATH",
                hint="install Open Policy Agent 1.0 or later, or leave the engine to assay",
            )
        self._path = found
        self._capabilities: dict[str, Any] | None = None

    def __enter__(self) -> OpaEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing runs between two calls."""

    def evaluate(
        self,
        query: Query,
        inputs: Sequence[Any],
        *,
        now: datetime,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> list[Answer]:
        """One answer for each input, in order; all of them together within `CALLS` times the time for one."""
        if ENTRY.fullmatch(query.entry) is None:
            return [Answer(error=f"{query.entry!r} is not the name of a rule")] * len(inputs)
        if (problem := library.unavailable(query.modules)) is not None:
            return [Answer(error=problem)] * len(inputs)
        last = time.monotonic() + CALLS * limits.seconds
        with tempfile.TemporaryDirectory(prefix="assay-opa-") as folder:
            try:
                names = self._write(folder, query)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                return [Answer(error=f"the rule's modules or data cannot be written: {error}")] * len(inputs)
            asked = f"{query.entry} with time.now_ns as {nanoseconds(now)}"
            if query.answers:
                asked += " with http.send as data.assay_http.send"
            old = query.version == "v0"
            answers: list[Answer] = []
            for item in inputs:
                answer = self._ask(folder, names, asked, item, old, limits, last)
                if not old and _is_old(answer, query):
                    old = True
                    answer = self._ask(folder, names, asked, item, old, limits, last)
                answers.append(answer)
        return answers

    def _write(self, folder: str, query: Query) -> dict[str, str]:
        """The program's files, below ``folder``; returns the modules' names by that of their file."""
        names: dict[str, str] = {}
        modules = {**query.modules, **library.needed(query.modules)}
        if query.answers:
            modules["http.send"] = _ANSWERS
        for number, (name, text) in enumerate(modules.items()):
            names[f"m{number}.rego"] = name
            _put(folder, f"m{number}.rego", text.encode())
        data = {**query.data, **({"assay_answers": dict(query.answers)} if query.answers else {})}
        _put(folder, "data.json", json.dumps(data, allow_nan=False).encode())
        kept = {**self._known(), "allow_net": []}
        removed = REMOVED if query.answers else (*REMOVED, "http.send")
        kept["builtins"] = [item for item in kept.get("builtins") or [] if item.get("name") not in removed]
        _put(folder, "capabilities.json", json.dumps(kept).encode())
        return names

    def _known(self) -> dict[str, Any]:
        """What this program can do, by itself."""
        if self._capabilities is None:
            with tempfile.TemporaryDirectory(prefix="assay-opa-") as folder:
                code, out, _ = self._run(folder, ["capabilities", "--current"], b"", Limits(), time.monotonic() + 30)
            try:
                found = json.loads(out) if code == 0 else None
            except ValueError:
                found = None
            if not isinstance(found, dict) or not isinstance(found.get("builtins"), list):
                raise UndecidedError(
                    f"{self._path} does not say what it can do", hint="Open Policy Agent 1.0 or later is needed"
                )
            self._capabilities = found
        return self._capabilities

    def _ask(
        self, folder: str, names: Mapping[str, str], asked: str, item: Any, old: bool, limits: Limits, last: float
    ) -> Answer:
        text = encode(item)
        if isinstance(text, Answer):
            return text
        arguments = ["eval", "--format", "json", "--strict-builtin-errors", "--capabilities", "capabilities.json"]
        arguments += ["--v0-compatible"] if old else []
        arguments += ["--stdin-input"] if text else []
        for name in (*names, "data.json"):
            arguments += ["--data", name]
        code, out, printed = self._run(folder, [*arguments, asked], text, limits, last)
        prints = tuple(line[:1_000] for line in printed.decode(errors="replace").splitlines()[:100])
        if code is None:
            return Answer(error="the rule took longer than it may", prints=prints)
        if len(out) > limits.answer:
            return Answer(error=f"the answer is larger than the {limits.answer:,} bytes that are read", prints=prints)
        return read(out, code, names, prints)

    def _run(
        self, folder: str, arguments: list[str], text: bytes, limits: Limits, last: float
    ) -> tuple[int | None, bytes, bytes]:
        """Exit code (None after the deadline), standard output and error of one run."""
        with (
            tempfile.TemporaryFile(dir=folder) as given,
            tempfile.TemporaryFile(dir=folder) as out,
            tempfile.TemporaryFile(dir=folder) as said,
        ):
            given.write(text)
            given.seek(0)
            try:
                process = subprocess.Popen(
                    [self._path, *arguments],
                    stdin=given,
                    stdout=out,
                    stderr=said,
                    cwd=folder,
                    env={"GOMEMLIMIT": str(limits.memory), "HOME": folder},
                    start_new_session=True,
                )
            except OSError as error:
                raise UndecidedError(f"{self._path} cannot be started: {error.strerror}") from None
            with process:
                _limit(process.pid, limits)
                try:
                    code: int | None = process.wait(max(0.0, min(limits.seconds, last - time.monotonic())))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    code = None
            return code, _tail(out, limits.answer + 1), _tail(said, 1 << 16)


def read(out: bytes, code: int, names: Mapping[str, str], prints: tuple[str, ...] = ()) -> Answer:
    """What ``opa eval --format json`` printed, as an answer. ``names`` says what the files are called."""
    try:
        found = json.loads(out)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return Answer(error=f"opa ended with code {code} and without a result", prints=prints)
    if "errors" in found:
        return Answer(error=_said(found["errors"], names), prints=prints)
    results = found.get("result", [])
    if code != 0 or not isinstance(results, list) or len(results) > 1:
        return Answer(error=f"opa ended with code {code} and a result that is none", prints=prints)
    if not results:
        return Answer(prints=prints)
    expressions = results[0].get("expressions") if isinstance(results[0], dict) else None
    if not isinstance(expressions, list) or len(expressions) != 1 or not isinstance(expressions[0], dict):
        return Answer(error="opa gave a result that is none", prints=prints)
    if "value" not in expressions[0]:
        return Answer(error="opa gave a result without a value", prints=prints)
    return Answer(expressions[0]["value"], True, prints=prints)


def _said(errors: Any, names: Mapping[str, str]) -> str:
    """The first of OPA's errors as one sentence that starts with the place."""
    first = errors[0] if isinstance(errors, list) and errors else errors
    if not isinstance(first, dict):
        return "opa reports an error"
    message, place = str(first.get("message") or "opa reports an error"), first.get("location")
    said = "".join(char if char.isprintable() else " " for char in message)[:1_000]
    if not isinstance(place, dict) or not place.get("file"):
        return said
    file = names.get(os.path.basename(str(place["file"])), str(place["file"]))
    return f"{file}:{place.get('row', 0)}: {said}"


def _is_old(answer: Answer, query: Query) -> bool:
    """Whether the error is one of text in v0 that is read as v1."""
    if query.version != "auto" or answer.error is None or all("import rego.v1" in t for t in query.modules.values()):
        return False
    return any(sign in answer.error for sign in _V0_SIGNS)


def _put(folder: str, name: str, data: bytes) -> None:
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def _tail(file: IO[bytes], size: int) -> bytes:
    file.seek(0)
    return file.read(size)


def _limit(process: int, limits: Limits) -> None:
    """Bound a running process; the memory that Go really uses is bounded by GOMEMLIMIT, the rest by this."""
    prlimit = getattr(resource, "prlimit", None)
    if prlimit is None:
        return  # only Linux bounds another process; elsewhere the deadline and GOMEMLIMIT remain
    bounds = {
        resource.RLIMIT_CPU: int(limits.seconds) + 2,
        resource.RLIMIT_AS: limits.memory + _SPARE,
        resource.RLIMIT_FSIZE: limits.answer + (1 << 16),
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(ProcessLookupError):
        for what, value in bounds.items():
            prlimit(process, what, (value, value))
