"""How often the limits of the checks against routing are wrong, for 4 to 64 experts and 32 to 73,000 tokens.

    python -m tests.benchmarks.routing_thresholds --seeds 8 --first 100

**Before the prior is on.** Tokens come from a mixture of 4·K Gaussians; a linear router, fitted by least squares,
sends each component to a home among the experts. `right`: homes lie among the experts that the prior prefers, as
often as it asks or always, even or at random. `near`: half of them are other experts. `wrong`: none is preferred.
`blind`: the router does not know what the rule selects, and is even up to 20 %. A false alarm is a flag on `right`
or `blind`, a miss is none on `near` or `wrong`.

**After it.** A linear router is trained with the shaping loss alone on tokens of two classes. `right`: held to the
prior it was trained with. `weak`: to one with half of the boost. `near`: half of the preferred experts are others.
`swapped`: to that of the other class.

A rate stands with its standard error over seeds (each seed has its own data and router).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

import dpsl
from priorlang.checks.routing_limits import (
    KS,
    RMS,
    TV_TOP,
    differs,
    kl_limit,
    ks_limit,
    rms_limit,
    tv_top_noise,
)
from priorlang.routing.dirichlet_fit import fit_dirichlet
from priorlang.routing.statistics import BINS, REACH, cdf_gaps
from priorlang.table.dirichlet import kl, top_k_probability

EXPERTS = (4, 8, 16, 64)
TOKENS = (32, 512, 8192, 73_000)
Array = NDArray[np.float64]
Rates = dict[tuple[str, int, int, str], dict[int, list[bool]]]
"""(rule, experts, tokens, case) → seed → whether it was flagged."""


def main(seeds: int = 3, first: int = 0) -> None:
    """Print both tables, for so many seeds from the first on."""
    before: Rates = defaultdict(lambda: defaultdict(list))
    for experts in EXPERTS:
        for seed in range(first, first + seeds):
            for case, tokens, share, asked in _baselines(experts, seed):
                for rule, flags in BEFORE.items():
                    before[rule, experts, tokens, case][seed].append(flags(share, asked, tokens))
    _print(
        "before the prior is on: share of populations flagged",
        before,
        BEFORE,
        ("right", "blind", "near", "wrong"),
    )
    values: dict[tuple[int, str], list[tuple[float, float, float]]] = defaultdict(list)
    after: Rates = defaultdict(lambda: defaultdict(list))
    for experts in EXPERTS:
        for seed in range(first, first + seeds):
            for case, tokens, p_NK, alpha in _shaped(experts, seed):
                measured = _measured(p_NK, alpha)
                if tokens == TOKENS[-1]:
                    values[experts, case].append(measured)
                for rule, exceeds in AFTER.items():
                    after[rule, experts, tokens, case][seed].append(exceeds(measured, experts, tokens))
    _print("after it: share of populations flagged", after, AFTER, ("right", "weak", "near", "swapped"))
    _print_values(values)


def _tv(share: Array, asked: Array) -> float:
    return 0.5 * float(np.abs(share - asked).sum())


BEFORE: dict[str, Callable[[Array, Array, int], bool]] = {
    "TVtop > .30": lambda share, asked, n: _tv(share, asked) > TV_TOP,
    "TVtop > .30 + noise": lambda share, asked, n: _tv(share, asked) > TV_TOP + tv_top_noise(asked, n),
    "an order, and a deficit": differs,
}

AFTER: dict[str, Callable[[tuple[float, float, float], int, int], bool]] = {
    "KS > .10, RMS > .06 or KL > .05": lambda measured, k, n: (
        measured[0] > KS or measured[1] > RMS or measured[2] > 0.05
    ),
    "KS with noise": lambda measured, k, n: measured[0] > ks_limit(k, n),
    "RMS with noise": lambda measured, k, n: measured[1] > rms_limit(k, n),
    "KL per expert, with noise": lambda measured, k, n: measured[2] > kl_limit(k, n),
    "KS, RMS or KL, with noise": lambda measured, k, n: (
        measured[0] > ks_limit(k, n) or measured[1] > rms_limit(k, n) or measured[2] > kl_limit(k, n)
    ),
}


def _baselines(experts: int, seed: int) -> Iterator[tuple[str, int, Array, Array]]:
    """Case, tokens, share of tokens that have each expert first, and that asked for by the prior."""
    generator = np.random.default_rng([seed, experts])
    for preferred, boost in ((experts // 2, 0.5), (experts // 4, 2.0)):
        alpha = np.where(np.arange(experts) < preferred, 0.75 + boost, 0.75)
        asked = top_k_probability(alpha, 1)
        shifts = {"right": 0, "near": preferred // 2, "wrong": preferred}
        for case, shift in shifts.items():
            if case == "near" and not shift:
                continue
            homes = np.roll(alpha > 0.75, shift)
            for often in (float(asked[:preferred].sum()), 1.0):
                for even in (True, False):
                    share = _top_shares(generator, homes, often, even)
                    for tokens in TOKENS:
                        yield case, tokens, generator.multinomial(tokens, share) / tokens, asked
        for _ in range(4):
            share = generator.uniform(0.8, 1.2, experts)
            for tokens in TOKENS:
                yield "blind", tokens, generator.multinomial(tokens, share / share.sum()) / tokens, asked


def _top_shares(generator: np.random.Generator, homes: NDArray[np.bool_], often: float, even: bool) -> Array:
    """How often each expert comes first in a linear router; `often`: the part of components with a home there."""
    experts, width, tokens = len(homes), 32, 6000
    components = 4 * experts
    there = round(often * components)

    def among(candidates: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        order = generator.permutation(candidates)
        return np.resize(order, count) if even else generator.choice(order, count)

    home = np.concatenate(
        [among(np.flatnonzero(homes), there), among(np.flatnonzero(~homes), components - there)]
    )
    mean = generator.normal(size=(components, width))

    def sample() -> tuple[Array, NDArray[np.intp]]:
        component = generator.integers(components, size=tokens)
        x = mean[component] + 0.7 * generator.normal(size=(tokens, width))
        return np.concatenate([x, np.ones((tokens, 1))], axis=1), home[component]

    x, target = sample()
    weight = np.linalg.lstsq(x, np.eye(experts)[target], rcond=None)[0]
    top = (sample()[0] @ weight).argmax(1)
    return np.bincount(top, minlength=experts) / tokens


def _shaped(experts: int, seed: int) -> Iterator[tuple[str, int, Array, Array]]:
    """Case, tokens, scores p [N, K] of a trained router, and the α they are held to."""
    half = np.arange(experts) < experts // 2
    trained = np.stack([0.75 + 0.5 * half, 0.75 + 0.5 * ~half])
    cases = {
        "right": trained[0],
        "weak": 0.75 + 0.25 * half,
        "near": np.roll(trained[0], experts // 4),
        "swapped": trained[1],
    }
    p_NK = _train(trained, seed)
    generator = np.random.default_rng(seed)
    for tokens in TOKENS:
        for _ in range(max(1, min(8, len(p_NK) // tokens // 2))):
            chosen = generator.choice(len(p_NK), tokens, replace=False) if tokens < len(p_NK) else slice(None)
            for case, alpha in cases.items():
                yield case, tokens, p_NK[chosen], alpha


def _train(alpha: Array, seed: int, steps: int = 250) -> Array:
    """Train a linear router under the shaping loss; its scores on 73,000 new tokens of the first class."""
    experts, width, generator = alpha.shape[1], 64, torch.Generator().manual_seed(seed)
    mean = torch.randn(4 * experts, width, generator=generator)
    weight = (0.05 * torch.randn(experts, width, generator=generator)).requires_grad_()
    bias = torch.zeros(experts, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def sample(tokens: int, component: torch.Tensor) -> torch.Tensor:
        return mean[component] + torch.randn(tokens, width, generator=generator)

    for _ in range(steps):
        component = torch.randint(4 * experts, (2048,), generator=generator)
        logits = sample(2048, component) @ weight.T + bias
        loss = dpsl.dirichlet_prior_shaping_loss(
            logits,
            torch.from_numpy(alpha).float(),
            population=component % 2,
            ranks="histogram",
            reduction="sum",
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        component = 2 * torch.randint(2 * experts, (TOKENS[-1],), generator=generator)
        logits = sample(TOKENS[-1], component) @ weight.T + bias
        return np.asarray(logits.double().softmax(-1).numpy())


def _measured(p_NK: Array, alpha: Array) -> tuple[float, float, float]:
    """The largest KS distance and RMS gap over the experts, and KL(fitted ‖ prior)."""
    p_NK = p_NK.clip(1e-30, 1 - 1e-15)
    bin_NK = ((np.log(p_NK / (1 - p_NK)) + REACH) * (BINS / (2 * REACH))).astype(int).clip(0, BINS - 1)
    ks, rms = cdf_gaps(np.stack([np.bincount(column, minlength=BINS) for column in bin_NK.T]), alpha)
    return float(ks.max()), float(rms.max()), kl(fit_dirichlet(np.log(p_NK).mean(0)), alpha)


def _print(title: str, rates: Rates, rules: Mapping[str, object], cases: Sequence[str]) -> None:
    print(f"\n{title}\n")
    for rule in rules:
        print(f"{rule}\n")
        print("| experts | tokens | " + " | ".join(cases) + " |")
        print("|---|---|" + "---|" * len(cases))
        for experts in EXPERTS:
            for tokens in TOKENS:
                columns = [_rate(rates[rule, experts, tokens, case]) for case in cases]
                print(f"| {experts} | {tokens:,} | {' | '.join(columns)} |")
        print()


def _print_values(values: Mapping[tuple[int, str], Sequence[tuple[float, float, float]]]) -> None:
    print(f"what was measured at {TOKENS[-1]:,} tokens, mean over seeds ± standard deviation\n")
    print("| experts | held to | KS | RMS | KL |\n|---|---|---|---|---|")
    for (experts, case), measured in values.items():
        columns = [f"{np.mean(column):.3f} ± {np.std(column):.3f}" for column in zip(*measured, strict=True)]
        print(f"| {experts} | {case} | {' | '.join(columns)} |")


def _rate(flagged: Mapping[int, Sequence[bool]]) -> str:
    means = [float(np.mean(found)) for found in flagged.values()]
    if not means:
        return "–"
    error = np.std(means, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else float("nan")
    return f"{np.mean(means):.2f} ± {error:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    main(given.seeds, given.first)
