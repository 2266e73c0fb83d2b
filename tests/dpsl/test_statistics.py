"""Statistics against the plainest way to compute each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tables import modality_table, symmetric_table
from torch import Tensor

from dpsl.shaping.accumulator import RoutingAccumulator, log_scores
from dpsl.shaping.layout import table_layout
from dpsl.shaping.routed_tokens import RoutedTokens, SeenLayer
from priorlang.diagnostics.finding import PriorError
from priorlang.routing.dirichlet_fit import fit_dirichlet
from priorlang.routing.statistics import (
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


def gathered(table: PriorTable, logits_NK: Tensor, class_N: Tensor, passes: int = 1) -> RoutingStatistics:
    accumulator = RoutingAccumulator(table_layout(table), EXPERTS)
    log_p_NK, ell_NK = log_scores(logits_NK)
    for _ in range(passes):
        for place in range(len(table.layer)):
            seen = SeenLayer(place, logits_NK, logits_NK.topk(TOP_K).indices, class_N)
            accumulator.add(RoutedTokens.joined([seen]), log_p_NK, ell_NK)
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
        top_N = p_NK[rows].argmax(1)
        assert found.top[group].tolist() == [2 * int((top_N == k).sum()) for k in range(EXPERTS)]
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
    assert_same_arrays(written, read)
    assert_same_arrays(written.classes, read.classes)


def assert_same_arrays(written: Any, read: Any) -> None:
    for name, before in vars(written).items():
        if isinstance(before, np.ndarray):
            after = getattr(read, name)
            assert before.dtype == after.dtype
            assert np.array_equal(before, after)


@pytest.mark.parametrize("by_class", [True, False])
def test_classes_add_up_to_groups(by_class: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two classes of one population, as an unshaped prior has them."""
    table = symmetric_table(2)
    monkeypatch.setattr("priorlang.routing.class_sums.MAXIMUM_SUMS", 10**6 if by_class else 0)
    class_N = torch.arange(90) % 3 - 1
    found = gathered(table, sampled([1.0] * EXPERTS, 90), class_N.clamp(max=table.class_count - 1))
    assert found.tokens.tolist() == [60, 60]
    assert (found.classes is not None) == by_class
    if found.classes is not None:
        for name in ("tokens", "load", "top", "probability", "log_probability"):
            np.testing.assert_allclose(getattr(found.classes, name).sum(1), getattr(found, name))


def test_a_class_has_its_own_sums() -> None:
    table = modality_table(2)
    class_N = torch.arange(60) % 2
    logits_NK = sampled([1.0] * EXPERTS, 60)
    found = gathered(table, logits_NK, class_N)
    assert found.classes is not None
    assert found.classes.tokens.tolist() == [[30, 30], [30, 30]]
    assert (
        found.classes.top[1, 1].tolist()
        == np.bincount(logits_NK[1::2].argmax(-1), minlength=EXPERTS).tolist()
    )
    np.testing.assert_allclose(found.classes.log_probability.reshape(4, -1), found.log_probability)


def test_views_are_written_as_they_look(tmp_path: Path) -> None:
    """Safetensors takes the memory behind an array, whatever its strides."""
    written = gathered(modality_table(2), sampled([1.0] * EXPERTS, 60), torch.arange(60) % 2)
    mirrored = replace(written, load=written.load[:, ::-1], tokens=np.broadcast_to(np.int64(7), (4,)))
    mirrored.save(tmp_path / "routing.safetensors")
    assert_same_arrays(mirrored, RoutingStatistics.read(tmp_path / "routing.safetensors"))


def test_sums_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    written = gathered(modality_table(2), sampled([1.0] * EXPERTS, 60), torch.arange(60) % 2)
    replace(written, log_probability=written.log_probability * np.nan).save(tmp_path / "routing.safetensors")
    with pytest.raises(PriorError, match="diverged"):
        RoutingStatistics.read(tmp_path / "routing.safetensors")


def test_wrong_files_are_named(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "routing.safetensors"
    with pytest.raises(PriorError, match="there is no file"):
        RoutingStatistics.read(path)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(PriorError, match="cannot be read"):
        RoutingStatistics.read(path)
    save_file({"layer": np.zeros(2)}, path)
    with pytest.raises(PriorError, match="no routing statistics"):
        RoutingStatistics.read(path)
    save_file({"layer": np.zeros(2)}, path, metadata={"routing": '{"version": 1}'})
    with pytest.raises(PriorError, match="version 1"):
        RoutingStatistics.read(path)


@pytest.mark.parametrize("array", ["tokens", "bins", "class_top", "layer"])
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, array: str) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = tmp_path / "routing.safetensors"
    gathered(modality_table(2), sampled([1.0] * EXPERTS, 60), torch.arange(60) % 2).save(path)
    with safe_open(str(path), framework="numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for spoilt in ({**arrays, array: arrays[array][:-1]}, {k: v for k, v in arrays.items() if k != array}):
        save_file(spoilt, path, metadata=metadata)
        with pytest.raises(PriorError, match="damaged"):
            RoutingStatistics.read(path)


def test_barred_experts_have_statistics(tmp_path: Path) -> None:
    """Manual routing sets logits to −∞: the run reads well, and what fits it gives the expert next to nothing."""
    table = symmetric_table(1)
    logits_NK = sampled([0.75] * EXPERTS, 400)
    logits_NK[:, 3] = -torch.inf
    found = gathered(table, logits_NK, torch.zeros(400, dtype=torch.int64))
    found.save(tmp_path / "routing.safetensors")
    read = RoutingStatistics.read(tmp_path / "routing.safetensors")
    assert read.load[0, 3] == 0
    fitted = fit_dirichlet(read.log_probability[0] / read.tokens[0])
    assert fitted[3] < 1e-3
    assert fitted[:3] == pytest.approx([0.75] * 3, rel=0.2)
