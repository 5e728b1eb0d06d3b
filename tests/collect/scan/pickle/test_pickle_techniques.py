"""Every way of hiding a call in a pickle that is known, written by hand; each must be found, and say what it found."""

from __future__ import annotations

import codecs
import io
import pickle
import struct

import pytest

from assay.collect.scan.models.interface import Limits, Severity, Tier
from assay.collect.scan.models.pickle.engine import run_pickle
from collect.scan.pickle.assembling import (
    CALL,
    RULES,
    SYSTEM,
    facts,
    findings,
    frame,
    name,
    octets,
    rules,
    text,
    tier,
    uses,
)

STOP = b"."
PROTO4 = b"\x80\x04"
BAD = {
    "global": CALL + STOP,
    "stack-global": PROTO4 + text("os") + text("system") + b"\x93" + text("true") + b"\x85R.",
    "stack-global-memoised": text("os") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93" + text("true") + b"\x85R.",
    "stack-global-popped": text("os") + text("zzz") + b"0" + text("system") + b"\x93" + text("true") + b"\x85R.",
    "stack-global-dup": text("posix") + b"20" + text("system") + b"\x93" + text("true") + b"\x85R.",
    "stack-global-escaped": b"V\\u006fs\nV\\u0073ystem\n\x93Vtrue\n\x85R.",
    "stack-global-py2-string": b"S'os'\nS'system'\n\x93S'true'\n\x85R.",
    "memo-of-both-kinds": b"]q\x050" + text("os") + b"\x94" + text("system") + b"\x93" + text("true") + b"\x85R.",
    "memo-overwritten": text("os") + b"q\x00" + text("x") + b"q\x010" + text("system") + b"\x93" + b")R.",
    "inst": b"(" + text("true") + b"ios\nsystem\n.",
    "obj": b"(" + SYSTEM + text("true") + b"o.",
    "obj-popped": b"(" + SYSTEM + text("true") + b"o0N.",
    "newobj": SYSTEM + text("true") + b"\x85\x81.",
    "newobj-ex": SYSTEM + text("true") + b"\x85}\x92.",
    "hexadecimal-int": b"I0x10\n0" + CALL + STOP,
    "octal-long": b"L0o17L\n0" + CALL + STOP,
    "python2-name": name("commands", "getoutput") + text("true") + b"\x85R.",
    "nested-in-list": b"]" + CALL + b"a.",
    "nested-in-state": name("good", "X") + b")\x81}" + text("a") + CALL + b"sb.",
    "after-error-in-data": CALL + b"0I99x\n.",
    "before-missing-stop": CALL,
    "dotted-re-export": name("pathlib", "os.system") + text("true") + b"\x85R.",
    "getattr": name("builtins", "getattr") + name("os", "path") + text("x") + b"\x86R" + text("y") + b"\x85R.",
    "sys-modules": name("sys", "modules") + text("json") + name("good", "x") + b"s.",
    "global-built": name("good", "function") + b"}" + text("__code__") + b"Nsb.",
    "global-built-slots": name("good", "function") + b"N}" + text("__code__") + b"Ns\x86b.",
    "global-item": name("good", "table") + text("a") + b"Ns.",
    "global-items": name("good", "table") + b"(" + text("a") + b"Nu.",
    "global-append": name("good", "path") + text("a") + b"a.",
    "global-appends": name("good", "path") + b"(" + text("a") + b"e.",
    "global-additems": name("good", "names") + b"(" + text("a") + b"\x90.",
    "append-without-reduce": name("good", "X") + b")\x81}" + text("append") + SYSTEM + b"sb" + text("true") + b"a.",
    "extend-without-reduce": name("good", "X") + b")\x81}" + text("extend") + SYSTEM + b"sb(" + text("true") + b"e.",
    "add-without-reduce": name("good", "X") + b")\x81}" + text("add") + SYSTEM + b"sb(" + text("true") + b"\x90.",
    "setstate-without-reduce": name("good", "X")
    + b")\x81}"
    + text("__setstate__")
    + SYSTEM
    + b"sb"
    + text("true")
    + b"b.",
    "slots-class": name("good", "X") + b")\x81N}" + text("__class__") + name("good", "Y") + b"s\x86b.",
    "result-called": name("good", "maker") + b")R" + text("true") + b"\x85R.",
    "computed-name": name("good", "join") + b")R" + text("system") + b"\x93" + text("true") + b"\x85R" + CALL + b".",
    "computed-arguments": name("good", "f") + name("good", "g") + b")RR.",
    "escape": name("builtins", "getattr") + name("good", "X") + b")\x81" + text("__class__") + b"\x86R.",
    "literal-method": name("builtins", "getattr")
    + text("os")
    + text("join")
    + b"\x86R"
    + name("builtins", "eval")
    + b"\x85R.",
    "copyreg": name("copyreg", "add_extension")
    + b"("
    + text("os")
    + text("system")
    + b"K\x05tR0\x82\x05"
    + text("true")
    + b"\x85R.",
    "copyreg-registry": name("copyreg", "_inverted_registry")
    + b"K\x05"
    + text("os")
    + text("system")
    + b"\x86s\x82\x05.",
    "frame-straddled": PROTO4 + frame(b"X\x04\x00", 3) + b"\x00\x00abcd0" + CALL + STOP,
    "frame-hides": PROTO4 + frame(b"N." + CALL + b"."),
    "hidden-behind-aborting-frame": PROTO4 + frame(CALL + b"0X\x10") + b"\x00\x00\x00" + b"a" * 16 + STOP,
    "in-bytes": octets(CALL + STOP) + STOP,
    "in-bytes-protocol-4": octets(PROTO4 + CALL + STOP) + STOP,
    "in-bytes-twice": octets(PROTO4 + octets(PROTO4 + CALL + STOP) + STOP) + STOP,
    "in-latin1-text": name("_codecs", "encode")
    + b"X"
    + struct.pack("<I", len((PROTO4 + CALL + STOP).decode("latin1").encode()))
    + (PROTO4 + CALL + STOP).decode("latin1").encode()
    + text("latin1")
    + b"\x86R.",
    "bytearray8": b"\x96" + struct.pack("<Q", len(CALL) + 3) + PROTO4 + CALL + STOP + STOP,
}


