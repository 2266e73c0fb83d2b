"""Ranks: sorting against SciPy's, histograms against sorting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from torch import Tensor

from dpsl.ecdf import RankMethod, Target, empirical_cdf
from dpsl.lattice import BINS
from dpsl.ties import TieOrder


def targets(
    ell_KN: Tensor, bucket_N: Tensor, populations: int, target: Target = "eq4", ranks: RankMethod = "sort"
) -> Tensor:
    buckets = max(populations, int(bucket_N.max()) + 1) if len(bucket_N) else populations
    cdf = empirical_cdf(ell_KN, bucket_N, buckets, target=target, ranks=ranks)
    assert cdf.sizes().tolist() == np.bincount(bucket_N, minlength=buckets).tolist()
    return cdf.target(cdf.coordinate_KN, bucket_N)


def by_scipy(ell_KN: Tensor, bucket_N: Tensor, populations: int, method: str = "ordinal") -> np.ndarray:
    """Ranks 1…B within each population."""
    ranks = np.zeros(ell_KN.shape)
    for population in range(populations):
        chosen = bucket_N.numpy() == population
        ranks[:, chosen] = rankdata(ell_KN.numpy()[:, chosen], method=method, axis=1)
    return ranks


@given(
    tokens=st.integers(0, 40),
    experts=st.integers(2, 4),
    populations=st.integers(1, 5),
    distinct=st.integers(1, 50),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=60, deadline=None)
def test_sorting_gives_ordinal_ranks(tokens, experts, populations, distinct, seed, dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    ell_KN = torch.randint(-distinct, distinct, (experts, tokens), generator=generator).to(dtype) / 3
    ell_KN = torch.where(ell_KN == 0, torch.tensor([0.0, -0.0], dtype=dtype)[seed % 2], ell_KN)
    bucket_N = torch.randint(0, populations + 1, (tokens,), generator=generator)
    found = targets(ell_KN, bucket_N, populations)
    size_N = torch.bincount(bucket_N, minlength=populations + 1)[bucket_N]
    counted = bucket_N < populations
    # The order among ties is free, the places they share are not.
    low_KN, high_KN = (
        torch.from_numpy(by_scipy(ell_KN, bucket_N, populations, method)) for method in ("min", "max")
    )
    place_KN = (found * size_N).round()
    assert ((low_KN <= place_KN) & (place_KN <= high_KN))[:, counted].all()
    for population in range(populations):
        mine = bucket_N == population
        assert torch.equal(
            place_KN[:, mine].sort(dim=1).values.long(),
            torch.arange(1, int(mine.sum()) + 1).expand(experts, -1),
        )


def test_targets_of_a_population() -> None:
    ell_KN = torch.tensor([[0.3, -1.0, 2.0, 0.1], [1.0, 2.0, 3.0, 4.0]])
    bucket_N = torch.zeros(4, dtype=torch.int64)
    places = torch.tensor([[2.0, 0.0, 3.0, 1.0], [0.0, 1.0, 2.0, 3.0]])
    for ranks in ("sort", "histogram"):
        torch.testing.assert_close(targets(ell_KN, bucket_N, 1, "eq4", ranks), (places + 1) / 4)
        torch.testing.assert_close(targets(ell_KN, bucket_N, 1, "mid", ranks), (places + 0.5) / 4)
        torch.testing.assert_close(targets(ell_KN, bucket_N, 1, "ustat", ranks), places / 3)


def test_many_populations_take_the_second_way_of_sorting() -> None:
    generator = torch.Generator().manual_seed(3)
    populations, tokens = 2**24, 500
    ell_KN = torch.randn(2, tokens, generator=generator)
    few_N = torch.randint(0, 5, (tokens,), generator=generator)
    sparse_N = few_N * (populations // 8)
    torch.testing.assert_close(targets(ell_KN, sparse_N, populations), targets(ell_KN, few_N, 8))


def test_blocks_of_tokens_make_the_whole() -> None:
    ell_KN = torch.randn(3, 100, generator=torch.Generator().manual_seed(0))
    bucket_N = torch.arange(100) % 4
    for ranks in ("sort", "histogram"):
        cdf = empirical_cdf(ell_KN, bucket_N, 4, ranks=ranks)
        blocks = [slice(start, start + 7) for start in range(0, 100, 7)]
        pieces = [cdf.target(cdf.coordinate_KN[:, block], bucket_N[block]) for block in blocks]
        whole = cdf.target(cdf.coordinate_KN, bucket_N)
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=0)


@pytest.mark.parametrize("spread", [0.01, 1.0, 5.0])
def test_histograms_are_within_their_bins(spread: float) -> None:
    generator = torch.Generator().manual_seed(5)
    ell_KN = torch.randn(4, 50_000, generator=generator) * spread
    bucket_N = torch.randint(0, 3, (50_000,), generator=generator)
    exact, fast = (targets(ell_KN, bucket_N, 2, ranks=ranks) for ranks in ("sort", "histogram"))
    error = (exact - fast)[:, bucket_N < 2].abs()
    assert error.max() < 5e-3
    assert error.mean() < 5.0 / BINS / 8


def test_histograms_place_lone_tokens_exactly() -> None:
    lone_KN = torch.tensor([[5.0, -5.0, 0.0, 2.0]])
    torch.testing.assert_close(
        targets(lone_KN, torch.zeros(4, dtype=torch.int64), 1, ranks="histogram") * 4,
        torch.tensor([[4.0, 1.0, 2.0, 3.0]]),
    )


def test_histograms_tell_tokens_apart_however_far_out() -> None:
    ell_KN = torch.tensor([[-3000.0, -300.0, -31.0, 0.0, 40.0, 90.0, 3000.0]])
    ranks = targets(ell_KN, torch.zeros(7, dtype=torch.int64), 1, ranks="histogram") * 7
    torch.testing.assert_close(ranks, torch.arange(1.0, 8.0)[None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_are_ordered_at_random_for_each_expert(dtype: torch.dtype) -> None:
    found = targets(torch.zeros(4, 1000, dtype=dtype), torch.zeros(1000, dtype=torch.int64), 1)
    torch.testing.assert_close(
        found.sort(dim=1).values, ((torch.arange(1000) + 1) / 1000).to(dtype).expand(4, -1)
    )
    assert torch.corrcoef(torch.cat([found, torch.arange(1000)[None]])).sub(torch.eye(5)).abs().max() < 0.1


@pytest.mark.parametrize("tokens", [1, 2, 3, 64, 65, 1000])
def test_the_order_of_ties_can_be_undone(tokens: int) -> None:
    bits = max(tokens - 1, 1).bit_length()
    ties = TieOrder.of(7, bits, torch.device("cpu"))
    places_KN = ties(torch.arange(2**bits))
    assert torch.equal(places_KN.sort(dim=1).values, torch.arange(2**bits).expand(7, -1))
    assert torch.equal(ties.index_(places_KN.clone() + (5 << bits)), torch.arange(2**bits).expand(7, -1))
