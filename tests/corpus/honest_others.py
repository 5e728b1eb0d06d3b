"""Honest files of all other formats: ONNX, GGUF, safetensors, Keras, SavedModel, repositories, notebooks, pictures."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus import graphs, keras
from corpus.repositories import notebook
from corpus.sample import Draft, honest
from corpus.weights import GOOD_TEMPLATE

DATA = Path(__file__).parents[1] / "data/models"
TEMPLATES = {
    "chatml": """{% for message in messages %}{% if loop.first and message['role'] != 'system' %}
{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{% endif %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    "system": """{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}
{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{{ bos_token }}{% for m in messages %}
{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
[INST] {{ m['content'] | trim }} [/INST]{% endfor %}""",
    "tools": """{%- macro describe(tool) -%}
{{ tool.function.name }}({% for k, v in tool.function.parameters.items() %}
{{ k }}: {{ v.type | default('any') }}{{ ', ' if not loop.last }}{% endfor %}){%- endmacro -%}
{%- set ns = namespace(found=false) -%}
{%- for t in tools or [] -%}{%- set ns.found = true -%}{{ describe(t) }}{%- endfor -%}
{%- if ns.found and strftime_now is defined -%}{{ strftime_now('%d %b %Y') }}{%- endif -%}
{{ messages | map(attribute='content') | join('\\n') }}{{ tools | tojson(indent=2) if tools }}""",
    "plain": GOOD_TEMPLATE,
}
"""As models of the field carry them."""


def drafts() -> Iterator[Draft]:
    """All of them."""
    for part in (shipped, onnx_models, gguf_models, safetensors_models, keras_models, repositories, pictures):
        yield from part()


def other(technique: str, files: dict[str, bytes], loader: str = "") -> Draft:
    """An honest artifact of several files."""
    return Draft(technique, files, label="honest", family="other", loader=loader, harm="none")


def shipped() -> Iterator[Draft]:
    """The samples under ``tests/data/models``, which the real libraries wrote."""
    for path in sorted(DATA.rglob("*")):
        if path.suffix in (".keras", ".h5"):
            yield other(f"shipped-{path.stem}", {path.name: path.read_bytes()}, "h5py" if path.suffix == ".h5" else "")
    names = ("saved_model.pb", "variables/variables.index")
    yield other("shipped-saved-model", {name: (DATA / "saved_model" / name).read_bytes() for name in names})


def onnx_models() -> Iterator[Draft]:
    """Small networks, with a subgraph, a function, quantised weights, data in a file beside."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def made(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], **more: object) -> bytes:
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
        graph = helper.make_graph(nodes, "net", [x], [y], weights)
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("local", 1)]
        return bytes(helper.make_model(graph, opset_imports=opsets, **more).SerializeToString())

    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    matmul = helper.make_node("MatMul", ["x", "w"], ["h"])
    relu = helper.make_node("Relu", ["h"], ["y"])
    yield other("onnx-dense", {"model.onnx": made([matmul, relu], [weight])}, "onnx")
    inner = helper.make_graph(
        [helper.make_node("Identity", ["h"], ["z"])], "then", [], [helper.make_tensor_value_info("z", 1, [1, 4])]
    )
    condition = numpy_helper.from_array(np.array(True), "c")
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    yield other("onnx-subgraph", {"model.onnx": made([matmul, branch], [weight, condition])}, "onnx")
    function = helper.make_function(
        "local", "Act", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    call = helper.make_node("Act", ["h"], ["y"], domain="local")
    yield other("onnx-function", {"model.onnx": made([matmul, call], [weight], functions=[function])}, "onnx")
    scaler = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    yield other("onnx-ml", {"model.onnx": made([scaler], [])}, "onnx")
    beside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "model.onnx.data"), ("offset", "0"), ("length", "64")):
        beside.external_data.add(key=key, value=value)
    yield other(
        "onnx-external-beside",
        {"model.onnx": made([matmul, relu], [beside]), "model.onnx.data": np.ones(16, np.float32).tobytes()},
        "onnx",
    )


def gguf_models() -> Iterator[Draft]:
    """Models with chat templates as the field writes them, and quantised tensors."""
    import gguf
    import numpy as np

    for i, (kind, template) in enumerate(TEMPLATES.items()):
        with tempfile.TemporaryDirectory() as folder:
            writer = gguf.GGUFWriter(Path(folder) / "model.gguf", "llama")
            writer.add_context_length(128)
            writer.add_token_list(["<s>", "a", "b"])
            writer.add_chat_template(template)
            writer.add_tensor("token_embd.weight", np.ones((4, 32), np.float32 if i % 2 else np.float16))
            if i == 3:
                quantised = gguf.quants.quantize(
                    np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32), gguf.GGMLQuantizationType.Q8_0
                )
                writer.add_tensor("blk.0.attn_q.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            yield other(f"gguf-{kind}", {"model.gguf": (Path(folder) / "model.gguf").read_bytes()}, "gguf.plain")


def safetensors_models() -> Iterator[Draft]:
    """By the library's own writers, with and without metadata."""
    import numpy as np
    import torch
    from safetensors.numpy import save
    from safetensors.torch import save as save_torch

    random = np.random.default_rng(1)
    for kind, tensors in (
        ("dense", {"a.weight": random.normal(size=(4, 3)).astype("f4"), "a.bias": np.zeros(3, "f4")}),
        ("types", {dtype: np.ones(5, dtype) for dtype in ("f8", "f2", "i8", "i4", "u1", "bool")}),
        ("empty", {"none": np.zeros((0, 2), "f4")}),
        ("scalar", {"scale": np.array(1.5, "f4")}),
    ):
        yield other(f"safetensors-{kind}", {"model.safetensors": save(tensors, {"format": "np"})}, "safetensors")
    data = save_torch({"w": torch.ones(4, dtype=torch.bfloat16), "v": torch.zeros(3)}, {"format": "pt"})
    yield other("safetensors-torch", {"model.safetensors": data})
    shards = {f"model-0000{i}-of-00002.safetensors": save({f"w{i}": np.ones(4, "f4")}) for i in (1, 2)}
    index = {
        "metadata": {"total_size": 32},
        "weight_map": {f"w{i}": f"model-0000{i}-of-00002.safetensors" for i in (1, 2)},
    }
    yield other(
        "safetensors-shards", {**shards, "model.safetensors.index.json": json.dumps(index).encode()}, "safetensors"
    )


def keras_models() -> Iterator[Draft]:
    """Written by hand after what Keras writes, with layers of many kinds."""
    layer = keras.layer
    kinds: dict[str, dict[str, Any]] = {
        "dense": keras.sequential(),
        "convolution": keras.sequential(
            layer("Conv2D", {"filters": 4, "kernel_size": [3, 3], "name": "conv"}),
            layer("MaxPooling2D", {"pool_size": [2, 2], "name": "pool"}),
        ),
        "nested": keras.sequential(keras.sequential(layer("Dropout", {"rate": 0.1, "name": "drop"}))),
        "wrapped": keras.sequential(
            layer("TimeDistributed", {"name": "each", "layer": layer("Dense", keras.DENSE)}),
            layer("Bidirectional", {"name": "both", "layer": layer("LSTM", {"units": 3, "name": "lstm"})}),
        ),
        "vocabulary": keras.sequential(layer("StringLookup", {"vocabulary": ["a", "b"], "name": "lookup"})),
        "initialisers": keras.sequential(
            layer(
                "Dense",
                keras.DENSE
                | {
                    "kernel_initializer": layer("GlorotUniform", {"seed": None}, "keras.initializers"),
                    "kernel_regularizer": layer("L2", {"l2": 0.01}, "keras.regularizers"),
                },
            )
        ),
        "compiled": keras.sequential(
            compile_config={
                "optimizer": layer("Adam", {"learning_rate": 0.001}, "keras.optimizers"),
                "loss": "mse",
                "metrics": ["accuracy"],
                "jit_compile": False,
            }
        ),
    }
    for kind, config in kinds.items():
        yield other(f"keras-{kind}", {"model.keras": keras.archive(config)})
        if kind != "vocabulary":
            yield other(
                f"h5-{kind}",
                {
                    "model.h5": keras.hdf5(
                        config,
                        {"loss": "mse", "optimizer_config": {"class_name": "Adam", "config": {"learning_rate": 0.001}}},
                    )
                },
                "h5py",
            )
    node = graphs.node
    dense = (
        node("x", "Placeholder"),
        node("w", "VarHandleOp"),
        node("r", "ReadVariableOp", ("w",)),
        node("m", "MatMul", ("x", "r")),
        node("y", "Relu", ("m",)),
    )
    yield other(
        "saved-model-dense",
        {"saved_model.pb": graphs.saved(graphs.graph(*dense)), "variables/variables.data-00000-of-00001": bytes(64)},
    )
    call = node("call", "StatefulPartitionedCall", ("x",))
    yield other(
        "saved-model-function",
        {
            "saved_model.pb": graphs.saved(
                graphs.graph(dense[0], call, functions=(graphs.function("inner", *dense[1:]),))
            )
        },
    )
    yield other(
        "frozen-graph",
        {
            "frozen_inference_graph.pb": graphs.graph(
                dense[0], graphs.constant("label", "cat"), node("y", "Softmax", ("x",))
            )
        },
    )


def repositories() -> Iterator[Draft]:
    """The small files of a model's repository."""
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 8,
        "torch_dtype": "float32",
        "transformers_version": "4.40.0",
    }
    tokenizer = {
        "version": "1.0",
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}|\s+"}, "behavior": "Isolated"},
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
    }
    files = {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": json.dumps(tokenizer).encode(),
        "README.md": b"---\nlicense: mit\n---\n# A model\n\n```python\nimport os; os.system('nvidia-smi')\n```\n",
        "generation_config.json": b'{"temperature": 0.7, "max_new_tokens": 20}',
        "special_tokens_map.json": b'{"bos_token": "<s>"}',
        "vocab.txt": b"[PAD]\n[UNK]\nos\nsystem\n",
        ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n",
        "merges.txt": b"#version: 0.2\na b\n",
    }
    yield other("repository", files, "json")
    for kind, template in TEMPLATES.items():
        value = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template, "bos_token": "<s>"}
        yield other(f"tokenizer-{kind}", {"tokenizer_config.json": json.dumps(value).encode()}, "json")
    yield other("template-file", {"chat_template.jinja": TEMPLATES["tools"].encode()})
    cells = notebook("import numpy as np\nx = np.ones(3)", "print(x.sum())")
    yield replace(other("notebook", {"train.ipynb": cells}, "json"), label="code")
    table = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"text/html": ["<table><tr><td>1</td></tr></table>"], "text/plain": ["1"]},
    }
    cells = notebook("frame.head()", outputs=[table])
    yield replace(other("notebook-with-table", {"explore.ipynb": cells}, "json"), label="code")
    yield other("table", {"train.csv": b'text,label\n"import os",1\nplain,0\n'})
    pmml = (
        b'<?xml version="1.0"?>\n<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header copyright="x"/>'
        b'<DataDictionary numberOfFields="1"><DataField name="a" optype="continuous" dataType="double"/>'
        b"</DataDictionary></PMML>"
    )
    yield other("pmml", {"model.pmml": pmml})
    xml = (
        b'<?xml version="1.0"?>\n<net name="m" version="11"><layers><layer id="0" name="x" type="Parameter">'
        b'<data shape="1,4" element_type="f32"/></layer></layers><edges/></net>'
    )
    yield other("openvino", {"model.xml": xml, "model.bin": bytes(64)})


def pictures() -> Iterator[Draft]:
    """What stands beside models."""
    from PIL import Image

    image = Image.linear_gradient("L").resize((32, 32))
    for format_ in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        image.save(buffer, format_)
        yield honest(f"picture-{format_}", f"picture.{format_.lower()}", buffer.getvalue(), "pillow", "other")
