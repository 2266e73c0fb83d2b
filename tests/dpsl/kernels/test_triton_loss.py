"""The Triton kernels equal the plain torch forms: on a GPU where there is one, else under the interpreter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dpsl import lattice
from dpsl.ecdf import TargetScale
from dpsl.histogram import CarriedHistogram, HistogramCdf, target_table
from dpsl.kernels import triton_loss
from dpsl.loss import observe, shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals
from dpsl.one_vs_rest import one_vs_rest
from dpsl.ranked import _carry_back, _compare

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [(1, 3), (7, 2), (130, 5), (33, 16), (20, 64), (9, 256)]
PRIORS = 2


def draw(tokens: int, experts: int, dtype: torch.dtype, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(tokens + experts)
    return (torch.randn(tokens, experts, generator=generator) * scale).to(DEVICE, dtype)


def marginals_of(experts: int) -> BetaMarginals:
    alpha_RK = torch.linspace(0.3, 3.0, PRIORS * experts).view(PRIORS, experts)
    return BetaMarginals.from_alpha(alpha_RK, torch.float32, DEVICE)


def both(logits_NK: Tensor, bucket_N: Tensor, buckets: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Counts, gradient and squared distances, by torch and by Triton; ignored tokens are in bucket `buckets`."""
    tokens, experts = logits_NK.shape
    counted_N = bucket_N < buckets
    row_N = bucket_N % PRIORS
    coefficient_N = torch.linspace(0.5, 1.5, tokens, device=DEVICE)
    marginals = marginals_of(experts)

    routing = one_vs_rest(logits_NK.t().float().contiguous())
    kept = counted_N.nonzero().squeeze(1)
    ell_KN, top_1N = (values.index_select(1, kept) for values in routing)
    own = CarriedHistogram.of(ell_KN, bucket_N[kept], buckets)
    scale = TargetScale.of(own.tokens_Q, "eq4", torch.float32)
    # A tied token's place depends on its index among all.
    whole_KN = routing.ell_KN.where(counted_N, 0.0)
    inside_N = bucket_N.where(counted_N, 0)
    cdf = HistogramCdf.of(whole_KN, inside_N, scale, own, own)
    distance_KN, slope_KN = _compare(
        ell_KN, cdf.coordinate_KN[:, kept], bucket_N[kept], row_N[kept], cdf, marginals
    )
    expected_KN, expected_N = _carry_back(distance_KN, slope_KN, ell_KN, top_1N, coefficient_N[kept])
    gradient_NK = torch.zeros(tokens, experts, device=DEVICE).index_copy_(0, kept, expected_KN.t())
    squared_N = torch.zeros(tokens, device=DEVICE).index_copy_(0, kept, expected_N)

    codes_N = bucket_N.int()
    ends_2KQ = triton_loss.ends(logits_NK, codes_N, buckets)
    torch.testing.assert_close(ends_2KQ, own.ends_2KQ, rtol=1e-6, atol=1e-6)
    counts_KQB = triton_loss.counted(logits_NK, codes_N, lattice.Lattice.spanning(ends_2KQ))
    assert torch.equal(counts_KQB.sum(-1), own.tokens_Q.expand(experts, -1).int())
    target_2M = target_table(own.counts_KQB, scale, torch.float32)
    found = triton_loss.gradient(
        logits_NK, codes_N, row_N.int(), coefficient_N, own.lattice, target_2M, marginals
    )
    return (own.counts_KQB, gradient_NK, squared_N), (counts_KQB, *found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("tokens", "experts"), SHAPES)
def test_kernels_equal_the_plain_form(tokens: int, experts: int, dtype: torch.dtype) -> None:
    logits_NK = draw(tokens, experts, dtype)
    bucket_N = torch.arange(tokens, device=DEVICE) * 7 % 4 if tokens > 1 else torch.zeros(1, dtype=torch.int64).to(DEVICE)  # fmt: skip
    (counts, gradient, squared), (found_counts, found_gradient, found_squared) = both(logits_NK, bucket_N, 3)
    # ℓ differs by its rounding, which moves a token at the edge of its bin into the next.
    moved = (counts - found_counts).abs().sum() / 2
    assert moved <= 1 + 0.01 * counts.sum()
    same = torch.isclose(found_gradient, gradient, rtol=1e-3, atol=2e-5)
    assert same.float().mean() > 0.98
    torch.testing.assert_close(found_squared.sum(), squared.sum(), rtol=1e-2, atol=2e-5)
    assert not found_gradient[bucket_N == 3].any()


