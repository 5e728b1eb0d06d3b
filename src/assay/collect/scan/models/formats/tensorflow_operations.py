"""What TensorFlow's operations do beyond computing: write, read, call other machines, run other code.

Default deny: an operation that TensorFlow does not register is unknown, and so is one that is told a file or a machine
and was not looked at here. The names of all operations are data (`assay.collect.scan.models.rules.operations`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from assay.collect.scan.models.formats.telling import EXECUTION, SENSITIVE, SUPPLY, leads_out, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.collect.scan.models.rules.operations import listed

_ATTACKS = {"WriteFile": "writes a file", "DumpTensor": "writes files", "TryRpc": "calls another machine"}
"""No model that somebody publishes needs these."""

_RPC = re.compile(r"Rpc[A-Z]?\w*|DeleteRpc\w+")
_DEBUG = re.compile(r"Debug\w+")

_CODE = dict.fromkeys(("PyFunc", "PyFuncStateless", "EagerPyFunc"), "runs a Python function")

_GRAPHS = frozenset(("DatasetFromGraph", "RemoteFusedGraphExecute"))
"""Operations that run a graph which one of their arguments carries."""

_UNKNOWN = {
    "lists files": ("MatchingFiles", "MatchingFilesDataset", "ListSnapshotChunksDataset"),
    "reads a file": ("ReadFile", "ImmutableConst", "GenerateVocabRemapping"),
    "reads files": (
        "WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2", "FixedLengthRecordReader",
        "FixedLengthRecordReaderV2", "TFRecordReader", "TFRecordReaderV2", "LMDBReader", "LMDBDataset",
        "TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDataset",
        "FixedLengthRecordDatasetV2", "CSVDataset", "CSVDatasetV2", "LoadDataset", "LoadAndRemapMatrix", "RecordInput",
        "Skipgram", "FixedUnigramCandidateSampler", "SnapshotChunkDataset", "SnapshotDatasetReader",
        "SnapshotNestedDatasetReader",
    ),
    "writes files": (
        "SnapshotDataset", "SnapshotDatasetV2", "CacheDataset", "CacheDatasetV2", "SaveDataset", "SaveDatasetV2",
        "DatasetToTFRecord", "CreateSummaryFileWriter", "CalibrationStatisticsSaver", "DumpToFile", "DistributedSave",
    ),
    "writes a database": ("CreateSummaryDbWriter",),
    "queries a database": ("SqlDataset",),
    "fetches from another machine": (
        "DataServiceDataset", "DataServiceDatasetV2", "DataServiceDatasetV3", "DataServiceDatasetV4", "BigQueryReader",
        "CloudBigtableClient",
    ),
    "registers with another machine": ("RegisterDataset", "RegisterDatasetV2"),
    "changes how files are reached": ("FileSystemSetConfiguration", "GcsConfigureCredentials"),
    "configures machines": (
        "ConfigureDistributedTPU", "ConfigureAndInitializeGlobalTPU", "ConfigureTPUEmbedding",
        "ConfigureTPUEmbeddingHost", "ConnectTPUEmbeddingHosts", "CollectiveInitializeCommunicator",
    ),
    "runs on another device": ("RemoteCall",),
    "runs on the host": ("XlaHostCompute", "_XlaHostComputeMlir"),
    "calls native code by its name": ("XlaCustomCall", "XlaCustomCallV2"),
    "runs a compiled program, which cannot be seen through": (
        "TRTEngineOp", "CreateTRTResourceHandle", "XlaCallModule", "TPUCompile", "TPUExecute",
        "TPUExecuteAndUpdateVariables", "_TPUCompileMlir",
    ),
    "runs a graph that it is handed": tuple(_GRAPHS),
    "ends the process": ("Abort",),
}  # fmt: skip
_DOES = {name: does for does, names in _UNKNOWN.items() for name in names}

_QUIET = frozenset(
    {
        "Save", "SaveSlices", "SaveV2", "Restore", "RestoreSlice", "RestoreV2", "MergeV2Checkpoints",
        "DTensorRestoreV2", "InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "DecodeProtoV2",
        "EncodeProto", "CacheDataset", "CacheDatasetV2",
    }
)  # fmt: skip
"""Operations of every honest graph: checkpoints, vocabularies, protobufs. Only what they are told is judged."""

_HARMLESS = frozenset(
    (
        "TensorArrayGrad",
        "TensorArrayGradV2",
        "TensorArrayGradV3",
        "TensorArrayGradWithShape",
        "SetStatsAggregatorDataset",
    )
)
"""Their ``source`` and ``prefix`` are words, not places."""

_INPUTS = re.compile(r"Restore\w*|\w*Restore\w*|Initialize\w+|\w+Dataset(?:V\d)?|RecordInput|Skipgram|\w+Sampler")
"""Operations that read input of their own kind, for which the machine that trained has paths of its own."""

_PLACED = re.compile(r"(?:gs|s3|hdfs|viewfs|ram|memmapped_package|local|bytes)://")
"""Addresses of stores, and of what is no file at all."""

_NOWHERE = re.compile(r"(?:memmapped_package|local|bytes)://")

_COPIES = frozenset(
    {
        "Const", "Placeholder", "PlaceholderV2", "PlaceholderWithDefault", "Identity", "IdentityN", "Pack", "Select",
        "SelectV2", "StringJoin", "ShardedFilename", "ShardedFilespec", "RegexFullMatch", "StaticRegexFullMatch",
        "Reshape", "ExpandDims", "Squeeze", "VarHandleOp", "ReadVariableOp", "VariableV2", "NoOp", "_Arg", "Switch",
        "Merge", "Concat", "ConcatV2", "GatherV2", "StridedSlice", "Cast",
    }
)  # fmt: skip
"""Operations between a path's constants and its use that leave the constants readable."""


