"""Files that real libraries wrote get the findings that they deserve, and the same files with a payload get caught."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zlib

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.formats.weights import SAMPLE
from assay.collect.scan.models.interface import Tier
from collect.scan.formats.carriers import ATTACK, HONEST, Member, Scanned, make_zip, scanned

torch = pytest.importorskip("torch")


class Payload:
    """Pickles as a call of ``posix.system('true')``."""

    def __reduce__(self):
        import os

        return os.system, ("true",)


def real(findings: Scanned) -> list[str]:
    """The rules of findings that say something against the file."""
    return sorted({f.rule for f in findings.findings if f.tier.rank > Tier.SAFE.rank})


def torch_file(value: object, **how: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def joblib_file(value: object, compress: object = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file, compress=compress)
    return file.getvalue()


STATE = {"layer.weight": torch.arange(12.0), "layer.bias": torch.zeros(3), "epoch": 3, "name": "x"}


class TestTorch:
    def test_an_honest_checkpoint(self):
        result = scanned(torch_file(STATE), "model.pt")
        assert (result.format, result.findings) == ("torch-zip", ())

    def test_an_honest_legacy_checkpoint(self):
        result = scanned(torch_file(STATE, _use_new_zipfile_serialization=False), "model.pt")
        assert (result.format, result.findings) == ("torch-legacy", ())

    @pytest.mark.parametrize("new", [True, False])
    def test_a_payload(self, new):
        result = scanned(torch_file({"a": Payload()}, _use_new_zipfile_serialization=new), "x")
        assert result.tier is Tier.MALICIOUS
        assert "system('true')" in result.calls()

    @pytest.mark.parametrize("number", range(5))
    def test_a_payload_in_any_pickle_of_a_legacy_file(self, number):
        honest = torch_file(STATE, _use_new_zipfile_serialization=False)
        file, ends = io.BytesIO(honest), [0]
        for _ in range(5):
            reader = pickle.Unpickler(file)
            reader.persistent_load = lambda _: torch.storage.TypedStorage(4, dtype=torch.float32)
            reader.load()
            ends.append(file.tell())
        changed = honest[: ends[number]] + ATTACK + honest[ends[number + 1] :]
        assert scanned(changed, "model.pt").tier is Tier.MALICIOUS

    def test_a_module(self):
        class_names = scanned(torch_file(torch.nn.Sequential(torch.nn.Linear(2, 2))), "model.pt")
        assert class_names.format == "torch-zip"
        assert class_names.tier is Tier.SAFE

    def test_torchscript_is_code(self):
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
        result = scanned(file.getvalue(), "model.pt")
        assert result.tier is Tier.CODE
        assert "torchscript/code" in result.rules
        assert not any(finding.tier is Tier.MALICIOUS for finding in result.findings)

    def test_torchscript_that_touches_files(self):
        class Reads(torch.nn.Module):
            def forward(self, x):
                return torch.from_file("/etc/hostname", False, 4)

        file = io.BytesIO()
        torch.jit.save(torch.jit.script(Reads()), file)
        result = scanned(file.getvalue(), "model.pt")
        assert result.tier is Tier.MALICIOUS
        assert "torch.from_file" in result.calls()

    def test_a_package_is_code(self):
        from torch.package import PackageExporter

        file = io.BytesIO()
        with PackageExporter(file) as exporter:
            exporter.save_source_string("own", "def f():\n    return 1\n")
            exporter.save_pickle("data", "x.pkl", {"a": 1})
        result = scanned(file.getvalue(), "package.pt")
        assert result.format is not None
        assert "torch-package" in result.format
        assert "torch/package" in result.rules
        assert result.tier.rank >= Tier.CODE.rank

    def test_an_ancient_archive(self):
        """CVE-2025-32434: the payload in each of its three members."""
        storages = pickle.dumps(1) + pickle.dumps(("0", "cpu", "x")) + struct.pack("<q", 3) + bytes(12)
        for victim in ("storages", "tensors", "pickle"):
            for lead in (b"", storages):
                members = {"sys_info": HONEST, "storages": lead + pickle.dumps([]), "tensors": HONEST, "pickle": HONEST}
                members[victim] = lead + ATTACK
                if lead and victim != "storages":
                    continue
                result = scanned(tar_file(members), "model.pt")
                assert result.format == "torch-tar+tar"
                assert {"torch/tar", "test/bad"} <= result.rules, (victim, lead)
        assert scanned(tar_file({"storages": HONEST, "pickle": HONEST}), "m.pt").tier is Tier.UNKNOWN

    def test_a_large_checkpoint_is_not_read(self):
        """A view of the file is handed on: what is read does not grow with the storages."""

        class Counting(io.BytesIO):
            got = 0

            def read(self, size=-1):
                data = super().read(size)
                self.got += len(data)
                return data

            def readinto(self, buffer):
                done = super().readinto(buffer)
                self.got += done
                return done

        from assay.collect.scan.models.formats.scanning import scan_stream
        from assay.collect.scan.models.interface import Limits
        from assay.collect.scan.models.pickle.engine import run_pickle
        from collect.scan.formats.carriers import FewRules

        data = torch_file({str(i): torch.ones(1 << 18) for i in range(32)})
        file = Counting(data)
        _, findings = scan_stream(file, len(data), "m.pt", FewRules(), Limits(), run_pickle)
        assert [finding.rule for finding in findings] == ["weights/sampled"]
        assert len(data) > 32 << 20
        assert file.got < (3 << 20) + SAMPLE


VALUE = {"coef": np.arange(2000.0).reshape(40, 50), "names": ["a", "b"], "one": np.float64(2.5)}


class TestJoblib:
    @pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
    def test_honest_and_not(self, compress):
        honest = scanned(joblib_file(VALUE, compress), "model.joblib")
        assert real(honest) == []
        assert honest.format == ("compressed" if compress else "joblib")
        evil = scanned(joblib_file({**VALUE, "z": Payload()}, compress), "model.joblib")
        assert evil.tier is Tier.MALICIOUS
        nested = scanned(joblib_file({"a": np.array([Payload()], dtype=object)}, compress), "model.joblib")
        assert nested.tier is Tier.MALICIOUS

    def test_a_model(self):
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 1])
        result = scanned(joblib_file(model, 3), "model.joblib")
        assert real(result) == []

    def test_files_of_before_0_10(self):
        body = zlib.compress(ATTACK)
        old = b"ZF" + hex(len(ATTACK)).encode().ljust(len(hex(2**64))) + body
        result = scanned(old, "model.joblib")
        assert result.format == "joblib-zfile"
        assert result.tier is Tier.MALICIOUS
        assert scanned(old[:-8] + b"!" * 8, "model.joblib").tier is Tier.UNREADABLE

    def test_a_broken_stream_is_said(self):
        result = scanned(b"\x04\x22\x4d\x18" + bytes(50), "model.joblib")
        assert result.tier is Tier.UNREADABLE


class TestNumpy:
    @staticmethod
    def npy(array: np.ndarray) -> bytes:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        return file.getvalue()

    @pytest.mark.parametrize(
        "array",
        [
            np.arange(6.0).reshape(2, 3),
            np.array(["a", "bcd"]),
            np.zeros(3, dtype=[("x", "<f8", (2,)), ("y", "S3")]),
            np.array(["2020-01-01"], dtype="datetime64[D]"),
            np.array(5),
            np.zeros((0, 4), dtype=bool),
            np.asfortranarray(np.ones((3, 2), dtype=">i2")),
        ],
    )
    def test_honest_arrays(self, array):
        result = scanned(self.npy(array), "x.npy")
        assert (result.format, result.findings) == ("npy", ())

    def test_arrays_of_objects_are_pickles(self):
        assert scanned(self.npy(np.array([{}, None])), "x.npy").tier is Tier.SAFE
        assert scanned(self.npy(np.array([Payload()])), "x.npy").tier is Tier.MALICIOUS

    @pytest.mark.parametrize("descr", ["'|O'", "'O'", "'<O8'", "[('a', '<i4'), ('b', '|O')]", "('|O', (2,))", "'i4,O'"])
    def test_objects_however_they_are_spelt(self, descr):
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}".encode()
        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + ATTACK
        assert scanned(data, "x.npy").tier is Tier.MALICIOUS

    @pytest.mark.parametrize(
        "header", [b"(" * 9000, b"-" * 9000 + b"1", b"{'descr': 5, 'fortran_order': False, 'shape': ()}", b"\xff", b""]
    )
    def test_broken_headers_are_unreadable_and_hide_nothing(self, header):
        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        assert scanned(data + bytes(64), "x.npy").tier is Tier.UNREADABLE
        assert scanned(data + ATTACK, "x.npy").tier is Tier.MALICIOUS

    def test_a_header_that_is_too_long_hides_nothing(self):
        header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(20_000)
        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + ATTACK
        assert scanned(data, "x.npy").tier is Tier.MALICIOUS

    def test_cut_off_and_appended(self):
        data = self.npy(np.arange(100))
        assert scanned(data[:-8], "x.npy").tier is Tier.UNREADABLE
        assert scanned(data + ATTACK, "x.npy").tier is Tier.MALICIOUS

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_archives(self, save):
        file = io.BytesIO()
        save(file, a=np.arange(5), b=np.ones((2, 2)))
        result = scanned(file.getvalue(), "x.npz")
        assert (result.format, result.findings) == ("npz", ())
        file = io.BytesIO()
        save(file, a=np.arange(5), b=np.array([Payload()]))
        result = scanned(file.getvalue(), "x.npz")
        assert result.tier is Tier.MALICIOUS
        assert any(finding.member == "b.npy" for finding in result.findings)


class TestPickles:
    @pytest.mark.parametrize("protocol", range(6))
    @pytest.mark.parametrize("name", ["model.pkl", "weights.bin", "README", "x.json"])
    def test_payloads_in_all_protocols_under_any_name(self, protocol, name):
        assert scanned(pickle.dumps([1, Payload()], protocol), name).tier is Tier.MALICIOUS

    @pytest.mark.parametrize("protocol", range(6))
    def test_data(self, protocol):
        value = {"a": [1, 2.5, "x" * 300, b"y" * 300, None, True, (1, 2), {3}, 1 << 70], "b": {"c": -1}}
        result = scanned(pickle.dumps(value, protocol), "data.pkl")
        assert real(result) == []

    def test_programs_behind_one_another(self):
        result = scanned(HONEST + HONEST + ATTACK, "x.pkl")
        assert result.tier is Tier.MALICIOUS

    def test_bytes_behind_a_program_are_told(self):
        result = scanned(HONEST + b"\xff" * 50, "x.pkl")
        assert "pickle/appended" in result.rules

    @pytest.mark.parametrize("data", [b"\xff" * 40, b"hello, this is text\n", b"(((", b"\x80\x04"])
    def test_what_is_no_pickle_under_a_pickle_s_name_is_unreadable(self, data):
        assert scanned(data, "model.pkl").tier.rank >= Tier.UNREADABLE.rank

    def test_an_empty_file_under_a_model_s_name_is_told(self):
        assert scanned(b"", "model.pkl").rules == {"format/empty"}
        assert scanned(b"", "notes.md").findings == ()

    def test_a_pickle_under_another_format_s_name_is_told(self):
        assert "format/disguised" in scanned(pickle.dumps([1]), "model.safetensors").rules

    @pytest.mark.parametrize(
        "text",
        ["copyright 2020\nAll rights\n", "cat\ndog\nfish\n", "config\nvalue\n", "(c) me\n", "import os\n", "c\nd\ne\n",
         "I am text\n", "S'\n", "class A:\n    pass\n", "N.\nB. something", "0\n1\n2\n3\n"],
    )  # fmt: skip
    def test_text_is_no_pickle(self, text):
        assert scanned(text.encode() * 3, "labels.txt").format is None

    def test_random_bytes_are_hardly_ever_pickles(self):
        noise = np.random.default_rng(5)
        hits = sum(scanned(noise.bytes(64), "x.dat").format is not None for _ in range(3000))
        assert hits <= 3

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 5), st.integers(0, 10_000), st.binary(min_size=1, max_size=3))
    def test_changed_programs_never_raise(self, protocol, where, patch):
        whole = pickle.dumps({"a": [1, 2.5, "text"], "b": Payload()}, protocol)
        where %= len(whole)
        scanned(whole[:where] + patch + whole[where + len(patch) :], "x.pkl")


def tar_file(members: dict[str, bytes], **how: object) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **how) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


class TestTar:
    @pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_members_of_all_formats(self, format):
        long = "/".join(["folder"] * 20) + "/data.pkl"
        assert scanned(tar_file({"a.txt": b"hello", long: HONEST}, format=format), "x.tar").findings == ()
        result = scanned(tar_file({"a.txt": b"hello", long: ATTACK}, format=format), "x.tar")
        assert [finding.member for finding in result.findings if finding.rule == "test/bad"] == [long]

    def test_links_and_names_that_lead_out(self):
        for kind, target in ((tarfile.SYMTYPE, "/etc/passwd"), (tarfile.SYMTYPE, "../../x"), (tarfile.LNKTYPE, "/x")):
            info = tarfile.TarInfo("a/link")
            info.type, info.linkname = kind, target
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w") as archive:
                archive.addfile(info)
            assert scanned(file.getvalue(), "x.tar").rules == {"tar/link"}
        assert "tar/path" in scanned(tar_file({"../x": b"y"}), "x.tar").rules
        inside = tarfile.TarInfo("a/b/link")
        inside.type, inside.linkname = tarfile.SYMTYPE, "../c"
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(inside)
        assert scanned(file.getvalue(), "x.tar").findings == ()

    def test_duplicates_appended_and_broken(self):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for data in (HONEST, ATTACK):
                info = tarfile.TarInfo("model.pkl")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        assert {"tar/duplicate", "test/bad"} <= scanned(file.getvalue(), "x.tar").rules
        honest = tar_file({"a": b"b"})
        assert {"tar/appended", "test/bad"} <= scanned(honest + ATTACK, "x.tar").rules
        assert "tar/broken" in scanned(honest[:700], "x.tar").rules
        assert "tar/broken" in scanned(b"\xff" + honest[1:], "x").rules
        second = honest[:1024] + b"\1" * 512 + tar_file({"model.pkl": ATTACK})
        assert scanned(second, "x.tar").tier.rank >= Tier.UNREADABLE.rank

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=6), st.booleans())
    def test_whatever_tarfile_still_reads_is_scanned(self, where, patch, pax):
        long = "f" * 120 + ".pkl"
        members = {"a.txt": b"hello" * 200, long: ATTACK}
        whole = tar_file(members, format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)
        where %= 4096
        broken = whole[:where] + patch + whole[where + len(patch) :]
        result = scanned(broken, "x.tar")
        try:
            with tarfile.open(fileobj=io.BytesIO(broken)) as archive:
                hit = any(
                    (inner := archive.extractfile(item)) is not None and inner.read() == ATTACK for item in archive
                )
        except Exception:  # whatever tarfile raises for a broken archive
            hit = False
        if hit:
            assert "test/bad" in result.rules


WAYS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "z": zlib.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}


class TestCompressed:
    @pytest.mark.parametrize("way", WAYS)
    def test_what_is_inside_is_scanned(self, way):
        pack = WAYS[way]
        assert real(scanned(pack(HONEST), f"model.pkl.{way}")) == []
        assert scanned(pack(ATTACK), "whatever").tier is Tier.MALICIOUS
        inside = pack(make_zip(Member(b"a/data.pkl", ATTACK)))
        assert scanned(tar_file({"x": pack(inside)}), "x.tar").tier is Tier.MALICIOUS

    @pytest.mark.parametrize("way", WAYS)
    def test_broken_and_appended(self, way):
        packed = WAYS[way](HONEST * 50)
        assert scanned(packed[:-9], "model.pkl.gz").tier.rank >= Tier.UNREADABLE.rank
        appended = scanned(packed + ATTACK, "x")
        assert "test/bad" in appended.rules
        assert appended.tier is Tier.MALICIOUS

    @pytest.mark.parametrize("way", ["gz", "bz2", "xz"])
    def test_several_streams_are_one_file(self, way):
        pack = WAYS[way]
        data = pack(ATTACK[:10]) + pack(ATTACK[10:])
        assert scanned(data, "x").tier is Tier.MALICIOUS

    @pytest.mark.parametrize("way", WAYS)
    def test_bombs(self, way):
        pack = WAYS[way]
        data = pack(pack(bytes(24 << 20)))
        result = scanned(data, "x", unpacked=8 << 20)
        assert result.tier is Tier.UNREADABLE

    @pytest.mark.parametrize("mark", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01\x00", b"\x28\xb5\x2f\xfd"])
    def test_what_cannot_be_opened_is_said(self, mark):
        result = scanned(mark + bytes(100), "model.pt")
        assert result.tier is Tier.UNREADABLE

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(WAYS)), st.integers(0, 1000), st.binary(min_size=1, max_size=3))
    def test_changed_streams_never_raise(self, way, where, patch):
        whole = WAYS[way](HONEST * 5)
        where %= len(whole)
        scanned(whole[:where] + patch + whole[where + len(patch) :], "x.pkl.gz")


def skops_file(schema: object) -> bytes:
    return make_zip(Member(b"schema.json", json.dumps(schema).encode()))


def node(loader: str, module: str = "builtins", name: str = "dict", **more: object) -> dict[str, object]:
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


class TestSkops:
    def test_honest(self):
        schema = node(
            "ObjectNode", "sklearn.linear_model._logistic", "LogisticRegression", protocol=0,
            content=node("DictNode", content={
                "C": node("JsonNode", name="str", content="1.0"),
                "dtype": node("TypeNode", "builtins", "type", content={"__module__": "numpy", "__class__": "float64"}),
            }),
        )  # fmt: skip
        result = scanned(skops_file(schema), "model.skops")
        assert (result.format, result.findings) == ("skops", ())

    @pytest.mark.parametrize(
        ("inner", "rule"),
        [
            (node("TypeNode", "builtins", "type", content={"__module__": "os", "__class__": "system"}), "test/bad"),
            (node("FunctionNode", "os", "function", content={"module_path": "os", "function": "system"}), "test/bad"),
            (node("FunctionNode", "os", "system"), "test/bad"),
            (node("ObjectNode", "somewhere", "Thing"), "test/unknown"),
            (node("OperatorFuncNode", "builtins", "int", attrs={}), "skops/operator"),
            (node("OperatorFuncNode", "operator", "methodcaller"), "test/bad"),
            (
                node("MethodNode", "sklearn.svm", "SVC", content={"func": "__reduce__", "obj": node("X")}),
                "skops/method",
            ),
            (node("MethodNode", "sklearn.svm", "SVC", content={"func": "a.b", "obj": {}}), "skops/method"),
            (
                node("MethodNode", "sklearn.svm", "SVC", content={"func": "fit", "obj": node("X", "os", "environ")}),
                "skops/method",
            ),
            (node("NewNode", "sklearn.svm", "SVC"), "skops/loader"),
            ({"__class__": 5}, "skops/node"),
        ],
    )
    def test_tricks(self, inner, rule):
        """CVE-2025-54412 and CVE-2025-54413 among them."""
        result = scanned(skops_file(node("DictNode", content={"a": [inner]})), "model.skops")
        assert rule in result.rules
        assert result.tier.rank >= Tier.UNKNOWN.rank

    def test_a_joblib_file_under_its_name(self):
        """CVE-2025-54886: the model card's loader falls back to joblib."""
        result = scanned(joblib_file({"a": np.zeros(3)}), "model.skops")
        assert "format/disguised" in result.rules

    @pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 100_000, b'{"__loader__": 1, "__class__": 2}'])
    def test_broken_schemas(self, data):
        result = scanned(make_zip(Member(b"schema.json", data), Member(b"x", b"y")), "model.skops")
        assert result.tier.rank >= Tier.UNKNOWN.rank or data == b""


