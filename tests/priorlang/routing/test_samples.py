"""Samples of routing: what is written is what is read, and what is spoilt is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from priorlang.diagnostics.finding import PriorError
from priorlang.routing.samples import RoutingSamples, mean_similarity


def made(experts: int = 4, layers: int = 2, tokens: int = 5) -> RoutingSamples:
    generator = np.random.default_rng(0)
    return RoutingSamples(
        np.repeat(np.arange(layers, dtype=np.int32), tokens),
        generator.dirichlet([1.0] * experts, layers * tokens).astype(np.float16),
        np.arange(layers, dtype=np.int32),
        np.broadcast_to(np.eye(experts, dtype=np.float32), (layers, experts, experts)),
        compared=7,
    )


@pytest.mark.parametrize("samples", [made(), made(tokens=0), made(layers=0)])
def test_what_is_written_is_read(tmp_path: Path, samples: RoutingSamples) -> None:
    samples.save(tmp_path / "samples.safetensors")
    again = RoutingSamples.read(tmp_path / "samples.safetensors")
    for name in ("group", "probability", "layer", "similarity"):
        assert np.array_equal(getattr(again, name), getattr(samples, name)), name
    assert again.compared == 7


def test_tokens_of_a_group(tmp_path: Path) -> None:
    samples = made()
    assert np.array_equal(samples.tokens_of(1), samples.probability[5:].astype(np.float64))
    assert samples.tokens_of(9).shape == (0, 4)


@pytest.mark.parametrize("change", [{"group": np.zeros(3, np.int32)}, {"layer": np.zeros(9, np.int32)}])
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    replace(made(), **change).save(tmp_path / "samples.safetensors")
    with pytest.raises(PriorError):
        RoutingSamples.read(tmp_path / "samples.safetensors")


@pytest.mark.parametrize("content", [b"", b"spoilt", b"\0" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "samples.safetensors").write_bytes(content)
    with pytest.raises(PriorError, match="holds no samples of routing"):
        RoutingSamples.read(tmp_path / "samples.safetensors")
    with pytest.raises(PriorError):
        RoutingSamples.read(tmp_path / "none.safetensors")


def test_similarity_is_the_mean_over_different_experts() -> None:
    assert mean_similarity(np.array([[1.0, 0.2], [0.4, 1.0]], np.float32)) == pytest.approx(0.3)
    assert np.isnan(mean_similarity(np.ones((1, 1), np.float32)))
