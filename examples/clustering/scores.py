"""Tables 1 and 4 as text: every row beside the paper's, with its paired difference to the baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from accuracy import accuracy
from mixtures import MIXTURES
from numpy.typing import NDArray
from protocol import (
    BASELINE,
    LITERAL,
    LITERAL_MISSPECIFIED,
    REVERSED,
    SYMMETRIC,
    TUNED,
    TUNED_MISSPECIFIED,
    Row,
    Study,
)  # fmt: skip
from published import PAPER

METHODS = ("SwAV", "SeCu")
CELLS = tuple((method, mixture.name) for method in METHODS for mixture in MIXTURES)
TABLES: dict[str, tuple[Row, ...]] = {
    "table_1": (LITERAL, TUNED, REVERSED, SYMMETRIC),
    "table_4": (LITERAL_MISSPECIFIED, TUNED_MISSPECIFIED),
}
_HEADINGS = {
    "table_1": "Table 1: the prior made for each data set, (2, 1, 1) or (1.5, 1, 0.5)",
    "table_4": "Table 4: one coarse prior for all data sets, (1.5, 1, 1)",
}
_NAME, _CELL = 34, 28

Scores = dict[tuple[str, str], dict[str, NDArray[np.float64]]]


def scores_of(studies: Sequence[Study]) -> Scores:
    """Accuracy of every seed [S], by (method, mixture) and row."""
    return {
        (study.method, study.mixture.name): {
            row: accuracy(clusters_SN.numpy(), study.samples.labels_SN)
            for row, clusters_SN in study.clusters.items()
        }
        for study in studies
    }


def tables(scores: Scores, seeds: Sequence[int]) -> str:
    """Both tables."""
    lines = [
        f"Accuracy in %: mean ± standard deviation over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}; the paper: 3),",
        "then the mean difference to the baseline of the same seed (its standard error).",
    ]
    for table, rows in TABLES.items():
        lines += [
            "",
            _HEADINGS[table],
            "".ljust(_NAME) + "".join(m.name.ljust(_CELL) for m in MIXTURES).rstrip(),
        ]
        for method in METHODS:
            lines += _block(scores, method, table, rows)
        lines += ["all six cells", *(_summary(scores, row) for row in rows)]
    return "\n".join(lines) + "\n"


def _block(scores: Scores, method: str, table: str, rows: Sequence[Row]) -> list[str]:
    cells = [(method, mixture.name) for mixture in MIXTURES]
    paper = [PAPER[cell] for cell in cells]
    with_prior = [getattr(published, table) for published in paper]
    gains = [
        f" {mean - published.without[0]:+6.2f}"
        for (mean, _), published in zip(with_prior, paper, strict=True)
    ]
    return [
        method,
        _line("paper, without the prior", [_spread(*published.without) for published in paper]),
        _line(
            "paper, with it", [_spread(*value) + gain for value, gain in zip(with_prior, gains, strict=True)]
        ),
        _line(BASELINE.name, [_measured(scores[cell], BASELINE) for cell in cells]),
        *(_line(row.name, [_measured(scores[cell], row) for cell in cells]) for row in rows),
    ]


def _summary(scores: Scores, row: Row) -> str:
    """Mean over the cells, whose differences belong together seed by seed."""
    gain_CS = np.stack([scores[cell][row.name] - scores[cell][BASELINE.name] for cell in CELLS])
    above = int((gain_CS.mean(axis=1) > 0).sum())
    return _line(row.name, [f"{_gain(gain_CS.mean(axis=0))}   above 0 in {above} of {len(CELLS)}"])


def _measured(by_row: dict[str, NDArray[np.float64]], row: Row) -> str:
    score_S = by_row[row.name]
    text = _spread(score_S.mean(), _deviation(score_S))
    return text if row is BASELINE else f"{text} {_gain(score_S - by_row[BASELINE.name])}"


def _spread(mean: float, deviation: float) -> str:
    return f"{mean:5.2f} ±{deviation:5.2f}"


def _gain(gain_S: NDArray[np.float64]) -> str:
    return f"{gain_S.mean():+6.2f} ({_deviation(gain_S) / len(gain_S) ** 0.5:.2f})"


def _deviation(values_S: NDArray[np.float64]) -> float:
    return float(values_S.std(ddof=1))


def _line(name: str, cells: Sequence[str]) -> str:
    return f"  {name}".ljust(_NAME) + "".join(cell.ljust(_CELL) for cell in cells).rstrip()
