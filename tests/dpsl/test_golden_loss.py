"""The loss against values made by mpmath at fifty digits: see `make_golden_loss.py`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dpsl.loss import dirichlet_prior_shaping_loss
from dpsl.marginals import BetaMarginals
from priorlang.table.marginals import CDF_ERROR, SLOPE_ERROR, beta_in_logit

GOLDEN = json.loads((Path(__file__).parents[1] / "files" / "golden" / "loss.json").read_text())


def test_exact_marginals_are_mpmaths() -> None:
    a, b, ell, cdf, slope = np.array(GOLDEN["marginals"]).T
    found_cdf, found_slope, _ = beta_in_logit(ell, a, b)
    np.testing.assert_allclose(found_cdf, cdf, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found_slope, slope, rtol=1e-9, atol=1e-300)


def test_tables_are_within_their_stated_error_of_mpmath() -> None:
    rows = np.array(GOLDEN["marginals"])
    for (a, b), entries in (
        (pair, rows[(rows[:, :2] == pair).all(1)]) for pair in np.unique(rows[:, :2], axis=0)
    ):
        tables = BetaMarginals.from_alpha(torch.tensor([[a, b]]), torch.float32)
        ell_NK = torch.tensor(np.stack([entries[:, 2], -entries[:, 2]], 1), dtype=torch.float32)
        cdf_NK, slope_NK = tables.evaluate(ell_NK, torch.zeros(len(entries), dtype=torch.int64))
        assert np.abs(cdf_NK[:, 0].numpy() - entries[:, 3]).max() < CDF_ERROR
        _, peak, _ = beta_in_logit(np.log(a) - np.log(b), a, b)
        assert np.abs(slope_NK[:, 0].numpy() - entries[:, 4]).max() < SLOPE_ERROR * peak


@pytest.mark.parametrize("batch", GOLDEN["batches"], ids=lambda batch: f"{batch['alpha']}-{batch['target']}")
@pytest.mark.parametrize(
    ("dtype", "value_error", "gradient_error"), [(torch.float64, 1e-11, 1e-9), (torch.float32, 1e-5, 2e-4)]
)
def test_losses_and_gradients_are_mpmaths(batch, dtype, value_error: float, gradient_error: float) -> None:
    logits = torch.tensor(batch["logits"], dtype=dtype, requires_grad=True)
    alpha = torch.tensor(batch["alpha"], dtype=torch.float64)
    loss = dirichlet_prior_shaping_loss(logits, alpha, target=batch["target"])
    loss.backward()
    if batch["target"] == "ustat" and len(logits) == 1:
        assert loss == 0
        return
    assert loss.item() == pytest.approx(batch["value"], rel=value_error, abs=value_error)
    assert logits.grad is not None
    expected = np.array(batch["gradient"])
    np.testing.assert_allclose(
        logits.grad.numpy(), expected, rtol=gradient_error, atol=gradient_error * np.abs(expected).max()
    )


def test_gradcheck_at_fixed_ranks() -> None:
    # No two ℓ are within the step of the differences, so that ranks stand.
    logits = torch.tensor(
        [[0.3, -1.0, 2.0, 0.1], [1.0, 0.2, -0.7, 0.6], [-2.0, 1.5, 0.4, -0.3]], dtype=torch.float64
    ).requires_grad_()
    alpha = torch.tensor([0.4, 2.0, 1.0, 7.0])
    for target in ("eq4", "mid", "ustat"):
        assert torch.autograd.gradcheck(
            lambda z, target=target: dirichlet_prior_shaping_loss(z, alpha, target=target),
            (logits,),
            eps=1e-6,
            atol=1e-8,
        )
