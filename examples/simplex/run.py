"""Shape points on the simplex: print how near they come to their priors, draw Figures 2 and 6.

python examples/simplex/run.py [--seeds COUNT] [--first SEED] [--output FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import torch
from figure import shaping_picture
from shaping import CASES, Case, Shaped, shape
from table import Result, drawn, table

DEFAULT_OUTPUT = Path(__file__).resolve().parents[2] / "runs" / "simplex"
STEPS = 100
"""The paper's."""
LONGER = 500


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print and write."""
    options = _options(arguments)
    torch.set_num_threads(1)
    output: Path = options.output
    try:
        output.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=output).close()
    except OSError as error:
        raise SystemExit(f"cannot write to {output}: {error.strerror}; name another --output") from None
    seeds = range(options.first, options.first + options.seeds)
    text = f"Mean ± standard deviation over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}).\n"
    written = ["table.txt"]
    for case in CASES:
        by_seed = [shape(case, seed, LONGER, (0, STEPS, LONGER)) for seed in seeds]
        text += "\n" + table(case, _rows(case, by_seed, seeds))
        name = case.name.lower().replace(" ", "-") + ".png"
        (output / name).write_bytes(shaping_picture(case, by_seed[0], STEPS, seeds[0]))
        written.append(name)
    print(text, end="")
    (output / "table.txt").write_text(text, encoding="utf-8")
    print(f"\n{output}: {', '.join(written)}")


def _rows(case: Case, by_seed: Sequence[Shaped], seeds: Sequence[int]) -> dict[str, list[Result]]:
    by_sgd = [shape(case, seed, STEPS, (STEPS,), "SGD") for seed in seeds]
    return {
        "start, logits N(0, 1)": [_after(shaped, 0) for shaped in by_seed],
        f"Adam, {STEPS} steps": [_after(shaped, STEPS) for shaped in by_seed],
        f"Adam, {LONGER} steps": [_after(shaped, LONGER) for shaped in by_seed],
        f"SGD, {STEPS} steps": [_after(shaped, STEPS) for shaped in by_sgd],
        "drawn from the priors": [drawn(case, seed) for seed in seeds],
    }


def _after(shaped: Shaped, steps: int) -> Result:
    return float(shaped.loss_T[steps]), shaped.probabilities[steps]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Points on the simplex, shaped to Dirichlet priors.")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_OUTPUT, help="folder to write (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds: at least 2, for a spread")
    if options.first < 0:
        parser.error("--first: seeds are not negative")
    return options


if __name__ == "__main__":
    main()
