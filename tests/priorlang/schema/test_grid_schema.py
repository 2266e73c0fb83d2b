"""The JSON Schema of grid files: what the reader takes it takes, and what it refuses by shape alone too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from priorlang.schema.grid import grid_schema
from priorlang.training.yaml_tree import read_tree

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples/digits/grids").glob("*.yaml"))
VALIDATOR = Draft202012Validator(grid_schema())


def problems(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(read_tree(text, "x.yaml").root)]


def test_it_is_a_schema_and_the_one_in_the_documentation() -> None:
    Draft202012Validator.check_schema(grid_schema())
    written = json.loads((ROOT / "docs/schema/grid.json").read_text(encoding="utf-8"))
    assert written == grid_schema(), "run `priorlang schema grid > docs/schema/grid.json`"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_are_valid(file: Path) -> None:
    assert problems(file.read_text(encoding="utf-8")) == []


MINIMAL = (
    "base: train.yaml\noutput_dir: out\nvary: {sparse: , dense: {set: {moe: false}}}\nmetrics: eval_loss\n"
)


def test_short_forms_are_valid() -> None:
    assert problems(MINIMAL) == []
    assert problems(MINIMAL.replace("vary: {", "vary: [{").replace("}}\n", "}}]\n")) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("base:", "bases:"),
        ("moe: false}", "moe: false}, sets: {}"),
        ("sparse: ", "a/b: "),
        ("output_dir: out", ""),
    ],
)
def test_what_the_reader_refuses_is_refused(before: str, after: str) -> None:
    assert problems(MINIMAL.replace(before, after))


def test_every_key_is_described() -> None:
    schema = grid_schema()
    parts = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    for part in parts:
        for key, found in part["properties"].items():
            assert "TrainingArguments" not in found["description"], key