@pytest.mark.parametrize("technique", BAD)
def test_every_technique_is_malicious(technique: str) -> None:
    found = findings(BAD[technique])
    assert tier(found) is Tier.MALICIOUS, [finding.rule for finding in found]
    assert any(finding.severity is Severity.CRITICAL and finding.mitigation and finding.atlas for finding in found)


def test_a_call_is_told_as_it_would_be_made_and_where() -> None:
    (found,) = findings(b"N0" + CALL + STOP)
    assert (found.rule, found.call, found.offset) == (
        "pickle/denied-global",
        "os.system('true')",
        len(b"N0" + CALL) - 1,
    )
    assert "AML.T0050" in found.atlas


def test_calls_in_calls_are_told_whole() -> None:
    program = facts(name("builtins", "eval") + name("builtins", "compile") + text("1") + text("x") + b"\x86R\x85R.")
    assert {use.text for use in program.uses if use.use == "call"} == {"eval(compile('1', 'x'))", "compile('1', 'x')"}


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\x82\x05.", "pickle/extension"),
        (b"\x83\x05\x01.", "pickle/extension"),
        (b"\x84\x05\x01\x01\x01.", "pickle/extension"),
        (text("anything") + b"Q.", "pickle/persistent-id"),
        (b"Panything\n.", "pickle/persistent-id"),
        (b"\x97.", "pickle/out-of-band"),
        (name("good", "maker") + b")R)\x81.", "pickle/computed-class"),
        (name("builtins", "getattr") + name("odd", "X") + b")\x81" + text("run") + b"\x86R.", "pickle/unlisted-global"),
        (name("nobody", "knows") + b".", "pickle/unlisted-global"),
    ],
)
def test_what_is_not_proved_is_unknown(data: bytes, rule: str) -> None:
    found = findings(data)
    assert tier(found) is Tier.UNKNOWN
    assert rules(found) == {rule}


def test_an_archive_that_nobody_looks_into_is_unknown() -> None:
    data = octets(b"PK\x03\x04" + bytes(40)) + b"."
    file = io.BytesIO(data)
    found = list(run_pickle(file, len(data), exact=True, encoding="latin1", rules=RULES, limits=Limits()))
    assert tier(found) is Tier.UNKNOWN
    assert rules(found) == {"pickle/archive-inside"}


