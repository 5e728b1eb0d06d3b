"""Packages: names, versions and package URLs, in our bills and in those of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.errors import DocumentError
from assay.policy.checks import CHECKS
from policy.checks.asking import SPDX2, SPDX3, ask, bill


def listing(*parts: dict[str, Any] | str) -> dict[str, Any]:
    """A CycloneDX bill of packages, ``name==version`` or whole components."""
    made = []
    for part in parts:
        if isinstance(part, str):
            name, _, version = part.partition("==")
            part = {"type": "library", "name": name, "purl": f"pkg:pypi/{name}"} | (
                {"version": version} if version else {}
            )
        made.append(part)
    main = {"type": "application", "name": "app"}
    return {"bomFormat": "CycloneDX", "metadata": {"component": main}, "components": made}


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ("numpy", "numpy==1.0"),
        ("NumPy", "numpy"),
        ("foo-bar", "Foo_Bar==1"),
        ("foo.bar", "foo-bar"),
        ("tensorflow*", "tensorflow-gpu==2.1"),
        ("numpy==1.26.4", "numpy==1.26.4"),
        ("numpy==1.26.*", "numpy==1.26.4"),
        ("numpy>=1.26,<3", "numpy==2.0.0rc1"),
        ("numpy<2", "numpy==1.9"),
        ("numpy ~= 1.4", "numpy==1.9"),
        ("openssl==1.1.1k-r0-odd", "openssl==1.1.1k-r0-odd"),
        ("pkg:pypi/num*", "numpy==1"),
    ],
)
def test_entries_that_fit(entry: str, part: str) -> None:
    assert ask("packages", {"require": [entry]}, listing(part)) == []
    assert ask("packages", {"allow": [entry]}, listing(part)) == []
    assert len(ask("packages", {"deny": [entry]}, listing(part))) == 1


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ("numpy", "numpy-stubs==1"),
        ("num", "numpy"),
        ("numpy<2", "numpy==10.0"),
        ("numpy==1.2", "numpy==1.20"),
        ("openssl==1.1.1k", "openssl==1.1.1k-r1"),
        ("pkg:npm/*", "numpy"),
        ("*[a]", "a"),
    ],
)
def test_entries_that_do_not_fit(entry: str, part: str) -> None:
    assert len(ask("packages", {"require": [entry]}, listing(part))) == 1
    assert len(ask("packages", {"allow": [entry]}, listing(part))) == 1
    assert ask("packages", {"deny": [entry]}, listing(part)) == []


@pytest.mark.parametrize("part", ["numpy", "numpy==1.2.3-4ubuntu1~x", "numpy==" + "1" * 300])
def test_a_version_that_cannot_be_compared_is_denied_and_never_required(part: str) -> None:
    (wrong,) = ask("packages", {"deny": ["numpy>=5"]}, listing(part))
    assert wrong.endswith("(its version can't be compared)")
    assert len(ask("packages", {"require": ["numpy>=1"]}, listing(part))) == 1
    assert len(ask("packages", {"allow": ["numpy>=1"]}, listing(part))) == 1


def test_a_package_is_known_by_its_purl_too() -> None:
    disguised = {"type": "library", "name": "harmless", "version": "1", "purl": "pkg:pypi/evil@1?x=y#z"}
    assert len(ask("packages", {"deny": ["evil"]}, listing(disguised))) == 1
    grouped = {"type": "library", "group": "org", "name": "evil", "version": "1"}
    assert len(ask("packages", {"deny": ["evil"]}, listing(grouped))) == 1
    assert len(ask("packages", {"deny": ["org/evil"]}, listing(grouped))) == 1


def test_a_nested_package_is_denied() -> None:
    outer = {"type": "library", "name": "a", "components": [{"type": "library", "name": "evil"}]}
    assert len(ask("packages", {"deny": ["evil"]}, listing(outer))) == 1
    main = {"type": "application", "name": "app", "components": [{"type": "library", "name": "evil"}]}
    predicate = {"bomFormat": "CycloneDX", "metadata": {"component": main}}
    assert len(ask("packages", {"deny": ["evil"]}, predicate)) == 1


def test_an_empty_list_shows_nothing() -> None:
    assert ask("packages", {"deny": ["evil"]}, listing()) == [
        "no package is listed, which does not show that there is none"
    ]
    assert ask("packages", {"deny": ["evil"], "empty": "allow"}, listing()) == []


@pytest.mark.parametrize(("format", "kind"), [("json", ""), ("spdx-json", SPDX3)])
def test_our_own_bills(tmp_path: Path, format: str, kind: str) -> None:
    predicate = bill(tmp_path, {"requirements.txt": b"numpy==1.26.4\nrequests>=2\n", "a.py": b"1\n"}, format)
    assert ask("packages", {"require": ["numpy>=1.20", "requests"]}, predicate, kind) == []
    assert ask("packages", {"deny": ["numpy<1.26"]}, predicate, kind) == []
    assert len(ask("packages", {"deny": ["numpy<1.27"]}, predicate, kind)) == 1
    assert len(ask("packages", {"allow": ["numpy"]}, predicate, kind)) == 1


def test_spdx_2_and_doubled_ids() -> None:
    reference = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:pypi/a@1"}
    parts = [
        {"SPDXID": "SPDXRef-app", "name": "app"},
        {"SPDXID": "SPDXRef-a", "name": "a", "versionInfo": "1", "externalRefs": [reference]},
    ]
    predicate: dict[str, Any] = {"packages": parts, "documentDescribes": ["SPDXRef-app"]}
    assert ask("packages", {"require": ["a==1", "pkg:pypi/a@*"]}, predicate, SPDX2) == []
    parts.append({"SPDXID": "SPDXRef-a", "name": "evil", "versionInfo": "1"})
    assert len(ask("packages", {"deny": ["evil"]}, predicate, SPDX2)) == 2


@pytest.mark.parametrize("entry", ["", "numpy=>1", "numpy>=", "numpy>=one", " ", "-x", "a b", "numpy==1;x"])
def test_refused_entries(entry: str) -> None:
    with pytest.raises(DocumentError, match="^p"):
        CHECKS["packages"].prepare({"deny": [entry]}, "p")


def test_something_must_be_demanded() -> None:
    with pytest.raises(DocumentError):
        CHECKS["packages"].prepare({}, "p")
