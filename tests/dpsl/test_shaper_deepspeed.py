"""Under DeepSpeed, gradient accumulation and ZeRO leave the shaping gradient what it is.

DeepSpeed keeps process-wide state, so each case is a process of its own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = 4


def _work(stage: int, checkpointing: str) -> None:
    import deepspeed
    from deepspeed.utils import safe_get_full_grad
    from test_shaper import CHECKPOINTING, batch, codes, explicit_gradients, set_checkpointing, table_for
    from tiny_models import tiny

    import dpsl
    from dpsl.routers.zero3 import set_leaf_modules

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    model, table = tiny("upcycled"), table_for("upcycled")
    expected = explicit_gradients("upcycled", model, table, STEPS)
    set_checkpointing(model, CHECKPOINTING[checkpointing])
    assert set_leaf_modules(model) == ("UpcycledMoE",)
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": STEPS,
        "zero_optimization": {"stage": stage},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
    }
    engine, *_ = deepspeed.initialize(model=model, config=config)
    shaper = dpsl.attach(model, table, ranks="sort")
    for seed in range(STEPS):
        inputs = batch(seed)
        with shaper.tokens(mask=inputs["attention_mask"], modality=codes(seed, inputs["input_ids"])):
            loss = engine(**inputs).loss
        engine.backward(loss)
        if seed < STEPS - 1:
            engine.step()
    for name, parameter in model.named_parameters():
        if name.endswith("router.weight"):
            difference = (safe_get_full_grad(parameter) - expected[name]).abs().max()
            assert difference < 1e-5 * expected[name].abs().max(), name
    counted = sum(int(batch(seed)["attention_mask"].sum()) for seed in range(STEPS))
    assert shaper.statistics().tokens.sum() == counted * len(table.layer)


@pytest.mark.parametrize(("stage", "checkpointing"), [(2, "non-reentrant"), (3, "reentrant")])
def test_gradients_under_zero(stage: int, checkpointing: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    environment = {**os.environ, **alone, "DS_ACCELERATOR": "cpu"}
    command = [sys.executable, __file__, str(stage), checkpointing]
    done = subprocess.run(
        command,
        env=environment,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


if __name__ == "__main__":
    _work(int(sys.argv[1]), sys.argv[2])
