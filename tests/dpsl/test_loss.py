"""The shaping loss against a plain NumPy and SciPy reading of the paper's Eq. 4."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dpsl
from tests.dpsl.plain_loss import ALPHA_PK, TARGETS, alpha_of, apart, draw, mixed_alpha, ours, reference


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
