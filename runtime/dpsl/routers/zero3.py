"""Blocks that ZeRO-3 must gather whole: which experts run differs from rank to rank."""

from __future__ import annotations

from torch import nn

from dpsl.routers.find import find_routers


def set_leaf_modules(model: nn.Module) -> tuple[str, ...]:
    """Name the block around each router a ZeRO-3 leaf, so that ranks gather all its experts together.

    Call it before `deepspeed.initialize`. Returns the names of the classes marked.
    """
    from deepspeed.utils import set_z3_leaf_modules

    modules = dict(model.named_modules())
    blocks = {type(modules[router.name.rpartition(".")[0]]) for router in find_routers(model)}
    classes = sorted(blocks, key=lambda block: block.__name__)
    set_z3_leaf_modules(model, classes)
    return tuple(block.__name__ for block in classes)
