"""The shaping loss on a GPU, in one run: against the copy bandwidth, torch.sort and the paper's path; and what shaping
adds to a mixture of experts of the size of Qwen2.5-0.5B (the paper's Table 6), with random weights.

    python -m tests.benchmarks gpu_speed          on a GPU; without one it only says so
    python -m tests.benchmarks.gpu_speed --tiny   small sizes on any device: whether the script runs, no figures
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

import dpsl
import priorlang
from dpsl.kernels import VARIABLE
from dpsl.loss import shaping_loss_and_gradient
from dpsl.marginals import BetaMarginals
from tests.benchmarks.loss_speed import paper

ALPHA = 0.75


@dataclass(frozen=True)
class Sizes:
    """What is measured, and how often."""

    layers: int
    tokens: int
    loss_experts: tuple[int, ...]
    copied_bytes: int
    model: dict[str, int]
    model_experts: tuple[int, ...]
    batch: tuple[int, int]
    rounds: int


FULL = Sizes(
    layers=24,
    tokens=73_728,
    loss_experts=(4, 8, 16, 64),
    copied_bytes=2**31,
    # Qwen2.5-0.5B
    model={
        "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "vocab_size": 151_936,
    },
    model_experts=(4, 8, 16),
    batch=(8, 1024),
    rounds=5,
)  # fmt: skip
TINY = Sizes(
    layers=2,
    tokens=300,
    loss_experts=(4,),
    copied_bytes=2**16,
    model={
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": 64,
    },
    model_experts=(2,),
    batch=(2, 16),
    rounds=1,
)  # fmt: skip


def main() -> None:
    """Print the tables, where there is a GPU."""
    if torch.cuda.is_available():
        measure(FULL, torch.device("cuda"))
    else:
        print(
            "no GPU: nothing measured (python -m tests.benchmarks.gpu_speed --tiny tries the script itself)"
        )


def measure(sizes: Sizes, device: torch.device) -> None:
    """Both tables."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU, sizes without meaning"
    print(f"{name}, torch {torch.__version__}")
    loss_table(sizes, device)
    for step in ("forward", "training step"):
        overhead_table(sizes, device, step)


def loss_table(sizes: Sizes, device: torch.device) -> None:
    """Loss and gradient of all layers, and their ratio to the time that reading logits and writing gradients takes."""
    bandwidth = copy_bandwidth(sizes.copied_bytes, device, sizes.rounds)
    print(f"copy bandwidth {bandwidth / 1e12:.2f} TB/s")
    print(
        f"loss and gradient, {sizes.layers} layers × {sizes.tokens:,} tokens, histogram ranks: ms (times the floor)"
    )
    kernels = ("triton", "torch") if device.type == "cuda" else ("torch",)
    columns = ["floor", *kernels, "torch per layer", "torch.sort", "paper"]
    print(f"{'experts':>8} " + " ".join(f"{column:>20}" for column in columns))
    for experts in sizes.loss_experts:
        seconds = loss_seconds(sizes, experts, kernels, device)
        floor = 2 * sizes.layers * sizes.tokens * experts * 4 / bandwidth
        cells = (f"{value * 1e3:.3f} ({value / floor:.1f})" for value in (floor, *seconds.values()))
        print(f"{experts:8} " + " ".join(f"{cell:>20}" for cell in cells))


