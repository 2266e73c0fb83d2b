"""No text and no place in it makes the editor's functions fail."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from priorlang.editor.completion import complete
from priorlang.editor.diagnose import findings_of
from priorlang.editor.hover import hover
from priorlang.editor.names import definitions
from priorlang.editor.outline import outline
from priorlang.editor.places import Lines
from priorlang.editor.rename import RefusedError, rename
from tests.priorlang.editor.cursor import HEAD, YAML_HEAD, opened

PIECES = st.sampled_from(
    [
        "rule ",
        "x",
        ":",
        " for ",
        "task ",
        "ocr",
        "|",
        " prefer ",
        "$boost",
        '"',
        "{",
        "}",
        "[",
        "]",
        "\n",
        "  ",
        "- ",
        "#",
        "..",
        "\0",
        "é𝛼",
        ", ",
    ]
)
TAILS = st.lists(PIECES, max_size=14).map("".join)


@settings(max_examples=60, deadline=None)
@given(TAILS, TAILS, st.booleans())
def test_any_text(before: str, after: str, yaml: bool) -> None:
    head, name = (YAML_HEAD, "main.yaml") if yaml else (HEAD, "main.prior")
    workspace, path, place = opened(f"{head}{before}¦{after}", name)
    found = findings_of(workspace, path)
    assert found is not None
    assert "internal-error" not in {finding.name for finding in found[path]}
    lines = Lines(workspace.source(path).text)
    for item in complete(workspace, path, place):
        assert item.span.start <= place <= item.span.end
        assert lines.offset(item.span.end) <= len(lines.text)
    hover(workspace, path, place)
    definitions(workspace, path, place)
    outline(workspace.source(path))
    with contextlib.suppress(RefusedError):
        rename(workspace, path, place, "fresh")


@pytest.mark.parametrize(
    "text", ["@ " * 20_000, '"\n' * 20_000, "{" * 20_000, "rule x: for task " + "a | " * 5_000]
)
def test_long_texts(text: str) -> None:
    workspace, path, place = opened(f"{HEAD}{text}¦")
    complete(workspace, path, place)
    hover(workspace, path, place)
    outline(workspace.source(path))
