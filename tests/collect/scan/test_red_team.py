"""What an independent attempt to get past the scan got past, and honest files that it took for attacks."""

from __future__ import annotations

import collections
import functools
import http
import importlib.util
import io
import ipaddress
import marshal
import pickle
import re
from array import array
from typing import Any

import pytest

from assay.collect.scan.models.formats.scanning import scan_stream
from assay.collect.scan.models.interface import Finding, Limits, Tier
from assay.collect.scan.models.pickle.engine import run_pickle
from assay.collect.scan.models.rules.ruleset import load
from collect.scan.pickle.assembling import name, text, tier

PROTO = b"\x80\x04"
SYSTEM = PROTO + name("posix", "system") + text("true") + b"\x85R."
GIVEN = "open('marker', 'w').close()"


def scanned(data: bytes, path: str = "model.pkl") -> list[Finding]:
    """Everything that is found in a file with these bytes, by the shipped rules."""
    return list(scan_stream(io.BytesIO(data), len(data), path, load(), Limits(), run_pickle)[1])


def called(module: str, attribute: str, *arguments: bytes, use: bytes = b"R") -> bytes:
    """A program that calls a global; ``use`` is the opcode."""
    return PROTO + name(module, attribute) + b"(" + b"".join(arguments) + b"t" + use


def literal(value: Any) -> bytes:
    """A literal's opcodes."""
    return pickle.dumps(value, 4)[2:-1].removeprefix(b"\x95" + pickle.dumps(value, 4)[3:11])


RANGE = name("builtins", "range") + b"\x8a\x06\0\0\0\0\0\x01\x85R"  # range(1 << 40)

SHARED = {
    "logger": called("logging", "getLogger") + literal({"disabled": True}) + b"b.",
    "logger-handlers": called("logging", "getLogger") + literal({"handlers": []}) + b"b.",
    "time-zone": called("pytz", "_UTC") + literal({"utcoffset": 1}) + b"b.",
    "enumeration": called("http", "HTTPStatus", b"K\xc8") + literal({"_value_": 1}) + b"b.",
}


@pytest.mark.parametrize("data", SHARED.values(), ids=SHARED)
def test_what_the_whole_process_shares_is_not_filled(data: bytes) -> None:
    assert tier(scanned(data)) is Tier.MALICIOUS


@pytest.mark.parametrize(
    "data", [called("logging", "getLogger", text("a")) + b".", called("http", "HTTPStatus", b"K\xc8") + b"."]
)
def test_what_is_shared_may_be_asked_for(data: bytes) -> None:
    assert scanned(data) == []


EXHAUSTING = {
    "bytes": called("builtins", "bytes", b"\x8a\x06\0\0\0\0\0\x01", use=b"\x81") + b".",
    "set": called("builtins", "set", RANGE, use=b"\x81") + b".",
    "deque": called("collections", "deque", RANGE) + b".",
    "counter": called("collections", "Counter", RANGE) + b".",
    "iterator": called("builtins", "list", name("itertools", "repeat") + b"K\x01\x85R") + b".",
    "chained": called("collections", "deque", name("itertools", "chain") + name("itertools", "count") + b")R\x85R")
    + b".",
    "beyond-a-length": called("collections", "deque", name("builtins", "range") + b"\x8a\x0a" + bytes(9) + b"\x01\x85R")
    + b".",
    "digits": called("builtins", "int", name("decimal", "Decimal") + text("1e999999999") + b"\x85R") + b".",
    "fraction": called("fractions", "Fraction", text("1E+99_999_999")) + b".",
    "array": called(
        "numpy._core.multiarray", "_reconstruct", name("numpy", "ndarray"), literal((1 << 40,)), literal(b"O")
    )
    + b".",
}


@pytest.mark.parametrize("data", EXHAUSTING.values(), ids=EXHAUSTING)
def test_a_call_that_takes_all_memory_is_told(data: bytes) -> None:
    assert "pickle/exhausts" in {finding.rule for finding in scanned(data)}


@pytest.mark.parametrize(
    "data",
    [
        called("collections", "deque", name("builtins", "range") + b"M\xe8\x03\x85R") + b".",
        called("decimal", "Decimal", text("1E+1000")) + b".",
        called("fractions", "Fraction", text("1/3")) + b".",
        called("numpy._core.multiarray", "_reconstruct", name("numpy", "ndarray"), b"K\0\x85", b"C\x01b") + b".",
    ],
)
def test_what_honest_pickles_call_so_is_no_bomb(data: bytes) -> None:
    assert scanned(data) == []


