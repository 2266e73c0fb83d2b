"""Run the clustering study: print Tables 1 and 4, draw Figure 5.

python examples/clustering/run.py [--seeds COUNT] [--first SEED] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import torch
from figure import assignment_picture
from mixtures import MIXTURES
from protocol import EPOCHS, WARM_UP, run_mixture
from scores import Scores, scores_of, tables

DEFAULT_OUTPUT = Path(__file__).resolve().parents[2] / "runs" / "clustering"


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
    studies = [
        study
        for mixture in MIXTURES
        for study in run_mixture(mixture, seeds, epochs=options.epochs, warm_up=options.warm_up)
    ]
    scores = scores_of(studies)
    text = tables(scores, seeds)
    print(text, end="")
    (output / "tables.txt").write_text(text, encoding="utf-8")
    _write_scores(output / "accuracy.csv", scores, seeds)
    (output / "figure-5.png").write_bytes(assignment_picture(studies, seeds))
    print(f"\n{output}: tables.txt, accuracy.csv, figure-5.png")


def _write_scores(path: Path, scores: Scores, seeds: Sequence[int]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "data", "row", "seed", "accuracy"])
        for (method, mixture), by_row in scores.items():
            for row, score_S in by_row.items():
                for seed, score in zip(seeds, score_S, strict=True):
                    writer.writerow([method, mixture, row, seed, f"{score:.4f}"])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Clustering with and without a Dirichlet prior.")
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="full-batch steps (default: %(default)s)")
    parser.add_argument(
        "--warm-up", type=int, default=WARM_UP, help="of them without the prior (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_OUTPUT, help="folder to write (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds: at least 2, for a spread")
    if options.first < 0:
        parser.error("--first: seeds are not negative")
    if not 0 < options.warm_up < options.epochs:
        parser.error("--warm-up: between 0 and --epochs")
    return options


if __name__ == "__main__":
    main()
