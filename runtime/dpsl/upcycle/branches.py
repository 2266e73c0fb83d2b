"""Branch-Train-MiX (Sukhbaatar et al., 2403.07816): all that is no expert is the mean of the branches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.finite import check_finite

ONE_ORIGIN = "branches are trained from one dense model: same architecture, widths and vocabulary"


def as_list(branches: Any) -> Any:
    """Branches as a tuple, one alone as a tuple of one; what is no branch stays, to be complained of."""
    if isinstance(branches, str | Path | nn.Module):
        return (branches,)
    return tuple(branches) if isinstance(branches, Iterable) else branches


def name_of(source: Any) -> Any:
    """What messages and the model's config call a dense model or its folder; what is neither stays as it is."""
    if isinstance(source, nn.Module):
        return type(source).__name__
    return str(source) if isinstance(source, Path) else source


def names_of(branches: Any) -> Any:
    """The names of what `as_list` gives."""
    return tuple(map(name_of, branches)) if isinstance(branches, tuple) else branches


class RunningMean:
    """The mean of several models' weights, summed in float32 at least.

    Args:
        model: where the mean goes; branches must have its weights' names and shapes.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    @torch.no_grad()
    def add(self, name: str, branch: nn.Module) -> None:
        """Add a branch.

        Raises:
            UpcycleError: it is not like the model, or holds NaN or infinity.
        """
        weights = branch.state_dict()
        check_finite(dict(branch.named_parameters()), f"branch {name}")
        check_alike(
            name,
            {key: tuple(weight.shape) for key, weight in self._model.state_dict().items()},
            {key: tuple(weight.shape) for key, weight in weights.items()},
        )
        for key, weight in weights.items():
            wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
            self._sums[key] = self._sums[key] + wide if key in self._sums else wide.clone()
        self._count += 1

    @torch.no_grad()
    def write(self) -> None:
        """Give the model the mean."""
        for key, weight in self._model.state_dict().items():
            mean = self._sums[key] / self._count
            weight.copy_(mean if weight.is_floating_point() else mean.round())


def check_alike(name: str, expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> None:
    """Refuse a branch with other weights than the first's.

    Raises:
        UpcycleError: naming the branch and the first weight that differs.
    """
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing or extra:
        problem = (
            f"it has no {min(missing)}" if missing else f"it has {min(extra)}, which the others have not"
        )
        raise UpcycleError(f"branch {name}", problem, ONE_ORIGIN)
    for key, shape in expected.items():
        if found[key] != shape:
            raise UpcycleError(
                f"branch {name}", f"{key} is {list(found[key])}, in the others {list(shape)}", ONE_ORIGIN
            )
