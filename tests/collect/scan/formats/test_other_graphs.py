"""Keras, HDF5, TensorFlow and ONNX: honest files of the real writers, every known attack, and broken bytes."""

from __future__ import annotations

import base64
import io
import json
import marshal
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from assay.collect.scan.models.interface import Finding, Tier
from collect.scan.formats.looking import look, rules, tier

SAMPLES = Path(__file__).parents[3] / "data/models"


# --- Keras


def encoded(function: Callable[..., Any]) -> str:
    return base64.b64encode(marshal.dumps(function.__code__)).decode()


def harmless(x: Any) -> Any:
    return x / 255.0 - 0.5


def attacking(x: Any) -> Any:
    import os

    os.system("true")
    return x


def layer(kind: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None, **more}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {
        "module": "keras",
        "class_name": "Sequential",
        "registered_name": "Sequential",
        "config": {"name": "sequential", "layers": list(layers)},
    }


def archive(config: Any) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as written:
        written.writestr("metadata.json", '{"keras_version": "3.11.0", "date_saved": "2025-08-01@00:00:00"}')
        written.writestr("config.json", json.dumps(config) if not isinstance(config, bytes) else config)
    return memory.getvalue()


def legacy(tmp_path: Path, config: Any) -> bytes:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
        file["model_weights/dense/kernel"] = np.ones((2, 2), np.float32)
    return (tmp_path / "m.h5").read_bytes()


LAMBDA_3 = {"class_name": "__lambda__", "config": {"code": encoded(harmless), "defaults": None, "closure": None}}
ATTACK_3 = {"class_name": "__lambda__", "config": {"code": encoded(attacking), "defaults": None, "closure": None}}

