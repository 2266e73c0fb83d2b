"""What one rank holds of a model while it trains: weights, gradients and optimizer states under ZeRO.

Per parameter, with w the bytes of the compute type (2 in bf16 or fp16, 4 in fp32) and n ranks:

| | bytes | of | divided by n |
|---|---|---|---|
| weights | w | all | ZeRO 3 |
| gradients | w, or `data_types.grad_accum_dtype` | those that learn | ZeRO 2, 3 |
| fp32 copies: of weights, and of gradients for the step | 4 + 4 | those that learn | ZeRO 1, 2, 3 |
| optimizer states | 8 for Adam | those that learn | ZeRO 1, 2, 3 |

In fp32 without ZeRO there are no copies. `offload_optimizer` moves copies and states off the device, and under ZeRO 2
and 3 gradients with them, which end in the fp32 copy; `offload_param` moves the weights of ZeRO 3. Where everything
learns, these are the sums of DeepSpeed's `estimate_zero2_model_states_mem_needs` and `estimate_zero3_…`, without their
factor for buffers and their term for the largest layer; without offload, ZeRO 3 has 18 bytes for a parameter there,
and 20 here, as ZeRO 2 has in both. Activations, communication buckets and fragmentation are no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from priorlang.training.plan import StagePlan

DEVICE = "none"
"""What DeepSpeed's offload sections call the place where nothing is offloaded to."""

ADAM = 8
OPTIMIZERS = {"adam": ADAM, "adamw": ADAM, "adamw_torch": ADAM, "adamw_torch_fused": ADAM, "adamw_apex_fused": ADAM,
              "fusedadam": ADAM, "lion": 4, "lion_32bit": 4, "sgd": 0, "adamw_8bit": 2, "adamw_bnb_8bit": 2}  # fmt: skip
"""Bytes of state for a parameter, by the names of DeepSpeed and transformers. Others are not known."""
BYTES = {"fp32": 4, "float32": 4, "fp16": 2, "float16": 2, "bf16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class MemoryPerRank:
    """Bytes of one rank.

    Attributes:
        device: kind → bytes on the accelerator; kinds are `weights`, `gradients`, `fp32 copies` and `states`.
        offloaded: the same in host memory or on NVMe.
        loading: bytes of host memory before the first step, while the model is there and nothing else is.
        unknown: the optimizer whose states are not counted, as their size is not known; None where it is.
    """

    device: Mapping[str, int] = field(default_factory=dict)
    offloaded: Mapping[str, int] = field(default_factory=dict)
    loading: int = 0
    unknown: str | None = None

    @property
    def on_device(self) -> int:
        """Bytes on the accelerator."""
        return sum(self.device.values())

    @property
    def off_device(self) -> int:
        """Bytes elsewhere."""
        return sum(self.offloaded.values())


def memory_per_rank(total: int, learning: int, stage: StagePlan, ranks: int) -> MemoryPerRank:
    """The bytes of one rank, the largest share where a division leaves a rest.

    Args:
        total: parameters of the model, the frozen ones included.
        learning: of them, those that learn.
        stage: its precision, optimizer and DeepSpeed settings.
        ranks: n.
    """
    zero = _section(stage.deepspeed, "zero_optimization")
    level = int(zero.get("stage", 0))
    compute = 2 if stage.bf16 or stage.fp16 else 4
    gradient = BYTES.get(str(_section(stage.deepspeed, "data_types").get("grad_accum_dtype")), compute)
    copied = level >= 1 or compute < 4
    optimizer = _optimizer(stage)
    states = OPTIMIZERS.get(optimizer)

    def share(parameters: int, bytes_each: int, divided: bool) -> int:
        return bytes_each * (-(-parameters // ranks) if divided else parameters)

    offloads = level >= 1 and _offloads(zero, "offload_optimizer")
    kinds = {
        "weights": (share(total, compute, level == 3), level == 3 and _offloads(zero, "offload_param")),
        # With the optimizer offloaded they leave as they come, and end in the copy.
        "gradients": (0 if offloads and level >= 2 else share(learning, gradient, level >= 2), False),
        "fp32 copies": (share(learning, 8, level >= 1) if copied else 0, offloads),
        "states": (share(learning, states or 0, level >= 1), offloads),
    }
    return MemoryPerRank(
        device={kind: size for kind, (size, away) in kinds.items() if not away},
        offloaded={kind: size for kind, (size, away) in kinds.items() if away},
        loading=(2 if stage.bf16 else 4) * total,
        unknown=optimizer if states is None else None,
    )


def _optimizer(stage: StagePlan) -> str:
    named = _section(stage.deepspeed, "optimizer").get("type")
    return str(named).lower() if named else stage.optim


def _offloads(zero: Mapping[str, Any], key: str) -> bool:
    return str(_section(zero, key).get("device", DEVICE)) != DEVICE


def _section(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = config.get(key)
    return found if isinstance(found, dict) else {}