class TestYaml:
    def test_nemo(self):
        config = b"target: nemo.collections.asr.models.EncDecCTCModelBPE\noptim:\n  _target_: torch.optim.AdamW\n"
        assert scanned(tar_file({"./model_config.yaml": config}), "m.nemo").findings == ()
        evil = config + b'x:\n  - {args: [id], "\\x5ftarget_": os.system}\n'
        result = scanned(gzip.compress(tar_file({"./model_config.yaml": evil})), "m.nemo")
        assert result.tier is Tier.MALICIOUS
        assert "os.system(…)" in result.calls()

    @pytest.mark.parametrize(
        ("text", "tier"),
        [
            (b"a: 1\nb: [x, y]\n", Tier.SAFE),
            (b"_target_: nemo.collections.asr.subprocess.Popen", Tier.UNKNOWN),
            (b"_target_: somebody.Thing", Tier.UNKNOWN),
            (b"_target_: ${a}.b", Tier.UNKNOWN),
            (b"x: &a os.system\n_target_: *a", Tier.UNKNOWN),
            (b"? _target_\n: os.system", Tier.MALICIOUS),
            (b"a: !!python/object/apply:os.system [id]", Tier.MALICIOUS),
            (b"a: !<tag:yaml.org,2002:python/name:os.system> ''", Tier.MALICIOUS),
            (b"a: !!python/tuple [1, 2]", Tier.SAFE),
            (b"[target: {", Tier.UNREADABLE),
            (b"{{ a template }} {", Tier.SAFE),
        ],
    )
    def test_documents(self, text, tier):
        assert scanned(text, "config.yaml").tier is tier

    def test_aliases_are_not_expanded(self):
        lines = [b"a0: &a0 [x, x]"] + [b"a%d: &a%d [*a%d, *a%d]" % (i, i, i - 1, i - 1) for i in range(1, 60)]
        assert scanned(b"\n".join(lines), "config.yaml").findings == ()