KERAS: list[tuple[str, dict[str, Any], Tier]] = [
    ("lambda", layer("Lambda", {"name": "l", "function": LAMBDA_3}), Tier.CODE),
    ("lambda attack", layer("Lambda", {"name": "l", "function": ATTACK_3}), Tier.MALICIOUS),
    ("lambda 2", layer("Lambda", {"function": [encoded(harmless), None, None], "function_type": "lambda"}), Tier.CODE),
    ("lambda 2 attack", layer("Lambda", {"function": [encoded(attacking), None, None]}), Tier.MALICIOUS),
    (
        "lambda's output shape",
        layer("Lambda", {"function": "relu", "output_shape": [encoded(attacking), None, None]}),
        Tier.MALICIOUS,
    ),
    (
        "lambda by name",
        layer("Lambda", {"function": "system", "function_type": "function", "module": "os"}),
        Tier.MALICIOUS,
    ),
    (
        "lambda by own name",
        layer("Lambda", {"function": "mine", "function_type": "function", "module": "train"}),
        Tier.UNKNOWN,
    ),
    ("lambda without", layer("Lambda", {"name": "l"}), Tier.CODE),
    (
        "cve-2025-1550",
        layer(
            "Lambda",
            {
                "function": {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
                "arguments": ["true"],
            },
        ),
        Tier.MALICIOUS,
    ),
    (
        "module of the standard library",
        {"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}, "registered_name": None},
        Tier.MALICIOUS,
    ),
    (
        "cve-2025-8747",
        layer(
            "Lambda",
            {
                "function": {
                    "module": "keras.utils",
                    "class_name": "function",
                    "config": "get_file",
                    "registered_name": "get_file",
                },
                "arguments": {"origin": "http://127.0.0.1/x"},
            },
        ),
        Tier.MALICIOUS,
    ),
    (
        "cve-2025-9906",
        {
            "module": "keras.config",
            "class_name": "function",
            "config": "enable_unsafe_deserialization",
            "registered_name": "enable_unsafe_deserialization",
        },
        Tier.MALICIOUS,
    ),
    (
        "builtins",
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"},
        Tier.MALICIOUS,
    ),
    ("load_model", {"module": "keras.models", "class_name": "function", "config": "load_model"}, Tier.MALICIOUS),
    (
        "cve-2025-49655",
        layer("TorchModuleWrapper", {"name": "t", "module": base64.b64encode(b"\x80\x02cposix\ngetcwd\n)R.").decode()}),
        Tier.MALICIOUS,
    ),
    ("wrapper", layer("TFSMLayer", {"filepath": "saved"}), Tier.CODE),
    ("wrapper elsewhere", layer("TFSMLayer", {"filepath": "/srv/saved"}), Tier.MALICIOUS),
    ("cve-2025-12058 file", layer("StringLookup", {"vocabulary": "/etc/passwd"}), Tier.MALICIOUS),
    ("cve-2025-12058 url", layer("TextVectorization", {"vocabulary": "http://169.254.169.254/latest"}), Tier.MALICIOUS),
    ("cve-2025-12058 up", layer("IntegerLookup", {"vocabulary": "../../secret"}), Tier.MALICIOUS),
    ("vocabulary elsewhere", layer("StringLookup", {"vocabulary": "/data/vocabulary.txt"}), Tier.UNKNOWN),
    ("custom", layer("Mine", {"name": "m"}, module="my.layers", registered_name="my>Mine"), Tier.UNKNOWN),
    ("custom by class", {"class_name": "Mine", "config": {}}, Tier.UNKNOWN),
    ("unlisted in keras", {"module": "keras.src.utils.mystery", "class_name": "Thing", "config": {}}, Tier.UNKNOWN),
    ("tensorflow's write", layer("TFOpLambda", {"function": "io.write_file"}), Tier.MALICIOUS),
    ("tensorflow's sum", {"class_name": "TFOpLambda", "config": {"function": "math.reduce_sum"}}, Tier.NONE),
    (
        "dense",
        layer(
            "Dense",
            {
                "units": 3,
                "activation": "relu",
                "kernel_initializer": {
                    "module": "keras.initializers",
                    "class_name": "GlorotUniform",
                    "config": {"seed": None},
                    "registered_name": None,
                },
            },
        ),
        Tier.NONE,
    ),
    ("vocabulary inside", layer("StringLookup", {"vocabulary": ["a", "b"], "name": "x"}), Tier.NONE),
    ("function of keras", {"module": "keras.activations", "class_name": "function", "config": "gelu"}, Tier.NONE),
    ("marks", layer("Dense", {"shape": {"class_name": "__tuple__", "items": [1, 2]}}), Tier.NONE),
]


@pytest.mark.parametrize(("config", "wanted"), [case[1:] for case in KERAS], ids=[case[0] for case in KERAS])
def test_keras_archives(config: dict[str, Any], wanted: Tier) -> None:
    _, found = look(archive(sequential(config)), "model.keras")
    assert tier(found) is wanted, found
    assert all(
        item.member == "config.json" or "!/" in (item.member or "") for item in found if item.tier is not Tier.NONE
    )
    assert tier(look(json.dumps(sequential(config)).encode("utf-16"), "config.json")[1]) is wanted


@pytest.mark.parametrize("case", [KERAS[1], KERAS[8], KERAS[17], KERAS[26]], ids=lambda case: case[0])
def test_keras_in_hdf5(case: tuple[str, dict[str, Any], Tier], tmp_path: Path) -> None:
    name, found = look(legacy(tmp_path, sequential(case[1])), "model.h5")
    assert name == "hdf5"
    assert tier(found) is case[2]


def test_the_call_is_named(tmp_path: Path) -> None:
    _, found = look(archive(sequential(KERAS[8][1])), "model.keras")
    assert any((item.call or "").startswith("os.system('true'") for item in found)
    _, found = look(legacy(tmp_path, sequential(KERAS[1][1])), "model.h5")
    assert any("CVE-2025-9905" in item.message and "system" in item.message for item in found)


def test_a_key_that_is_there_twice() -> None:
    _, found = look(archive(b'{"class_name": "Dense", "class_name": "Dense", "config": {}}'), "model.keras")
    assert rules(found) == {"json/duplicate-key"}


def test_names_that_are_escaped() -> None:
    text = json.dumps(sequential(KERAS[8][1])).replace("class_name", "\\u0063lass_name")
    assert tier(look(text.encode(), "anything")[1]) is Tier.MALICIOUS


def test_broken_configurations() -> None:
    for config in (b'{"class_name": "Dense", "config": ', b'{"class_name":"a","config":' + b"[" * 100_000):
        assert tier(look(archive(config), "model.keras")[1]) is Tier.UNREADABLE


@pytest.mark.parametrize("sample", ["trained.keras", "int8.keras", "trained.h5", "trained.weights.h5"])
def test_what_keras_wrote_is_clean(sample: str) -> None:
    name, found = look((SAMPLES / "keras" / sample).read_bytes(), sample)
    assert name is not None
    assert tier(found) is Tier.NONE, found


def test_hdf5_that_reads_other_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["layers/dense"] = h5py.ExternalLink("/etc/other.h5", "/x")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
        file.create_virtual_dataset("layers/x", layout)
    for name in ("external.h5", "link.h5", "virtual.h5"):
        _, found = look((tmp_path / name).read_bytes(), name)
        assert tier(found) is Tier.MALICIOUS, name
        assert rules(found) == {"hdf5/external-data"}


def test_broken_hdf5(tmp_path: Path) -> None:
    data = (SAMPLES / "keras" / "trained.h5").read_bytes()
    assert tier(look(data[:700], "model.h5")[1]) is Tier.UNREADABLE


# --- TensorFlow, by its .proto files


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, data: bytes | str) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def node(op: str, name: str = "n", inputs: Sequence[str] = (), **attributes: str) -> bytes:
    body = message(1, name) + message(2, op) + b"".join(message(3, text) for text in inputs)
    for key, value in attributes.items():
        body += message(5, message(1, key) + message(2, message(2, value)))
    return body


def constant(name: str, value: str) -> bytes:
    tensor = b"\x08\x07" + message(8, value)
    return message(1, name) + message(2, "Const") + message(5, message(1, "value") + message(2, message(8, tensor)))


def graph(*nodes: bytes, functions: Sequence[bytes] = ()) -> bytes:
    library = b"".join(message(1, message(1, message(1, "f")) + message(3, body)) for body in functions)
    return b"".join(message(1, body) for body in nodes) + (message(2, library) if library else b"")


def saved_model(inner: bytes) -> bytes:
    return b"\x08\x01" + message(2, message(1, message(4, "serve")) + message(2, inner))


OPERATIONS: list[tuple[bytes, Tier]] = [
    (graph(node("WriteFile")), Tier.MALICIOUS),
    (graph(node("MatMul"), functions=[node("WriteFile")]), Tier.MALICIOUS),
    (graph(node("ReadFile")), Tier.UNKNOWN),
    (graph(constant("c", "/etc/passwd"), node("ReadFile", inputs=["c"])), Tier.MALICIOUS),
    (
        graph(
            constant("c", "/etc"),
            constant("d", "x"),
            node("StringJoin", "j", ["c:0", "d"]),
            node("ReadFile", inputs=["j"]),
        ),
        Tier.MALICIOUS,
    ),
    (graph(constant("c", "../../x"), node("MatchingFiles", inputs=["c"])), Tier.MALICIOUS),
    (graph(constant("c", "/tmp/x"), node("SaveV2", inputs=["c"])), Tier.MALICIOUS),
    (graph(node("Placeholder", "p"), node("SaveV2", inputs=["p"])), Tier.NONE),
    (graph(constant("c", "assets/words.txt"), node("InitializeTableFromTextFileV2", inputs=["t", "c"])), Tier.NONE),
    (
        graph(constant("c", "/home/me/words.txt"), node("InitializeTableFromTextFileV2", inputs=["t", "c"])),
        Tier.UNKNOWN,
    ),
    (graph(node("PyFunc")), Tier.CODE),
    (graph(node("MatMul"), functions=[node("MatMul"), node("EagerPyFunc")]), Tier.CODE),
    (graph(node("PrintV2", output_stream="stderr")), Tier.NONE),
    (graph(node("PrintV2", output_stream="file:///tmp/x")), Tier.MALICIOUS),
    (graph(node("DebugIdentityV2", debug_urls="grpc://x:1")), Tier.MALICIOUS),
    (graph(node("DataServiceDatasetV2")), Tier.UNKNOWN),
    (graph(node("Addons>Mine")), Tier.UNKNOWN),
    (graph(node("TRTEngineOp")), Tier.UNKNOWN),
    (graph(node("MatMul"), node("Relu", "r", ["n"])), Tier.NONE),
]


@pytest.mark.parametrize(("inner", "wanted"), OPERATIONS)
def test_operations(inner: bytes, wanted: Tier) -> None:
    for data, path in (
        (saved_model(inner), "saved_model.pb"),
        (saved_model(inner), "renamed.bin"),
        (inner, "frozen.pb"),
        (inner, "frozen.bin"),
        (message(1, message(4, "serve")) + message(2, inner), "model.meta"),
    ):
        name, found = look(data, path)
        assert name == "tensorflow", path
        assert tier(found) is wanted, (path, found)


def test_the_file_that_is_read_is_named() -> None:
    _, found = look(saved_model(OPERATIONS[3][0]), "saved_model.pb")
    assert found[0].call == "tf.raw_ops.ReadFile('/etc/passwd')"


def test_a_tangled_graph_is_not_followed_for_ever() -> None:
    names = [f"n{i}" for i in range(3000)]
    nodes = [node("ReadFile", name, [names[(i * 7 + j) % 3000] for j in range(8)]) for i, name in enumerate(names)]
    _, found = look(graph(*nodes), "frozen.pb")
    assert tier(found) is Tier.UNKNOWN
    assert any("too tangled" in item.message for item in found)


def test_text_graphs() -> None:
    for text in ('node { op: "WriteFile" }', "node { op: 'Write' \"File\" }", 'node { op: "\\x57riteFile" }'):
        assert tier(look(text.encode(), "saved_model.pbtxt")[1]) is Tier.MALICIOUS
    assert look(b'node { op: "MatMul" }', "saved_model.pbtxt")[1] == []


def test_keras_inside_a_saved_model() -> None:
    metadata = json.dumps(sequential(KERAS[1][1])).encode()
    assert tier(look(message(1, message(5, metadata)), "keras_metadata.pb")[1]) is Tier.MALICIOUS
    objects = message(7, message(1, message(4, message(1, "_tf_keras_model") + message(3, metadata))))
    data = b"\x08\x01" + message(2, message(1, b"") + message(2, graph(node("MatMul"))) + objects)
    assert tier(look(data, "saved_model.pb")[1]) is Tier.MALICIOUS


def test_what_tensorflow_wrote_is_clean() -> None:
    name, found = look((SAMPLES / "saved_model/saved_model.pb").read_bytes(), "saved_model.pb")
    assert name == "tensorflow"
    assert found == []


# --- ONNX


def model(nodes: Sequence[onnx.NodeProto], tensors: Sequence[TensorProto] = (), **more: Any) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    return helper.make_model(helper.make_graph(list(nodes), "g", [value], [value], list(tensors)), **more)


def external(*pairs: tuple[str, str]) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in pairs:
        tensor.external_data.add(key=key, value=value)
    return tensor


PLAIN = helper.make_node("Relu", ["x"], ["y"])
WEIGHT = numpy_helper.from_array(np.ones(2, np.float32), "w")


def subgraph(inner: onnx.NodeProto, tensors: Sequence[TensorProto] = ()) -> onnx.NodeProto:
    body = helper.make_graph([inner], "b", [], [], list(tensors))
    return helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body)