ARGUMENTS = {
    "source": (called("unlisted.module", "function", text(GIVEN)) + b".", Tier.MALICIOUS),
    "source-in-a-list": (called("unlisted.module", "function", literal([[GIVEN]])) + b".", Tier.MALICIOUS),
    "source-in-bytes": (called("unlisted.module", "function", literal(GIVEN.encode())) + b".", Tier.MALICIOUS),
    "import": (called("unlisted.module", "f", text("__import__('os').system('true')")) + b".", Tier.MALICIOUS),
    "introspection": (called("unlisted.module", "f", text("().__class__.__base__")) + b".", Tier.MALICIOUS),
    "writing": (called("unlisted.module", "Thing", text("name"), text("wb")) + b".", Tier.MALICIOUS),
    "program": (called("unlisted.module", "function", text("folder/evil.py")) + b".", Tier.CODE),
    "library": (called("unlisted.module", "function", text("libevil.so.1")) + b".", Tier.CODE),
    "plain-text": (called("unlisted.module", "function", text("open the exec door (now)")) + b".", Tier.UNKNOWN),
    "reading": (called("unlisted.module", "function", text("name"), text("r")) + b".", Tier.UNKNOWN),
    "formula": (called("unlisted.module", "function", text("C(a) + np.log(b)")) + b".", Tier.UNKNOWN),
    "listed": (called("pathlib", "PosixPath", text("evil.py")) + b".", Tier.SAFE),
    "listed-class": (called("builtins", "ValueError", text(GIVEN)) + b".", Tier.SAFE),
}


@pytest.mark.parametrize(("data", "expected"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_an_unknown_function_is_judged_by_what_it_is_given(data: bytes, expected: Tier) -> None:
    assert tier(scanned(data)) is expected


def test_source_that_is_kept_as_data_is_no_attack() -> None:
    """A data set of programs: records of an unlisted class hold text, and nothing is called with it."""
    data = PROTO + name("unlisted.module", "Record") + b"(" + text(GIVEN) + b"t\x81."
    assert tier(scanned(data)) is Tier.UNKNOWN


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("anything", "open"),
        ("anything", "exec_"),
        ("anything", "save_file"),
        ("anything", "Class.write_text"),
        ("anything", "Frame.to_csv"),
        ("anything", "mkdirp"),
        ("random", "_os.getcwd"),
        ("collections", "_sys.modules"),
        ("http", "client.HTTPConnection"),
        ("http.server", "HTTPServer"),
    ],
)
def test_a_name_that_says_what_it_does_is_not_called(module: str, attribute: str) -> None:
    assert load().judge(module, attribute, "call")[0] is Tier.MALICIOUS


@pytest.mark.parametrize("attribute", ["Saver", "writer_state", "opening", "dumper", "Exports", "touched"])
def test_a_name_that_only_sounds_like_it_is_unknown(attribute: str) -> None:
    assert load().judge("anything", attribute, "call")[0] is Tier.UNKNOWN


HONEST: dict[str, object] = {
    "nested-defaults": collections.defaultdict(functools.partial(collections.defaultdict, int), {"a": {}}),
    "addresses": [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8")],
    "array": array("d", [1.0, 2.0]),
    "status": http.HTTPStatus.OK,
    "singletons": [type(None), type(...), type(NotImplemented)],
    "method-of-text": {"tokenizer": str.split},
    "source-as-data": {"code": "import os\nos.system('true')", "names": ["os", "system", "eval"]},
    "pattern": re.compile(r"\bopen\("),
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("value", HONEST.values(), ids=HONEST)
def test_an_honest_pickle_is_safe(value: object, protocol: int) -> None:
    assert [(finding.rule, finding.message) for finding in scanned(pickle.dumps(value, protocol))] == []


def test_a_partial_of_what_is_denied_is_no_default() -> None:
    inner = name("functools", "partial") + b"(" + name("posix", "system") + text("true") + b"tR"
    assert tier(scanned(called("collections", "defaultdict", inner) + b".")) is Tier.MALICIOUS


MEDIA = {
    "gif": b"GIF89a\1\0\1\0\0\0\0;",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(17) + b"\0\0\0\0IEND\xaeB`\x82",
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9",
    "pdf": b"%PDF-1.4\n%%EOF\n",
    "wave": b"RIFF\0\0\0\0WAVE",
    "icon": b"\0\0\1\0\1\0",
}


@pytest.mark.parametrize("kind", MEDIA)
@pytest.mark.parametrize("between", [b"", b"\x80\x04", bytes(70_000)], ids=["at-once", "after-a-decoy", "far-away"])
def test_a_picture_with_a_program_behind_it(kind: str, between: bytes) -> None:
    assert tier(scanned(MEDIA[kind] + between + SYSTEM, f"file.{kind}")) is Tier.MALICIOUS


@pytest.mark.parametrize("kind", MEDIA)
def test_a_picture_without_one_is_no_model(kind: str) -> None:
    data = MEDIA[kind] + bytes(1000) + b"\x80\x04X\xff\xff" + b"\x80\x02}" * 9
    form, found = scan_stream(io.BytesIO(data), len(data), f"file.{kind}", load(), Limits(), run_pickle)
    assert form is None
    assert list(found) == []


@pytest.mark.parametrize("flag", [0, 0x80])
def test_bytecode_under_another_name(flag: int) -> None:
    """`marshal` marks a code object that it may refer to again, and leaves the mark out where it cannot be."""
    code = bytearray(marshal.dumps(compile("import os", "x", "exec")))
    code[0] = code[0] & 0x7F | flag
    found = scanned(importlib.util.MAGIC_NUMBER + bytes(12) + bytes(code), "weights.bin")
    assert tier(found).rank >= Tier.CODE.rank
