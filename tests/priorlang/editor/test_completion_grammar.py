"""Completion against the grammar and the compiler: at every word of real files, what is offered is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
from prior_programs import findings_of

from priorlang.editor.completion import complete
from priorlang.editor.places import Lines
from priorlang.editor.workspace import Workspace
from priorlang.syntax.keywords import KEYWORDS, STATEMENT_KEYWORDS
from priorlang.syntax.lexer import tokens_of
from priorlang.syntax.parser import END, Reading
from tests.priorlang.editor.cursor import FOLDER, HEAD, YAML_HEAD, opened

SPECS = Path(__file__).parents[3] / "specs"
EFFECTS = {"base", "prefer", "avoid", "weight", "unshaped", "split"}
NAMED = {"share", "weight", "layers", "experts"}
"""Keywords that are offered under their other hat: a measure, a setting."""


def offered(text: str) -> set[str]:
    workspace = Workspace()
    path = f"{FOLDER}/main.prior"
    workspace.put(path, text)
    found = complete(workspace, path, Lines(text).position(len(text)))
    return {item.label for item in found if item.label in KEYWORDS}


@pytest.mark.parametrize("name", ["modality", "task", "table-10/setting-IV"])
def test_at_every_word_the_keywords_that_the_grammar_accepts_are_offered(name: str) -> None:
    text = (SPECS / f"{name}.prior").read_text(encoding="utf-8")
    reading = Reading("start")
    effects: set[str] = set()
    for token in tokens_of(text):
        assert reading.feed(token.kind)
        word = token.text
        if word in STATEMENT_KEYWORDS:
            effects = {"prefer", "avoid"} if word == "default" else set()
        if word in EFFECTS - {"prefer", "avoid"}:
            effects |= {word, "unshaped"}
        elif word in EFFECTS:
            effects |= {"unshaped"}
        accepted = {kind.lower() for kind in reading.accepts() - {END}} & KEYWORDS
        found = offered(text[: token.offset + len(word)] + " ")
        assert found <= accepted, (token, found - accepted)
        assert accepted - found <= effects | NAMED, (token, accepted - found)


CLAUSE_OF = {
    "base": "base 1",
    "prefer": "prefer 0 by 1",
    "avoid": "avoid 7 by 0.1",
    "weight": "weight 1",
    "split": "split by task",
    "unshaped": "unshaped",
    "share": "share 0.5 to 0",
    "in": "in layers 3",
    "for": "for task ocr",
    "and": "and task ocr",
}


@pytest.mark.parametrize(
    "begun",
    [
        "rule x:",
        "rule x: for modality vision",
        "rule x: prefer 0 by 1",
        "rule x: base 1",
        "rule x: base 1 weight 0.1",
        "rule x: unshaped",
        "rule x: split by task",
        "default",
        "default base 1",
        "default base 1 weight 0.1",
        "default unshaped",
    ],
)
def test_a_clause_that_is_offered_is_no_mistake(begun: str) -> None:
    head = "".join(line for line in HEAD.splitlines(keepends=True) if not line.startswith("default"))
    clauses = offered(f"{head}{begun} ") - set(STATEMENT_KEYWORDS)
    assert clauses or "unshaped" in begun
    for clause in clauses:
        text = f"{head}{begun} {CLAUSE_OF[clause]}"
        found = {finding.name for finding in findings_of(text)}
        assert not found & {"misplaced-clause", "duplicate-clause"}, text
        assert "syntax-error" not in found or clause in {"for", "in", "and"}, text


def test_the_default_of_a_yaml_file() -> None:
    text = YAML_HEAD.replace("default: {base: 0.75, weight: 0.01}\n", "") + "default:\n  ¦"
    keys = [item.text for item in complete(*opened(text, "main.yaml"))]
    assert keys == ["base: ", "weight: ", "split: ", "unshaped: "]
