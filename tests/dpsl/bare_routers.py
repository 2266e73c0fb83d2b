"""Routers without a model around them, and processes that run them together."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dpsl.upcycle.block import Router

LAYERS, EXPERTS, WIDTH = 2, 4, 8
PATIENCE = 120


class BareRouters(nn.Module):
    """Routers alone: what their experts would be combined with goes to a loss of constant gradient."""

    def __init__(self, *, recomputed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.recomputed = recomputed
        self.layers = nn.ModuleList(Router(WIDTH, EXPERTS, 2, like=torch.zeros(1)) for _ in range(LAYERS))
        for layer in self.layers:
            nn.init.normal_(layer.weight)

    def forward(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        for layer in self.layers:
            if self.recomputed:
                scores_Nk = checkpoint(
                    lambda hidden, layer=layer: layer(hidden)[1], hidden_NH, use_reentrant=True
                )
            else:
                scores_Nk = layer(hidden_NH)[1]
            hidden_NH = hidden_NH + 0.0 * scores_Nk.sum()
        return {"loss": hidden_NH.sum()}

    def averaged_gradients(self) -> list[Tensor]:
        """The routers' gradients, as data parallelism averages them."""
        gradients = [layer.weight.grad.clone() for layer in self.layers]
        for gradient in gradients:
            torch.distributed.all_reduce(gradient)
            gradient /= torch.distributed.get_world_size()
        return gradients


def run_ranks(work: Callable[..., None], ranks: int, folder: Path, *arguments: object) -> None:
    """Run `work(rank, folder, *arguments)` on so many ranks of one process group, and wait for all to end well."""
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_within_group, args=(work, rank, ranks, folder, arguments))
        for rank in range(ranks)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    stuck = [worker for worker in workers if worker.is_alive()]
    for worker in stuck:
        worker.kill()
    assert not stuck
    assert [worker.exitcode for worker in workers] == [0] * ranks


def _within_group(
    work: Callable[..., None], rank: int, ranks: int, folder: Path, arguments: tuple[object, ...]
) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=ranks
    )
    try:
        work(rank, folder, *arguments)
    finally:
        torch.distributed.destroy_process_group()
