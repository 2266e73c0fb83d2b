"""The model that a training file is about, and its prior held to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from priorlang.model_config import GivenModel
from priorlang.training import load_plan
from priorlang.training.model import model_of


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    config = {"text_config": {"num_hidden_layers": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "a.prior").write_text("priorlang 1\ndefault base 1 weight 0.01\n")
    (tmp_path / "data.json").write_text("[]")
    file = tmp_path / "train.yaml"
    file.write_text(
        "model: {config: config.json}\nprior: a.prior\noutput_dir: run\n"
        "upcycle: {experts: 8, top_k: 2, layers: [1, 3]}\n"
        "data: {path: data.json}\nstages: [{name: moe, moe: true, shape: true}]\n"
    )
    return file


def test_upcycling_says_what_the_dense_config_does_not(training_file: Path) -> None:
    plan = load_plan(training_file)
    given = model_of(plan, plan.stages[0])
    assert given == GivenModel(str(training_file.parent / "config.json"), 4, 8, 2, (1, 3))


@pytest.mark.parametrize(
    ("layers", "routed"),
    [("all", None), ("every-other", (0, 2)), ("first-half", (0, 1)), ("[3, 1, 3]", (1, 3))],
)
def test_which_layers_route(training_file: Path, layers: str, routed: tuple[int, ...] | None) -> None:
    plan = load_plan(training_file, {"upcycle.layers": layers})
    given = model_of(plan, plan.stages[0])
    assert given is not None
    assert given.routed == routed


def test_a_config_that_is_not_at_hand_is_no_error(training_file: Path) -> None:
    plan = load_plan(training_file)
    (training_file.parent / "config.json").unlink()
    assert model_of(plan, plan.stages[0]) is None
