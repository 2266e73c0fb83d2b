"""Routers that begin as those of another model: upcycled before, or a mixture of experts of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.branches import name_of
from dpsl.upcycle.ffn import weights_of
from dpsl.upcycle.finite import check_finite
from dpsl.upcycle.plan import UpcyclePlan
from dpsl.upcycle.shards import open_checkpoint
from priorlang.diagnostics.suggest import listing

ROUTER_NAME = re.compile(
    r"(?:.*\.)?layers\.(?P<layer>\d+)\.(?:mlp|block_sparse_moe|feed_forward)\.(?:router|gate)\.weight"
)


def copied_routers(
    source: str | Path | nn.Module, plan: UpcyclePlan, ffns: Mapping[int, nn.Module]
) -> dict[int, Tensor]:
    """The routers' weights [E, H] of another model, by decoder layer; of a folder only they are read.

    Args:
        source: a model with experts, or its folder.
        plan: resolved: which layers route, and among how many experts.
        ffns: the dense FFN of each layer, for its width H.

    Raises:
        UpcycleError: `source` has no router in one of the layers, or one of another shape.
    """
    place = f"router_from={name_of(source)}"
    if isinstance(source, nn.Module):
        weights = source.state_dict()
        names = _by_layer(weights)
    else:
        checkpoint = open_checkpoint(Path(source))
        names = _by_layer(checkpoint.tensors)
        weights = checkpoint.load([names[layer] for layer in plan.routed if layer in names])
    if not names:
        raise UpcycleError(
            place, "it has no routers", "name a model with experts, upcycled or of transformers"
        )
    missing = [str(layer) for layer in plan.routed if layer not in names]
    if missing:
        has = listing(map(str, sorted(names)))
        raise UpcycleError(
            place,
            f"it has no router in layer {listing(missing)}; it has them in {has}",
            f"say layers=[{has}], or copy from another model",
        )
    found = {layer: weights[names[layer]].detach() for layer in plan.routed}
    for layer, weight in found.items():
        expected = (plan.experts, int(weights_of(ffns[layer]).down_HF.shape[0]))
        if tuple(weight.shape) != expected:
            raise UpcycleError(
                place,
                f"the router of layer {layer} is for {_sizes(tuple(weight.shape))}, here are {_sizes(expected)}",
                "copy from a model of the same width with as many experts",
            )
    check_finite({names[layer]: weight for layer, weight in found.items()}, place)
    return found


def _by_layer(names: Mapping[str, object]) -> dict[int, str]:
    """Decoder layer → name of its router's weight; vision towers do not route."""
    found: dict[int, str] = {}
    for name in names:
        match = ROUTER_NAME.fullmatch(name)
        if match is not None:
            found[int(match["layer"])] = name
    return found


def _sizes(shape: tuple[int, ...]) -> str:
    return (
        f"{shape[0]} experts and hidden states {shape[1]} wide" if len(shape) == 2 else f"shape {list(shape)}"
    )
