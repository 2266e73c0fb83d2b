"""The JSON Schema of training files: what the reader takes it takes, and what it refuses by shape alone too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from priorlang.schema.training import training_schema
from priorlang.training.plan import RUN_KEYS, StagePlan
from priorlang.training.yaml_tree import read_tree

ROOT = Path(__file__).parents[3]
VALIDATOR = Draft202012Validator(training_schema())
DIGITS = (ROOT / "examples/digits/train.yaml").read_text(encoding="utf-8")
CONTRACT = """
model_name_or_path: somewhere/model
prior: ../specs/modality.prior
output_dir: runs/digits
upcycle: {method: sparse, experts: 4, top_k: 2, shared_expert: true, noise: 0.01, layers: all}
regularizers: [{type: z_loss, coefficient: 0.001, layers: all}]
data:
  - {path: digits/vqa.json, images: digits/images, dataset: digits, task: vqa}
per_device_train_batch_size: 8
router_learning_rate: 1.0e-2
deepspeed: {zero_optimization: {stage: 2}}
stages:
  - {name: projector, train: [projector], learning_rate: 1.0e-3}
  - {name: warmup-moe, moe: true, shape: true}
  - {name: finetune, moe: true, shape: false, train: all, deepspeed: ds.json, regularizers: none, data: {path: x.json}}
"""


def problems(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(read_tree(text, "x.yaml").root)]


def test_it_is_a_schema_and_the_one_in_the_documentation() -> None:
    Draft202012Validator.check_schema(training_schema())
    written = json.loads((ROOT / "docs/schema/train.json").read_text(encoding="utf-8"))
    assert written == training_schema(), "run `priorlang schema train > docs/schema/train.json`"


@pytest.mark.parametrize("text", [DIGITS, CONTRACT], ids=["digits", "contract"])
def test_samples_are_valid(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("output_dir:", "output:"),
        ("model_name_or_path: somewhere/model\n", ""),
        ("method: sparse", "method: dense"),
        ("experts: 4", "experts: 1"),
        ("top_k: 2", "topk: 2"),
        ("type: z_loss", "type: y_loss"),
        ("router_learning_rate: 1.0e-2", "router_learning_rate: -1"),
        ("name: projector, ", ""),
        ("name: projector", "name: a b"),
        ("moe: true", "moe: perhaps"),
        ("moe: true", "output_dir: elsewhere"),
        ("path: digits/vqa.json, ", ""),
        ("task: vqa", "task: [vqa]"),
    ],
)
def test_mistakes_are_not(before: str, after: str) -> None:
    assert before in CONTRACT
    assert problems(CONTRACT.replace(before, after, 1))


def test_it_has_the_keys_of_the_plan() -> None:
    schema = training_schema()
    stage_keys = set(StagePlan.model_fields)
    assert set(schema["properties"]) == {*RUN_KEYS, "stages", *(stage_keys - {"name"})}
    assert set(schema["$defs"]["stage"]["properties"]) == stage_keys


def test_every_key_has_a_sentence() -> None:
    schema = training_schema()
    parts: list[dict[str, Any]] = [schema, *schema["$defs"].values()]
    for part in parts:
        for name, found in part["properties"].items():
            assert found.get("description") or "$ref" in found, name
