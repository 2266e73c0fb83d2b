"""What a forward pass is known by when it comes a second time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sight:
    """A pass's tokens, as they were described and as the model got them.

    Attributes:
        tokens: of each router that ran.
        class_N: the token class of each token of the first of them.
        ids: the model's token ids, where it got any.
    """

    tokens: tuple[int, ...]
    class_N: Tensor
    ids: Tensor | None

    def kept(self) -> Sight:
        """The same, whatever is written over the ids later."""
        return Sight(self.tokens, self.class_N, None if self.ids is None else self.ids.clone())

    def differs(self, other: Sight) -> Tensor:
        """Whether it is another pass, a bool on the device of the classes."""
        if self.tokens != other.tokens or (self.ids is None) != (other.ids is None):
            return torch.tensor(True)
        different = (self.class_N != other.class_N).any()
        if self.ids is not None and other.ids is not None:
            if self.ids.shape != other.ids.shape:
                return torch.tensor(True)
            different = different | (self.ids != other.ids).any().to(different.device)
        return different
