"""An optimizer that DeepSpeed's own configuration names, as the files of examples/llava do."""

from __future__ import annotations

import pytest
import torch
from accelerate.utils import DummyOptim
from transformers import Trainer

from dpsl.train.trainer import StageTrainer


def test_what_stands_for_deepspeeds_own_optimizer_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    placeholder = DummyOptim(params=[torch.nn.Parameter(torch.zeros(1))])
    monkeypatch.setattr(Trainer, "create_optimizer", lambda _self, _model=None: placeholder)
    trainer = StageTrainer.__new__(StageTrainer)
    trainer._router_learning_rate = None
    assert trainer.create_optimizer() is placeholder
