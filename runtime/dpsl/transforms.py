"""Tell whether a transformation of torch.func runs, under which no custom gradient of this engine does.

torch offers no public way: this is the one place that asks.
"""

from __future__ import annotations

import torch

from dpsl.errors import AttachError

PROBLEM = "it runs under a transformation of torch.func (vmap, grad, jacrev, …), which its own gradient does not know"


def transformed() -> bool:
    """Whether vmap, torch.func.grad or one of their kin runs."""
    return bool(torch._C._are_functorch_transforms_active())


def refuse_transforms(place: str) -> None:
    """Refuse to attach anything to a router there.

    Raises:
        AttachError: a transformation runs.
    """
    if transformed():
        raise AttachError(place, PROBLEM, "take gradients by loss.backward(), or detach before")
