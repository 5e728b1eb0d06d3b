"""Nothing that settings, flags and lists of addresses say becomes a directive of an edge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import gateway_edges as edges
from assay.errors import AssayError
from assay.guard.gateway.edge import EDGES, Place, export, words

PLACE = Place("unix:/run/assay/decide.sock")
UP = {"upstream": "http://10.1.2.3:8080"}
NASTY = (
    "a;b",
    "a}b",
    "a{b",
    "a\nb",
    "a\rb",
    "a b",
    'a"b',
    "a'b",
    "a$b",
    "${a}",
    "a\\b",
    "a#b",
    "a\x00b",
    "a%b",
    "é",
    "a`b",
    "../a",
    "fe80::1%1;a",
    "[fe80::1%1;a b]",
)


def _hostile(value: str) -> list[dict[str, Any]]:
    tls = {"certificate": "/etc/c.pem", "key": "/etc/k.pem", "client-ca": "/etc/ca.pem"}
    return [
        {"upstream": f"http://{value}:80"},
        {"upstream": f"http://host:80/{value}"},
        {"upstream": f"unix:/run/{value}"},
        {"listen": [f"{value}:80"]},
        {"listen": [f"unix:/run/{value}"]},
        {"host": [value]},
        {"callers": {"header": value}},
        {"routes": [{"protocol": "json", "path": f"/{value}"}]},
        {"routes": [{"protocol": "openai", "path": f"/{value}"}]},
        {"routes": [{"protocol": "sagemaker", "upstream": f"http://{value}"}]},
        {"tls": tls | {"certificate": f"/etc/{value}"}},
        {"tls": tls | {"key": f"/etc/{value}"}},
        {"tls": tls | {"client-ca": f"/etc/{value}"}},
        {"trusted-proxies": [value]},
        {"addresses": {"x": [value]}, "rules": [edges.blocking({"address-in": "x"})]},
        {"rules": [edges.blocking({"header": {"name": value}})]},
        {"rules": [{"id": "r", "priority": 1, "action": "block", "rate": {"limit": 1, "by": f"header:{value}"}}]},
    ]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("value", NASTY)
def test_no_value_becomes_a_directive(tmp_path: Path, edge: str, value: str) -> None:
    for hostile in _hostile(value):
        try:
            settings = edges.settings(tmp_path, **(UP | hostile))
        except AssayError:
            continue  # the file itself is refused
        if "/.." in str(hostile) and ("tls" in hostile or "unix:" in str(hostile.get("upstream"))):
            continue  # a path that is normalised before it is written
        with pytest.raises(AssayError) as refused:
            export(settings, edge, PLACE)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("value", NASTY)
def test_no_flag_becomes_a_directive(tmp_path: Path, value: str) -> None:
    settings = edges.settings(tmp_path, **UP)
    long = value + "x" * 20
    places = [
        Place(f"unix:/run/{value}"),
        Place("unix:/run/a", f"http://{value}"),
        Place("unix:/run/a", user=value),
        Place("127.0.0.1:9", secret=long),
    ]
    for place in places:
        for edge in EDGES:
            with pytest.raises(AssayError):
                export(settings, edge, place)


@given(st.text(max_size=30))
def test_whatever_a_path_is_the_configuration_has_the_same_directives(value: str) -> None:
    def shape(text: bytes) -> list[str]:
        return re.findall(r"^[ ]*[a-z_]+", re.sub(r'location ~ "[^"]*"', "location", text.decode()), re.MULTILINE)

    plain = edges.settings(Path("/"), **UP, routes=[{"protocol": "json", "path": "/x"}])
    try:
        settings = edges.settings(Path("/"), **UP, routes=[{"protocol": "json", "path": "/" + value}])
        made = export(settings, "nginx", PLACE).files["nginx.conf"]
    except AssayError:
        return
    assert shape(made) == shape(export(plain, "nginx", PLACE).files["nginx.conf"])


@given(st.sampled_from(["", "10.0.0.1", "fe80::1", "::/0", "[::1]", "a.b"]), st.text(max_size=20))
@example("a:", "\u00b2")
def test_an_address_is_nothing_but_one(begin: str, end: str) -> None:
    for read in (words.network, words.listens, words.upstream):
        for text in (begin + end, f"{begin}{end}:80", f"http://{begin}{end}:80"):
            try:
                made = read(text, "key")
            except AssayError:
                continue
            said = made.host if isinstance(made, words.Address) else str(made)
            assert re.fullmatch(r"[A-Za-z0-9._:/*\[\]-]*", said) and said.isascii(), text
