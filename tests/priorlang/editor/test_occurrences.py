"""Names: word by word they are what the tree says, and half a statement still has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.editor.occurrences import occurrences, of_tree
from priorlang.syntax import SourceFile, parse, read_source
from tests.priorlang.editor.cursor import HEAD, YAML_HEAD

ROOT = Path(__file__).parents[3]
PRIORS = [*sorted((ROOT / "tests/files/language").glob("*.prior")), *sorted((ROOT / "specs").glob("*.prior"))]


@pytest.mark.parametrize("path", PRIORS, ids=[path.name for path in PRIORS])
def test_words_and_tree_agree(path: Path) -> None:
    source = read_source(path)
    document, _ = parse(source)
    by_word = [
        (item.symbol, item.span, item.declares)
        for item in occurrences(source)
        if item.symbol.kind != "measure"
    ]
    by_tree = sorted(
        ((item.symbol, item.span, item.declares) for item in of_tree(document)), key=lambda item: item[1]
    )
    assert by_word == by_tree
    assert by_word


def test_both_forms_have_the_same_names() -> None:
    def symbols(name: str, text: str) -> set[tuple[object, bool]]:
        found = occurrences(SourceFile(name, text))
        return {(item.symbol, item.declares) for item in found if item.symbol.kind != "measure"}

    assert symbols("x.prior", HEAD) == symbols("x.yaml", YAML_HEAD)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attribute dataset { a, b", ["attribute dataset", "member a", "member b"]),
        (
            "rule x: for task ocr prefer visual 0.5 in",
            ["rule x", "attribute task", "member ocr", "experts visual"],
        ),
        ("rule x overrides", ["rule x"]),
        ("param model = 1 rule y:", ["parameter model", "rule y"]),
        ("rule @@ x: prefer ! visual", ["rule x", "experts visual"]),
        ("bogus rule x:", ["rule x"]),
        ('rule x: for task "ocr', ["rule x", "attribute task"]),
        ("model { layers = $n routed = late | 3 top_k = 1 }", ["layers", "n", "routed", "late", "top_k"]),
    ],
)
def test_half_a_statement(text: str, expected: list[str]) -> None:
    found = occurrences(SourceFile("x.prior", text))
    words = [f"{item.symbol.kind} {item.symbol.name}" for item in found]
    assert len(words) == len(expected), words
    assert all(word.endswith(wanted) for word, wanted in zip(words, expected, strict=True)), words


def test_yaml_with_half_a_line() -> None:
    names = {item.symbol.name for item in occurrences(SourceFile("x.yaml", YAML_HEAD + "    avoid: {vis\n"))}
    assert {"vision", "boost", "late", "with space"} <= names
