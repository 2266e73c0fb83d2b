"""Compiled loops equal the operations that they are compiled from, and are no one's condition."""

from __future__ import annotations

import logging

import pytest
import torch

from dpsl import kernels
from dpsl.kernels.compiled import compiler_options, using
from dpsl.loss import shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals


def test_compiled_loops_give_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    marginals = BetaMarginals.from_alpha(torch.tensor([[0.3, 1.0, 2.0], [2.0, 0.7, 0.1]]), torch.float32)
    for tokens in (200, 77):  # the second compiles nothing anew
        generator = torch.Generator().manual_seed(tokens)
        logits = torch.randn(tokens, 3, generator=generator) * 2
        logits[::9, 0] = -torch.inf
        logits[1, 1] = 3000
        population = torch.arange(tokens) % 3 - 1
        row = population.clamp(min=0)
        results = {}
        for name in ("torch", "compile"):
            monkeypatch.setenv("DPSL_KERNELS", name)
            results[name] = shaping_loss_and_gradient(
                logits, row, population, marginals, populations=2, ranks="histogram"
            )
        torch.testing.assert_close(results["compile"].value, results["torch"].value, rtol=1e-4, atol=1e-6)
        same = torch.isclose(
            results["compile"].gradient_NK, results["torch"].gradient_NK, rtol=1e-3, atol=1e-6
        )
        assert same.float().mean() > 0.98


def test_without_a_compiler_all_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def doubled(values: torch.Tensor) -> torch.Tensor:
        return values * 2 + 1  # compiled nowhere else, so no cache has it

    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(torch._inductor.config, "force_disable_caches", True)
    with caplog.at_level(logging.WARNING, logger="dpsl"):
        run = using("compile", doubled)
        assert run(torch.ones(3)).tolist() == [3, 3, 3]
        assert run(torch.ones(4)).tolist() == [3, 3, 3, 3]
    own = [record.getMessage() for record in caplog.records if record.name == "dpsl"]
    assert len(own) == 1
    assert own[0].startswith("doubled runs uncompiled, as torch.compile failed: ")


def test_each_width_of_vectors_has_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    options = []
    for capability in ("DEFAULT", "AVX2", "AVX512"):
        monkeypatch.setattr(
            torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability
        )
        options.append(compiler_options())
    assert [each["cpp.simdlen"] for each in options] == [0, 256, 512]


def test_the_kernels_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(elements: int, *, tables: bool = True, histogram: bool = True, learned: bool = False) -> str:
        return kernels.chosen(torch.empty(elements, 1), tables=tables, histogram=histogram, learned=learned)

    monkeypatch.delenv("DPSL_KERNELS", raising=False)
    monkeypatch.setattr(kernels, "_has_compiler", lambda: True)
    large = kernels.WORTHWHILE
    assert [chosen(large), chosen(large - 1), chosen(large, tables=False)] == ["compile", "torch", "torch"]
    monkeypatch.setattr(kernels, "_has_compiler", lambda: False)
    assert chosen(large) == "torch"
    monkeypatch.setenv("DPSL_KERNELS", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="these are on cpu: leave it at auto"):
        chosen(100)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert [chosen(1), chosen(0), chosen(1, histogram=False)] == ["triton", "torch", "torch"]
    assert [chosen(1, learned=True), chosen(1, tables=False)] == ["torch", "torch"]
    monkeypatch.setenv("DPSL_KERNELS", "fast")
    with pytest.raises(ValueError, match="DPSL_KERNELS must be auto, torch, compile or triton, not 'fast'"):
        chosen(1)
