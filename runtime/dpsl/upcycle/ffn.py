"""The weights of a gated FFN, whatever form its model keeps them in, and the parts it is cut into.

F is the inner width, H that of the hidden states.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

SEPARATE = ("gate_proj", "up_proj", "down_proj")
FUSED = ("gate_up_proj", "down_proj")


@dataclass(frozen=True)
class GatedWeights:
    """Views of an FFN's weights: what is written here is written to the module."""

    gate_FH: Tensor
    up_FH: Tensor
    down_HF: Tensor
    gate_F: Tensor | None = None
    up_F: Tensor | None = None
    down_H: Tensor | None = None

    @property
    def width(self) -> int:
        """F."""
        return int(self.down_HF.shape[1])

    def all(self) -> Iterator[Tensor]:
        """The tensors that are there."""
        given = (self.gate_FH, self.up_FH, self.down_HF, self.gate_F, self.up_F, self.down_H)
        return (tensor for tensor in given if tensor is not None)


def is_gated(ffn: nn.Module | None) -> bool:
    """Whether a module is an FFN with gate, up and down projections, the first two fused or not."""
    return ffn is not None and any(
        all(isinstance(getattr(ffn, name, None), nn.Linear) for name in names) for names in (SEPARATE, FUSED)
    )


def width_of(ffn: nn.Module) -> int:
    """The inner width F."""
    down: Any = ffn.get_submodule("down_proj")
    return int(down.in_features)


def weights_of(ffn: nn.Module) -> GatedWeights:
    """Views of the weights, detached."""
    parts: Any = ffn
    down = parts.down_proj
    if hasattr(ffn, "gate_up_proj"):
        gate_FH, up_FH = parts.gate_up_proj.weight.detach().chunk(2)
        bias = parts.gate_up_proj.bias
        gate_F, up_F = (None, None) if bias is None else bias.detach().chunk(2)
    else:
        gate_FH, up_FH = parts.gate_proj.weight.detach(), parts.up_proj.weight.detach()
        gate_F, up_F = _detached(parts.gate_proj.bias), _detached(parts.up_proj.bias)
    return GatedWeights(gate_FH, up_FH, down.weight.detach(), gate_F, up_F, _detached(down.bias))


def copy_part(source: GatedWeights, target: GatedWeights, part: int = 0) -> None:
    """Copy part `part` of a wide FFN into one as wide as the part.

    Gate and up are cut by the same rows and down by the same columns, so the outputs of all parts add up to the
    whole FFN's; each takes its share of the output bias.
    """
    width, parts = target.width, source.width // target.width
    rows = slice(part * width, (part + 1) * width)
    target.gate_FH.copy_(source.gate_FH[rows])
    target.up_FH.copy_(source.up_FH[rows])
    target.down_HF.copy_(source.down_HF[:, rows])
    for into, whole in ((target.gate_F, source.gate_F), (target.up_F, source.up_F)):
        if into is not None and whole is not None:
            into.copy_(whole[rows])
    if target.down_H is not None and source.down_H is not None:
        target.down_H.copy_(source.down_H / parts)


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()
