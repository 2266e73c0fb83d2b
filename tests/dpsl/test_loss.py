"""The shaping loss against a plain NumPy and SciPy reading of the paper's Eq. 4."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import betainc, betaln
from torch import Tensor

import dpsl
from dpsl.loss import observe, shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals
from tests.dpsl.gradients import assert_same_gradient

TARGETS = {
    "eq4": lambda j, size: j / size,
    "mid": lambda j, size: (j - 0.5) / size,
    "ustat": lambda j, size: (j - 1) / (size - 1),
}


def reference(
    logits: NDArray[np.float64], alpha: NDArray[np.float64], target: str = "eq4"
) -> tuple[float, NDArray[np.float64]]:
    """Eq. 4 of one population and its gradient, through p, as a reader of the paper would write it."""
    mass = np.exp(logits - logits.max(1, keepdims=True))
    p = mass / mass.sum(1, keepdims=True)
    size, experts = p.shape
    value, gradient_p = 0.0, np.empty_like(p)
    for k in range(experts):
        a, b = alpha[k], alpha.sum() - alpha[k]
        order = np.argsort(p[:, k], kind="stable")
        sorted_p = p[order, k]
        distance = TARGETS[target](np.arange(1, size + 1), size) - betainc(a, b, sorted_p)
        density = np.exp((a - 1) * np.log(sorted_p) + (b - 1) * np.log1p(-sorted_p) - betaln(a, b))
        value += (distance**2).mean()
        gradient_p[order, k] = -2 / size * distance * density
    return value, p * (gradient_p - (p * gradient_p).sum(1, keepdims=True))


def ours(logits: Tensor, alpha: Tensor, *args: Any, **options: Any) -> tuple[float, NDArray[np.float64]]:
    leaf = logits.clone().requires_grad_()
    value = dpsl.dirichlet_prior_shaping_loss(leaf, alpha, *args, **options)
    value.backward()
    assert leaf.grad is not None
    assert leaf.grad.dtype == logits.dtype
    return value.item(), leaf.grad.double().numpy()


def draw(tokens: int, experts: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, experts, generator=generator, dtype=torch.float64) * scale


def mixed_alpha(experts: int, seed: int = 0, low: float = 0.05, high: float = 1000.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    span = torch.rand(experts, generator=generator, dtype=torch.float64)
    return torch.exp(np.log(low) + span * np.log(high / low))


def alpha_of(kind: float | None, experts: int) -> Tensor:
    return mixed_alpha(experts) if kind is None else torch.full((experts,), kind, dtype=torch.float64)


def apart(logits: Tensor) -> Tensor:
    """The tokens whose ranks float32 cannot confuse: no two ℓ of an expert within its rounding."""
    total = torch.logsumexp(logits.double(), 1, keepdim=True)
    ell = logits.double() - total - torch.log(-torch.expm1(logits.double() - total))
    sorted_ell, order = ell.sort(dim=0)
    close = sorted_ell.diff(dim=0) < 1e-6 * (1 + sorted_ell[1:].abs())
    keep = torch.ones(len(logits), dtype=torch.bool)
    keep[order[1:][close]] = False
    return logits[keep]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("experts", [2, 3, 16])
@pytest.mark.parametrize("alpha", [0.05, 0.75, 1.0, 3.0, 1000.0, None])
def test_float64_is_the_paper(alpha: float | None, experts: int, target: str) -> None:
    logits = draw(257, experts)
    alpha_K = alpha_of(alpha, experts)
    value, gradient = ours(logits, alpha_K, target=target)
    expected, expected_gradient = reference(logits.numpy(), alpha_K.numpy(), target)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(
        gradient, expected_gradient, atol=1e-9 * np.abs(expected_gradient).max() + 1e-15
    )


@pytest.mark.parametrize("experts", [2, 5, 16, 64, 512])
@pytest.mark.parametrize("alpha", [0.05, 0.75, 1.0, 3.0, 200.0, 1000.0, None])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_float32_is_close(alpha: float | None, experts: int, scale: float) -> None:
    logits = apart(draw(100, experts, scale).float())
    assert len(logits) > 50
    alpha_K = alpha_of(alpha, experts)
    value, gradient = ours(logits, alpha_K)
    expected, expected_gradient = ours(logits.double(), alpha_K)
    assert value == pytest.approx(expected, abs=5e-6, rel=5e-7)  # rel: the rounding of large values
    largest = np.abs(expected_gradient).max()
    np.testing.assert_allclose(gradient, expected_gradient, atol=3e-5 * largest + 1e-12)


@pytest.mark.parametrize("experts", [2, 4])
def test_gradient_is_that_of_the_value_at_fixed_ranks(experts: int) -> None:
    logits = draw(12, experts, 1.5)
    alpha_K = mixed_alpha(experts, low=0.3, high=5)
    _, gradient = ours(logits, alpha_K)
    step = 1e-5  # far less than the distance between ranks
    for token in range(len(logits)):
        for expert in range(experts):
            around = []
            for side in (-1, 1):
                moved = logits.clone()
                moved[token, expert] += side * step
                around.append(dpsl.dirichlet_prior_shaping_loss(moved, alpha_K).item())
            assert gradient[token, expert] == pytest.approx((around[1] - around[0]) / (2 * step), abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("ranks", ["sort", "histogram"])
@pytest.mark.parametrize("gap", [17.0, 100.0, 3000.0])
@pytest.mark.parametrize("alpha", [0.05, 0.75, 1000.0])
def test_value_and_gradient_are_finite(dtype: torch.dtype, ranks: str, gap: float, alpha: float) -> None:
    logits = draw(64, 6).to(dtype)
    logits[::2, 1] += gap
    logits[1::2, 2] -= gap
    logits[3] = 0
    value, gradient = ours(logits, alpha_of(alpha, 6), ranks=ranks)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_gradient_survives_where_probabilities_saturate() -> None:
    alpha_K = torch.tensor([0.2, 0.2, 0.2])
    logits = torch.tensor([[40.0, 0.0, -1.0], [38.0, 1.0, 0.0]])
    _, gradient = ours(logits, alpha_K)
    _, expected = ours(logits.double(), alpha_K)
    assert np.abs(expected).max() > 1e-6
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=3e-5 * np.abs(expected).max())


def test_half_precision_gradients_keep_what_a_loss_scale_would_save() -> None:
    logits = draw(4096, 8).half().requires_grad_()
    (dpsl.dirichlet_prior_shaping_loss(logits, torch.full((8,), 0.75)) * 65536).backward()
    assert logits.grad is not None
    scaled = logits.grad.double().numpy()
    _, expected = ours(logits.detach().double(), torch.full((8,), 0.75))
    np.testing.assert_allclose(
        scaled, expected * 65536, rtol=2e-3, atol=2e-3 * np.abs(expected).max() * 65536
    )


# Populations


ALPHA_PK = torch.tensor([[0.75, 0.5, 2.0], [1.0, 1.0, 1.0], [3.0, 1.0, 0.5]], dtype=torch.float64)


def separately(logits: Tensor, population: Tensor, **options: Any) -> tuple[list[float], list[int], Tensor]:
    """Value, size and gradient of each population on its own."""
    values, sizes, gradient = [], [], torch.zeros_like(logits)
    for row in range(len(ALPHA_PK)):
        members = population == row
        value, own = ours(logits[members], ALPHA_PK[row], **options)
        values.append(value)
        sizes.append(int(members.sum()))
        gradient[members] = torch.from_numpy(own).to(logits.dtype)
    return values, sizes, gradient


@given(
    sizes=st.tuples(*[st.integers(0, 30)] * 4),
    ranks=st.sampled_from(["sort", "histogram"]),
    target=st.sampled_from(list(TARGETS)),
    reduction=st.sampled_from(["tokens", "sum", "mean"]),
    least=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_populations_add_up(
    sizes: tuple[int, ...], ranks: str, target: str, reduction: str, least: int
) -> None:
    population = torch.cat([torch.full((size,), row - 1) for row, size in enumerate(sizes)])
    population = population[torch.randperm(len(population), generator=torch.Generator().manual_seed(0))]
    logits = draw(len(population), 3)
    logits[population < 0] = torch.nan
    options = {"ranks": ranks, "target": target}
    value, gradient = ours(logits, ALPHA_PK, population, reduction=reduction, min_population=least, **options)
    smallest = max(least, 2 if target == "ustat" else 1)
    values, counts, own = separately(logits, population, **options)
    kept = [row for row in range(3) if counts[row] >= smallest]
    total = sum(counts[row] for row in kept)
    share = {
        row: {"tokens": counts[row] / total, "sum": 1.0, "mean": 1 / len(kept)}[reduction] for row in kept
    }
    assert value == pytest.approx(sum(share[row] * values[row] for row in kept), abs=1e-12)
    expected = torch.zeros_like(logits)
    for row in kept:
        expected[population == row] = own[population == row] * share[row]
    np.testing.assert_allclose(gradient, expected.numpy(), atol=1e-12)


@given(order=st.permutations(range(20)), ranks=st.sampled_from(["sort", "histogram"]))
@settings(max_examples=30, deadline=None)
def test_order_of_tokens_and_experts_does_not_matter(order: list[int], ranks: str) -> None:
    logits, population = draw(20, 3), torch.arange(20) % 3
    value, gradient = ours(logits, ALPHA_PK, population, ranks=ranks)
    shuffled, moved = ours(logits[order], ALPHA_PK, population[order], ranks=ranks)
    assert shuffled == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose(moved, gradient[order], atol=1e-12)
    experts = [2, 0, 1]
    turned, moved = ours(logits[:, experts], ALPHA_PK[:, experts], population, ranks=ranks)
    assert turned == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose(moved, gradient[:, experts], atol=1e-12)


def test_one_prior_serves_any_populations() -> None:
    logits, population = draw(30, 3), torch.arange(30) % 3
    repeated = ours(logits, ALPHA_PK[:1].expand(3, 3), population)
    far_apart = torch.tensor([-7, 5, 10**12])[population]
    shared = ours(logits, ALPHA_PK[0], far_apart)
    ignoring = ours(logits, ALPHA_PK[:1].expand(3, 3), torch.where(population == 0, -1, population))
    assert shared[0] == pytest.approx(ignoring[0], abs=1e-12)
    np.testing.assert_allclose(shared[1], ignoring[1], atol=1e-12)
    assert shared[0] != repeated[0]


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("population", [[], [-1, -1], [1]])
def test_nothing_and_single_tokens(population: list[int], target: str, ranks: str) -> None:
    logits = draw(len(population), 3)
    codes = torch.tensor(population, dtype=torch.int64)
    value, gradient = ours(logits, ALPHA_PK, codes, target=target, ranks=ranks)
    if 1 in population and target != "ustat":
        place = {"eq4": 1.0, "mid": 0.5}[target]
        p = logits.softmax(1).numpy()
        assert value == pytest.approx(((place - betainc(1.0, 2.0, p)) ** 2).sum(), abs=1e-9)
    else:
        assert value == 0
        assert not gradient.any()


def test_the_core_weighs_priors_and_reports_populations() -> None:
    logits, population = draw(50, 3), torch.arange(50) % 4 - 1
    weight_R = torch.tensor([0.1, 0.0, 2.0], dtype=torch.float64)
    marginals = BetaMarginals.from_alpha(ALPHA_PK, torch.float64)
    result = shaping_loss_and_gradient(
        logits, population, population, marginals, populations=3, weight_R=weight_R, reduction="sum"
    )
    values, sizes, gradient = separately(logits, population)
    assert result.tokens_P.tolist() == sizes
    torch.testing.assert_close(result.value_P, torch.tensor(values, dtype=torch.float64))
    torch.testing.assert_close(result.value, (weight_R * torch.tensor(values, dtype=torch.float64)).sum())
    weight_N1 = torch.where(population < 0, 0.0, weight_R[population])[:, None]
    torch.testing.assert_close(result.gradient_NK, gradient * weight_N1)


def test_histograms_agree_with_sorting() -> None:
    population = torch.arange(40_000) % 3
    for alpha, scale in ((0.75, 1.0), (0.2, 0.1), (1.0, 4.0)):
        logits = draw(40_000, 4, scale).float()
        alpha_PK = torch.full((3, 4), alpha)
        exact, exact_gradient = ours(logits, alpha_PK, population)
        fast, fast_gradient = ours(logits, alpha_PK, population, ranks="histogram")
        assert fast == pytest.approx(exact, rel=2e-4)
        error = np.linalg.norm(fast_gradient - exact_gradient) / np.linalg.norm(exact_gradient)
        assert error < 5e-3


def test_a_router_learns_its_prior() -> None:
    alpha_K = torch.tensor([3.0, 1.0, 0.5])
    logits = draw(1000, 3, 0.5).float().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = dpsl.dirichlet_prior_shaping_loss(logits, alpha_K)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3
    torch.testing.assert_close(logits.softmax(1).mean(0), alpha_K / alpha_K.sum(), atol=0.02, rtol=0)


@pytest.mark.filterwarnings("ignore:every token has equal logits")
@pytest.mark.parametrize("ranks", ["sort", "histogram"])
def test_a_router_leaves_all_equal_logits(ranks: str) -> None:
    tokens = draw(512, 6, seed=3).float()
    router = torch.nn.Linear(6, 4, bias=False)
    torch.nn.init.zeros_(router.weight)
    optimizer = torch.optim.Adam(router.parameters(), lr=0.02)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = dpsl.dirichlet_prior_shaping_loss(router(tokens), torch.full((4,), 1.5), ranks=ranks)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 20


# The module, and what is refused


def test_the_module_is_the_function() -> None:
    logits, population = draw(30, 3).float(), torch.arange(30) % 3
    layer = dpsl.DirichletPriorShaping(ALPHA_PK, target="mid", ranks="histogram", reduction="sum")
    expected = dpsl.dirichlet_prior_shaping_loss(
        logits, ALPHA_PK, population, target="mid", ranks="histogram", reduction="sum"
    )
    assert torch.equal(layer(logits, population), expected)
    assert torch.equal(layer.half()(logits, population), expected)
    assert "target='mid'" in repr(layer)
    restored = dpsl.DirichletPriorShaping(torch.ones(3, 3))
    restored.load_state_dict(layer.state_dict())
    assert torch.equal(restored.alpha, ALPHA_PK)


def test_no_gradient_is_asked_of_logits_without_one() -> None:
    value = dpsl.dirichlet_prior_shaping_loss(draw(5, 3), ALPHA_PK[0])
    assert not value.requires_grad


GOOD = {
    "logits": torch.zeros(4, 3),
    "alpha": torch.ones(2, 3),
    "population": torch.zeros(4, dtype=torch.int64),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2, 2, 3)}, r"shape \[N, K\], not \[2, 2, 3\]"),
        ({"logits": torch.zeros(4, 3, dtype=torch.int64)}, "floating-point tensor .* not a int64 tensor"),
        ({"logits": torch.zeros(4, 1), "alpha": torch.ones(2, 1)}, "at least 2"),
        ({"logits": [[0.0, 1.0]]}, "not a list"),
        ({"alpha": torch.ones(2, 4)}, r"\[2, 4\] is for 4 experts, but logits have 3"),
        ({"alpha": torch.ones(1, 2, 3)}, r"\[K\] or \[P, K\]"),
        ({"alpha": torch.tensor([1.0, 0.0, 1.0])}, "positive and finite"),
        ({"alpha": torch.tensor([1.0, torch.nan, 1.0])}, "positive and finite"),
        ({"alpha": torch.tensor([1.0, torch.inf, 1.0])}, "positive and finite"),
        ({"alpha": [1.0, 1.0, 1.0]}, "not a list"),
        ({"population": None}, "alpha holds 2 priors"),
        ({"population": torch.zeros(4)}, "int64 tensor"),
        ({"population": torch.zeros(5, dtype=torch.int64)}, r"shape \[4\]"),
        ({"population": torch.tensor([0, 1, 2, 0])}, "population 2 has no prior"),
        (
            {"logits": torch.tensor([[0.0, 1.0, torch.nan]] * 4)},
            "NaN or infinite values in 4 of 4 tokens, first in token 0",
        ),
        (
            {"logits": torch.tensor([[0.0, 1.0, 2.0]] * 3 + [[0.0, torch.inf, 1.0]])},
            "in 1 of 4 tokens, first in token 3",
        ),
        ({"logits": torch.full((4, 3), -torch.inf)}, "−inf alone may mask an expert"),
        ({"target": "eq5"}, "'eq4', 'mid', 'ustat'"),
        ({"ranks": "bins"}, "'sort', 'histogram'"),
        ({"reduction": "none"}, "'tokens', 'sum', 'mean'"),
        ({"min_population": 0}, "at least 1"),
        ({"min_population": 2.5}, "integer"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dpsl.dirichlet_prior_shaping_loss(**{**GOOD, **change})


def test_the_module_refuses_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="learnable=True"):
        dpsl.DirichletPriorShaping(torch.nn.Parameter(torch.ones(3)))
    with pytest.raises(ValueError, match="target must be one of"):
        dpsl.DirichletPriorShaping(torch.ones(3), target="other")


# Micro-batches


def test_carried_histograms_make_micro_batches_the_whole() -> None:
    logits, population = draw(600, 3).float(), torch.arange(600) % 4 - 1
    marginals = BetaMarginals.from_alpha(ALPHA_PK, torch.float32)
    options: dict[str, Any] = {"populations": 3, "ranks": "histogram"}
    whole = shaping_loss_and_gradient(logits, population, population, marginals, **options)
    pieces = [slice(0, 250), slice(250, 251), slice(251, 600)]
    seen = [observe(logits[piece], population[piece], 3) for piece in pieces]
    value, gradients = 0.0, []
    for own, piece in enumerate(pieces):
        others = [part for place, part in enumerate(seen) if place != own]
        part = shaping_loss_and_gradient(
            logits[piece], population[piece], population[piece], marginals,
            carried=others[0].merged(others[1]), **options,
        )  # fmt: skip
        value += part.value.item()
        gradients.append(part.gradient_NK)
        assert part.tokens_P.tolist() == whole.tokens_P.tolist()
        assert part.histogram is not None
        assert torch.equal(part.histogram.counts_KQB, seen[own].counts_KQB)
    assert value == pytest.approx(whole.value.item(), rel=1e-5)
    assert_same_gradient(torch.cat(gradients), whole.gradient_NK)


@pytest.mark.parametrize("reduction", ["tokens", "sum", "mean"])
def test_layers_of_one_call_are_as_many_calls(reduction: str) -> None:
    logits, population = draw(90, 3).float(), torch.arange(90) % 3 - 1
    marginals = BetaMarginals.from_alpha(ALPHA_PK, torch.float32)
    options: dict[str, Any] = {"ranks": "histogram", "reduction": reduction}
    apart = [
        shaping_loss_and_gradient(logits[part], population[part], population[part], marginals, populations=2, **options)
        for part in (slice(0, 50), slice(50, 90))
    ]  # fmt: skip
    shifted = torch.where((torch.arange(90) < 50) | (population < 0), population, population + 2)
    joined = shaping_loss_and_gradient(
        logits, population, shifted, marginals, populations=4, layers=2, **options
    )
    torch.testing.assert_close(joined.value, apart[0].value + apart[1].value)
    torch.testing.assert_close(joined.gradient_NK, torch.cat([part.gradient_NK for part in apart]))
    torch.testing.assert_close(joined.value_P, torch.cat([part.value_P for part in apart]))


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
def test_what_is_not_finite_is_counted(ranks: str) -> None:
    logits, population = draw(20, 3).float(), torch.arange(20) % 4 - 1
    logits[0] = torch.nan  # ignored
    logits[1, 0], logits[2, 1] = torch.nan, torch.inf
    logits[3, 2] = -torch.inf  # a masked expert
    marginals = BetaMarginals.from_alpha(ALPHA_PK, torch.float32)
    result = shaping_loss_and_gradient(logits, population, population, marginals, populations=3, ranks=ranks)
    assert result.nonfinite == 2
    assert result.value.isnan()
    logits[1:3] = 0
    result = shaping_loss_and_gradient(logits, population, population, marginals, populations=3, ranks=ranks)
    assert result.nonfinite == 0
    assert result.gradient_NK.isfinite().all()


def test_masked_experts_and_ignored_tokens_may_be_infinite() -> None:
    logits = draw(6, 3)
    logits[::2, 1] = -torch.inf
    logits[1] = torch.nan
    population = torch.tensor([0, -1, 0, 0, 0, 0])
    value, gradient = ours(logits, ALPHA_PK[:1], population)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    unchecked = dpsl.dirichlet_prior_shaping_loss(logits, ALPHA_PK[0], check_values=False)
    assert unchecked.isnan()


def test_equal_logits_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="every token has equal logits for all experts"):
        dpsl.dirichlet_prior_shaping_loss(torch.full((4, 3), 2.0), ALPHA_PK[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dpsl.dirichlet_prior_shaping_loss(torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.1]]), ALPHA_PK[0])


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
def test_only_the_gradient_is_kept_for_the_backward_pass(ranks: str) -> None:
    logits = draw(500, 4).half().requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda kept: kept
    ):
        dpsl.dirichlet_prior_shaping_loss(
            logits, ALPHA_PK[:1, :1].expand(1, 4), torch.arange(500) % 3 - 2, ranks=ranks
        )
    assert [tensor.shape for tensor in kept if tensor is not None] == [logits.shape]


@pytest.mark.parametrize("experts", [2, 3, 64, 512])
def test_any_number_of_experts_in_half_precision(experts: int) -> None:
    logits = draw(50, experts, 3.0)
    for dtype in (torch.float16, torch.bfloat16):
        low = logits.to(dtype)
        value, gradient = ours(low, torch.full((experts,), 0.75))
        expected, expected_gradient = ours(low.float(), torch.full((experts,), 0.75))
        assert value == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(
            gradient, expected_gradient, rtol=1e-2, atol=1e-2 * np.abs(expected_gradient).max()
        )
