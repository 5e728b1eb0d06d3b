"""PMML, OpenVINO, the boosters' own formats, compiled models: honest files of real writers, attacks, broken bytes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.interface import Finding, Tier
from collect.scan.formats.looking import look, rules, tier

HEADER = '<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header copyright="x"/>'
DATA = '<DataDictionary><DataField name="a" optype="continuous" dataType="double"/></DataDictionary>'

PMML: list[tuple[str, Tier, str | None]] = [
    (f'<?xml version="1.0" encoding="UTF-8"?>\n{HEADER}{DATA}</PMML>', Tier.NONE, None),
    (f'{HEADER}<Apply function="+"/><Apply function="x-mine"/></PMML>', Tier.NONE, None),
    (f'{HEADER}<Apply function="com.example.Function"/></PMML>', Tier.UNKNOWN, "pmml/class"),
    (f'{HEADER}<Extension name="script" value="1"/></PMML>', Tier.CODE, "pmml/script"),
    (f"{HEADER}<script>1</script></PMML>", Tier.CODE, "pmml/script"),
    (f'{HEADER}<Extension name="x" value="Runtime.getRuntime().exec(1)"/></PMML>', Tier.MALICIOUS, "pmml/script"),
    (f'<!DOCTYPE PMML [<!ENTITY a SYSTEM "file:///etc/passwd">]>{HEADER}&a;</PMML>', Tier.MALICIOUS, "xml/entity"),
    (
        f'<!DOCTYPE PMML [<!ENTITY % a SYSTEM "http://127.0.0.1/x.dtd"> %a;]>{HEADER}</PMML>',
        Tier.MALICIOUS,
        "xml/entity",
    ),
    (
        "<!DOCTYPE PMML [<!ENTITY a 'aaaaaaaaaa'>"
        + "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10 if i else '&a;' * 10}'>" for i in range(12))
        + f"]>{HEADER}&a11;</PMML>",
        Tier.MALICIOUS,
        "xml/entity",
    ),
    (f'<!DOCTYPE PMML SYSTEM "http://127.0.0.1/x.dtd">{HEADER}</PMML>', Tier.MALICIOUS, "xml/doctype"),
    (
        f'<!DOCTYPE PMML PUBLIC "PMML 2.0" "http://www.dmg.org/v2-0/pmml_v2_0.dtd">{HEADER}</PMML>',
        Tier.UNKNOWN,
        "xml/doctype",
    ),
    (
        f'{HEADER}<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd"/></PMML>',
        Tier.MALICIOUS,
        "xml/entity",
    ),
    (f'<?xml-stylesheet href="http://127.0.0.1/x.xsl"?>{HEADER}</PMML>', Tier.UNKNOWN, "xml/instruction"),
    (f"{HEADER}{'<x>' * 3000}{'</x>' * 3000}</PMML>", Tier.UNREADABLE, "xml/depth"),
    (f"{HEADER}<unclosed>", Tier.UNREADABLE, "pmml/unreadable"),
]

NET = '<net name="x" version="11"><layers>{}</layers><edges/></net>'
OPENVINO: list[tuple[str, Tier, str | None]] = [
    (NET.format('<layer id="0" name="a" type="Parameter" version="opset1"/>'), Tier.NONE, None),
    (
        NET.format('<layer id="0" name="a" type="Const" version="opset1"><data offset="0" size="8"/></layer>'),
        Tier.NONE,
        None,
    ),
    (
        NET.format('<layer id="0" name="a" type="Const" version="opset1"><data offset="4" size="8"/></layer>'),
        Tier.UNREADABLE,
        "openvino/size",
    ),
    (
        NET.format('<layer id="0" name="a" type="Const" version="opset1"><data offset="-4" size="8"/></layer>'),
        Tier.UNREADABLE,
        "openvino/size",
    ),
    (NET.format('<layer id="0" name="a" type="Mine" version="extension"/>'), Tier.UNKNOWN, "openvino/extension"),
    (
        '<CustomLayer name="x" type="SimpleGPU"><Kernel entry="k"><Source filename="k.cl"/></Kernel></CustomLayer>',
        Tier.CODE,
        "openvino/native-code",
    ),
    ('<ie><plugins><plugin name="X" location="/tmp/x.so"/></plugins></ie>', Tier.CODE, "openvino/native-code"),
    ('<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + NET.format("&a;"), Tier.MALICIOUS, "xml/entity"),
]


@pytest.mark.parametrize(("text", "wanted", "rule"), PMML)
def test_pmml(text: str, wanted: Tier, rule: str | None) -> None:
    declaration = "" if text.startswith("<?xml version") else '<?xml version="1.0"?>'
    for data in ((declaration + text).encode(), (declaration + text).replace("UTF-8", "UTF-16").encode("utf-16")):
        for path in ("model.pmml", "model.xml"):
            name, found = look(data, path)
            assert name == "pmml"
            assert tier(found) is wanted, found
            assert rules(found) == ({rule} if rule else set())


def test_xml_that_does_not_come_to_its_point() -> None:
    for text in ("<!--" * 20_000, "<!DOCTYPE " + "[] " * 20_000, "<!-- " + "x" * 70_000 + " -->" + PMML[6][0]):
        _, found = look(text.encode(), "model.xml")
        assert tier(found).rank >= Tier.UNREADABLE.rank


@pytest.mark.parametrize(("text", "wanted", "rule"), OPENVINO)
def test_openvino(text: str, wanted: Tier, rule: str | None) -> None:
    name, found = look(b'<?xml version="1.0"?>' + text.encode(), "sub/model.xml", {"sub/model.bin": 8})
    assert name == "openvino"
    assert tier(found) is wanted, found
    assert rules(found) == ({rule} if rule else set())


@cache
def boosters() -> Mapping[str, bytes]:
    """One small model of each library in each of its formats."""
    import catboost
    import lightgbm
    import xgboost

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 4))
    labels = (rows[:, 0] > 0).astype(int)
    found = {}
    with TemporaryDirectory() as folder:
        forest = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(rows, labels), 3)
        for name in ("xgboost.json", "xgboost.ubj"):
            forest.save_model(f"{folder}/{name}")
        light = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(rows, labels), 3)
        light.save_model(f"{folder}/lightgbm.txt")
        cat = catboost.CatBoostClassifier(iterations=3, depth=2, verbose=0, allow_writing_files=False).fit(rows, labels)
        cat.save_model(f"{folder}/catboost.cbm")
        cat.save_model(f"{folder}/catboost.json", format="json")
        for path in sorted(Path(folder).iterdir()):
            found[path.name] = path.read_bytes()
    return found


NAMES = ("catboost.cbm", "catboost.json", "lightgbm.txt", "xgboost.json", "xgboost.ubj")


@pytest.mark.parametrize("name", NAMES)
def test_what_the_boosters_wrote_is_clean(name: str) -> None:
    format, found = look(boosters()[name], name)
    assert format == name.split(".")[0]
    assert found == []


@pytest.mark.parametrize("name", ["catboost.cbm", "xgboost.ubj", "lightgbm.txt"])
def test_a_program_behind_a_booster(name: str) -> None:
    data = boosters()[name] + b"\0" * (name == "lightgbm.txt") + b"\x7fELF\x02\x01\x01" + bytes(9) + bytes(range(256))
    _, found = look(data, name)
    assert any(item.rule.endswith("/appended") for item in found), found
    if name != "lightgbm.txt":
        assert tier(found) is Tier.MALICIOUS


@pytest.mark.parametrize("name", ["xgboost.json", "xgboost.ubj", "lightgbm.txt"])
def test_code_in_a_booster(name: str) -> None:
    data = (
        boosters()[name]
        .replace(b"binary:logistic", b"eval(os.system)")
        .replace(b"objective=binary", b"objective=eval(1)")
    )
    _, found = look(data, name)
    assert tier(found) is Tier.UNKNOWN
    assert any(item.rule.endswith(("/embedded-code", "/objective")) for item in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_booster_that_is_cut_off(name: str) -> None:
    data = boosters()[name]
    _, found = look(data[: len(data) // 4], name)
    assert tier(found) is Tier.UNREADABLE


def test_compiled_models_are_said_to_be_opaque() -> None:
    for data, path in ((b"ftrt" + bytes(100), "x"), (b"whatever", "model.engine"), (b"blnm" + bytes(9), "x.blob")):
        name, found = look(data, path)
        assert name == "compiled-model"
        assert tier(found) is Tier.UNKNOWN


def test_tensorflow_lite() -> None:
    assert look(b"\x1c\0\0\0TFL3" + bytes(100), "m.tflite")[1] == []
    assert tier(look(b"\x1c\0\0\0TFL3" + bytes(50) + b"FlexWriteFile\0", "m.tflite")[1]) is Tier.MALICIOUS
    assert tier(look(b"\x1c\0\0\0TFL3" + bytes(50) + b"FlexReadFile\0", "m.tflite")[1]) is Tier.UNKNOWN


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_change_of_bytes_is_a_failure(choice: st.DataObject) -> None:
    honest = [(data, name) for name, data in boosters().items()]
    honest += [(text.encode(), "m.pmml") for text, *_ in PMML[:11]] + [
        (text.encode(), "m.xml") for text, *_ in OPENVINO
    ]
    whole, path = choice.draw(st.sampled_from(honest))
    data = bytearray(whole)
    for _ in range(choice.draw(st.integers(1, 5))):
        at = choice.draw(st.integers(0, min(len(data) - 1, 2000)))
        data[at : at + choice.draw(st.integers(0, 6))] = choice.draw(st.binary(max_size=6))
    for finding in look(bytes(data), path)[1]:
        assert isinstance(finding, Finding)
        assert finding.rule != "scan/failed", finding.message
        assert finding.message.isprintable()
