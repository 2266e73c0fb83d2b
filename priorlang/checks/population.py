"""Populations that a global batch gives too few tokens for an empirical CDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks.blame import DEFAULT, place_of
from priorlang.checks.witness import witness
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.semantics.describe import index_set
from priorlang.table.cells import cells_of
from priorlang.table.numbering import numbering_of

if TYPE_CHECKING:
    from priorlang.checks.shares import ClassShares
    from priorlang.semantics.spec import RuleSpec, Spec
    from priorlang.table.cells import Cells

FEWEST = 32
"""Tokens per population and global batch below which the rank of a token says little about its CDF: the standard
error of an empirical CDF at its middle is 1 / (2 √n), .088 at 32."""


def small_populations(spec: Spec, shares: ClassShares, batch_tokens: float) -> list[Finding]:
    """`small-population` for each population, alike in its layers, that is expected to get fewer than `FEWEST`.

    Populations without any token are no matter here: nothing of theirs is shaped.

    Args:
        spec: the prior.
        shares: of the token classes.
        batch_tokens: tokens from which one step learns, over all processes and micro-batches.
    """
    cells = cells_of(spec)
    numbering = numbering_of(cells)
    layers: dict[tuple[str, float], list[int]] = {}
    first: dict[tuple[str, float], tuple[int, int]] = {}
    for position, population_C in enumerate(numbering.population):
        found, start = np.unique(population_C, return_index=True)
        share_P = np.bincount(population_C + 1, weights=shares.fraction_C, minlength=int(found.max()) + 2)
        for number, token_class in zip(found.tolist(), start.tolist(), strict=True):
            expected = float(share_P[number + 1]) * batch_tokens
            if number >= 0 and 0 < expected < FEWEST:
                _, _, name = numbering.population_names[number].partition(" · ")
                layers.setdefault((name, expected), []).append(spec.model.routed[position])
                first.setdefault((name, expected), (position, token_class))
    return [
        _finding(cells, shares, batch_tokens, key, routed, first[key])
        for key, routed in sorted(layers.items())
    ]


def _finding(
    cells: Cells,
    shares: ClassShares,
    batch_tokens: float,
    key: tuple[str, float],
    layers: list[int],
    first: tuple[int, int],
) -> Finding:
    spec, (name, expected) = cells.spec, key
    where = "" if len(layers) == len(spec.model.routed) else f" in layers {index_set(layers)}"
    message = (
        f"the population of {name}{where} gets about {expected:.3g} of the {batch_tokens:,.0f} tokens of a batch; "
        f"below {FEWEST} its ranks are mostly noise{shares.note}"
    )
    position, token_class = first
    active = cells.active[int(cells.signature[position, token_class])]
    splitting = [rule for rule in active if spec.rules[rule].split]
    narrow = min(splitting or active, key=lambda rule: _breadth(spec, spec.rules[rule]), default=DEFAULT)
    proof = witness(spec, spec.model.routed[position], token_class)
    return Finding("small-population", Severity.WARNING, message, place_of(spec, narrow), (), proof)


def _breadth(spec: Spec, rule: RuleSpec) -> float:
    """The fraction of token classes that a rule matches."""
    breadth = 1.0
    for condition in rule.where.conditions:
        breadth *= len(condition.codes) / len(spec.attributes[condition.attribute].leaves)
    return breadth
