"""valint's templates: what published files use, and that a value stays text whatever it holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.policy.reading.valint.templates import Scope, render
from helpers import one_sentence

BY_STORE = '{{- if not (index .Stores "scribe") -}} {{- "A Scanner" -}} {{- else -}} {{- "<no value>" -}} {{- end -}}'
BY_ASSET = """\
{{- if eq (index .Context "asset-type") "organization" -}}
{{- asset_on_target (index .Context "asset-name") -}}
{{- else if eq (index .Context "asset-type") "project" "repository" -}}
other
{{- end -}}"""


def scope(**arguments: Any) -> Scope:
    return Scope(
        {"Team": "vision", **arguments},
        {"STAGE": "prod"},
        {"git_commit": "c0ffee", "asset-type": "organization", "asset-name": "acme"},
    )


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("plain", "plain"),
        ("{{ .Args.Team }}", "vision"),
        ("{{.Args.Team}}-{{ .Env.STAGE }}", "vision-prod"),
        ("a {{- .Args.Team -}} b", "avisionb"),
        ("a {{ .Args.Team }} b", "a vision b"),
        ("{{ .Context.git_commit }}", "c0ffee"),
        ('{{ index .Context "git_commit" }}', "c0ffee"),
        ("{{ asset .Args.Team }}", "asset=vision"),
        ("{{ on_target .Args.Team }}", "vision"),
        ("{{ asset_if_found .Args.Team }}", "asset=vision"),
        ("{{ .ScribeEnabled }}", "false"),
        ("{{ if .ScribeEnabled }}a{{ else }}b{{ end }}", "b"),
        ("{{ if and .Args.Team (not .ScribeEnabled) }}a{{ end }}", "a"),
        ("{{ if or .Args.None true }}a{{ end }}", "a"),
        ("{{ if ne .Args.Team `vision` }}a{{ else }}b{{ end }}", "b"),
        (BY_STORE, "A Scanner"),
        (BY_ASSET, "asset=acme"),
        ("}} {", "}} {"),
    ],
)
def test_rendered(text: str, made: str) -> None:
    assert render(text, scope(), "p.yml:1") == made


def test_a_tree() -> None:
    tree = {
        "tool": '{{ "<no value>" }}',
        "labels": ["{{ asset_if_found .Args.None }}", "team={{ .Args.Team }}"],
        "limit": 3,
        "nothing": None,
        "list": [None, True],
    }
    used = scope()
    assert render(tree, used, "p.yml:1") == {
        "labels": ["team=vision"],
        "limit": 3,
        "nothing": None,
        "list": [None, True],
    }
    assert used.used == {"None", "Team"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ .Args.Token }}", "needs the argument 'Token'"),
        ("{{ asset_on_target nil }}", "needs a value"),
        ("{{ .Env.HOME }}", "env: does not name"),
        ("{{ .Env.PATH }}", "env: does not name"),
        ("{{ .Context.secret }}", "needs 'secret' of the context"),
        ('{{ index .Context "no" }}', "not known here"),
        ("{{ .Secrets.x }}", "not known"),
        ("{{ .Args }}", "not known"),
        ("{{ .Context }}", "no text"),
        ("{{ printf `%s` .Args.Team }}", "'printf', which is not known"),
        ("{{ .Args.Team | print }}", "not understood"),
        ("{{ template `x` }}", "'template', which is not known"),
        ("{{ range .Args }}x{{ end }}", "'range', which is not known"),
        ("{{ $x := 1 }}", "not understood"),
        ("{{ not }}", "not understood"),
        ("{{ (not true }}", "not understood"),
        ("{{ }}", "not understood"),
        ("{{ end }}", "not understood"),
        ("{{ if true }}x", "'if' without 'end'"),
        ("{{ if true }}{{ else }}{{ else }}{{ end }}", "not understood"),
        ("{{ .Args.Team", "never closed"),
        ("{{" * 100_000, "never closed"),
        (" " * 300_000 + "{{", "never closed"),
        ("{{ if true }}" * 3000, "nested deeper"),
        ("{{ " + "(" * 3000 + " }}", "not understood"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(DocumentError) as caught:
        render(text, scope(), "p.yml:1")
    assert problem in one_sentence(caught.value)


@pytest.mark.parametrize("hostile", ["{{ .Env.STAGE }}", "a\nsigned: false", "- x", '"}}', "{{ end }}", "*x"])
def test_a_value_is_never_read_again(hostile: str) -> None:
    assert render({"a": "<{{ .Args.X }}>"}, scope(X=hostile), "p.yml:1") == {"a": f"<{hostile}>"}


def test_a_value_cannot_make_a_filter_disappear() -> None:
    """Only the file's author may leave a field out; whoever gives the arguments may not."""
    with pytest.raises(DocumentError):
        render({"git_url": "{{ .Args.X }}"}, scope(X="<no value>"), "p.yml:1")


@given(
    st.lists(
        st.sampled_from(
            ["{{", "}}", " ", "-", "if", "else", "end", "not", "(", ")", ".Args.Team", '"', "`", "x", "nil"]
        ),
        max_size=16,
    ).map("".join)
)
@settings(max_examples=400, deadline=None)
def test_any_text_is_rendered_or_refused(text: str) -> None:
    try:
        made = render(text, scope(), "p.yml:1")
    except DocumentError as error:
        one_sentence(error)
    else:
        assert "{{" in text or made == text
