"""Print how `target` and `ranks` fare on populations of 2 to 512 tokens, as a Markdown table.

python examples/small_populations/run.py [--seeds COUNT] [--first SEED] [--steps STEPS]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import torch
from numpy import mean, ndarray, std
from router import ALPHA, BATCH, EXPERTS, STEPS, Outcome, Setting, train

SETTINGS = (
    *(Setting(tokens, target, "sort") for target in ("eq4", "mid", "ustat") for tokens in (2, 5, 32, 512)),
    # No histograms of 2 tokens: a token alone in its bin has its exact place, and 1,024 bins for each pair are slow.
    *(Setting(tokens, target, "histogram") for target in ("eq4", "ustat") for tokens in (5, 32, 512)),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every setting and print a line for each as it comes."""
    given = options(arguments, steps=STEPS)
    torch.set_num_threads(1)
    seeds = range(given.first, given.first + given.seeds)
    for line in _table(seeds, given.steps):
        print(line, flush=True)


def _table(seeds: Sequence[int], steps: int) -> Iterator[str]:
    yield (
        f"A linear router, {EXPERTS} experts, α = {ALPHA:g}, {steps} steps of {BATCH} tokens in populations of n; "
        f"mean ± standard deviation over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}). The right variance of u is .0833."
    )
    yield ""
    yield "| target | ranks | n | loss on held-out tokens | variance of u |"
    yield "|---|---|---|---|---|"
    for setting in SETTINGS:
        outcome = train(setting, seeds, steps)
        yield f"| `{setting.target}` | `{setting.ranks}` | {setting.tokens} | {_cells(outcome)} |"


def _cells(outcome: Outcome) -> str:
    return f"{spread(outcome.loss, 5)} | {spread(outcome.variance, 4)}"


def spread(values: ndarray, digits: int) -> str:
    return f"{mean(values):.{digits}f} ± {std(values, ddof=1):.{digits}f}"


def options(arguments: Sequence[str] | None, *, steps: int) -> argparse.Namespace:
    """The command line of either study."""
    parser = argparse.ArgumentParser(description="The shaping loss on small populations.")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=steps, help="of training (default: %(default)s)")
    given = parser.parse_args(arguments)
    if given.seeds < 2:
        parser.error("--seeds: at least 2, for a spread")
    if given.first < 0:
        parser.error("--first: seeds are not negative")
    if given.steps < 1:
        parser.error("--steps: at least 1")
    return given


if __name__ == "__main__":
    main()
