"""Graphs whose operations reach outside: TensorFlow SavedModels and frozen graphs, ONNX models.

TensorFlow's messages are encoded by hand after its ``.proto`` files; ONNX models are made with the `onnx` library.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corpus.sample import CANARY, Draft, Harm, other

SAVED_MODEL = Path(__file__).parents[1] / "data/models/saved_model/saved_model.pb"


def drafts() -> Iterator[Draft]:
    """All of them."""
    yield from tensorflow()
    yield from onnx_models()


def field(number: int, value: bytes | str | int) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Base-128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def node(name: str, op: str, inputs: tuple[str, ...] = (), **attributes: bytes) -> bytes:
    """``NodeDef``."""
    out = field(1, name) + field(2, op) + b"".join(field(3, item) for item in inputs)
    return out + b"".join(field(5, field(1, key) + field(2, value)) for key, value in attributes.items())


def constant(name: str, text: str) -> bytes:
    """A ``Const`` of one string."""
    tensor = field(1, 7) + field(2, b"") + field(8, text)
    return node(name, "Const", dtype=field(6, 7), value=field(8, tensor))


def graph(*nodes: bytes, functions: tuple[bytes, ...] = ()) -> bytes:
    """``GraphDef``."""
    library = field(2, b"".join(field(1, item) for item in functions)) if functions else b""
    return b"".join(field(1, item) for item in nodes) + library + field(4, field(1, 1882))


def saved(graph_: bytes) -> bytes:
    """``SavedModel`` of one graph."""
    return field(1, 1) + field(2, field(1, field(4, "serve")) + field(2, graph_))


def function(name: str, *nodes: bytes) -> bytes:
    """``FunctionDef``."""
    return field(1, field(1, name)) + b"".join(field(3, item) for item in nodes)


def tensorflow() -> Iterator[Draft]:
    """Operations on files, the network and Python, at the top level and in functions."""
    secret, target = constant("path", f"/etc/{CANARY}"), constant("path", f"/tmp/{CANARY}")
    text = constant("text", "x")
    operations = {
        "read-file": (secret, node("op", "ReadFile", ("path",))),
        "write-file": (target, text, node("op", "WriteFile", ("path", "text"))),
        "matching-files": (secret, node("op", "MatchingFiles", ("path",))),
        "py-func": (node("op", "PyFunc", token=field(2, "pyfunc_0")),),
        "py-func-stateless": (node("op", "PyFuncStateless", token=field(2, "pyfunc_0")),),
        "eager-py-func": (node("op", "EagerPyFunc", token=field(2, "pyfunc_0")),),
        "print-to-file": (text, node("op", "PrintV2", ("text",), output_stream=field(2, f"file:///tmp/{CANARY}"))),
        "save-absolute": (
            constant("path", f"/home/{CANARY}/.bashrc"),
            text,
            node("op", "Save", ("path", "text", "text")),
        ),
        "debug-url": (
            text,
            node("op", "DebugIdentityV2", ("text",), debug_urls=field(1, field(2, f"file:///tmp/{CANARY}"))),
        ),
        "dump": (target, text, node("op", "DatasetToTFRecord", ("text", "path"))),
        "read-whole-files": (node("op", "WholeFileReaderV2"),),
        "text-line-dataset": (secret, node("op", "TextLineDataset", ("path",))),
        "read-table-from-file": (secret, node("op", "InitializeTableFromTextFileV2", ("path",))),
        "rpc": (
            constant("path", "127.0.0.1:9"),
            node("op", "RpcClient", ("path",)),
        ),
        "rpc-server": (constant("path", "127.0.0.1:9"), node("op", "RpcServer", ("path",))),
        "dump-tensor": (text, node("op", "DumpTensor", ("text",), log_dir_path=field(2, f"/tmp/{CANARY}"))),
        "debug-nan-url": (
            text,
            node("op", "DebugNanCount", ("text",), debug_urls=field(1, field(2, "grpc://127.0.0.1:9"))),
        ),
        "restore-secret": (secret, node("op", "RestoreV2", ("path", "path", "path"))),
        "descriptors-from-file": (text, node("op", "DecodeProtoV2", descriptor_source=field(2, f"/etc/{CANARY}"))),
        "memory-region": (node("op", "ImmutableConst", memory_region_name=field(2, f"/etc/{CANARY}")),),
        "older-data-set": (secret, node("op", "ExperimentalCSVDataset", ("path",))),
        "graph-in-a-constant": (
            node("g", "Const", value=field(8, field(1, 7) + field(8, graph(target, text, node("w", "WriteFile"))))),
            node("op", "DatasetFromGraph", ("g",)),
        ),
        "native-call": (node("op", "XlaCustomCallV2", call_target_name=field(2, CANARY)),),
        "unknown-operation": (node("op", "RunShellCommand", command=field(2, "true")),),
    }
    for technique, nodes in operations.items():
        harm: Harm = (
            "opaque"
            if technique in ("unknown-operation", "native-call")
            else "access"
            if technique in ("read-table-from-file", "read-whole-files", "restore-secret", "memory-region")
            else "code"
        )
        yield other(f"saved-model-{technique}", {"saved_model.pb": saved(graph(*nodes))}, harm=harm)
    for technique in ("read-file", "write-file", "py-func", "print-to-file"):
        nodes = operations[technique]
        call = node("call", "StatefulPartitionedCall", f=field(10, field(1, "inner")))
        yield other(
            f"saved-model-function-{technique}",
            {"saved_model.pb": saved(graph(call, functions=(function("inner", *nodes),)))},
        )
        yield other(f"frozen-graph-{technique}", {"frozen_inference_graph.pb": graph(text, *nodes)})
        yield other(
            f"saved-model-second-graph-{technique}",
            {"saved_model.pb": SAVED_MODEL.read_bytes() + field(2, field(2, graph(*nodes)))},
        )

    handed = function("save", node("op", "SaveV2", ("prefix", "prefix", "prefix")))
    call = node("call", "StatefulPartitionedCall", ("path",), f=field(10, field(1, "save")))
    yield other("saved-model-path-by-argument", {"saved_model.pb": saved(graph(secret, call, functions=(handed,)))})
    asset = field(6, field(1, b"") + field(2, f"../../../etc/{CANARY}"))
    whole = field(1, 1) + field(2, field(2, graph(text)) + asset)
    yield other("saved-model-asset-elsewhere", {"saved_model.pb": whole}, harm="access")
    write = (target, text, node("op", "WriteFile", ("path", "text")))
    library = field(2, field(1, function("inner", text)))
    yield other("frozen-graph-library-first", {"frozen.pb": library + graph(*write)})
    yield other("meta-graph-without-info", {"model.ckpt.meta": field(2, graph(*write))})
    yield other("text-graph-with-comments", {"graph.pbtxt": b'node { name: "w" op: # Const\n  "Write" \'File\' }'})


def onnx_models() -> Iterator[Draft]:
    """External data outside of the folder, operators of nobody's domain, graphs in graphs."""
    import onnx
    from onnx import TensorProto, helper

    def model(
        nodes: list[onnx.NodeProto],
        initialisers: list[onnx.TensorProto] | None = None,
        domain: str = "",
        **more: object,
    ) -> bytes:
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
        made = helper.make_graph(nodes, "g", [x], [y], initialisers or [])
        opsets = [helper.make_opsetid("", 20), *([helper.make_opsetid(domain, 1)] if domain else [])]
        return bytes(helper.make_model(made, opset_imports=opsets, **more).SerializeToString())

    def outside(location: str, **keys: str) -> onnx.TensorProto:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": location, **keys}.items():
            tensor.external_data.add(key=key, value=value)
        return tensor

    add = helper.make_node("Add", ["x", "w"], ["y"])
    for technique, location, cve in (
        ("absolute", f"/etc/{CANARY}", "CVE-2022-25882"),
        ("parent", f"../../../../etc/{CANARY}", "CVE-2022-25882"),
        ("parent-inside", f"a/../../{CANARY}", "CVE-2024-27318"),
        ("windows", f"C:\\{CANARY}", "CVE-2024-27318"),
        ("backslash", f"..\\..\\{CANARY}", "CVE-2024-27318"),
        ("double-dots", f"./.././../{CANARY}", "CVE-2024-5187"),
        ("url", f"file:///etc/{CANARY}", "CVE-2022-25882"),
    ):
        yield other(f"onnx-external-{technique}", {"model.onnx": model([add], [outside(location)])}, cve=cve)
    yield other(
        "onnx-external-length",
        {"model.onnx": model([add], [outside("w.bin", offset="0", length=str(1 << 62))]), "w.bin": bytes(16)},
        harm="corruption",
    )
    yield other(
        "onnx-external-offset",
        {"model.onnx": model([add], [outside("w.bin", offset="-16", length="16")]), "w.bin": bytes(16)},
        harm="corruption",
    )
    attribute = helper.make_node("Constant", [], ["w"], value=outside(f"/etc/{CANARY}"))
    yield other("onnx-external-in-attribute", {"model.onnx": model([attribute, add])}, cve="CVE-2022-25882")
    inner = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["z"])],
        "then",
        [],
        [helper.make_tensor_value_info("z", 1, [4])],
        [outside(f"/etc/{CANARY}")],
    )
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    yield other("onnx-external-in-subgraph", {"model.onnx": model([branch])}, cve="CVE-2022-25882")
    for domain, op in (
        ("com.microsoft.extensions", "OpenAIAudioToText"),
        ("ai.onnx.contrib", "PyOp"),
        ("ai.onnx.contrib", "PyCustomOp"),
        ("com.example.ops", "Run"),
        ("ai.onnx.contrib", "AzureTextToText"),
    ):
        custom = helper.make_node(op, ["x"], ["y"], domain=domain)
        harm: Harm = "opaque" if domain == "com.example.ops" else "code"
        yield other(f"onnx-operator-{op.lower()}", {"model.onnx": model([custom], domain=domain)}, harm=harm)
        inner = helper.make_graph(
            [helper.make_node(op, ["x"], ["z"], domain=domain)],
            "then",
            [],
            [helper.make_tensor_value_info("z", 1, [4])],
        )
        branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
        yield other(
            f"onnx-operator-{op.lower()}-in-subgraph", {"model.onnx": model([branch], domain=domain)}, harm=harm
        )
        local = helper.make_function("local", "F", ["x"], ["y"], [custom], [helper.make_opsetid(domain, 1)])
        yield other(
            f"onnx-operator-{op.lower()}-in-function",
            {
                "model.onnx": model(
                    [helper.make_node("F", ["x"], ["y"], domain="local")], domain="local", functions=[local]
                )
            },
            harm=harm,
        )
    unlisted = helper.make_node("RunShellCommand", ["x"], ["y"])
    yield other("onnx-operator-of-no-version", {"model.onnx": model([unlisted])}, harm="opaque")
    local = helper.make_function("local", "F", ["x"], ["y"], [add], [helper.make_opsetid("", 20)])
    default = onnx.AttributeProto(name="a", type=onnx.AttributeProto.TENSOR, t=outside(f"/etc/{CANARY}"))
    local.attribute_proto.append(default)
    yield other(
        "onnx-external-in-default",
        {"model.onnx": model([helper.make_node("F", ["x"], ["y"], domain="local")], domain="local", functions=[local])},
        cve="CVE-2022-25882",
    )
    yield other("onnx-runtime-prepared", {"model.ort": bytes([24, 0, 0, 0]) + b"ORTM" + bytes(64)}, harm="opaque")
