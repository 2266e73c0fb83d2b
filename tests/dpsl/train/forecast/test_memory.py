"""The memory of a rank against a sum over its parameters, one by one, and against DeepSpeed's own estimates."""

from __future__ import annotations

import math
from typing import Any

import pytest
from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

import dpsl
from dpsl.train.forecast import census_of, memory_per_rank
from dpsl.train.parts import train_only
from priorlang.training.plan import StagePlan

CPU, NOWHERE = {"device": "cpu"}, {"device": "none"}


def stage_of(
    level: int, *, offload: bool = False, offload_weights: bool = False, **options: Any
) -> StagePlan:
    zero: dict[str, Any] = {"stage": level, "offload_optimizer": CPU if offload else NOWHERE}
    if offload_weights:
        zero["offload_param"] = CPU
    return StagePlan(deepspeed={"zero_optimization": zero}, **options)


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    config = Qwen2Config(
        vocab_size=31, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    model: nn.Module = Qwen2ForCausalLM(config)
    dpsl.upcycle(model, experts=4, top_k=2)
    return model


@given(
    level=st.integers(0, 3),
    ranks=st.integers(1, 9),
    offload=st.booleans(),
    precision=st.sampled_from(["fp32", "bf16", "fp16"]),
    train=st.sampled_from(["all", "routers", "all-but-routers"]),
)
def test_it_is_the_sum_over_parameters(
    tiny: nn.Module, level: int, ranks: int, offload: bool, precision: str, train: str
) -> None:
    learning = train_only(tiny, [train])
    half = precision != "fp32"
    stage = stage_of(level, offload=offload, **({precision: True} if half else {}))
    census = census_of(tiny, learning).whole
    found = memory_per_rank(census.total, census.learning, stage, ranks)

    device = host = 0.0
    away = offload and level > 0
    for parameter in tiny.parameters():
        size = parameter.numel()
        device += size * (2 if half else 4) / (ranks if level == 3 else 1)
        if not parameter.requires_grad:
            continue
        if not (away and level >= 2):
            device += size * (2 if half else 4) / (ranks if level >= 2 else 1)
        states = 8 + (8 if half or level else 0)
        if away:
            host += size * states / ranks
        else:
            device += size * states / (ranks if level else 1)
    # Shares are rounded up to whole parameters, each of the four kinds for itself.
    assert device - 1e-6 <= found.on_device <= device + 4 + 4 + 8 + 8
    assert host - 1e-6 <= found.off_device <= host + 8 + 8


@given(parameters=st.integers(1, 10**11), ranks=st.sampled_from([1, 2, 4, 8, 64]), offload=st.booleans())
def test_deepspeed_estimates_the_same_where_everything_learns(
    parameters: int, ranks: int, offload: bool
) -> None:
    two = memory_per_rank(parameters, parameters, stage_of(2, offload=offload, bf16=True), ranks)
    host, device = estimate_zero2_model_states_mem_needs(
        parameters, ranks, 1, cpu_offload=offload, additional_buffer_factor=1
    )
    assert math.isclose(two.on_device, device, rel_tol=1e-9, abs_tol=20)
    if offload and ranks <= 4:  # above, its figure is that of fp32 weights while every rank loads the model
        assert math.isclose(two.off_device * ranks, host, rel_tol=1e-9, abs_tol=20 * ranks)
    three = memory_per_rank(
        parameters, parameters, stage_of(3, offload=offload, offload_weights=offload, bf16=True), ranks
    )
    host, device, _ = estimate_zero3_model_states_mem_needs(
        parameters, 0, ranks, 1, cpu_offload=offload, cpu_offload_params=offload, additional_buffer_factor=1
    )
    assert math.isclose(
        three.on_device, device if offload else device + 2 * parameters / ranks, rel_tol=1e-9, abs_tol=20
    )
    if offload:
        assert math.isclose(three.off_device * ranks, host, rel_tol=1e-9, abs_tol=20 * ranks)


def test_an_optimizer_of_unknown_size_is_named() -> None:
    found = memory_per_rank(100, 100, stage_of(2, optim="galore_adamw"), 1)
    assert found.unknown == "galore_adamw"
    assert memory_per_rank(100, 100, stage_of(2), 1).unknown is None
    ours = StagePlan(deepspeed={"optimizer": {"type": "AdamW"}}, optim="galore_adamw")
    assert memory_per_rank(100, 100, ours, 1).unknown is None


def test_idle_experts_are_not_active(tiny: nn.Module) -> None:
    census = census_of(tiny, train_only(tiny, ["all"]))
    assert census.experts
    assert census.whole.total - census.whole.active == 2 * 2 * (3 * 16 * 24)
    assert census.parts["routers"].total == 2 * 4 * 16
    assert census.whole.learning == census.whole.total
