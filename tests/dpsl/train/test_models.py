"""What a stage's weights are read as."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

import dpsl
from dpsl.train.models import starting_model
from dpsl.train.processes import prepare_process
from priorlang.training.model_plan import ModelPlan
from priorlang.training.plan import StagePlan, TrainingPlan

CONFIG = Qwen2Config(
    vocab_size=31, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, architectures=["Qwen2ForCausalLM"],
)  # fmt: skip
THIRD = torch.full((4,), 1 / 3)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upcycled model whose routers have a bias, which is kept in float32."""
    torch.manual_seed(0)
    model: Any = Qwen2ForCausalLM(copy.deepcopy(CONFIG))
    dpsl.upcycle(model, experts=4, top_k=2)
    for layer in model.model.layers:
        layer.mlp.router.add_selection_bias()
        layer.mlp.router.selection_bias.value.copy_(THIRD)
    model.config.selection_bias = [0, 1]
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder


def plan_of(stage: StagePlan, **model: Any) -> TrainingPlan:
    return TrainingPlan.model_construct(stages=(stage,), **model)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float32), (None, torch.float32)]
)
def test_weights_are_bf16_where_the_stage_computes_in_it(
    saved: Path, precision: str | None, dtype: torch.dtype, tmp_path: Path
) -> None:
    CONFIG.save_pretrained(tmp_path)
    stage = StagePlan(name="one", **({precision: True} if precision else {}))
    begun = plan_of(stage, model=ModelPlan(config=str(tmp_path), seed=1))
    for model in (starting_model(begun, stage, saved), starting_model(begun, stage, None)):
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
        assert {buffer.dtype for buffer in model.buffers()} == {torch.float32}


def test_a_bias_keeps_its_digits(saved: Path) -> None:
    model: Any = starting_model(plan_of(stage := StagePlan(name="one", bf16=True)), stage, saved)
    assert torch.equal(model.model.layers[1].mlp.router.selection_bias.value, THIRD)


@pytest.mark.parametrize("zero", [0, 2])
def test_deepspeed_learns_the_same_from_bf16_as_from_float32(saved: Path, zero: int) -> None:
    import deepspeed

    prepare_process()
    plan, stage = plan_of(StagePlan(name="one")), StagePlan(name="one", bf16=True)
    narrow = starting_model(plan, stage, saved)
    wide = copy.deepcopy(narrow)
    for parameter in wide.parameters():
        parameter.data = parameter.data.float()
    config = {
        "train_batch_size": 2, "bf16": {"enabled": True}, "zero_optimization": {"stage": zero},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "torch_adam": True}},
    }  # fmt: skip
    ids = torch.arange(16).view(2, 8)

    def learnt(model: nn.Module) -> list[torch.Tensor]:
        engine, *_ = deepspeed.initialize(model=model, config=copy.deepcopy(config))
        for _ in range(2):
            engine.backward(engine(input_ids=ids, labels=ids).loss)
            engine.step()
        weights = [parameter.detach().clone() for parameter in engine.module.parameters()]
        engine.destroy()
        return weights

    before = [parameter.detach().clone() for parameter in narrow.parameters()]
    from_narrow, from_wide = learnt(narrow), learnt(wide)
    assert all(torch.equal(one, other) for one, other in zip(from_narrow, from_wide, strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(from_narrow, before, strict=True))
