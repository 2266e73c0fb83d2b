"""Statistics against the plainest way to compute each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from tables import modality_table, symmetric_table
from torch import Tensor

from dpsl.errors import StatisticsError
from dpsl.shaping.accumulator import RoutingAccumulator, log_scores
from dpsl.shaping.layout import table_layout
from dpsl.statistics import (
    GRID_P,
    RoutingStatistics,
    group_alpha,
    ks_distance,
    load_share,
    mean_probability,
    score_quantile,
    score_spread,
)
from priorlang.table.prior_table import PriorTable

EXPERTS, TOP_K = 4, 2


def sampled(alpha: list[float], tokens: int, seed: int = 0) -> Tensor:
    """Logits whose softmax is Dirichlet(alpha)."""
    return torch.from_numpy(np.log(np.random.default_rng(seed).dirichlet(alpha, tokens))).float()


def gathered(table: PriorTable, logits_NK: Tensor, group_N: Tensor, passes: int = 1) -> RoutingStatistics:
    accumulator = RoutingAccumulator(table_layout(table), EXPERTS)
    log_p_NK, ell_NK = log_scores(logits_NK)
    for _ in range(passes):
        for position in range(len(table.layer)):
            accumulator.add(position, log_p_NK, ell_NK, logits_NK.topk(TOP_K).indices, group_N)
    return accumulator.statistics(table)


def test_scores_do_not_saturate() -> None:
    gaps = torch.tensor([[50.0, 0.0, -20.0, 0.0], [0.0, 0.0, 0.0, 0.0], [3000.0, 0.0, 0.0, -3000.0]])
    log_p_NK, ell_NK = log_scores(gaps)
    exact = gaps.double()
    others = torch.stack([exact[:, [i for i in range(4) if i != k]].logsumexp(-1) for k in range(4)], -1)
    assert torch.allclose(ell_NK.double(), exact - others, rtol=1e-6)
    assert torch.allclose(log_p_NK.double(), exact.log_softmax(-1), rtol=1e-6)


def test_sums_against_a_loop() -> None:
    table = modality_table(1)
    logits_NK = sampled([0.75] * EXPERTS, 200)
    group_N = torch.randint(-1, 2, (200,), generator=torch.Generator().manual_seed(0))
    found = gathered(table, logits_NK, group_N, passes=2)
    p_NK = logits_NK.double().softmax(-1).numpy()
    chosen_Nk = logits_NK.topk(TOP_K).indices.numpy()
    for group in range(2):
        rows = np.flatnonzero(group_N.numpy() == group)
        assert found.tokens[group] == 2 * len(rows)
        assert found.load[group].tolist() == [2 * int((chosen_Nk[rows] == k).sum()) for k in range(EXPERTS)]
        assert found.probability[group] == pytest.approx(2 * p_NK[rows].sum(0), rel=1e-5)
        assert found.log_probability[group] == pytest.approx(2 * np.log(p_NK[rows]).sum(0), rel=1e-5)
        for expert in range(EXPERTS):
            assert found.bins[group, expert].tolist() == pytest.approx(
                2 * np.histogram(p_NK[rows, expert], GRID_P)[0], abs=2
            )


def test_measures_of_a_group() -> None:
    table = symmetric_table(1)
    logits_NK = sampled([0.75] * EXPERTS, 5000)
    found = gathered(table, logits_NK, torch.zeros(5000, dtype=torch.int64))
    p_NK = logits_NK.double().softmax(-1).numpy()
    assert load_share(found).sum() == pytest.approx(1.0)
    assert mean_probability(found)[0] == pytest.approx(p_NK.mean(0), rel=1e-6)
    edges = np.linspace(0, 1, 21)
    for expert in range(EXPERTS):
        exact = np.histogram(p_NK[:, expert], edges)[0]
        assert np.abs(found.score_histogram(edges)[0, expert] - exact).max() < 40
    assert found.score_histogram(edges).sum(-1) == pytest.approx(5000)
    for quantile in (0.1, 0.5, 0.9):
        assert score_quantile(found, quantile)[0] == pytest.approx(
            np.quantile(p_NK, quantile, axis=0), rel=0.07
        )
    assert score_spread(found)[0] == pytest.approx(
        score_quantile(found, 0.9)[0] - score_quantile(found, 0.1)[0]
    )


@pytest.mark.parametrize("shape", [0.3, 0.75, 2.0])
def test_ks_distance_is_that_of_scipy(shape: float) -> None:
    table = symmetric_table(1, alpha=0.75)
    logits_NK = sampled([shape] * EXPERTS, 2000)
    found = ks_distance(gathered(table, logits_NK, torch.zeros(2000, dtype=torch.int64)), table)
    p_NK = logits_NK.double().softmax(-1).numpy()
    for expert in range(EXPERTS):
        exact = stats.kstest(p_NK[:, expert], stats.beta(0.75, 2.25).cdf).statistic
        assert found[0, expert] == pytest.approx(exact, abs=0.01)
    assert (found[0] < 0.05).all() == (shape == 0.75)


def test_groups_without_prior_or_tokens_have_no_distance() -> None:
    table = modality_table(1, language_shaped=False)
    found = gathered(table, sampled([1.0] * EXPERTS, 10), torch.ones(10, dtype=torch.int64))
    assert np.isnan(ks_distance(found, table)).all()
    assert np.isnan(load_share(found)[0]).all()
    vision, unshaped = group_alpha(found, table)
    assert vision is not None
    assert vision.tolist() == [1.25, 1.25, 0.75, 0.75]
    assert unshaped is None


def test_merged_groups_are_sums() -> None:
    table = modality_table(2)
    group_N = torch.arange(60) % 2
    found = gathered(table, sampled([1.0] * EXPERTS, 60), group_N)
    merged = found.merged(
        [found.groups_of(0), found.groups_of(1), np.array([1])], ["all 0", "all 1", "language"]
    )
    assert merged.tokens.tolist() == [60, 60, 30]
    assert merged.group_layer.tolist() == [0, 1, 0]
    assert merged.group_population.tolist() == [-1, -1, 1]
    assert (merged.bins[0] == found.bins[0] + found.bins[1]).all()


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    table = modality_table(2, language_shaped=False)
    written = gathered(table, sampled([1.0] * EXPERTS, 60), torch.arange(60) % 2)
    path = tmp_path / "routing.safetensors"
    written.save(path)
    first = path.read_bytes()
    written.save(path)
    assert path.read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    read = RoutingStatistics.read(path)
    assert read.group_name == written.group_name
    for name in (
        "layer",
        "group_layer",
        "group_population",
        "tokens",
        "load",
        "probability",
        "log_probability",
        "bins",
    ):
        before, after = getattr(written, name), getattr(read, name)
        assert before.dtype == after.dtype
        assert np.array_equal(before, after)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "routing.safetensors"
    with pytest.raises(StatisticsError, match="no such file"):
        RoutingStatistics.read(path)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(StatisticsError, match="cannot be read"):
        RoutingStatistics.read(path)
    save_file({"layer": np.zeros(2)}, path)
    with pytest.raises(StatisticsError, match="no routing statistics"):
        RoutingStatistics.read(path)
