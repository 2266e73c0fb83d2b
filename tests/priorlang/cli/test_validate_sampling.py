"""`validate train.yaml` warns of samplers that leave populations of the prior empty, at their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from priorlang.cli.validate import command

PRIOR = """\
priorlang 1
model { layers = 2  experts = 4  top_k = 2 }
%s
default base 0.75 weight 0.01
%s
"""
TRAIN = """\
model: {config: config.json}
prior: a.prior
output_dir: runs/x
data: [{path: a.json}]
stages:
  - {name: warm, moe: true, shape: %s, training_arguments: {%s}}
"""
BY_MODALITY = ("attribute modality { vision, language }", "rule v: for modality vision prefer 0..1 by 0.5")


@pytest.mark.parametrize(
    ("declared", "shape", "arguments", "warned"),
    [
        (BY_MODALITY, "true", "group_by_length: true", True),
        (BY_MODALITY, "true", "train_sampling_strategy: group_by_length", True),
        (BY_MODALITY, "true", "group_by_length: false", False),
        (BY_MODALITY, "false", "group_by_length: true", False),
        (("", ""), "true", "group_by_length: true", False),
    ],
)
def test_samples_of_one_length(
    declared: tuple[str, str], shape: str, arguments: str, warned: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.prior").write_text(PRIOR % declared)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "train.yaml").write_text(TRAIN % (shape, arguments))
    shares = ("--shares", "modality.vision=0.5,modality.language=0.5") if declared[0] else ()
    result = CliRunner().invoke(command, [str(tmp_path / "train.yaml"), *shares, "--format", "json"])
    found = [f for f in json.loads(result.stdout)["findings"] if "batches of one length" in f["message"]]
    assert [(f["name"], f["severity"], f["span"]["start"]["line"]) for f in found] == (
        [("small-population", "warning", 6)] if warned else []
    )
