"""The JSON Schema of the YAML form: what priorlang reads it lets through, and keys it has none of it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from priorlang.editor.yaml_places import EFFECTS, TOP
from priorlang.schema.prior import prior_schema
from priorlang.syntax import SourceFile, parse
from priorlang.syntax.keywords import KEYWORDS
from priorlang.training.yaml_tree import read_tree
from tests.specification.cases import read_cases

ROOT = Path(__file__).parents[3]
VALIDATOR = Draft202012Validator(prior_schema())
WHOLE = (ROOT / "tests/files/language/z-everything.yaml").read_text(encoding="utf-8")
SAMPLES = {
    **{
        path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests/files/language").glob("*.yaml")
    },
    **{
        case.title: case.source
        for case in read_cases(ROOT / "docs/language.md")
        if case.file.endswith(".yaml") and not case.expected
    },
}


def valid(text: str) -> bool:
    return VALIDATOR.is_valid(read_tree(text, "x.yaml").root)


def test_it_is_a_schema_and_the_one_in_the_documentation() -> None:
    Draft202012Validator.check_schema(prior_schema())
    written = json.loads((ROOT / "docs/schema/prior.json").read_text(encoding="utf-8"))
    assert written == prior_schema(), "run `priorlang schema prior > docs/schema/prior.json`"


@pytest.mark.parametrize("text", SAMPLES.values(), ids=list(SAMPLES))
def test_samples_are_valid(text: str) -> None:
    problems = [error.message for error in VALIDATOR.iter_errors(read_tree(text, "x.yaml").root)]
    assert problems == []


def test_there_are_samples() -> None:
    assert len(SAMPLES) > 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("priorlang: 1", "priorlang: 2"),
        ("priorlang: 1\n", "\n"),
        ("model:", "modle:"),
        ("top_k:", "topk:"),
        ("weight: 0.05", "wieght: 0.05"),
        ("weight: 0.05", "weight: -1"),
        ("weight: 0.05", "weight: heavy"),
        ("{0..1: 0.25}", "0.25"),
        ("[3, 1, 0.5]", "[3, -1, 0.5]"),
        ("{finding: weak-preference", "{finding: conflict"),
        ("because: on purpose", "why: on purpose"),
        ("0%: 0.0", "early: 0.0"),
        ("peak:", "3eak:"),
    ],
)
def test_mistakes_are_not(before: str, after: str) -> None:
    assert before in WHOLE
    assert not valid(WHOLE.replace(before, after))


def test_keys_are_those_that_the_reader_knows() -> None:
    schema = prior_schema()
    assert set(schema["properties"]) == set(TOP)
    rule = schema["properties"]["rule"]["additionalProperties"]["properties"]
    assert set(rule) == {"overrides", "for", "layers", *EFFECTS}
    for key in rule:
        text = f"priorlang: 1\nrule: {{x: {{{key}: 1}}}}\n"
        assert "unknown-key" not in {finding.name for finding in parse(SourceFile("x.yaml", text))[1]}
    for key in (KEYWORDS | {"value"}) - set(rule):
        text = f"priorlang: 1\nrule: {{x: {{{key}: 1}}}}\n"
        assert "unknown-key" in {finding.name for finding in parse(SourceFile("x.yaml", text))[1]}, key


def test_every_key_has_a_sentence() -> None:
    def walk(node: object) -> None:
        if isinstance(node, dict):
            for name, schema in node.get("properties", {}).items():
                assert schema.get("description"), name
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for item in node:
                walk(item)

    walk(prior_schema())


@pytest.mark.parametrize("amount", ["1", "0.5", "1e-3", "$boost", "ramp 0 to 1 over layers 3..", "'0.5'"])
def test_amounts(amount: str) -> None:
    assert valid(f"priorlang: 1\nrule: {{x: {{prefer: {{all: {amount}}}}}}}\n")
