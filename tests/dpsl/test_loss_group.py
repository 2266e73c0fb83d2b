"""Populations that span processes: two ranks together give what one process gives for all their tokens."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dpsl.loss import ShapingResult, shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals
from tests.dpsl.gradients import assert_same_gradient

ALPHA_RK = torch.tensor([[0.75, 0.5, 2.0], [1.0, 1.0, 1.0], [3.0, 1.0, 0.5]])
WEIGHT_R = torch.tensor([0.5, 1.0, 2.0])

# Tokens of each population on either rank, ignored ones first: a population that one rank lacks, uneven
# counts, and a rank without any token.
SPLITS = (((3, 20, 0, 9), (0, 11, 8, 1)), ((0, 0, 0, 0), (2, 5, 7, 6)))
OPTIONS = tuple(
    {"ranks": ranks, "target": target, "reduction": reduction, "min_population": 2}
    for (ranks, target), reduction in zip(
        product(("sort", "histogram"), ("eq4", "ustat")), ("tokens", "sum", "mean", "tokens"), strict=True
    )
)


def tokens_of(split: tuple[tuple[int, ...], ...], rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(10 + rank)
    population = torch.cat([torch.full((size,), row - 1) for row, size in enumerate(split[rank])])
    population = population[torch.randperm(len(population), generator=generator)]
    return torch.randn(len(population), 3, generator=generator), population


def shape(
    logits: torch.Tensor, population: torch.Tensor, options: dict, group: dist.ProcessGroup | None
) -> ShapingResult:
    marginals = BetaMarginals.from_alpha(ALPHA_RK, torch.float32)
    return shaping_loss_and_gradient(
        logits, population, population, marginals, populations=3, weight_R=WEIGHT_R, group=group, **options
    )


def tensors(result: ShapingResult) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(result).items() if isinstance(value, torch.Tensor)}


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    results = [
        shape(*tokens_of(split, rank), options, dist.group.WORLD)
        for split, options in product(SPLITS, OPTIONS)
    ]
    torch.save([tensors(result) for result in results], f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, torch.Tensor]]]:
    """The results of each rank, in the order of SPLITS × OPTIONS."""
    folder: Path = tmp_path_factory.mktemp("group")
    mp.spawn(run_rank, (str(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", range(len(SPLITS) * len(OPTIONS)))
def test_two_ranks_equal_one_process(found: list[list[dict[str, torch.Tensor]]], case: int) -> None:
    split, options = list(product(SPLITS, OPTIONS))[case]
    parts = [tokens_of(split, rank) for rank in range(2)]
    logits, population = (torch.cat(both) for both in zip(*parts, strict=True))
    alone = shape(logits, population, options, None)
    first, second = found[0][case], found[1][case]
    for name in ("value", "value_P", "tokens_P"):
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], getattr(alone, name), rtol=1e-6, atol=1e-7)
    gradient = torch.cat([first["gradient_NK"], second["gradient_NK"]])
    assert_same_gradient(gradient, 2 * alone.gradient_NK)
