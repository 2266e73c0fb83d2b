"""Two ranks that share a sequence shape its routers as one that has it whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bare_routers import EXPERTS, LAYERS, WIDTH, BareRouters, run_ranks
from tables import modality_table
from torch import Tensor

import dpsl
from dpsl.errors import DpslError
from tests.dpsl.gradients import assert_same_gradient

LENGTH, REAL = 32, 27


def _sequence() -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    hidden_SH = torch.randn(LENGTH, WIDTH, generator=generator)
    modality = torch.randint(0, 2, (1, LENGTH), generator=generator)
    return hidden_SH, {"mask": (torch.arange(LENGTH) < REAL).long()[None], "modality": modality}


def _shaped(hidden_SH: Tensor, described: dict[str, Tensor]) -> tuple[BareRouters, list[int]]:
    model = BareRouters()
    shaper = dpsl.attach(model, modality_table(LAYERS, EXPERTS, 2))
    with shaper.tokens(**described):
        loss = model(hidden_SH.clone().requires_grad_())["loss"]
    loss.backward()
    return model, shaper.statistics().tokens.tolist()


def _work(rank: int, folder: Path, layout: str) -> None:
    hidden_SH, described = _sequence()
    own = dpsl.shard_tokens({**described, "place": torch.arange(LENGTH)[None]}, rank, 2, layout=layout)
    model, tokens = _shaped(hidden_SH[own.pop("place")[0]], own)
    gradients = model.averaged_gradients()
    if rank == 0:
        torch.save((gradients, tokens), folder / "found.pt")
    torch.distributed.barrier()


@pytest.mark.parametrize("layout", ["contiguous", "zigzag"])
def test_two_ranks_share_a_sequence(tmp_path: Path, layout: str) -> None:
    run_ranks(_work, 2, tmp_path, layout)
    gradients, tokens = torch.load(tmp_path / "found.pt")
    model, whole_tokens = _shaped(*_sequence())
    assert tokens == whole_tokens
    assert sum(tokens) == REAL * LAYERS
    for gradient, layer in zip(gradients, model.layers, strict=True):
        assert layer.weight.grad.abs().max() > 1e-4
        assert_same_gradient(gradient, layer.weight.grad)


@pytest.mark.parametrize("layout", ["contiguous", "zigzag"])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_every_token_is_on_one_rank(layout: str, ranks: int) -> None:
    places = torch.arange(2 * LENGTH).view(2, LENGTH)
    parts = [dpsl.shard_tokens({"mask": places}, rank, ranks, layout=layout)["mask"] for rank in range(ranks)]
    assert sorted(torch.cat(parts, 1).flatten().tolist()) == list(range(2 * LENGTH))
    if ranks == 2:
        quarters = places.chunk(4, dim=1)
        expected = [quarters[0], quarters[1]] if layout == "contiguous" else [quarters[0], quarters[3]]
        assert torch.equal(parts[0], torch.cat(expected, 1))


def test_what_has_no_sequence_stays() -> None:
    given = {"task": torch.tensor([0, 1]), "dataset": "a"}
    assert dpsl.shard_tokens(given, 0, 2) == given


@pytest.mark.parametrize(
    ("rank", "length", "layout", "said"),
    [
        (2, 8, "contiguous", "rank 2 of 2"),
        (0, 7, "contiguous", "7 tokens are not 2 equal parts"),
        (0, 6, "zigzag", "6 tokens are not 4 equal parts"),
        (0, 8, "striped", "'striped' is no layout"),
    ],
)
def test_what_cannot_be_cut(rank: int, length: int, layout: str, said: str) -> None:
    with pytest.raises(DpslError) as told:
        dpsl.shard_tokens({"mask": torch.zeros(1, length)}, rank, 2, layout=layout)
    assert said in str(told.value)
