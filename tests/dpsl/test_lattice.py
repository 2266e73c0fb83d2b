"""The dyadic lattice: every split of the tokens adds up to the histogram of the whole, bin by bin."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dpsl.ecdf import empirical_cdf
from dpsl.histogram import CarriedHistogram, HistogramCdf, counted
from dpsl.lattice import BINS, REACH, Lattice, coarsen, ends

DTYPES = st.sampled_from([torch.float32, torch.float64])


def tokens(count: int, spread: float, middle: float, seed: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(3, count, generator=generator) * spread + middle).to(dtype)


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    spreads=st.lists(st.sampled_from([0.0, 1e-7, 1e-3, 1.0, 7.0, 300.0]), min_size=5, max_size=5),
    middle=st.sampled_from([0.0, -12.3, 25.0]),
    seed=st.integers(0, 999),
    dtype=DTYPES,
)
@settings(max_examples=100, deadline=None)
def test_parts_add_up_exactly(sizes, spreads, middle, seed, dtype) -> None:
    parts = [
        tokens(size, spread, middle, seed + place, dtype)
        for place, (size, spread) in enumerate(zip(sizes, spreads, strict=False))
    ]
    buckets = [torch.arange(part.shape[1]) * 7 % 3 for part in parts]
    whole = CarriedHistogram.of(torch.cat(parts, dim=1), torch.cat(buckets), 3)
    merged = CarriedHistogram.of(parts[0], buckets[0], 3)
    for part, bucket_N in zip(parts[1:], buckets[1:], strict=True):
        merged = CarriedHistogram.of(part, bucket_N, 3).merged(merged)
    assert torch.equal(merged.counts_KQB, whole.counts_KQB)
    assert torch.equal(merged.tokens_Q, whole.tokens_Q)
    assert torch.equal(merged.ends_2KQ, whole.ends_2KQ)
    for mine, theirs in zip(vars(merged.lattice).values(), vars(whole.lattice).values(), strict=True):
        assert torch.equal(mine, theirs)


@given(
    spread=st.floats(1e-6, 60),
    middle=st.floats(-30, 30),
    wider=st.floats(0, 5),
    seed=st.integers(0, 99),
    dtype=DTYPES,
)
@settings(max_examples=100, deadline=None)
def test_coarsening_equals_counting_there(spread, middle, wider, seed, dtype) -> None:
    ell_KN = tokens(200, spread, middle, seed, dtype)
    bucket_N = torch.zeros(200, dtype=torch.int64)
    own = ends(ell_KN, bucket_N, 1)
    narrow, wide = Lattice.spanning(own), Lattice.spanning((own + wider).clamp(max=REACH))
    counts_KQB = counted(ell_KN, bucket_N, narrow)
    assert counts_KQB.sum(-1).eq(200).all()
    assert torch.equal(coarsen(counts_KQB, narrow, wide), counted(ell_KN, bucket_N, wide))


@given(low=st.floats(-30, 30, width=32), span=st.floats(2**-7, 60, width=32))
@settings(max_examples=200, deadline=None)
def test_at_least_half_of_the_bins_lie_between_the_ends(low: float, span: float) -> None:
    edges = torch.tensor([low, min(low + span, 30.0)])
    lattice = Lattice.spanning(torch.stack([-edges[0], edges[1]]).view(2, 1, 1))
    place = edges * lattice.per_ell(torch.float32)[0, 0]
    first, last = (place.floor().int() - lattice.first_KQ[0, 0]).tolist()
    assert first == 0
    if edges[1] - edges[0] >= 2**-7:  # narrower ones are at the resolution of float32
        assert BINS // 2 - 1 <= last < BINS


def test_an_empty_bucket_takes_no_part() -> None:
    some_KN = tokens(20, 1.0, 5.0, 0, torch.float32)
    bucket_N = torch.zeros(20, dtype=torch.int64)
    counts = CarriedHistogram.of(some_KN, bucket_N, 1)
    merged = counts.merged(CarriedHistogram.of(some_KN[:, :0], bucket_N[:0], 1))
    assert torch.equal(merged.counts_KQB, counts.counts_KQB)
    padded = counts.padded(3)
    assert padded.tokens_Q.tolist() == [20, 0, 0]
    assert torch.equal(padded.first(1).counts_KQB, counts.counts_KQB)
    assert torch.equal(padded.merged(padded).first(1).counts_KQB, 2 * counts.counts_KQB)


@pytest.mark.parametrize("value", [-40.0, -0.3, 0.0, 30.0])
def test_tied_tokens_take_places_that_differ_by_expert(value: float) -> None:
    ell_KN, bucket_N = torch.full((3, 1000), value), torch.zeros(1000, dtype=torch.int64)
    cdf = empirical_cdf(ell_KN, bucket_N, 1, ranks="histogram")
    assert isinstance(cdf, HistogramCdf)
    target_KN = cdf.target(cdf.coordinate_KN, bucket_N)
    even = (torch.arange(1000) + 1) / 1000
    assert (target_KN.sort(dim=1).values - even).abs().max() < 0.06
    assert torch.corrcoef(target_KN).sub(torch.eye(3)).abs().max() < 0.1