@pytest.mark.parametrize("gap", [0.0, 100.0, 3000.0])
def test_kernels_survive_large_gaps_and_ties(gap: float) -> None:
    logits_NK = torch.zeros(40, 4, device=DEVICE)
    logits_NK[::3, 1] = gap
    logits_NK[1::3, 2] = -gap
    bucket_N = torch.arange(40, device=DEVICE) % 2
    (_, gradient, squared), (_, found_gradient, found_squared) = both(logits_NK, bucket_N, 2)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-3, atol=2e-5)
    torch.testing.assert_close(found_squared, squared, rtol=1e-4, atol=2e-5)


def test_masked_experts_and_nan() -> None:
    logits_NK = draw(12, 4, torch.float32)
    logits_NK[3, 2] = -torch.inf
    bucket_N = torch.zeros(12, dtype=torch.int64, device=DEVICE)
    (_, gradient, _), (_, found_gradient, _) = both(logits_NK, bucket_N, 1)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-3, atol=2e-5)
    logits_NK[5, 0], logits_NK[7, 1] = torch.nan, torch.inf
    low = lattice.Lattice.spanning(torch.full((2, 4, 1), 5.0, device=DEVICE))
    table = target_table(torch.zeros(4, 1, lattice.BINS, dtype=torch.int32), _one_scale(), torch.float32)
    found_NK, squared_N = triton_loss.gradient(
        logits_NK, bucket_N.int(), bucket_N.int(), torch.ones(12, device=DEVICE), low, table.to(DEVICE), marginals_of(4)
    )  # fmt: skip
    assert squared_N.isnan().nonzero().squeeze(1).tolist() == [5, 7]
    assert found_NK[:5].isfinite().all()


def _one_scale() -> TargetScale:
    return TargetScale.of(torch.tensor([12]), "eq4", torch.float32)


def test_tokens_may_lie_apart() -> None:
    wide_NK = draw(20, 10, torch.float32)
    bucket_N = torch.zeros(20, dtype=torch.int64, device=DEVICE)
    apart = triton_loss.ends(wide_NK[:, :5], bucket_N.int(), 1)
    together = triton_loss.ends(wide_NK[:, :5].contiguous(), bucket_N.int(), 1)
    assert torch.equal(apart, together)


@pytest.mark.parametrize("carries", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_whole_loss_is_the_same(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, carries: bool
) -> None:
    logits_NK, earlier_NK = draw(90, 5, dtype, 0.8), draw(60, 5, dtype, 1.1)
    # Two layers of two populations, each with the prior of its place.
    population_N = (torch.arange(90, device=DEVICE) * 5 % 3 - 1).where(
        torch.arange(90, device=DEVICE) < 40, 3
    )
    population_N[60:] = torch.arange(30, device=DEVICE) % 4 // 2 + 2
    row_N = torch.where(population_N < 0, 99, population_N % PRIORS)
    results = {}
    for kernels in ("torch", "triton"):
        monkeypatch.setenv("DPSL_KERNELS", kernels)
        carried = observe(earlier_NK, torch.arange(60, device=DEVICE) % 5 - 1, 4) if carries else None
        results[kernels] = shaping_loss_and_gradient(
            logits_NK, row_N, population_N, marginals_of(5), populations=4, layers=2, ranks="histogram",
            weight_R=torch.tensor([0.5, 2.0], device=DEVICE), min_population=3, carried=carried,
        )  # fmt: skip
    plain, found = results["torch"], results["triton"]
    assert torch.equal(found.tokens_P, plain.tokens_P)
    torch.testing.assert_close(found.value, plain.value, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found.value_P, plain.value_P, rtol=1e-2, atol=1e-5)
    same = torch.isclose(found.gradient_NK, plain.gradient_NK, rtol=1e-3, atol=1e-6)
    assert same.float().mean() > 0.97
    assert found.nonfinite == 0
    assert found.histogram is not None
    assert plain.histogram is not None
    assert torch.equal(found.histogram.tokens_Q, plain.histogram.tokens_Q)
