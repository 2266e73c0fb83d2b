"""The figures of the paper's Tables 1 and 4: accuracy in per cent, mean and spread over three seeds."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A cell without the prior, with that of Table 1, with that of Table 4."""

    without: tuple[float, float]
    table_1: tuple[float, float]
    table_4: tuple[float, float]


PAPER = {
    ("SwAV", "Non-overlapping"): Published((84.42, 0.83), (99.35, 0.14), (88.31, 0.19)),
    ("SwAV", "Overlapping"): Published((86.71, 1.13), (94.09, 0.17), (89.62, 0.30)),
    ("SwAV", "Elongated"): Published((87.73, 0.67), (92.28, 0.46), (88.18, 0.63)),
    ("SeCu", "Non-overlapping"): Published((88.40, 11.4), (94.31, 5.49), (93.42, 6.42)),
    ("SeCu", "Overlapping"): Published((70.69, 3.8), (83.28, 1.69), (82.66, 2.83)),
    ("SeCu", "Elongated"): Published((76.84, 7.1), (87.66, 3.86), (83.67, 3.58)),
}
