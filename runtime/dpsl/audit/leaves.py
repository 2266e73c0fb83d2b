"""What ZeRO-3 gathers whole."""

from __future__ import annotations

from torch import nn


def leaf_modules(model: nn.Module) -> tuple[str, ...]:
    """Names of the classes of a ZeRO-3 model's leaf modules; none without ZeRO-3."""
    if not any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        return ()
    from deepspeed.utils import z3_leaf_module

    return tuple(sorted({type(module).__name__ for module in model.modules() if z3_leaf_module(module)}))
