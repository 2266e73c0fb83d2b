"""Two ranks with a global scope are one process with both ranks' tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from bare_routers import EXPERTS, LAYERS, WIDTH, BareRouters, run_ranks
from tables import modality_table
from torch import Tensor

import dpsl
from tests.dpsl.gradients import assert_same_gradient

TOKENS = (24, 40)


def _tokens(rank: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rank)
    hidden_NH = torch.randn(TOKENS[rank], WIDTH, generator=generator)
    modality = torch.randint(0, 2, (1, TOKENS[rank]), generator=generator)
    return hidden_NH, modality if rank else torch.zeros_like(modality)


def _shaped(
    hidden_NH: Tensor, modality: Tensor, ranks: str, *, recomputed: bool, backward: bool = True
) -> tuple[BareRouters, dict]:
    model = BareRouters(recomputed=recomputed)
    shaper = dpsl.attach(model, modality_table(LAYERS, EXPERTS, 2), ranks=ranks)
    with shaper.tokens(modality=modality), _counted_bytes() as sent:
        loss = model(hidden_NH.requires_grad_())["loss"]
    if backward:
        loss.backward()
    return model, {
        "bytes": shaper.bytes_exchanged(),
        "sent": sum(sent),
        "collectives": len(sent),
        "metrics": shaper.metrics(across_ranks=True),
        "tokens": shaper.statistics().tokens.tolist(),
        "bins": torch.from_numpy(shaper.statistics().bins),
    }


def _work(rank: int, folder: Path, ranks: str, recomputed: bool) -> None:
    model, found = _shaped(*_tokens(rank), ranks, recomputed=recomputed)
    found["gradients"] = model.averaged_gradients()
    if rank == 0:
        torch.save(found, folder / "found.pt")
    torch.distributed.barrier()
    # The backward pass of one rank alone: it would wait for ever at a collective.
    _shaped(*_tokens(rank), ranks, recomputed=recomputed, backward=rank == 0)
    torch.distributed.barrier()


@contextmanager
def _counted_bytes() -> Iterator[list[int]]:
    sent: list[int] = []
    all_reduce = torch.distributed.all_reduce

    def counted(tensor: Tensor, *arguments: object, **options: object) -> object:
        sent.append(tensor.numel() * tensor.element_size())
        return all_reduce(tensor, *arguments, **options)

    torch.distributed.all_reduce = counted
    try:
        yield sent
    finally:
        torch.distributed.all_reduce = all_reduce


@pytest.mark.parametrize(("ranks", "recomputed"), [("histogram", True), ("sort", False)])
def test_two_ranks_are_one_batch(tmp_path: Path, ranks: str, recomputed: bool) -> None:
    run_ranks(_work, 2, tmp_path, ranks, recomputed)
    found = torch.load(tmp_path / "found.pt", weights_only=False)
    (one, one_codes), (two, two_codes) = _tokens(0), _tokens(1)
    model, whole = _shaped(
        torch.cat([one, two]), torch.cat([one_codes, two_codes], 1), ranks, recomputed=recomputed
    )
    for gradient, layer in zip(found["gradients"], model.layers, strict=True):
        assert layer.weight.grad.abs().max() > 1e-4
        assert_same_gradient(gradient, layer.weight.grad)
    if ranks == "histogram":
        assert found["bytes"] == pytest.approx(found["sent"], rel=0.01)
        assert found["collectives"] == 3, "ends, counts and sums, of all layers at once"
    assert whole["bytes"] == 0
    assert found["metrics"] == pytest.approx(whole["metrics"], rel=1e-5)
    assert found["tokens"] == whole["tokens"]
    assert torch.equal(found["bins"], whole["bins"])
