"""Tell a recomputation under activation checkpointing from a first forward pass.

torch offers no public way: `torch.is_grad_enabled()` is True in both under non-reentrant checkpointing. A
recomputation runs inside a backward pass, and inside one the engine has a graph task. This is the one place
that asks.
"""

from __future__ import annotations

import torch

_OUTSIDE = -1


def in_backward() -> bool:
    """True inside a backward pass, where any forward pass is a recomputation."""
    return bool(torch._C._current_graph_task_id() != _OUTSIDE)