ONNX: list[tuple[str, onnx.ModelProto, Tier, str | None]] = [
    ("honest", model([PLAIN], [WEIGHT]), Tier.NONE, None),
    ("beside", model([PLAIN], [external(("location", "w.bin"), ("offset", "0"), ("length", "8"))]), Tier.NONE, None),
    ("missing", model([PLAIN], [external(("location", "no.bin"))]), Tier.NONE, "onnx/external-missing"),
    ("too long", model([PLAIN], [external(("location", "w.bin"), ("length", "9000"))]), Tier.UNREADABLE, "onnx/size"),
    ("no number", model([PLAIN], [external(("location", "w.bin"), ("offset", "-1"))]), Tier.UNREADABLE, "onnx/size"),
    ("absolute", model([PLAIN], [external(("location", "/etc/passwd"))]), Tier.MALICIOUS, "onnx/external-data"),
    (
        "cve-2022-25882",
        model([PLAIN], [external(("location", "../../etc/passwd"))]),
        Tier.MALICIOUS,
        "onnx/external-data",
    ),
    ("cve-2024-27318", model([PLAIN], [external(("location", "x//..//../etc"))]), Tier.MALICIOUS, "onnx/external-data"),
    ("windows", model([PLAIN], [external(("location", "a\\..\\..\\b"))]), Tier.MALICIOUS, "onnx/external-data"),
    ("drive", model([PLAIN], [external(("location", "C:\\x"))]), Tier.MALICIOUS, "onnx/external-data"),
    ("url", model([PLAIN], [external(("location", "https://example.com/w"))]), Tier.MALICIOUS, "onnx/external-data"),
    (
        "twice",
        model([PLAIN], [external(("location", "w.bin"), ("location", "/etc/passwd"))]),
        Tier.MALICIOUS,
        "onnx/external-twice",
    ),
    (
        "odd key",
        model([PLAIN], [external(("location", "w.bin"), ("save_path", "x"))]),
        Tier.UNKNOWN,
        "onnx/external-key",
    ),
    (
        "in a subgraph",
        model([subgraph(PLAIN, [external(("location", "/etc/passwd"))])]),
        Tier.MALICIOUS,
        "onnx/external-data",
    ),
    (
        "in an attribute",
        model([helper.make_node("Constant", [], ["k"], value=external(("location", "../x")))]),
        Tier.MALICIOUS,
        "onnx/external-data",
    ),
    ("custom", model([helper.make_node("Mine", ["x"], ["y"], domain="my.ops")]), Tier.UNKNOWN, "onnx/custom-operator"),
    (
        "custom in a subgraph",
        model([subgraph(subgraph(helper.make_node("Mine", [], ["y"], domain="my.ops")))]),
        Tier.UNKNOWN,
        "onnx/custom-operator",
    ),
    (
        "python",
        model([helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib")]),
        Tier.CODE,
        "onnx/python-operator",
    ),
    (
        "own function",
        model(
            [helper.make_node("Mine", ["x"], ["y"], domain="my")],
            functions=[helper.make_function("my", "Mine", ["x"], ["y"], [PLAIN], [helper.make_opsetid("", 18)])],
        ),
        Tier.NONE,
        None,
    ),
    (
        "function that calls",
        model(
            [helper.make_node("Mine", ["x"], ["y"], domain="my")],
            functions=[
                helper.make_function(
                    "my", "Mine", ["x"], ["y"], [helper.make_node("X", ["x"], ["y"], domain="other")], []
                )
            ],
        ),
        Tier.UNKNOWN,
        "onnx/custom-operator",
    ),
    (
        "engine",
        model([helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", embed_mode=1)]),
        Tier.UNKNOWN,
        "onnx/compiled",
    ),
    (
        "engine elsewhere",
        model([helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="../x.bin")]),
        Tier.MALICIOUS,
        "onnx/external-data",
    ),
    (
        "size",
        model([PLAIN], [TensorProto(name="w", data_type=1, dims=[1 << 40], raw_data=b"1234")]),
        Tier.UNREADABLE,
        "onnx/size",
    ),
    (
        "overflow",
        model([PLAIN], [TensorProto(name="w", data_type=1, dims=[1 << 33, 1 << 33], raw_data=b"1234")]),
        Tier.UNREADABLE,
        "onnx/size",
    ),
    ("negative", model([PLAIN], [TensorProto(name="w", data_type=1, dims=[-1])]), Tier.UNREADABLE, "onnx/size"),
]


@pytest.mark.parametrize(("proto", "wanted", "rule"), [case[1:] for case in ONNX], ids=[case[0] for case in ONNX])
def test_onnx(proto: onnx.ModelProto, wanted: Tier, rule: str | None) -> None:
    siblings = {"sub/m.onnx": 1, "sub/w.bin": 8}
    for path in ("sub/m.onnx", "sub/renamed"):
        name, found = look(proto.SerializeToString(), path, siblings)
        assert name == "onnx"
        assert tier(found) is wanted, found
        assert rules(found) >= {rule} if rule else not found


def test_a_pickle_in_a_field_that_onnx_does_not_have() -> None:
    hidden = b"\x80\x04\x95" + bytes(2000)
    _, found = look(model([PLAIN]).SerializeToString() + message(99, hidden), "m.onnx")
    assert "onnx/hidden-data" in rules(found)
    assert any(item.member == "(field 99)" for item in found)


def test_onnx_nested_too_deeply() -> None:
    inner = PLAIN
    for _ in range(80):
        inner = subgraph(inner) if len(inner.SerializeToString()) < 1 << 16 else inner
    body = message(1, b"")
    for _ in range(100):  # graph > node > attribute > graph
        body = message(1, message(5, message(6, body)))
    _, found = look(b"\x08\x0a" + message(7, body), "m.onnx")
    assert rules(found) == {"onnx/unreadable"}


# --- Broken bytes of all of them

SETTINGS = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
HONEST = [
    (saved_model(OPERATIONS[4][0]), "saved_model.pb"),
    (OPERATIONS[3][0], "frozen.pb"),
    (ONNX[11][1].SerializeToString(), "m.onnx"),
    (ONNX[16][1].SerializeToString(), "m.onnx"),
    (json.dumps(sequential(KERAS[8][1])).encode(), "config.json"),
    (json.dumps(sequential(KERAS[14][1])).encode(), "config.json"),
]


@SETTINGS
@given(st.data())
def test_no_change_of_bytes_is_a_failure(choice: st.DataObject) -> None:
    whole, path = choice.draw(st.sampled_from(HONEST))
    data = bytearray(whole)
    for _ in range(choice.draw(st.integers(1, 5))):
        at = choice.draw(st.integers(0, len(data) - 1))
        data[at : at + choice.draw(st.integers(0, 6))] = choice.draw(st.binary(max_size=6))
        if not data:
            return
    for finding in look(bytes(data), path)[1]:
        assert isinstance(finding, Finding)
        assert finding.rule != "scan/failed", finding.message
        assert finding.message.isprintable()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["Lambda", "os", "system", "keras.layers", "/etc/x", "x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "class_name",
                    "config",
                    "module",
                    "registered_name",
                    "function",
                    "vocabulary",
                    "layers",
                    "name",
                    "function_type",
                    "output_shape",
                    "code",
                    "value",
                    "auto_map",
                    "chat_template",
                    "_target_",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@SETTINGS
@given(JSON)
def test_any_configuration_is_judged(document: Any) -> None:
    for path in (
        "config.json",
        "tokenizer_config.json",
        "modules.json",
        "model_index.json",
        "tokenizer.json",
        "x.ipynb",
    ):
        _, found = look(json.dumps({"class_name": "x", "config": document}).encode(), path)
        assert "scan/failed" not in rules(found), [item.message for item in found]
        _, found = look(json.dumps(document).encode(), path)
        assert "scan/failed" not in rules(found), [item.message for item in found]
