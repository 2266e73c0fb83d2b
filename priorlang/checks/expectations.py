"""`expect` lines: the language's own tests, tried in every matching cell."""

from __future__ import annotations

import operator
from fractions import Fraction

import numpy as np

from priorlang.checks.witness import witness
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.semantics.exact import decimal_text, rounded
from priorlang.semantics.spec import ExpectSpec, MeasureSpec, OperandSpec
from priorlang.table.cells import CellPrior, Cells
from priorlang.table.dirichlet import top_k_probability
from priorlang.table.matching import class_mask, layer_mask

_COMPARE = {"<": operator.lt, "<=": operator.le, "=": operator.eq, ">=": operator.ge, ">": operator.gt}
_LOAD_TOLERANCE = Fraction(1, 1_000_000)
"""Loads are integrals; shares, α and weights are compared exactly."""


def expectation_findings(cells: Cells) -> list[Finding]:
    """`expectation-failed` for each claim that some matching cell breaks, with that cell and its value."""
    loads = _Loads(cells.spec.model.top_k)
    found = (_try(cells, expect, loads) for expect in cells.spec.expects)
    return [finding for finding in found if finding is not None]


def _try(cells: Cells, expect: ExpectSpec, loads: _Loads) -> Finding | None:
    spec = cells.spec
    layers = layer_mask(expect.where, np.asarray(spec.model.routed))
    classes = class_mask(expect.where, spec)
    if not (layers.any() and classes.any()):
        message = f"expected {expect.text}, and no cell matches"
        return Finding("expectation-failed", Severity.ERROR, message, expect.span)
    for prior, position, token_class in cells.distinct(layers, classes):
        attained = _attained(expect, prior, loads)
        if attained is not None:
            where = witness(spec, spec.model.routed[position], token_class)
            message = f"expected {expect.text}, and {attained}"
            return Finding("expectation-failed", Severity.ERROR, message, expect.span, (), where)
    return None


def _attained(expect: ExpectSpec, prior: CellPrior | None, loads: _Loads) -> str | None:
    """What a cell has instead of what is expected, or None where it holds."""
    if expect.sign is None or expect.left is None or expect.right is None:
        return None if prior is None else "the cell is shaped"
    if prior is None:
        return "the cell is unshaped"
    left, right = _measure(expect.left, prior, loads), _measure(expect.right, prior, loads)
    if _holds(expect, left, right):
        return None
    words = [
        f"{operand.text if isinstance(operand, MeasureSpec) else 'weight'} is {decimal_text(value)}"
        for operand, value in ((expect.left, left), (expect.right, right))
        if not isinstance(operand, Fraction)
    ]
    return " and ".join(words) or "that is false"


def _holds(expect: ExpectSpec, left: Fraction, right: Fraction) -> bool:
    assert expect.sign is not None
    if any(isinstance(side, MeasureSpec) and side.function == "load" for side in (expect.left, expect.right)):
        close = abs(left - right) <= _LOAD_TOLERANCE
        if close:
            return "=" in expect.sign
    return bool(_COMPARE[expect.sign](left, right))


def _measure(operand: OperandSpec, prior: CellPrior, loads: _Loads) -> Fraction:
    if isinstance(operand, Fraction):
        return operand
    if not isinstance(operand, MeasureSpec):
        return prior.weight
    if operand.function == "load":
        return loads.share(prior, operand.experts)
    part = sum((prior.alpha[expert] for expert in operand.experts), Fraction(0))
    return part if operand.function == "alpha" else part / sum(prior.alpha, Fraction(0))


class _Loads:
    """Top-k probabilities, worked out once for each distinct α."""

    def __init__(self, top_k: int) -> None:
        self.top_k = top_k
        self.known: dict[tuple[Fraction, ...], np.ndarray] = {}

    def share(self, prior: CellPrior, experts: frozenset[int]) -> Fraction:
        """The fraction of top-k slots that go to these experts."""
        if prior.alpha not in self.known:
            alpha = np.array([rounded(value) for value in prior.alpha])
            self.known[prior.alpha] = top_k_probability(alpha, self.top_k)
        slots = self.known[prior.alpha][sorted(experts)].sum()
        return Fraction(float(slots)) / self.top_k
