"""Blocks that ZeRO-3 must gather whole: which experts run differs from rank to rank."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import nn

from dpsl.routers.blocks import separate_experts
from dpsl.routers.find import Routers, find_routers
from dpsl.routers.found import FoundRouter


def set_leaf_modules(model: nn.Module, routers: Routers | None = None) -> tuple[str, ...]:
    """Mark the block around each router as a ZeRO-3 leaf, so that ranks gather all its experts together.

    Call it before `deepspeed.initialize`; without ZeRO-3 it changes nothing. DeepSpeed itself does so for Mixtral,
    Qwen2-MoE and Qwen3-MoE alone.

    Args:
        model: the model, before DeepSpeed has it.
        routers: as for `dpsl.attach`.

    Returns:
        The names of the classes of the blocks.

    Raises:
        AttachError: the model has no router.
    """
    from deepspeed.utils import set_z3_leaf_module

    blocks = _blocks(model, find_routers(model, routers))
    for block in blocks.values():
        set_z3_leaf_module(block, True)
    return tuple(sorted({type(block).__name__ for block in blocks.values()}))


def warn_without_leaf_modules(model: nn.Module, routers: Sequence[FoundRouter]) -> None:
    """Under ZeRO-3, warn of blocks with separate experts that are no leaves: ranks would wait for each other."""
    if not any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        return
    for name, block in _blocks(model, routers).items():
        if separate_experts(block) and not all(hasattr(p, "ds_z3_leaf_module") for p in block.parameters()):
            warnings.warn(
                f"{name} ({type(block).__name__}): under ZeRO-3 its experts are gathered one by one, and training "
                "hangs where a rank has no token for one of them; call dpsl.set_leaf_modules(model) before "
                "deepspeed.initialize",
                stacklevel=3,
            )
            return


def _blocks(model: nn.Module, routers: Sequence[FoundRouter]) -> dict[str, nn.Module]:
    """Around each router, the innermost module that holds its experts, else the one that holds it; never the model."""
    modules = dict(model.named_modules())
    blocks: dict[str, nn.Module] = {}
    for router in routers:
        parts = router.name.split(".")
        around = [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
        around = [name for name in around if not isinstance(modules.get(name), nn.ModuleList)]
        if around:
            name = next((name for name in around if separate_experts(modules[name])), around[0])
            blocks[name] = modules[name]
    return blocks
