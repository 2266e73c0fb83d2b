"""Batch shaping against its published form, written out with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from dpsl.regularizers import BatchShaping, attach_regularizers, batch_shaping
from tests.dpsl.tiny_models import batch, tiny


def published(logits_NK: Tensor, a: float, b: float) -> tuple[float, Tensor]:
    """Sort each gate, compare its Beta CDF with i/(N + 1), and go back through the clipped density."""
    leaf_NK = logits_NK.double().requires_grad_()
    p_NK = leaf_NK.softmax(-1)
    values = p_NK.detach().numpy()
    places = values.argsort(0).argsort(0) + 1
    gap = stats.beta.cdf(values, a, b) - places / (len(values) + 1)
    density = np.clip(stats.beta.pdf(values, a, b), 1e-3, 100)
    p_NK.backward(torch.from_numpy(2 * gap * density / len(values)))
    assert leaf_NK.grad is not None
    return float((gap**2).sum() / len(values)), leaf_NK.grad


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.4), (2.0, 6.0), (0.05, 0.2)])
@pytest.mark.parametrize("width", [0.5, 12.0])
def test_it_is_the_published_loss(a: float, b: float, width: float) -> None:
    logits_NK = width * torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    expected, gradient_NK = published(logits_NK, a, b)
    value, found_NK = batch_shaping(logits_NK, torch.ones(50, dtype=torch.bool), a, b)
    assert float(value) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(found_NK.double(), gradient_NK, rtol=1e-3, atol=1e-6)


def test_padding_counts_nowhere() -> None:
    logits_NK = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    padded_NK = torch.cat([torch.full((3, 4), torch.nan), logits_NK, torch.full((2, 4), 9.0)])
    counted_N = torch.tensor([False] * 3 + [True] * 20 + [False] * 2)
    value, gradient_NK = batch_shaping(logits_NK, torch.ones(20, dtype=torch.bool), 0.6, 0.4)
    padded_value, padded_gradient_NK = batch_shaping(padded_NK, counted_N, 0.6, 0.4)
    torch.testing.assert_close(padded_value, value)
    torch.testing.assert_close(padded_gradient_NK[counted_N], gradient_NK)
    assert not padded_gradient_NK[~counted_N].any()
    nothing, no_gradient_NK = batch_shaping(logits_NK, torch.zeros(20, dtype=torch.bool), 0.6, 0.4)
    assert float(nothing) == 0.0
    assert not no_gradient_NK.any()


def test_barred_experts_have_no_gradient() -> None:
    logits_NK = torch.randn(20, 4).index_fill(1, torch.tensor([2]), -torch.inf)
    value, gradient_NK = batch_shaping(logits_NK, torch.ones(20, dtype=torch.bool), 0.6, 0.4)
    assert value.isfinite()
    assert gradient_NK.isfinite().all()
    assert not gradient_NK[:, 2].any()


def test_descending_makes_gates_follow_the_beta() -> None:
    logits_NK = torch.randn(400, 2, generator=torch.Generator().manual_seed(2))
    everything_N = torch.ones(400, dtype=torch.bool)
    before = float(batch_shaping(logits_NK, everything_N, 0.5, 0.5)[0])
    for _ in range(300):
        logits_NK -= 200 * batch_shaping(logits_NK, everything_N, 0.5, 0.5)[1]
    after = float(batch_shaping(logits_NK, everything_N, 0.5, 0.5)[0])
    assert after < before / 20


def test_attached_it_hands_its_gradient_to_the_router() -> None:
    model = tiny("mixtral")
    regularizers = attach_regularizers(model, [BatchShaping(coefficient=1.0)])
    data = batch(1)
    with regularizers.tokens(mask=data["attention_mask"]):
        model(**data).loss.backward()
    assert all(norms["batch_shaping"] > 0 for norms in regularizers.arrivals().values())
    assert 0 < regularizers.metrics()["batch_shaping"] < 4
