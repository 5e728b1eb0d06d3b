"""Licence expressions and texts: what is one is recognised, what only resembles one is not."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.bom.interface import Licence
from assay.collect.bom.licences import TEXTS, fingerprint, licence_of_text, parse_licence

APACHE = (Path(__file__).parents[3] / "LICENSE").read_text()

MIT = """MIT License

Copyright (c) 2024 Someone

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("mit", "MIT"),
        ("  MIT ", "MIT"),
        ("apache-2.0", "Apache-2.0"),
        ("APACHE-2.0", "Apache-2.0"),
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("(MIT AND bsd-3-clause) or gpl-2.0", "(MIT AND BSD-3-Clause) OR GPL-2.0-only"),
        ("gpl-3.0", "GPL-3.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("GPL-2.0-only with classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("LicenseRef-mine", "LicenseRef-mine"),
        ("LicenseRef-mine AND mit", "LicenseRef-mine AND MIT"),
    ],
)
def test_expressions(text: str, expression: str) -> None:
    assert parse_licence(text, "a#b") == Licence(expression, True, "a#b")


@pytest.mark.parametrize(
    "text",
    [
        "", "llama2", "llama3.1", "openrail", "bigscience-openrail-m", "other", "unknown", "cc", "gpl", "lgpl", "bsd",
        "MIT License", "Apache 2.0", "MIT and", "AND", "(MIT", "MIT+", "MIT/Apache-2.0", "see LICENSE", "proprietary",
        "public domain", "LicenseRef-", "(" * 200 + "MIT" + ")" * 199, "MIT; rm -rf",
    ],
)  # fmt: skip
def test_other_names_stay_as_written(text: str) -> None:
    assert parse_licence(text, "f") == Licence(text, False, "f")


def test_long_expressions_are_cut() -> None:
    licence = parse_licence("MIT AND " * 1000 + "MIT", "f")
    assert not licence.spdx
    assert len(licence.expression) == 501


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["MIT", "mit", "(", ")", "AND", "or", "WITH", "+", "LicenseRef-x", "gpl", "é", "\0", " "]))
)
def test_any_words_give_an_answer(words: list[str]) -> None:
    text = " ".join(words)
    licence = parse_licence(text, "f")
    assert licence.spdx or licence.expression == " ".join(text.split())
    if licence.spdx:
        assert parse_licence(licence.expression, "f") == licence


def test_texts_that_this_machine_has() -> None:
    assert licence_of_text(APACHE, "LICENSE") == Licence("Apache-2.0", True, "LICENSE")
    for name, expected in {"joblib": "BSD-3-Clause", "attrs": "MIT", "idna": "BSD-3-Clause", "pytest": "MIT"}.items():
        files = [file for file in distribution(name).files or () if "licenses/LICENSE" in str(file)]
        texts = [Path(str(file.locate())).read_text() for file in files]
        found = [licence_of_text(text, "x") for text in texts]
        assert Licence(expected, True, "x") in found, name


def test_copies_that_differ_only_in_form_are_the_same() -> None:
    expected = Licence("MIT", True, "f")
    assert licence_of_text(MIT, "f") == expected
    assert licence_of_text(MIT.replace("\n", "\r\n"), "f") == expected
    assert licence_of_text(" ".join(MIT.split("\n")[4:]), "f") == expected
    assert licence_of_text(MIT.replace('"', "“").replace("MIT License", "The MIT License (MIT)"), "f") == expected
    assert licence_of_text(MIT.replace("2024 Someone", "2019-2026 A, B <c@example.org>"), "f") == expected


@pytest.mark.parametrize(
    "text",
    [
        MIT.replace("sublicense, ", ""),
        MIT + "\nThe Software shall be used for Good, not Evil.\n",
        "Commons Clause: you may not sell the Software.\n\n" + MIT,
        APACHE + "\nNot for military use.\n",
        MIT + MIT,
        "",
        "MIT License",
    ],
)
def test_a_text_with_a_word_more_or_less_is_not_the_licence(text: str) -> None:
    assert licence_of_text(text, "f") is None


def test_an_identifier_alone_says_so_itself() -> None:
    assert licence_of_text("SPDX-License-Identifier: mit\n", "f") == Licence("MIT", True, "f")
    assert licence_of_text("SPDX-License-Identifier: nonsense\n", "f") is None


def test_every_known_text_has_an_spdx_id() -> None:
    assert all(parse_licence(name, "f") == Licence(name, True, "f") for name in set(TEXTS.values()))
    assert fingerprint(MIT) in TEXTS
