"""Print what a micro-batch's tokens should be ranked among, as a Markdown table.

python examples/small_populations/windows.py [--seeds COUNT] [--first SEED] [--steps STEPS]

A router learns by the shaping loss through `dpsl.attach`, 16 micro-batches of n tokens to an optimizer step, with
their populations made of the micro-batch alone, of a window of micro-batches, or of the whole step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from router import ALPHA, EXPERTS, FEATURES, LEARNING_RATE, Outcome, measured
from run import options, spread
from torch import Tensor, nn

import dpsl
import priorlang
from dpsl.ecdf import Target
from dpsl.upcycle.block import Router

MICRO_BATCHES = 16
STEPS = 100
PRIOR = (
    f"priorlang 1\nmodel {{ layers = 1  experts = {EXPERTS}  top_k = 2 }}\ndefault base {ALPHA} weight 1\n"
)


@dataclass(frozen=True)
class Way:
    """How tokens of other micro-batches are taken into account."""

    name: str
    target: Target = "eq4"
    window: int = 1
    look_ahead: bool = False


WAYS = (
    Way("each micro-batch alone, as in a plain loop"),
    Way("each alone, unbiased", target="ustat"),
    Way("a window of one step", window=MICRO_BATCHES),
    Way("a window of four steps", window=4 * MICRO_BATCHES),
    Way("looking ahead over the step", look_ahead=True),
)


class Model(nn.Module):
    """One router, and nothing for it to route to."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Router(FEATURES, EXPERTS, 2, like=torch.zeros(1))])

    def forward(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        """A loss that has no gradient but the shaping's."""
        return {"loss": 0.0 * self.layers[0](hidden_NH)[1].sum()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every way and print a line for each as it comes."""
    given = options(arguments, steps=STEPS)
    torch.set_num_threads(1)
    seeds = range(given.first, given.first + given.seeds)
    for line in _table(seeds, given.steps):
        print(line, flush=True)


def train(way: Way, tokens: int, seed: int, steps: int = STEPS) -> Tensor:
    """The weight [D, K] of a router that learned from micro-batches of so many tokens."""
    torch.manual_seed(seed)
    model = Model()
    (router,) = model.layers
    nn.init.normal_(router.weight, std=FEATURES**-0.5)
    shaper = dpsl.attach(model, _table_of_prior(), target=way.target, window=way.window)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for _ in range(steps):
        batches = [torch.randn(tokens, FEATURES) for _ in range(MICRO_BATCHES)]
        if way.look_ahead:
            with shaper.look_ahead():
                for hidden_NH in batches:
                    with shaper.tokens():
                        model(hidden_NH)
        optimizer.zero_grad()
        for hidden_NH in batches:
            with shaper.tokens():
                (model(hidden_NH)["loss"] / MICRO_BATCHES).backward()
        optimizer.step()
        decay.step()
    return router.weight.detach().t()


def _table_of_prior() -> priorlang.PriorTable:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "symmetric.prior")
        file.write_text(PRIOR)
        return priorlang.compile(priorlang.load(file))


def _table(seeds: Sequence[int], steps: int) -> Iterator[str]:
    yield (
        f"A linear router, {EXPERTS} experts, α = {ALPHA:g}, {steps} steps of {MICRO_BATCHES} micro-batches of n tokens, "
        f"histogram ranks; mean ± standard deviation over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}). "
        "The right variance of u is .0833."
    )
    yield ""
    yield "| population | target | n | loss on held-out tokens | variance of u |"
    yield "|---|---|---|---|---|"
    for tokens in (8, 32):
        for way in WAYS:
            weight_RDK = torch.stack([train(way, tokens, seed, steps) for seed in seeds])
            outcome: Outcome = measured(weight_RDK, [np.random.default_rng(seed) for seed in seeds])
            cells = f"{spread(outcome.loss, 5)} | {spread(outcome.variance, 4)}"
            yield f"| {way.name} | `{way.target}` | {tokens} | {cells} |"


if __name__ == "__main__":
    main()
