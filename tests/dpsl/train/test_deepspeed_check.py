"""DeepSpeed's settings are checked before anything is loaded, every mistake with its place and what is near it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dpsl.train.deepspeed_check import DeepSpeedSettingsError, check_deepspeed
from dpsl.train.faults import DeepSpeedRefusalError, told_faults
from dpsl.train.run_folder import RunFolder
from priorlang.training.plan import StagePlan

OFFLOAD = Path(__file__).parents[3] / "examples" / "llava" / "zero2-offload.json"

MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"zero_optimization": {"stag": 2}}, "zero_optimization: stag", "did you mean `stage`?"),
    ({"zero_optimisation": {"stage": 2}}, "zero_optimisation", "did you mean `zero_optimization`?"),
    (
        {"zero_optimization": {"offload_optimizer": {"device": "gpu"}}},
        "zero_optimization: offload_optimizer: device",
        "write 'none', 'cpu' or 'nvme'",
    ),
    (
        {"zero_optimization": {"offload_optimizer": {"pin": True}}},
        "zero_optimization: offload_optimizer: pin",
        "pin_memory",
    ),
    ({"zero_optimization": {"overlap_comm": "maybe"}}, "zero_optimization: overlap_comm", "true or false"),
    ({"bf16": {"enabledd": True}}, "bf16: enabledd", "did you mean `enabled`?"),
    ({"wandb": {"grup": "a"}}, "wandb: grup", "did you mean `group`?"),
    ({"optimizer": {"type": "AdamW", "parms": {}}}, "optimizer: parms", "did you mean `params`?"),
    ({"optimizer": {"type": "AdamWW"}}, "optimizer: type: 'AdamWW'", "`adamw`"),
    ({"optimizer": [1]}, "optimizer: [1]", "write a mapping"),
    ({"scheduler": {"type": "WarmupLRR"}}, "scheduler: type: 'WarmupLRR'", "`WarmupLR`"),
    ({"activation_checkpointing": {"profil": True}}, "activation_checkpointing: profil", "`profile`"),
    ({"gradient_clipping": "x"}, "gradient_clipping: 'x'", "write a number"),
    ({"wall_clock_breakdown": "no"}, "wall_clock_breakdown: 'no'", "true or false"),
    ({"fp16": {"enabled": True}, "bf16": {"enabled": True}}, "its sections together", "mend it"),
]


@pytest.mark.parametrize(("config", "place", "fix"), MISTAKES, ids=[place for _, place, _ in MISTAKES])
def test_a_mistake_is_told_with_its_place(config: dict[str, Any], place: str, fix: str) -> None:
    with pytest.raises(DeepSpeedSettingsError) as told:
        check_deepspeed([StagePlan(name="warm", deepspeed=config)])
    (found,) = told.value.found
    assert found.place == f"stage warm: deepspeed: {place}"
    assert fix in found.fix


def test_every_mistake_is_told_once_for_all_stages() -> None:
    config = {"zero_optimization": {"stag": 2, "overlap_com": True}, "bf16": {"on": True}}
    with pytest.raises(DeepSpeedSettingsError, match="3 mistakes") as told:
        check_deepspeed([StagePlan(name=name, deepspeed=config) for name in ("first", "second")])
    assert all(found.place.startswith("stage first, second: deepspeed: ") for found in told.value.found)


@pytest.mark.parametrize(
    "config",
    [
        {},
        json.loads(OFFLOAD.read_text()),
        {"zero_optimization": {"stage": 3, "reduce_bucket_size": "auto", "offload_param": {"device": "cpu"}}},
        {"gradient_clipping": 1, "steps_per_print": 10, "train_batch_size": 128, "data_types": {}},
        {"flops_profiler": {"enabled": False}, "zero_allow_untested_optimizer": True},
        {"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": "auto"}}},
    ],
)
def test_what_deepspeed_takes_passes(config: dict[str, Any]) -> None:
    check_deepspeed([StagePlan(deepspeed=config)])


def test_what_deepspeed_refuses_when_it_begins_is_the_settings_fault(tmp_path: Path) -> None:
    def _prepare_deepspeed() -> None:
        raise KeyError("no such\nthing")

    with (
        pytest.raises(DeepSpeedRefusalError, match=r"KeyError: .*mend `deepspeed`"),
        told_faults(RunFolder(tmp_path)),
    ):
        _prepare_deepspeed()


def test_a_fault_elsewhere_stays_one(tmp_path: Path) -> None:
    with pytest.raises(KeyError), told_faults(RunFolder(tmp_path)):
        raise KeyError("other")