class TestOthers:
    def test_executorch_is_opaque(self):
        result = scanned(struct.pack("<I4s", 24, b"ET12") + bytes(100), "model.pte")
        assert (result.format, result.rules) == ("executorch", {"executorch/opaque"})

    def test_flax(self):
        body = b"\x93\x91\x02\xa7float32\xc4\x08" + bytes(8)
        array = b"\xc7" + bytes([len(body)]) + b"\x01" + body
        honest = b"\x81\xa6params\x81\xa1w" + array
        assert scanned(honest, "flax_model.msgpack").findings == ()
        assert scanned(honest[:-2], "flax_model.msgpack").tier is Tier.UNREADABLE
        assert "msgpack/extension" in scanned(b"\x81\xa1a\xc7\x01\x2a\x00", "f.msgpack").rules
        assert "msgpack/appended" in scanned(honest + b"\xff\xff", "f.msgpack").rules
        assert scanned(b"\x91" * 5000, "x.msgpack").tier is not Tier.MALICIOUS
        assert scanned(b"\x81\xa1a" + b"\x91" * 5000, "x.msgpack").tier is Tier.UNREADABLE
        assert scanned(b"\xdf\xff\xff\xff\xff", "x.msgpack").tier is Tier.UNREADABLE

    def test_much_of_one_finding_does_not_hide_another(self):
        members = [Member(b"../%d" % i, b"x") for i in range(300)] + [Member(b"z/data.pkl", ATTACK)]
        result = scanned(make_zip(*members))
        assert {"zip/path", "test/bad", "scan/more"} <= result.rules
        assert len(result.findings) < 100