@pytest.mark.parametrize("cut", range(len(PROTO4 + name("good", "X") + b")\x81}" + text("key") + b"Ksb")))
def test_a_truncated_program_is_never_clean(cut: int) -> None:
    data = (PROTO4 + name("good", "X") + b")\x81}" + text("key") + b"K\x01sb.")[:cut]
    assert "pickle/incomplete" in rules(findings(data))


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff", b"hello world", bytes(100), b"\x80\x09.", b"(((", b"K\x01\xff" + CALL]
)
def test_garbage_is_unreadable(garbage: bytes) -> None:
    assert tier(findings(garbage)) is (Tier.MALICIOUS if b"os" in garbage else Tier.UNREADABLE)


def test_names_and_arguments_that_builtins_put_together_are_seen() -> None:
    program = facts(name("os", "system") + name("builtins", "tuple") + b"]" + text("true") + b"a\x85RR.")
    assert program.complete
    assert ("os", "system", "call") in uses(program)
    assert any(use.text == "os.system('true')" for use in program.uses)
    encoded = name("_codecs", "encode") + text("os") + text("latin1") + b"\x86R."
    assert findings(encoded) == []


def test_getattr_of_a_global_is_a_dotted_global_and_no_more() -> None:
    nested = name("builtins", "getattr") + name("good", "Outer") + text("Inner") + b"\x86R)\x81."
    assert findings(nested) == []
    assert ("good", "Outer.Inner", "new") in uses(facts(nested))


@pytest.mark.parametrize("kept", [b"a.", b"0."])
def test_getattr_itself_may_not_be_kept(kept: bytes) -> None:
    used = name("builtins", "getattr") + b"q\x00" + name("good", "Outer") + text("Inner") + b"\x86R0"
    found = findings(used + b"]" + b"h\x00" + kept)
    assert tier(found) is Tier.MALICIOUS
    assert findings(used + b"].") == []


def test_reconstructor_makes_its_first_argument() -> None:
    program = facts(
        name("copy_reg", "_reconstructor") + b"(" + name("good", "X") + name("__builtin__", "object") + b"NtR}b."
    )
    assert {("good", "X", "new"), ("good", "X", "build")} <= uses(program)


def test_code_by_value_is_code_and_not_worse() -> None:
    maker = name("cloudpickle.cloudpickle", "_builtin_type") + text("CodeType") + b"\x85R"
    found = findings(maker + b"K\x01\x85R" + maker + b")\x81\x86.")
    assert tier(found) is Tier.CODE
    assert {"pickle/result-called", "pickle/computed-class", "pickle/code-by-value"} == rules(found)


def test_strings_of_python_2_in_another_encoding_do_not_end_a_scan() -> None:
    program = facts(b"U\x02\xe9\xe80" + CALL + STOP, encoding="ASCII")
    assert program.complete
    assert ("os", "system", "call") in uses(program)


def test_persistent_ids_of_torch_are_known_and_the_class_in_them_is_judged() -> None:
    storage = b"(" + text("storage") + name("os", "FloatStorage") + text("0") + text("cpu") + b"K\x04tQ."
    found = findings(storage)
    assert rules(found) == {"pickle/denied-global"}
    assert facts(storage).persistent == ("('storage', os.FloatStorage, '0', 'cpu', 4)",)


def test_the_position_behind_the_program_is_left() -> None:
    import io

    from assay.collect.scan.models.pickle.engine import run

    for protocol in range(6):
        one = pickle.dumps({"a": [1, 2, {"b": b"x" * 100_000}]}, protocol)
        file = io.BytesIO(b"before" + one + one + b"behind")
        file.seek(6)
        for _ in range(2):
            before = file.tell()
            program = run(file, len(file.getvalue()))
            assert program.complete
            assert (program.start, program.end, file.tell()) == (before, before + len(one), before + len(one))


def test_long_byte_strings_are_passed_over() -> None:
    data = pickle.dumps([b"a" * 70_000, bytearray(b"b" * 80_000), b"c"], 5)
    program = facts(data)
    assert program.complete
    assert [blob.length for blob in program.blobs] == [70_000, 80_000]
    assert all(data[blob.offset : blob.offset + 5] in (b"aaaaa", b"bbbbb") for blob in program.blobs)


def test_rot13_is_not_looked_up() -> None:
    assert codecs.encode("os", "rot13") == "bf"
    found = findings(name("_codecs", "encode") + text("bf") + text("rot13") + b"\x86R" + text("flfgrz") + b"\x93.")
    assert "pickle/computed-name" in rules(found)


def test_texts_are_bounded_and_printable() -> None:
    long = "\x1b[31m\u202e" + "a" * 100_000
    data = name("os", "system") + b"X" + struct.pack("<I", len(long.encode())) + long.encode() + b"\x85R."
    (found,) = findings(data)
    assert found.call is not None
    assert len(found.call) <= 400
    assert found.call.isprintable()


def test_extension_codes_of_this_process_are_left_alone() -> None:
    import copyreg

    copyreg.add_extension("good", "thing", 77)
    try:
        assert rules(findings(b"\x82\x4d.")) == {"pickle/extension"}
        assert copyreg._inverted_registry[77] == ("good", "thing")  # type: ignore[attr-defined]
    finally:
        copyreg.remove_extension("good", "thing", 77)
