"""The optimizer under DeepSpeed: its own, as the files of examples/llava name it, or torch's, offloaded."""

from __future__ import annotations

from typing import Any

import deepspeed
import pytest
import torch
from accelerate.utils import DummyOptim
from accelerate.utils.deepspeed import map_pytorch_optim_to_deepspeed
from transformers import Trainer

from dpsl.train.arguments import ArgumentsError, deepspeed_config
from dpsl.train.trainer import StageTrainer
from priorlang.training.plan import ZERO_2_OFFLOAD, StagePlan


def test_what_stands_for_deepspeeds_own_optimizer_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    placeholder = DummyOptim(params=[torch.nn.Parameter(torch.zeros(1))])
    monkeypatch.setattr(Trainer, "create_optimizer", lambda _self, _model=None: placeholder)
    trainer = StageTrainer.__new__(StageTrainer)
    trainer._router_learning_rate = None
    assert trainer.create_optimizer() is placeholder


def test_the_default_offloads_the_optimizer_where_there_is_an_accelerator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offload = {"device": "cpu", "pin_memory": True}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert deepspeed_config(StagePlan())["zero_optimization"] == {"stage": 2, "offload_optimizer": offload}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert deepspeed_config(StagePlan())["zero_optimization"] == {"stage": 2}
    assert StagePlan().deepspeed["zero_optimization"]["offload_optimizer"] == offload


def test_deepspeeds_own_optimizer_stays_offloaded_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    own = StagePlan(deepspeed={**ZERO_2_OFFLOAD, "optimizer": {"type": "AdamW"}})
    assert deepspeed_config(own)["zero_optimization"] == ZERO_2_OFFLOAD["zero_optimization"]


def test_what_adam_would_replace_is_not_offloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    on_device = {"zero_optimization": {"stage": 2}}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for optim in ("sgd", "adafactor", "adamw_8bit"):
        with pytest.raises(ArgumentsError, match=f"optim: {optim}: .*Adam would train in its place"):
            deepspeed_config(StagePlan(optim=optim))
        assert deepspeed_config(StagePlan(optim=optim, deepspeed=on_device))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert deepspeed_config(StagePlan(optim="sgd"))


def test_offloading_keeps_the_routers_group_and_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(
        deepspeed.ops.adam, "DeepSpeedCPUAdam", lambda groups, **options: given.append((groups, options))
    )
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    own: list[dict[str, Any]] = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.5}]
    map_pytorch_optim_to_deepspeed(torch.optim.AdamW(own, betas=(0.8, 0.9)))
    ((groups, options),) = given
    assert [group["lr"] for group in groups] == [1e-3, 0.5]
    assert all(group["betas"] == (0.8, 0.9) for group in groups)
    assert options["adamw_mode"]
