"""A small assembler for pickle programs: each function gives the opcodes that leave one value on the stack.

It writes what no pickler writes, so that the corpus does not depend on what `pickle.dumps` is able to express.
"""

from __future__ import annotations

import io
import pickle
import struct

from corpus.sample import SHELL

MARK, STOP, POP, POP_MARK, DUP, REDUCE, BUILD, APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS, TUPLE, OBJ = (
    pickle.MARK,
    pickle.STOP,
    pickle.POP,
    pickle.POP_MARK,
    pickle.DUP,
    pickle.REDUCE,
    pickle.BUILD,
    pickle.APPEND,
    pickle.APPENDS,
    pickle.SETITEM,
    pickle.SETITEMS,
    pickle.ADDITEMS,
    pickle.TUPLE,
    pickle.OBJ,
)
NEWOBJ, NEWOBJ_EX, STACK_GLOBAL, NONE, EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET, MEMOIZE, FROZENSET = (
    pickle.NEWOBJ,
    pickle.NEWOBJ_EX,
    pickle.STACK_GLOBAL,
    pickle.NONE,
    pickle.EMPTY_DICT,
    pickle.EMPTY_LIST,
    pickle.EMPTY_TUPLE,
    pickle.EMPTY_SET,
    pickle.MEMOIZE,
    pickle.FROZENSET,
)
BINPERSID, NEXT_BUFFER, READONLY_BUFFER = pickle.BINPERSID, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER


def literal(value: object) -> bytes:
    """Opcodes of protocol 3 for plain data, without memo."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 3)
    pickler.fast = True
    pickler.dump(value)
    return buffer.getvalue()[2:-1]


def text(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    data = value.encode()
    return pickle.SHORT_BINUNICODE + bytes([len(data)]) + data


def tuple_of(*parts: bytes) -> bytes:
    """A tuple of what the parts leave."""
    return MARK + b"".join(parts) + TUPLE


def list_of(*parts: bytes) -> bytes:
    """A list of what the parts leave."""
    return EMPTY_LIST + MARK + b"".join(parts) + APPENDS


def dict_of(*parts: bytes) -> bytes:
    """A dictionary of alternating keys and values."""
    return EMPTY_DICT + MARK + b"".join(parts) + SETITEMS


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def stack_name(module: str, attribute: str) -> bytes:
    """STACK_GLOBAL; finds dotted names where the program says protocol 4."""
    return text(module) + text(attribute) + STACK_GLOBAL


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + tuple_of(*arguments) + REDUCE


def inst(module: str, attribute: str, *arguments: bytes) -> bytes:
    """INST."""
    return MARK + b"".join(arguments) + pickle.INST + f"{module}\n{attribute}\n".encode()


def obj(function: bytes, *arguments: bytes) -> bytes:
    """OBJ."""
    return MARK + function + b"".join(arguments) + OBJ


def new(class_: bytes, *arguments: bytes) -> bytes:
    """NEWOBJ."""
    return class_ + tuple_of(*arguments) + NEWOBJ


def blob(data: bytes) -> bytes:
    """BINBYTES."""
    return pickle.BINBYTES + struct.pack("<I", len(data)) + data


def frame(data: bytes, size: int | None = None) -> bytes:
    """FRAME around the data; with another size it is a lie."""
    return pickle.FRAME + struct.pack("<Q", len(data) if size is None else size) + data


def program(*parts: bytes, protocol: int | None = 4, stop: bytes = STOP) -> bytes:
    """A whole pickle; without protocol no PROTO opcode."""
    head = b"" if protocol is None else pickle.PROTO + bytes([protocol])
    return head + b"".join(parts) + stop


SYSTEM = call(name("posix", "system"), text(SHELL))
"""The plainest payload."""

EVIL = program(SYSTEM)
"""A pickle of it, for what carries pickles."""