@dataclass(slots=True)
class Told:
    """What an operation is told, as far as the graph's constants say."""

    texts: list[str] = field(default_factory=list)
    """Constants and attributes that reach it."""
    places: list[str] = field(default_factory=list)
    """Those of them that reach the arguments which name files or machines."""
    through: set[str] = field(default_factory=set)
    """Operations that these come through."""
    cut: bool = False
    """Some of it was too long to be read, or too far away."""


def suspicious(op: str, own: Collection[str]) -> bool:
    """Whether an operation does more than compute, or is not TensorFlow's own (``own`` are the graph's functions)."""
    if op in _HARMLESS:
        return False
    known = listed("tensorflow")
    if op not in known.domains[""]:
        return op not in own
    return (
        op in known.outside
        or op in _ATTACKS
        or op in _CODE
        or _plain(op) in _DOES
        or op == "PrintV2"
        or _RPC.fullmatch(op) is not None
        or _DEBUG.fullmatch(op) is not None
    )


def judge(op: str, told: Told, function: str, scan: Scan) -> Iterator[Finding]:
    """What is wrong with one use of a suspicious operation."""
    where = f" in function {shown(function, 60)}" if function else ""
    call = f"tf.raw_ops.{op}({', '.join(repr(text)[:80] for text in told.texts[:4])})"
    plain = _plain(op)
    if op == "PrintV2":
        if streams := [text for text in told.texts if text.startswith("file://")]:
            yield finding(scan, Tier.MALICIOUS, f"{op} appends to the file {shown(streams[0], 80)!r}{where}", call)
    elif _DEBUG.fullmatch(op):
        if any("://" in text for text in told.texts):
            yield finding(scan, Tier.MALICIOUS, f"{op} sends tensors to a debugger's address{where}", call)
    elif op in _ATTACKS or _RPC.fullmatch(op):
        does = _ATTACKS.get(op, "calls another machine")
        yield finding(scan, Tier.MALICIOUS, f"the graph's operation {op} {does}{where}", call)
    elif op in _CODE:
        yield finding(scan, Tier.CODE, f"the graph's operation {op} {_CODE[op]}{where}", call)
    elif outside := sorted((tier_of(plain, text), text) for text in told.places if not _fine(text)):
        tier, path = outside[0]
        does = _DOES.get(plain, "uses files").split()[0]
        yield finding(scan, tier, f"{op} {does} {shown(path, 100)!r}, a path that {leads_out(path)}{where}", call)
    elif plain in _QUIET:
        if told.cut or (odd := sorted(told.through - _COPIES)):
            how = "it is too long or too far away to be read" if told.cut else f"{odd[0]} computes it"
            yield finding(scan, Tier.UNKNOWN, f"which file {op} uses cannot be told: {how}{where}", None)
    elif plain in _DOES:
        yield finding(scan, Tier.UNKNOWN, f"the graph's operation {op} {_DOES[plain]}{where}", call)
    elif op in listed("tensorflow").outside:
        yield finding(scan, Tier.UNKNOWN, f"the graph's operation {op} is told a file or a machine{where}", call)
    else:
        yield finding(
            scan, Tier.UNKNOWN, f"the operation {shown(op, 80)} comes from a library that is not TensorFlow's{where}",
            None,
        )  # fmt: skip


def tier_of(op: str, path: str) -> Tier:
    """How bad a path that leads out is: honest graphs carry paths of the machine that they were trained on."""
    why = leads_out(path) or ""
    elsewhere = why in ("is absolute", "is on a drive") or _PLACED.match(path) is not None
    mild = elsewhere and (op.startswith("Initialize") or not SENSITIVE.search(path))
    return Tier.UNKNOWN if mild and _INPUTS.fullmatch(op) else Tier.MALICIOUS


def _fine(text: str) -> bool:
    return leads_out(text) is None or _NOWHERE.match(text) is not None


def _plain(op: str) -> str:
    """TensorFlow keeps older names of operations for data sets."""
    return op.removeprefix("Experimental")


def runs_a_graph(op: str) -> bool:
    """Whether it runs a graph that one of its arguments carries."""
    return op in _GRAPHS


def finding(scan: Scan, tier: Tier, message: str, call: str | None) -> Finding:
    """A finding about an operation."""
    severity = {Tier.MALICIOUS: Severity.CRITICAL, Tier.CODE: Severity.HIGH}.get(tier, Severity.MEDIUM)
    return tell(
        scan,
        "tensorflow/unsafe-operation",
        tier,
        severity,
        message,
        call=call,
        atlas=EXECUTION if tier is not Tier.UNKNOWN else SUPPLY,
        mitigation="run it without access to files and network, or not at all",
    )
