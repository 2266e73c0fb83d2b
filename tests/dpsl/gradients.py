"""Gradients of whole models, and when two of them are the same but for rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

ROUNDING = 1e-5
"""Of a tensor's largest entry. An entry near zero is a sum of large ones: its rounding is theirs, and each CPU has its own."""


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter's gradient in float32, which is then forgotten."""
    found = {name: p.grad.float().clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same_gradients(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], within: float = ROUNDING
) -> None:
    """The same parameters have gradients, each within a share of its largest expected entry."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert_same_gradient(found[name], gradient, within, name)


def assert_same_gradient(
    found: Tensor, expected: Tensor, within: float = ROUNDING, name: str | Sequence[object] = "gradient"
) -> None:
    """The largest difference is within a share of the largest expected entry."""
    largest = float(expected.abs().max())
    difference = float((found - expected).abs().max())
    assert difference <= within * largest, (
        f"{name}: {difference:.3g} apart, the largest entry is {largest:.3g}"
    )
