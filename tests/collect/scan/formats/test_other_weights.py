"""safetensors, GGUF with its templates, and what is odd about weights."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from assay.collect.scan.models.formats.weights import entropy, judge_numbers
from assay.collect.scan.models.interface import Finding, Tier
from collect.scan.formats.looking import look, rules, tier

RNG = np.random.default_rng(0)
WEIGHTS = RNG.standard_normal((64, 64)).astype(np.float32)


def safetensors(header: dict[str, object] | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, dtype: str = "U8", shape: Sequence[int] | None = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def gguf(tmp_path: Path, template: str | None = None, tensors: dict[str, np.ndarray] | None = None) -> bytes:
    writer = GGUFWriter(str(tmp_path / "model.gguf"), "llama")
    writer.add_uint32("llama.block_count", 1)
    writer.add_token_list([f"token {i}" for i in range(100)])
    if template is not None:
        writer.add_chat_template(template)
    for name, tensor in (tensors or {"blk.0.weight": WEIGHTS, "output.weight": WEIGHTS[:3]}).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (tmp_path / "model.gguf").read_bytes()


TEMPLATES = [
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] }}{% endfor %}",
    "{%- if tools is defined and tools | length > 0 -%}{{- tools | tojson(indent=2) -}}{%- endif -%}"
    "{%- set ns = namespace(found=false) -%}{%- set ns.found = true -%}{{ raise_exception('no __system__ role') }}",
    "{{ bos_token }}{% for i in range(0, 10) %}{{ messages[i]['content'].split('</think>')[-1].strip() }}{% endfor %}",
    "{# {{ ''.__class__ }} in a comment #}{{ loop.index0 }}{{ messages[0].content[:10_000] }}{{ 2 * 3 }}",
]

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{% if 'warning' in x.__name__ %}"
    "{{ x()._module.__builtins__['__import__']('os').popen('id').read() }}{% endif %}{% endfor %}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ self._TemplateReference__context.cycler }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ''['__cla' ~ 'ss__'] }}",
    "{{ ''['__cla' + 'ss__'] }}",
    "{{ ''[('__ssalc__')|reverse] }}",
    "{{ ''|attr(['__cl','ass__']|join) }}",
    "{{ ''|attr(dict(__clas=1, s__=2)|join) }}",
    "{% set a = '__glo' %}{% set b = 'bals__' %}{{ x[a ~ b] }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '{0.a}'.format(x) }}",
    "{{ lipsum['__globals__'] }}",
    "{{ os.popen('id') }}",
    "{{ x.gi_frame.f_back }}",
    "{% raw %}{{ a }}{% endraw %}{{ ''.__class__ }}",
]


def test_what_safetensors_wrote_is_clean() -> None:
    name, found = look(save({"a": WEIGHTS, "b": WEIGHTS[0]}, metadata={"format": "pt"}), "model.safetensors")
    assert name == "safetensors"
    assert found == []


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (struct.pack("<Q", 1 << 60) + b"{}", "safetensors/unreadable"),
        (struct.pack("<Q", 100) + b"{}", "safetensors/unreadable"),
        (b"\x02\0\0", "safetensors/unreadable"),
        (safetensors(b"[1]", b""), "safetensors/unreadable"),
        (safetensors(b'{"a": 1', b""), "safetensors/unreadable"),
        (safetensors(b'{"a":' * 100_000, b""), "safetensors/unreadable"),
        (safetensors({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "safetensors/invalid"),  # overlap
        (safetensors({"a": entry(0, 8), "b": entry(9, 12)}, bytes(12)), "safetensors/invalid"),  # gap
        (safetensors({"a": entry(4, 8)}, bytes(8)), "safetensors/invalid"),  # gap at the beginning
        (safetensors({"a": entry(0, 8)}, bytes(4)), "safetensors/invalid"),  # beyond the end
        (safetensors({"a": entry(0, 8)}, bytes(9)), "safetensors/invalid"),  # appended
        (safetensors({"a": entry(8, 0)}, bytes(8)), "safetensors/invalid"),
        (safetensors({"a": entry(0, 8, "F32", [3])}, bytes(8)), "safetensors/invalid"),
        (safetensors({"a": entry(0, 8, "X9")}, bytes(8)), "safetensors/invalid"),
        (safetensors({"a": entry(0, 8, "U8", [1 << 40, 1 << 40])}, bytes(8)), "safetensors/invalid"),
        (safetensors({"a": entry(0, 8, "U8", [-8])}, bytes(8)), "safetensors/invalid"),
        (safetensors({"a": 5}, b""), "safetensors/invalid"),
        (safetensors({"__metadata__": {"a": 5}}, b""), "safetensors/invalid"),
        (safetensors(b'{"a":%s,"a":%s}' % ((json.dumps(entry(0, 4)).encode(),) * 2), bytes(4)), "safetensors/invalid"),
    ],
)
def test_safetensors_that_are_not_what_they_say(data: bytes, rule: str) -> None:
    _, found = look(data, "model.safetensors")
    assert rule in rules(found)
    assert tier(found) is Tier.UNREADABLE


def test_a_program_behind_the_tensors() -> None:
    data = save({"a": WEIGHTS}) + b"\x7fELF\x02\x01\x01" + bytes(9) + b"program" * 100
    _, found = look(data, "model.safetensors")
    hidden = next(finding for finding in found if finding.rule == "executable/hidden")
    assert hidden.tier is Tier.MALICIOUS
    assert hidden.member == "(appended)"
    assert "weights/appended" in rules(found)


def test_a_program_between_the_tensors() -> None:
    program = b"\x7fELF\x02\x01\x01" + bytes(9) + b"program" * 10
    data = safetensors(
        {"a": entry(0, 8), "b": entry(8 + len(program), 16 + len(program))}, bytes(8) + program + bytes(8)
    )
    _, found = look(data, "model.safetensors")
    assert {"weights/unused-bytes", "executable/hidden"} <= rules(found)


def test_what_gguf_wrote_is_clean(tmp_path: Path) -> None:
    name, found = look(gguf(tmp_path, TEMPLATES[0]), "model.gguf")
    assert name == "gguf"
    assert found == []


@pytest.mark.parametrize("template", TEMPLATES)
def test_honest_templates(template: str) -> None:
    assert look(template.encode(), "chat_template.jinja")[1] == []
    assert look(json.dumps({"chat_template": template}).encode(), "tokenizer_config.json")[1] == []


@pytest.mark.parametrize("template", ESCAPES)
def test_templates_that_escape(template: str, tmp_path: Path) -> None:
    for data, path in (
        (gguf(tmp_path, "{{ x }}" + template), "model.gguf"),
        (json.dumps({"chat_template": template}).encode(), "tokenizer_config.json"),
        (json.dumps({"chat_template": [{"name": "tool_use", "template": template}]}).encode(), "tokenizer_config.json"),
        (template.encode(), "chat_template.jinja"),
    ):
        _, found = look(data, path)
        assert tier(found) is Tier.MALICIOUS, path
        assert "template/sandbox-escape" in rules(found)


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{% include '/etc/passwd' %}", "template/other-file"),
        ("{% for i in range(1000000000) %}{% endfor %}", "template/bomb"),
        ("{{ 'x' * 10000000000 }}", "template/bomb"),
        ("{{ 9 ** 9 ** 9 }}", "template/bomb"),
        ("{{ x", "template/broken"),
        ("{# x", "template/broken"),
        ("{{ " + "'\\" * 200_000, "template/broken"),
        ("{{ x._private }}", "template/private"),
        ("{{ a }}" * 200_000, "template/too-large"),
        ("{{" + "a" * 10 + " b" * 300_000 + "}}", "template/broken"),
    ],
)
def test_templates_that_are_not_proved(template: str, rule: str) -> None:
    _, found = look(template.encode(), "chat_template.jinja")
    assert rules(found) == {rule}
    assert tier(found) is Tier.UNKNOWN


def test_gguf_numbers_that_overflow(tmp_path: Path) -> None:
    data = gguf(tmp_path)
    for at, number in ((8, 1 << 63), (16, (1 << 64) - 1), (24, 1 << 62)):
        changed = data[:at] + struct.pack("<Q", number) + data[at + 8 :]
        _, found = look(changed, "model.gguf")
        assert tier(found) is Tier.MALICIOUS
        assert "gguf/overflow" in rules(found)


def header(
    tensors: Sequence[tuple[str, Sequence[int], int, int]], keys: Sequence[tuple[str, int, bytes]] = ()
) -> bytes:
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, kind, value in keys:
        out += struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value
    for name, shape, kind, offset in tensors:
        out += struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        out += struct.pack("<IQ", kind, offset)
    return out + bytes(-len(out) % 32)


@pytest.mark.parametrize(
    ("data", "wanted", "rule"),
    [
        (header([("a", [1 << 40, 1 << 40], 0, 0)]), Tier.MALICIOUS, "gguf/overflow"),
        (header([("a", [8], 0, 1 << 63)]), Tier.MALICIOUS, "gguf/overflow"),
        (header([("a", [8], 0, 1 << 20)]), Tier.UNREADABLE, "gguf/out-of-bounds"),
        (header([("a", [8], 0, 0)]), Tier.UNREADABLE, "gguf/out-of-bounds"),
        (header([("a", [8], 0, 4)]) + bytes(64), Tier.UNREADABLE, "gguf/unaligned"),
        (header([("a", [8], 99, 0)]) + bytes(64), Tier.UNKNOWN, "gguf/unknown-type"),
        (header([("a", [1] * 9, 0, 0)]), Tier.UNREADABLE, "gguf/unreadable"),
        (header([], [("general.alignment", 4, bytes(4))]), Tier.UNREADABLE, "gguf/unreadable"),
        (header([], [("k", 77, b"")]), Tier.UNREADABLE, "gguf/unreadable"),
        (header([], [("k", 0, b"a"), ("k", 0, b"b")]), Tier.UNKNOWN, "gguf/duplicate-key"),
        (header([], [("k", 9, struct.pack("<IQ", 9, 1) * 20)]), Tier.UNREADABLE, "gguf/unreadable"),
        (header([], [("k", 9, struct.pack("<IQ", 8, 1 << 50))]), Tier.UNREADABLE, "gguf/unreadable"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), Tier.UNREADABLE, "gguf/unreadable"),
        (b"not it", Tier.UNREADABLE, "gguf/unreadable"),
        (
            header([("a", [8], 0, 0), ("b", [8], 0, 16)], [("general.alignment", 4, struct.pack("<I", 16))])
            + bytes(64),
            Tier.NONE,
            "weights/alias",
        ),
        (
            header([("a", [8], 0, 0)]) + bytes(32) + b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0",
            Tier.MALICIOUS,
            "executable/hidden",
        ),
    ],
)
def test_gguf_attacks(data: bytes, wanted: Tier, rule: str) -> None:
    _, found = look(data, "model.gguf")
    assert rule in rules(found)
    assert tier(found) is wanted


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize(
    ("value", "rule"), [(np.nan, "weights/nan"), (np.inf, "weights/inf"), (-np.inf, "weights/inf")]
)
def test_numbers_that_are_none(dtype: str, value: float, rule: str) -> None:
    weights = WEIGHTS.astype(dtype)
    weights[63, 63] = value
    _, found = look(save({"a": weights, "b": WEIGHTS}), "model.safetensors")
    assert rules(found) == {rule}
    assert "'a'" in found[0].message
    assert tier(found) is Tier.NONE


def test_numbers_by_type() -> None:
    ordinary = WEIGHTS.tobytes()
    assert judge_numbers(ordinary, "f32") is None
    assert judge_numbers((WEIGHTS * 1e9).astype(np.float32).tobytes(), "f32") == "absurd"
    assert judge_numbers((WEIGHTS * 1e30).astype(np.float32).tobytes(), "f32") == "absurd"
    assert judge_numbers(np.full(3, 3e38, np.float32).tobytes(), "f32") is None  # a mask's constants
    assert judge_numbers(WEIGHTS.astype(">f4").tobytes(), "f32", big=True) is None
    brain = WEIGHTS.view(np.uint32) >> 16
    assert judge_numbers(brain.astype("<u2").tobytes(), "bf16") is None
    assert judge_numbers(b"\x80\x7f" * 8, "bf16") == "inf"
    assert judge_numbers(b"\xc0\x7f" * 8, "bf16") == "nan"
    assert judge_numbers(b"\x7f\xc0" * 8, "bf16", big=True) == "nan"
    assert judge_numbers(b"\xff" * 64, "q4_k") is None
    assert judge_numbers(b"", "f32") is None


def test_numpy_arrays() -> None:
    def saved(array: np.ndarray) -> bytes:
        memory = io.BytesIO()
        np.save(memory, array)
        return memory.getvalue()

    for array in (
        WEIGHTS,
        WEIGHTS.astype(">f8"),
        np.arange(5),
        np.array("text"),
        np.zeros((0, 3)),
        np.zeros(3, "f4,i8"),
    ):
        assert look(saved(array), "a.npy") == ("npy", [])
    assert rules(look(saved(np.array([1.0, np.nan])), "a.npy")[1]) == {"weights/nan"}
    assert rules(look(saved(np.array([1.0, np.inf], ">f4")), "a.npy")[1]) == {"weights/inf"}
    hidden = saved(WEIGHTS) + b"\x7fELF\x02\x01\x01" + bytes(9)
    assert {"weights/appended", "executable/hidden"} <= rules(look(hidden, "a.npy")[1])


def test_entropy_is_shannons() -> None:
    assert entropy(bytes(range(256))) == 8.0
    assert entropy(b"aaaa") == 0.0
    assert entropy(b"ab") == 1.0


def test_a_large_file_is_sampled_and_says_so() -> None:
    tensors = {f"t{i}": RNG.standard_normal(200_000).astype(np.float32) for i in range(10)}
    tensors["t7"][-1] = np.nan
    _, found = look(save(tensors), "model.safetensors")
    assert rules(found) == {"weights/nan", "weights/sampled"}
    assert "of 8,000,000 bytes" in next(item.message for item in found if item.rule == "weights/sampled")


SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def check(data: bytes, path: str) -> None:
    _, found = look(data, path)
    for finding in found:
        assert isinstance(finding, Finding)
        assert finding.rule != "scan/failed", finding.message
        assert finding.message.isprintable()


@SETTINGS
@given(st.data())
def test_no_change_of_bytes_is_a_failure(choice: st.DataObject) -> None:
    honest = [
        save({"a": WEIGHTS[:2], "b": WEIGHTS[0]}, metadata={"format": "pt"}),
        header([("a", [8], 0, 0)], [("tokenizer.chat_template", 8, struct.pack("<Q", 7) + b"{{ x }}")]) + bytes(64),
    ]
    data = bytearray(choice.draw(st.sampled_from(honest)))
    for _ in range(choice.draw(st.integers(1, 5))):
        at = choice.draw(st.integers(0, min(len(data) - 1, 300)))
        data[at : at + choice.draw(st.integers(0, 3))] = choice.draw(st.binary(max_size=4))
    check(bytes(data), choice.draw(st.sampled_from(["m.safetensors", "m.gguf"])))


PIECES = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "'",
    '"',
    "\\x5f",
    "\\u00",
    "__class__",
    "|attr(",
    "(",
    ")",
    "[",
    "]",
    ".",
    "~",
    "for",
    " ",
    "**",
    "9999999999",
    "raw",
    "endraw",
    "-",
    "\n",
    "\0",
    "é",
    "'{0.a}'",
    ".format",
    "1e999",
]


@SETTINGS
@given(st.lists(st.sampled_from(PIECES), max_size=40) | st.text(max_size=60))
def test_any_template_is_judged(parts: list[str] | str) -> None:
    check("".join(parts).encode(), "chat_template.jinja")
