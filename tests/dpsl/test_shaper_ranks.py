"""Two ranks with a global scope are one process with both ranks' tokens."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
from tables import modality_table
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import dpsl
from dpsl.upcycle.block import Router

RANKS, LAYERS, EXPERTS, WIDTH = 2, 2, 4, 8
TOKENS = (24, 40)
PATIENCE = 120


class _Layers(nn.Module):
    """Routers alone: what their experts would be combined with goes to a loss of constant gradient."""

    def __init__(self, *, recomputed: bool) -> None:
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


def _tokens(rank: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rank)
    hidden_NH = torch.randn(TOKENS[rank], WIDTH, generator=generator)
    modality = torch.randint(0, 2, (1, TOKENS[rank]), generator=generator)
    return hidden_NH, modality if rank else torch.zeros_like(modality)


def _shaped(
    hidden_NH: Tensor, modality: Tensor, ranks: str, *, recomputed: bool, backward: bool = True
) -> dict:
    model = _Layers(recomputed=recomputed)
    shaper = dpsl.attach(model, modality_table(LAYERS, EXPERTS, 2), ranks=ranks)
    with shaper.tokens(modality=modality):
        loss = model(hidden_NH.requires_grad_())["loss"]
    if backward:
        loss.backward()
    return {
        "gradients": [layer.weight.grad for layer in model.layers],
        "metrics": shaper.metrics(across_ranks=True),
        "tokens": shaper.statistics().tokens.tolist(),
        "bins": torch.from_numpy(shaper.statistics().bins),
    }


def _work(rank: int, folder: Path, ranks: str, recomputed: bool) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS
    )
    try:
        found = _shaped(*_tokens(rank), ranks, recomputed=recomputed)
        for gradient in found["gradients"]:
            torch.distributed.all_reduce(gradient)
            gradient /= RANKS
        if rank == 0:
            torch.save(found, folder / "found.pt")
        torch.distributed.barrier()
        # The backward pass of one rank alone: it would wait for ever at a collective.
        _shaped(*_tokens(rank), ranks, recomputed=recomputed, backward=rank == 0)
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("ranks", "recomputed"), [("histogram", True), ("sort", False)])
def test_two_ranks_are_one_batch(tmp_path: Path, ranks: str, recomputed: bool) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_work, args=(rank, tmp_path, ranks, recomputed)) for rank in range(RANKS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    stuck = [worker for worker in workers if worker.is_alive()]
    for worker in stuck:
        worker.kill()
    assert not stuck
    assert [worker.exitcode for worker in workers] == [0, 0]

    found = torch.load(tmp_path / "found.pt", weights_only=False)
    (one, one_codes), (two, two_codes) = _tokens(0), _tokens(1)
    whole = _shaped(torch.cat([one, two]), torch.cat([one_codes, two_codes], 1), ranks, recomputed=recomputed)
    for gradient, expected in zip(found["gradients"], whole["gradients"], strict=True):
        assert expected.abs().max() > 1e-4
        assert torch.allclose(gradient, expected, rtol=1e-5, atol=1e-8)
    assert found["metrics"] == pytest.approx(whole["metrics"], rel=1e-5)
    assert found["tokens"] == whole["tokens"]
    assert torch.equal(found["bins"], whole["bins"])
