"""The VS Code extension: valid manifests, and colours that agree with the lexer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from priorlang.editor.words import words_of
from priorlang.syntax.keywords import KEYWORDS

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "editors/vscode"
GRAMMAR = json.loads((EXTENSION / "syntaxes/priorlang.tmLanguage.json").read_text(encoding="utf-8"))
PRIORS = [*sorted((ROOT / "tests/files/language").glob("*.prior")), *sorted((ROOT / "specs").glob("*.prior"))]


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))
    return found


def rules(pattern: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rules of a grammar in order, what they include taken in."""
    if "include" in pattern:
        yield from rules(GRAMMAR["repository"][pattern["include"].removeprefix("#")])
    elif "match" in pattern:
        yield pattern
    else:
        for inner in pattern["patterns"]:
            yield from rules(inner)


RULES = [(re.compile(rule["match"]), rule) for rule in rules(GRAMMAR)]


def scopes(line: str) -> dict[int, str]:
    """The scope at each place where something begins, as an editor works it out."""
    found: dict[int, str] = {}
    place = 0
    while place < len(line):
        matches = [(match, rule) for regex, rule in RULES if (match := regex.search(line, place)) is not None]
        if not matches:
            break
        match, rule = min(matches, key=lambda item: item[0].start())
        found[match.start()] = rule.get("name", "")
        for group, capture in rule.get("captures", {}).items():
            found[match.start(int(group))] = capture["name"]
        place = max(match.end(), place + 1)
    return found


def test_the_files_that_the_manifest_names_are_there() -> None:
    given = manifest()
    contributed = given["contributes"]
    named = [given["main"], contributed["languages"][0]["configuration"], contributed["grammars"][0]["path"]]
    assert [name for name in named if not (EXTENSION / name).is_file()] == []
    assert contributed["grammars"][0]["scopeName"] == GRAMMAR["scopeName"]
    assert contributed["languages"][0]["extensions"] == [".prior"]


def test_language_configuration() -> None:
    configuration = json.loads((EXTENSION / "language-configuration.json").read_text(encoding="utf-8"))
    word = re.compile(configuration["wordPattern"])
    for text in ("vision", "$boost", "HuggingFaceM4/VQAv2", "llava_v1.5_mix", "not-safe"):
        assert word.fullmatch(text)
    for pattern in configuration["indentationRules"].values():
        assert re.compile(pattern)
    assert re.search(configuration["indentationRules"]["increaseIndentPattern"], "rule a:")


def test_it_colours_the_keywords_and_no_other_word() -> None:
    listed = [
        word
        for rule in GRAMMAR["repository"]["keyword"]["patterns"]
        for word in re.search(r"\(\?:([a-z|]+)\)", rule["match"])[1].split("|")
    ]
    assert sorted(listed) == sorted(KEYWORDS)


@pytest.mark.parametrize("path", PRIORS, ids=[path.name for path in PRIORS])
def test_colours_agree_with_the_lexer(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    starts = {0: scopes(text.split("\n")[0])}
    for found in re.finditer("\n", text):
        line = text[found.end() :].split("\n", 1)[0]
        starts[found.end()] = scopes(line)
    for word in words_of(text):
        line_start = text.rfind("\n", 0, word.start) + 1
        scope = starts[line_start].get(word.start - line_start, "")
        if word.kind.lower() in KEYWORDS:
            assert scope.startswith("keyword."), (word, scope)
        elif word.kind in {"NAME", "PARAM_NAME"}:
            assert scope.partition(".")[0] in {"variable", "entity", "support"}, (word, scope)
        elif word.kind in {"NUMBER", "PERCENT"}:
            assert scope == "constant.numeric.prior", (word, scope)
        elif word.kind in {"STRING", "REFERENCE"}:
            assert scope.startswith("string" if word.kind == "STRING" else "variable"), (word, scope)
