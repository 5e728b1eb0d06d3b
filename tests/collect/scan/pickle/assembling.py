"""Pickle programs written by hand, rules to judge them by, and how to look at what the engine says of them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable

from assay.collect.scan.models.formats.scanning import Budget, FileScan
from assay.collect.scan.models.interface import Finding, Limits, Rules, Tier
from assay.collect.scan.models.pickle.engine import run, run_pickle
from assay.collect.scan.models.pickle.program import Program

DENIED = {"os", "posix", "nt", "subprocess", "sys", "copyreg", "commands", "pty", "runpy"}
NAMES = {("builtins", "eval"), ("builtins", "exec"), ("__builtin__", "eval"), ("builtins", "getattr")}
ALLOWED = {"collections", "datetime", "_codecs", "numpy", "numpy.core.multiarray", "numpy._core.multiarray", "good"}
HARMLESS = {"set", "frozenset", "bytearray", "complex", "tuple", "list", "dict", "slice", "range", "object"}


class SmallRules:
    """Some names of each kind."""

    digest = "0" * 64

    def judge(self, module: str, name: str, use: str) -> tuple[Tier, str]:
        """As `Rules.judge`."""
        if module.split(".")[0] in DENIED or (module, name) in NAMES or name.split(".")[0] in DENIED:
            return Tier.MALICIOUS, "pickle/denied-global"
        if module.split(".")[0] in ("cloudpickle", "dill"):
            return Tier.CODE, "pickle/code-by-value"
        if module in ALLOWED or module.startswith(("sklearn.", "joblib.", "scipy.")):
            return Tier.SAFE, "pickle/allowed"
        if module in ("builtins", "__builtin__") and name in HARMLESS:
            return Tier.SAFE, "pickle/allowed"
        if module in ("copy_reg",) and name == "_reconstructor":
            return Tier.SAFE, "pickle/allowed"
        return Tier.UNKNOWN, "pickle/unlisted-global"


RULES: Rules = SmallRules()


def findings(data: bytes, *, exact: bool = True, encoding: str = "latin1") -> list[Finding]:
    """What the engine finds in a program, and the scanners of formats in its byte strings."""
    return list(scan().pickle(io.BytesIO(data), len(data), exact=exact, encoding=encoding))


def scan() -> FileScan:
    """The scan of one file."""
    limits = Limits()
    budget = Budget(limits.members, limits.unpacked)
    return FileScan("model.pkl", None, 0, rules=RULES, limits=limits, run_pickle=run_pickle, budget=budget, siblings={})


def facts(data: bytes, *, encoding: str = "latin1") -> Program:
    """What the engine sees in a program."""
    return run(io.BytesIO(data), len(data), encoding=encoding)


def tier(found: Iterable[Finding]) -> Tier:
    """The worst tier."""
    return max((finding.tier for finding in found), key=lambda item: item.rank, default=Tier.SAFE)


def rules(found: Iterable[Finding]) -> set[str]:
    """The ids of the rules that fired."""
    return {finding.rule for finding in found}


def uses(program: Program) -> set[tuple[str, str, str]]:
    """Module, name and use."""
    return {(use.module, use.name, use.use) for use in program.uses}


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def octets(value: bytes) -> bytes:
    """BINBYTES."""
    return b"B" + struct.pack("<I", len(value)) + value


def frame(body: bytes, length: int | None = None) -> bytes:
    """FRAME with its length, which may be a lie."""
    return b"\x95" + struct.pack("<Q", len(body) if length is None else length) + body


SYSTEM = name("os", "system")
CALL = SYSTEM + text("true") + b"\x85R"
"""``os.system('true')``, left on the stack."""