def loss_seconds(
    sizes: Sizes, experts: int, kernels: tuple[str, ...], device: torch.device
) -> dict[str, float]:
    """Seconds of each way for all layers, in the order of the columns."""
    logits_NK = torch.randn((sizes.layers * sizes.tokens, experts), device=device)
    layer_N = torch.arange(sizes.layers, device=device).repeat_interleave(sizes.tokens)
    none_N = torch.zeros_like(layer_N)
    marginals = BetaMarginals.from_alpha(torch.full((1, experts), ALPHA), torch.float32, device)

    def ours(name: str, layers: int) -> Callable[[], object]:
        part = slice(0, layers * sizes.tokens)

        def run() -> object:
            os.environ[VARIABLE] = name
            return shaping_loss_and_gradient(
                logits_NK[part], none_N[part], layer_N[part], marginals,
                populations=layers, layers=layers, ranks="histogram",
            )  # fmt: skip

        return run

    def paper_layer() -> object:
        _, found = paper(logits_NK[: sizes.tokens].cpu().numpy(), np.full(experts, ALPHA))
        return torch.from_numpy(found).to(device)

    seconds = {name: fastest(ours(name, sizes.layers), device, sizes.rounds) for name in kernels}
    seconds["torch per layer"] = fastest(ours("torch", 1), device, sizes.rounds) * sizes.layers
    seconds["torch.sort"] = fastest(lambda: logits_NK.t().contiguous().sort(dim=1), device, sizes.rounds)
    seconds["paper"] = fastest(paper_layer, device, 1) * sizes.layers
    return seconds


def overhead_table(sizes: Sizes, device: torch.device, step: str) -> None:
    """What shaping adds to a model's forward pass or training step."""
    print(f"shaping a mixture of experts like Qwen2.5-0.5B, {step}, batch {sizes.batch}: ms")
    print(f"{'experts':>8} {'without':>10} {'with':>10} {'added':>8}")
    for experts in sizes.model_experts:
        model = mixture(sizes, experts).to(device, torch.bfloat16)
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(0, sizes.model["vocab_size"], sizes.batch, generator=generator).to(device)
        run = forward(model, tokens) if step == "forward" else training_step(model, tokens)
        os.environ[VARIABLE] = "auto"
        without = fastest(run, device, sizes.rounds)
        shaper = dpsl.attach(model, symmetric_prior(sizes, experts))

        def shaped(run: Callable[[], object] = run, shaper: Any = shaper) -> object:
            with shaper.tokens():
                return run()

        with_prior = fastest(shaped, device, sizes.rounds)
        shaper.detach()
        added = (with_prior - without) / without
        print(f"{experts:8} {without * 1e3:10.2f} {with_prior * 1e3:10.2f} {added:8.2%}", flush=True)


def mixture(sizes: Sizes, experts: int) -> nn.Module:
    """A dense model from its config, upcycled."""
    torch.manual_seed(0)
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes.model))
    dpsl.upcycle(model, experts=experts, top_k=2, noise=0.01)
    return model


def symmetric_prior(sizes: Sizes, experts: int) -> Any:
    """One symmetric prior for all tokens, compiled."""
    layers = sizes.model["num_hidden_layers"]
    text = f"priorlang 1\nmodel {{ layers = {layers}  experts = {experts}  top_k = 2 }}\ndefault base {ALPHA} weight 0.01\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "symmetric.prior"
        path.write_text(text)
        return priorlang.compile(priorlang.load(path))


def forward(model: nn.Module, tokens: torch.Tensor) -> Callable[[], object]:
    """A forward pass in training, as the paper's table has it."""
    return lambda: model(input_ids=tokens, labels=tokens).loss


def training_step(model: nn.Module, tokens: torch.Tensor) -> Callable[[], object]:
    """Forward, backward and an optimizer step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def run() -> None:
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def copy_bandwidth(size: int, device: torch.device, rounds: int) -> float:
    """Bytes read and written a second by a plain copy."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    into = torch.empty_like(source)
    return 2 * size / fastest(lambda: into.copy_(source), device, rounds)


def fastest(run: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Fewest seconds of several calls, after two that warm up; the device is waited for."""
    best = float("inf")
    for call in range(2 + rounds if rounds > 1 else 1):
        wait(device)
        start = time.perf_counter()
        run()
        wait(device)
        if call >= 2 or rounds == 1:
            best = min(best, time.perf_counter() - start)
    return best


def wait(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    if sys.argv[1:] == ["--tiny"]:
        measure(TINY, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    else:
        main()
