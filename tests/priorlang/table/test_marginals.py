"""Beta marginals in ℓ: the exact functions, and how closely their tables follow them."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import betaln
from scipy.stats import beta

from priorlang.table.marginals import (
    ACCURATE_SHAPE,
    CDF_ERROR,
    NODES,
    SLOPE_ERROR,
    beta_in_logit,
    build_marginals,
)

SHAPES = (ACCURATE_SHAPE[0], 0.05, 0.3, 1.0, 1.02, 5.0, 200.0, ACCURATE_SHAPE[1])
PAIRS = np.array(list(itertools.product(SHAPES, SHAPES)))


def read(
    marginal: NDArray[np.float32], window: NDArray[np.float32], ell: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One table read the way the format says, all in float32."""
    lo, hi = window
    step = (hi - lo) / np.float32(NODES - 1)
    x = np.clip((ell - lo) / step, 0, NODES - 1)
    node = np.minimum(x.astype(np.int32), NODES - 2)
    t = x - node.astype(np.float32)

    def derivatives(value: int, at: NDArray[np.int32]) -> list[NDArray[np.float32]]:
        """The tabulated quantity, and its derivatives per node spacing as far as the table has them."""
        return [marginal[at, value + order] * step**order for order in range(3 - value)]

    (f0, f0_1, f0_2), (f1, f1_1, f1_2) = derivatives(0, node), derivatives(0, node + 1)
    (h0, h0_1), (h1, h1_1) = derivatives(1, node), derivatives(1, node + 1)
    rest, rest_1, rest_2 = f1 - f0 - f0_1 - f0_2 / 2, f1_1 - f0_1 - f0_2, (f1_2 - f0_2) / 2
    cdf = f0 + t * (f0_1 + t * (f0_2 / 2 + t * (
        10 * rest - 4 * rest_1 + rest_2
        + t * (-15 * rest + 7 * rest_1 - 2 * rest_2 + t * (6 * rest - 3 * rest_1 + rest_2))
    )))  # fmt: skip
    rise = h1 - h0
    slope = h0 + t * (h0_1 + t * (3 * rise - 2 * h0_1 - h1_1 + t * (h0_1 + h1_1 - 2 * rise)))
    tiny = np.float32(2.0**-24)
    left = marginal[0, 1] / max(marginal[0, 0], tiny)
    right = marginal[-1, 1] / max(1 - marginal[-1, 0], tiny)
    decay = np.exp(left * np.minimum(ell - lo, 0) - right * np.maximum(ell - hi, 0))
    return cdf * decay + (ell > hi) * (1 - decay), slope * decay


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_tables_keep_their_stated_accuracy(a: float, b: float) -> None:
    marginal, window = build_marginals(np.array([a]), np.array([b]))
    lo, hi = (float(end) for end in window[0])
    near = np.linspace(2 * lo - hi, 2 * hi - lo, 2001)
    ell = np.concatenate([np.linspace(-60, 60, 2001), near]).astype(np.float32)
    cdf, slope = read(marginal[0], window[0], ell)
    exact_cdf, exact_slope, _ = beta_in_logit(ell.astype(np.float64), np.array(a), np.array(b))
    assert np.abs(cdf - exact_cdf).max() < CDF_ERROR
    assert np.abs(slope - exact_slope).max() < SLOPE_ERROR * exact_slope.max()


@pytest.mark.parametrize(("a", "b"), [(0.05, 0.3), (1.0, 1.0), (2.5, 40.0), (200.0, 3.0)])
def test_functions_are_the_beta_distribution(a: float, b: float) -> None:
    ell = np.linspace(-12, 12, 97)
    p = 1 / (1 + np.exp(-ell))
    cdf, slope, curvature = beta_in_logit(ell, np.array(a), np.array(b))
    np.testing.assert_allclose(cdf, beta.cdf(p, a, b), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(slope, p * (1 - p) * beta.pdf(p, a, b), rtol=1e-8, atol=1e-14)
    step = 1e-4
    around = [beta_in_logit(ell + side * step, np.array(a), np.array(b))[1] for side in (-1, 1)]
    np.testing.assert_allclose(curvature, (around[1] - around[0]) / (2 * step), atol=1e-6 * slope.max())


@pytest.mark.parametrize("b", [0.7, 1.0, 300.0])
def test_functions_do_not_saturate_where_p_underflows(b: float) -> None:
    a, ell = 1e-3, np.array([-500.0, -599.9, -600.1, -800.0, -5000.0])
    power_law = np.exp(a * ell - np.log(a) - betaln(a, b))
    cdf, slope, _ = beta_in_logit(ell, np.array(a), np.array(b))
    np.testing.assert_allclose(cdf, power_law, rtol=1e-12)
    np.testing.assert_allclose(slope, a * power_law, rtol=1e-12)
    mirrored_cdf, mirrored_slope, _ = beta_in_logit(-ell, np.array(b), np.array(a))
    np.testing.assert_allclose(mirrored_cdf, 1 - power_law, rtol=1e-12)
    np.testing.assert_allclose(mirrored_slope, slope, rtol=1e-12)


def test_equal_input_gives_equal_bytes_in_any_company_and_process() -> None:
    a, b = PAIRS.T
    marginal, window = build_marginals(a, b)
    backwards, backwards_window = build_marginals(a[::-1].copy(), b[::-1].copy())
    assert backwards[::-1].tobytes() == marginal.tobytes()
    assert backwards_window[::-1].tobytes() == window.tobytes()
    script = (
        "import sys, numpy as np; from priorlang.table.marginals import build_marginals;"
        "m, w = build_marginals(np.array([0.3, 200.0]), np.array([5.0, 0.05]));"
        "assert 'torch' not in sys.modules; sys.stdout.write((m.tobytes() + w.tobytes()).hex())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    here = build_marginals(np.array([0.3, 200.0]), np.array([5.0, 0.05]))
    assert elsewhere.stdout == (here[0].tobytes() + here[1].tobytes()).hex()


def test_any_shape_gives_a_finite_table_with_a_window() -> None:
    sizes = 10.0 ** np.arange(-12, 13, 2)
    a, b = np.array(list(itertools.product(sizes, sizes))).T
    marginal, window = build_marginals(a, b)
    assert marginal.shape == (len(a), NODES, 3)
    assert marginal.dtype == window.dtype == np.float32
    assert np.isfinite(marginal).all()
    assert (window[:, 0] < window[:, 1]).all()
    assert (np.diff(marginal[..., 0].astype(np.float64), axis=1) >= 0).all()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1.0, 2.0], [1.0], "one length"),
        ([[1.0]], [[1.0]], "one length"),
        ([0.0], [1.0], "positive and finite"),
        ([1.0], [np.inf], "positive and finite"),
        ([np.nan], [1.0], "positive and finite"),
    ],
)
def test_bad_shapes_are_refused(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_marginals(np.array(a), np.array(b))


def test_no_marginals_are_no_tables() -> None:
    marginal, window = build_marginals(np.empty(0), np.empty(0))
    assert marginal.shape == (0, NODES, 3)
    assert window.shape == (0, 2)
