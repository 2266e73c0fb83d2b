"""Small prior tables, made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from priorlang.table.marginals import build_marginals
from priorlang.table.prior_table import UNSHAPED, PriorTable, TableAttribute, TableHeader

MODALITY = TableAttribute("modality", ("vision", "language"))


def symmetric_table(
    layers: int = 2,
    experts: int = 4,
    top_k: int = 2,
    *,
    alpha: float = 0.75,
    weight: float = 0.1,
    routed: Sequence[int] | None = None,
    schedule: tuple[tuple[float, float], ...] = (),
) -> PriorTable:
    """One symmetric prior for every token; each layer is one population."""
    row_LC = np.zeros((len(routed if routed is not None else range(layers)), 1), np.int32)
    return make_table(layers, top_k, [[alpha] * experts], [weight], row_LC, routed=routed, schedule=schedule)


def modality_table(
    layers: int = 2,
    experts: int = 4,
    top_k: int = 2,
    *,
    weights: tuple[float, float] = (0.1, 0.02),
    language_shaped: bool = True,
    attributes: tuple[TableAttribute, ...] = (MODALITY,),
) -> PriorTable:
    """Vision prefers the first half of the experts, language the second half (or is left unshaped)."""
    half = experts // 2
    alpha = [[1.25] * half + [0.75] * (experts - half), [0.75] * half + [1.25] * (experts - half)]
    classes = [0, 1 if language_shaped else UNSHAPED]
    return make_table(
        layers, top_k, alpha, weights, np.array([classes] * layers, np.int32), attributes=attributes
    )


def make_table(
    layers: int,
    top_k: int,
    alpha: Sequence[Sequence[float]],
    weight: Sequence[float],
    row_LC: np.ndarray,
    *,
    routed: Sequence[int] | None = None,
    attributes: tuple[TableAttribute, ...] = (),
    schedule: tuple[tuple[float, float], ...] = (),
) -> PriorTable:
    """A table from its rows; each (layer, prior) is a population."""
    alpha_RK = np.array(alpha, np.float64)
    layer = np.array(routed if routed is not None else range(layers), np.int32)
    population = np.full_like(row_LC, UNSHAPED)
    names: list[str] = []
    for position, index in enumerate(layer):
        for row in sorted(set(row_LC[position].tolist()) - {UNSHAPED}):
            population[position][row_LC[position] == row] = len(names)
            names.append(f"layer {index} · prior {row}")
    rest_RK = alpha_RK.sum(1, keepdims=True) - alpha_RK
    marginal, window = build_marginals(alpha_RK.ravel(), rest_RK.ravel())
    header = TableHeader(
        language="1",
        layers=layers,
        experts=alpha_RK.shape[1],
        top_k=top_k,
        attributes=attributes,
        schedule=schedule,
        schedule_unit="fraction",
        populations=tuple(names),
        sources=((),) * len(alpha_RK),
        normal_form="0" * 64,
    )
    return PriorTable(
        header=header,
        layer=layer,
        row=row_LC,
        population=population,
        alpha=alpha_RK,
        weight=np.array(weight, np.float64),
        pair=np.arange(alpha_RK.size, dtype=np.int32).reshape(alpha_RK.shape),
        marginal=marginal,
        window=window,
    )
